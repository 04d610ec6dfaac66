"""The discriminator: the encoder's trunk, and a verdict (Karras et al. 2020; figure 7c of the paper: residual)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from weights.encoder import Conv, Trunk
from weights.generator import FullyConnected

GROUP = 4
HIDDEN = 256


class Discriminator(nn.Module):
    """Pictures to logits, positive for real ones. Parameter names are those of the first recipe's checkpoints."""

    def __init__(self, channels: Mapping[int, int]) -> None:
        """`channels` at each resolution from the pictures' size down to 4."""
        super().__init__()
        self.trunk = Trunk(channels)
        self.conv = Conv(channels[4] + 1, channels[4])
        self.hidden = FullyConnected(channels[4] * 16, HIDDEN, activate=True)
        self.out = FullyConnected(HIDDEN, 1)

    def forward(self, x: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
        """RGB (N, 3, size, size) in [-1, 1] -> logits (N, 1); the trunk's convolutions run in `dtype`."""
        features = self.trunk(x.to(dtype or x.dtype)).to(self.out.bias.dtype)
        features = torch.cat([features, _deviation(features)], dim=1)
        logits: Tensor = self.out(self.hidden(self.conv(features).flatten(1)))
        return logits


def _deviation(x: Tensor) -> Tensor:
    """Return how much the samples of a group differ, as a map (N, 1, H, W) (Karras et al. 2018, section 3)."""
    n, _, height, width = x.shape
    group = GROUP if n % GROUP == 0 else n
    y = x.unflatten(0, (group, -1))
    y = (y - y.mean(dim=0)).square().mean(dim=0)
    y = (y + 1e-8).sqrt().mean(dim=[1, 2, 3])
    return y.repeat(group)[:, None, None, None].expand(n, 1, height, width)
