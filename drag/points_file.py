"""Handles and targets in a JSON file, so that an edit can be made again on other photos.

    {
      "photodrag": "points", "version": 1, "regions": ["mouth"],
      "points": [
        {"handle": "mouth-left", "move": [-8, -6]},
        {"handle": "eye-left-inner", "move": [0, 0], "weight": 0.5},
        {"handle": [812, 644], "to": [800, 630]}
      ]
    }

A handle is a landmark's name or number, or [x, y] in pixels of the photo. It goes `to` [x, y], likewise, or it
makes a `move` in percent of the distance between the eyes, along the eye line and down from it; a move of [0, 0]
holds it. `regions` are what may change: without them, the whole picture. A list `also`, like that of the points,
has landmarks that are not dragged, and are brought to where they belong afterwards.
"""

import json
import reprlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from drag.landmarks import Drag
from drag.names import numbers
from drag.settings import Region
from weights.errors import InvalidFile, InvalidInput
from weights.files import replacing

KIND, VERSION = "points", 1
LARGEST = sys.float_info.max  # JSON knows larger whole numbers


@dataclass(frozen=True, kw_only=True)
class PointsFile:
    """What such a file holds.

    Attributes:
        drags: handles and targets, anchors among them.
        regions: what of the face may change; none for the whole picture.
        also: landmarks that are not dragged, and where they are to be afterwards.
    """

    drags: tuple[Drag, ...]
    regions: tuple[Region, ...] = ()
    also: tuple[Drag, ...] = ()

    def write(self, path: Path) -> None:
        """Write the file; it is there whole or not at all."""
        head = {"photodrag": KIND, "version": VERSION, "regions": list(self.regions)}
        parts = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        for name, drags in (("points", self.drags), ("also", self.also)):
            if drags or name == "points":
                lines = ",\n".join("    " + json.dumps(_point(drag)) for drag in drags)
                parts.append(f'  "{name}": [\n{lines}\n  ]')
        with replacing(path) as temporary:
            temporary.write_text("{\n" + ",\n".join(parts) + "\n}\n", "utf-8")


def read_points(path: Path) -> PointsFile:
    """Read a file of points.

    Raises:
        InvalidInput: there is no such file.
        InvalidFile: it is something else, of another version, or holds what is no point.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidInput(f"There are no points to read at {path}: give the path of a JSON file.") from error
    except (ValueError, RecursionError) as error:  # the latter of brackets too deep
        raise InvalidFile(f"{path} is no JSON file: {error}.") from error
    if not isinstance(found, dict) or found.get("photodrag") != KIND:
        raise InvalidFile(f'{path} is no file of points: it has no "photodrag": "{KIND}".')
    if found.get("version") != VERSION:
        raise InvalidFile(f"{path} has points of version {found.get('version')!r}: this Photodrag reads {VERSION}.")
    regions, points = found.get("regions", []), found.get("points")
    if not isinstance(regions, list) or any(region not in get_args(Region) for region in regions):
        raise InvalidFile(f"{path}: regions are a list of {', '.join(get_args(Region))}, not {regions!r}.")
    if not isinstance(points, list) or not points:
        raise InvalidFile(f"{path} holds no points: give at least one handle and where it goes.")
    also = found.get("also", [])
    if not isinstance(also, list):
        raise InvalidFile(f"{path}: also is a list of landmarks and where they go, not {reprlib.repr(also)}.")
    drags = tuple(_drag(point, f"{path}: point {number}") for number, point in enumerate(points, start=1))
    beside = tuple(_drag(point, f"{path}: also, point {number}") for number, point in enumerate(also, start=1))
    if not all(isinstance(drag.handle, str) for drag in beside):
        raise InvalidFile(f"{path}: also names landmarks, no places.")
    return PointsFile(drags=drags, regions=tuple(regions), also=beside)


def _point(drag: Drag) -> dict[str, Any]:
    return {
        "handle": drag.handle if isinstance(drag.handle, str) else list(drag.handle),
        "move" if drag.relative else "to": list(drag.target),
        **({} if drag.weight == 1 else {"weight": drag.weight}),
    }


def _drag(point: Any, name: str) -> Drag:
    """Read a point, which errors call `name`."""
    try:
        return _read(point)
    except (InvalidInput, ValueError) as error:
        raise InvalidFile(f"{name} cannot be used: {error}") from error


def _read(point: Any) -> Drag:
    if not isinstance(point, dict) or set(point) - {"handle", "move", "to", "weight"}:
        raise ValueError("it has a handle, a `move` or a `to`, and perhaps a weight, and nothing else.")
    if "handle" not in point or ("move" in point) == ("to" in point):
        raise ValueError("it needs a handle, and either a `move` or a `to`.")
    handle = point["handle"]
    if isinstance(handle, str):
        numbers(handle)
    else:
        handle = _pair(handle, "handle")
    relative = "move" in point
    weight = point.get("weight", 1.0)
    if not _finite(weight) or weight <= 0:
        raise ValueError(f"a weight is a number above 0, not {reprlib.repr(weight)}.")
    target = _pair(point["move" if relative else "to"], "move" if relative else "to")
    return Drag(handle=handle, target=target, relative=relative, weight=float(weight))


def _pair(value: Any, name: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2 or not all(_finite(v) for v in value):
        raise ValueError(f"its {name} is no [x, y], but {reprlib.repr(value)}.")
    return float(value[0]), float(value[1])


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
