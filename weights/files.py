"""Files that are there whole or not at all, and their hashes."""

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT = 48  # characters of a file's name in its temporary one, which must not become longer than names may be


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; rename it to `path` on success, remove it otherwise.

    Folders are made as needed. The name keeps the ending, so that writers that go by it are not misled.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    begin, end = _temporary_name(path)
    temporary = path.with_name(f"{begin}{secrets.token_hex(6)}{end}")
    try:
        yield temporary
        # Windows flushes only what may be written to; elsewhere a file without that right may be given.
        with temporary.open("rb" if os.name == "posix" else "r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of `path`, which only a kill in the midst of `replacing` leaves."""
    begin, end = _temporary_name(path)
    temporary = re.compile(re.escape(begin) + r"[0-9a-f]{12}" + re.escape(end))
    if path.parent.is_dir():
        for found in path.parent.iterdir():
            if temporary.fullmatch(found.name):
                found.unlink(missing_ok=True)


def _temporary_name(path: Path) -> tuple[str, str]:
    """Return what stands around the random part of a temporary name."""
    return f".{path.stem[:KEPT]}.", path.suffix


def is_safetensors(path: Path) -> bool:
    """Tell whether a file begins as safetensors do: a length, then JSON."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError:
        return False
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
