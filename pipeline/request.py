"""What to do to a photo, as the user says it, before a photo is known.

One object serves `photodrag edit`, every photo of `photodrag batch`, and recipe files: a new way to say an
edit is a field here, and is an option of both commands and a key of recipes by that.
This module imports neither torch nor numpy.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from drag.settings import Region
from weights.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drag.landmarks import Drag


@dataclass(frozen=True, kw_only=True)
class EditRequest:
    """What to do to a photo.

    Attributes:
        drag: HANDLE:TARGET; repeat it for more points.
        mask: what may move: face, mouth, eyes, brows, nose or jaw; or a picture of the photo's size, painted
            white there.
    """

    drag: tuple[str, ...] = ()
    mask: str | None = None

    def drags(self) -> "list[Drag]":
        """Return the drags.

        Raises:
            InvalidInput: there are none, or one that cannot be read.
        """
        from drag.landmarks import parse_drag

        drags = [parse_drag(text) for text in self.drag]
        if not drags:
            raise InvalidInput("There is nothing to drag: give at least one --drag HANDLE:TARGET.")
        return drags

    def allowed(self) -> "NDArray[np.float32] | Region | None":
        """Return the region that the mask names, or else (H, W) out of the file of that name; None for everywhere.

        Raises:
            InvalidInput, InvalidFile: the file is not there, or no picture.
        """
        from pipeline.photo import read_mask

        if self.mask is None or self.mask in get_args(Region):
            return cast("Region | None", self.mask)
        return read_mask(Path(self.mask))

    def files(self) -> list[Path]:
        """Return the files that this request names, whose content counts as part of it."""
        return [] if self.mask is None or self.mask in get_args(Region) else [Path(self.mask)]
