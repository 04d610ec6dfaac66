"""A photo made ready to be edited: its face in the generator's frame, inverted."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drag.landmarks import Drag
from drag.names import numbers
from drag.points import Points, check_mask, check_points, outside
from drag.regions import region_mask
from drag.settings import Region
from inversion.inversion import Inversion
from pipeline.align import Alignment, cut
from pipeline.faces import Face
from pipeline.photo import Photo
from pipeline.tensors import Crop, to_array
from weights.errors import InvalidInput
from weights.generator import Generator


@dataclass(frozen=True, kw_only=True, eq=False)
class Aligned:
    """A photo with its face in the generator's frame.

    Attributes:
        photo: the photo.
        face: the one that is edited; None where the generator's frame needs none.
        alignment: where the crop lies.
        crop: (size, size, 3) float32, sRGB from 0 to 255.
    """

    photo: Photo
    face: Face | None
    alignment: Alignment
    crop: Crop

    def points(self, drags: list[Drag]) -> Points:
        """Bring drags into the crop.

        Raises:
            InvalidInput: there are none, or one that cannot be used.
        """
        if not drags:
            raise InvalidInput("There are no points to drag: give at least one handle and its target.")
        landmarks = self.face.landmarks if self.face else None
        size = self.alignment.size
        handles, targets = (
            self.alignment.to_crop(np.array(ends))
            for ends in zip(*(drag.resolve(landmarks) for drag in drags), strict=True)
        )
        for end, points in (("begins", handles), ("ends", targets)):
            for i in np.flatnonzero(outside(points, size)):
                raise InvalidInput(
                    f"The drag {drags[i]} {end} outside the crop, which {self._place()}: choose a point inside."
                )
        return check_points(
            handles,
            targets,
            size=size,
            weights=[drag.weight for drag in drags],
            anchors=[drag.anchor for drag in drags],
        )

    def way(self, drag: Drag) -> NDArray[np.float64]:
        """Return how far a drag goes, (2,) in pixels of the crop."""
        landmarks = self.face.landmarks if self.face else None
        handle, target = self.alignment.to_crop(np.array(drag.resolve(landmarks)))
        return np.asarray(target - handle)

    def _place(self) -> str:
        """Say where the crop lies in the photo, by two of its corners."""
        size = self.alignment.size
        (x0, y0), (x1, y1) = self.alignment.to_photo(np.array([[-0.5, -0.5], [size - 0.5, size - 0.5]]))
        return f"reaches from {x0:.0f},{y0:.0f} to {x1:.0f},{y1:.0f} of the photo"

    def mask(
        self, mask: NDArray[np.float32] | Region | tuple[Region, ...], drags: Sequence[Drag] = ()
    ) -> NDArray[np.float32]:
        """Bring a mask of the photo (H, W), or regions of the face, into the crop: (size, size), 1 may move.

        Regions reach to where `drags` bring their landmarks.

        Raises:
            InvalidInput: it is not of the photo's size, or allows nothing to move; or there is no face.
        """
        photo, size = self.photo, self.alignment.size
        if isinstance(mask, str | tuple):
            regions = (mask,) if isinstance(mask, str) else mask
            known = get_args(Region)
            if unknown := [region for region in regions if region not in known]:
                raise InvalidInput(f"No part of a face is called {unknown[0]!r}: choose from {', '.join(known)}.")
            if self.face is None:
                named = ", ".join(regions)
                raise InvalidInput(f"The mask {named!r} needs a face: give a picture of the photo's size instead.")
            landmarks = self.alignment.to_crop(self.face.landmarks)
            moved = landmarks.copy()
            for drag in drags:
                if isinstance(drag.handle, str):
                    moved[numbers(drag.handle)] += self.way(drag)
            return np.max([region_mask(landmarks, region, size, moved=moved) for region in regions], axis=0)
        if mask.shape != (photo.height, photo.width):
            got = " x ".join(str(n) for n in mask.shape[::-1])
            raise InvalidInput(
                f"The mask is {got} pixels where the photo is {photo.width} x {photo.height}: make them alike."
            )
        rows, columns = self.alignment.region(photo.width, photo.height, margin=4 * self.alignment.scale + 4)
        grey = np.repeat((np.clip(mask[rows, columns], 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
        crop = np.clip(cut(grey, self.alignment.moved(-columns.start, -rows.start))[..., 0] / 255, 0, 1)
        crop[crop < 1 / 255] = 0
        return check_mask(crop, size=size)


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject(Aligned):
    """An aligned photo and its inversion: what any number of edits start from.

    Attributes:
        inversion: the code of the crop.
        network: the generator, tuned where the inversion is.
        dtype: of the network's convolutions.
        doubt: a sentence where the generator cannot show this face well.
    """

    inversion: Inversion
    network: Generator
    dtype: torch.dtype
    doubt: str | None = None

    @property
    def w(self) -> Tensor:
        """(1, num_ws, w_dim), the code of the crop, on the network's device."""
        return self.inversion.w.to(self.network.device)

    @cached_property
    def reconstruction(self) -> Crop:
        """(size, size, 3) float32, the network's picture of the crop, from 0 to 255."""
        return self.render(self.w)

    @torch.no_grad()
    def render(self, w: Tensor) -> Crop:
        """Return the network's picture (size, size, 3) float32, from 0 to 255, of a code (1, num_ws, w_dim)."""
        return to_array(self.network.synthesis(w.to(self.network.device), dtype=self.dtype))
