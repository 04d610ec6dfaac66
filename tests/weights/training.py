"""What the tests of training share: drawn faces, small settings, a metric without a network."""

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from weights.training.settings import TrainingSettings

TINY = TrainingSettings(
    size=16, channel_base=128, channel_max=8, z_dim=8, w_dim=16, batch=4, perceptual_size=8,
    adversarial_after=0, ramp=8, r1_every=2, device="cpu", dtype="float32", threads=1,
)  # fmt: skip


def draw_face(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a head with hair, eyes and a mouth before a plain ground, (side, side, 3) uint8."""
    scale = side / 64

    def ellipse(x: float, y: float, a: float, b: float, colour: np.ndarray) -> None:
        centre, axes = (round(x * scale), round(y * scale)), (round(a * scale), round(b * scale))
        cv2.ellipse(image, centre, axes, 0, 0, 360, colour.tolist(), -1, cv2.LINE_AA)

    image = np.full((side, side, 3), rng.integers(30, 226, 3), np.uint8)
    skin = np.array([235, 190, 160]) * rng.uniform(0.4, 1)
    x, y, width = 32 + rng.uniform(-3, 3), 34 + rng.uniform(-3, 3), rng.uniform(15, 19)
    ellipse(x, y - 5, width + 4, 23, rng.integers(10, 120, 3))
    ellipse(x, y, width, 22, skin)
    for side_ in (-1, 1):
        ellipse(x + side_ * width * 0.42, y - 5, 3.5, 2, np.array([250, 250, 250]))
        ellipse(x + side_ * width * 0.42, y - 5, 1.7, 1.7, rng.integers(0, 90, 3))
    ellipse(x, y + 11, rng.uniform(4, 8), rng.uniform(1, 3.5), np.array([180, 60, 70]) * rng.uniform(0.6, 1))
    return image


def draw_faces(folder: Path, n: int, side: int, *, seed: int = 0) -> Path:
    """Fill a folder with drawn faces."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        assert cv2.imwrite(str(folder / f"{i:04}.png"), draw_face(side, rng))
    return folder


class Blocks:
    """A metric of averages of 2 x 2 and 4 x 4 pixels, in place of LPIPS."""

    def features(self, images: Tensor) -> list[Tensor]:
        return [F.avg_pool2d(images, k) for k in (2, 4)]

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        total = torch.zeros(len(a[0]))
        for f, g in zip(a, b, strict=True):
            total = total + (f - g).square().mean(dim=[1, 2, 3])
        return total
