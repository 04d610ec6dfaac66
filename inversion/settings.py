"""What can be set of an inversion. This module imports no torch: the command line reads its defaults."""

from dataclasses import dataclass
from typing import Literal

from weights.checks import check_fields


@dataclass(frozen=True, kw_only=True)
class InversionSettings:
    """How a crop is inverted; the steps are those that a tuning after it needs.

    Attributes:
        space: W+ shows the photo more closely, W is the most editable.
        w_steps: steps in W, before W+; eight times as many without an encoder.
        steps: steps in W+; without a tuning, 100 show the photo more closely.
        learning_rate: of Adam, in units of the generator's spread of w.
        perceptual: the backbone of LPIPS in the loss.
        pixel_weight: weight of the mean squared error beside LPIPS.
        prior: what keeps W+ editable: a pull toward the W of the first phase; or toward the middle of the
            codes that the mapping network makes, in P_N; or nothing.
        pull: weight of the prior; more keeps the code editable, less shows the photo more closely.
        focus: share of the loss's weight that the background gives up to the face, from 0 to 1.
        noise: keep the noise maps, or optimise them as well.
        patience: stop when the loss has not fallen by 0.5 % in so many steps; 0 for never.
        time_limit: seconds after which the best so far is taken, for all photos that are inverted as one batch; they
            share what the projection leaves of it for their tunings. 0 for none.
    """

    space: Literal["w", "w+"] = "w+"
    w_steps: int = 10
    steps: int = 40
    learning_rate: float = 0.2
    perceptual: Literal["alex", "vgg"] = "vgg"
    pixel_weight: float = 1.0
    prior: Literal["w", "pn", "none"] = "w"
    pull: float = 0.026
    focus: float = 0.0
    noise: Literal["fixed", "optimise"] = "fixed"
    patience: int = 25
    time_limit: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TuningSettings:
    """How the generator is tuned around the inverted code (pivotal tuning).

    Attributes:
        tune: tune the generator, so that it shows the photo's own features; without it, an inversion takes half as
            long, and of what an edit draws anew less is fit to be used.
        steps: at most so many.
        learning_rate: of Adam.
        texture: weight of a second LPIPS, AlexNet's, which minds the fine texture that VGG's forgives; 0 for none. It
            does nothing where the inversion's own LPIPS is AlexNet's already.
        enough: stop at this LPIPS, the texture's part included.
        locality: weight of the term that keeps the generator's other faces as they were; 0 for none.
        blocks: tune the blocks from this resolution up; 4 for all.
    """

    tune: bool = True
    steps: int = 60
    learning_rate: float = 4e-3
    texture: float = 0.25
    enough: float = 0.03
    locality: float = 0.0
    blocks: int = 4


def check(inversion: InversionSettings, tuning: TuningSettings) -> None:
    """Make sure that the settings make sense by themselves.

    Raises:
        InvalidInput: one of them does not.
    """
    check_fields(inversion, "inversion", focus=(0, 1))
    check_fields(tuning, "tuning")
