"""A drag step as DragGAN's published code does it, vectorised: the reference for speed and memory.

The whole picture is rendered in every step, and the whole feature map is resized to it; discs and windows
are read from that. Numbers are those of tests/drag/oracle.py, but for the mask's loss: as published, it is a mean
over all of the resized map, not over what stays.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from drag.features import default_resolution
from drag.points import Points, unit
from drag.supervision import SUPERVISION_RADIUS, lattice, step_toward
from drag.tracking import TRACKING_RADIUS
from weights.generator import Generator


class BaselineDrag:
    """One drag in float32."""

    def __init__(
        self, network: Generator, w: Tensor, points: Points, *, lr: float, mask: np.ndarray | None = None
    ) -> None:
        """Render the picture once and remember the handles' features."""
        self.network, self.w, self.points = network, w, points
        self.size = network.config.size
        self.resolution = default_resolution(self.size)
        self.at = points.handles
        self.moved = w[:, :6].clone().requires_grad_()
        self.optimizer = torch.optim.Adam([self.moved], lr=lr)
        self.stays = None if mask is None else torch.as_tensor(1 - mask)
        with torch.no_grad():
            self.initial = self._resized()
            self.templates = self._read(self.initial, self.at[:, None])

    def step(self) -> None:
        """Render, track, supervise, and make a step of Adam."""
        features = self._resized()
        self._track(features.detach())
        d = step_toward(self.at, self.points.targets, self.size)
        disc = _square(SUPERVISION_RADIUS * unit(self.size), self.size)
        disc = disc[np.hypot(*disc.T) <= SUPERVISION_RADIUS * unit(self.size) + 1e-9]
        here = self.at[:, None] + disc
        difference = self._read(features, here).detach() - self._read(features, here + d[:, None])
        loss = difference.abs().mean(dim=[0, 2]).sum()
        if self.stays is not None:
            loss = loss + 20 * ((features - self.initial).abs() * self.stays).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _resized(self) -> Tensor:
        """Return F resized to the picture, (C, size, size), after rendering all of the picture."""
        ws = torch.cat([self.moved, self.w[:, 6:]], dim=1)
        rows, image, features = self.network.synthesis.rows, None, None
        for block, x in self.network.synthesis._walk(ws, "const", None, self.size):
            rgb = block.torgb(x, ws[:, rows[f"b{block.resolution}.torgb"]])
            image = rgb if image is None else rgb + block.upsample(image)
            if block.resolution == self.resolution:
                features = x
        assert features is not None
        return F.interpolate(features, size=(self.size, self.size), mode="bilinear", align_corners=False)[0]

    def _read(self, features: Tensor, at: np.ndarray) -> Tensor:
        """Read features (C, size, size) at (n, k, 2) picture coordinates: (C, n, k)."""
        grid = torch.as_tensor(at / (self.size - 1) * 2 - 1, dtype=torch.float32)
        return F.grid_sample(features[None], grid[None], align_corners=True, padding_mode="border")[0]

    def _track(self, features: Tensor) -> None:
        window = self.at[:, None] + _square(TRACKING_RADIUS * unit(self.size), self.size)
        distance = (self._read(features, window) - self.templates).abs().sum(dim=0)
        self.at = window[np.arange(len(window)), distance.argmin(dim=1).numpy()]


def _square(radius: float, size: int) -> np.ndarray:
    """Return the offsets (k, 2) of a square lattice."""
    x, y = np.meshgrid(lattice(radius, size), lattice(radius, size))
    return np.stack([x.ravel(), y.ravel()], axis=1)
