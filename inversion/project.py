"""Optimise a latent until the generator shows the crop (Karras et al. 2020, appendix D; Abdal et al. 2019)."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.func import functional_call

from inversion.noise import noise_loss, noise_maps, normalise
from inversion.perceptual import Mixture
from inversion.prior import PnSpace
from inversion.settings import InversionSettings
from weights.encoder import Encoder
from weights.generator import Generator
from weights.perceptual import Lpips, layer_weights

NOISE_LEARNING_RATE = 0.02
RAMP_UP, RAMP_DOWN = 0.05, 0.25  # shares of the steps
WITHOUT_ENCODER = 8  # times as many steps in W
# On w without an encoder: in units of the spread, until this share of the steps. The paper's unit is the norm of
# w - w_avg, not the root mean square of its elements, so that its noise is sqrt(w_dim) times as strong.
NOISE, NOISE_END = 0.05, 0.75


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a callback is told after each step; returning False from it stops the optimisation.

    Attributes:
        phase: `w`, `w+` or `tune`.
        index: the step, from 0.
        total: how many steps the phase has at most.
        loss: LPIPS plus the weighted mean squared error, mean over the batch, before the step; while tuning, LPIPS
            has the texture's part in it.
    """

    phase: str
    index: int
    total: int
    loss: float


Callback = Callable[[Step], bool | None]


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Inverted crops.

    Attributes:
        w: (N, num_ws, w_dim) float32, the best code found for each crop.
        images: (N, 3, size, size) float32, what the generator shows for them.
        loss: (N,) LPIPS plus the weighted mean squared error of those.
        steps: how many steps were made in all.
        completed: False where the callback or the clock stopped it.
        noise: optimised noise maps by their names in the synthesis network; empty where they are kept.
    """

    w: Tensor
    images: Tensor
    loss: Tensor
    steps: int
    completed: bool
    noise: dict[str, Tensor] = field(default_factory=dict)


class Objective:
    """How far pictures are from the crops: LPIPS plus a weighted mean squared error."""

    def __init__(
        self, crops: Tensor, lpips: Lpips | Mixture, settings: InversionSettings, weight: Tensor | None
    ) -> None:
        """Compute what depends on the crops (N, 3, size, size) alone, once.

        `weight` (1 or N, 1, size, size), mean 1, says where the picture counts; None for everywhere alike.
        """
        self.crops, self.lpips, self.pixel_weight, self.weight = crops, lpips, settings.pixel_weight, weight
        self.target = lpips.features(crops)
        self.layer_weights = None if weight is None else layer_weights(weight, self.target)

    def parts(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return LPIPS (N,) and mean squared error (N,) of pictures (N, 3, size, size) in [-1, 1]."""
        square = (images - self.crops).square()
        square = square if self.weight is None else square * self.weight
        perceptual = self.lpips.distance(self.lpips.features(images), self.target, weights=self.layer_weights)
        return perceptual, square.mean(dim=[1, 2, 3])

    def __call__(self, images: Tensor) -> Tensor:
        """Return the loss (N,) of pictures (N, 3, size, size)."""
        perceptual, square = self.parts(images)
        return perceptual + self.pixel_weight * square


@torch.enable_grad()
def project(
    network: Generator,
    crops: Tensor,
    *,
    spread: float,
    lpips: Lpips,
    settings: InversionSettings,
    encoder: Encoder | None = None,
    weight: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    deadline: float = math.inf,
    callback: Callback | None = None,
) -> Projection:
    """Find codes whose pictures are the crops.

    The start is the encoder's code, or the mean w. A first phase moves one w for all rows; the second, where
    the space is W+, moves each row, held by the prior of the settings.

    Args:
        network: frozen.
        crops: RGB (N, 3, size, size) in [-1, 1]; the noise maps can be optimised for one at a time.
        spread: of the generator's w, the unit of steps and of the pull.
        lpips: the metric; its features of the crops are computed once.
        settings: see there.
        encoder: for the start.
        weight: (1 or N, 1, size, size), mean 1, where the pictures count; None for everywhere alike.
        dtype: of the convolutions.
        seed: of the noise that helps a start without an encoder out of bad places.
        deadline: of time.monotonic(), after which the best so far is taken.
        callback: told of each step.
    """
    search = _Search(network, Objective(crops, lpips, settings, weight), spread, settings, dtype, deadline, callback)
    with torch.no_grad():
        w = network.mapping.w_avg.expand(len(crops), -1) if encoder is None else encoder(crops, dtype=dtype)
    noise = None if encoder else torch.Generator("cpu").manual_seed(seed)
    best = search.run("w", w[:, None], steps_in_w(settings, encoder), noise=noise)
    ws = best.x.expand(-1, network.config.num_ws, -1)
    if settings.space == "w+" and search.completed:
        best = search.run("w+", ws, settings.steps, prior=_prior(network, ws, spread, settings))
        ws = best.x
    return Projection(
        w=ws, images=best.images, loss=best.shown, steps=search.steps, completed=search.completed, noise=best.maps
    )


def steps_in_w(settings: InversionSettings, encoder: Encoder | None) -> int:
    """Return how many steps are made in W, at most: a start without an encoder needs more."""
    return settings.w_steps * (1 if encoder else WITHOUT_ENCODER)


def _prior(
    network: Generator, start: Tensor, spread: float, settings: InversionSettings
) -> Callable[[Tensor], Tensor] | None:
    """Return what holds W+ (N, num_ws, w_dim) near codes that can be edited, as a loss (N,)."""
    if settings.prior == "none" or settings.pull == 0:
        return None
    if settings.prior == "pn":
        space = PnSpace(network.mapping)
        return lambda ws: settings.pull * space.distance(ws)
    return lambda ws: settings.pull * ((ws - start) / spread).square().mean(dim=[1, 2])


class _Best:
    """The best code of each crop so far, and what it shows."""

    def __init__(self, start: Tensor, crops: Tensor) -> None:
        """Begin with the codes `start` (N, rows, w_dim) for `crops` (N, 3, size, size), and nothing seen of them."""
        self.x, self.images = start, torch.zeros_like(crops)
        self.loss = torch.full((len(start),), math.inf, device=start.device)
        self.shown = self.loss.clone()
        self.maps: dict[str, Tensor] = {}

    def take(
        self, better: Tensor, x: Tensor, images: Tensor, loss: Tensor, shown: Tensor, maps: Mapping[str, Tensor]
    ) -> None:
        """Take over those of the crops that are `better` (N,); noise maps are of a batch of one."""
        self.x = torch.where(better[:, None, None], x.detach(), self.x)
        self.images = torch.where(better[:, None, None, None], images.detach(), self.images)
        self.loss = torch.where(better, loss.detach(), self.loss)
        self.shown = torch.where(better, shown.detach(), self.shown)
        if maps and bool(better):
            self.maps = {name: noise.detach().clone() for name, noise in maps.items()}


class _Search:
    """Adam from a start, the best code of each crop kept until it reaches its plateau."""

    def __init__(
        self,
        network: Generator,
        objective: Objective,
        spread: float,
        settings: InversionSettings,
        dtype: torch.dtype,
        deadline: float,
        callback: Callback | None,
    ) -> None:
        self.network, self.objective, self.spread = network, objective, spread
        self.patience, self.learning_rate = settings.patience, settings.learning_rate
        self.dtype, self.callback = dtype, callback
        self.maps = noise_maps(network.synthesis) if settings.noise == "optimise" else {}
        self.deadline = deadline
        self.steps = 0
        self.completed = True

    def render(self, ws: Tensor) -> Tensor:
        """Return the pictures (N, 3, size, size) of codes (N, num_ws, w_dim), with the noise as it is now."""
        images: Tensor = functional_call(self.network.synthesis, self.maps, (ws,), {"dtype": self.dtype})
        return images

    def run(
        self,
        phase: str,
        start: Tensor,
        total: int,
        *,
        prior: Callable[[Tensor], Tensor] | None = None,
        noise: torch.Generator | None = None,
    ) -> _Best:
        """Return the best codes on the way from `start` (N, rows, w_dim), both ends included; rows is 1 or num_ws.

        Where noise maps are optimised, N is 1, and they are left as they were when that code was seen.
        """
        x = start.clone().requires_grad_()
        groups = [{"params": [x], "rate": self.learning_rate * self.spread}]
        if self.maps:
            groups.append({"params": list(self.maps.values()), "rate": NOISE_LEARNING_RATE})
        optimizer = torch.optim.Adam(groups)
        best = _Best(start, self.objective.crops)
        plateau = _Plateau(self.patience, start)
        for i in range(total + 1):
            seen = x
            if noise and i < total:
                strength = NOISE * self.spread * max(0.0, 1 - i / total / NOISE_END) ** 2
                # The batch shares it, so that a crop is inverted as it would be alone.
                seen = x + strength * torch.randn(1, *x.shape[1:], generator=noise, device="cpu").to(x)
            with torch.set_grad_enabled(i < total):
                images = self.render(seen.expand(-1, self.network.config.num_ws, -1))
                shown = self.objective(images)
                loss = shown + prior(x) if prior else shown
            best.take((loss.detach() < best.loss) & ~plateau.reached, seen, images, loss, shown, self.maps)
            if i == total or plateau.all_reached(best.loss):
                break
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * ramp(i, total)
            optimizer.zero_grad()
            (loss.sum() + noise_loss(self.maps) if self.maps else loss.sum()).backward()
            optimizer.step()
            normalise(self.maps)
            self.steps += 1
            step = Step(phase=phase, index=i, total=total, loss=float(shown.detach().mean()))
            if (self.callback and self.callback(step) is False) or time.monotonic() > self.deadline:
                self.completed = False
                break
        with torch.no_grad():
            for name, kept in best.maps.items():
                self.maps[name].copy_(kept)
        return best


class _Plateau:
    """Tells which losses have not fallen by half a percent in `patience` steps; none where that is 0."""

    def __init__(self, patience: int, start: Tensor) -> None:
        """`start` (N, ...) has as many crops as there will be losses."""
        self.patience = patience
        self.best = torch.full((len(start),), math.inf, device=start.device)
        self.since = torch.zeros_like(self.best, dtype=torch.long)
        self.reached = torch.zeros_like(self.best, dtype=torch.bool)

    def all_reached(self, losses: Tensor) -> bool:
        """Look at the losses (N,) after another step, and tell whether all have reached their plateau."""
        fallen = losses < self.best * 0.995
        self.best = torch.where(fallen, losses, self.best)
        self.since = torch.where(fallen, 0, self.since + 1)
        self.reached |= (self.since >= self.patience) & (self.patience > 0)
        return bool(self.reached.all())


def ramp(step: int, total: int) -> float:
    """Return the factor of the learning rate at a step, from 0, of so many: up linearly, down as a cosine.

    It is that of the step's middle: of a thousand steps the first and the last may do nothing, of ten they may not.
    """
    t = (step + 0.5) / total
    down = min(1.0, (1 - t) / RAMP_DOWN)
    return (0.5 - 0.5 * math.cos(math.pi * down)) * min(1.0, t / RAMP_UP)
