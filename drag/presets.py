"""Presets: expressions and turns by name, read from TOML.

A file holds a table a preset: `about`, a sentence; `move`, landmarks and how far they go, [x, y] in percent of
the distance between the eyes at strength 1; `turn`, yaw, pitch and roll in degrees; and `regions`, what may
change (the whole picture where there are none). drag/presets.toml is the example.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import numpy as np

from drag.names import numbers
from drag.settings import Region
from drag.shape import FARTHEST, Pose, Shape, ShapeModel, Shift
from weights.errors import InvalidFile, InvalidInput

LARGEST = 100.0  # percent of the distance between the eyes that no landmark is moved beyond
_ANGLES = ("yaw", "pitch", "roll")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """An expression or a turn.

    Attributes:
        name: of lower-case letters, digits and hyphens.
        about: what it does.
        move: (x, y) by landmark, in percent of the distance between the eyes.
        turn: yaw, pitch and roll in degrees: to the right, down, clockwise.
        regions: what of the face may change; none for the whole picture.
    """

    name: str
    about: str = ""
    move: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    regions: tuple[Region, ...] = ()

    def shift(self, shape: Shape, model: ShapeModel, strength: float = 1.0) -> Shift:
        """Return how far each landmark goes, (68, 2) in distances between the eyes.

        Args:
            shape: (68, 2) of the face, in its own frame.
            model: knows the depth of landmarks.
            strength: 1 for the preset as written; negative for the reverse.
        """
        shift = np.zeros((68, 2))
        for name, way in self.move.items():
            shift[numbers(name)] += np.array(way) / 100 * strength
        yaw, pitch, roll = np.radians(self.turn) * strength
        if yaw or pitch:
            # As much further as asked, from the pose that the face has.
            now = model.pose(shape)
            then = Pose(
                yaw=float(np.clip(now.yaw + yaw, -FARTHEST, FARTHEST)),
                pitch=float(np.clip(now.pitch + pitch, -FARTHEST, FARTHEST)),
            )
            shift += model.turned(then) - model.turned(now)
        if roll:
            middle = shape[[36, 45, 48, 54]].mean(axis=0)
            turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
            shift += (shape - middle) @ turn - (shape - middle)
        return shift


@cache
def own_presets() -> Mapping[str, Preset]:
    """Return the presets that come with the project, by name."""
    return MappingProxyType(parse_presets((files("drag") / "presets.toml").read_text("utf-8"), name="presets.toml"))


def read_presets(paths: Sequence[Path] = ()) -> dict[str, Preset]:
    """Return the project's presets and those of more files, by name; of one name the last is taken.

    Raises:
        InvalidInput: there is no such file.
        InvalidFile: one is no presets' file.
    """
    found = dict(own_presets())
    for path in paths:
        try:
            text = path.read_text("utf-8")
        except OSError as error:
            raise InvalidInput(f"There are no presets to read at {path}: give the path of a TOML file.") from error
        except UnicodeDecodeError as error:
            raise InvalidFile(f"{path} is no TOML file of presets: it is not text in UTF-8.") from error
        found |= parse_presets(text, name=str(path))
    return found


def parse_presets(text: str, *, name: str) -> dict[str, Preset]:
    """Read presets from TOML; `name` is what errors call it.

    Raises:
        InvalidFile: it is no TOML, or says something that a preset has not.
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of a number too long for Python, too, and of brackets too deep
        raise InvalidFile(f"{name} is no TOML file: {error}.") from error
    presets = {}
    for key, table in tables.items():
        try:
            presets[key] = _preset(key, table)
        except (InvalidInput, ValueError) as error:
            raise InvalidFile(f"{name}: the preset {key!r} cannot be used: {error}") from error
    return presets


def parse_strength(text: str, presets: Mapping[str, Preset]) -> tuple[Preset, float]:
    """Read NAME=STRENGTH, or NAME for a strength of 1.

    Raises:
        InvalidInput: it is neither, or no preset has the name.
    """
    name, equals, number = text.partition("=")
    if name not in presets:
        raise InvalidInput(f"No preset is called {name!r}: choose from {', '.join(presets)}.")
    try:
        strength = float(number) if equals else 1.0
    except ValueError:
        strength = np.nan
    if not -3 <= strength <= 3 or strength == 0:
        raise InvalidInput(f"{text!r} has no strength: write {name}=0.6, a number between -3 and 3 that is not 0.")
    return presets[name], strength


def choose_presets(texts: Sequence[str], paths: Sequence[Path]) -> tuple[tuple[Preset, float], ...]:
    """Return the presets that texts name, each with its strength, out of the project's and those of more files.

    Raises:
        InvalidInput: as in `parse_strength` and `read_presets`; or there are files, and no preset is named.
        InvalidFile: as in `read_presets`.
    """
    if paths and not texts:
        raise InvalidInput("A file of presets says what presets there are: choose of them by name (--preset NAME).")
    known = read_presets(paths)
    return tuple(parse_strength(text, known) for text in texts)


def _preset(name: str, table: Any) -> Preset:
    if not isinstance(table, dict):
        raise ValueError("a preset is a table, [name].")
    unknown = set(table) - {"about", "move", "turn", "regions"}
    if unknown:
        raise ValueError(f"it has {', '.join(sorted(unknown))}, where about, move, turn and regions are known.")
    if not name or not all(c.islower() or c.isdecimal() or c == "-" for c in name):
        raise ValueError("a name is made of lower-case letters, digits and hyphens.")
    move, turn, regions = table.get("move", {}), table.get("turn", {}), table.get("regions", [])
    if not isinstance(move, dict) or not isinstance(turn, dict) or not (move or turn):
        raise ValueError("it needs a table `move` of landmarks, or `turn` of angles.")
    for landmark, way in move.items():
        numbers(landmark)
        if not isinstance(way, list) or len(way) != 2 or not all(_number(v, LARGEST) for v in way):
            raise ValueError(f"{landmark} moves by [x, y], two numbers from {-LARGEST:g} to {LARGEST:g}.")
    if set(turn) - set(_ANGLES) or not all(_number(v, 45) for v in turn.values()):
        raise ValueError("`turn` knows yaw, pitch and roll, in degrees from -45 to 45.")
    if not isinstance(regions, list) or any(region not in get_args(Region) for region in regions):
        raise ValueError(f"`regions` is a list of {', '.join(get_args(Region))}.")
    return Preset(
        name=name,
        about=str(table.get("about", "")),
        move={landmark: (float(x), float(y)) for landmark, (x, y) in move.items()},
        turn=(float(turn.get("yaw", 0)), float(turn.get("pitch", 0)), float(turn.get("roll", 0))),
        regions=tuple(regions),
    )


def _number(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= most
