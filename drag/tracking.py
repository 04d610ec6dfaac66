"""Where the handles went (Pan et al. 2023, section 3.3, equation 2)."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drag.features import FeaturePieces
from drag.points import unit
from drag.settings import TrackerName
from drag.supervision import lattice, step_toward

Points = NDArray[np.float64]

TRACKING_RADIUS = 12.0  # r2, in units u


@dataclass(frozen=True, eq=False)
class Tracked:
    """Where the handles are.

    Attributes:
        points: (n, 2) in picture coordinates.
        confidence: (n,), 1 for a perfect match, 0 for one no better than places of the window at large.
    """

    points: Points
    confidence: NDArray[np.float64]


class Tracker(Protocol):
    """Finds the handles again after a step."""

    def track(self, pieces: FeaturePieces, points: Points, targets: Points) -> Tracked:
        """Return where the handles are now, given where they were (n, 2).

        `pieces` hold F within r2 and one of its cells more around there.
        """
        ...


class NearestTracker:
    """The paper's: the place in the window whose feature is nearest, by L1, to the handle's at the start."""

    def __init__(self, pieces: FeaturePieces, handles: Points) -> None:
        """Remember the features of the handles (n, 2) in the picture before the drag."""
        self._template = _read(pieces, handles[:, :, None])
        self._typical = self._distance(pieces, _window(pieces, handles)).flatten(1).median(dim=1).values

    def track(self, pieces: FeaturePieces, points: Points, targets: Points) -> Tracked:
        """See `Tracker`; of equally near places the first in reading order wins."""
        window = _window(pieces, points)
        return _best(_outside_is_infinite(self._distance(pieces, window), pieces, window), window, self._typical)

    def _distance(self, pieces: FeaturePieces, window: Points) -> Tensor:
        return (_read(pieces, window) - self._template).abs().mean(dim=1)


class PatchTracker:
    """Compares a patch around the handle, and lets the template follow what is surely the handle.

    A single feature is much like its neighbours on a cheek, and like its kin in a repeated texture; the
    3 x 3 features a cell of F apart are less so. As in FreeDrag (Ling et al. 2023), the template is mixed with
    what was found, the more the surer the match; and a match that is none leaves the handle where it was
    (their roll-back).
    """

    UNSURE = 0.15  # confidence below which a handle stays
    UPDATE = 0.2  # most of a template that a step replaces

    def __init__(self, pieces: FeaturePieces, handles: Points) -> None:
        """Remember the patches around the handles (n, 2) in the picture before the drag."""
        self._template = self._patches(pieces, handles)
        self._typical = self._distance(pieces, _window(pieces, handles)).flatten(1).median(dim=1).values

    def track(self, pieces: FeaturePieces, points: Points, targets: Points) -> Tracked:
        """See `Tracker`."""
        window = _window(pieces, points)
        found = _best(_outside_is_infinite(self._distance(pieces, window), pieces, window), window, self._typical)
        sure = found.confidence > self.UNSURE
        at = np.where(sure[:, None], found.points, points)
        rate = torch.as_tensor(np.where(sure, found.confidence, 0) * self.UPDATE, device=pieces.values.device)
        seen = self._patches(pieces, at)
        self._template = self._template.lerp(seen, rate.to(seen.dtype)[:, None, None, None])
        return Tracked(at, found.confidence)

    def _patches(self, pieces: FeaturePieces, at: Points) -> Tensor:
        """Return the features around places (n, 2), a cell apart: (n, C, 3, 3)."""
        cell = pieces.size / pieces.resolution
        return _read(pieces, at[:, :, None] + np.array([-cell, 0, cell]))

    def _distance(self, pieces: FeaturePieces, window: Points) -> Tensor:
        """Return the distance of the patches around a window's places (n, 2, k) from the template, (n, k, k).

        A cell is a whole number of the lattice's steps: one lattice, a cell wider all round, has all the patches.
        """
        k, step = window.shape[2], window[0, 0, 1] - window[0, 0, 0]
        cell = round(pieces.size / pieces.resolution / step)
        columns = np.arange(-cell, k + cell) * step
        seen = _read(pieces, window[:, :, :1] + columns)
        parts = [
            (seen[:, :, j * cell : j * cell + k, i * cell : i * cell + k] - self._template[:, :, j, i, None, None])
            .abs()
            .mean(dim=1)
            for j, i in np.ndindex(3, 3)
        ]
        return torch.stack(parts).mean(dim=0)


class NoTracker:
    """Trusts that every handle moved by the step that was asked for."""

    def track(self, pieces: FeaturePieces, points: Points, targets: Points) -> Tracked:
        """See `Tracker`."""
        return Tracked(points + step_toward(points, targets, pieces.size), np.ones(len(points)))


def make_tracker(name: TrackerName, pieces: FeaturePieces, handles: Points) -> Tracker:
    """Return a tracker that knows the handles (n, 2) in the picture before the drag."""
    if name == "none":
        return NoTracker()
    return NearestTracker(pieces, handles) if name == "nearest" else PatchTracker(pieces, handles)


def _window(pieces: FeaturePieces, points: Points) -> Points:
    """Return the columns and rows of the lattice around each point, (n, 2, k)."""
    return points[:, :, None] + lattice(TRACKING_RADIUS * unit(pieces.size), pieces.size)


def _read(pieces: FeaturePieces, at: Points) -> Tensor:
    """Return F at the lattices whose columns and rows are `at` (n, 2, k): (n, C, k, k), detached."""
    xs, ys = (torch.as_tensor(at[:, i], device=pieces.values.device) for i in (0, 1))
    with torch.no_grad():
        return pieces.sample(xs, ys)


def _outside_is_infinite(distance: Tensor, pieces: FeaturePieces, window: Points) -> Tensor:
    """Return distances (n, k, k), infinite for places outside the picture."""
    outside = (window < -0.5) | (window > pieces.size - 0.5)
    beyond = outside[:, 1, :, None] | outside[:, 0, None, :]
    return distance.masked_fill(torch.as_tensor(beyond, device=distance.device), torch.inf)


def _best(distance: Tensor, window: Points, typical: Tensor) -> Tracked:
    """Return the places of least distance (n, k, k) in windows (n, 2, k)."""
    least, index = distance.flatten(1).min(dim=1)
    j, i = np.divmod(index.cpu().numpy(), window.shape[2])
    n = np.arange(len(window))
    confidence = 1 - (least / typical.clamp(min=1e-12)).clamp(max=1)
    return Tracked(np.stack([window[n, 0, i], window[n, 1, j]], axis=1), confidence.cpu().numpy().astype(np.float64))
