"""Faces: where they are in a photo, and their 68 landmarks."""

import hashlib
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from drag.landmarks import Landmarks
from pipeline.align import cut, ffhq_frame
from weights.errors import InvalidFile, NoFace
from weights.files import replacing
from weights.store import Store

Image = NDArray[np.uint8]
DetectorName = Literal["dlib", "face-alignment"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """A face in a photo.

    Attributes:
        landmarks: (68, 2) in pixels of the photo, (x, y), in the order of the 300-W markup.
        box: (x0, y0, x1, y1) in pixels of the photo.
        score: the detector's confidence, in the detector's own scale.
        detector: which detector found it.
    """

    landmarks: Landmarks
    box: tuple[float, float, float, float]
    score: float
    detector: DetectorName

    @property
    def area(self) -> float:
        """Of the box, in pixels of the photo."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)


class Detector(Protocol):
    """Finds faces."""

    name: DetectorName

    def detect(self, image: Image) -> list[Face]:
        """Return the faces in an sRGB picture (H, W, 3), in any order."""
        ...


def make_detector(name: DetectorName, *, store: Store, device: str = "cpu") -> Detector:
    """Return a detector, its weights fetched where needed, that looks at the same picture once."""
    return Remembering(FaceAlignmentDetector(store, device) if name == "face-alignment" else DlibDetector(store))


class Remembering:
    """A detector that knows again what it saw last: an edit looks at some pictures twice, and many edits at one."""

    KEPT = 8  # pictures

    def __init__(self, detector: Detector) -> None:
        self.name, self._detector = detector.name, detector
        self._seen: dict[tuple[bytes, tuple[int, ...]], list[Face]] = {}

    def detect(self, image: Image) -> list[Face]:
        """See `Detector`."""
        key = hashlib.blake2b(np.ascontiguousarray(image).data).digest(), image.shape
        found = self._seen.pop(key, None)
        self._seen[key] = self._detector.detect(image) if found is None else found
        if len(self._seen) > self.KEPT:
            del self._seen[next(iter(self._seen))]
        return [replace(face, landmarks=face.landmarks.copy()) for face in self._seen[key]]


def find_faces(image: Image, detector: Detector) -> list[Face]:
    """Return the faces of an sRGB picture (H, W, 3) from left to right."""
    return sorted(detector.detect(image), key=lambda face: face.box[0] + face.box[2])


def choose_face(faces: Sequence[Face], number: int | None = None, *, where: str = "the photo") -> Face:
    """Return face `number`, counted from 1 at the left; the largest where none is asked for.

    Raises:
        NoFace: there is none, or not that many; `where` is what the message calls the photo.
    """
    if not faces:
        raise NoFace(f"No face was found in {where}: use one in which a face is larger, or turned to the camera.")
    if number is None:
        return max(faces, key=lambda face: face.area)
    if not 1 <= number <= len(faces):
        there = "there is one face" if len(faces) == 1 else f"there are {len(faces)} faces"
        raise NoFace(f"--face {number} was asked for, and {there}: `photodrag landmarks` shows them.")
    return faces[number - 1]


class DlibDetector:
    """dlib's HOG detector and its 68-point predictor (Kazemi and Sullivan 2014), which DragGAN measured with.

    Every find is looked at again in a crop of its own, upright and at the size that the predictor knows best:
    that finds faces of any size, sharpens the landmarks of small and tilted ones, and drops what only looked
    like a face at first.
    """

    name: DetectorName = "dlib"

    SEARCH = (1000, 2400)  # px of the photo's longer side: first look, then with more detail
    UPRIGHT = 320  # px of a face's own crop
    SURE, LIKELY = 1.0, 0.3  # scores of the HOG detector; what it takes for faces by mistake stays below 0.2
    TURNS = (45, -45, 90, -90, 135, -135, 180)  # degrees, tried where nothing stands upright

    def __init__(self, store: Store) -> None:
        """Load both; the predictor comes through `store`.

        Raises:
            InvalidFile: the predictor's file is damaged.
        """
        import dlib

        self._dlib = dlib
        self._hog = dlib.get_frontal_face_detector()
        path = store.get("dlib-landmarks")
        try:
            self._predictor = dlib.shape_predictor(str(path))
        except RuntimeError as error:
            raise InvalidFile(
                f"{path} is damaged: remove it with `photodrag weights remove dlib-landmarks`, and it is fetched anew."
            ) from error

    def detect(self, image: Image) -> list[Face]:
        """See `Detector`."""
        for side in self.SEARCH:
            faces = self._search(image, side)
            if faces:
                return faces
        for turn in self.TURNS:
            faces = self._search(image, self.SEARCH[0], turn)  # more detail, seven times, takes a minute
            if faces:
                return faces
        return []

    def _search(self, image: Image, side: int, turn: float = 0.0) -> list[Face]:
        """Look for faces that a turn by `turn` degrees brings upright.

        It is done in a copy whose longer side has at most `side` pixels before it is turned, enlarged twofold.
        """
        small, ratio = _shrunk(image, side)
        copy, back = _turned(small, turn)
        faces: list[Face] = []
        for box, score in self._boxes(copy, upsample=1):
            landmarks = self._landmarks(copy, box) @ back[:, :2].T + back[:, 2]
            face = self._look_again(image, (landmarks + 0.5) / ratio - 0.5, score)
            if face and not any(_overlap(face, other) > 0.4 for other in faces):
                faces.append(face)
        return faces

    def _look_again(self, image: Image, rough: Landmarks, score: float) -> Face | None:
        """Find a face again in its own crop; None where it then is no face."""
        frame = ffhq_frame(rough, self.UPRIGHT)
        if frame.scale * self.UPRIGHT < 8:
            return None
        crop = np.clip(cut(image, frame) + 0.5, 0, 255).astype(np.uint8)
        middle = self.UPRIGHT / 2
        for box, again in self._boxes(crop, upsample=0):
            near = abs(box.center().x - middle) + abs(box.center().y - middle) < middle / 2
            if near and again >= self.LIKELY:
                landmarks = frame.to_photo(self._landmarks(crop, box))
                return Face(landmarks=landmarks, box=_around(landmarks), score=max(score, again), detector=self.name)
        if score < self.SURE:
            return None
        return Face(landmarks=rough, box=_around(rough), score=score, detector=self.name)

    def _boxes(self, image: Image, *, upsample: int) -> Iterator[tuple[Any, float]]:
        boxes, scores, _ = self._hog.run(image, upsample, 0.0)
        return zip(boxes, scores, strict=True)

    def _landmarks(self, image: Image, box: Any) -> Landmarks:
        """Predict landmarks (68, 2) in a box: the mean over five boxes, which halves their jitter."""
        shift = max(1, round(0.02 * box.width()))
        shapes = []
        for dx, dy in ((0, 0), (shift, 0), (-shift, 0), (0, shift), (0, -shift)):
            moved = self._dlib.rectangle(box.left() + dx, box.top() + dy, box.right() + dx, box.bottom() + dy)
            shapes.append([(p.x, p.y) for p in self._predictor(image, moved).parts()])
        return np.mean(np.array(shapes, np.float64), axis=0)


class FaceAlignmentDetector:
    """The networks of the package face-alignment (Bulat and Tzimiropoulos 2017): S3FD and 2D-FAN.

    The package would download them itself and check nothing: here they come through the store.
    """

    name: DetectorName = "face-alignment"

    LONGEST = 1280  # px; the detector's memory grows with the picture

    def __init__(self, store: Store, device: str) -> None:
        """Load both networks."""
        import face_alignment
        import torch

        detector, network = store.get("fan-detector"), store.get("fan-landmarks")
        _offer_to_torch_hub(network, Path(torch.hub.get_dir()) / "checkpoints")
        self._networks = face_alignment.FaceAlignment(
            face_alignment.LandmarksType.TWO_D,
            device=device,
            face_detector="sfd",
            face_detector_kwargs={"path_to_detector": str(detector)},
            compile=False,  # which would load compiled code out of a cache
        )

    def detect(self, image: Image) -> list[Face]:
        """See `Detector`."""
        small, ratio = _shrunk(image, self.LONGEST)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package warns where there is no face
            shapes, _, boxes = self._networks.get_landmarks_from_image(small, return_bboxes=True)
        faces = []
        for shape, box in zip(shapes or (), boxes if shapes else (), strict=True):
            landmarks = (np.asarray(shape, np.float64) + 0.5) / ratio - 0.5
            faces.append(Face(landmarks=landmarks, box=_around(landmarks), score=float(box[4]), detector=self.name))
        return faces


def _offer_to_torch_hub(path: Path, folder: Path) -> None:
    """Put a verified file where torch's hub looks before it downloads."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / path.name) as temporary:
        try:
            temporary.hardlink_to(path)
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(path, temporary)


def _shrunk(image: Image, side: int) -> tuple[Image, NDArray[np.float64]]:
    """Return a copy whose longer side has at most `side` pixels, and how many of its pixels make one, in x and y."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small, np.uint8), np.array(size) / (width, height)


def _turned(image: Image, turn: float) -> tuple[Image, NDArray[np.float64]]:
    """Return a picture turned by `turn` degrees, and the matrix (2, 3) that brings its (x, y, 1) back."""
    if turn == 0:
        return image, np.eye(2, 3)
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn, 1.0)
    side = int(np.hypot(width, height)) + 1
    matrix[:, 2] += [(side - width) / 2, (side - height) / 2]
    turned = cv2.warpAffine(image, matrix, (side, side))
    return np.asarray(turned, np.uint8), np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def _around(landmarks: Landmarks) -> tuple[float, float, float, float]:
    """Return the landmarks' bounding box."""
    x0, y0 = landmarks.min(axis=0)
    x1, y1 = landmarks.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def _overlap(a: Face, b: Face) -> float:
    """Return the intersection of two boxes over the smaller one's area."""
    x0, y0 = max(a.box[0], b.box[0]), max(a.box[1], b.box[1])
    x1, y1 = min(a.box[2], b.box[2]), min(a.box[3], b.box[3])
    return max(0.0, x1 - x0) * max(0.0, y1 - y0) / max(1e-9, min(a.area, b.area))
