"""`photodrag retarget`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from drag.settings import Part, RetargetDragSettings
from inversion.settings import InversionSettings, TuningSettings
from pipeline.cli import console
from pipeline.cli.options import (
    CompositeOptions,
    ComputeOptions,
    FaceOptions,
    Flag,
    InversionOptions,
    Output,
    RetargetDragOptions,
    TuningOptions,
)
from pipeline.settings import CompositeSettings, ComputeSettings, FaceSettings

if TYPE_CHECKING:
    from drag.landmarks import Drag
    from pipeline.edit import EditResult
    from pipeline.retarget import Plan

ENOUGH = 0.5  # share of the landmarks' way that counts as arrived

Words = Annotated[list[str], Parameter(negative="", show_default=False)]


def retarget(
    photo: Path,
    /,
    *,
    output: Output = None,
    like: Path | None = None,
    region: Annotated[list[Part], Parameter(negative="", show_default=False)] = [],  # noqa: B006
    strength: float = 1.0,
    preset: Words = [],  # noqa: B006
    presets: Annotated[list[Path], Parameter(negative="", show_default=False)] = [],  # noqa: B006
    points: Path | None = None,
    save_points: Path | None = None,
    mask: str | None = None,
    preview: Path | None = None,
    json: Flag = False,
    no_cache: Flag = False,
    overwrite: Flag = False,
    offline: Flag = False,
    accept_license: Flag = False,
    faces: FaceOptions = FaceSettings(),
    dragging: RetargetDragOptions = RetargetDragSettings(),
    inversion: InversionOptions = InversionSettings(),
    tuning: TuningOptions = TuningSettings(),
    compositing: CompositeOptions = CompositeSettings(),
    compute: ComputeOptions = ComputeSettings(),
) -> int:
    """Give a face another one's expression, or a preset's.

    The landmarks that have to move become handles, others anchors that hold the rest of the face; what may
    change is the region that they belong to. --like, --preset and --points add up. What a face cannot do is
    held back with a word about it. How far the landmarks went is told by detecting them again on the result;
    the exit code is 6 where that is less than half of the way.

    Parameters
    ----------
    photo
        JPEG, PNG, WebP or TIFF; or an inversion's file, made by `photodrag invert`, whose photo lies where it was.
    output
        Where the edited photo goes; its ending chooses the format. Without it, NAME-edited.EXT beside the photo.
    like
        A photo whose largest face has the expression that this one is to have.
    region
        What of that expression is taken: mouth, eyes, brows, jaw, nose, pose, or all; repeat it for more. Without
        it, all but the pose.
    strength
        How much of that expression: from 0 to 1.5.
    preset
        NAME=STRENGTH, like smile=0.6; negative for the reverse; repeat it to mix. `photodrag presets` lists them.
    presets
        A TOML file with presets of your own; repeat it for more.
    points
        A JSON file with handles and targets, as --save-points writes it.
    save_points
        Write the handles and targets that were used, to repeat the edit on other photos.
    mask
        What may move, instead of the region: face, mouth, eyes, brows, nose or jaw; or a picture of the photo's
        size, painted white there.
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
    accept_license
        Accept the licence of a generator that has to be fetched, where it is non-commercial.
    """
    from drag.points_file import read_points
    from drag.presets import parse_strength, read_presets
    from pipeline.cache import InversionCache
    from pipeline.cli.edit import NOT_ARRIVED, read_source
    from pipeline.edit import EditSettings, Pipeline
    from pipeline.inversions import is_inversion, read_with_photo
    from pipeline.photo import check_output, read_photo, write_photo
    from pipeline.preview import check_preview, write_preview
    from pipeline.report import describe
    from pipeline.request import EditRequest
    from pipeline.retarget import Request, check_strength, landmarks_of, overall, plan
    from weights.errors import InvalidInput

    inverted = None
    if is_inversion(photo):
        inverted, photo = read_with_photo(photo)
    target = output or photo.with_name(f"{photo.stem}-edited{photo.suffix}")
    check_output(target, overwrite=overwrite)
    if preview:
        check_preview(preview)
    for path in (preview, save_points):
        if path and path.exists() and not overwrite:
            raise InvalidInput(f"{path} exists: give another path, or --overwrite.")
    if not (like or preset or points):
        raise InvalidInput("There is nothing to do: give --like OTHER, --preset NAME=STRENGTH, or --points FILE.")
    if like is None and (region or strength != 1):
        raise InvalidInput("--region and --strength say what is taken of --like OTHER: give that photo, too.")
    check_strength(strength)
    known = read_presets(presets)
    chosen = tuple(parse_strength(text, known) for text in preset)
    given = read_points(points) if points else None
    source, other, allowed = read_source(photo), read_photo(like) if like else None, EditRequest(mask=mask).allowed()
    settings = EditSettings(
        faces=faces, inversion=inversion, tuning=tuning, drag=dragging, composite=compositing, compute=compute
    )
    with console.bars() as bars:
        store = console.store(bars, offline=offline, accept_license=accept_license)
        pipeline = Pipeline(settings, store=store, cache=None if no_cache else InversionCache())
        prepared = pipeline.prepare(source, inversion=inverted) if inverted else None
        aligned = prepared or pipeline.align(source)
        request = Request(
            like=landmarks_of(other, pipeline.detector) if other else None,
            parts=tuple(region),
            strength=strength,
            presets=chosen,
            points=given,
        )
        planned = plan(aligned, request)
        for note in planned.notes:
            console.notice(note)
        subject = prepared or pipeline.invert(aligned, progress=bars.stage)
        region_or_mask = (planned.regions or None) if allowed is None else allowed
        result = pipeline.edit(subject, planned.drags, mask=region_or_mask, progress=bars.stage)
    write_photo(result.photo, target, overwrite=overwrite)
    if save_points:
        planned.points.write(save_points)
    if preview:
        write_preview(preview, result.drag, result.subject.render)
    share = overall(result)
    if json:
        told = {"photo": str(photo), "output": str(target), **describe(result, [words(drag) for drag in planned.drags])}
        more = {"reached": share, "regions": list(planned.regions), "notes": list(planned.notes)}
        console.result_json(told | more)
    else:
        console.result(str(target))
        console.notice(summary(result, planned, share))
    return 0 if (result.arrived if share is None else share >= ENOUGH) else NOT_ARRIVED


def words(drag: "Drag") -> str:
    """Return a drag as the command line writes it."""
    handle = drag.handle if isinstance(drag.handle, str) else "{:g},{:g}".format(*drag.handle)
    unit = "%" if drag.relative else ""
    return "{}:{:g}{unit},{:g}{unit}".format(handle, *drag.target, unit=unit)


def summary(result: "EditResult", plan: "Plan", share: float | None) -> str:
    """Return a few lines for people."""
    moving = [(words(drag), at) for drag, at in zip(plan.drags, result.reached, strict=True) if not drag.anchor]
    held = len(plan.drags) - len(moving)
    lines = [f"The drag ended: {result.drag.reason} after {result.drag.steps} steps."]
    if share is not None:
        lines.append(f"Detected again on the result, the landmarks made {share:.0%} of their way:")
    lines += [f"  {text}" + ("" if at != at else f"  {at:.0%}") for text, at in moving]
    lines.append(f"  {held} landmarks were held; what may change: {', '.join(plan.regions) or 'the whole crop'}")
    lines.append("  " + ", ".join(f"{stage} {value:.1f} s" for stage, value in result.seconds.items()))
    return "\n".join(lines)
