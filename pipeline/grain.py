"""A photo's grain: measured where the photo is smooth, and made anew."""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.photo import Pixels

Field = NDArray[np.float32]

SIGMAS = (1.0, 2.0)  # px; two octaves: grain of a sensor, and what a lossy file made of it
WINDOW = 8  # px, over which smoothness is judged
SMOOTH = 0.2  # share of windows that is taken for smooth
LOOK = 1024  # px; no more than so many rows and columns are looked at


@dataclass(frozen=True, eq=False)
class Grain:
    """Grey noise in two octaves.

    Attributes:
        levels: root mean square of each octave, in levels of 255.
    """

    levels: tuple[float, ...]

    def make(self, height: int, width: int, rng: np.random.Generator) -> Field:
        """Return grain (height, width) in levels of 255."""
        noise = rng.standard_normal((height, width), dtype=np.float32)
        return np.asarray(
            sum(
                level / max(float(np.sqrt(np.square(octave).mean())), 1e-6) * octave
                for level, octave in zip(self.levels, _octaves(noise), strict=True)
            ),
            np.float32,
        )


def measure_grain(pixels: Pixels) -> Grain:
    """Measure the grain of pixels (H, W, 3), 8 bits, in the smoothest windows, where texture hides least of it."""
    y, x = (max(0, (n - LOOK) // 2) for n in pixels.shape[:2])
    grey = cv2.cvtColor(np.ascontiguousarray(pixels[y : y + LOOK, x : x + LOOK]), cv2.COLOR_RGB2GRAY).astype(np.float32)
    levels = []
    for octave in _octaves(grey):
        power = cv2.boxFilter(np.square(octave), -1, (WINDOW, WINDOW))
        levels.append(float(np.sqrt(np.quantile(power, SMOOTH))))
    return Grain(tuple(levels))


def _octaves(picture: Field) -> list[Field]:
    """Return the finest octaves of a picture (H, W)."""
    blurred = [picture, *(np.asarray(cv2.GaussianBlur(picture, (0, 0), s), np.float32) for s in SIGMAS)]
    return [finer - coarser for finer, coarser in pairwise(blurred)]
