"""Handles, targets and masks: checked once, before anything is computed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weights.errors import InvalidInput

MIN_DISTANCE = 1e-3  # px; a handle nearer to its target has nowhere to go


def unit(size: int) -> float:
    """Return u: the paper's one pixel at 512 px, in pixels of a picture of `size`."""
    return size / 512


@dataclass(frozen=True, eq=False)
class Points:
    """Handles and their targets in pixels of the crop, (x, y), centres at whole numbers.

    Attributes:
        handles: (n, 2) float64.
        targets: (n, 2) float64.
        weights: (n,) float64, of each handle in the loss.
    """

    handles: NDArray[np.float64]
    targets: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.handles)

    @property
    def distances(self) -> NDArray[np.float64]:
        """(n,) from handle to target in pixels of the crop."""
        return np.hypot(*(self.targets - self.handles).T)


def check_points(
    handles: ArrayLike,
    targets: ArrayLike,
    *,
    size: int,
    weights: ArrayLike | None = None,
    anchors: ArrayLike | None = None,
) -> Points:
    """Check handles and targets for a picture of `size` pixels.

    Args:
        handles: (n, 2), (x, y) in pixels of the crop.
        targets: (n, 2), likewise.
        size: height and width of the crop.
        weights: (n,), above 0; None for 1 each.
        anchors: (n,) of bool, which handles are meant to stay where they are; None for none.

    Raises:
        InvalidInput: no points, another shape, not finite, outside the crop, or nothing to move.
    """
    h, t = _pairs(handles, "handles"), _pairs(targets, "targets")
    if len(h) == 0:
        raise InvalidInput("There are no points to drag: give at least one handle and its target.")
    if len(h) != len(t):
        raise InvalidInput(f"There are {len(h)} handles and {len(t)} targets: give each handle one target.")
    for what, points in (("handle", h), ("target", t)):
        for x, y in points[outside(points, size)]:
            raise InvalidInput(
                f"The {what} ({x:g}, {y:g}) lies outside the {size} x {size} crop around the face: "
                "choose a point inside."
            )
    stays = np.zeros(len(h), bool) if anchors is None else np.asarray(anchors, bool)
    if stays.shape != (len(h),):
        raise InvalidInput(f"Anchors are {len(h)} times yes or no, one a handle.")
    if stays.all():
        raise InvalidInput("Every handle is an anchor: give at least one somewhere to go.")
    for (x, y), distance in zip(h[~stays], np.hypot(*(t - h)[~stays].T), strict=True):
        if distance < MIN_DISTANCE:
            raise InvalidInput(f"The handle ({x:g}, {y:g}) is its own target: give it somewhere to go.")
    w = np.ones(len(h)) if weights is None else np.asarray(weights, np.float64)
    if w.shape != (len(h),) or not np.isfinite(w).all() or (w <= 0).any():
        raise InvalidInput(f"Weights are {len(h)} numbers above 0, one a handle.")
    return Points(h, t, w)


def outside(points: NDArray[np.float64], size: int) -> NDArray[np.bool_]:
    """Return which of points (n, 2) lie outside a picture of `size` pixels: (n,)."""
    beyond: NDArray[np.bool_] = ~np.all((points >= -0.5) & (points <= size - 0.5), axis=1)
    return beyond


def _pairs(points: ArrayLike, what: str) -> NDArray[np.float64]:
    try:
        array = np.array(points, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"The {what} are no list of (x, y) pairs.") from error
    if array.size == 0:
        return array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise InvalidInput(f"The {what} are (x, y) pairs, an n x 2 array, not one of shape {array.shape}.")
    if not np.isfinite(array).all():
        raise InvalidInput(f"The {what} hold a number that is not finite.")
    return array


def check_mask(mask: ArrayLike, *, size: int) -> NDArray[np.float32]:
    """Check a mask and return it as (size, size) float32 in [0, 1]; 1 may move.

    Raises:
        InvalidInput: another size or range, or it allows nothing to move.
    """
    array = np.asarray(mask)
    if array.shape != (size, size):
        got = " x ".join(str(n) for n in array.shape[::-1])
        raise InvalidInput(f"The mask is {got} pixels where the picture is {size} x {size}: make them alike.")
    array = array.astype(np.float32)
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise InvalidInput("A mask holds numbers from 0 (stays) to 1 (may move).")
    if not array.any():
        raise InvalidInput("The mask allows nothing to move: paint white what may.")
    return array
