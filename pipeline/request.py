"""What to do to a photo, as the user says it, before a photo is known.

One object serves `photodrag edit`, `photodrag retarget`, every photo of `photodrag batch`, and recipe files: a new
way to say an edit is a field here, and is an option of the commands and a key of recipes by that.
This module imports neither torch nor numpy.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from drag.settings import Part, Region
from weights.errors import InvalidInput

if TYPE_CHECKING:
    from pipeline.plan import Mask
    from pipeline.retarget import Request

NO_MASK = "none"


@dataclass(frozen=True, kw_only=True)
class EditRequest:
    """What to do to a photo; its parts add up.

    Attributes:
        drag: HANDLE:TARGET; repeat it for more points.
        points: a JSON file with handles and targets, as --save-points writes it.
        like: a photo whose largest face has the expression that this one is to have.
        region: what of that expression is taken: mouth, eyes, brows, jaw, nose, pose, or all; repeat it for more.
            Without it, all but the pose and the nose.
        strength: how much of that expression, from 0 to 1.5; 1 unless it is said.
        preset: NAME=STRENGTH, like smile=0.6; negative for the reverse; repeat it to mix. `photodrag presets` lists
            them.
        presets: a TOML file with presets of your own; repeat it for more.
        mask: what may move: face, mouth, eyes, brows, nose or jaw; a picture of the photo's size, painted white
            there, and black or transparent elsewhere; or none, for the whole crop. Without it, the parts of the face
            that are asked to move, or the whole crop for points in pixels and turns of the head.
    """

    drag: tuple[str, ...] = ()
    points: Path | None = None
    like: Path | None = None
    region: tuple[Part, ...] = ()
    strength: float = 1.0
    preset: tuple[str, ...] = ()
    presets: tuple[Path, ...] = ()
    mask: str | None = None

    @property
    def landmarks(self) -> bool:
        """Whether landmarks are dragged, not points typed in pixels: it tells which defaults the drag has.

        Raises:
            InvalidInput: a drag is none.
        """
        if self.points or self.like or self.preset:
            return True
        if not self.drag:
            return False
        from drag.landmarks import by_landmarks, parse_drag

        return by_landmarks([parse_drag(text) for text in self.drag])

    def read(self) -> "Request":
        """Return the request with its files read: what `pipeline.retarget.plan` makes plans of.

        Raises:
            InvalidInput: nothing is asked; or something that cannot be read or cannot be.
            InvalidFile: a file is something else than it should be.
        """
        from drag.landmarks import parse_drag
        from drag.points_file import read_points
        from drag.presets import choose_presets
        from pipeline.photo import read_photo
        from pipeline.retarget import Request

        if not (self.drag or self.points or self.like or self.preset):
            raise InvalidInput(
                "There is nothing to drag: give at least one --drag HANDLE:TARGET, or else give --like OTHER, "
                "--preset NAME=STRENGTH, or --points FILE."
            )
        return Request(
            presets=choose_presets(self.preset, self.presets),
            drags=tuple(parse_drag(text) for text in self.drag),
            points=read_points(self.points) if self.points else None,
            like=read_photo(self.like) if self.like else None,
            parts=self.region,
            strength=self.strength,
            mask=self._mask(),
        )

    def _mask(self) -> "Mask | None":
        """Return the region that the mask names, () for `none`, or else (H, W) out of the file of that name."""
        from pipeline.photo import read_mask

        if self.mask == NO_MASK:
            return ()
        path = self._mask_file()
        if path and not path.exists():
            raise InvalidInput(
                f"No mask is called {self.mask!r}, and no picture is there: give {', '.join(get_args(Region))}, "
                f"{NO_MASK}, or the path of a picture."
            )
        return cast("Region | None", self.mask) if path is None else read_mask(path)

    def _mask_file(self) -> Path | None:
        named = self.mask is None or self.mask == NO_MASK or self.mask in get_args(Region)
        return None if named else Path(cast("str", self.mask))

    def files(self) -> list[Path]:
        """Return the files that this request names, whose content counts as part of it."""
        return [path for path in (self._mask_file(), self.points, self.like, *self.presets) if path]

    def moved(self, to: Callable[[Path], Path]) -> "EditRequest":
        """Return the request with other paths for its files, `to` of each one's own."""
        mask = self._mask_file()
        return replace(
            self,
            points=self.points and to(self.points),
            like=self.like and to(self.like),
            presets=tuple(to(path) for path in self.presets),
            mask=self.mask if mask is None else str(to(mask)),
        )
