"""The feature map under a drag: only the part of the synthesis network, and of the picture, that is needed.

A step of DragGAN looks at the feature map F in small discs and windows around the handles. So the blocks of
high resolution are computed in one window a handle, with the margins that the convolutions need: the numbers
are those of the whole map. Layers whose rows of W+ the drag does not move have their modulation computed once.

Convention: F is seen as resized to the picture (bilinear, align_corners=False) and then read at picture
coordinates (x, y), pixel centres at whole numbers, bilinear between them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from weights.errors import InvalidInput
from weights.generator import Generator, GeneratorConfig, SynthesisLayer, activate, convolve, modulation

Cells = NDArray[np.int64]
Coordinates = NDArray[np.float64]


def like(tensor: Tensor, array: Coordinates) -> Tensor:
    """Return an array as a tensor of another's dtype, on its device, of which float64 need not be known (MPS)."""
    return torch.from_numpy(array).to(tensor.dtype).to(tensor.device)


def default_resolution(size: int) -> int:
    """Return the resolution of the feature map: 128 from 256 px on, else half the picture's."""
    return 128 if size >= 256 else size // 2


def check_draggable(config: GeneratorConfig) -> None:
    """Make sure that pieces of a generator's feature maps can be computed here.

    Raises:
        InvalidInput: it has the `resnet` architecture, or makes portraits.
    """
    if config.architecture == "resnet" or config.portrait:
        kind = "portraits" if config.portrait else "the 'resnet' architecture"
        raise InvalidInput(f"A generator of {kind} can be loaded and rendered, but not dragged: use another one.")


@dataclass(frozen=True, eq=False)
class FeaturePieces:
    """Square pieces of F.

    Attributes:
        values: (n, C, side, side).
        origins: (n, 2) cell (x, y) of F where each piece begins; a piece may reach beyond F.
        resolution: height and width of F.
        size: height and width of the picture.
    """

    values: Tensor
    origins: Cells
    resolution: int
    size: int

    def sample(self, xs: Coordinates, ys: Coordinates) -> Tensor:
        """Read F, as resized to the picture, on each piece's lattice.

        Args:
            xs: (n, a) picture coordinates; beyond the border they read the border.
            ys: (n, b) likewise.

        Returns:
            (n, C, b, a), float32 at least. The caller asks for pieces that hold the lattice.
        """
        values = self.values.to(torch.promote_types(self.values.dtype, torch.float32))
        across, down = (like(values, self._taps(at, first)) for at, first in zip((xs, ys), self.origins.T, strict=True))
        return torch.einsum("nbi,ncij,naj->ncba", down, values, across)

    def around(self, centers: NDArray[np.float64], radius: float) -> "FeaturePieces":
        """Cut the one piece that is all of F into pieces around picture coordinates (n, 2)."""
        first, side = needed_cells(centers, radius, self.resolution, self.size)
        return FeaturePieces(_cut(self.values, first, side), first, self.resolution, self.size)

    def _taps(self, at: Coordinates, origins: Cells) -> Coordinates:
        """Return the weights (n, a, side) of a piece's cells for coordinates `at` (n, a) along one axis."""
        at = at.clip(0, self.size - 1)
        pixel = np.floor(at).clip(max=self.size - 2)
        share = (at - pixel)[..., None]
        cells = origins[:, None, None] + np.arange(self.values.shape[-1])
        taps = []
        for neighbour in (pixel, pixel + 1):
            cell = (neighbour + 0.5) * (self.resolution / self.size) - 0.5
            cell = cell.clip(0, self.resolution - 1)
            taps.append((1 - np.abs(cells - cell[..., None])).clip(min=0))
        return (1 - share) * taps[0] + share * taps[1]


def needed_cells(centers: NDArray[np.float64], radius: float, resolution: int, size: int) -> tuple[Cells, int]:
    """Return the first cells (n, 2) and the one side of pieces of F that hold all within `radius` px of centres."""
    ratio = resolution / size
    low = np.floor(np.clip(centers - radius, 0, size - 2))
    first = np.floor(np.clip((low + 0.5) * ratio - 0.5, 0, resolution - 1)).astype(np.int64)
    return first, math.ceil((2 * radius + 2) * ratio) + 2


def _cut(x: Tensor, first: Cells, side: int) -> Tensor:
    """Cut (1, C, H, W) into (n, C, side, side) pieces that begin at cells (n, 2); zeros beyond the map.

    One lookup of cells serves all pieces: its gradient is one map, where slices would add up a map each.
    """
    height, width = x.shape[2:]
    over = max(0, int(-first.min()), int(first[:, 0].max()) + side - width, int(first[:, 1].max()) + side - height)
    x = F.pad(x, [over] * 4) if over else x
    columns, rows = first.T[:, :, None] + over + np.arange(side)
    cells = torch.as_tensor(rows[:, :, None] * (width + 2 * over) + columns[:, None], device=x.device)
    flat = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    return flat.index_select(0, cells.flatten()).unflatten(0, cells.shape).permute(0, 3, 1, 2)


class FeatureNetwork:
    """The blocks up to the feature map, prepared for one drag."""

    def __init__(
        self,
        network: Generator,
        ws: Tensor,
        *,
        rows: int,
        resolution: int,
        dtype: torch.dtype,
        compiled: bool = False,
    ) -> None:
        """Prepare for codes that differ from `ws` (1, num_ws, w_dim) in their first `rows` rows only.

        Args:
            network: frozen.
            ws: (1, num_ws, w_dim).
            rows: how many of them a drag moves.
            resolution: of F.
            dtype: of the convolutions.
            compiled: compile the whole map's computation with torch.compile, whose cache on disk serves the next
                drag; pieces are computed as ever.

        Raises:
            InvalidInput: a generator of the `resnet` architecture, or of portraits.
        """
        check_draggable(network.config)
        self.resolution, self.size, self.dtype = resolution, network.config.size, dtype
        const = network.synthesis.blocks[0].const[None].to(dtype)
        self._const = const.contiguous(memory_format=torch.channels_last)
        self._layers: list[_Layer] = []
        table = network.synthesis.rows
        for block in network.synthesis.blocks:
            if block.resolution <= resolution:
                for name in ("conv1",) if block.resolution == 4 else ("conv0", "conv1"):
                    row = table[f"b{block.resolution}.{name}"]
                    self._layers.append(
                        _Layer(getattr(block, name), block.resolution, row, ws if row >= rows else None, dtype)
                    )

        self._run: Callable[[Tensor], Tensor] = torch.compile(self._map, dynamic=False) if compiled else self._map

    def _map(self, moved: Tensor) -> Tensor:
        x = self._const
        for layer in self._layers:
            x = layer.whole(x, moved)
        return x

    def whole(self, moved: Tensor) -> FeaturePieces:
        """Return F as one piece, for the first rows `moved` (1, rows, w_dim)."""
        return FeaturePieces(self._run(moved), np.zeros((1, 2), np.int64), self.resolution, self.size)

    def pieces(self, moved: Tensor, centers: NDArray[np.float64], radius: float) -> FeaturePieces:
        """Return pieces of F that hold all of it within `radius` picture pixels of the centres, along each axis.

        Args:
            moved: (1, rows, w_dim), the code's first rows.
            centers: (n, 2) picture coordinates.
            radius: in picture pixels.
        """
        first, side = needed_cells(centers, radius, self.resolution, self.size)
        blocks = self._cheapest(len(centers), side)
        if blocks == 0:
            return self.whole(moved).around(centers, radius)
        # A block makes 2p - 6 cells from p of the block below it; the first of them is 2s + 3 for its first s.
        shift, loss = 3 * (2**blocks - 1), 6 * (2**blocks - 1)
        start = (first - shift) // 2**blocks
        x = self._const
        split = len(self._layers) - 2 * blocks
        for layer in self._layers[:split]:
            x = layer.whole(x, moved)
        x = _cut(x, start, _input_side(side, blocks))
        for layer in self._layers[split:]:
            start = 2 * start + 2 if layer.up else start + 1
            x = layer.pieces(x, moved, start)
        assert x.shape[-1] == 2**blocks * _input_side(side, blocks) - loss
        return FeaturePieces(x, start, self.resolution, self.size)

    def _cheapest(self, n: int, side: int) -> int:
        """Return how many of the last blocks cost least when computed in n pieces whose last has `side` cells."""

        def cost(blocks: int) -> float:
            split = len(self._layers) - 2 * blocks
            total = float(sum(layer.macs(layer.resolution) for layer in self._layers[:split]))
            cells = _input_side(side, blocks)
            for layer in self._layers[split:]:
                cells = 2 * cells - 4 if layer.up else cells - 2
                total += n * layer.macs(cells)
            return total

        return min(range(len(self._layers) // 2 + 1), key=cost)


def _input_side(side: int, blocks: int) -> int:
    """Return the side of a piece from which `blocks` blocks make one of at least `side` cells, wherever it begins."""
    return math.ceil((side + 2**blocks - 1 + 6 * (2**blocks - 1)) / 2**blocks)


class _Layer:
    """A synthesis layer with all that stays the same during a drag computed: nothing but tensors."""

    def __init__(
        self, layer: SynthesisLayer, resolution: int, row: int, fixed: Tensor | None, dtype: torch.dtype
    ) -> None:
        self.resolution, self.row, self.dtype, self.clamp = resolution, row, dtype, layer.conv_clamp
        with torch.no_grad():
            self.fixed = None if fixed is None else layer.modulation(fixed[:, row], dtype)
            self.weight, self.squared = layer.kernel(dtype)
            self.taps = layer.taps(dtype) if layer.up else None
            self.bias = layer.gained_bias(dtype)
            self.noise = layer.noise("const", dtype)
            affine = layer.affine
            self.affine = affine.weight * affine.weight_gain, affine.bias * affine.bias_gain

    @property
    def up(self) -> bool:
        """Whether the layer doubles the resolution."""
        return self.taps is not None

    def macs(self, side: int) -> float:
        """Return the multiplications for an output of `side` cells square."""
        return self.weight.numel() * (side / 2 if self.up else side) ** 2

    def whole(self, x: Tensor, moved: Tensor) -> Tensor:
        """Compute the whole map (1, out, H, W) from that of the layer's input."""
        scale, demodulation = self._modulation(moved)
        return activate(convolve(x * scale, self.weight, self.taps), demodulation, self.bias, self.noise, self.clamp)

    def pieces(self, x: Tensor, moved: Tensor, origins: Cells) -> Tensor:
        """Compute the pieces that begin at `origins` (n, 2) from pieces of the layer's input."""
        scale, demodulation = self._modulation(moved)
        x = convolve(x * scale, self.weight, self.taps, valid=True)
        side = x.shape[-1]
        noise = None if self.noise is None else _cut(self.noise, origins, side)
        x = activate(x, demodulation, self.bias, noise, self.clamp)
        inside = self._inside(origins, side)
        # The next convolution pads the map with zeros: so must be what a piece has beyond the border.
        return x if inside is None else x * torch.as_tensor(inside, device=x.device).to(x.dtype)

    def _inside(self, origins: Cells, side: int) -> NDArray[np.bool_] | None:
        """Return (n, 1, side, side): which cells lie in the map; None where all do."""
        if origins.min() >= 0 and origins.max() + side <= self.resolution:
            return None
        cells = origins[:, :, None] + np.arange(side)
        within = (cells >= 0) & (cells < self.resolution)
        inside: NDArray[np.bool_] = within[:, 1, :, None] & within[:, 0, None, :]
        return inside[:, None]

    def _modulation(self, moved: Tensor) -> tuple[Tensor, Tensor]:
        if self.fixed is not None:
            return self.fixed
        return modulation(F.linear(moved[:, self.row], *self.affine), self.squared, self.dtype)
