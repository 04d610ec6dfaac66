"""Pivotal tuning: the generator learns to show one photo at one code (Roich et al., Pivotal tuning, 2021).

What an inversion cannot show, the tuned generator can; the code stays where it can be edited. What changed in
the generator is kept as a difference to it.
"""

import copy
import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inversion.project import Callback, Objective, Step, ramp
from inversion.settings import TuningSettings
from weights.generator import Generator, Synthesis

LOCALITY_PSI = 0.5  # truncation of the random codes
LOCALITY_REACH = 0.7  # alpha, in units of a random code's distance from the mean: 30 for FFHQ at 1024 px, the paper's


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A tuned generator.

    Attributes:
        difference: tuned minus original parameters of the synthesis network, float16, by their names.
        images: (1, 3, size, size) float32, what the tuned generator shows at the pivot.
        steps: how many steps were made.
        completed: False where the callback or the clock stopped it.
    """

    difference: dict[str, Tensor]
    images: Tensor
    steps: int
    completed: bool


@torch.enable_grad()
def tune(
    network: Generator,
    pivot: Tensor,
    objective: Objective,
    *,
    spread: float,
    settings: TuningSettings,
    start: dict[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    deadline: float = math.inf,
    callback: Callback | None = None,
) -> Tuning:
    """Tune a copy of the synthesis network around a code.

    Args:
        network: the generator; it is not changed.
        pivot: (1, num_ws, w_dim), held fixed.
        objective: the loss to the crop.
        spread: of the generator's w.
        settings: see there.
        start: a difference to start from, as optimised noise maps are.
        dtype: of the convolutions.
        seed: of the faces that locality holds.
        deadline: of time.monotonic().
        callback: told of each step.
    """
    original = network.synthesis
    tuned = with_difference(network, start or {}).synthesis
    parameters = _parameters(tuned, settings.blocks)
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate, fused=True)
    locality = _Locality(network, pivot, objective, spread, dtype, seed) if settings.locality else None
    steps, completed = 0, True
    for i in range(settings.steps):
        optimizer.param_groups[0]["lr"] = settings.learning_rate * ramp(i, settings.steps)
        perceptual, square = objective.parts(tuned(pivot, dtype=dtype))
        if float(perceptual.detach()) <= settings.enough:
            break
        shown = perceptual + objective.pixel_weight * square
        loss = shown + settings.locality * locality.loss(tuned) if locality else shown
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        steps += 1
        step = Step(phase="tune", index=i, total=settings.steps, loss=float(shown.detach().mean()))
        if (callback and callback(step) is False) or time.monotonic() > deadline:
            completed = False
            break
    difference = _difference(original, tuned)
    with torch.no_grad():
        # What is reported is what half precision keeps.
        images = with_difference(network, difference).synthesis(pivot, dtype=dtype)
    return Tuning(difference=difference, images=images, steps=steps, completed=completed)


def with_difference(network: Generator, difference: dict[str, Tensor]) -> Generator:
    """Return a generator whose frozen synthesis network is a copy with a difference added; they share the mapping.

    Raises:
        KeyError: the difference names something that the network does not have.
    """
    with torch.device("meta"):
        tuned = Generator(network.config)
    tuned.mapping = network.mapping
    tuned.synthesis = copy.deepcopy(network.synthesis).requires_grad_(False)
    state = tuned.synthesis.state_dict()
    with torch.no_grad():
        for name, change in difference.items():
            state[name] += change.to(state[name])
    return tuned.train(network.training)


def _parameters(synthesis: Synthesis, from_resolution: int) -> list[nn.Parameter]:
    return [p for block in synthesis.blocks if block.resolution >= from_resolution for p in block.parameters()]


def _difference(original: Synthesis, tuned: Synthesis) -> dict[str, Tensor]:
    """Return what changed, in half precision."""
    after = tuned.state_dict()
    changes = {name: after[name] - value for name, value in original.state_dict().items()}
    return {name: change.half() for name, change in changes.items() if change.any()}


class _Locality:
    """PTI's locality regularisation (equation 4): faces between the pivot and random ones stay as they were."""

    def __init__(
        self, network: Generator, pivot: Tensor, objective: Objective, spread: float, dtype: torch.dtype, seed: int
    ) -> None:
        self.network, self.pivot, self.lpips, self.dtype = network, pivot, objective.lpips, dtype
        self.reach = LOCALITY_REACH * spread * math.sqrt(pivot.numel())
        self.random = torch.Generator("cpu").manual_seed(seed)

    def codes(self) -> tuple[Tensor, Tensor]:
        """Return a code on the way from the pivot to a random one, and that one, both (1, num_ws, w_dim)."""
        z = torch.randn(1, self.network.config.z_dim, generator=self.random, device="cpu").to(self.pivot)
        other = self.network.mapping(z, truncation_psi=LOCALITY_PSI)
        share = self.reach / torch.linalg.vector_norm(other - self.pivot)
        return self.pivot.lerp(other, share.clamp(max=1)), other

    def loss(self, tuned: Synthesis) -> Tensor:
        """Return LPIPS plus mean squared error between a face before and after tuning."""
        with torch.no_grad():
            ws, _ = self.codes()
            before = self.network.synthesis(ws, dtype=self.dtype)
        after = tuned(ws, dtype=self.dtype)
        return self.lpips(after, before) + (after - before).square().mean(dim=[1, 2, 3])
