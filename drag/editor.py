"""The drag: motion supervision, a step of Adam, tracking, until the handles are where they should be."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drag.features import FeatureNetwork, FeaturePieces, default_resolution
from drag.points import Points, unit
from drag.settings import DragSettings, check_settings
from drag.supervision import SUPERVISION_RADIUS, mask_loss, mask_to_features, motion_supervision_loss
from drag.tracking import TRACKING_RADIUS, make_tracker
from weights.errors import InvalidInput
from weights.generator import Generator

StopReason = Literal["arrived", "steps", "stalled", "lost", "stopped"]

FEW_HANDLES = 5
ARRIVED_FEW, ARRIVED_MANY = 1.0, 2.0  # units u
NO_MATCH, LOST_AFTER = 0.05, 10  # more than half of the handles without a match for so many steps are lost


@dataclass(frozen=True, kw_only=True, eq=False)
class DragStep:
    """What a callback is told at each step; returning False from it stops the drag.

    Attributes:
        index: how many optimiser steps have been made.
        total: how many there are at most.
        points: (n, 2) where the handles are, in pixels of the crop.
        distances: (n,) what is left to the targets.
        w: (1, num_ws, w_dim), the code at this step.
    """

    index: int
    total: int
    points: NDArray[np.float64]
    distances: NDArray[np.float64]
    w: Tensor


Callback = Callable[[DragStep], bool | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class DragResult:
    """A drag's end.

    Attributes:
        w: (1, num_ws, w_dim) float32, the edited code.
        reason: why it stopped.
        steps: how many optimiser steps were made.
        path: (steps + 1, n, 2), where each handle was tracked to, in pixels of the crop.
        targets: (n, 2).
        rows: (steps + 1, rows, w_dim), the code's optimised rows on the way.
    """

    w: Tensor
    reason: StopReason
    steps: int
    path: NDArray[np.float64]
    targets: NDArray[np.float64]
    rows: Tensor

    @property
    def distances(self) -> NDArray[np.float64]:
        """(n,) what is left from each handle to its target, in pixels of the crop."""
        return np.hypot(*(self.targets - self.path[-1]).T)

    def w_at(self, step: int) -> Tensor:
        """Return the code (1, num_ws, w_dim) after so many steps."""
        return torch.cat([self.rows[step][None], self.w[:, self.rows.shape[1] :]], dim=1)

    def undo(self, step: int) -> "DragResult":
        """Return the drag as it was after so many steps, from where it can go on."""
        return replace(
            self,
            w=self.w_at(step),
            reason="stopped",
            steps=step,
            path=self.path[: step + 1],
            rows=self.rows[: step + 1],
        )

    def then(self, later: "DragResult") -> "DragResult":
        """Return this drag and a later one of the same handles, which began where this one ended, as one."""
        return replace(
            later,
            steps=self.steps + later.steps,
            path=np.concatenate([self.path, later.path[1:]]),
            rows=torch.cat([self.rows, later.rows[1:]]),
        )


@torch.enable_grad()
def drag(
    network: Generator,
    w: Tensor,
    points: Points,
    *,
    spread: float,
    settings: DragSettings | None = None,
    mask: NDArray[np.float32] | None = None,
    dtype: torch.dtype = torch.float32,
    origin: Tensor | None = None,
    after: DragResult | None = None,
    callback: Callback | None = None,
) -> DragResult:
    """Move handles to their targets (Pan et al. 2023, section 3).

    Args:
        network: frozen.
        w: (1, num_ws, w_dim), the picture in which the handles are.
        points: handles and targets in pixels of the crop.
        spread: of the generator's w, the unit of the learning rate.
        settings: see there; None for the defaults.
        mask: (size, size) float32 in [0, 1], 1 where the picture may move; None for everywhere.
        dtype: of the convolutions.
        origin: (1, num_ws, w_dim), the picture to which the mask and the settings' reach hold on, where an earlier
            drag led from there to `w`; None for `w`.
        after: a drag of the same `w`, handles and rows to go on from; the targets may be others.
        callback: told of each step.

    Raises:
        InvalidInput: settings that make no sense, or do not go on from `after` or `origin`, or a generator that cannot
            be dragged.
    """
    settings = settings or DragSettings()
    check_settings(settings, network.config.resolutions)
    rows = min(settings.rows, network.config.num_ws)
    resolution = settings.feature_resolution or default_resolution(network.config.size)
    compiled = settings.compile
    features = FeatureNetwork(network, w, rows=rows, resolution=resolution, dtype=dtype, compiled=compiled)
    start = w[:, :rows].detach()
    home = start if origin is None else origin[:, :rows].detach()
    if settings.space == "w" and settings.reach and not _alike(start[0] - home[0]):
        raise InvalidInput("The code's rows of W+ went each by itself from the origin: go on with space='w+'.")
    at, path, codes = points.handles, [points.handles], [start[0]]
    if after:
        _check_after(after, start, settings)
        at, path, codes = after.path[-1], list(after.path), list(after.rows)
    # In W one difference moves all rows; in W+ each has its own.
    offset = (codes[-1] - start)[:, : 1 if settings.space == "w" else rows].clone().requires_grad_()
    optimizer = torch.optim.Adam([offset], lr=settings.learning_rate * spread)

    view = _View(features, mask)
    with torch.no_grad():
        view.hold(home)
        tracker = make_tracker(settings.tracker, view.see(start, points.handles), points.handles)
    limit, before = settings.reach * spread * math.sqrt(w.numel()), start - home
    stop = _Stop(settings, features.size)
    begin = len(path) - 1
    for index in range(begin, begin + settings.steps + 1):
        pieces = view.see(start + offset, at)
        confidence = np.ones(len(points))
        if index > begin:
            tracked = tracker.track(pieces, at, points.targets)
            at, confidence = tracked.points, tracked.confidence
            path.append(at)
            codes.append((start + offset.detach())[0])
        edited = torch.cat([codes[-1][None], w[:, rows:]], dim=1)
        left = np.hypot(*(points.targets - at).T)
        step = DragStep(index=index, total=begin + settings.steps, points=at, distances=left, w=edited)
        stopped = callback is not None and callback(step) is False
        reason = stop.reason(left, confidence, stopped=stopped, last=index == begin + settings.steps)
        if reason:
            return DragResult(
                w=edited,
                reason=reason,
                steps=index,
                path=np.stack(path),
                targets=points.targets,
                rows=torch.stack(codes),
            )
        loss = motion_supervision_loss(pieces, at, points.targets, points.weights)
        loss = loss + settings.mask_weight * view.mask_loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if limit:
            with torch.no_grad():
                _hold_within(limit, offset, before)
    raise AssertionError("the last step has a reason to stop")


def _check_after(after: DragResult, start: Tensor, settings: DragSettings) -> None:
    """Make sure that a drag can go on from another one of the code's rows `start` (1, rows, w_dim).

    Raises:
        InvalidInput: it moved other rows, or each by itself where all are to move alike.
    """
    if after.rows.shape[1:] != start.shape[1:]:
        raise InvalidInput(
            f"The drag to go on from moved {after.rows.shape[1]} rows of w, this one would move {start.shape[1]}: "
            "give both the same."
        )
    if settings.space == "w" and not _alike(after.rows[-1] - start[0]):
        raise InvalidInput("The drag to go on from moved rows of W+ each by itself: go on with space='w+'.")


def _alike(moved: Tensor) -> bool:
    """Tell whether rows (rows, w_dim) moved as one."""
    return torch.allclose(moved, moved[:1].expand_as(moved), atol=1e-5)


def _hold_within(limit: float, offset: Tensor, before: Tensor) -> None:
    """Bring a code that went farther than `limit` from home back to it, along the straight way.

    Args:
        limit: of the norm of `before` and `offset` together.
        offset: (1, 1 or rows, w_dim), changed in place.
        before: (1, rows, w_dim), how far from home the code was without it.
    """
    way = before + offset
    far = float(way.norm())
    if far > limit:
        offset.copy_((way * (limit / far) - before)[:, : offset.shape[1]])


class _Stop:
    """Tells when and why a drag ends."""

    def __init__(self, settings: DragSettings, size: int) -> None:
        self.patience, self.tolerance, self.size = settings.patience, settings.tolerance, size
        self.best, self.since, self.astray = math.inf, 0, 0

    def reason(
        self, left: NDArray[np.float64], confidence: NDArray[np.float64], *, stopped: bool, last: bool
    ) -> StopReason | None:
        """Return why the drag ends here, or None; to be asked once a step."""
        near = self.tolerance or (ARRIVED_FEW if len(left) <= FEW_HANDLES else ARRIVED_MANY)
        near *= unit(self.size)
        total = float(left.sum())
        progress = total < self.best - 0.05 * unit(self.size)
        self.best, self.since = (total, 0) if progress else (self.best, self.since + 1)
        self.astray = self.astray + 1 if (confidence < NO_MATCH).mean() > 0.5 else 0
        if (left <= near + 1e-9).all():
            return "arrived"
        if stopped:
            return "stopped"
        if last:
            return "steps"
        if self.astray >= LOST_AFTER:
            return "lost"
        return "stalled" if 0 < self.patience <= self.since else None


class _View:
    """What a step sees of F: pieces around the handles, and all of it where a mask asks for it."""

    def __init__(self, features: FeatureNetwork, mask: NDArray[np.float32] | None) -> None:
        self.features = features
        # The next disc lies around a place of the tracker's window, and is read a step farther.
        self.radius = (TRACKING_RADIUS + SUPERVISION_RADIUS + 1) * unit(features.size)
        self.mask = mask
        self.stays: Tensor | None = None
        self.initial: Tensor | None = None
        self.map: Tensor | None = None

    def hold(self, home: Tensor) -> None:
        """Remember F0, to which the mask holds, for the code's first rows `home`."""
        if self.mask is not None:
            self.initial = self.features.whole(home).values.detach()
            self.stays = mask_to_features(self.mask, self.features.resolution, self.initial.device)

    def see(self, moved: Tensor, at: NDArray[np.float64]) -> FeaturePieces:
        """Return F around `at` (n, 2) for the code's first rows `moved`."""
        if self.mask is None:
            return self.features.pieces(moved, at, self.radius)
        whole = self.features.whole(moved)
        self.map = whole.values
        return whole.around(at, self.radius)

    def mask_loss(self) -> Tensor | float:
        """Return the mask term of what was seen last; 0 without a mask."""
        if self.map is None or self.initial is None or self.stays is None:
            return 0.0
        return mask_loss(self.map, self.initial, self.stays)
