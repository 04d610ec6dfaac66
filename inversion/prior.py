"""P_N: a space in which w is about normal (Zhu et al., Improved StyleGAN embedding: where are the good latents?, 2020).

The mapping network ends in a leaky ReLU of slope 0.2. Undone by one of slope 5, its output is about normal;
centred, turned to its principal axes and scaled to unit variance it is v = L^-1 C^T (x - mean) (equation 4).
|v|^2 then says how unlikely a code is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from weights.generator import Mapping

SAMPLES = 10_000
LEAST = 1e-3  # variances below this share of the largest are taken for it: the mapping's rank may be less than w's


class PnSpace:
    """The transform to P_N of one mapping network."""

    @torch.no_grad()
    def __init__(self, mapping: Mapping, *, seed: int = 0) -> None:
        """Sample w and find its principal axes."""
        random = torch.Generator("cpu").manual_seed(seed)
        z = torch.randn(SAMPLES, mapping.config.z_dim, generator=random, device="cpu").to(mapping.w_avg)
        x = F.leaky_relu(mapping.one_row(z), 5.0)
        self._mean = x.mean(dim=0)
        variance, axes = torch.linalg.eigh(torch.cov(x.T).cpu())  # which torch may not have on MPS
        self._whiten = (axes / variance.clamp(min=float(variance[-1]) * LEAST).sqrt()).to(x)

    def distance(self, ws: Tensor) -> Tensor:
        """Return the mean of v^2 over rows and elements of ws (N, rows, w_dim): (N,); about 1 for random w."""
        v = (F.leaky_relu(ws, 5.0) - self._mean) @ self._whiten
        return v.square().mean(dim=[1, 2])
