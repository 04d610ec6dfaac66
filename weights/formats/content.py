"""What a file is, by its first bytes; its name says nothing."""

import re
from typing import Literal

from weights.formats.errors import shown
from weights.formats.tensors import is_legacy

Kind = Literal["zip", "pickle", "legacy torch", "safetensors", "npy"]

_OTHERS = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"GIF8": "a GIF picture",
    b"RIFF": "a WebP picture, or a sound",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x89HDF": "an HDF5 file",
    b"version https://git-lfs": "a pointer of Git LFS instead of the file it points to",
    b"\x7fELF": "a program",
    b"MZ": "a program",
}


def kind_of(head: bytes, size: int) -> Kind | None:
    """Return the kind of a file of `size` bytes that begins with `head` (64 bytes or more), or None."""
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head[:1] == b"\x80" and len(head) > 1 and 2 <= head[1] <= 5:
        return "legacy torch" if is_legacy(memoryview(head)) else "pickle"
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return "safetensors"
    return None


def describe(head: bytes) -> str:
    """Say what a file of another kind seems to be."""
    for start, words in _OTHERS.items():
        if head.startswith(start):
            return words
    if asked := re.match(rb"[(}\]]{0,9}[ci]([\w.]{1,80})\n([\w.]{1,80})\n", head):
        wanted = b".".join(asked.groups()).decode("ascii", "replace")
        return f"a pickle of protocol 0 or 1 that asks for {shown(wanted)}, which is not read"
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page, as some hosts send in place of a download"
    if head[:1] == b"\x80" and len(head) > 1:
        return f"a pickle of protocol {head[1]}, where 2 to 5 are known"
    if not head:
        return "empty"
    if all(32 <= byte < 127 or byte in b"\r\n\t" for byte in head):
        return "a text"
    return "of no kind that is known"
