"""The drag against landmarks that are detected again: the tracker only believes."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from drag.editor import DragResult
from drag.landmarks import Drag, Landmarks, place
from drag.points import Points, unit
from pipeline.faces import Detector, Face
from pipeline.photo import Photo
from pipeline.subject import Aligned, Subject
from pipeline.tensors import Crop

CLOSE = 2.0  # units u; landmarks jitter by about one
LOOK = 512  # px to which a crop is enlarged for the detector


def correct(
    subject: Subject,
    dragged: DragResult,
    points: Points,
    drags: Sequence[Drag],
    *,
    detector: Detector,
    go_on: Callable[[torch.Tensor, Points], DragResult],
    rounds: int,
    close: float = CLOSE,
) -> DragResult:
    """Go on with a drag of landmarks that fell short of what the tracker believed.

    Landmarks are detected on the pictures before and after; each handle is put where its landmark really
    went, and dragged from there. It ends when every landmark arrived, or together they came no nearer.

    Args:
        subject: what is dragged.
        dragged: the drag so far.
        points: its handles and targets in pixels of the crop.
        drags: what the user asked for, one a point; those of no landmark are left to the tracker.
        detector: of the landmarks.
        go_on: drags from a code with new handles.
        rounds: at most so many.
        close: a landmark this near to its target has arrived, in units u.
    """
    size = subject.alignment.size
    named = [(i, d.handle) for i, d in enumerate(drags) if isinstance(d.handle, str)]
    before = crop_landmarks(subject.render(subject.w), detector) if named and rounds else None
    if before is None:
        return dragged
    held = np.array([drags[i].anchor for i, _ in named])
    best, best_left = dragged, np.inf
    for turn in range(rounds + 1):
        now = crop_landmarks(subject.render(dragged.w), detector)
        if now is None:
            break
        at = dragged.path[-1].copy()
        for i, name in named:
            at[i] = points.handles[i] + place(now, name) - place(before, name)
        left = np.hypot(*(points.targets - at).T)[[i for i, _ in named]]
        left[held] = np.maximum(left[held] - CLOSE * unit(size), 0)  # an anchor's jitter is nothing to mend
        if left.sum() >= best_left:
            break
        best, best_left = dragged, float(left.sum())
        if turn == rounds or dragged.reason == "stopped" or (left <= close * unit(size)).all():
            break
        again = Points(np.clip(at, 0, size - 1), points.targets, points.weights)
        dragged = dragged.then(go_on(dragged.w, again))
    return best


def reached(aligned: Aligned, edited: Photo, drags: Sequence[Drag], *, detector: Detector) -> NDArray[np.float64]:
    """Return the share of its way that each dragged landmark made, detected again on the edited photo or crop.

    1 is all of it, 0 none, less than 0 the wrong direction; NaN for handles that are no landmarks, for anchors,
    and where no face is found again.
    """
    shares = np.full(len(drags), np.nan)
    face = aligned.face
    if face is None or not any(isinstance(d.handle, str) for d in drags):
        return shares
    after = _landmarks_again(aligned, edited, face, detector)
    if after is None:
        return shares
    for i, d in enumerate(drags):
        if isinstance(d.handle, str):
            handle, target = d.resolve(face.landmarks)
            way = target - handle
            if not way.any():  # an anchor
                continue
            shares[i] = (place(after, d.handle) - handle) @ way / (way @ way)
    return shares


def _landmarks_again(aligned: Aligned, edited: Photo, face: Face, detector: Detector) -> Landmarks | None:
    """Detect the face again, and return its landmarks in pixels of the photo before."""
    frame, photo = aligned.alignment, aligned.photo
    if (edited.height, edited.width) != (photo.height, photo.width):  # the crop alone
        seen = crop_landmarks(edited.pixels.astype(np.float32), detector)
        return None if seen is None else frame.to_photo(seen)
    # The crop and half as much again around it is where the face still is.
    rows, columns = frame.region(photo.width, photo.height, margin=frame.scale * frame.size / 2)
    offset = np.array([columns.start, rows.start])
    faces = detector.detect(edited.to_srgb(np.ascontiguousarray(edited.pixels[rows, columns])))
    if not faces:
        return None
    middle = face.landmarks.mean(axis=0)
    return min(
        (f.landmarks + offset for f in faces), key=lambda points: float(np.hypot(*(points.mean(axis=0) - middle)))
    )


def crop_landmarks(crop: Crop, detector: Detector) -> Landmarks | None:
    """Return the landmarks (68, 2) of a crop, in its pixels; None where no face is seen in it."""
    large = cv2.resize(np.clip(crop + 0.5, 0, 255).astype(np.uint8), (LOOK, LOOK), interpolation=cv2.INTER_CUBIC)
    faces = detector.detect(np.asarray(large, np.uint8))
    if not faces:
        return None
    return (max(faces, key=lambda face: face.area).landmarks + 0.5) * (len(crop) / LOOK) - 0.5
