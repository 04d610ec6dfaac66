"""What settings may be, by the types that their data classes say. This module imports no torch."""

from math import inf
from types import NoneType
from typing import Literal, get_args, get_origin, get_type_hints

from weights.errors import InvalidInput


def check_fields(settings: object, what: str, **bounds: tuple[float, float]) -> None:
    """Make sure that each field of a data class is one of the words that it knows, or a finite number in its bounds.

    Args:
        settings: a data class; texts, and what is true or false, are not looked at.
        what: whose settings errors say that they are.
        bounds: the least and the most that a field may be, by its name; 0 or more where nothing is said.

    Raises:
        InvalidInput: a field is something else.
    """
    for name, hint in get_type_hints(type(settings)).items():
        value, kinds = getattr(settings, name), (hint, *get_args(hint))
        if value is None and NoneType in kinds:
            continue
        words = f"The {what}'s {name.replace('_', '-')}"
        known = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
        if known and value not in known:
            raise InvalidInput(f"{words} is {' or '.join(known)}, not {value!r}.")
        low, high = bounds.get(name, (0, inf))
        if (int in kinds or float in kinds) and not (low <= value <= high and value < inf):
            wanted = f"of {low} or more" if high == inf else f"from {low} to {high}"
            raise InvalidInput(f"{words} is a number {wanted}, not {value}.")
