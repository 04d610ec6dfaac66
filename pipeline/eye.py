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
from pipeline.slit import Array, Field, Shown, Slit, all_known, apart, at_columns, motion_without, sample

EYES = (((36, 37, 38, 39), (36, 41, 40, 39)), ((42, 43, 44, 45), (42, 47, 46, 45)))  # upper and lower lids
BROWS = range(17, 27)
UPPER_LIDS, LOWER_LIDS = ([pair[i] for pair in LIDS] for i in (0, 1))
# In widths of the eye:
RIM = 0.06  # what goes with a lid beyond the edge that a detector sees: lashes, and their shadow
BAND = 0.15  # of the lids beside it, which go along whole, and of the corners, where less and less does;
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
        still: likewise, in the eye, by landmarks of which those of lids and brows are none.
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
            if not all(all_known(at, upper + lower) and apart(at, upper[0], upper[-1], size) for at in (before, after)):
                continue
            own, slit = (Slit.of(landmarks, upper, lower) for landmarks in (before, after))
            moves = smooth((own.opening - slit.opening) / (CLOSE * unit(size)) - 0.5)
            if moves.any():
                found.append((slit, own, moves))
        if not found:
            return []
        above, below, still = (
            motion_without(others, before, after, size)
            for others in (LOWER_LIDS, UPPER_LIDS, [*LOWER_LIDS, *UPPER_LIDS, *BROWS])
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
        under, over = below - at_columns(along, self.slit.upper), at_columns(along, self.slit.lower) - below
        top, bottom = (at_columns(along, self.own.drawn(edge)) for edge in (self.own.upper, self.own.lower))
        hidden = np.maximum((bottom - top) @ self.own.down - under - over, 0)
        upper, lower = under < rim, over < rim
        lids = top + (under + np.where(upper, 0, hidden))[..., None] * self.own.down
        # What is between them stays, but shows nothing of what is beyond: at most all that is hidden is so above.
        eye = points + sample(self.still, points)
        above = (eye - top) @ self.own.down - under
        eye += (np.clip(above, 0, hidden) - above)[..., None] * self.own.down
        whole = np.where((upper | lower)[..., None], lids, eye)
        ends = smooth(np.minimum(along, 1 - along) / BAND) * at_columns(along, self.moves)
        # The upper lid's lashes lie on the lower lid where they meet.
        beside = np.minimum(np.where(upper, under, np.minimum(under, over)), 0) / width
        share, near = smooth(2 * (1 + beside / BESIDE)) * ends, smooth(1 + beside / BAND) * ends
        sources = points + sample(self.flow, points)
        aside = np.where((under < over)[..., None], sample(self.above, points), sample(self.below, points))
        sources += share[..., None] * (points + aside - sources)
        sources += near[..., None] * (whole - sources)
        return Shown(share=share, sources=sources, sure=near)
