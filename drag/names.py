"""The names of face landmarks. This module imports little: the command line shows them."""

from weights.errors import InvalidInput

NAMES: dict[str, tuple[int, ...]] = {
    "jaw-left": (4,),
    "jaw-right": (12,),
    "chin": (8,),
    "brow-left-outer": (17,),
    "brow-left": (19,),
    "brow-left-inner": (21,),
    "brow-right-inner": (22,),
    "brow-right": (24,),
    "brow-right-outer": (26,),
    "nose-bridge": (27,),
    "nose-tip": (30,),
    "nose-left": (31,),
    "nose-base": (33,),
    "nose-right": (35,),
    "eye-left": (36, 37, 38, 39, 40, 41),
    "eye-left-outer": (36,),
    "eye-left-top": (37, 38),
    "eye-left-inner": (39,),
    "eye-left-bottom": (40, 41),
    "eye-right": (42, 43, 44, 45, 46, 47),
    "eye-right-inner": (42,),
    "eye-right-top": (43, 44),
    "eye-right-outer": (45,),
    "eye-right-bottom": (46, 47),
    "mouth": (48, 54),
    "mouth-left": (48,),
    "mouth-right": (54,),
    "lip-top": (51,),
    "lip-bottom": (57,),
    "lip-top-inner": (62,),
    "lip-bottom-inner": (66,),
}
"""Each name's landmarks; the place is their mean."""


def numbers(name: str) -> list[int]:
    """Return the numbers of the landmarks that a name stands for.

    A number from 0 to 67, with or without a # before it, names a single landmark.

    Raises:
        InvalidInput: there is no such landmark.
    """
    number = name.removeprefix("#")
    if number.isdecimal() and int(number) < 68:
        return [int(number)]
    if name not in NAMES:
        raise InvalidInput(f"No landmark is called {name!r}: choose from {', '.join(NAMES)}, or a number from 0 to 67.")
    return list(NAMES[name])
