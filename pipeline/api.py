"""Edits from Python in one call, with strings and paths as the command line takes them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drag.landmarks import Drag, parse_drag
from drag.settings import Region
from pipeline.edit import EditResult, EditSettings, Pipeline, Progress
from pipeline.photo import Photo
from pipeline.subject import Subject
from weights.errors import Cancelled, InvalidInput

Cancel = Callable[[], bool]
"""Asked at each step whether to give up; `threading.Event().is_set` is one."""


def edit(
    photo: Photo | Subject | Path | str,
    drags: Sequence[Drag | str],
    *,
    mask: NDArray[np.float32] | Region | None = None,
    settings: EditSettings | None = None,
    pipeline: Pipeline | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> EditResult:
    """Drag points of a photo. The photo given stays as it is, and nothing is written.

    Args:
        photo: a path, a photo, or a subject that `invert` made, which saves its inversion.
        drags: handles and targets, or what `parse_drag` makes them of: "mouth-left:-8%,-6%", "812,644:800,630".
        mask: (H, W) float32 of the photo's size, 1 where it may move; or face, mouth, eyes, brows, nose or jaw.
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
    parsed = [parse_drag(d) if isinstance(d, str) else d for d in drags]
    source = Path(photo) if isinstance(photo, str) else photo
    return pipeline.edit(source, parsed, mask=mask, progress=_watched(progress, cancel))


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
