"""The encoder of the embedded generator: an aligned crop to w, as the start of an inversion.

A plain residual trunk with equalised learning rates halves the crop down to 4 px; two linear layers and a
normalisation over the 512 numbers follow. Parameter names are those of the training recipe.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weights.generator import SQRT2, FullyConnected


class Conv(nn.Module):
    """A convolution with equalised learning rate; `down` averages 2 x 2 pixels first."""

    def __init__(self, n_in: int, n_out: int, kernel: int = 3, *, activate: bool = True, down: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.weight_gain = 1 / math.sqrt(n_in * kernel**2)
        self.activate = activate
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in, H, W) -> (N, n_out, H, W), half the size where `down`; in x's dtype."""
        x = F.avg_pool2d(x, 2) if self.down else x
        x = F.conv2d(x, (self.weight * self.weight_gain).to(x.dtype), padding="same")
        x = x + self.bias.to(x.dtype)[None, :, None, None]
        return F.leaky_relu(x, 0.2) * SQRT2 if self.activate else x


class ResidualBlock(nn.Module):
    """Two convolutions beside a 1 x 1 skip; halves the resolution."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.c0 = Conv(n_in, n_in)
        self.c1 = Conv(n_in, n_out, down=True)
        self.skip = Conv(n_in, n_out, 1, activate=False, down=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in, H, W) -> (N, n_out, H/2, W/2)."""
        out: Tensor = (self.c1(self.c0(x)) + self.skip(x)) / SQRT2
        return out


class Trunk(nn.Module):
    """Residual blocks from the picture's size down to 4 px.

    A block is named by its resolution, so that a trunk for larger pictures starts as a smaller one's copy.
    """

    def __init__(self, channels: Mapping[int, int]) -> None:
        """`channels` at each resolution from the picture's size down to 4."""
        super().__init__()
        resolutions = sorted(channels, reverse=True)
        self.size = resolutions[0]
        self.rgb = nn.ModuleDict({str(self.size): Conv(3, channels[self.size], 1)})
        self.blocks = nn.ModuleDict({str(r): ResidualBlock(channels[r], channels[r // 2]) for r in resolutions[:-1]})

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, 3, size, size) -> features (N, C, 4, 4), in x's dtype."""
        rgb: nn.Module = self.rgb[str(self.size)]
        # In the parameters' dtype: oneDNN divides by zero in the bfloat16 gradient of a 1 x 1 convolution of 3
        # channels at some sizes (8 pictures of 256 px on one thread), which ends the process.
        whole = x.to(next(rgb.parameters()).dtype).contiguous(memory_format=torch.channels_last)
        x = rgb(whole).to(x.dtype)
        for block in self.blocks.values():
            x = block(x)
        return x


class Encoder(nn.Module):
    """Crops to w."""

    def __init__(self, channels: Mapping[int, int], w_dim: int) -> None:
        super().__init__()
        self.w_dim = w_dim
        self.trunk = Trunk(channels)
        self.hidden = FullyConnected(channels[4] * 16, w_dim, activate=True)
        self.out = FullyConnected(w_dim, w_dim)

    @property
    def size(self) -> int:
        """Height and width of the pictures it takes."""
        return self.trunk.size

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "Encoder":
        """Build the encoder whose parameters `state` holds.

        Raises:
            KeyError, IndexError, ValueError, RuntimeError: the state is not an encoder's.
        """
        channels = {
            int(name.split(".")[2]): value.shape[1]
            for name, value in state.items()
            if name.startswith("trunk.blocks.") and name.endswith(".c0.weight")
        }
        channels[4] = state["trunk.blocks.8.c1.weight"].shape[0]
        with torch.device("meta"):  # shapes are compared before anything is allocated
            encoder = cls(channels, state["out.weight"].shape[0])
        encoder.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
        return encoder

    def forward(self, x: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
        """Encode crops.

        Args:
            x: RGB (N, 3, H, W) in [-1, 1]; larger pictures are averaged down to the encoder's size.
            dtype: of the convolutions; None for that of the parameters.

        Returns:
            w (N, w_dim), each of zero mean and unit variance.
        """
        if x.shape[-1] != self.size:
            x = F.interpolate(x, size=(self.size, self.size), mode="area")
        x = self.trunk(x.to(dtype or x.dtype)).to(self.out.bias.dtype)
        return F.layer_norm(self.out(self.hidden(x.flatten(1))), [self.w_dim])
