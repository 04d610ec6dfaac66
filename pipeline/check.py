"""The drag against landmarks that are detected again: the tracker only believes."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from drag.editor import DragResult
from drag.landmarks import Drag, Landmarks, place
from drag.points import Points, unit
from pipeline.faces import Detector
from pipeline.photo import Pixels
from pipeline.subject import Aligned, Subject
from pipeline.tensors import Crop

CLOSE = 2.0  # units u; landmarks jitter by about one
OVERSHOOT = 1.0  # of its way, that a handle is sent past its target at most
HELD = 0.25  # what an anchor's miss counts for beside a handle's
PATIENCE = 2  # rounds that come no nearer before it is given up
FARTHEST = 0.1  # of the crop's size; the median landmark goes no farther in any drag
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
    went, and dragged from there. The tracker believes in the end of a way sooner than the landmark makes it, so
    that a handle's next target lies beyond the true one by all that was missing so far. It ends when every
    landmark arrived, or several rounds came no nearer. The nearest round is the result.

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
    before = crop_landmarks(subject.reconstruction, detector) if named and rounds else None
    if before is None:
        return dragged
    held = np.array([drags[i].anchor for i, _ in named])
    rows = np.array([i for i, _ in named])
    near = close * unit(size)
    beyond = np.zeros_like(points.targets)  # how far past its target each handle is sent
    most = np.maximum(OVERSHOOT * points.distances, near)[rows, None]
    best, best_left, worse = dragged, np.inf, 0
    for turn in range(rounds + 1):
        now = crop_landmarks(subject.render(dragged.w), detector)
        if now is None:
            break
        at = dragged.path[-1].copy()
        for i, name in named:
            at[i] = points.handles[i] + place(now, name) - place(before, name)
        lack = (points.targets - at)[rows]
        left = np.hypot(*lack.T)
        left[held] = np.maximum(left[held] - CLOSE * unit(size), 0)  # an anchor's jitter is nothing to mend
        score = float(left[~held].sum() + HELD * left[held].sum())
        if score < best_left:
            best, best_left, worse = dragged, score, 0
        else:
            worse += 1
        if worse > PATIENCE or turn == rounds or dragged.reason == "stopped" or (left <= near).all():
            break
        lack[held] *= (left[held] > 0)[:, None]
        sent = beyond[rows] + lack
        beyond[rows] = sent * np.minimum(1, most / np.maximum(np.hypot(*sent.T), 1e-9)[:, None])
        at[rows[held & (left == 0)]] = points.targets[rows[held & (left == 0)]]
        again = Points(np.clip(at, 0, size - 1), np.clip(points.targets + beyond, 0, size - 1), points.weights)
        dragged = dragged.then(go_on(dragged.w, again))
    return replace(best, targets=points.targets)


def around(aligned: Aligned) -> tuple[slice, slice]:
    """Return rows and columns of the photo in which an edited face is looked for: the crop and half as much again."""
    frame, photo = aligned.alignment, aligned.photo
    return frame.region(photo.width, photo.height, margin=frame.scale * frame.size / 2)


def look(aligned: Aligned, pixels: Pixels, *, detector: Detector) -> Landmarks | None:
    """Return the landmarks (68, 2) of the face in pixels of the crop; None where it is not found, or only elsewhere.

    Args:
        aligned: the photo.
        pixels: (h, w, 3) of the part of the photo that `around` tells, as it is or edited.
        detector: of the landmarks.
    """
    if aligned.face is None:
        return None
    rows, columns = around(aligned)
    frame = aligned.alignment.moved(-columns.start, -rows.start)
    here = aligned.alignment.to_crop(aligned.face.landmarks)
    faces = detector.detect(aligned.photo.to_srgb(np.ascontiguousarray(pixels)))
    found = [frame.to_crop(face.landmarks) for face in faces]
    off = [float(np.median(np.hypot(*(landmarks - here).T))) for landmarks in found]
    return found[int(np.argmin(off))] if found and min(off) < FARTHEST * frame.size else None


def reached(aligned: Aligned, seen: tuple[Landmarks, Landmarks] | None, drags: Sequence[Drag]) -> NDArray[np.float64]:
    """Return the share of its way that each dragged landmark made.

    1 is all of it, 0 none, less than 0 the wrong direction; NaN for handles that are no landmarks, for anchors,
    and where no face is found again.

    Args:
        aligned: the photo before.
        seen: landmarks before and after, (68, 2) in pixels of the crop; None where none are.
        drags: what the user asked for.
    """
    shares = np.full(len(drags), np.nan)
    if seen is None:
        return shares
    before, after = seen
    for i, d in enumerate(drags):
        if isinstance(d.handle, str) and (way := aligned.way(d)).any():  # those that do not go are anchors
            shares[i] = (place(after, d.handle) - place(before, d.handle)) @ way / (way @ way)
    return shares


def crop_landmarks(crop: Crop, detector: Detector) -> Landmarks | None:
    """Return the landmarks (68, 2) of a crop, in its pixels; None where no face is seen in it."""
    large = cv2.resize(np.clip(crop + 0.5, 0, 255).astype(np.uint8), (LOOK, LOOK), interpolation=cv2.INTER_CUBIC)
    faces = detector.detect(np.asarray(large, np.uint8))
    if not faces:
        return None
    return (max(faces, key=lambda face: face.area).landmarks + 0.5) * (len(crop) / LOOK) - 0.5


def both_landmarks(before: Crop, after: Crop, detector: Detector) -> tuple[Landmarks, Landmarks] | None:
    """Return the landmarks of a crop before and after a drag; None where a face is not found in both, or elsewhere."""
    first, second = (crop_landmarks(crop, detector) for crop in (before, after))
    if first is None or second is None:
        return None
    return (first, second) if np.median(np.hypot(*(second - first).T)) < FARTHEST * len(before) else None
