"""The edit of one photo, which `photodrag edit` and `photodrag retarget` both make."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli import codes, console
from pipeline.cli.options import PhotoOptions, as_recipe
from pipeline.recipes import Recipe

if TYPE_CHECKING:
    from inversion.inversion import Inversion
    from pipeline.photo import Photo
    from pipeline.plan import Plan
    from pipeline.subject import Aligned

STREAM = Path("-")


def edit_photo(photo: Path, asked: Recipe, options: PhotoOptions) -> int:
    """Make of a photo what a recipe says, write what the options say, and return the exit code.

    Args:
        photo: a photo's or an inversion's file, or - for stdin.
        asked: as the command got it.
        options: see there.

    Raises:
        PhotodragError: it cannot be done; nothing is written then.
    """
    from pipeline.photo import check_photo, check_size, encode_photo, write_photo
    from pipeline.recipes import as_written, write_recipe
    from weights.errors import InvalidInput
    from weights.files import is_safetensors

    # 1. Make sure that all can be read and written, before the work, and before all is imported that it needs.
    inverted, given = None, photo
    if is_safetensors(given):
        from pipeline.inversions import read_with_photo

        inverted, photo = read_with_photo(given)
    if photo != STREAM:
        check_photo(photo)
    overwrite, format_ = options.overwrite, options.format and options.format.upper()
    recipe = as_recipe(asked)
    if inverted:
        recipe = _of_inversion(inverted, recipe, name=str(given))
    if options.save_recipe:
        as_written(recipe)
    target, read = find_target(photo, options), [photo, given, *recipe.files()]
    try:
        check_outputs(target, options, inputs=read)
    except InvalidInput as error:
        if not options.dry_run:
            raise
        # What exists is in the way of the edit alone.
        check_outputs(target, dataclasses.replace(options, overwrite=True), inputs=read)
        console.notice(str(error))
    source = read_source(photo)
    if recipe.composite.composite != "crop":
        check_size(source.width, source.height, format_of(target, source, format_))
    for notice in source.notices:
        console.notice(notice)
    request = recipe.edit.read()
    # 2. Edit.
    from pipeline.cache import InversionCache
    from pipeline.edit import Pipeline
    from pipeline.estimate import estimate, in_words
    from pipeline.preview import write_preview
    from pipeline.report import describe, summary
    from pipeline.retarget import plan
    from pipeline.stages import write_stages

    with console.bars() as bars:
        store = console.store(bars, offline=options.offline, accept_license=options.accept_license)
        if options.dry_run:
            estimated = estimate(recipe.settings(), source, request, store=store, inversion=inverted)
            told = {"photo": str(photo), "output": str(target), "seconds": estimated.seconds}
            say = console.notice if target == STREAM else console.result  # stdout is the photo's
            if options.json:
                console.result_json(told | {"memory": estimated.memory})
            else:
                say(f"{photo} -> {target}\n{in_words(estimated)}")
            return 0
        pipeline = Pipeline(recipe.settings(), store=store, cache=None if options.no_cache else InversionCache())
        seen = request.seen(lambda: pipeline.detector)

        def planner(aligned: "Aligned") -> "Plan":
            planned = plan(aligned, seen)
            for note in planned.notes:
                console.notice(note)
            return planned

        subject = pipeline.prepare(source, inversion=inverted) if inverted else source
        result = pipeline.edit(subject, planner, progress=bars.stage)
        if result.subject.doubt:
            console.notice(result.subject.doubt)
    # 3. Write, and say what was done.
    edited = result.photo.stripped() if options.strip_metadata else result.photo
    if target == STREAM:
        console.result_bytes(encode_photo(edited, format_of(target, source, format_)))
    else:
        write_photo(edited, target, overwrite=overwrite, format_=format_)
    if options.preview:
        write_preview(options.preview, result.drag, result.subject.render)
    if options.save_stages:
        write_stages(options.save_stages, result)
    if options.save_points:
        result.plan.points.write(options.save_points)
    if options.save_recipe:
        write_recipe(recipe, options.save_recipe, overwrite=overwrite)
    described = describe(result)
    if options.json:
        console.result_json(
            {"photo": str(photo), "output": str(target), **described, "settings": recipe.as_dict()},
        )
    else:
        if target != STREAM:
            console.result(str(target))
        console.notice(summary(result))
    return exit_code(described)


def _of_inversion(inverted: "Inversion", recipe: Recipe, *, name: str) -> Recipe:
    """Return a recipe with the settings of an inversion that was made before; say what of it does nothing."""
    from pipeline.inversions import with_own_settings

    recipe, other = with_own_settings(inverted, recipe, name=name)
    if other:
        console.notice(
            f"{name} was made by other settings ({', '.join(other)}), which stay: invert anew to change them."
        )
    if not inverted.completed:
        console.notice(f"{name} was stopped before it was done: for a better likeness, invert the photo anew.")
    return recipe


def exit_code(*told: Mapping[str, Any]) -> int:
    """Return the exit code of edits that were made, by what `pipeline.report.describe` says of each."""
    from pipeline.report import succeeded

    return 0 if all(succeeded(one) for one in told) else codes.FELL_SHORT


def find_target(photo: Path, options: PhotoOptions) -> Path:
    """Return where the edited photo goes: where it is said to, or else beside the photo or to stdout."""
    from pipeline.photo import FORMATS

    if options.output is not None or photo == STREAM:
        return options.output or STREAM
    ending = photo.suffix if photo.suffix.lower() in FORMATS else ".png"
    if options.format and FORMATS[ending.lower()] != options.format.upper():
        ending = f".{options.format}"
    return photo.with_name(f"{photo.stem}-edited{ending}")


def check_outputs(target: Path, options: PhotoOptions, *, inputs: Sequence[Path]) -> None:
    """Make sure that all that an edit writes can be written, and replaces nothing that it reads.

    Raises:
        InvalidInput: something cannot, or would.
    """
    from weights.outputs import check_apart, check_place

    files = [path for path in (options.preview, options.save_recipe, options.save_points) if path]
    stages = list[Path]()
    if options.save_stages:
        from pipeline.stages import check_stages, stage_files

        stages = stage_files(options.save_stages)
    photos = [] if target == STREAM else [target]
    check_apart([*photos, *files, *stages], [*inputs, *([options.recipe] if options.recipe else [])])
    check_target(target, options)
    if options.preview:
        from pipeline.preview import check_preview

        check_preview(options.preview)
    for path in files:
        check_place(path, overwrite=options.overwrite)
    if options.save_stages:
        check_stages(options.save_stages, overwrite=options.overwrite)


def check_target(target: Path, options: PhotoOptions) -> None:
    """Make sure that the edited photo can be written.

    Raises:
        InvalidInput: it cannot.
    """
    from pipeline.photo import FORMATS, check_output
    from weights.errors import InvalidInput

    if target == STREAM:
        if options.dry_run:  # no photo goes there
            return
        if options.json:
            raise InvalidInput("The photo goes to stdout, and so cannot --json: give -o PATH.")
        if sys.stdout.isatty():
            raise InvalidInput("The photo would go to the terminal: give -o PATH, or a pipe.")
        return
    format, wanted = options.format, FORMATS.get(target.suffix.lower())
    if format and wanted and wanted != format.upper():
        raise InvalidInput(f"{target} does not end as --format {format} does: leave one of the two out.")
    check_output(target, overwrite=options.overwrite, format_=format and format.upper())


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


def format_of(target: Path, source: "Photo", asked: str | None) -> str:
    """Return the format to write: what is asked for, or the file's by its ending; on stdout the photo's, else PNG."""
    from pipeline.photo import FORMATS

    if asked or target != STREAM:
        return asked or FORMATS[target.suffix.lower()]
    return source.format if source.format in FORMATS.values() else "PNG"
