"""The rest of the way: landmarks that a drag left short of their targets are moved on by a warp.

A generator goes only so far before it draws no face any more. It says what a face looks like on the way; the last bit
of the way needs no generator, as the composite carries the photo's own pixels.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from drag.landmarks import Landmarks, face_axes
from drag.limits import LIDS, in_order
from drag.points import unit
from drag.shape import outlined
from pipeline.check import CLOSE
from pipeline.flow import landmark_motion, warp
from pipeline.tensors import Crop

BEYOND = 0.5  # of its way, that a landmark is sent past its target at most, where the photo shows less than was made
INVERTED = 8  # steps of the fixed point that inverts the warp


def finish(
    edited: Crop, before: Landmarks, after: Landmarks, ways: NDArray[np.float64], *, most: float
) -> tuple[Crop, Landmarks]:
    """Move landmarks on to their targets, and those that were to stay back to their places.

    None ends farther from its target than it began, wherever a detector sees it in the generator's picture, but where
    lips or eyelids would change places.

    Args:
        edited: (size, size, 3), the generator's picture after the drag.
        before: (68, 2), landmarks of its picture before, in pixels of the crop.
        after: (68, 2), those of `edited`.
        ways: (68, 2), how far each landmark was to go; NaN for those that are free.
        most: share of its way that a landmark is moved on at most; those that were to stay come back wholly, and
            eyelids that close go the whole way, as nothing new is seen of what they hide.

    Returns:
        The picture and its landmarks, both moved on.
    """
    size = len(edited)
    told = np.asarray(np.isfinite(ways).all(axis=1))
    if not most or not told.any():
        return edited, after
    rest = (before + ways - after)[told]
    far, missing = np.hypot(*ways[told].T), np.hypot(*rest.T)
    # How much of what is missing stays so: what is more than `most` of a way, but no more than the whole of it, or
    # what may be jitter of one that was to stay.
    shares = np.where(_closing(before, ways, size), 1, most)[told]
    left = np.where(far > 0, np.clip(missing - shares * far, 0, far), np.minimum(missing, CLOSE * unit(size)))
    aim = after.copy()
    aim[told] += rest * (1 - left / np.maximum(missing, 1e-9))[:, None]
    aim = in_order(before, aim, told)
    aim[~told] = np.nan
    flow = landmark_motion(outlined(after), outlined(aim), size)
    moved = after
    for _ in range(INVERTED):  # moved + flow(moved) = after
        at = moved.astype(np.float32)
        moved = after - cv2.remap(flow, at[None, :, 0], at[None, :, 1], cv2.INTER_LINEAR)[0]
    moved[told] = aim[told]  # where lids part, the steps come too slowly to it
    return warp(edited, flow), moved


def _closing(before: Landmarks, ways: NDArray[np.float64], size: int) -> NDArray[np.bool_]:
    """Tell which landmarks (68,) are of eyelids that are to come nearer to each other, by more than jitter."""
    down = face_axes(before)[1]
    down /= np.hypot(*down)
    found = np.zeros(len(before), bool)
    for pair in LIDS:
        upper, lower = np.nan_to_num(ways[list(pair)]) @ down
        found[list(pair)] = upper - lower > CLOSE * unit(size)
    return found


def lacking(ways: NDArray[np.float64], seen: tuple[Landmarks, Landmarks]) -> NDArray[np.float64]:
    """Return what landmarks that were to go somewhere still lack of their ways: (68, 2) in pixels.

    Args:
        ways: (68, 2), how far each was to go; NaN for those that are free.
        seen: (68, 2) each, where they were and where they are.
    """
    before, after = seen
    return np.where(_far(ways)[:, None] > 0, ways - (after - before), 0)


def beyond(ways: NDArray[np.float64], lack: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far past its target each landmark is sent for what it lacked, (68, 2): by BEYOND of its way at most.

    Args:
        ways: as in `lacking`.
        lack: what that returned.
    """
    return lack * np.minimum(1, BEYOND * _far(ways) / np.maximum(np.hypot(*lack.T), 1e-9))[:, None]


def _far(ways: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.nan_to_num(np.hypot(*ways.T))
