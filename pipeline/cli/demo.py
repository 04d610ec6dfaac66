"""`photodrag demo`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipeline.cli import console
from pipeline.cli.options import Flag

SMILE = ("mouth-left:-8%,-6%", "mouth-right:8%,-6%")


def demo(*, output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("out"), overwrite: Flag = False) -> int:
    """Give a sample photo a wider smile, and write before, after and both side by side.

    The photo is NASA's portrait of Eileen Collins, in the public domain, which scikit-image brings along. How far the
    corners of the mouth went is said, and, unlike with `edit`, makes no difference to the exit code.

    Parameters
    ----------
    output
        Folder for the pictures.
    overwrite
        Replace pictures of an earlier demo.
    """
    import skimage.data

    from drag.landmarks import parse_drag
    from pipeline.edit import Pipeline
    from pipeline.photo import Photo, check_output, eight_bit, write_photo
    from pipeline.preview import side_by_side
    from pipeline.report import summary

    paths = {name: output / f"{name}.png" for name in ("before", "after", "side-by-side")}
    for path in paths.values():
        check_output(path, overwrite=overwrite)
    before = Photo(pixels=skimage.data.astronaut())
    with console.bars() as bars:
        pipeline = Pipeline(store=console.store(bars, offline=False))
        result = pipeline.edit(before, [parse_drag(text) for text in SMILE], progress=bars.stage)
    both = side_by_side([eight_bit(before.pixels), eight_bit(result.photo.pixels)])
    pictures = {"before": before, "after": result.photo, "side-by-side": result.photo.edited(both)}
    for name, path in paths.items():
        write_photo(pictures[name], path, overwrite=overwrite)
        console.result(str(path))
    console.notice(summary(result))
    return 0
