"""Pickles of nested dicts of numpy arrays, which is how the perceptual networks come."""

from pathlib import Path
from typing import Any

from weights.errors import InvalidFile
from weights.formats.errors import FormatError
from weights.formats.read import read_value
from weights.formats.stubs import Array
from weights.formats.tensors import Materialiser

MAX_DEPTH = 20
MAX_VALUES = 5000  # counted where they are met: one dict can stand in many places


def read_arrays(path: Path) -> dict[str, Any]:
    """Read a pickle of nested dicts of numpy arrays; floats come as float32.

    Raises:
        InvalidFile: it holds anything else, or is damaged.
    """
    value, make = read_value(path)
    if not isinstance(value, dict):
        raise InvalidFile(f"{path} holds a {type(value).__name__} where a dict of arrays should be.")
    try:
        arrays: dict[str, Any] = _arrays(value, make, 0, [])
    except FormatError as error:
        raise InvalidFile(f"{path} is no pickle of arrays: {error}.") from error
    return arrays


def _arrays(value: Any, make: Materialiser, depth: int, met: list[Any]) -> Any:
    met.append(value)
    if len(met) > MAX_VALUES:
        raise FormatError(f"it has more than {MAX_VALUES} values")
    if isinstance(value, dict):
        if depth > MAX_DEPTH:
            raise FormatError("it is nested too deeply")
        return {key: _arrays(item, make, depth + 1, met) for key, item in value.items()}
    if isinstance(value, Array):
        return make(value)
    raise FormatError(f"it holds a {type(value).__name__}")
