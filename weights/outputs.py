"""Where a command's files may go, which is made sure of before any work."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from weights.errors import InvalidInput


def check_apart(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Make sure that no output is a file that is read, and that no two outputs are one.

    Raises:
        InvalidInput: one is, whatever may be replaced; or two are.
    """
    read = {_identity(path) for path in inputs}
    written: set[Path] = set()
    for path in outputs:
        if _identity(path) in read:
            raise InvalidInput(f"{path} is what this command reads, which is never written over: give another path.")
        if path.resolve() in written:
            raise InvalidInput(f"{path} would be written twice: give each output a path of its own.")
        written.add(path.resolve())


def check_place(path: Path, *, overwrite: bool) -> None:
    """Make sure that a file can be written to `path`.

    Args:
        path: where to.
        overwrite: a file there may be replaced.

    Raises:
        InvalidInput: it exists and `overwrite` is false; or it is a folder, or lies where nothing may be written.
    """
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder: give the path of a file.")
    if path.exists() and not overwrite:
        raise InvalidInput(f"{path} exists: give another path, or --overwrite.")
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Make sure that files can be written to a folder, which need not be there.

    Raises:
        InvalidInput: it is a file or lies below one, or nothing may be written there.
    """
    there = existing(folder)
    if there is None:
        raise InvalidInput(f"There is no drive {folder.absolute().anchor}: give another path.")
    if not there.is_dir():
        raise InvalidInput(f"{there} is a file, and no folder can be there: give another path.")
    if not os.access(there, os.W_OK):
        raise InvalidInput(f"{there} may not be written to ({os.strerror(errno.EACCES)}): give another path.")


def existing(folder: Path) -> Path | None:
    """Return a folder, or the nearest one above it that is there; None on a drive of Windows that is not."""
    whole = folder.absolute()
    return next((place for place in (whole, *whole.parents) if place.exists()), None)


def _identity(path: Path) -> object:
    """Return what is the same for all names and links of a file."""
    try:
        stat = path.stat()
    except OSError:  # it is not there yet
        return path.resolve()
    return stat.st_dev, stat.st_ino
