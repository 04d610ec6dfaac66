"""Regions of the face as masks of what may move."""

import cv2
import numpy as np
from numpy.typing import NDArray

from drag.landmarks import Landmarks, face_axes, place
from drag.settings import Region

# Each region's landmarks, in groups that are outlined apart, and how far it reaches beyond their outline, in
# percent of the distance between the eyes.
_REGIONS: dict[Region, tuple[tuple[range, ...], float]] = {
    "face": ((range(27),), 20),
    "mouth": ((range(48, 68),), 30),
    "eyes": ((range(36, 42), range(42, 48)), 16),
    "brows": ((range(17, 22), range(22, 27)), 18),
    "nose": ((range(27, 36),), 24),  # its wings lie beyond its landmarks
    "jaw": ((range(3, 14),), 22),
}
SOFTNESS = 6.0  # width of the edge, in percent of the distance between the eyes


def region_mask(
    landmarks: Landmarks, region: Region, size: int, *, moved: Landmarks | None = None
) -> NDArray[np.float32]:
    """Return the mask of a region: (size, size) float32, 1 where the picture may move, with a soft edge.

    Args:
        landmarks: (68, 2) in pixels of the crop.
        region: which part of the face.
        size: height and width of the crop.
        moved: (68, 2), where the landmarks are to go; the mask holds both places and all between.
    """
    groups, reach = _REGIONS[region]
    along = face_axes(landmarks)[0]
    percent = float(np.hypot(*along)) / 100
    scale = max(1, -(-512 // size))  # outlines are drawn on a finer grid than a small crop's
    canvas = np.zeros((size * scale, size * scale), np.uint8)
    for group in groups:
        points = landmarks[list(group)]
        if region == "face":  # the outline knows no forehead: mirror the brows' height above the eyes
            eyes = (place(landmarks, "eye-left") + place(landmarks, "eye-right")) / 2
            points = np.concatenate([points, points[17:27] + (points[17:27].mean(axis=0) - eyes)])
        if moved is not None:
            points = np.concatenate([points, moved[list(group)]])
        hull = cv2.convexHull(((points + 0.5) * scale - 0.5).round().astype(np.int32))
        cv2.fillConvexPoly(canvas, hull, 1)
    # Distances grow outward from the outline; the edge falls from 1 to 0 around `reach`.
    distance = cv2.distanceTransform(1 - canvas, cv2.DIST_L2, 5) / (percent * scale)
    soft = np.clip(0.5 + (reach - distance) / SOFTNESS, 0, 1).astype(np.float32)
    return np.asarray(cv2.resize(soft, (size, size), interpolation=cv2.INTER_AREA), np.float32)
