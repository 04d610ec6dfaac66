"""What is dragged in a photo: a request, once the face is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from drag.landmarks import Drag, by_landmarks, check_handles
from drag.names import numbers
from drag.points_file import PointsFile
from drag.settings import DragSettings, Region, drag_defaults
from drag.shape import PARTS
from pipeline.subject import Aligned

Mask = NDArray[np.float32] | Region | tuple[Region, ...]
"""What may change: (H, W) of the photo's size from 0 to 1, or regions of the face."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What is dragged.

    Attributes:
        drags: handles, anchors among them.
        regions: of the face that may change; none for the whole picture, or for what the mask allows.
        mask: (H, W) float32 of the photo's size, 1 where it may move; None for what the regions say.
        notes: a sentence for each kind of thing that was held back.
        settings: the drag's, where the user has none to give.
        also: landmarks that are not dragged, but are to go somewhere as well: what the drag leaves of their ways is
            made up for as far as the settings' `finish` allows.
    """

    drags: tuple[Drag, ...]
    regions: tuple[Region, ...] = ()
    mask: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()
    settings: DragSettings = field(default_factory=DragSettings)
    also: tuple[Drag, ...] = ()

    @classmethod
    def of(cls, drags: Sequence[Drag]) -> "Plan":
        """Return the plan of some drags: landmarks move within their parts of the face, other points anywhere."""
        check_handles(drags)
        regions = parts_of(drags)
        return cls(drags=tuple(drags), regions=regions, settings=drag_defaults(landmarks=by_landmarks(drags)))

    @property
    def points(self) -> PointsFile:
        """The plan as a file, for other photos."""
        return PointsFile(drags=self.drags, regions=self.regions, also=self.also)

    @property
    def allowed(self) -> Mask | None:
        """What may change; None for the whole picture."""
        return self.regions or None if self.mask is None else self.mask

    def allowed_in(self, aligned: Aligned) -> NDArray[np.float32] | None:
        """Return what may change of the crop, (size, size) from 0 to 1; None for all of it.

        Raises:
            InvalidInput: see `Aligned.mask`.
        """
        return None if self.allowed is None else aligned.mask(self.allowed, self.drags)

    def ways(self, aligned: Aligned) -> NDArray[np.float64]:
        """Return how far each landmark is to go, (68, 2) in pixels of the crop; NaN for those that are free.

        Landmarks of parts of the face that may not change are to stay; what a mask's picture says of them is not known.
        """
        ways = np.full((68, 2), np.nan)
        if self.regions and "face" not in self.regions:
            for part, own in PARTS.items():
                if part not in self.regions:
                    ways[list(own)] = 0
        for drag in (*self.also, *self.drags):
            if isinstance(drag.handle, str):
                ways[numbers(drag.handle)] = aligned.way(drag)
        return ways

    def masked(self, mask: Mask | None) -> "Plan":
        """Return the plan with another word on what may change; with its own where there is none."""
        if mask is None:
            return self
        if isinstance(mask, str | tuple):
            return replace(self, regions=(mask,) if isinstance(mask, str) else mask, mask=None)
        return replace(self, regions=(), mask=mask)


def parts_of(drags: Sequence[Drag]) -> tuple[Region, ...]:
    """Return the parts of the face that drags move: those of their landmarks; none where another point moves."""
    if not by_landmarks(drags):
        return ()
    moved = {number for drag in drags if not drag.anchor for number in numbers(str(drag.handle))}
    return tuple(part for part, landmarks in PARTS.items() if moved & set(landmarks))


Planner = Callable[[Aligned], Plan]
"""Makes the plan for a photo."""
