"""`photodrag presets`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipeline.cli import console
from pipeline.cli.options import Flag, Output
from pipeline.cli.photo import read_source


def presets(
    *,
    output: Output = None,
    presets: Annotated[list[Path], Parameter(negative="", show_default=False)] = [],  # noqa: B006
    sheet: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    strength: float = 0.8,
    json: Flag = False,
    no_cache: Flag = False,
    overwrite: Flag = False,
    offline: Flag = False,
) -> int:
    """List the presets of `photodrag retarget`, and draw them.

    Parameters
    ----------
    output
        Draw each preset's ways on the mean face; with --sheet, each applied to that photo.
    presets
        A TOML file with presets of your own; repeat it for more.
    sheet
        A photo, or - for one from stdin, to which every preset is applied, each picture with the share of its way
        that was reached.
    strength
        At which the presets are drawn, or applied to the photo of --sheet.
    json
        Print the presets as JSON.
    no_cache
        Invert anew, and keep no inversion for the next edit.
    overwrite
        Replace a file that exists.
    offline
        Never use the network.
    """
    from drag.presets import read_presets
    from pipeline.cache import InversionCache
    from pipeline.photo import Photo, check_output, write_photo
    from pipeline.sheet import draw_presets, sheet_of
    from weights.errors import InvalidInput
    from weights.outputs import check_apart

    known = read_presets(presets)
    if output:
        check_apart([output], [*presets, *([sheet] if sheet else [])])
        check_output(output, overwrite=overwrite)
    elif sheet:
        raise InvalidInput("--sheet makes a picture: say where with -o sheet.png.")
    if not -1.5 <= strength <= 1.5 or strength == 0:
        raise InvalidInput(f"A strength of {strength:g} cannot be: choose one from -1.5 to 1.5 that is not 0.")
    if output and sheet:
        from pipeline.edit import Pipeline

        photo = read_source(sheet)
        with console.bars() as bars:
            store = console.store(bars, offline=offline)
            pipeline = Pipeline(store=store, cache=None if no_cache else InversionCache())
            drawn = sheet_of(pipeline, photo, list(known.values()), strength=strength, progress=bars.stage)
        write_photo(Photo(pixels=drawn).edited(drawn), output, overwrite=overwrite)
    elif output:
        write_photo(Photo(pixels=draw_presets(list(known.values()), strength=strength)), output, overwrite=overwrite)
    if json:
        fields = ("about", "move", "turn", "regions")
        console.result_json({name: {key: getattr(p, key) for key in fields} for name, p in known.items()})
    elif sheet:
        console.result(str(output))
    else:
        for name, preset in known.items():
            console.result(f"{name:14}{preset.about}  ({', '.join(preset.regions) or 'whole crop'})")
    return 0
