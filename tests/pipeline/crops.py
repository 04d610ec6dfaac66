"""Crops and photos made up for the composite's tests."""

import cv2
import numpy as np

from pipeline.align import Alignment, cut
from pipeline.composite import composite
from pipeline.flow import FaceMotion, landmark_motion, warp
from pipeline.mouth import SIDE
from pipeline.photo import Photo
from pipeline.settings import CompositeSettings
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


def column_after(
    pixels: np.ndarray,
    at: np.ndarray,
    after: np.ndarray,
    degrees: float,
    *,
    column: float = (SIZE - 1) / 2,
    stain: slice = slice(0),
) -> np.ndarray:
    """Edit a photo in which a crop lies rolled, by a generator that is far off: all that is known are the landmarks.

    Args:
        pixels: the crop at SIDE px, (SIDE, SIDE, 3); beyond it the photo is as its first pixel.
        at: landmarks (68, 2) in pixels of a crop of SIZE.
        after: where they go.
        degrees: of the roll.
        column: what to look at of the crop.
        stain: rows and columns of the edited crop in which the generator draws black.

    Returns:
        that column of the edited photo, four pixels for one of the crop.
    """
    side = SIZE * 4
    frame = placed(4.0, (side - 1) / 2, (side - 1) / 2, degrees=degrees)
    matrix = frame.resized(SIDE).matrix
    photo = Photo(
        pixels=cv2.warpAffine(pixels, matrix, (side, side), borderValue=pixels[0, 0].tolist()).astype(np.uint8)
    )
    noise = 25 * cv2.GaussianBlur(np.random.default_rng(0).normal(0, 8, (SIZE, SIZE, 3)), (0, 0), 3)
    before = (seen(photo, frame) + noise).astype(np.float32)
    edited = warp(before, landmark_motion(at, after, SIZE))
    edited[stain, stain] = 0
    motion = FaceMotion(drawn=(at, after), photo=(at, after))
    got = composite(photo, frame, before, edited, CompositeSettings(match_grain=False), face=motion).on(photo.pixels)
    back = cv2.warpAffine(got, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return back[:, round((column + 0.5) * 4)].mean(axis=1)
