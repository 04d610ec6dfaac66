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
from pipeline.slit import Array, Field, Parting, Shown, Slit, all_known, apart, motion_without, sample

EYES = (((36, 37, 38, 39), (36, 41, 40, 39)), ((42, 43, 44, 45), (42, 47, 46, 45)))  # upper and lower lids
BROWS = range(17, 27)
UPPER_LIDS, LOWER_LIDS = ([pair[i] for pair in LIDS] for i in (0, 1))
# In widths of the eye:
RIM = 0.06  # what goes with a lid beyond the edge that a detector sees: lashes, and their shadow
BAND = 0.15  # of the lids beside it, which go along whole, and of the corners, where less and less does;
BESIDE = 0.5  # of what goes with one lid's landmarks, half of it wholly


@dataclass(frozen=True, kw_only=True, eq=False)
class Eye(Parting):
    """Where an eye is after an edit that closes it, wholly or in part, and what it shows.

    Attributes:
        still: (size, size, 2), from the edited crop to the photo's in the eye, by landmarks of which those of lids
            and brows are none.
    """

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
        along, under, over, top, bottom = self.edges(points)
        hidden = np.maximum((bottom - top) @ self.own.down - under - over, 0)
        rim = RIM * self.own.width
        upper, lower = under < rim, over < rim
        lids = top + (under + np.where(upper, 0, hidden))[..., None] * self.own.down
        # What is between them stays, but shows nothing of what is beyond: at most all that is hidden is so above.
        eye = points + sample(self.still, points)
        above = (eye - top) @ self.own.down - under
        eye += (np.clip(above, 0, hidden) - above)[..., None] * self.own.down
        whole = np.where((upper | lower)[..., None], lids, eye)
        # The upper lid's lashes lie on the lower lid where they meet.
        inside = np.where(upper, under, np.minimum(under, over))
        share, near, sources = self.joined(
            points, whole, along=along, inside=inside, upper=under < over, reach=BESIDE, band=BAND
        )
        return Shown(share=share, sources=sources, sure=near)
