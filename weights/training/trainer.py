"""One step of a training: an autoencoder first, then against a discriminator as well.

The encoder and the generator learn to show pictures again (L1 + LPIPS), which gives faces within minutes where an
adversarial loss alone needs days of a CPU. Then the discriminator comes in: it judges reconstructions and pictures of
mixed codes, so that the generator makes good pictures of what lies between the codes, too.
"""

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.func import functional_call

from weights.compute import resolve_device, resolve_dtype
from weights.training.augment import shift, vary
from weights.training.codes import CodeBank
from weights.training.losses import discriminator_loss, generator_loss, r1_penalty, views, windows
from weights.training.networks import ENCODER_MAX, Networks, in_new_blocks, restore
from weights.training.pictures import Pictures
from weights.training.settings import NetworkSettings, TrainingSettings

BETAS = (0.0, 0.99)  # Karras et al. 2019, appendix C
YOUNG = 0.05  # a young run's average looks back on this share of it


class Perceptual(Protocol):
    """A metric of which one side can be kept, as weights.perceptual.Lpips."""

    def features(self, images: Tensor) -> list[Tensor]:
        """Map RGB (N, 3, H, W) in [-1, 1] to features."""

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Return the distances (N,) of pictures by their features."""


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        seen: pictures drawn.
        steps: made.
        born: `seen` when the networks got their size.
        grown_from: the size before that; 0 where they were made at it.
        hours: of training.
    """

    seen: int = 0
    steps: int = 0
    born: int = 0
    grown_from: int = 0
    hours: float = 0.0


class Trainer:
    """Networks, optimisers and pictures. All random numbers come from one generator, whose state is kept."""

    def __init__(
        self,
        settings: TrainingSettings,
        pictures: Pictures,
        perceptual: Perceptual,
        *,
        state: dict[str, Any] | None = None,
    ) -> None:
        """Begin a run, or go on from the `state` of one, growing its networks where the settings ask for more pixels.

        Raises:
            InvalidInput: the settings do not fit each other or the state.
            InvalidFile: the state is not whole.
        """
        self.settings, self.pictures, self.perceptual = settings, pictures, perceptual
        self.device = resolve_device(settings.device)
        self.dtype = resolve_dtype(settings.dtype, self.device)
        self.random = torch.Generator().manual_seed(settings.seed)
        self.progress = Progress()
        kept = state["encoder_size"] if state else min(settings.size, ENCODER_MAX)
        self.networks = Networks(settings, encoder_size=settings.encoder_size or kept, random=self.random)
        if state:
            restore(self.networks, state["networks"], size=state["size"])
        self.networks.to(self.device)
        self.bank = CodeBank(settings.w_dim, self.device)
        self.optimizers = self._make_optimizers()
        if settings.compile:
            self._render = torch.compile(self._render, dynamic=False)  # type: ignore[method-assign]
        self.totals: dict[str, Tensor] = {}
        self.counted: dict[str, int] = {}
        if state:
            self._resume(state)
        self._set_trainable()

    def _make_optimizers(self) -> dict[str, torch.optim.Adam]:
        s, n = self.settings, self.networks
        groups: list[dict[str, Any]] = [
            {"params": list(n.generator.synthesis.parameters()), "lr": s.rate},
            {"params": list(n.encoder.parameters()), "lr": s.encoder_rate},
        ]
        return {
            "autoencoder": torch.optim.Adam(groups, betas=BETAS),
            "discriminator": torch.optim.Adam(n.discriminator.parameters(), lr=s.discriminator_rate, betas=BETAS),
        }

    @property
    def state(self) -> dict[str, Any]:
        """Everything that it takes to go on as if nothing had happened: tensors, numbers, texts."""
        shape = {key: getattr(self.settings, key) for key in asdict(NetworkSettings())}
        return {
            **shape,
            "encoder_size": self.networks.encoder.size,
            "networks": self.networks.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "bank": {"codes": self.bank.codes, "filled": self.bank.filled, "cursor": self.bank.cursor},
            "random": self.random.get_state(),
            "progress": asdict(self.progress),
        }

    def _resume(self, state: dict[str, Any]) -> None:
        self.progress = Progress(**state["progress"])
        self.bank.codes.copy_(state["bank"]["codes"])
        self.bank.filled, self.bank.cursor = state["bank"]["filled"], state["bank"]["cursor"]
        if state["random"] is not None:
            self.random.set_state(state["random"])
        if state["size"] < self.settings.size:
            self.progress.born, self.progress.grown_from = self.progress.seen, state["size"]
        elif state["encoder_size"] == self.networks.encoder.size and state["optimizers"]:
            for name, optimizer in self.optimizers.items():
                rates = [group["lr"] for group in optimizer.param_groups]
                optimizer.load_state_dict(state["optimizers"][name])
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate  # the settings may have changed since

    @property
    def new_blocks_alone(self) -> bool:
        """Whether the run has just grown, and the rest of the networks waits for the new blocks."""
        p = self.progress
        return p.grown_from > 0 and p.seen - p.born < self.settings.new_alone

    @property
    def adversarial(self) -> float:
        """The weight of the adversarial loss now; 0 before it comes in."""
        s, p = self.settings, self.progress
        # New blocks alone cannot follow a discriminator: they answered it with green teeth.
        begin = max(s.adversarial_after, p.born + (s.new_alone if p.grown_from else 0))
        if p.seen < begin or not self.bank.enough:
            return 0.0
        return s.adversarial * min(1.0, (p.seen + s.batch - begin) / max(1, s.ramp))

    def _set_trainable(self) -> None:
        alone = self.new_blocks_alone
        for name, parameter in self.networks.generator.synthesis.named_parameters():
            parameter.requires_grad_(not alone or in_new_blocks(name, self.progress.grown_from))
        self.networks.encoder.requires_grad_(not alone)

    def draw(self, random: torch.Generator) -> Tensor:
        """Draw a batch as the networks are shown it, (batch, 3, size, size)."""
        s = self.settings
        x = self.pictures.draw(s.batch, random).to(self.device)
        return vary(x, s.size, random, mirror=s.mirror, strength=s.vary)

    def _render(self, ws: Tensor, noise: dict[str, Tensor]) -> Tensor:
        synthesis = self.networks.generator.synthesis
        images: Tensor = functional_call(synthesis, noise, (ws,), {"dtype": self.dtype})
        return images

    def render(self, ws: Tensor) -> Tensor:
        """Render rows (N, num_ws, w_dim) with fresh noise: (N, 3, size, size)."""
        noise = {
            name: torch.randn(len(ws), 1, *buffer.shape, generator=self.random).to(self.device)
            for name, buffer in self.networks.generator.synthesis.named_buffers()
            if name.endswith("noise_const")
        }
        return self._render(ws, noise)

    def _judge(self, x: Tensor) -> Tensor:
        logits: Tensor = self.networks.discriminator(x, dtype=self.dtype)
        return logits

    def step(self) -> None:
        """Draw a batch and train all networks on it once."""
        s, n, weight = self.settings, self.networks, self.adversarial
        real = self.draw(self.random)
        w = n.encoder(real, dtype=self.dtype)
        rebuilt = self.render(w[:, None].repeat(1, n.num_ws, 1))
        loss = self._reconstruction_loss(rebuilt, real)
        if weight > 0:
            fakes = torch.cat([self.render(self.bank.mixed(s.batch, n.num_ws, self.random)), rebuilt[: s.batch // 2]])
            self._train_discriminator(real, fakes.detach())
            n.discriminator.requires_grad_(False)
            adversarial = generator_loss(self._judge(shift(fakes, self.random)))
            n.discriminator.requires_grad_(True)
            self._count("g", adversarial)
            loss = loss + weight * adversarial
        self._descend("autoencoder", loss)
        self.bank.add(w)
        self._advance()

    def _reconstruction_loss(self, rebuilt: Tensor, real: Tensor) -> Tensor:
        s = self.settings
        l1 = (rebuilt - real).abs().mean()
        factors = views(s.size, s.perceptual_size)
        factor = factors[self.progress.steps % len(factors)]
        shown, target = windows((rebuilt, real), s.perceptual_size, factor, self.random)
        with torch.no_grad():
            features = self.perceptual.features(target)
        lpips = self.perceptual.distance(self.perceptual.features(shown), features).mean()
        loss = s.pixel_weight * l1 + lpips
        self._count("l1", l1)
        self._count("lpips", lpips)
        self._count("loss", loss)
        return loss

    def _train_discriminator(self, real: Tensor, fakes: Tensor) -> None:
        s = self.settings
        total = loss = discriminator_loss(self._judge(shift(real, self.random)), self._judge(shift(fakes, self.random)))
        self._count("d", loss)
        if self.progress.steps % s.r1_every == 0:  # lazily: Karras et al. 2020, section 3.1
            penalty = r1_penalty(self._judge, real[: max(1, s.batch // 2)])
            total = loss + penalty * (s.r1 / 2 * s.r1_every)
            self._count("r1", penalty)
        self._descend("discriminator", total)

    def _descend(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def _advance(self) -> None:
        s, p, alone = self.settings, self.progress, self.new_blocks_alone
        p.seen, p.steps = p.seen + s.batch, p.steps + 1
        half_life = min(s.average, max((p.seen - p.born) * YOUNG, 1))
        self.networks.average(0.5 ** (s.batch / half_life))
        if self.new_blocks_alone != alone:
            self._set_trainable()

    def _count(self, name: str, value: Tensor) -> None:
        self.totals[name] = self.totals.get(name, 0) + value.detach()
        self.counted[name] = self.counted.get(name, 0) + 1

    def take_means(self) -> dict[str, float]:
        """Return the means of what was counted since the last call: l1, lpips, loss, d, r1, g."""
        means = {name: float(total) / self.counted[name] for name, total in self.totals.items()}
        self.totals, self.counted = {}, {}
        return means
