"""The shape of faces: their landmarks in a frame of the face, head pose, and what of a shape is expression.

The frame: x along the eye line to the right, y down at a right angle to it, in distances between the eye
centres, the origin midway between them. A shape is (68, 2) in it; a shift is a difference of two shapes.

The numbers in expression.npz are landmark statistics of synthetic faces, made by
`python -m benchmarks.expression_basis`, which says how; docs/retarget.md says of what, and under which licence.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from drag.landmarks import Landmarks, face_axes, place
from drag.settings import Region

Shape = NDArray[np.float64]
Shift = NDArray[np.float64]

PARTS: dict[Region, tuple[int, ...]] = {
    "mouth": tuple(range(48, 68)),
    "eyes": tuple(range(36, 48)),
    "brows": tuple(range(17, 27)),
    "nose": tuple(range(27, 36)),
    "jaw": tuple(range(17)),
}
"""The landmarks of each part of the face; together they are all."""

OUTLINES = (
    tuple(range(17)), tuple(range(17, 22)), tuple(range(22, 27)), tuple(range(27, 31)), tuple(range(31, 36)),
    (*range(36, 42), 36), (*range(42, 48), 42), (*range(48, 60), 48), (*range(60, 68), 60),
)  # fmt: skip
"""The lines of the face's parts by their landmarks; what is closed ends where it began."""

# Landmarks that no expression moves: the eyes' corners, the nose's bridge, tip and base.
RIGID = (36, 39, 42, 45, *range(27, 36))
_LIPS, _LID_LEFT, _LID_RIGHT = ((61, 62, 63), (65, 66, 67)), ((37, 38), (40, 41)), ((43, 44), (46, 47))
# What people see first of an expression, as differences (place, place, axis) of means of landmarks: how wide and how
# far open the mouth is, how high its corners stand, how far open each eye is.
GAUGES = (
    ((48,), (54,), 0),
    (*_LIPS, 1),
    ((48, 54), (62, 66), 1),
    (*_LID_LEFT, 1),
    (*_LID_RIGHT, 1),
)
FARTHEST = np.radians(35.0)  # a face turned further shows no second eye to a detector of 68 landmarks
_ACROSS = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37,
    36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
)  # fmt: skip


def mirrored(shape: Shape) -> Shape:
    """Return shapes (..., 68, 2) as seen in a mirror."""
    return (shape * [-1, 1])[..., _ACROSS, :]


def outlined(landmarks: Landmarks, *, pieces: int = 3) -> Landmarks:
    """Return landmarks (68, 2) and places between neighbours on the outlines of the face's parts: (n, 2).

    Args:
        landmarks: NaN where one is not known; nor are then the places beside it.
        pieces: into which each way between two neighbours is cut.
    """
    first, second = np.array([pair for line in OUTLINES for pair in pairwise(line)]).T
    between = [landmarks[first] + (landmarks[second] - landmarks[first]) * (k / pieces) for k in range(1, pieces)]
    return np.concatenate([landmarks, *between])


def to_shape(landmarks: Landmarks) -> Shape:
    """Bring landmarks (68, 2) of a picture into the frame of their face."""
    axes = face_axes(landmarks)
    middle = (place(landmarks, "eye-left") + place(landmarks, "eye-right")) / 2
    return (landmarks - middle) @ axes.T / (axes[0] @ axes[0])


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How a head is turned, in radians, as it looks in the picture.

    Attributes:
        yaw: to the right.
        pitch: down.
    """

    yaw: float
    pitch: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ShapeModel:
    """What is known of shapes.

    Attributes:
        mean: (68, 2), the mean shape, symmetric.
        depth: (68,), toward the viewer from the eye centres.
        readers: (k, 68, 2), an expression's k coefficients are their products with a shape's difference from the
            mean, pose taken out; over people at large each has variance 1.
        patterns: (k, 68, 2), the shift that a coefficient of 1 is.
        shares: (k,) from 0 to 1, how much of a coefficient's variance is expression, not person.
    """

    mean: Shape
    depth: NDArray[np.float64]
    readers: NDArray[np.float64]
    patterns: NDArray[np.float64]
    shares: NDArray[np.float64]

    LIMIT = 3.0  # standard deviations of a coefficient between two faces
    ALONE, ALONG = 0.02, 0.1  # what landmarks of a part do by themselves: how far, and neighbours how near together

    def pose(self, shape: Shape) -> Pose:
        """Return the pose of a shape: least squares over the landmarks that no expression moves.

        A head turned by yaw moves x by depth times tan(yaw) against the eyes, and stretches y by 1 / cos(yaw),
        as the eyes' distance, the unit, shrinks. Pitch moves y by depth times its tangent.
        """
        rigid = list(RIGID)
        depth = self.depth[rigid] - self.depth[rigid].mean()
        off = (shape - self.mean)[rigid]
        off = off - off.mean(axis=0)
        x, y = depth @ off / (depth @ depth)
        yaw, pitch = np.clip(np.arctan([x, y]), -FARTHEST, FARTHEST)
        return Pose(yaw=float(yaw), pitch=float(pitch))

    def turned(self, pose: Pose) -> Shift:
        """Return the shift (68, 2) from a face that looks straight ahead to one of this pose."""
        return self.depth[:, None] * np.tan([pose.yaw, pose.pitch])

    def expression(self, shape: Shape) -> NDArray[np.float64]:
        """Return the coefficients (k,) of a shape's expression, a posterior mean.

        Shapes are taken for mean + pose + person + expression, the last two Gaussian; of a coefficient that
        people differ in as well, only the share that is expression is believed.
        """
        off = self.straight(shape) - self.mean
        return self.shares * np.tensordot(self.readers, off, axes=2)

    def expressed(self, coefficients: NDArray[np.float64]) -> Shift:
        """Return the shift (68, 2) of a difference between expressions (k,), none beyond what faces do."""
        return np.tensordot(np.clip(coefficients, -self.LIMIT, self.LIMIT), self.patterns, axes=1)

    def transferred(self, source: Shape, other: Shape) -> Shift:
        """Return the shift (68, 2) that gives a shape another one's expression; the pose is left alone.

        The gauges are taken for expression whole, whoever's face it is: what the difference of the two expressions
        leaves of them is made up for within the mouth and the eyes, by the likeliest shift that does it.
        """
        shift = self.expressed(self.expression(other) - self.expression(source))
        gap = self._gauged @ (self.straight(other) - self.straight(source) - shift).ravel()
        return shift + (self._gain @ gap).reshape(68, 2)

    def straight(self, shape: Shape) -> Shape:
        """Return a shape as it would be if it looked straight ahead."""
        return shape - self.turned(self.pose(shape))

    @cached_property
    def _gauged(self) -> NDArray[np.float64]:
        """The gauges (5, 136) as products with a shape."""
        rows = np.zeros((len(GAUGES), 68, 2))
        for row, (first, second, axis) in zip(rows, GAUGES, strict=True):
            row[list(first), axis] = -1 / len(first)
            row[list(second), axis] = 1 / len(second)
        return rows.reshape(len(GAUGES), -1)

    @cached_property
    def _gain(self) -> NDArray[np.float64]:
        """The likeliest shift (136, 5) for a unit of each gauge: a conditional mean.

        The covariance is that of expressions within each part of the face, and on top of it a smooth one, as the
        statistics know few lids that close.
        """
        patterns = self.patterns.reshape(len(self.patterns), -1)
        near = np.square(self.mean[:, None] - self.mean).sum(axis=2)
        alone = self.ALONE**2 * np.exp(-near / (2 * self.ALONG**2))
        same = np.zeros((68, 68))
        for part in PARTS.values():
            same[np.ix_(part, part)] = 1
        covariance = patterns.T @ (self.shares[:, None] * patterns) + np.kron(alone, np.eye(2))
        across = covariance * np.kron(same, np.ones((2, 2))) @ self._gauged.T
        gain: NDArray[np.float64] = across @ np.linalg.inv(self._gauged @ across)
        return gain


@cache
def shape_model() -> ShapeModel:
    """Return the model that comes with the project."""
    with (files("drag") / "expression.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return ShapeModel(**{name: arrays[name].astype(np.float64) for name in arrays})
