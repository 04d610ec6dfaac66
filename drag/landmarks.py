"""The 68 face landmarks by name, and handles and targets made from them.

Numbers are those of the 300-W markup, from 0. Left and right are the picture's. Face-relative lengths are
percent of the distance between the eye centres; their x axis runs along the eye line to the right, y down at
a right angle to it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drag.names import numbers
from weights.errors import InvalidInput

Landmarks = NDArray[np.float64]

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_DRAG = re.compile(
    rf"""(?: (?P<x>{NUMBER}),(?P<y>{NUMBER}) | (?P<name>[a-z][a-z-]*|\#?\d+) )
         : (?P<tx>{NUMBER})(?P<px>%?) , (?P<ty>{NUMBER})(?P<py>%?)""",
    re.VERBOSE,
)


def place(landmarks: Landmarks, name: str) -> NDArray[np.float64]:
    """Return where the landmark `name` is, (x, y) in the picture of `landmarks` (68, 2).

    Raises:
        InvalidInput: there is no landmark of that name; see `drag.names.numbers`.
    """
    return landmarks[numbers(name)].mean(axis=0)


def face_axes(landmarks: Landmarks) -> NDArray[np.float64]:
    """Return the face's axes (2, 2): rows are one distance between the eyes along the eye line, and down from it."""
    along = place(landmarks, "eye-right") - place(landmarks, "eye-left")
    return np.array([along, [-along[1], along[0]]])


@dataclass(frozen=True, kw_only=True)
class Drag:
    """A handle and its target as a user says them, before the face is known.

    Attributes:
        handle: (x, y) in pixels of the photo, or a landmark's name.
        target: (x, y) in pixels of the photo; from the handle, in percent of the distance between the eyes
            and along the face's axes, where `relative`.
        relative: how to read the target.
        weight: of the handle in the loss, above 0.
    """

    handle: tuple[float, float] | str
    target: tuple[float, float]
    relative: bool = False
    weight: float = 1.0

    def __str__(self) -> str:
        """The drag as `parse_drag` reads it; its weight is not in it."""
        handle = self.handle if isinstance(self.handle, str) else "{:.10g},{:.10g}".format(*self.handle)
        unit = "%" if self.relative else ""
        return "{}:{:.10g}{unit},{:.10g}{unit}".format(handle, *self.target, unit=unit)

    @property
    def anchor(self) -> bool:
        """Whether this holds a point in place: a relative drag by nothing."""
        return self.relative and self.target == (0.0, 0.0)

    def resolve(self, landmarks: Landmarks | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return handle and target in pixels of the photo.

        Args:
            landmarks: (68, 2) in pixels of the photo; None where there is no face.

        Raises:
            InvalidInput: the drag speaks of a face, and there is none; or of an unknown landmark.
        """
        if landmarks is None and (self.relative or isinstance(self.handle, str)):
            raise InvalidInput(
                "Landmark names and percentages need a face: give points in pixels instead, or --frame ffhq where the "
                "generator shows faces."
            )
        if isinstance(self.handle, str):
            assert landmarks is not None
            handle = place(landmarks, self.handle)
        else:
            handle = np.array(self.handle, np.float64)
        target = np.array(self.target, np.float64)
        if self.relative:
            assert landmarks is not None
            target = handle + target / 100 @ face_axes(landmarks)
        return handle, target


def parse_drag(text: str) -> Drag:
    """Read `X,Y:X,Y`, `NAME:X,Y` or `NAME:DX%,DY%`.

    Raises:
        InvalidInput: it is none of these.
    """
    match = _DRAG.fullmatch(text.strip())
    if match is None or match["px"] != match["py"]:
        raise InvalidInput(
            f"{text!r} is no drag: write HANDLE:TARGET as X,Y:X,Y in pixels of the photo, "
            "or as a landmark and percents of the distance between the eyes, like mouth-left:-8%,-6%."
        )
    handle: tuple[float, float] | str = match["name"] or (float(match["x"]), float(match["y"]))
    return Drag(handle=handle, target=(float(match["tx"]), float(match["ty"])), relative=bool(match["px"]))


def check_handles(drags: Sequence[Drag]) -> None:
    """Make sure that no handle is given twice.

    Raises:
        InvalidInput: one is.
    """
    places = [held(drag) for drag in drags]
    for i, drag in enumerate(drags):
        if places[i] in places[:i]:
            raise InvalidInput(f"{str(drag).partition(':')[0]} is dragged twice: give each handle one target.")


def held(drag: Drag) -> set[int | tuple[float, float]]:
    """Return what a drag takes hold of: landmarks by their numbers, as one has several names, or a point."""
    return set(numbers(drag.handle)) if isinstance(drag.handle, str) else {drag.handle}


def by_landmarks(drags: Sequence[Drag]) -> bool:
    """Tell whether drags move something, anchors aside, and all of it is landmarks, not other points."""
    moving = [drag for drag in drags if not drag.anchor]
    return bool(moving) and all(isinstance(drag.handle, str) for drag in moving)
