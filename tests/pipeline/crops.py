"""Crops and photos made up for the composite's tests."""

import cv2
import numpy as np

from pipeline.align import Alignment, cut
from pipeline.flow import warp
from pipeline.photo import Photo
from tests.conftest import smooth_picture

SIZE = 128


def textured(height: int, width: int, *, level: float = 12.0, seed: int = 0) -> np.ndarray:
    """Make a picture (H, W, 3) uint8 with structure down to single pixels."""
    rng = np.random.default_rng(seed)
    fine = rng.normal(0, level, (height, width, 1))
    for sigma in (4, 9):
        coarse = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), sigma)
        fine = fine + (coarse / coarse.std() * 20)[..., None]
    return np.clip(smooth_picture(height, width) * 0.4 + 70 + fine, 0, 255).astype(np.uint8)


def placed(scale: float, x: float, y: float, *, degrees: float = 0.0, size: int = SIZE) -> Alignment:
    """Return a crop of that scale and roll around (x, y) of its photo."""
    angle = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    origin = np.array([x, y]) - linear @ np.full(2, (size - 1) / 2)
    return Alignment(np.hstack([linear, origin[:, None]]), size)


def seen(photo: Photo, frame: Alignment) -> np.ndarray:
    """Return the crop as a perfect generator would show it."""
    return cut(photo.pixels, frame)


def bulge(size: int, shift: float) -> np.ndarray:
    """Return a flow (size, size, 2) that moves the middle by `shift` pixels to the right, and the border not."""
    y, x = np.mgrid[:size, :size] / (size - 1) - 0.5
    flow = np.zeros((size, size, 2), np.float32)
    flow[..., 0] = -shift * np.exp(-(x**2 + y**2) / 0.03)
    return flow


def edit(photo: Photo, frame: Alignment) -> tuple[np.ndarray, np.ndarray]:
    """Return the crop before and after a bulge."""
    crop = seen(photo, frame)
    return crop, warp(crop, bulge(SIZE, 6.0))


def dots(places: np.ndarray) -> np.ndarray:
    """Draw a picture with a soft light dot at each place."""
    y, x = np.mgrid[:SIZE, :SIZE]
    near = np.square(np.stack([x, y], axis=2)[:, :, None] - places).sum(axis=3)
    return np.repeat(40 + 150 * np.exp(-near / 8).sum(axis=2)[..., None], 3, axis=2).astype(np.float32)


def centre(picture: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return the centre of what is light within 4 px of a place."""
    y, x = np.mgrid[:SIZE, :SIZE]
    weight = np.clip(picture[..., 0] - 60, 0, None) * (np.hypot(x - near[0], y - near[1]) < 4)
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
