"""The generator's frame: from a photo to the crop, and back.

Convention: points are (x, y), pixel centres at whole numbers, in the photo as in the crop. A crop is a square
of `size` pixels under a similarity of the photo.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from drag.landmarks import Landmarks, place

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where a crop lies in its photo.

    Attributes:
        matrix: (2, 3), maps (x, y, 1) of the crop to (x, y) of the photo; a similarity.
        size: height and width of the crop in pixels.
    """

    matrix: Array
    size: int

    @property
    def scale(self) -> float:
        """Pixels of the photo that one pixel of the crop spans."""
        return float(np.hypot(*self.matrix[:, 0]))

    @property
    def inverse(self) -> Array:
        """(2, 3), maps (x, y, 1) of the photo to (x, y) of the crop."""
        linear = np.linalg.inv(self.matrix[:, :2])
        return np.hstack([linear, -linear @ self.matrix[:, 2:]])

    def to_photo(self, points: Array) -> Array:
        """Map points (..., 2) of the crop to the photo."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]

    def to_crop(self, points: Array) -> Array:
        """Map points (..., 2) of the photo to the crop."""
        inverse = self.inverse
        return points @ inverse[:, :2].T + inverse[:, 2]

    def moved(self, x: float, y: float) -> "Alignment":
        """Return where the crop lies in a photo whose contents stand (x, y) pixels further."""
        return Alignment(self.matrix + np.array([[0, 0, x], [0, 0, y]]), self.size)

    def resized(self, size: int) -> "Alignment":
        """Return where a crop of `size` pixels lies that shows the same square."""
        zoom = self.size / size
        middle = (zoom - 1) / 2  # a pixel's centre lies half of it behind its corner
        return Alignment(self.matrix @ np.array([[zoom, 0, middle], [0, zoom, middle], [0, 0, 1]]), size)

    def region(self, width: int, height: int, *, margin: float = 0.0) -> tuple[slice, slice]:
        """Return the photo's rows and columns that hold the crop and `margin` pixels of the photo around it."""
        low, high = -0.5, self.size - 0.5
        corners = self.to_photo(np.array([[low, low], [high, low], [low, high], [high, high]]))
        first = np.floor(corners.min(axis=0) - margin).astype(int)
        last = np.ceil(corners.max(axis=0) + margin).astype(int) + 1
        x0, x1 = np.clip([first[0], last[0]], 0, width)
        y0, y1 = np.clip([first[1], last[1]], 0, height)
        return slice(y0, y1), slice(x0, x1)


def ffhq_frame(landmarks: Landmarks, size: int) -> Alignment:
    """Return the frame that FFHQ's pictures are cut by.

    The rule is that of CelebA-HQ (Karras et al. 2018, appendix C), which FFHQ took over: with eyes e0, e1 and
    mouth corners m0, m1, let x' = e1 - e0 and y' = (e0 + e1) / 2 - (m0 + m1) / 2; the centre is
    (e0 + e1) / 2 - 0.1 y', the side max(4 |x'|, 3.6 |y'|), the x axis along x' - rotate90(y').

    Args:
        landmarks: (68, 2) in pixels of the photo.
        size: of the crop in pixels.
    """
    eyes = place(landmarks, "eye-left"), place(landmarks, "eye-right")
    middle = (eyes[0] + eyes[1]) / 2
    across = eyes[1] - eyes[0]
    up = middle - place(landmarks, "mouth")
    axis = across - np.array([up[1], -up[0]])
    axis /= np.hypot(*axis)
    side = max(4.0 * np.hypot(*across), 3.6 * np.hypot(*up))
    return _square(middle - 0.1 * up, axis * side, size)


def center_frame(width: int, height: int, size: int) -> Alignment:
    """Return the largest centred square of a photo of `width` x `height` pixels."""
    side = float(min(width, height))
    return _square(np.array([(width - 1) / 2, (height - 1) / 2]), np.array([side, 0.0]), size)


def _square(center: Array, edge: Array, size: int) -> Alignment:
    """Return the frame around `center` whose upper edge is the vector `edge`."""
    step = edge / size
    linear = np.array([[step[0], -step[1]], [step[1], step[0]]])
    origin = center - linear @ np.full(2, (size - 1) / 2)
    return Alignment(np.hstack([linear, origin[:, None]]), size)


def cut(pixels: NDArray[np.uint8], alignment: Alignment) -> NDArray[np.float32]:
    """Resample the crop out of a photo.

    A crop smaller than its place in the photo is antialiased: sampled at a whole multiple of its size and
    averaged. Beyond the photo's border its reflection continues it, blurred more and more and fading to the
    median colour, as in FFHQ.

    Args:
        pixels: (H, W, 3) of the photo, RGB.
        alignment: where the crop lies.

    Returns:
        (size, size, 3) float32, RGB from 0 to 255.
    """
    height, width = pixels.shape[:2]
    factor = max(1, round(alignment.scale))
    matrix = alignment.matrix.copy()
    matrix[:, :2] /= factor
    # The centre of the first of factor x factor samples lies (factor - 1) / 2 of them before that of their pixel.
    matrix[:, 2] -= matrix[:, :2] @ np.full(2, (factor - 1) / 2)
    rows, columns = alignment.region(width, height, margin=4 * alignment.scale + 4)
    if rows.start == rows.stop or columns.start == columns.stop:
        rows, columns = slice(0, height), slice(0, width)
    matrix[:, 2] -= (columns.start, rows.start)
    side = alignment.size * factor
    fine = cv2.warpAffine(
        pixels[rows, columns],
        matrix,
        (side, side),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    crop = cv2.resize(fine, (alignment.size, alignment.size), interpolation=cv2.INTER_AREA).astype(np.float32)
    return _soften_border(crop, outside(alignment, width, height))


def outside(alignment: Alignment, width: int, height: int) -> NDArray[np.float32]:
    """Return how far each pixel of the crop lies beyond the photo, in pixels of the crop: (size, size), 0 inside."""
    y, x = np.mgrid[: alignment.size, : alignment.size].astype(np.float64)
    at = alignment.to_photo(np.stack([x.ravel(), y.ravel()], axis=1))
    over = np.maximum(np.maximum(-0.5 - at, at - (np.array([width, height]) - 0.5)), 0)
    distance = np.hypot(*over.T) / alignment.scale
    return distance.reshape(alignment.size, alignment.size).astype(np.float32)


def _soften_border(crop: NDArray[np.float32], distance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blur what lies beyond the photo, and fade it to the crop's median colour."""
    if not distance.any():
        return crop
    size = len(crop)
    blurred = cv2.GaussianBlur(crop, (0, 0), 0.02 * size)
    blur = np.clip(distance / (0.03 * size), 0, 1)[..., None]
    fade = np.clip(distance / (0.3 * size), 0, 1)[..., None]
    crop = crop + (blurred - crop) * blur
    median = np.median(crop, axis=(0, 1)).astype(np.float32)
    softened: NDArray[np.float32] = crop + (median - crop) * fade
    return softened
