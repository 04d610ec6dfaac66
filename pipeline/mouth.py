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
from pipeline.check import CLOSE
from pipeline.flow import LUMA, smooth
from pipeline.slit import (
    COLUMNS,
    Array,
    Field,
    Parting,
    Shown,
    Slit,
    all_known,
    apart,
    at_columns,
    motion_without,
    sample,
)

INSIDE = tuple(range(60, 68))
UPPER, LOWER = (60, 61, 62, 63, 64), (60, 67, 66, 65, 64)  # the inner edges of the lips
LIP = (57, 66)  # the lower one's middle is between them
SIDE = 512  # px of the crop in which lines are looked for
PLACES = 41  # in each column, that are looked at
STEEP = 2  # from one column to the next: a tooth is not cut in two
# In widths of the mouth:
CLOSED = 0.04  # lips no farther apart are thought to meet,
ASTRAY = 0.05  # at a line at most so far from where a detector sees them;
RIM = 0.04  # as far beyond the lower lip's edge the line may lie;
SOFT = 0.02  # width of a gap's edges;
BAND = 0.1  # of the lips beside it, which go along whole, and of the corners, where less and less does;
LIPS = 0.3  # of what goes with one lip's landmarks, half of it wholly;
OPEN = 0.35  # a mouth open wider has its own gap, which is stretched
# In lights of the lower lip, which is 1:
BEND = 0.12  # what a line costs that goes on one place higher or lower in the next column; at most STEEP may be,
LOW = 0.25  # and what it costs to be under the upper lip where it could be above the lower one: there are teeth
DARK = 0.15  # what is in a gap, at most,
TONGUE = 0.5  # and how light its tongue is
RAISED = (0.04, 0.18)  # heights of a gap, in widths of the mouth, at which nothing of a tongue shows, and all of it,
ROOT = 0.3  # which begins in the middle of the mouth at this share of the gap's height


@dataclass(frozen=True, kw_only=True, eq=False)
class Mouth(Parting):
    """Where the inside of a mouth is after an edit, and what it shows.

    Attributes:
        seam: (COLUMNS,), how far below the upper lip's edge the photo's darkest line is.
        dark: (3,) from 0 to 255, what is in a gap there,
        tongue: (3,) and low in a high one.
        wide: whether it was wide open before, so that what is inside is stretched instead.
    """

    seam: Array
    dark: Array
    tongue: Array
    wide: bool

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
        own, slit = (Slit.of(landmarks, UPPER, LOWER) for landmarks in (before, after))
        depth = own.opening
        moves = smooth(np.abs(slit.opening - depth) / (CLOSE * unit(size)) - 0.5)
        if not moves.any():
            return None
        places = np.linspace(0, 1, PLACES) * (depth + RIM * own.width)[:, None]
        seen = _seen(picture, own.drawn(own.upper)[:, None] + places[..., None] * own.down, size)
        lip = _seen(picture, before[list(LIP)].mean(axis=0)[None, None], size)[0, 0]
        light = max(float(lip @ LUMA), 1.0)
        flesh = np.square(lip) * (light / max(float(np.square(lip) @ LUMA), 1.0))  # where light comes by way of flesh
        grey = seen @ LUMA / light
        below = places - depth[:, None]
        astray = np.where(below < 0, -below / np.maximum(depth, 1e-9)[:, None], below / (RIM * own.width))
        line = _line(grey + LOW * astray)
        return cls(
            slit=slit,
            own=own,
            moves=moves,
            seam=places[np.arange(COLUMNS), line],
            dark=flesh * min(DARK, float(grey[np.arange(COLUMNS), line].mean())),
            tongue=flesh * TONGUE,
            wide=bool(depth.max() > OPEN * own.width),
            flow=flow,
            above=motion_without(LOWER[1:-1], before, after, size),
            below=motion_without(UPPER[1:-1], before, after, size),
        )

    @property
    def outline(self) -> Array:
        """Places (n, 2) around all that belongs to the mouth."""
        return self.slit.around(LIPS)

    def at(self, points: Array) -> Shown:
        """Tell of places (h, w, 2) of the edited crop what they show."""
        along, under, over, top, bottom = self.edges(points)
        width, down = self.slit.width, self.own.down
        depth, seam = (bottom - top) @ down, at_columns(along, self.seam)
        rest = depth - seam  # from the line down to the lower lip's edge; less than 0 where it lies beyond
        inside, opening = np.minimum(under, over), under + over
        # What hangs from the upper lip hides what stands on the lower one, but for the lip itself.
        standing = (over < np.minimum(rest, 0)) | ((under > seam) & (over < rest))
        gap = (under > seam) & ~standing
        whole = top + np.where(gap, seam, under)[..., None] * down
        whole[standing] = (bottom - over[..., None] * down)[standing]
        stretched = np.where(inside > 0, self.wide * smooth((opening - depth) / (SOFT * width)), 0)
        evenly = top + (bottom - top) * (under / np.maximum(opening, 1e-9))[..., None]
        whole += stretched[..., None] * (evenly - whole)
        share, _, sources = self.joined(
            points, whole, along=along, inside=inside, upper=under < over, reach=LIPS, band=BAND
        )
        deep = np.where(gap, (1 - stretched) * smooth(np.minimum(under - seam, over - rest) / (SOFT * width)), 0)
        # Between lips that close it is dark as well.
        shut = smooth(1 - opening / (CLOSED * width)) * smooth((depth - opening) / (CLOSED * width))
        deep = np.maximum(deep, np.where(inside > 0, shut, 0))
        high = np.maximum(opening - depth, 1e-9)
        back = ROOT + (1 - ROOT) * np.square(2 * along - 1)  # the tongue's, which is round
        raised = smooth((high / width - RAISED[0]) / (RAISED[1] - RAISED[0]))
        tongue = smooth(((under - seam) / high - back) / (1 - ROOT)) * raised
        tone = self.dark + tongue[..., None] * (self.tongue - self.dark)
        return Shown(share=share, sources=sources, sure=deep, deep=deep, tone=tone)


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
    slit = Slit.of(landmarks, UPPER, LOWER)
    offsets = np.linspace(-ASTRAY, ASTRAY, PLACES) * slit.width
    pairs = [
        list(pair) for pair in INNER_LIPS if (landmarks[pair[1]] - landmarks[pair[0]]) @ slit.down < CLOSED * slit.width
    ]
    if not pairs:
        return out
    middles = np.array([landmarks[pair].mean(axis=0) for pair in pairs])
    grey = _seen(picture, middles[:, None] + offsets[:, None] * slit.down, size) @ LUMA
    for pair, offset in zip(pairs, offsets[_line(grey / max(float(grey.mean()), 1.0))], strict=True):
        out[pair] += offset * slit.down
    return out


def _clear(landmarks: Landmarks, size: int) -> bool:
    """Tell whether a mouth's landmarks are known, and its corners apart."""
    return all_known(landmarks, (*INSIDE, *LIP)) and apart(landmarks, UPPER[0], UPPER[-1], size)


def _seen(picture: Field, points: Array, size: int) -> Array:
    """Return what a crop at SIDE px shows, a little blurred, at points (h, w, 2) of one of `size` px: (h, w, 3)."""
    soft = np.asarray(cv2.GaussianBlur(picture, (0, 0), 1), np.float32)
    return sample(soft, (points + 0.5) * (SIDE / size) - 0.5)


def _line(grey: Array) -> NDArray[np.int64]:
    """Return the place (n,) in each column (n, places) on the darkest line through all (dynamic programming)."""
    jumps = BEND * np.abs(np.subtract.outer(np.arange(grey.shape[1]), np.arange(grey.shape[1])))
    jumps[jumps > BEND * (STEEP + 0.5)] = np.inf
    cost, back = grey[0], []
    for column in grey[1:]:
        ways = cost + jumps
        back.append(ways.argmin(axis=1))
        cost = column + ways.min(axis=1)
    line = [int(cost.argmin())]
    for step in reversed(back):
        line.append(int(step[line[-1]]))
    return np.array(line[::-1])
