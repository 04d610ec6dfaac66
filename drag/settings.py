"""What can be set of a drag. This module imports no torch: the command line reads its defaults."""

from dataclasses import dataclass
from typing import Literal

Region = Literal["face", "mouth", "eyes", "brows", "nose", "jaw"]
Part = Literal["mouth", "eyes", "brows", "jaw", "nose", "pose", "all"]
TrackerName = Literal["nearest", "steady", "none"]


@dataclass(frozen=True, kw_only=True)
class DragSettings:
    """How handles are dragged; the defaults are the paper's (section 3 and table of the supplement).

    Attributes:
        steps: at most so many at a stretch; landmarks that fell short are dragged on for another one, up to
            `FaceSettings.corrections` times.
        rows: how many rows of W+ are optimised, from the coarsest.
        space: W+ moves each row by itself, W all of them alike.
        learning_rate: of Adam, in units of the generator's spread of w.
        mask_weight: weight of the mask term, which is a mean (not a sum) over what may not move.
        tracker: how handles are found again after a step: by their feature as in the paper (nearest); the
            same, but of places that look alike the one where the step should have brought them (steady), for plain
            or repeated textures; or not at all, trusting that they moved as asked (none).
        feature_resolution: block whose output is the feature map; 0 for the sixth (128 px), or half the
            picture's size for generators below 256 px.
        patience: stop when no handle has come nearer in so many steps; 0 for never.
        tolerance: how near a target is near enough, in pixels at 512; 0 for the paper's 1 up to five handles and
            2 for more.
        compile: compile the network up to the feature map (torch.compile, needs a C++ compiler). It serves drags
            that compute the whole map, as those with a mask do; whether it pays depends on the machine.
    """

    steps: int = 300
    rows: int = 6
    space: Literal["w", "w+"] = "w+"
    learning_rate: float = 0.003
    mask_weight: float = 20.0
    tracker: TrackerName = "nearest"
    feature_resolution: int = 0
    patience: int = 60
    tolerance: float = 0.0
    compile: bool = False


@dataclass(frozen=True, kw_only=True)
class LandmarkDragSettings(DragSettings):
    """How landmarks are dragged, within the part of the face that is theirs: short ways, often by the dozen, which
    the paper's tolerance would leave unmade.

    Attributes: see `DragSettings`; these defaults were compared in docs/retarget.md.
    """

    steps: int = 60
    learning_rate: float = 0.0035
    mask_weight: float = 5.0
    tolerance: float = 1.0


def drag_defaults(*, landmarks: bool) -> DragSettings:
    """Return the defaults for landmarks, or those for points anywhere in the picture."""
    return LandmarkDragSettings() if landmarks else DragSettings()
