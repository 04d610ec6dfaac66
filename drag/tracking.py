"""Where the handles went (Pan et al. 2023, section 3.3, equation 2)."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drag.features import FeaturePieces, like
from drag.points import unit
from drag.settings import TrackerName
from drag.supervision import lattice, step_toward

Places = NDArray[np.float64]

TRACKING_RADIUS = 12.0  # r2, in units u


@dataclass(frozen=True, eq=False)
class Tracked:
    """Where the handles are.

    Attributes:
        points: (n, 2) in picture coordinates.
        confidence: (n,), 1 for a perfect match, 0 for one no better than places of the window at large.
    """

    points: Places
    confidence: NDArray[np.float64]


class Tracker(Protocol):
    """Finds the handles again after a step."""

    def track(self, pieces: FeaturePieces, points: Places, targets: Places) -> Tracked:
        """Return where the handles are now, given where they were (n, 2).

        `pieces` hold F within r2 around there.
        """
        ...


class NearestTracker:
    """The paper's: the place in the window whose feature is nearest, by L1, to the handle's at the start."""

    def __init__(self, pieces: FeaturePieces, handles: Places) -> None:
        """Remember the features of the handles (n, 2) in the picture before the drag."""
        self._template = _read(pieces, handles[:, :, None])
        self._typical = self._distance(pieces, _window(pieces, handles)).flatten(1).median(dim=1).values

    def track(self, pieces: FeaturePieces, points: Places, targets: Places) -> Tracked:
        """See `Tracker`; of equally near places the first in reading order wins."""
        window = _window(pieces, points)
        distance = _outside_is_infinite(self._distance(pieces, window), pieces, window)
        cost = distance + self._cost(pieces, window, points, targets)
        index = cost.flatten(1).argmin(dim=1)
        least = distance.flatten(1).gather(1, index[:, None])[:, 0]
        j, i = np.divmod(index.cpu().numpy(), window.shape[2])
        n = np.arange(len(window))
        confidence = 1 - (least / self._typical.clamp(min=1e-12)).clamp(max=1)
        found = np.stack([window[n, 0, i], window[n, 1, j]], axis=1)
        return Tracked(found, confidence.cpu().numpy().astype(np.float64))

    def _distance(self, pieces: FeaturePieces, window: Places) -> Tensor:
        return (_read(pieces, window) - self._template).abs().mean(dim=1)

    def _cost(self, pieces: FeaturePieces, window: Places, points: Places, targets: Places) -> Tensor | float:
        """Return what the places of windows (n, 2, k) cost beside their features' distance, (n, k, k)."""
        return 0.0


class SteadyTracker(NearestTracker):
    """Of places that look alike, takes the one where the last step should have brought the handle.

    On a plain cheek or in a repeated texture the nearest feature may be anywhere in the window. So a place costs its
    feature's distance, in units of the window's typical one, and the square of its way from where the handle was
    asked to go: the most likely place where that is all but certain of a few u, and features are as uncertain as
    they differ. Where features tell, it finds what the nearest does.
    """

    PULL = 0.004  # of the typical distance, for a way of 1 u

    def _cost(self, pieces: FeaturePieces, window: Places, points: Places, targets: Places) -> Tensor:
        expected = points + step_toward(points, targets, pieces.size)
        x, y = np.square((window - expected[:, :, None]) / unit(pieces.size)).transpose(1, 0, 2)
        return self.PULL * self._typical[:, None, None] * like(self._typical, y[:, :, None] + x[:, None])


class NoTracker:
    """Trusts that every handle moved by the step that was asked for."""

    def track(self, pieces: FeaturePieces, points: Places, targets: Places) -> Tracked:
        """See `Tracker`."""
        return Tracked(points + step_toward(points, targets, pieces.size), np.ones(len(points)))


def make_tracker(name: TrackerName, pieces: FeaturePieces, handles: Places) -> Tracker:
    """Return a tracker that knows the handles (n, 2) in the picture before the drag."""
    match name:
        case "nearest":
            return NearestTracker(pieces, handles)
        case "steady":
            return SteadyTracker(pieces, handles)
        case "none":
            return NoTracker()


def _window(pieces: FeaturePieces, points: Places) -> Places:
    """Return the columns and rows of the lattice around each point, (n, 2, k)."""
    return points[:, :, None] + lattice(TRACKING_RADIUS * unit(pieces.size), pieces.size)


def _read(pieces: FeaturePieces, at: Places) -> Tensor:
    """Return F at the lattices whose columns and rows are `at` (n, 2, k): (n, C, k, k), detached."""
    with torch.no_grad():
        return pieces.sample(*at.transpose(1, 0, 2))


def _outside_is_infinite(distance: Tensor, pieces: FeaturePieces, window: Places) -> Tensor:
    """Return distances (n, k, k), infinite beyond the centres of the outermost pixels, but for where the handle is.

    Out there F is what it is at the border, so that a handle would go there as soon as it came near.
    """
    outside = (window < 0) | (window > pieces.size - 1)
    beyond = outside[:, 1, :, None] | outside[:, 0, None, :]
    beyond[:, window.shape[2] // 2, window.shape[2] // 2] = False
    return distance.masked_fill(torch.as_tensor(beyond, device=distance.device), torch.inf)
