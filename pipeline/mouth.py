"""The inside of a mouth that opens or closes: teeth are as high as they were, and a gap between them is dark.

A motion that is spread between the lips stretches what lies there, teeth to tusks, and lips that met to a smear. So
the photo's pixels under the upper lip go with that, those above the lower lip with this one. They part along the
darkest line between them: where upper and lower teeth meet, below the upper ones, or where closed lips do. Where the
mouth opens, that line becomes a gap; where it closes, what is above the line hides what is below.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from drag.landmarks import Landmarks
from drag.limits import INNER_LIPS
from drag.points import unit
from drag.shape import outlined
from pipeline.check import CLOSE
from pipeline.flow import LUMA, landmark_motion, smooth

Field = NDArray[np.float32]
Array = NDArray[np.float64]

INSIDE = tuple(range(60, 68))
UPPER, LOWER = (60, 61, 62, 63, 64), (60, 67, 66, 65, 64)  # the inner edges of the lips
LIP = (57, 66)  # the lower one's middle is between them
SIDE = 512  # px of the crop in which lines are looked for
NARROW = 1 / 32  # of the crop's size, the least width of a mouth
COLUMNS, PLACES = 65, 41  # of the mouth, and in each, that are looked at
# In widths of the mouth:
CLOSED = 0.04  # lips no farther apart are thought to meet,
ASTRAY = 0.05  # at a line at most so far from where a detector sees them;
RIM = 0.04  # as far beyond the lower lip's edge the line may lie;
SOFT = 0.02  # width of a gap's edges;
BAND = 0.1  # of the lips beside it, which go along whole;
LIPS = 0.3  # of what goes with one lip's landmarks, half of it wholly;
OPEN = 0.35  # a mouth open wider has its own gap, which is stretched
# In lights of the lower lip, which is 1:
BEND = 0.12  # what a line costs that jumps by one place from a column to the next,
LOW = 0.25  # and what it costs to be under the upper lip where it could be above the lower one: there are teeth
DARK = 0.2  # what is in a gap, at most


@dataclass(frozen=True, kw_only=True, eq=False)
class Mouth:
    """Where the inside of a mouth is after an edit, and what it shows; in pixels of the crop.

    Columns go from corner to corner.

    Attributes:
        corner: (2,), the left inner corner.
        axes: (2, 2), the vector to the right one, and the one downward of length 1.
        upper: (n,), how far below the line between the corners the upper lip ends in each column.
        lower: (n,), where the lower one begins.
        moves: (n,) from 0 to 1, how far it is sure that the lips part or meet there: else all is left to the flow.
        top: (n, 2), where in the photo the upper lip ends.
        bottom: (n, 2), where in the photo the lower one begins.
        down: (2,), which way is down in the photo, of length 1.
        seam: (n,), how far below `top` the photo's darkest line is.
        tone: (3,) from 0 to 255, what is in a gap there.
        wide: whether it was wide open before, so that what is inside is stretched instead.
        flow: (size, size, 2), from the edited crop to the photo's, where no mouth is.
        above: likewise, on the upper lip, by landmarks of which those of the lower lip's inner edge are none.
        below: likewise, on the lower lip.
    """

    corner: Array
    axes: Array
    upper: Array
    lower: Array
    moves: Array
    top: Array
    bottom: Array
    down: Array
    seam: Array
    tone: Array
    wide: bool
    flow: Field
    above: Field
    below: Field

    @classmethod
    def of(cls, picture: Field, before: Landmarks, after: Landmarks, flow: Field) -> "Mouth | None":
        """Look into a photo's mouth; None where lips neither part nor meet, are not known, or seen in profile.

        Args:
            picture: the photo's crop at SIDE px, (SIDE, SIDE, 3) from 0 to 255.
            before: (68, 2), landmarks of the photo, in pixels of the crop.
            after: (68, 2), where they go.
            flow: (size, size, 2), from the edited crop to the photo's.
        """
        size = len(flow)
        if not (_clear(before, size) and _clear(after, size)):
            return None
        corner, axes = _frame(after)
        start, own = _frame(before)
        edges = _edges(before, start, own)
        depth = edges[1] - edges[0]
        upper, lower = _edges(after, corner, axes)
        moves = smooth(np.abs(lower - upper - depth) / (CLOSE * unit(size)) - 0.5)
        if not moves.any():
            return None
        top, bottom = (_drawn(edge, start, own) for edge in edges)
        width = np.hypot(*own[0])
        places = np.linspace(0, 1, PLACES) * (depth + RIM * width)[:, None]
        seen = _seen(picture, top[:, None] + places[..., None] * own[1], size)
        lip = _seen(picture, before[list(LIP)].mean(axis=0)[None, None], size)[0, 0]
        light = max(float(lip @ LUMA), 1.0)
        grey = seen @ LUMA / light
        below = places - depth[:, None]
        astray = np.where(below < 0, -below / np.maximum(depth, 1e-9)[:, None], below / (RIM * width))
        line = _line(grey + LOW * astray)
        return cls(
            corner=corner,
            axes=axes,
            upper=upper,
            lower=lower,
            moves=moves,
            top=top,
            bottom=bottom,
            down=own[1],
            seam=places[np.arange(COLUMNS), line],
            tone=lip * min(DARK, float(grey[np.arange(COLUMNS), line].mean())),
            wide=bool(depth.max() > OPEN * width),
            flow=flow,
            above=_without(LOWER, before, after, size),
            below=_without(UPPER, before, after, size),
        )

    @property
    def outline(self) -> Array:
        """Places (n, 2) around all that belongs to the mouth."""
        band = LIPS * np.hypot(*self.axes[0])
        return np.concatenate([_drawn(edge, self.corner, self.axes) for edge in (self.upper - band, self.lower + band)])

    def at(self, points: Array) -> tuple[Array, Array, Array]:
        """Tell of places (h, w, 2) of the edited crop what they show.

        Returns:
            share: (h, w) from 0 to 1, how far a place belongs to the mouth.
            sources: (h, w, 2), what it shows of the photo, in pixels of the crop.
            deep: (h, w) from 0 to 1, how far it lies in a gap and shows `tone` instead.
        """
        along, below = np.moveaxis((points - self.corner) @ np.linalg.inv(self.axes), 2, 0)

        def there(values: Array) -> Array:
            """Interpolate what each column has, (n,) or (n, 2)."""
            spread = [np.interp(along, np.linspace(0, 1, COLUMNS), part) for part in values.reshape(COLUMNS, -1).T]
            return np.stack(spread, axis=2) if values.ndim > 1 else spread[0]

        width = np.hypot(*self.axes[0])
        under, over = below - there(self.upper), there(self.lower) - below  # the upper lip's edge, the lower one's
        top, bottom, seam = there(self.top), there(self.bottom), there(self.seam)
        depth = (bottom - top) @ self.down
        rest = depth - seam  # from the line down to the lower lip's edge; less than 0 where it lies beyond
        inside, opening = np.minimum(under, over), under + over
        # What hangs from the upper lip hides what stands on the lower one, but for the lip itself.
        standing = (over < np.minimum(rest, 0)) | ((under > seam) & (over < rest))
        gap = (under > seam) & ~standing
        whole = top + np.where(gap, seam, under)[..., None] * self.down
        whole[standing] = (bottom - over[..., None] * self.down)[standing]
        stretched = np.where(inside > 0, self.wide * smooth((opening - depth) / (SOFT * width)), 0)
        evenly = top + (bottom - top) * (under / np.maximum(opening, 1e-9))[..., None]
        whole += stretched[..., None] * (evenly - whole)
        ends = smooth(np.minimum(along, 1 - along) / BAND) * there(self.moves)
        beside = np.minimum(inside, 0) / width
        share, near = smooth(2 * (1 + beside / LIPS)) * ends, smooth(1 + beside / BAND) * ends
        sources = points + _look(self.flow, points)
        aside = np.where((under < over)[..., None], _look(self.above, points), _look(self.below, points))
        sources += share[..., None] * (points + aside - sources)
        sources += near[..., None] * (whole - sources)
        deep = np.where(gap, (1 - stretched) * smooth(np.minimum(under - seam, over - rest) / (SOFT * width)), 0)
        # Between lips that close it is dark as well.
        shut = smooth(1 - opening / (CLOSED * width)) * smooth((depth - opening) / (CLOSED * width))
        return share, sources, np.maximum(deep, np.where(inside > 0, shut, 0))


def met(picture: Field, landmarks: Landmarks, size: int) -> Landmarks:
    """Return landmarks (68, 2) whose closed lips meet where the photo's do: on the darkest line near where they are.

    Args:
        picture: as of `Mouth.of`.
        landmarks: in pixels of a crop.
        size: of that.
    """
    out = landmarks.copy()
    if not _clear(landmarks, size):
        return out
    _, axes = _frame(landmarks)
    width = np.hypot(*axes[0])
    offsets = np.linspace(-ASTRAY, ASTRAY, PLACES) * width
    pairs = [list(pair) for pair in INNER_LIPS if (landmarks[pair[1]] - landmarks[pair[0]]) @ axes[1] < CLOSED * width]
    if not pairs:
        return out
    middles = np.array([landmarks[pair].mean(axis=0) for pair in pairs])
    grey = _seen(picture, middles[:, None] + offsets[:, None] * axes[1], size) @ LUMA
    for pair, offset in zip(pairs, offsets[_line(grey / max(float(grey.mean()), 1.0))], strict=True):
        out[pair] += offset * axes[1]
    return out


def _without(lip: tuple[int, ...], before: Landmarks, after: Landmarks, size: int) -> Field:
    """Return the motion of a face that knows nothing of one lip's inner edge, but for the corners."""
    told = after.copy()
    told[list(lip[1:-1])] = np.nan
    return landmark_motion(outlined(before), outlined(told), size).flow


def _clear(landmarks: Landmarks, size: int) -> bool:
    """Tell whether a mouth's landmarks are known, and its corners apart."""
    known = bool(np.isfinite(landmarks[[*INSIDE, *LIP]]).all())
    return known and bool(np.hypot(*(landmarks[64] - landmarks[60])) >= NARROW * size)


def _frame(landmarks: Landmarks) -> tuple[Array, Array]:
    """Return the mouth's left inner corner, the vector to the right one, and the one downward of length 1."""
    across = landmarks[64] - landmarks[60]
    down = np.array([-across[1], across[0]]) / np.hypot(*across)
    return landmarks[60], np.stack([across, down])


def _edges(landmarks: Landmarks, corner: Array, axes: Array) -> tuple[Array, Array]:
    """Return how far the lips' inner edges lie below the line between the corners, (COLUMNS,) each."""
    edges = []
    for edge in (UPPER, LOWER):
        along, below = ((landmarks[list(edge)] - corner) @ np.linalg.inv(axes)).T
        # Of a face that looks aside, one may lie behind the next, or beyond the corner.
        along = np.clip(np.maximum.accumulate(along), 0, 1)
        heights = np.interp(np.linspace(0, 1, COLUMNS), along, below)[1:-1]
        # Smooth, and 0 at the corners: as if it went on beyond each turned by half.
        around = np.concatenate([[0], -heights[::-1], [0], heights, [0], -heights[::-1], [0]])
        edges.append(cv2.GaussianBlur(around[None], (0, 0), COLUMNS / 16)[0][COLUMNS - 1 : 2 * COLUMNS - 1])
    middle = (edges[0] + edges[1]) / 2
    return np.minimum(edges[0], middle), np.maximum(edges[1], middle)


def _drawn(edge: Array, corner: Array, axes: Array) -> Array:
    """Return the places (COLUMNS, 2) of an edge that lies so far below the line between the corners."""
    return np.linspace(0, 1, COLUMNS)[:, None] * axes[0] + corner + edge[:, None] * axes[1]


def _seen(picture: Field, points: Array, size: int) -> Array:
    """Return what a crop at SIDE px shows, a little blurred, at points (h, w, 2) of one of `size` px: (h, w, 3)."""
    soft = np.asarray(cv2.GaussianBlur(picture, (0, 0), 1), np.float32)
    return _look(soft, (points + 0.5) * (SIDE / size) - 0.5)


def _look(picture: Field, points: Array) -> Array:
    """Return what a picture (size, size, C) shows at points (h, w, 2) of it: (h, w, C)."""
    x, y = np.moveaxis(points.astype(np.float32), 2, 0)
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float64)


def _line(grey: Array) -> NDArray[np.int64]:
    """Return the place (n,) in each column (n, places) on the darkest line through all (dynamic programming)."""
    jumps = BEND * np.abs(np.subtract.outer(np.arange(grey.shape[1]), np.arange(grey.shape[1])))
    cost, back = grey[0], []
    for column in grey[1:]:
        ways = cost + jumps
        back.append(ways.argmin(axis=1))
        cost = column + ways.min(axis=1)
    line = [int(cost.argmin())]
    for step in reversed(back):
        line.append(int(step[line[-1]]))
    return np.array(line[::-1])
