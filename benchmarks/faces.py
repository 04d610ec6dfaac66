"""What benchmarks share: landmarks and identity of small pictures by dlib, and the folder of test faces."""

from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from drag.landmarks import Landmarks
from pipeline.faces import DlibDetector
from weights.store import Store

SCALE = 512  # px; pictures are enlarged to it before dlib looks, and lengths are reported at it


class Observer:
    """dlib's look at pictures."""

    def __init__(self, store: Store | None = None) -> None:
        """Load the detector; the identity network when first needed."""
        self.store = store or Store()
        self.detector = DlibDetector(self.store)

    @cached_property
    def _identity(self):
        import dlib

        return dlib.face_recognition_model_v1(str(self.store.get("dlib-identity")))

    def landmarks(self, picture: NDArray[np.float32]) -> Landmarks | None:
        """Return landmarks (68, 2) in pixels at 512 px of a picture (H, W, 3) from 0 to 255; None without a face."""
        faces = self.detector.detect(enlarge(picture))
        return max(faces, key=lambda face: face.area).landmarks if faces else None

    def identity(self, picture: NDArray[np.float32], landmarks: Landmarks) -> NDArray[np.float64]:
        """Return dlib's 128 numbers of the face whose landmarks are given in pixels at 512 px."""
        import dlib

        x0, y0 = landmarks.min(axis=0).astype(int)
        x1, y1 = landmarks.max(axis=0).astype(int)
        shape = dlib.full_object_detection(
            dlib.rectangle(int(x0), int(y0), int(x1), int(y1)), [dlib.point(*map(int, p.round())) for p in landmarks]
        )
        return np.array(self._identity.compute_face_descriptor(enlarge(picture), shape))


def enlarge(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) from 0 to 255 at 512 px."""
    large = cv2.resize(picture.astype(np.float32), (SCALE, SCALE), interpolation=cv2.INTER_CUBIC)
    return np.clip(large + 0.5, 0, 255).astype(np.uint8)


def read_faces(folder: Path, size: int, *, every: int = 1) -> tuple[list[str], NDArray[np.float32]]:
    """Read a folder of aligned faces: names, and pictures (n, size, size, 3) from 0 to 255."""
    paths = sorted(folder.glob("*.jpg"))[::every]
    pictures = [cv2.imread(str(path))[..., ::-1] for path in paths]
    small = [cv2.resize(p, (size, size), interpolation=cv2.INTER_AREA) for p in pictures]
    return [path.stem for path in paths], np.stack(small).astype(np.float32)
