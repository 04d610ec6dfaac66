"""Lips and eyelids: two edges between two corners, that part and meet, and what is seen beside and between them.

A motion that is spread over a face is smooth; what happens between edges is not, as one hides what is behind it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from drag.landmarks import Landmarks
from drag.shape import outlined
from pipeline.flow import landmark_motion, smooth

Field = NDArray[np.float32]
Array = NDArray[np.float64]

NARROW = 1 / 32  # of the crop's size, the least width
COLUMNS = 65  # from corner to corner


@dataclass(frozen=True, kw_only=True, eq=False)
class Slit:
    """Two edges, in pixels of a crop; columns go from corner to corner.

    Attributes:
        corner: (2,), the left one.
        axes: (2, 2), the vector to the right one, and the one downward of length 1.
        upper: (COLUMNS,), how far below the line between the corners the upper edge is.
        lower: (COLUMNS,), and the lower one.
    """

    corner: Array
    axes: Array
    upper: Array
    lower: Array

    @classmethod
    def of(cls, landmarks: Landmarks, upper: tuple[int, ...], lower: tuple[int, ...]) -> "Slit":
        """Draw edges through landmarks (68, 2), those of each from the left corner to the right one."""
        corner = landmarks[upper[0]]
        across = landmarks[upper[-1]] - corner
        axes = np.stack([across, np.array([-across[1], across[0]]) / np.hypot(*across)])
        edges = []
        for edge in (upper, lower):
            along, below = ((landmarks[list(edge)] - corner) @ np.linalg.inv(axes)).T
            # Of a face that looks aside, one may lie behind the next, or beyond the corner.
            along = np.clip(np.maximum.accumulate(along), 0, 1)
            heights = np.interp(np.linspace(0, 1, COLUMNS), along, below)[1:-1]
            # Smooth, and 0 at the corners: as if it went on beyond each turned by half.
            around = np.concatenate([[0], -heights[::-1], [0], heights, [0], -heights[::-1], [0]])
            edges.append(cv2.GaussianBlur(around[None], (0, 0), COLUMNS / 16)[0][COLUMNS - 1 : 2 * COLUMNS - 1])
        middle = (edges[0] + edges[1]) / 2
        return cls(corner=corner, axes=axes, upper=np.minimum(edges[0], middle), lower=np.maximum(edges[1], middle))

    @property
    def width(self) -> float:
        """Tell how far the corners are apart."""
        return float(np.hypot(*self.axes[0]))

    @property
    def down(self) -> Array:
        """Return which way is down, (2,), of length 1."""
        return self.axes[1]

    @property
    def opening(self) -> Array:
        """Return how far the edges are apart, (COLUMNS,)."""
        return self.lower - self.upper

    def drawn(self, edge: Array) -> Array:
        """Return the places (COLUMNS, 2) of an edge that lies so far below the line between the corners."""
        return np.linspace(0, 1, COLUMNS)[:, None] * self.axes[0] + self.corner + edge[:, None] * self.axes[1]

    def around(self, band: float) -> Array:
        """Return places (n, 2) around it, by so many of its widths away from the edges."""
        edges = self.upper - band * self.width, self.lower + band * self.width
        return np.concatenate([self.drawn(edge) for edge in edges])

    def columns(self, points: Array) -> tuple[Array, Array]:
        """Return the columns of places (h, w, 2), from 0 to 1, and how far they lie below the line of the corners."""
        along, below = np.moveaxis((points - self.corner) @ np.linalg.inv(self.axes), 2, 0)
        return along, below


@dataclass(frozen=True, kw_only=True, eq=False)
class Parting:
    """A slit whose edges part or meet in an edit; in pixels of the crop.

    Attributes:
        slit: after the edit.
        own: in the photo.
        moves: (COLUMNS,) from 0 to 1, how far it is sure that the edges do: else all is left to the flow.
        flow: (size, size, 2), from the edited crop to the photo's, where no slit is.
        above: likewise, above the upper edge, by landmarks of which those of the lower edge are none.
        below: likewise, below the lower edge.
    """

    slit: Slit
    own: Slit
    moves: Array
    flow: Field
    above: Field
    below: Field

    def edges(self, points: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Tell of places (h, w, 2) where they lie between the edges.

        Returns:
            along: (h, w), the column, from 0 to 1.
            under: (h, w), how far below the upper edge.
            over: (h, w), how far above the lower one.
            top: (h, w, 2), where the upper edge is in the photo, in that column.
            bottom: (h, w, 2), where the lower one is.
        """
        along, below = self.slit.columns(points)
        under, over = below - at_columns(along, self.slit.upper), at_columns(along, self.slit.lower) - below
        top, bottom = (at_columns(along, self.own.drawn(edge)) for edge in (self.own.upper, self.own.lower))
        return along, under, over, top, bottom

    def joined(
        self, points: Array, whole: Array, *, along: Array, inside: Array, upper: NDArray[np.bool_], reach: float,
        band: float,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        """Join what lies at the slit to what lies around it.

        Args:
            points: (h, w, 2), places of the edited crop.
            whole: (h, w, 2), what they show at the slit.
            along: (h, w), the column, from 0 to 1.
            inside: (h, w), how far inside of the slit they lie; less than 0 beside it.
            upper: (h, w), which are nearer to the upper edge.
            reach: how far beside the slit one edge's landmarks move all, half of it wholly, in its widths.
            band: how far beside it, and from its corners, `whole` comes in.

        Returns:
            The share (h, w) from 0 to 1, how far a place belongs to the slit; how far it shows `whole`, likewise; and
            the sources (h, w, 2), what it shows of the photo.
        """
        ends = smooth(np.minimum(along, 1 - along) / band) * at_columns(along, self.moves)
        beside = np.minimum(inside, 0) / self.slit.width
        share, near = smooth(2 * (1 + beside / reach)) * ends, smooth(1 + beside / band) * ends
        sources = points + sample(self.flow, points)
        aside = np.where(upper[..., None], sample(self.above, points), sample(self.below, points))
        sources += share[..., None] * (points + aside - sources)
        sources += near[..., None] * (whole - sources)
        return share, near, sources


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """What places (h, w) of an edited crop show.

    Attributes:
        share: (h, w) from 0 to 1, how far a place belongs to what lies at the slit.
        sources: (h, w, 2), what it shows of the photo, in pixels of the crop.
        sure: (h, w) from 0 to 1, how far it is so whatever a generator drew there.
        deep: (h, w) from 0 to 1, how far it shows `tone` instead; None for not at all.
        tone: (h, w, 3) from 0 to 255.
    """

    share: Array
    sources: Array
    sure: Array
    deep: Array | None = None
    tone: Array | None = None


def at_columns(along: Array, values: Array) -> Array:
    """Interpolate what each column has, (COLUMNS,) or (COLUMNS, 2), at columns (h, w) from 0 to 1."""
    spread = [np.interp(along, np.linspace(0, 1, COLUMNS), part) for part in values.reshape(COLUMNS, -1).T]
    return np.stack(spread, axis=2) if values.ndim > 1 else spread[0]


def all_known(landmarks: Landmarks, indices: Iterable[int]) -> bool:
    """Tell whether all of these landmarks (68, 2) are."""
    return bool(np.isfinite(landmarks[list(indices)]).all())


def apart(landmarks: Landmarks, left: int, right: int, size: int) -> bool:
    """Tell whether two corners are so far apart that what is between them is not seen in profile."""
    return bool(np.hypot(*(landmarks[right] - landmarks[left])) >= NARROW * size)


def motion_without(indices: Iterable[int], before: Landmarks, after: Landmarks, size: int) -> Field:
    """Return the motion of a face (size, size, 2) that knows nothing of some of its landmarks (68, 2)."""
    told = after.copy()
    told[list(indices)] = np.nan
    return landmark_motion(outlined(before), outlined(told), size)


def sample(picture: Field, points: Array) -> Array:
    """Return what a picture (size, size, C) shows at points (h, w, 2) of it: (h, w, C)."""
    x, y = np.moveaxis(points.astype(np.float32), 2, 0)
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float64)
