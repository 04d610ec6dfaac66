"""The inside of a mouth that opens or closes: teeth are as large as they were, and a gap between them is dark.

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

Field = NDArray[np.float32]
Points = NDArray[np.float64]

UPPER, LOWER = (60, 61, 62, 63, 64), (60, 67, 66, 65, 64)  # the inner edges of the lips
PAIRS = ((61, 67), (62, 66), (63, 65))
LIP = (57, 66)  # the lower one's middle is between them
SIDE = 512  # px of the crop in which lines are looked for
LUMA = np.array([0.299, 0.587, 0.114])
NARROW = 1 / 32  # of the crop's size, the least width of a mouth
COLUMNS, PLACES = 65, 33  # of the mouth, and in each, that are looked at
# In widths of the mouth:
CLOSED = 0.04  # lips no farther apart are thought to meet,
ASTRAY = 0.05  # at a line at most so far from where a detector sees them;
SOFT = 0.02  # width of a gap's edges;
BAND = 0.1  # of the lips beside it, which go along whole;
OPEN = 0.3, 0.4  # what is open less than the first has nothing to stretch, and more than the second, enough
# In lights of the lower lip:
BEND = 0.12  # what a line costs that jumps by one place from a column to the next,
LOW = 0.25  # and what it costs to be under the upper lip where it could be above the lower one: there are teeth
DARK = 0.3  # what is in a gap


@dataclass(frozen=True, kw_only=True, eq=False)
class Mouth:
    """Where the inside of a mouth is after an edit, and what it shows; in pixels of the crop.

    Columns go from corner to corner.

    Attributes:
        corner: (2,), the left inner corner.
        axes: (2, 2), the vector to the right one, and the one downward of length 1.
        upper: (n,), how far below the line between the corners the upper lip ends in each column.
        lower: (n,), where the lower one begins.
        top: (n, 2), where in the photo the upper lip ends.
        bottom: (n, 2), where in the photo the lower one begins.
        down: (2,), which way is down in the photo, of length 1.
        seam: (n,), how far below `top` the photo's darkest line is.
        tone: (3,) from 0 to 255, what is in a gap there.
        stretched: from 0 to 1, how far what is inside is stretched instead.
        flow: (size, size, 2), from the edited crop to the photo's, where no mouth is.
    """

    corner: Points
    axes: Points
    upper: Points
    lower: Points
    top: Points
    bottom: Points
    down: Points
    seam: Points
    tone: Points
    stretched: float
    flow: Field

    @classmethod
    def of(cls, picture: Field, before: Landmarks, after: Landmarks, flow: Field) -> "Mouth | None":
        """Look into a photo's mouth; None where it is too narrow for it, as in profile.

        Args:
            picture: the photo's crop at SIDE px, (SIDE, SIDE, 3) from 0 to 255.
            before: (68, 2), landmarks of the photo, in pixels of the crop.
            after: (68, 2), where they go.
            flow: (size, size, 2), from the edited crop to the photo's.
        """
        if min(np.hypot(*(at[64] - at[60])) for at in (before, after)) < NARROW * len(flow):
            return None
        corner, axes = _frame(after)
        start, own = _frame(before)
        upper, lower = _edges(after, corner, axes)
        columns = np.linspace(0, 1, COLUMNS)[:, None] * own[0] + start
        top, bottom = (columns + height[:, None] * own[1] for height in _edges(before, start, own))
        depth = (bottom - top) @ own[1]
        picture = _softened(picture)
        share = np.linspace(0, 1, PLACES)
        places = depth[:, None] * share
        seen = _look(picture, _at_side(top[:, None] + places[..., None] * own[1], len(flow)))
        lip = _look(picture, _at_side(before[list(LIP)].mean(axis=0)[None, None], len(flow)))[0, 0]
        grey = _grey(seen) / max(float(_grey(lip)), 1.0)
        line = _line(grey + LOW * (1 - share))
        low, high = OPEN
        widens = float((lower - upper).max() > depth.max())
        return cls(
            corner=corner,
            axes=axes,
            upper=upper,
            lower=lower,
            top=top,
            bottom=bottom,
            down=own[1],
            seam=places[np.arange(COLUMNS), line],
            tone=lip * min(DARK, float(grey[np.arange(COLUMNS), line].mean())),
            stretched=widens * float(np.clip((depth.max() / np.hypot(*own[0]) - low) / (high - low), 0, 1)),
            flow=flow,
        )

    @property
    def outline(self) -> Points:
        """Places (n, 2) around all that belongs to the mouth."""
        columns = np.linspace(0, 1, COLUMNS)[:, None] * self.axes[0] + self.corner
        band = BAND * np.hypot(*self.axes[0])
        edges = (self.upper - band, self.lower + band)
        return np.concatenate([columns + height[:, None] * self.axes[1] for height in edges])

    def at(self, points: Points) -> tuple[Points, Points, Points]:
        """Tell of places (h, w, 2) of the edited crop what they show.

        Returns:
            share: (h, w) from 0 to 1, how far a place belongs to the mouth.
            sources: (h, w, 2), what it shows of the photo, in pixels of the crop.
            deep: (h, w) from 0 to 1, how far it lies in a gap and shows `tone` instead.
        """
        along, below = np.moveaxis((points - self.corner) @ np.linalg.inv(self.axes), 2, 0)

        def column(values: Points) -> Points:
            spread = [np.interp(along, np.linspace(0, 1, COLUMNS), part) for part in values.reshape(COLUMNS, -1).T]
            return np.stack(spread, axis=2) if values.ndim > 1 else spread[0]

        width = np.hypot(*self.axes[0])
        under, over = below - column(self.upper), column(self.lower) - below
        top, bottom, seam = column(self.top), column(self.bottom), column(self.seam)
        rest = (bottom - top) @ self.down - seam
        within, opening = np.minimum(under, over), under + over
        # What hangs from the upper lip hides what stands on the lower one.
        lower = (over < 0) | ((under > seam) & (over < rest))
        gap = (under > seam) & ~lower
        whole = top + np.where(gap, seam, under)[..., None] * self.down
        whole[lower] = (bottom - over[..., None] * self.down)[lower]
        evenly = top + (bottom - top) * (under / np.maximum(opening, 1e-9))[..., None]
        whole += np.where(within > 0, self.stretched, 0)[..., None] * (evenly - whole)
        share = _smooth(1 + np.minimum(within, 0) / (BAND * width)) * _smooth(np.minimum(along, 1 - along) / BAND)
        sources = points + _look(self.flow, points)
        sources += share[..., None] * (whole - sources)
        deep = np.where(gap, (1 - self.stretched) * _smooth(np.minimum(under - seam, over - rest) / (SOFT * width)), 0)
        # Between lips that close it is dark as well.
        shut = _smooth(1 - opening / (CLOSED * width)) * _smooth((rest + seam - opening) / (CLOSED * width))
        return share, sources, np.where(within > 0, np.maximum(deep, shut), 0)


def met(picture: Field, landmarks: Landmarks, size: int) -> Landmarks:
    """Return landmarks (68, 2) whose closed lips meet where the photo's do: on the darkest line near where they are.

    Args:
        picture: as of `Mouth.of`.
        landmarks: in pixels of a crop.
        size: of that.
    """
    out, width = landmarks.copy(), np.hypot(*(landmarks[64] - landmarks[60]))
    if width < NARROW * size:
        return out
    _, axes = _frame(landmarks)
    offsets = np.linspace(-ASTRAY, ASTRAY, PLACES) * width
    pairs = [pair for pair in PAIRS if (landmarks[pair[1]] - landmarks[pair[0]]) @ axes[1] < CLOSED * width]
    if not pairs:
        return out
    middles = np.array([landmarks[list(pair)].mean(axis=0) for pair in pairs])
    seen = _grey(_look(_softened(picture), _at_side(middles[:, None] + offsets[:, None] * axes[1], size)))
    chosen = offsets[_line(seen / max(float(seen.mean()), 1.0))]
    for pair, middle, offset in zip(pairs, middles, chosen, strict=True):
        out[list(pair)] = middle + offset * axes[1]
    return out


def _frame(landmarks: Landmarks) -> tuple[Points, Points]:
    """Return the mouth's left inner corner, the vector to the right one, and the one downward of length 1."""
    across = landmarks[64] - landmarks[60]
    down = np.array([-across[1], across[0]]) / np.hypot(*across)
    return landmarks[60], np.stack([across, down])


def _edges(landmarks: Landmarks, corner: Points, axes: Points) -> tuple[Points, Points]:
    """Return how far the lips' inner edges lie below the line between the corners, (COLUMNS,) each."""
    edges = []
    for edge in (UPPER, LOWER):
        along, below = ((landmarks[list(edge)] - corner) @ np.linalg.inv(axes)).T
        # Of a face that looks aside, one may lie behind the next.
        heights = np.interp(np.linspace(0, 1, COLUMNS), np.maximum.accumulate(along), below)
        edges.append(cv2.GaussianBlur(heights[None], (0, 0), COLUMNS / 16, borderType=cv2.BORDER_REPLICATE)[0])
    middle = (edges[0] + edges[1]) / 2
    return np.minimum(edges[0], middle), np.maximum(edges[1], middle)


def _smooth(rise: Points) -> Points:
    """Return a rise from 0 to 1 whose ends are smooth."""
    rise = np.clip(rise, 0, 1)
    return np.asarray(rise * rise * (3 - 2 * rise), np.float64)


def _softened(picture: Field) -> Field:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1), np.float32)


def _grey(colours: Points) -> Points:
    return np.asarray(colours @ LUMA, np.float64)


def _at_side(points: Points, size: int) -> Points:
    """Return where points of a crop of `size` px lie in one of SIDE px."""
    return (points + 0.5) * (SIDE / size) - 0.5


def _look(picture: Field, points: Points) -> Points:
    """Return what a picture (size, size, C) shows at points (h, w, 2) of it: (h, w, C)."""
    x, y = np.moveaxis(points.astype(np.float32), 2, 0)
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float64)


def _line(seen: Points) -> NDArray[np.int64]:
    """Return the place (n,) in each column (n, places) on the darkest line through all (dynamic programming)."""
    jumps = BEND * np.abs(np.subtract.outer(np.arange(seen.shape[1]), np.arange(seen.shape[1])))
    cost, back = seen[0], []
    for column in seen[1:]:
        ways = cost + jumps
        back.append(ways.argmin(axis=1))
        cost = column + ways.min(axis=1)
    line = [int(cost.argmin())]
    for step in reversed(back):
        line.append(int(step[line[-1]]))
    return np.array(line[::-1])
