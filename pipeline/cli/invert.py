"""`photodrag invert` and `photodrag cache`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from inversion.settings import InversionSettings, TuningSettings
from pipeline.cli import codes, console
from pipeline.cli.options import ComputeOptions, Flag, TuningOptions
from pipeline.cli.options import PlainFaceOptions as FaceOptions
from pipeline.cli.options import PlainInversionOptions as InversionOptions
from pipeline.settings import ComputeSettings, FaceSettings

if TYPE_CHECKING:
    from pipeline.edit import EditSettings, Pipeline
    from pipeline.subject import Aligned, Subject
    from weights.load import LoadedGenerator


def invert(
    *photos: Path,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    together: int = 4,
    json: Flag = False,
    no_cache: Flag = False,
    overwrite: Flag = False,
    offline: Flag = False,
    accept_license: Flag = False,
    faces: FaceOptions = FaceSettings(),
    inversion: InversionOptions = InversionSettings(),
    tuning: TuningOptions = TuningSettings(),
    compute: ComputeOptions = ComputeSettings(),
) -> int:
    """Find the codes that show photos' faces, and keep them in files that `photodrag edit` takes.

    Ctrl-C, or the end of --time-limit, keeps the best so far. The same command again leaves what is done as it is, and
    makes anew what was stopped. Of several photos, one that fails does not stop the others; the exit code is 5 then.

    Parameters
    ----------
    photos
        JPEG, PNG, WebP, TIFF, HEIF or GIF.
    output
        Where the inversion of a single photo goes. Without it, NAME.inv.safetensors beside each photo.
    together
        So many photos are inverted as one batch; more is faster on a graphics card, and takes more memory. With
        --time-limit or --noise optimise it is one.
    json
        Print what was found as JSON, one object a photo.
    no_cache
        Invert anew, and keep no inversion for the next edit.
    overwrite
        Replace files that exist.
    offline
        Never use the network.
    accept_license
        Accept the licence of a generator that has to be fetched, where it is non-commercial.
    """
    from pipeline.cache import InversionCache
    from pipeline.edit import EditSettings, Pipeline
    from pipeline.inversions import tables, write_for_photo
    from weights.errors import InvalidInput

    if together < 1:
        raise InvalidInput(f"{together} photos cannot be inverted together: give 1 or more.")
    targets = _targets(photos, output, generator=Path(compute.generator))
    settings = EditSettings(faces=faces, inversion=inversion, tuning=tuning, compute=compute)
    with console.bars() as bars, console.interruptions() as interrupted:
        store = console.store(bars, offline=offline, accept_license=accept_license)
        pipeline = Pipeline(settings, store=store, cache=None if no_cache else InversionCache())
        # The generator is loaded now: what suits no photo is said once, and not of each.
        order, done = _left(targets, settings, pipeline.generator, overwrite=overwrite), 0

        def progress(stage: str, done: int, total: int, words: str) -> bool:
            bars.stage(stage, done, total, words)
            return not interrupted()

        one_by_one = inversion.noise == "optimise" or inversion.time_limit > 0  # a batch has one deadline
        step = 1 if one_by_one else together
        for some in (order[i : i + step] for i in range(0, len(order), step)):
            if interrupted():
                break
            aligned = _aligned(pipeline, some, alone=len(targets) == 1)
            if interrupted():
                break
            subjects = pipeline.invert_all(list(aligned.values()), progress=progress)
            for photo, subject in zip(aligned, subjects, strict=True):
                write_for_photo(replace(subject.inversion, settings=tables(settings)), targets[photo], photo)
                _tell(subject, photo, targets[photo], json=json)
            done += len(aligned)
    if interrupted():
        console.notice("Interrupted: the same command goes on with what is left.")
        return codes.INTERRUPTED
    return codes.SOME_FAILED if done < len(order) else 0


def _targets(photos: Sequence[Path], output: Path | None, *, generator: Path) -> dict[Path, Path]:
    """Return where each photo's inversion goes, having made sure that it replaces nothing that is read.

    Raises:
        InvalidInput: it would, or a photo is not there.
    """
    from pipeline.photo import check_photo
    from weights.errors import InvalidInput
    from weights.outputs import check_apart

    if not photos:
        raise InvalidInput("There is no photo to invert: give at least one.")
    if output and len(photos) > 1:
        raise InvalidInput(f"{len(photos)} inversions do not fit into {output}: leave -o out, or give one photo.")
    for photo in photos:
        check_photo(photo)
    targets = {photo: output or photo.with_name(f"{photo.stem}.inv.safetensors") for photo in photos}
    if len(set(targets.values())) < len(targets):
        raise InvalidInput("Two photos would have the same inversion file: invert them one by one, each with -o.")
    check_apart(targets.values(), [*photos, generator])
    return targets


def _left(
    targets: Mapping[Path, Path], settings: "EditSettings", generator: "LoadedGenerator", *, overwrite: bool
) -> list[Path]:
    """Return the photos that are to be inverted: all whose own inversion is not there yet, or was stopped.

    Raises:
        InvalidInput: something else is there and `overwrite` is false, or nothing may be written there.
    """
    from pipeline.inversions import made_before
    from weights.outputs import check_place

    left = []
    for photo, target in targets.items():
        before = None if overwrite else made_before(target, photo, settings, generator)
        if before and before.completed:
            console.notice(f"{target} was made before, by the same settings: it is left as it is.")
            continue
        check_place(target, overwrite=overwrite or before is not None)
        left.append(photo)
    return left


def _aligned(pipeline: "Pipeline", photos: Sequence[Path], *, alone: bool) -> "dict[Path, Aligned]":
    """Align photos, and say what is wrong with those that cannot be.

    Raises:
        WeightsMissing: without which no photo can be.
        PhotodragError: a photo cannot be, and it is all `alone`.
    """
    from weights.errors import PhotodragError, WeightsMissing

    found = {}
    for photo in photos:
        try:
            found[photo] = pipeline.align(photo)
        except WeightsMissing:
            raise
        except (PhotodragError, OSError) as error:
            if alone:
                raise
            console.error_of(photo, str(error))
    return found


def _tell(subject: "Subject", photo: Path, target: Path, *, json: bool) -> None:
    """Say what was found."""
    found = subject.inversion
    if json:
        told = {"photo": str(photo), "output": str(target), "generator": found.generator}
        console.result_json(told | {"loss": round(found.loss, 4), "steps": found.steps, "completed": found.completed})
    else:
        console.result(str(target))
        steps = " and ".join(f"{n} steps ({phase})" for phase, n in found.steps.items())
        console.notice(f"The loss is {found.loss:.3f} after {steps}.")
    if subject.doubt:
        console.notice(subject.doubt)
    if not found.completed:
        console.notice("It was stopped before it was done: the best so far was kept.")


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
            "used": datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(timespec="seconds"),
        }
        for path, stat in kept
    ]
    if json:
        console.result_json(rows)
        return
    for row in rows:
        console.result(f"{row['used']}  {row['bytes']:>11,} bytes  {row['path']}")
    console.notice(f"{len(rows)} inversions, {sum(stat.st_size for _, stat in kept) / 1e6:.1f} MB.")


@cache.command
def clear() -> None:
    """Remove all inversions that are kept."""
    from pipeline.cache import InversionCache

    console.notice(f"{InversionCache().clear()} inversions removed.")
