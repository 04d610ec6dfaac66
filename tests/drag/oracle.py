"""A literal DragGAN: the whole feature map resized to the picture, loops over pixels, nothing clever."""

import math

import numpy as np
import torch
import torch.nn.functional as F


class LiteralDrag:
    """One drag; `rows` rows of W+ are optimised by Adam."""

    def __init__(self, network, w, handles, targets, *, lr, rows=6, mask=None, mask_weight=20.0):
        self.network, self.w, self.rows, self.mask_weight = network, w, rows, mask_weight
        self.size = network.config.size
        self.unit = self.size / 512
        self.step = min(self.unit, 1.0)
        self.resolution = 128 if self.size >= 256 else self.size // 2
        self.points = [tuple(p) for p in handles]
        self.targets = [tuple(t) for t in targets]
        self.moved = w[:, :rows].clone().requires_grad_()
        self.optimizer = torch.optim.Adam([self.moved], lr=lr)
        with torch.no_grad():
            self.initial = self.map()
        picture = self.resize(self.initial)
        self.templates = [self.read(picture, x, y) for x, y in self.points]
        self.stays = None
        if mask is not None:
            stays = torch.as_tensor(1 - mask, dtype=w.dtype)
            side = self.size // self.resolution
            self.stays = torch.stack(
                [
                    torch.stack(
                        [
                            stays[j * side : (j + 1) * side, i * side : (i + 1) * side].mean()
                            for i in range(self.resolution)
                        ]
                    )
                    for j in range(self.resolution)
                ]
            )

    def map(self):
        ws = torch.cat([self.moved, self.w[:, self.rows :]], dim=1)
        return self.network.synthesis.features(ws, self.resolution)[0]

    def resize(self, features):
        return F.interpolate(features[None], size=(self.size, self.size), mode="bilinear", align_corners=False)[0]

    def read(self, picture, x, y):
        x, y = min(max(x, 0), self.size - 1), min(max(y, 0), self.size - 1)
        i, j = min(int(x), self.size - 2), min(int(y), self.size - 2)
        a, b = x - i, y - j
        top = (1 - a) * picture[:, j, i] + a * picture[:, j, i + 1]
        bottom = (1 - a) * picture[:, j + 1, i] + a * picture[:, j + 1, i + 1]
        return (1 - b) * top + b * bottom

    def inside(self, x, y):
        return -0.5 < x < self.size - 0.5 and -0.5 < y < self.size - 0.5

    def offsets(self, radius):
        n = int(radius / self.step + 1e-9)
        return [k * self.step for k in range(-n, n + 1)]

    def loss(self):
        features = self.map()
        picture = self.resize(features)
        total = 0
        for (x, y), (tx, ty) in zip(self.points, self.targets, strict=True):
            distance = math.hypot(tx - x, ty - y)
            share = min(1.0, self.unit / distance) if distance else 0.0
            dx, dy = (tx - x) * share, (ty - y) * share
            values = []
            for oy in self.offsets(3 * self.unit):
                for ox in self.offsets(3 * self.unit):
                    if math.hypot(ox, oy) <= 3 * self.unit + 1e-9 and self.inside(x + ox, y + oy):
                        here = self.read(picture, x + ox, y + oy).detach()
                        there = self.read(picture, x + ox + dx, y + oy + dy)
                        values.append((here - there).abs().mean())
            total = total + torch.stack(values).mean()
        if self.stays is not None:
            difference = (features - self.initial).abs().mean(dim=0)
            total = total + self.mask_weight * (difference * self.stays).sum() / self.stays.sum()
        return total

    def track(self):
        with torch.no_grad():
            picture = self.resize(self.map())
        moved = []
        for (x, y), template in zip(self.points, self.templates, strict=True):
            best, place = math.inf, (x, y)
            for oy in self.offsets(12 * self.unit):
                for ox in self.offsets(12 * self.unit):
                    shown = min(x + ox, y + oy) >= 0 and max(x + ox, y + oy) <= self.size - 1
                    if shown or ox == oy == 0:
                        distance = float((self.read(picture, x + ox, y + oy) - template).abs().sum())
                        if distance < best:
                            best, place = distance, (x + ox, y + oy)
            moved.append(place)
        self.points = moved

    def gradient(self):
        (gradient,) = torch.autograd.grad(self.loss(), self.moved)
        return gradient

    def advance(self):
        """Make one step of Adam, then track."""
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.track()
        return np.array(self.points)
