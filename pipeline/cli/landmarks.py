"""`photodrag landmarks`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from pipeline.cli import console
from pipeline.cli.options import Flag, Output
from pipeline.cli.photo import read_source
from pipeline.settings import FaceSettings


def landmarks(
    photo: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    output: Output = None,
    json: Flag = False,
    overwrite: Flag = False,
    offline: Flag = False,
    detector: Literal["dlib", "face-alignment"] = FaceSettings.detector,
) -> int:
    """Show the faces of a photo, their landmarks' names and their numbers.

    Parameters
    ----------
    photo
        JPEG, PNG, WebP, TIFF, HEIF or GIF; or - for a photo from stdin.
    output
        Draw boxes, landmarks and their numbers on a copy of the photo.
    json
        Print boxes, scores and landmarks as JSON.
    overwrite
        Replace a file that exists.
    offline
        Never use the network.
    detector
        dlib, or face-alignment.
    """
    from drag.landmarks import place
    from drag.names import NAMES
    from pipeline.faces import find_faces, make_detector
    from pipeline.photo import Photo, check_output, eight_bit, write_photo
    from pipeline.preview import draw_faces
    from weights.errors import NoFace
    from weights.outputs import check_apart

    if output:
        check_apart([output], [photo])
        check_output(output, overwrite=overwrite)
    source = read_source(photo)
    with console.bars() as bars:
        store = console.store(bars, offline=offline)
        found = find_faces(source.to_srgb(source.pixels), make_detector(detector, store=store))
    if not found:
        raise NoFace(f"No face was found in {photo}: use a photo in which a face is larger, or turned to the camera.")
    if output:
        # A profile of grey says nothing of a drawing in colours.
        icc = None if source.grey else source.icc
        write_photo(Photo(pixels=draw_faces(eight_bit(source.pixels), found), icc=icc), output, overwrite=overwrite)
    named = [{name: place(face.landmarks, name).round(2).tolist() for name in NAMES} for face in found]
    if json:
        console.result_json(
            {
                "photo": str(photo),
                "size": [source.width, source.height],
                "faces": [
                    {
                        "number": number,
                        "box": [round(v, 2) for v in face.box],
                        "score": round(face.score, 3),
                        "detector": face.detector,
                        "names": names,
                        "landmarks": face.landmarks.round(2).tolist(),
                    }
                    for number, (face, names) in enumerate(zip(found, named, strict=True), start=1)
                ],
            }
        )
        return 0
    for number, (face, names) in enumerate(zip(found, named, strict=True), start=1):
        x0, y0, x1, y1 = face.box
        console.result(f"face {number}: {x0:.0f},{y0:.0f} to {x1:.0f},{y1:.0f}, score {face.score:.2f}")
        for name, (x, y) in names.items():
            numbers = " ".join(str(i) for i in NAMES[name])
            console.result(f"  {name:18}{x:8.1f},{y:<8.1f}  {numbers}")
    return 0
