"""The edited crop back into the photo.

A generator's crop is softer than a photo. So the edit is taken for a change, edited minus reconstruction, and
the change is added to the photo under a soft mask: what did not change keeps the photo's own pixels.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.align import Alignment, outside
from pipeline.photo import Photo, Pixels
from pipeline.settings import CompositeSettings

Crop = NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
FAINT, PLAIN = 4.0, 12.0  # of 255: changes below the first are none, above the second wholly taken


def change_mask(reconstruction: Crop, edited: Crop, *, feather: float) -> NDArray[np.float32]:
    """Return where the edit changed the crop, softly: (size, size) from 0 to 1, 0 along the crop's border.

    Args:
        reconstruction: (size, size, 3) from 0 to 255, the generator's picture before the edit.
        edited: likewise, after it.
        feather: width of the soft edge, in percent of the crop.
    """
    size = len(edited)
    width = max(1.0, feather / 100 * size)
    change = np.abs(edited - reconstruction).max(axis=2)
    change = cv2.GaussianBlur(change, (0, 0), max(0.8, size / 256))
    core = np.clip((change - FAINT) / (PLAIN - FAINT), 0, 1).astype(np.float32)
    reach = 2 * round(width / 2) + 1
    grown = cv2.dilate(core, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    soft = np.maximum(cv2.GaussianBlur(grown, (0, 0), width / 3), 0)
    at = np.minimum(np.arange(size), np.arange(size)[::-1]).astype(np.float32)
    ramp = np.clip(at / width, 0, 1)
    mask: NDArray[np.float32] = soft * np.minimum(ramp, ramp[:, None])
    mask[mask < 1 / 255] = 0
    return mask


def composite(
    photo: Photo,
    alignment: Alignment,
    reconstruction: Crop,
    edited: Crop,
    settings: CompositeSettings | None = None,
) -> tuple[Pixels, NDArray[np.float32]]:
    """Put an edit into its photo.

    Args:
        photo: the photo; it is not changed.
        alignment: where the crop lies in it.
        reconstruction: (size, size, 3) from 0 to 255, sRGB, the generator's picture before the edit.
        edited: likewise, after it.
        settings: see there; None for the defaults.

    Returns:
        The new pixels (H, W, 3), and the mask (H, W) from 0 to 1: pixels where it is 0 are the photo's.
    """
    settings = settings or CompositeSettings()
    mask = change_mask(reconstruction, edited, feather=settings.feather)
    mask *= outside(alignment, photo.width, photo.height) <= 1
    rows, columns = alignment.region(photo.width, photo.height)
    delta = _to_photo((edited - reconstruction) * mask[..., None], alignment, rows, columns)
    where = np.clip(_to_photo(mask, alignment, rows, columns), 0, 1)
    delta[where == 0] = 0

    before = photo.pixels[rows, columns]
    after = _add(photo, before, delta)
    pixels = photo.pixels.copy()
    pixels[rows, columns] = np.where(where[..., None] > 0, after, before)
    whole = np.zeros(pixels.shape[:2], np.float32)
    whole[rows, columns] = where
    return pixels, whole


def _to_photo(values: NDArray[np.float32], alignment: Alignment, rows: slice, columns: slice) -> NDArray[np.float32]:
    """Resample values of the crop, which are 0 along its border, to a region of the photo."""
    if alignment.scale < 1:  # the photo's face is smaller than the crop
        values = np.asarray(cv2.GaussianBlur(values, (0, 0), 0.5 / alignment.scale), np.float32)
    matrix = alignment.matrix.copy()
    matrix[:, 2] -= (columns.start, rows.start)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return np.asarray(cv2.warpAffine(values, matrix, size, flags=cv2.INTER_CUBIC), np.float32)


def _add(photo: Photo, before: Pixels, delta: NDArray[np.float32]) -> Pixels:
    """Add a change in sRGB to pixels of the photo's own colour space."""
    if photo.grey:
        delta = np.repeat((delta @ LUMA)[..., None], 3, axis=2)
    srgb = photo.to_srgb(before)
    changed = np.clip(srgb + delta + 0.5, 0, 255).astype(np.uint8)
    if srgb is before:
        return changed
    # Through the profile and back, unchanged pixels come out slightly other: only the difference is taken.
    there = photo.from_srgb(changed).astype(np.int16) - photo.from_srgb(srgb)
    return np.clip(before + there, 0, 255).astype(np.uint8)
