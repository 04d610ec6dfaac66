"""Eyelids that close slide over the eye, which stays as it is, and hide it.

A motion that is spread between the lids would press the eye flat instead, and leave a slit of it.
"""

from dataclasses import dataclass

import numpy as np

from drag.landmarks import Landmarks
from drag.limits import LIDS
from drag.points import unit
from pipeline.check import CLOSE
from pipeline.flow import smooth
from pipeline.slit import Array, Field, Shown, Slit, known, look, motion_without, there, wide

EYES = (((36, 37, 38, 39), (36, 41, 40, 39)), ((42, 43, 44, 45), (42, 47, 46, 45)))  # upper and lower lids
UPPER_LIDS, LOWER_LIDS = ([pair[i] for pair in LIDS] for i in (0, 1))
# In widths of the eye:
RIM = 0.06  # what goes with a lid beyond the edge that a detector sees: lashes, and their shadow
BAND = 0.15  # of the lids beside it, which go along whole;
BESIDE = 0.5  # of what goes with one lid's landmarks, half of it wholly


@dataclass(frozen=True, kw_only=True, eq=False)
class Eye:
    """Where an eye is after an edit that closes it, wholly or in part, and what it shows; in pixels of the crop.

    Attributes:
        slit: between the lids after the edit.
        own: in the photo.
        moves: (COLUMNS,) from 0 to 1, how far it is sure that the lids come nearer: else all is left to the flow.
        flow: (size, size, 2), from the edited crop to the photo's, where no eye is.
        above: likewise, on the upper lid, by landmarks of which those of lower lids are none.
        below: likewise, on the lower lid.
        still: likewise, in the eye, by landmarks of which those of lids are none.
    """

    slit: Slit
    own: Slit
    moves: Array
    flow: Field
    above: Field
    below: Field
    still: Field

    @classmethod
    def closing(cls, before: Landmarks, after: Landmarks, flow: Field) -> "list[Eye]":
        """Return those eyes whose lids come nearer to each other, are known, and are not seen in profile.

        Args:
            before: (68, 2), landmarks of the photo, in pixels of the crop.
            after: (68, 2), where they go.
            flow: (size, size, 2), from the edited crop to the photo's.
        """
        size = len(flow)
        found = []
        for upper, lower in EYES:
            if not all(known(at, upper + lower) and wide(at, upper[0], upper[-1], size) for at in (before, after)):
                continue
            own, slit = (Slit.of(landmarks, upper, lower) for landmarks in (before, after))
            moves = smooth((own.opening - slit.opening) / (CLOSE * unit(size)) - 0.5)
            if moves.any():
                found.append((slit, own, moves))
        if not found:
            return []
        above, below, still = (
            motion_without(lids, before, after, size) for lids in (LOWER_LIDS, UPPER_LIDS, LOWER_LIDS + UPPER_LIDS)
        )
        return [
            cls(slit=slit, own=own, moves=moves, flow=flow, above=above, below=below, still=still)
            for slit, own, moves in found
        ]

    @property
    def outline(self) -> Array:
        """Places (n, 2) around all that belongs to the eye."""
        return self.slit.around(BESIDE)

    def at(self, points: Array) -> Shown:
        """Tell of places (h, w, 2) of the edited crop what they show."""
        along, below = self.slit.columns(points)
        width, rim = self.slit.width, RIM * self.own.width
        # How far below the upper lid's edge a place lies, and how far above the lower one's.
        under, over = below - there(along, self.slit.upper), there(along, self.slit.lower) - below
        top, bottom = (there(along, self.own.drawn(edge)) for edge in (self.own.upper, self.own.lower))
        hidden = np.maximum((bottom - top) @ self.own.down - under - over, 0)
        # How much of the eye's upper part is hidden: of what goes with a lid, nothing and all.
        stays = (points + look(self.still, points) - top) @ self.own.down - under
        upper, lower = under < rim, over < rim
        covered = np.where(upper, 0, np.where(lower, hidden, np.clip(stays, 0, hidden)))
        whole = top + (under + covered)[..., None] * self.own.down
        ends = smooth(np.minimum(along, 1 - along) / BAND) * there(along, self.moves)
        # The upper lid's lashes lie on the lower lid where they meet.
        beside = np.minimum(np.where(upper, under, np.minimum(under, over)), 0) / width
        share, near = smooth(2 * (1 + beside / BESIDE)) * ends, smooth(1 + beside / BAND) * ends
        sources = points + look(self.flow, points)
        aside = np.where((under < over)[..., None], look(self.above, points), look(self.below, points))
        sources += share[..., None] * (points + aside - sources)
        sources += near[..., None] * (whole - sources)
        return Shown(share=share, sources=sources, deep=np.zeros_like(share), tone=np.zeros((*share.shape, 3)))
