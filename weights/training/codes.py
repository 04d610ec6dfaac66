"""Codes of the latest pictures; mixtures of them to try the generator on, and the mapping network's fit to them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from weights.generator import Mapping

CAPACITY = 4096
ENOUGH = 2048  # codes before mixtures of them are made
SAMPLES, AXES = 1024, 256  # of one step of the fit
FIT_RATE = 2.0  # the mapping layers' rate multiplier makes it 0.02


class CodeBank:
    """The encoder's codes of the last pictures, the newest in place of the oldest."""

    def __init__(self, w_dim: int, device: torch.device) -> None:
        self.codes = torch.zeros(CAPACITY, w_dim, device=device)
        self.filled = self.cursor = 0

    def add(self, w: Tensor) -> None:
        """Take in codes (N, w_dim), as many as there is room to the end."""
        n = min(len(w), CAPACITY - self.cursor)
        self.codes[self.cursor : self.cursor + n] = w[:n].detach()
        self.filled = max(self.filled, self.cursor + n)
        self.cursor = (self.cursor + n) % CAPACITY

    @property
    def enough(self) -> bool:
        """Whether there are enough to mix."""
        return self.filled >= ENOUGH

    @property
    def known(self) -> Tensor:
        """The codes so far, (filled, w_dim)."""
        return self.codes[: self.filled]

    def draw(self, n: int, random: torch.Generator) -> Tensor:
        """Draw n codes (n, w_dim)."""
        return self.codes[torch.randint(0, self.filled, (n,), generator=random).to(self.codes.device)]

    def mixed(self, n: int, num_ws: int, random: torch.Generator) -> Tensor:
        """Make rows (n, num_ws, w_dim) that lie between and beyond the data's codes.

        A code lies on the line between two; half are pushed along the difference of two others; half have another
        code's rows from some layer on (style mixing, Karras et al. 2019, section 3.1).
        """

        def uniform() -> Tensor:
            return torch.rand(n, 1, generator=random).to(self.codes)

        def between() -> Tensor:
            return self.draw(n, random).lerp(self.draw(n, random), uniform())

        beyond = (self.draw(n, random) - self.draw(n, random)) * uniform() * 0.5 * (uniform() < 0.5)
        ws = (between() + beyond)[:, None].repeat(1, num_ws, 1)
        cut = torch.randint(2, num_ws, (n,), generator=random)
        cut = torch.where(torch.rand(n, generator=random) < 0.5, cut, num_ws).to(ws.device)
        other = torch.arange(num_ws, device=ws.device) >= cut[:, None]
        return torch.where(other[:, :, None], between()[:, None], ws)


def sliced_distance(a: Tensor, b: Tensor, axes: Tensor) -> Tensor:
    """Return the sliced Wasserstein-2 distance, squared, of two equally large samples (N, d).

    Args:
        a: (N, d).
        b: (N, d).
        axes: (d, K), directions of unit length.

    Source: Bonneel et al., Sliced and Radon Wasserstein barycenters of measures, 2015, section 3; on a line the best
    transport sorts.
    """
    return ((a @ axes).sort(dim=0).values - (b @ axes).sort(dim=0).values).square().mean()


def fit_mapping(
    mapping: Mapping,
    codes: Tensor,
    *,
    steps: int,
    random: torch.Generator,
    callback: Callable[[int, float], None] | None = None,
) -> None:
    """Train a mapping network so that random z give samples of the codes' distribution, and set its `w_avg`.

    Args:
        mapping: changed in place.
        codes: (n, w_dim).
        steps: of Adam.
        random: source of z, of the codes' order and of the axes; on the CPU.
        callback: told of each step and of the distance before it.
    """
    n = min(SAMPLES, len(codes))
    mapping.requires_grad_(True)
    optimizer = torch.optim.Adam(mapping.parameters(), lr=FIT_RATE)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = FIT_RATE * (1 - step / steps)
        z = torch.randn(n, mapping.config.z_dim, generator=random).to(codes)
        axes = F.normalize(torch.randn(codes.shape[1], AXES, generator=random), dim=0).to(codes)
        chosen = torch.randperm(len(codes), generator=random)[:n].to(codes.device)
        loss = sliced_distance(mapping.one_row(z), codes[chosen], axes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if callback:
            callback(step, float(loss.detach()))
    mapping.requires_grad_(False)
    mapping.w_avg.copy_(codes.mean(dim=0))
