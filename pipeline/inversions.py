"""Inversions as files beside photos: which photo one belongs to, and what is said when it does not fit."""

import hashlib
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from inversion.inversion import Inversion, read_inversion
from weights.errors import InvalidFile, InvalidInput


def is_inversion(path: Path) -> bool:
    """Tell whether a file is safetensors, as inversions are: a length, then JSON."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError:
        return False
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30


def write_for_photo(inversion: Inversion, path: Path, photo: Path) -> None:
    """Write an inversion that remembers where its photo lies as seen from its own file, and the photo's hash."""
    where = photo.resolve()
    with suppress(ValueError):  # on another drive of Windows, no way leads there
        where = Path(os.path.relpath(where, path.parent.resolve()))
    digest = hashlib.sha256(photo.read_bytes()).hexdigest()
    replace(inversion, photo=where.as_posix(), photo_sha256=digest).write(path)


def read_with_photo(path: Path) -> tuple[Inversion, Path]:
    """Read an inversion and find its photo.

    Raises:
        InvalidFile: it is no inversion, or the photo is another one by now.
        InvalidInput: the photo is not where it was.
    """
    inversion = read_inversion(path)
    photo = path.parent / inversion.photo
    if not inversion.photo or not photo.is_file():
        raise InvalidInput(f"The photo of {path} is not at {photo}: put it back there, or invert it again.")
    if hashlib.sha256(photo.read_bytes()).hexdigest() != inversion.photo_sha256:
        raise InvalidFile(f"{photo} is not the photo that {path} was made of: invert it again.")
    return inversion, photo
