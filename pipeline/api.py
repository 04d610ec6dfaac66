"""Edits from Python in one call, with strings and paths as the command line takes them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from drag.landmarks import Drag, parse_drag
from drag.points_file import PointsFile, read_points
from drag.presets import choose_presets
from drag.settings import Part
from pipeline.edit import EditResult, EditSettings, Pipeline, Progress
from pipeline.photo import Photo, read_photo
from pipeline.plan import Mask
from pipeline.retarget import Request, plan
from pipeline.subject import Subject
from weights.errors import Cancelled, InvalidInput

Cancel = Callable[[], bool]
"""Asked at each step whether to give up; `threading.Event().is_set` is one."""


def edit(
    photo: Photo | Subject | Path | str,
    drags: Sequence[Drag | str],
    *,
    mask: Mask | None = None,
    settings: EditSettings | None = None,
    pipeline: Pipeline | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> EditResult:
    """Drag points of a photo. The photo given stays as it is, and nothing is written.

    Args:
        photo: a path, a photo, or a subject that `invert` made, which saves its inversion.
        drags: handles and targets, or what `parse_drag` makes them of: "mouth-left:-8%,-6%", "812,644:800,630".
        mask: (H, W) float32 of the photo's size, 1 where it may move; face, mouth, eyes, brows, nose or jaw, or
            several of them; () for the whole crop; None for the parts of the face whose landmarks are handles, or for
            the whole crop where other points are.
        settings: see there; None for the defaults, or for those of `pipeline`.
        pipeline: whose networks to use; None to load them. Give it to make more than one edit.
        progress: told of each step: the stage, steps made, steps at most, a word on how it goes; False ends the
            stage with what it has.
        cancel: asked at each step; where it says so, the edit ends with an error.

    Raises:
        Cancelled: `cancel` said so.
        PhotodragError: the photo, a drag or the mask cannot be used; the message says why.
    """
    pipeline = _pipeline(pipeline, settings)
    source = Path(photo) if isinstance(photo, str) else photo
    return pipeline.edit(source, _parsed(drags), mask=mask, progress=_watched(progress, cancel))


def retarget(
    photo: Photo | Subject | Path | str,
    *,
    like: Photo | Path | str | None = None,
    region: Sequence[Part] = (),
    strength: float = 1.0,
    presets: Mapping[str, float] | None = None,
    preset_files: Sequence[Path | str] = (),
    points: PointsFile | Path | str | None = None,
    drags: Sequence[Drag | str] = (),
    mask: Mask | None = None,
    settings: EditSettings | None = None,
    pipeline: Pipeline | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> EditResult:
    """Give a face another one's expression, or a preset's. What is asked adds up; the photo given stays as it is.

    Args:
        photo: as in `edit`.
        like: a path or a photo; its largest face has the expression that this one is to have.
        region: what of that expression is taken; all but the pose and the nose where nothing is said.
        strength: how much of that expression, from 0 to 1.5.
        presets: strengths from -3 to 3, not 0, by the presets' names: {"smile": 0.6}.
        preset_files: TOML files with more presets.
        points: handles and targets, or the path of a JSON file with them; `EditResult.plan.points` are some.
        drags: as in `edit`.
        mask: as in `edit`; None for the regions that move.
        settings: as in `edit`.
        pipeline: as in `edit`.
        progress: as in `edit`.
        cancel: as in `edit`.

    Returns:
        The edit; its `plan` has the drags, the regions and notes on what was held back.

    Raises:
        Cancelled: `cancel` said so.
        NoFace: there is none in the photo or in `like`.
        PhotodragError: something that is asked cannot be used, or nothing is; the message says why.
    """
    if like is None and not presets and points is None:
        raise InvalidInput("There is nothing to do: give `like`, `presets` or `points`.")
    pipeline = _pipeline(pipeline, settings)
    named = [f"{name}={value}" for name, value in (presets or {}).items()]
    request = Request(
        like=read_photo(Path(like)) if isinstance(like, Path | str) else like,
        parts=tuple(region),
        strength=strength,
        presets=choose_presets(named, [Path(path) for path in preset_files]),
        points=read_points(Path(points)) if isinstance(points, Path | str) else points,
        drags=tuple(_parsed(drags)),
        mask=mask,
    ).seen(lambda: pipeline.detector)
    source = Path(photo) if isinstance(photo, str) else photo
    return pipeline.edit(source, partial(plan, request=request), progress=_watched(progress, cancel))


def invert(
    photo: Photo | Path | str,
    *,
    settings: EditSettings | None = None,
    pipeline: Pipeline | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Subject:
    """Find the face of a photo and the code that shows it: what any number of edits start from.

    Args:
        photo: a path or a photo.
        settings: as in `edit`.
        pipeline: as in `edit`.
        progress: as in `edit`.
        cancel: as in `edit`.

    Raises:
        Cancelled: `cancel` said so.
        PhotodragError: as in `edit`.
    """
    source = Path(photo) if isinstance(photo, str) else photo
    return _pipeline(pipeline, settings).prepare(source, progress=_watched(progress, cancel))


def _parsed(drags: Sequence[Drag | str]) -> list[Drag]:
    if isinstance(drags, str):
        raise InvalidInput(f"Drags are a list, [{drags!r}] for a single one.")
    return [parse_drag(d) if isinstance(d, str) else d for d in drags]


def _pipeline(pipeline: Pipeline | None, settings: EditSettings | None) -> Pipeline:
    if pipeline is not None and settings is not None:
        raise InvalidInput("Settings belong to the pipeline that is given as well: give one of the two.")
    return pipeline or Pipeline(settings)


def _watched(progress: Progress | None, cancel: Cancel | None) -> Progress | None:
    """Return a progress that asks `cancel` first."""
    if cancel is None:
        return progress

    def told(stage: str, done: int, total: int, words: str) -> bool | None:
        if cancel():
            raise Cancelled("The edit was cancelled; nothing was written.")
        return progress(stage, done, total, words) if progress else None

    return told
