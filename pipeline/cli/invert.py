"""`photodrag invert` and `photodrag cache`."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from inversion.settings import InversionSettings, TuningSettings
from pipeline.cli import console
from pipeline.cli.options import ComputeOptions, FaceOptions, Flag, TuningOptions
from pipeline.cli.options import PlainInversionOptions as InversionOptions
from pipeline.settings import ComputeSettings, FaceSettings

INTERRUPTED = 130


def invert(
    photo: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    json: Flag = False,
    overwrite: Flag = False,
    offline: Flag = False,
    accept_license: Flag = False,
    faces: FaceOptions = FaceSettings(),
    inversion: InversionOptions = InversionSettings(),
    tuning: TuningOptions = TuningSettings(),
    compute: ComputeOptions = ComputeSettings(),
) -> int:
    """Find the code that shows a photo's face, and keep it in a file that `photodrag edit` takes.

    Ctrl-C, or the end of --time-limit, keeps the best so far.

    Parameters
    ----------
    photo
        JPEG, PNG, WebP, TIFF, HEIF or GIF.
    output
        Where the inversion goes. Without it, NAME.inv.safetensors beside the photo.
    json
        Print what was found as JSON.
    overwrite
        Replace a file that exists.
    offline
        Never use the network.
    accept_license
        Accept the licence of a generator that has to be fetched, where it is non-commercial.
    """
    from pipeline.edit import EditSettings, Pipeline
    from pipeline.inversions import write_for_photo
    from pipeline.photo import read_photo
    from weights.errors import InvalidInput

    target = output or photo.with_name(f"{photo.stem}.inv.safetensors")
    if target.exists() and not overwrite:
        raise InvalidInput(f"{target} exists: give another path, or --overwrite.")
    source = read_photo(photo)
    settings = EditSettings(faces=faces, inversion=inversion, tuning=tuning, compute=compute)
    with console.bars() as bars, console.interruptions() as interrupted:
        pipeline = Pipeline(settings, store=console.store(bars, offline=offline, accept_license=accept_license))

        def progress(stage: str, done: int, total: int, words: str) -> bool:
            bars.stage(stage, done, total, words)
            return not interrupted()

        found = pipeline.invert(pipeline.align(source), progress=progress).inversion
    write_for_photo(found, target, photo)
    if json:
        told = {"photo": str(photo), "output": str(target), "generator": found.generator}
        console.result_json(told | {"loss": round(found.loss, 4), "steps": found.steps, "completed": found.completed})
    else:
        console.result(str(target))
        steps = " and ".join(f"{n} steps ({phase})" for phase, n in found.steps.items())
        console.notice(f"The loss is {found.loss:.3f} after {steps}.")
    if not found.completed:
        console.notice("It was stopped before it was done: the best so far was kept.")
    return INTERRUPTED if interrupted() else 0


cache = App(name="cache", help="Inversions that were kept, so that a second edit of a photo starts at once.")


@cache.command(name="list")
def list_(*, json: Flag = False) -> None:
    """List the inversions that are kept.

    Parameters
    ----------
    json
        Print them as JSON.
    """
    from datetime import UTC, datetime

    from pipeline.cache import InversionCache

    kept = [(path, path.stat()) for path in InversionCache().paths()]
    rows = [
        {
            "path": str(path),
            "bytes": stat.st_size,
            "made": datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(timespec="seconds"),
        }
        for path, stat in kept
    ]
    if json:
        console.result_json(rows)
        return
    for row in rows:
        console.result(f"{row['made']}  {row['bytes']:>11,} bytes  {row['path']}")
    console.notice(f"{len(rows)} inversions, {sum(stat.st_size for _, stat in kept) / 1e6:.1f} MB.")


@cache.command
def clear() -> None:
    """Remove all inversions that are kept."""
    from pipeline.cache import InversionCache

    console.notice(f"{InversionCache().clear()} inversions removed.")
