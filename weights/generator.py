"""StyleGAN2: mapping and synthesis (Karras et al., Analyzing and improving the image quality of StyleGAN, 2020).

Parameter names are those of NVIDIA's checkpoints. The arithmetic is written for any device and no custom
kernel: styles scale the activations instead of the weights (section 2.2 of the paper shows the two equal),
so that the samples of a batch share one convolution and frozen weights need no gradient of their own.
What depends on the weights alone is computed once and kept until they change.
"""

import math
from collections.abc import Iterator
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NoiseMode = Literal["const", "none"]
Architecture = Literal["skip", "resnet", "orig"]

SQRT2 = math.sqrt(2)


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """The shape of a StyleGAN2 generator.

    Attributes:
        channels: of the blocks at 4, 8, 16, ... pixels; their number fixes the picture's size.
        z_dim: width of z.
        w_dim: width of w.
        mapping_layers: depth of the mapping network.
        c_dim: number of classes; 0 for an unconditional generator.
        conv_clamp: activations are clamped to ±conv_clamp; None for never.
        architecture: how the resolutions come together (figure 7 of the paper): `skip` sums RGB pictures; `resnet`
            sums features, `orig` nothing, and both make RGB of the last block alone.
        portrait: pictures are half as wide as they are high (Fu et al., StyleGAN-Human, 2022).
    """

    channels: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    c_dim: int = 0
    conv_clamp: float | None = None
    architecture: Architecture = "skip"
    portrait: bool = False

    @property
    def size(self) -> int:
        """Height of the picture in pixels, and its width too unless it is a portrait."""
        return 2 ** (len(self.channels) + 1)

    @property
    def width(self) -> int:
        """Width of the picture in pixels."""
        return self.width_at(self.size)

    def width_at(self, resolution: int) -> int:
        """Return the width of the feature map whose height is `resolution`."""
        return resolution // 2 if self.portrait else resolution

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Resolutions of the blocks: 4, 8, ..., size."""
        return tuple(4 << i for i in range(len(self.channels)))

    @property
    def num_ws(self) -> int:
        """Rows of W+: one a convolution, and one for the last ToRGB layer."""
        return 2 * len(self.channels)

    @classmethod
    def from_state(cls, state: MappingABC[str, Tensor], *, conv_clamp: float | None = None) -> "GeneratorConfig":
        """Read the shape off a state dict with NVIDIA's names; `conv_clamp` leaves no trace in one.

        Raises:
            KeyError: a parameter that every StyleGAN2 generator has is not there.
        """
        resolutions: list[int] = []
        while f"synthesis.b{4 << len(resolutions)}.conv1.weight" in state:
            resolutions.append(4 << len(resolutions))
        depth = 0
        while f"mapping.fc{depth}.weight" in state:
            depth += 1
        embed = state.get("mapping.embed.weight")
        c_dim = 0 if embed is None else embed.shape[1]
        first = state["mapping.fc0.weight"].shape[1]
        without_skips: Architecture = "resnet" if "synthesis.b8.skip.weight" in state else "orig"
        return cls(
            channels=tuple(state[f"synthesis.b{r}.conv1.weight"].shape[0] for r in resolutions),
            w_dim=state["synthesis.b4.conv1.affine.weight"].shape[1],
            z_dim=first if embed is None else first - embed.shape[0],
            mapping_layers=depth,
            c_dim=c_dim,
            conv_clamp=conv_clamp,
            architecture="skip" if "synthesis.b4.torgb.weight" in state else without_skips,
            portrait=state["synthesis.b4.const"].shape[2] == 2,
        )


def _normal(*shape: int, std: float = 1.0) -> Tensor:
    """Return random numbers; on the meta device, where a network waits for its file's, there is nothing to fill."""
    values = torch.empty(*shape)
    return values if values.is_meta else values.normal_(std=std)


class FullyConnected(nn.Module):
    """A linear layer with equalised learning rate (Karras et al. 2018, section 4.1), optionally leaky ReLU."""

    def __init__(
        self, n_in: int, n_out: int, *, activate: bool = False, lr_multiplier: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(_normal(n_out, n_in, std=1 / lr_multiplier))
        self.bias = nn.Parameter(torch.full((n_out,), float(bias)))
        self.weight_gain = lr_multiplier / math.sqrt(n_in)
        self.bias_gain = lr_multiplier
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in) -> (N, n_out)."""
        x = F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)
        return F.leaky_relu(x, 0.2) * SQRT2 if self.activate else x


class Mapping(nn.Module):
    """z, and the class of a conditional generator, to w."""

    w_avg: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        n_in = config.z_dim
        if config.c_dim:
            self.embed = FullyConnected(config.c_dim, config.w_dim)
            n_in += config.w_dim
        for i in range(config.mapping_layers):
            layer = FullyConnected(n_in if i == 0 else config.w_dim, config.w_dim, activate=True, lr_multiplier=0.01)
            setattr(self, f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """Map z to rows of w.

        Args:
            z: (N, z_dim), normal.
            c: (N, c_dim) one-hot classes, for a conditional generator; zeros when left out.
            truncation_psi: 1 for none, 0 for the mean w (Karras et al. 2019, appendix B).
            truncation_cutoff: truncate the first rows only; None for all.

        Returns:
            ws (N, num_ws, w_dim).
        """
        x = self.one_row(z, c)
        ws = x[:, None].repeat(1, self.config.num_ws, 1)
        if truncation_psi == 1:
            return ws
        cutoff = self.config.num_ws if truncation_cutoff is None else truncation_cutoff
        return torch.cat([self.w_avg.lerp(ws[:, :cutoff], truncation_psi), ws[:, cutoff:]], dim=1)

    def one_row(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Map z (N, z_dim), and classes c (N, c_dim), to w (N, w_dim) without truncation."""
        x = _normalise_second_moment(z)
        if self.config.c_dim:
            c = z.new_zeros(len(z), self.config.c_dim) if c is None else c
            x = torch.cat([x, _normalise_second_moment(self.embed(c))], dim=1)
        for i in range(self.config.mapping_layers):
            x = getattr(self, f"fc{i}")(x)
        return x

    @torch.no_grad()
    def average(self, *, samples: int = 8192, seed: int = 0) -> None:
        """Set `w_avg` to the mean of so many random w, as training would have left it."""
        random = torch.Generator().manual_seed(seed)
        z = torch.randn(samples, self.config.z_dim, generator=random, device="cpu").to(self.w_avg)
        self.w_avg.copy_(self.one_row(z).mean(dim=0))

    @torch.no_grad()
    def spread(self, *, samples: int = 4096, seed: int = 0) -> float:
        """Root mean square of w - w_avg over all elements of `samples` random w: the scale of steps in W."""
        random = torch.Generator().manual_seed(seed)
        z = torch.randn(samples, self.config.z_dim, generator=random, device="cpu").to(self.w_avg)
        return float((self.one_row(z) - self.w_avg).square().mean().sqrt())


def _normalise_second_moment(x: Tensor) -> Tensor:
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def binomial_filter() -> Tensor:
    """The 4 x 4 low-pass of every resampling step, outer product of [1, 3, 3, 1] / 8."""
    return torch.tensor([[a * b / 64 for b in (1, 3, 3, 1)] for a in (1, 3, 3, 1)])


class Kernel(NamedTuple):
    """What a modulated convolution needs of its weight.

    Attributes:
        weight: (out, in, k, k), scaled, in the dtype of the convolution, channels last.
        squared: (out, in), the scaled weight squared and summed over k x k, for demodulation.
    """

    weight: Tensor
    squared: Tensor


def modulation(style: Tensor, squared: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Map a style (N, in) to factors of the input (N, in, 1, 1) and of the output (N, out, 1, 1).

    The second one demodulates (equation 3 of the paper); it includes the gain of the activation. `squared` is the
    kernel's.
    """
    demodulation = (style.square() @ squared.t() + 1e-8).rsqrt() * SQRT2
    return style.to(dtype)[:, :, None, None], demodulation.to(dtype)[:, :, None, None]


def convolve(x: Tensor, weight: Tensor, taps: Tensor | None, *, valid: bool = False) -> Tensor:
    """Convolve without modulation.

    Args:
        x: (N, in, H, W).
        weight: the kernel's.
        taps: (out, 1, 4, 4), the low-pass of a convolution that doubles the resolution; None for one that does not.
        valid: take x for a piece of a larger map and return only what does not depend on the rest of it.

    Returns:
        (N, out, H, W), or (N, out, 2H, 2W) where it doubles; for a piece 2 or 4 pixels less.
    """
    padding = 0 if valid else 1
    if taps is None:
        return F.conv2d(x, weight, padding=padding)
    x = F.conv_transpose2d(x, weight, stride=2)
    x = x[:, :, 1:-1, 1:-1] if valid else x
    return F.conv2d(x, taps, padding=padding, groups=x.shape[1])


def activate(x: Tensor, demodulation: Tensor, bias: Tensor, noise: Tensor | None, clamp: float | None) -> Tensor:
    """Demodulate, add noise and bias, and apply the activation; x is overwritten where autograd allows.

    Leaky ReLU commutes with a positive gain: that of the activation, sqrt(2), is in the three summands already.
    """
    x = torch.addcmul(bias, x, demodulation)
    if noise is not None:
        x = x.add_(noise)
    x = F.leaky_relu_(x, 0.2)
    return x if clamp is None else x.clamp(-clamp, clamp)


class SynthesisLayer(nn.Module):
    """A modulated 3 x 3 convolution with noise, bias and leaky ReLU; `up` doubles the resolution first."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(self, n_in: int, n_out: int, resolution: int, config: GeneratorConfig, *, up: bool = False) -> None:
        super().__init__()
        self.up = up
        self.conv_clamp = config.conv_clamp
        self.weight_gain = 1 / math.sqrt(n_in * 9)
        self.affine = FullyConnected(config.w_dim, n_in, bias=1)
        self.weight = nn.Parameter(_normal(n_out, n_in, 3, 3))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.register_buffer("noise_const", _normal(resolution, config.width_at(resolution)))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("resample_filter", binomial_filter())
        self._kept: tuple[object, Kernel] | None = None

    def kernel(self, dtype: torch.dtype) -> Kernel:
        """Return the weight as the convolution wants it; a frozen weight is prepared once."""
        if self.weight.requires_grad:
            return self._prepare(dtype)
        key = (dtype, self.weight.data_ptr(), self.weight._version)
        if self._kept is None or self._kept[0] != key:
            self._kept = key, self._prepare(dtype)
        return self._kept[1]

    def __getstate__(self) -> dict[str, object]:
        """Leave the kept kernel out of copies: a copied weight lies elsewhere, and would never find it again."""
        return vars(self) | {"_kept": None}

    def _prepare(self, dtype: torch.dtype) -> Kernel:
        weight = self.weight * self.weight_gain
        squared = weight.square().sum(dim=[2, 3])
        weight = weight.transpose(0, 1) if self.up else weight
        return Kernel(weight.to(dtype).contiguous(memory_format=torch.channels_last), squared)

    def taps(self, dtype: torch.dtype) -> Tensor:
        """Return the low-pass after doubling, for each channel: (out, 1, 4, 4)."""
        return (self.resample_filter * 4).to(dtype).expand(self.weight.shape[0], 1, 4, 4).contiguous()

    def modulation(self, w: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Map w (N, w_dim) to factors of the input (N, in, 1, 1) and of the output (N, out, 1, 1)."""
        return modulation(self.affine(w), self.kernel(dtype).squared, dtype)

    def noise(self, mode: NoiseMode, dtype: torch.dtype) -> Tensor | None:
        """Return the scaled noise with the gain of the activation, (1 or N, 1, H, W), or None for none.

        Where `functional_call` puts maps (N, 1, H, W) in the place of `noise_const`, each sample has its own: so a
        training, and a compiled graph, get their noise from outside.
        """
        if mode == "none":
            return None
        noise = self.noise_const.reshape(-1, 1, *self.noise_const.shape[-2:])
        return (noise * self.noise_strength * SQRT2).to(dtype)

    def gained_bias(self, dtype: torch.dtype) -> Tensor:
        """Return the bias (1, out, 1, 1) with the gain of the activation."""
        return (self.bias * SQRT2).to(dtype)[None, :, None, None]

    def forward(self, x: Tensor, w: Tensor, *, noise_mode: NoiseMode = "const") -> Tensor:
        """x (N, in, H, W), w (N, w_dim) -> (N, out, H, W), twice the size where `up`; in x's dtype."""
        kernel = self.kernel(x.dtype)
        scale, demodulation = modulation(self.affine(w), kernel.squared, x.dtype)
        noise = self.noise(noise_mode, x.dtype)
        taps = self.taps(x.dtype) if self.up else None
        x = convolve(x * scale, kernel.weight, taps)
        return activate(x, demodulation, self.gained_bias(x.dtype), noise, self.conv_clamp)


class ToRGB(nn.Module):
    """A modulated 1 x 1 convolution to RGB, without demodulation."""

    def __init__(self, n_in: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.conv_clamp = config.conv_clamp
        self.weight_gain = 1 / math.sqrt(n_in)
        self.affine = FullyConnected(config.w_dim, n_in, bias=1)
        self.weight = nn.Parameter(_normal(3, n_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x (N, in, H, W), w (N, w_dim) -> RGB (N, 3, H, W) in the parameters' dtype."""
        style = (self.affine(w) * self.weight_gain).to(x.dtype)[:, :, None, None]
        rgb = F.conv2d(x * style, self.weight.to(x.dtype)).to(self.bias.dtype)
        rgb = rgb + self.bias[None, :, None, None]
        return rgb if self.conv_clamp is None else rgb.clamp(-self.conv_clamp, self.conv_clamp)


class Skip(nn.Module):
    """The way past a block of the `resnet` architecture: a 1 x 1 convolution, at twice the resolution."""

    resample_filter: Tensor

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight_gain = 1 / math.sqrt(n_in)
        self.weight = nn.Parameter(_normal(n_out, n_in, 1, 1))
        self.register_buffer("resample_filter", binomial_filter())

    def forward(self, x: Tensor) -> Tensor:
        """x (N, in, H, W) -> (N, out, 2H, 2W), in x's dtype; it is not clamped, as NVIDIA's is not."""
        return _upsample(F.conv2d(x, (self.weight * self.weight_gain).to(x.dtype)), self.resample_filter)


def _upsample(x: Tensor, resample_filter: Tensor) -> Tensor:
    """Double the resolution of (N, C, H, W)."""
    n = x.shape[1]
    taps = (resample_filter * 4).to(x.dtype)[None, None].expand(n, 1, 4, 4)
    return F.conv_transpose2d(x, taps.contiguous(), stride=2, padding=1, groups=n)


class SynthesisBlock(nn.Module):
    """The layers at one resolution; without a ToRGB layer where the architecture has none there."""

    resample_filter: Tensor

    def __init__(self, n_in: int, n_out: int, resolution: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.resolution = resolution
        if resolution == 4:
            self.const = nn.Parameter(_normal(n_out, 4, config.width_at(4)))
        else:
            self.conv0 = SynthesisLayer(n_in, n_out, resolution, config, up=True)
        self.conv1 = SynthesisLayer(n_out, n_out, resolution, config)
        self.has_rgb = config.architecture == "skip" or resolution == config.size
        if self.has_rgb:
            self.torgb = ToRGB(n_out, config)
        self.has_skip = config.architecture == "resnet" and resolution > 4
        if self.has_skip:
            self.skip = Skip(n_in, n_out)
        self.register_buffer("resample_filter", binomial_filter())

    def upsample(self, image: Tensor) -> Tensor:
        """Double an RGB picture (N, 3, H, W) for the skip connection (figure 7b of the paper)."""
        return _upsample(image, self.resample_filter)


class Synthesis(nn.Module):
    """Rows of w to a picture."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        n_in = config.channels[0]
        for resolution, n_out in zip(config.resolutions, config.channels, strict=True):
            setattr(self, f"b{resolution}", SynthesisBlock(n_in, n_out, resolution, config))
            n_in = n_out

    @property
    def blocks(self) -> tuple[SynthesisBlock, ...]:
        """The blocks from 4 px up."""
        return tuple(getattr(self, f"b{r}") for r in self.config.resolutions)

    @property
    def rows(self) -> dict[str, int]:
        """The row of W+ that each layer takes its style from, by the layer's name, in order of computation."""
        rows: dict[str, int] = {}
        row = 0
        for r in self.config.resolutions:
            for layer in ("conv1",) if r == 4 else ("conv0", "conv1"):
                rows[f"b{r}.{layer}"], row = row, row + 1
            if self.config.architecture == "skip" or r == self.config.size:
                rows[f"b{r}.torgb"] = row  # which the next block's first convolution shares
        return rows

    def forward(self, ws: Tensor, *, noise_mode: NoiseMode = "const", dtype: torch.dtype | None = None) -> Tensor:
        """Render pictures.

        Args:
            ws: (N, num_ws, w_dim).
            noise_mode: the fixed noise maps, or none.
            dtype: of the convolutions; None for that of the parameters.

        Returns:
            RGB (N, 3, size, width), about [-1, 1], in the parameters' dtype.
        """
        rows = self.rows
        image: Tensor | None = None
        for block, x in self._walk(ws, noise_mode, dtype, self.config.size):
            if not block.has_rgb:
                continue
            rgb = block.torgb(x, ws[:, rows[f"b{block.resolution}.torgb"]])
            image = rgb if image is None else rgb + block.upsample(image)
        assert image is not None
        return image

    def features(
        self,
        ws: Tensor,
        resolution: int,
        *,
        noise_mode: NoiseMode = "const",
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Return the output of the block at `resolution`, (N, C, resolution, resolution), and compute no more.

        Raises:
            ValueError: the generator has no such block.
        """
        if resolution not in self.config.resolutions:
            raise ValueError(f"resolution must be one of {self.config.resolutions}, got {resolution}")
        *_, (_, x) = self._walk(ws, noise_mode, dtype, resolution)
        return x

    def _walk(
        self, ws: Tensor, noise_mode: NoiseMode, dtype: torch.dtype | None, last: int
    ) -> Iterator[tuple[SynthesisBlock, Tensor]]:
        """Yield each block up to resolution `last` with its output."""
        rows = self.rows
        x = self.blocks[0].const[None].expand(len(ws), -1, -1, -1)
        x = x.to(dtype or x.dtype).contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            name = f"b{block.resolution}"
            past = block.skip(x) if block.has_skip else None
            if block.resolution > 4:
                x = block.conv0(x, ws[:, rows[f"{name}.conv0"]], noise_mode=noise_mode)
            x = block.conv1(x, ws[:, rows[f"{name}.conv1"]], noise_mode=noise_mode)
            x = x if past is None else (x + past) * math.sqrt(0.5)
            yield block, x
            if block.resolution == last:
                return


class Generator(nn.Module):
    """A StyleGAN2 generator: `mapping` and `synthesis`."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.mapping.w_avg.device

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        truncation_psi: float = 1.0,
        noise_mode: NoiseMode = "const",
    ) -> Tensor:
        """z (N, z_dim), classes c (N, c_dim) -> RGB (N, 3, size, size), about [-1, 1]."""
        images: Tensor = self.synthesis(self.mapping(z, c, truncation_psi=truncation_psi), noise_mode=noise_mode)
        return images
