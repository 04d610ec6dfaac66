"""Noise maps as part of an inversion (Karras et al. 2020, appendix D)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from weights.generator import Synthesis

WEIGHT = 1e5


def noise_maps(synthesis: Synthesis) -> dict[str, Tensor]:
    """Return copies of the noise maps by their names, as leaves of the graph."""
    return {
        name: buffer.clone().requires_grad_()
        for name, buffer in synthesis.named_buffers()
        if name.endswith("noise_const")
    }


def noise_loss(maps: dict[str, Tensor]) -> Tensor:
    """Return the noise regulariser: squared correlation of each map with itself a pixel away, at every scale.

    Each map is averaged down to 8 x 8 px step by step; its products with its neighbours should average to
    nothing, as noise's do.
    """
    total = torch.zeros((), device=next(iter(maps.values())).device)
    for noise in maps.values():
        x = noise[None, None]
        while True:
            total = total + (x * x.roll(1, dims=3)).mean().square() + (x * x.roll(1, dims=2)).mean().square()
            if x.shape[2] <= 8:
                break
            x = F.avg_pool2d(x, 2)
    return WEIGHT * total


@torch.no_grad()
def normalise(maps: dict[str, Tensor]) -> None:
    """Bring each map to zero mean and unit variance, in place."""
    for noise in maps.values():
        noise -= noise.mean()
        noise *= noise.square().mean().clamp(min=1e-12).rsqrt()
