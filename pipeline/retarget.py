"""Retargeting: from another face's expression, presets and points to the drags of a photo's landmarks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drag.handles import LEAST, choose, texture_weights, to_drags
from drag.landmarks import Drag, Landmarks, by_landmarks, check_handles, face_axes, held
from drag.limits import clamp
from drag.points_file import PointsFile
from drag.presets import Preset
from drag.settings import DragSettings, Part, Region, drag_defaults
from drag.shape import PARTS, Shape, ShapeModel, Shift, shape_model, to_shape
from pipeline.edit import EditResult
from pipeline.faces import Detector, choose_face
from pipeline.photo import Photo
from pipeline.plan import Mask, parts_of
from pipeline.plan import Plan as Plan
from pipeline.subject import Aligned
from weights.errors import InvalidInput

MARGIN = 2.0  # percent of the crop that targets keep from its border


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What a face is to do; its parts add up.

    Attributes:
        like: (68, 2), landmarks of a face whose expression is taken, in any picture's pixels; or a photo of it,
            of which `seen` makes them.
        parts: what of it is taken; `all` is everything, pose with it. Nothing for all but the pose and the nose, which
            is the person's.
        strength: of that expression: 0 for none of it, 1 for all, more for an exaggeration.
        presets: each with its strength.
        points: handles that are dragged as well, or in place of what else was to become of them.
        drags: likewise, and in place of those points.
        mask: what may change, in place of what else is said of that.
    """

    like: Landmarks | Photo | None = None
    parts: tuple[Part, ...] = ()
    strength: float = 1.0
    presets: tuple[tuple[Preset, float], ...] = ()
    points: PointsFile | None = None
    drags: tuple[Drag, ...] = ()
    mask: Mask | None = None

    def __post_init__(self) -> None:
        """Make sure of what is taken of another face's expression.

        Raises:
            InvalidInput: its strength is not from 0 to 1.5; or a part or a strength is said of none.
        """
        if not 0 <= self.strength <= 1.5:
            raise InvalidInput(f"A strength of {self.strength:g} cannot be: choose one from 0 to 1.5.")
        if self.like is None and (self.parts or self.strength != 1):
            raise InvalidInput(
                "A region and a strength say what is taken of another face's expression: give its photo (--like), too."
            )

    @property
    def settings(self) -> DragSettings:
        """The defaults that its drag has."""
        retargeting = self.points is not None or self.like is not None or bool(self.presets)
        return drag_defaults(landmarks=retargeting or by_landmarks(self.drags))

    def seen(self, detector: Callable[[], Detector]) -> "Request":
        """Return the request with the landmarks of the photo whose expression is taken, where there is one.

        Args:
            detector: gives one; called where there is a photo.

        Raises:
            NoFace: there is none in that photo.
        """
        if not isinstance(self.like, Photo):
            return self
        return replace(self, like=landmarks_of(self.like, detector()))


def plan(aligned: Aligned, request: Request, *, model: ShapeModel | None = None) -> Plan:
    """Find the drags that make a face do what is asked.

    Args:
        aligned: the photo.
        request: what is asked.
        model: of shapes; None for the project's own.

    Raises:
        InvalidInput: nothing is asked that would move anything, or there is no face.
        TypeError: the request has a photo that was not `seen`.
    """
    given, regions, whole = _given(request)
    drags, notes = list(given), list[str]()
    also = request.points.also if request.points else ()
    if request.like is not None or request.presets:
        moved, beside, more, open_, notes = _expressed(aligned, request, model or shape_model())
        own = [*given, *also]
        also = (*also, *_beside(own, beside))
        drags = [drag for drag in given if not drag.anchor]
        drags += _beside(own, moved)
        drags += [drag for drag in given if drag.anchor]
        regions, whole = regions | more, whole or open_
        if all(drag.anchor for drag in drags):
            raise InvalidInput(
                "Nothing would move: the faces are alike there, or the strength is too small; "
                "choose another photo, preset, region or strength."
            )
    return Plan(
        drags=tuple(drags),
        regions=() if whole else tuple(sorted(regions)),
        notes=tuple(notes),
        settings=request.settings,
        also=also,
    ).masked(request.mask)


def _given(request: Request) -> tuple[list[Drag], set[Region], bool]:
    """Return the drags that are given one by one, the regions said to change with them, and whether all may."""
    check_handles(request.drags)
    drags, regions = list(request.drags), set(parts_of(request.drags))
    whole = not regions and any(not drag.anchor for drag in drags)
    if request.points:
        check_handles(request.points.drags)
        drags = _beside(drags, request.points.drags) + drags
        regions |= set(request.points.regions)
        whole |= not request.points.regions
    return drags, regions, whole


def _beside(first: Sequence[Drag], others: Sequence[Drag]) -> list[Drag]:
    """Return those other drags that take hold of nothing which the first ones do."""
    taken = set[int | tuple[float, float]]().union(*map(held, first))
    return [drag for drag in others if taken.isdisjoint(held(drag))]


def _expressed(
    aligned: Aligned, request: Request, model: ShapeModel
) -> tuple[list[Drag], list[Drag], set[Region], bool, list[str]]:
    """Return the drags of another's expression and of presets, and what of them is asked for beside.

    Also the regions, whether all may change, and notes.
    """
    if aligned.face is None:
        raise InvalidInput("Retargeting needs a face, which this generator's pictures have not: drag points instead.")
    landmarks = aligned.face.landmarks
    shape = to_shape(landmarks)
    # 1. How far each landmark is to go, and within which regions.
    shift, regions, whole = np.zeros((68, 2)), set[Region](), False
    if request.like is not None:
        if isinstance(request.like, Photo):
            raise TypeError("The landmarks of the photo are not known: call Request.seen first.")
        parts, pose = wanted(request.parts)
        shift += request.strength * transfer(shape, to_shape(request.like), model, parts=parts, pose=pose)
        regions |= set(parts)
        whole |= pose
    for preset, strength in request.presets:
        shift += preset.shift(shape, model, strength)
        regions |= set(preset.regions)
        whole |= not preset.regions
    # 2. What a face can do, and what the crop can show.
    shift, notes = clamp(shape, shift, model)
    shift, cut = _inside(aligned, shift)
    # 3. Handles, anchors and their weights.
    handles, anchors = choose(shape, shift)
    weights = texture_weights(aligned.crop, aligned.alignment.to_crop(landmarks))
    shown = _shown(aligned)
    anchors = [k for k in anchors if shown[k]] if handles else []
    drags = to_drags([k for k in handles if shown[k]], shift, weights)
    drags += to_drags(anchors, np.zeros((68, 2)), weights)
    beside = [int(k) for k in np.flatnonzero(np.hypot(*shift.T) >= LEAST) if shown[k] and k not in handles]
    return drags, to_drags(beside, shift, np.ones(68)), regions, whole, notes + cut


def landmarks_of(photo: Photo, detector: Detector) -> Landmarks:
    """Return the landmarks (68, 2) of the largest face of a photo whose expression is taken, in its pixels.

    Raises:
        NoFace: there is none.
    """
    found = detector.detect(photo.to_srgb(photo.pixels))
    return choose_face(found, where="the photo whose expression is to be taken (--like)").landmarks


def overall(result: EditResult) -> float | None:
    """Return the share of all their way that the landmarks made, detected again on the result.

    It is the projection of where they went on where they were to go, over all landmarks at once, so that a
    short way counts for little; None where no landmark was dragged, or no face is found again.
    """
    known = [i for i, at in enumerate(result.reached) if at == at]
    if not known:
        return None
    weight = result.points.distances[known] ** 2
    return float(result.reached[known] @ weight / weight.sum())


def wanted(parts: Sequence[Part]) -> tuple[tuple[Region, ...], bool]:
    """Return the parts of the face that are asked for, and whether its pose is.

    Of nothing, all but the pose and the nose: a nose hardly moves, and what does not is the person's.
    """
    if "all" in parts:
        return tuple(PARTS), True
    if not parts:
        return tuple(part for part in PARTS if part != "nose"), False
    return tuple(part for part in PARTS if part in parts), "pose" in parts


def transfer(source: Shape, other: Shape, model: ShapeModel, *, parts: Sequence[Region], pose: bool = False) -> Shift:
    """Return the shift (68, 2) that gives a face another one's expression, and its pose where that is asked for.

    Args:
        source: (68, 2) of the face that moves, in its own frame.
        other: (68, 2) of the face whose expression is taken.
        model: tells expression from person.
        parts: of the face, whose expression is taken.
        pose: take that as well.
    """
    expressed = model.transferred(source, other)
    shift = np.zeros((68, 2))
    for part in parts:
        own = list(PARTS[part])
        shift[own] = expressed[own]
    if pose:
        shift += model.turned(model.pose(other)) - model.turned(model.pose(source))
    return shift


def _shown(aligned: Aligned) -> NDArray[np.bool_]:
    """Return which landmarks (68,) lie within the crop."""
    assert aligned.face is not None
    at = aligned.alignment.to_crop(aligned.face.landmarks)
    margin = MARGIN / 100 * aligned.alignment.size
    inside: NDArray[np.bool_] = np.all((at >= margin) & (at <= aligned.alignment.size - 1 - margin), axis=1)
    return inside


def _inside(aligned: Aligned, shift: Shift) -> tuple[Shift, list[str]]:
    """Cut ways short that lead out of the crop."""
    assert aligned.face is not None
    landmarks, frame = aligned.face.landmarks, aligned.alignment
    here = frame.to_crop(landmarks)
    there = frame.to_crop(landmarks + shift @ face_axes(landmarks))
    margin = MARGIN / 100 * frame.size
    low, high = np.minimum(here, margin), np.maximum(here, frame.size - 1 - margin)
    way = there - here
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(way > 0, (high - here) / way, (low - here) / way)
    share = np.clip(np.nan_to_num(room, nan=1.0, posinf=1.0, neginf=1.0), 0, 1).min(axis=1)
    if (share > 1 - 1e-9).all():
        return shift, []
    return shift * share[:, None], ["A target lay outside the crop around the face: its way was cut short."]
