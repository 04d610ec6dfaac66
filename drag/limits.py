"""What a face can do: shifts of landmarks that no face could make are held back, with a word about it."""

import numpy as np
from numpy.typing import NDArray

from drag.landmarks import Landmarks, face_axes
from drag.shape import FARTHEST, Pose, Shape, ShapeModel, Shift, to_shape

SWEEPS = 3  # over the pairs that are parted
LID = 0.005  # distances between the eyes that stay between closed eyelids, or between the lips
BROW = 0.06  # least height of a brow above the eyelid under it
LIP = 0.5  # of its thickness that a lip keeps
FAR = 0.6  # farthest way of a landmark

INNER_LIPS = ((61, 67), (62, 66), (63, 65))  # upper and lower
LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))
_OUTER_LIPS = ((50, 58), (51, 57), (52, 56))
_BROWS = ((19, 37), (20, 38), (23, 43), (24, 44))  # brow, eyelid
_LIP_EDGES = ((50, 61), (51, 62), (52, 63), (67, 58), (66, 57), (65, 56))  # of each lip, from above
_CORNERS = ((48, 60), (64, 54))  # of the mouth, outer and inner, from the left
_SIDES = ((48, 54, "the corners of the mouth"), (31, 35, "the wings of the nose"), (21, 22, "the brows"))


def clamp(shape: Shape, shift: Shift, model: ShapeModel) -> tuple[Shift, list[str]]:
    """Hold back what a face cannot do.

    A way of more than FAR is cut; lips and eyelids that would cross meet halfway; a brow stays above its
    eyelid; what is left stays left of what is right. A pair that is out of order before the shift, by the
    detector's doing, is left alone where the shift makes it no worse.

    Args:
        shape: (68, 2) of the face, in distances between the eyes.
        shift: (68, 2), how far each landmark is to go.
        model: knows how far a head may turn.

    Returns:
        The shift (68, 2), and a sentence for each kind of thing that was held back.
    """
    far = np.hypot(*shift.T)
    told = []
    if (far > FAR + 1e-9).any():
        shift = shift * np.minimum(1, FAR / np.maximum(far, 1e-9))[:, None]
        told.append(f"No landmark goes farther than {FAR:.0%} of the distance between the eyes: the ways were cut.")
    there = shape + shift
    if _part(shape, there, INNER_LIPS, LID) | _part(shape, there, _OUTER_LIPS, 2 * LID):
        told.append("The lips would cross: they meet.")
    if _part(shape, there, LIDS, LID):
        told.append("The eyelids would cross: they meet.")
    if _part(shape, there, _BROWS, BROW, share=1):  # the brow alone, as eyelids are where they may be by now
        told.append("A brow would come down on its eyelid: it stays above.")
    for left, right, name in _SIDES:
        if _part(shape, there, ((left, right),), 0.1, axis=0):
            told.append(f"What lies left and right would change places at {name}: it keeps apart.")
    if (_farthest(model.pose(there)) & ~_farthest(model.pose(shape))).any():
        told.append(f"The head is turned by {np.degrees(FARTHEST):.0f} degrees, as far as landmarks can be seen.")
    return there - shape, told


def in_order(before: Landmarks, after: Landmarks, movable: NDArray[np.bool_] | None = None) -> Landmarks:
    """Return where landmarks (68, 2) of a face go, held back where lips or eyelids would change places or vanish.

    Args:
        before: in pixels, where they are.
        after: likewise, where they were to go.
        movable: (68,), those that may be held back; None for all.
    """
    axes = face_axes(before)
    shape = to_shape(before)
    there = shape + (after - before) @ np.linalg.inv(axes)
    for _ in range(SWEEPS):  # parting one pair may bring another together
        _part(shape, there, _LIP_EDGES, np.inf, kept=LIP, movable=movable)
        _part(shape, there, _CORNERS, np.inf, axis=0, kept=LIP, movable=movable)
        _part(shape, there, (*INNER_LIPS, *LIDS), LID, movable=movable)
    return before + (there - shape) @ axes


def _farthest(pose: Pose) -> NDArray[np.bool_]:
    """Tell whether yaw and pitch are the farthest that a shape shows."""
    return np.abs([pose.yaw, pose.pitch]) >= FARTHEST - 1e-6


def _part(
    shape: Shape,
    there: Shape,
    pairs: tuple[tuple[int, int], ...],
    gap: float,
    *,
    axis: int = 1,
    share: float = 0.5,
    kept: float = 1.0,
    movable: NDArray[np.bool_] | None = None,
) -> bool:
    """Part pairs that come nearer than `gap`, in place, the first by this share; tell whether there were any.

    Those that are nearer before may stay so, or come nearer until a share of it is `kept`. Of a pair one of which is
    not movable, the other takes all.
    """
    found = False
    for first, second in pairs:
        own = float(shape[second, axis] - shape[first, axis])
        lack = min(gap, own * kept if own > 0 else own) - float(there[second, axis] - there[first, axis])
        if lack > 1e-9:
            pull = np.array([share, 1 - share])
            if movable is not None:
                pull = pull * movable[[first, second]]
            there[[first, second], axis] += np.array([-1, 1]) * pull * (lack / max(pull.sum(), 1e-9))
            found = True
    return found
