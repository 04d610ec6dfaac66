"""Which landmarks are dragged: those that must move, and anchors that hold the rest of the face in place."""

import cv2
import numpy as np
from numpy.typing import NDArray

from drag.landmarks import Drag
from drag.names import NAMES
from drag.settings import Region
from drag.shape import PARTS, Shape, Shift

# Handles of each part of the face at most: more of them hold each other back.
MOST: dict[Region, int] = {"mouth": 8, "eyes": 6, "brows": 4, "nose": 2, "jaw": 3}
ALONE = 8  # of a part that moves by itself
LEAST = 0.008  # of the distance between the eyes; what moves less is left out
RELATIVE = 0.2  # of the farthest handle's way in its part; likewise
# Distances between the eyes, and a difference of ways relative to one: a landmark so near to a handle, and so
# much alike, tells nothing new.
ALIKE = ((0.16, 0.35), (0.4, 0.12))
KEY = frozenset((8, 19, 24, 30, 48, 51, 54, 57, 62, 66))  # tell most of an expression: taken before their neighbours
PREFERENCE = 1.5  # a key landmark counts as if it moved so many times as far
ANCHORS = (36, 39, 42, 45, 19, 24, 30, 33, 48, 54, 8, 4, 12)  # held where nothing near them moves
APART = 0.3  # distances between the eyes that an anchor is away from every landmark that moves
LEAST_WEIGHT = 0.25


def choose(shape: Shape, shift: Shift) -> tuple[list[int], list[int]]:
    """Choose handles by how far they move within their part of the face, and anchors among what is to stay.

    Args:
        shape: (68, 2) in distances between the eyes.
        shift: (68, 2), how far each landmark is to move.

    Returns:
        The numbers of landmarks that move, those of a part together and the farthest first; and of anchors.
    """
    far = np.hypot(*shift.T)
    rank = far * [PREFERENCE if k in KEY else 1 for k in range(68)]
    handles: list[int] = []
    moved = [part for part in PARTS if far[list(PARTS[part])].max() >= LEAST]
    for part in moved:
        numbers = np.array(PARTS[part])
        most = ALONE if len(moved) == 1 else MOST[part]
        least = max(LEAST, RELATIVE * far[numbers].max())
        chosen: list[int] = []
        for k in numbers[np.argsort(-rank[numbers], kind="stable")].tolist():
            if len(chosen) == most:
                break
            if far[k] >= least and not any(_alike(shape, shift, k, other) for other in handles + chosen):
                chosen.append(k)
        handles += chosen
    moving = shape[far >= LEAST]
    still = [k for k in ANCHORS if far[k] < LEAST]
    return handles, [k for k in still if np.hypot(*(shape[k] - moving).T).min(initial=np.inf) > APART]


def _alike(shape: Shape, shift: Shift, a: int, b: int) -> bool:
    """Tell whether two landmarks lie close together and go much the same way."""
    apart = np.hypot(*(shape[a] - shape[b]))
    differ = np.hypot(*(shift[a] - shift[b])) / np.hypot(*shift[b])
    return any(apart < near and differ < little for near, little in ALIKE)


def to_drags(numbers: list[int], shift: Shift, weights: NDArray[np.float64]) -> list[Drag]:
    """Return the drags of some landmarks.

    Args:
        numbers: of the landmarks.
        shift: (68, 2) in distances between the eyes.
        weights: (68,) of each landmark as a handle.
    """
    return [
        Drag(handle=name_of(k), target=_percent(shift[k]), relative=True, weight=round(float(weights[k]), 3))
        for k in numbers
    ]


def name_of(number: int) -> str:
    """Return the name of a single landmark, or its number where it has none."""
    return next((name for name, group in NAMES.items() if group == (number,)), str(number))


def texture_weights(picture: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how well each place can be told from its surroundings: (n,) from LEAST_WEIGHT to 1.

    It is the root of the lesser eigenvalue of the structure tensor (Shi and Tomasi 1994), relative to the median of the
    places: a cheek or a forehead has none, and of a jaw's line only the way across it.

    Args:
        picture: (size, size, 3) from 0 to 255.
        places: (n, 2), (x, y) in its pixels.
    """
    size = len(picture)
    grey = cv2.GaussianBlur(picture.mean(axis=2), (0, 0), max(0.8, size / 160))
    quality = cv2.cornerMinEigenVal(grey, blockSize=2 * round(size / 64) + 1)
    columns, rows = np.clip(np.round(places), 0, size - 1).astype(int).T
    found = np.sqrt(np.maximum(quality[rows, columns], 0)).astype(np.float64)
    weights: NDArray[np.float64] = np.clip(found / max(float(np.median(found)), 1e-9), LEAST_WEIGHT, 1.0)
    return weights


def _percent(way: NDArray[np.float64]) -> tuple[float, float]:
    x, y = (way * 100).round(2)
    return float(x), float(y)
