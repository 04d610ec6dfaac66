"""The shape of faces: their landmarks in a frame of the face, head pose, and what of a shape is expression.

The frame: x along the eye line to the right, y down at a right angle to it, in distances between the eye
centres, the origin midway between them. A shape is (68, 2) in it; a shift is a difference of two shapes.

The numbers in expression.npz are landmark statistics of synthetic faces, made by
`python -m benchmarks.expression_basis`, which says how; docs/retarget.md says of what, and under which licence.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

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

# Landmarks that no expression moves: the eyes' corners, the nose's bridge, tip and base.
RIGID = (36, 39, 42, 45, *range(27, 36))
FARTHEST = np.radians(35.0)  # a face turned further shows no second eye to a detector of 68 landmarks
_ACROSS = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37,
    36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
)  # fmt: skip


def mirrored(shape: Shape) -> Shape:
    """Return shapes (..., 68, 2) as seen in a mirror."""
    return (shape * [-1, 1])[..., _ACROSS, :]


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
        off = shape - self.turned(self.pose(shape)) - self.mean
        return self.shares * np.tensordot(self.readers, off, axes=2)

    def expressed(self, coefficients: NDArray[np.float64]) -> Shift:
        """Return the shift (68, 2) of a difference between expressions (k,), none beyond what faces do."""
        return np.tensordot(np.clip(coefficients, -self.LIMIT, self.LIMIT), self.patterns, axes=1)


@cache
def shape_model() -> ShapeModel:
    """Return the model that comes with the project."""
    with (files("drag") / "expression.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return ShapeModel(**{name: arrays[name].astype(np.float64) for name in arrays})
