"""`photodrag edit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

from cyclopts import Parameter

from drag.settings import DragSettings, Region
from inversion.settings import InversionSettings, TuningSettings
from pipeline.cli import console
from pipeline.cli.options import (
    CompositeOptions,
    ComputeOptions,
    DragOptions,
    FaceOptions,
    Flag,
    InversionOptions,
    Output,
    TuningOptions,
)
from pipeline.settings import CompositeSettings, ComputeSettings, FaceSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pipeline.edit import EditResult

NOT_ARRIVED = 6


def edit(
    photo: Path,
    /,
    *,
    output: Output = None,
    drag: Annotated[list[str], Parameter(negative="", show_default=False)] = [],  # noqa: B006
    mask: str | None = None,
    preview: Path | None = None,
    json: Flag = False,
    no_cache: Flag = False,
    overwrite: Flag = False,
    offline: Flag = False,
    faces: FaceOptions = FaceSettings(),
    dragging: DragOptions = DragSettings(),
    inversion: InversionOptions = InversionSettings(),
    tuning: TuningOptions = TuningSettings(),
    compositing: CompositeOptions = CompositeSettings(),
    compute: ComputeOptions = ComputeSettings(),
) -> int:
    """Drag points of a photo.

    A drag is HANDLE:TARGET. Both are X,Y in pixels of the photo; or the handle is a landmark's name and the
    target DX%,DY% from it, in percent of the distance between the eyes, along and across the eye line:
    --drag mouth-left:-8%,-6%. Left is the picture's left.

    Landmarks: LANDMARK_NAMES; or a number from 0 to 67, which `photodrag landmarks` shows.

    Parameters
    ----------
    photo
        JPEG, PNG, WebP or TIFF; or an inversion's file, made by `photodrag invert`, whose photo lies where it was.
    output
        Where the edited photo goes; its ending chooses the format. Without it, NAME-edited.EXT beside the photo.
    drag
        HANDLE:TARGET; repeat it for more points.
    mask
        What may move: face, mouth, eyes, brows, nose or jaw; or a picture of the photo's size, painted white there.
    preview
        Write the drag as a moving picture, .gif or .webp.
    json
        Print what was done as JSON.
    no_cache
        Invert anew, and keep no inversion for the next edit.
    overwrite
        Replace files that exist.
    offline
        Never use the network.
    """
    from drag.landmarks import parse_drag
    from pipeline.cache import InversionCache
    from pipeline.edit import EditSettings, Pipeline
    from pipeline.inversions import is_inversion, read_with_photo
    from pipeline.photo import check_output, read_photo, write_photo
    from pipeline.preview import check_preview, write_preview
    from weights.errors import InvalidInput
    from weights.store import Store

    inverted = None
    if is_inversion(photo):
        inverted, photo = read_with_photo(photo)
    target = output or photo.with_name(f"{photo.stem}-edited{photo.suffix}")
    check_output(target, overwrite=overwrite)
    if preview:
        check_preview(preview)
        if preview.exists() and not overwrite:
            raise InvalidInput(f"{preview} exists: give another path, or --overwrite.")
    drags = [parse_drag(text) for text in drag]
    if not drags:
        raise InvalidInput("There is nothing to drag: give at least one --drag HANDLE:TARGET.")
    source, allowed = read_photo(photo), read_allowed(mask)
    settings = EditSettings(
        faces=faces, inversion=inversion, tuning=tuning, drag=dragging, composite=compositing, compute=compute
    )
    with console.bars() as bars:
        store = Store(offline=offline, progress=bars.fetch, notice=console.notice)
        pipeline = Pipeline(settings, store=store, cache=None if no_cache else InversionCache())
        subject = pipeline.prepare(source, inversion=inverted) if inverted else source
        result = pipeline.edit(subject, drags, mask=allowed, progress=bars.stage)
    write_photo(result.photo, target, overwrite=overwrite)
    if preview:
        write_preview(preview, result.drag, result.subject.render)
    if json:
        console.result_json(describe(result, photo, target, drag))
    else:
        console.result(str(target))
        console.notice(summary(result, drag))
    return 0 if result.arrived else NOT_ARRIVED


def read_allowed(text: str | None) -> "NDArray[np.float32] | Region | None":
    """Return the region that is named so, or else the mask in the file of that name."""
    from pipeline.photo import read_mask

    if text is None or text in get_args(Region):
        return cast("Region | None", text)
    return read_mask(Path(text))


def describe(result: "EditResult", photo: Path, target: Path, drags: "Sequence[str]") -> dict[str, Any]:
    """Return what was done, as JSON's types; lengths are pixels of the photo."""
    subject, scale = result.subject, result.subject.alignment.scale
    to_photo = subject.alignment.to_photo
    ends = {"from": result.points.handles, "to": result.points.targets, "ended": result.drag.path[-1]}
    photo_ends = {key: to_photo(points).round(2).tolist() for key, points in ends.items()}
    return {
        "photo": str(photo),
        "output": str(target),
        "generator": subject.inversion.generator,
        "detector": subject.face.detector if subject.face else None,
        "face": {"box": [round(v, 1) for v in subject.face.box], "score": round(subject.face.score, 3)}
        if subject.face
        else None,
        "handles": [
            {
                "drag": text,
                **{key: points[i] for key, points in photo_ends.items()},
                "left": round(float(result.drag.distances[i]) * scale, 2),
                "reached": None if share != share else round(float(share), 3),
            }
            for i, (text, share) in enumerate(zip(drags, result.reached, strict=True))
        ],
        "stopped": result.drag.reason,
        "arrived": result.arrived,
        "steps": {**subject.inversion.steps, "drag": result.drag.steps},
        "loss": round(subject.inversion.loss, 4),
        "changed": int((result.mask > 0).sum()),
        "seconds": {stage: round(seconds, 2) for stage, seconds in result.seconds.items()},
    }


def summary(result: "EditResult", drags: "Sequence[str]") -> str:
    """Return a few lines for people."""
    scale = result.subject.alignment.scale
    lines = []
    for text, left, share in zip(drags, result.drag.distances, result.reached, strict=True):
        line = f"  {text}: {left * scale:.1f} px from its target by the tracker"
        lines.append(line if share != share else f"{line}; the landmark made {share:.0%} of its way")
    seconds = ", ".join(f"{stage} {value:.1f} s" for stage, value in result.seconds.items())
    return "\n".join([f"The drag ended: {result.drag.reason} after {result.drag.steps} steps.", *lines, f"  {seconds}"])


def _fill_names() -> None:
    """Put the landmarks' names into the help; they are written down once, in drag.landmarks."""
    from drag.names import NAMES

    assert edit.__doc__ is not None
    edit.__doc__ = edit.__doc__.replace("LANDMARK_NAMES", ", ".join(NAMES))


_fill_names()
