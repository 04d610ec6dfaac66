"""What can be set of a drag. This module imports no torch: the command line reads its defaults."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from weights.checks import check_fields
from weights.errors import InvalidInput

Region = Literal["face", "mouth", "eyes", "brows", "nose", "jaw"]
Part = Literal["mouth", "eyes", "brows", "jaw", "nose", "pose", "all"]
TrackerName = Literal["nearest", "steady", "none"]
Space = Literal["w", "w+"]


@dataclass(frozen=True, kw_only=True)
class DragSettings:
    """How handles are dragged; rows, steps, mask and tracker are the paper's (Pan et al. 2023, sections 3 and 4).

    Attributes:
        steps: at most so many at a stretch; landmarks that fell short are dragged on for another one, up to
            `corrections` times.
        rows: how many rows of W+ are optimised, from the coarsest; as many as there are where those are less.
        space: W+ moves each row by itself, W all of them alike.
        learning_rate: of Adam, in units of the generator's spread of w, where the paper's is a number for each
            generator.
        mask_weight: weight of the mask term, which is a mean (not a sum) over what may not move.
        tracker: how handles are found again after a step: by their feature as in the paper (nearest); the
            same, but of places that look alike the one where the step should have brought them (steady), for plain
            or repeated textures; or not at all, trusting that they moved as asked (none).
        feature_resolution: block whose output is the feature map; 0 for the sixth (128 px), or half the
            picture's size for generators below 256 px.
        patience: stop when the handles have not come nearer, taken together, in so many steps; 0 for never.
        reach: how far the code may go from where it was: root mean square over all its rows, in units of the
            generator's spread of w; 0 for as far as the handles take it. Farther away, more of the way costs the face.
        tolerance: how near a target is near enough, in pixels at 512; 0 for the paper's 1 up to five handles and
            2 for more. Handles are found again on a lattice of 1 px at 512, so that less than 0.71 may never be
            reached.
        compile: compile the network up to the feature map (torch.compile, needs a C++ compiler). It serves drags
            that compute the whole map, as those with a mask do; whether it pays depends on the machine.
    """

    steps: int = 300
    rows: int = 6
    space: Space = "w+"
    learning_rate: float = 0.0042
    mask_weight: float = 20.0
    tracker: TrackerName = "nearest"
    feature_resolution: int = 0
    patience: int = 60
    reach: float = 0.0
    tolerance: float = 0.0
    compile: bool = False


@dataclass(frozen=True, kw_only=True)
class LandmarkDragSettings(DragSettings):
    """How landmarks are dragged, within the part of the face that is theirs: short ways, often by the dozen, which
    the paper's tolerance would leave unmade.

    Attributes: see `DragSettings`; docs/retarget.md says why these defaults differ.
    """

    steps: int = 60
    rows: int = 8
    learning_rate: float = 0.0048
    mask_weight: float = 5.0
    patience: int = 15
    reach: float = 0.09
    tolerance: float = 1.0


def drag_defaults(*, landmarks: bool) -> DragSettings:
    """Return the defaults for landmarks, or those for points anywhere in the picture."""
    return LandmarkDragSettings() if landmarks else DragSettings()


def check_settings(settings: DragSettings, resolutions: Sequence[int]) -> None:
    """Make sure that a drag can be made with the settings.

    Args:
        settings: of the drag.
        resolutions: of the generator's blocks.

    Raises:
        InvalidInput: one of them makes no sense, or the generator has no such feature map, or this machine no
            compiler.
    """
    check_fields(settings, "drag", rows=(1, inf))
    if not settings.learning_rate:
        raise InvalidInput("The drag's learning-rate is a number above 0: with 0 nothing moves.")
    if settings.feature_resolution and settings.feature_resolution not in resolutions:
        sizes = ", ".join(map(str, resolutions))
        raise InvalidInput(f"The generator has feature maps of {sizes} pixels, none of {settings.feature_resolution}.")
    if settings.compile and not shutil.which(shlex.split(_compiler(), posix=os.name == "posix")[0]):
        raise InvalidInput(
            f"--compile needs a C++ compiler, and {_compiler()} is not there: install it, name another one in the "
            "variable CXX, or leave --compile out."
        )


def _compiler() -> str:
    """Return the C++ compiler that torch.compile takes."""
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return os.environ.get("CXX") or usual
