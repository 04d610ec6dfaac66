"""`photodrag edit`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from drag.settings import DragSettings
from inversion.settings import InversionSettings, TuningSettings
from pipeline.cli import console
from pipeline.cli.options import (
    CompositeOptions,
    ComputeOptions,
    DragOptions,
    FaceOptions,
    Flag,
    FormatName,
    InversionOptions,
    Output,
    RequestOptions,
    TuningOptions,
    as_recipe,
)
from pipeline.request import EditRequest
from pipeline.settings import CompositeSettings, ComputeSettings, FaceSettings

if TYPE_CHECKING:
    from pipeline.photo import Photo

NOT_ARRIVED = 6
STREAM = Path("-")


def edit(
    photo: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    output: Output = None,
    request: RequestOptions = EditRequest(),
    format: FormatName | None = None,
    strip_metadata: Flag = False,
    recipe: Path | None = None,
    save_recipe: Path | None = None,
    preview: Path | None = None,
    save_stages: Path | None = None,
    json: Flag = False,
    dry_run: Flag = False,
    no_cache: Flag = False,
    overwrite: Flag = False,
    offline: Flag = False,
    accept_license: Flag = False,
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
        JPEG, PNG, WebP, TIFF, HEIF or GIF; or an inversion's file, made by `photodrag invert`, whose photo lies
        where it was; or - for a photo from stdin.
    output
        Where the edited photo goes; its ending chooses the format. Without it, NAME-edited.EXT beside the photo,
        or stdout for a photo from stdin. - is stdout.
    format
        Format of the edited photo; without it, that of the ending, or for stdout that of the photo.
    strip_metadata
        Leave out EXIF with the place it was taken at, IPTC, XMP and comments; the colour profile stays.
    recipe
        Take what is not said here from this file.
    save_recipe
        Write every setting of this edit to a file that --recipe takes.
    preview
        Write the drag as a moving picture, .gif, .webp or .mp4.
    save_stages
        Keep crop, reconstruction, edited crop and masks in this folder, and index.html, which shows them.
    json
        Print what was done as JSON; docs/json.md says what it holds.
    dry_run
        Write nothing; make a few steps and say how long all would take at most, and how much memory.
    no_cache
        Invert anew, and keep no inversion for the next edit.
    overwrite
        Replace files that exist; never the photo itself.
    offline
        Never use the network.
    accept_license
        Accept the licence of a generator that has to be fetched, where it is non-commercial.
    """
    from pipeline.cache import InversionCache
    from pipeline.edit import Pipeline
    from pipeline.estimate import estimate, in_words
    from pipeline.inversions import is_inversion, read_with_photo
    from pipeline.photo import encode_photo, write_photo
    from pipeline.preview import check_preview, write_preview
    from pipeline.recipes import write_recipe
    from pipeline.report import describe, summary
    from pipeline.stages import check_stages, write_stages
    from weights.errors import InvalidInput

    inverted = None
    if is_inversion(photo):
        inverted, photo = read_with_photo(photo)
    target = check_target(photo, output, format, json=json, overwrite=overwrite)
    if preview:
        check_preview(preview)
    for path in (preview, save_recipe):
        if path and path.exists() and not overwrite:
            raise InvalidInput(f"{path} exists: give another path, or --overwrite.")
    if save_stages:
        check_stages(save_stages, overwrite=overwrite)
    drags, allowed = request.drags(), request.allowed()
    asked = as_recipe(
        request=request,
        faces=faces,
        inversion=inversion,
        tuning=tuning,
        dragging=dragging,
        compositing=compositing,
        compute=compute,
    )
    source = read_source(photo)
    for notice in source.notices:
        console.notice(notice)
    with console.bars() as bars:
        store = console.store(bars, offline=offline, accept_license=accept_license)
        if dry_run:
            estimated = estimate(asked.settings(), source, request, store=store)
            told = {"photo": str(photo), "output": str(target), "seconds": estimated.seconds}
            if json:
                console.result_json(told | {"memory": estimated.memory})
            else:
                console.result(f"{photo} -> {target}\n{in_words(estimated)}")
            return 0
        pipeline = Pipeline(asked.settings(), store=store, cache=None if no_cache else InversionCache())
        subject = pipeline.prepare(source, inversion=inverted) if inverted else source
        result = pipeline.edit(subject, drags, mask=allowed, progress=bars.stage)
    edited = result.photo.stripped() if strip_metadata else result.photo
    if target == STREAM:
        console.result_bytes(encode_photo(edited, format.upper() if format else stream_format(source)))
    else:
        write_photo(edited, target, overwrite=overwrite, format_=format and format.upper())
    if preview:
        write_preview(preview, result.drag, result.subject.render)
    if save_stages:
        write_stages(save_stages, result, request.drag, overwrite=overwrite)
    if save_recipe:
        write_recipe(asked, save_recipe, overwrite=overwrite)
    if json:
        told = {"photo": str(photo), "output": str(target), **describe(result, request.drag)}
        console.result_json({**told, "settings": asked.as_dict()})
    else:
        if target != STREAM:
            console.result(str(target))
        console.notice(summary(result, request.drag))
    return 0 if result.arrived else NOT_ARRIVED


def check_target(photo: Path, output: Path | None, format: FormatName | None, *, json: bool, overwrite: bool) -> Path:
    """Return where the edited photo goes, having made sure that it can.

    Raises:
        InvalidInput: it cannot.
    """
    from pipeline.photo import FORMATS, check_output
    from weights.errors import InvalidInput

    target = output
    if target is None and photo == STREAM:
        target = STREAM
    elif target is None:
        ending = photo.suffix if photo.suffix.lower() in FORMATS else ".png"
        if format and FORMATS[ending.lower()] != format.upper():
            ending = f".{format}"
        target = photo.with_name(f"{photo.stem}-edited{ending}")
    if target == STREAM:
        if json:
            raise InvalidInput("The photo goes to stdout, and so cannot --json: give -o PATH.")
        if sys.stdout.isatty():
            raise InvalidInput("The photo would go to the terminal: give -o PATH, or a pipe.")
        return target
    wanted = FORMATS.get(target.suffix.lower())
    if format and wanted and wanted != format.upper():
        raise InvalidInput(f"{target} does not end as --format {format} does: leave one of the two out.")
    check_output(target, overwrite=overwrite, format_=format and format.upper(), source=photo)
    return target


def read_source(photo: Path) -> "Photo":
    """Read a photo from a file or, for -, from stdin.

    Raises:
        InvalidInput, InvalidFile: as in `read_photo`.
    """
    from pipeline.photo import decode_photo, read_photo
    from weights.errors import InvalidInput

    if photo != STREAM:
        return read_photo(photo)
    if sys.stdin.isatty():
        raise InvalidInput("There is no photo on stdin, which is a terminal: give a path, or a pipe.")
    data = sys.stdin.buffer.read()
    if not data:
        raise InvalidInput("There is no photo on stdin: the command before this one wrote nothing.")
    return decode_photo(data, name="The photo on stdin")


def stream_format(source: "Photo") -> str:
    """Return the format that a photo is written to stdout in: its own where that is written, else PNG."""
    from pipeline.photo import FORMATS

    return source.format if source.format in FORMATS.values() else "PNG"


def _fill_names() -> None:
    """Put the landmarks' names into the help; they are written down once, in drag.landmarks."""
    from drag.names import NAMES

    assert edit.__doc__ is not None
    edit.__doc__ = edit.__doc__.replace("LANDMARK_NAMES", ", ".join(NAMES))


_fill_names()
