"""JPEG files as segments and blocks: metadata kept byte for byte, and blocks outside an edit left as they are.

Source: ITU-T T.81, annex B, for the segments; jpegtran of libjpeg-turbo moves blocks without decoding them.
"""

import logging
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.metadata import XMP_THUMBNAIL, holds_picture, mark_alone, without_thumbnails

_log = logging.getLogger(__name__)

EXIF_HEAD, XMP_HEAD, ICC_HEAD = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
EXTENDED_XMP_HEAD, PHOTOSHOP_HEAD = b"http://ns.adobe.com/xmp/extension/\0", b"Photoshop 3.0\0"
SOI, EOI, SOS, COM, APP0, APP1, APP2, APP13 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE0, 0xE1, 0xE2, 0xED
EXTENDED_XMP_START = len(EXTENDED_XMP_HEAD) + 32 + 4 + 4  # behind its sum, length and place
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # but those that stand among pixels
MOST = 65533  # bytes of a segment's content
ICC_PARTS = 255  # segments of a profile

TURNS = {
    1: [],
    2: ["-flip", "horizontal"],
    3: ["-rotate", "180"],
    4: ["-flip", "vertical"],
    5: ["-transpose"],
    6: ["-rotate", "90"],
    7: ["-transverse"],
    8: ["-rotate", "270"],
}
"""What of jpegtran brings a picture of an EXIF orientation upright."""

UNITS = {"grey": (8, 8), 0: (8, 8), 1: (16, 8), 2: (16, 16)}
"""Width and height of the smallest unit of blocks, by Pillow's number of the chroma subsampling."""

Segment = tuple[int, bytes]
Rectangle = tuple[slice, slice]  # rows and columns


def segments(data: bytes) -> list[Segment]:
    """Return the segments before a JPEG's pixels, as markers and contents."""
    found, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == SOS or size < 2:
            break
        found.append((marker, data[at + 4 : at + 2 + size]))
        at += 2 + size
    return found


def kept_segments(data: bytes) -> tuple[Segment, ...]:
    """Return the segments of a JPEG that stay true after an edit, and that no field of a photo holds.

    These are comments, IPTC (without Photoshop's thumbnail) and extended XMP, unless that holds a picture. Pictures
    behind the first one (gain maps, depth, the other eye) would show the photo before the edit, and so their index
    goes.
    """
    kept: list[Segment] = []
    found = segments(data)
    extended = _extended_xmp(found)
    keep_extended = not (holds_picture(extended) or XMP_THUMBNAIL.encode() in extended)
    for marker, content in found:
        if marker == APP13 and content.startswith(PHOTOSHOP_HEAD):
            kept.append((marker, PHOTOSHOP_HEAD + without_thumbnails(content[len(PHOTOSHOP_HEAD) :])))
        elif marker == COM or (keep_extended and is_extended_xmp((marker, content))):
            kept.append((marker, content))
    return tuple(kept)


def is_extended_xmp(segment: Segment) -> bool:
    """Tell whether a segment is a part of extended XMP."""
    marker, content = segment
    return marker == APP1 and content.startswith(EXTENDED_XMP_HEAD)


def _extended_xmp(found: Sequence[Segment]) -> bytes:
    """Return a JPEG's extended XMP."""
    return b"".join(content[EXTENDED_XMP_START:] for marker, content in found if is_extended_xmp((marker, content)))


def holds_more(data: bytes) -> bool:
    """Tell whether a JPEG holds more than its picture: others or a film behind it, or one in its extended XMP."""
    behind = _behind(data)
    return b"\xff\xd8\xff" in behind or b"ftyp" in behind or holds_picture(_extended_xmp(segments(data)))


def _behind(data: bytes) -> bytes:
    """Return what stands behind the end of a JPEG's first picture."""
    at = 2
    while found := MARKER.search(data, at):
        at = found.end()
        if data[at - 1] == EOI:
            return data[at:]
        at += int.from_bytes(data[at : at + 2], "big")
    return b""


def with_metadata(
    data: bytes, *, exif: bytes | None, xmp: bytes | None, icc: bytes | None, others: Sequence[Segment]
) -> bytes:
    """Return a bare JPEG with metadata put in behind its JFIF segment.

    Args:
        data: a JPEG.
        exif: with or without its head; left out where it is too large.
        xmp: a packet; where it is too large, only its statement that the picture was edited is kept.
        icc: a profile, cut into as many segments as it takes.
        others: further segments.
    """
    out: list[Segment] = []
    if exif:
        out.append((APP1, _exif_segment(exif)))
    if xmp and len(_xmp_segment(xmp)) > MOST:
        xmp = mark_alone(xmp)
    if xmp:
        out.append((APP1, _xmp_segment(xmp)))
    if icc:
        parts = _icc_parts(icc)
        if len(parts) > ICC_PARTS:
            _log.info("an ICC profile of %d bytes does not fit into a JPEG and is left out", len(icc))
            parts = []
        out += [(APP2, ICC_HEAD + bytes([i, len(parts)]) + part) for i, part in enumerate(parts, start=1)]
    at = 2
    if data[2:4] == bytes([0xFF, APP0]):
        at = 4 + int.from_bytes(data[4:6], "big")
    inserted = b""
    for marker, content in [*out, *others]:
        if len(content) > MOST:
            _log.info("metadata of %d bytes does not fit into a JPEG and is left out", len(content))
            continue
        inserted += bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content
    return data[:at] + inserted + data[at:]


def too_large(*, exif: bytes | None, xmp: bytes | None, icc: bytes | None) -> list[str]:
    """Return which of EXIF, XMP and an ICC profile is more than a JPEG holds."""
    found = ["EXIF"] if exif and len(_exif_segment(exif)) > MOST else []
    found += ["XMP"] if xmp and len(_xmp_segment(xmp)) > MOST else []
    return found + (["ICC profile"] if icc and len(_icc_parts(icc)) > ICC_PARTS else [])


def _icc_parts(icc: bytes) -> list[bytes]:
    room = MOST - len(ICC_HEAD) - 2
    return [icc[i : i + room] for i in range(0, len(icc), room)]


def _exif_segment(exif: bytes) -> bytes:
    return EXIF_HEAD + exif.removeprefix(EXIF_HEAD)


def _xmp_segment(xmp: bytes) -> bytes:
    return XMP_HEAD + xmp


def has_jpegtran() -> bool:
    """Tell whether jpegtran is installed, and can drop one picture into another."""
    path = shutil.which("jpegtran")
    if path is None:
        return False
    try:
        told = subprocess.run([path, "-help"], capture_output=True, text=True, check=False)
    except OSError as error:
        _log.info("jpegtran does not start: %s", error)
        return False
    return "-drop" in told.stdout + told.stderr


def replace_blocks(
    data: bytes,
    changed: NDArray[np.bool_],
    encode: Callable[[slice, slice], bytes],
    *,
    sampling: int,
    grey: bool,
    orientation: int = 1,
    progressive: bool = False,
) -> bytes | None:
    """Return a JPEG in which only the blocks that hold changed pixels are other ones; None where that cannot be.

    Args:
        data: the JPEG before.
        changed: (H, W), upright, where the picture is another one.
        encode: makes a JPEG, by the tables and the subsampling of `data`, of rows and columns of the picture.
        sampling: Pillow's number of the subsampling, of the upright picture.
        grey: it has one channel.
        orientation: EXIF's, of `data`; the result is upright.
        progressive: write it so.
    """
    kind: str | int = "grey" if grey else sampling
    if kind not in UNITS or not has_jpegtran():
        return None
    try:
        return _replace_in_folder(data, rectangles(changed, UNITS[kind]), encode, TURNS[orientation], progressive)
    except OSError as error:  # a temporary folder that is full or missing costs the blocks, not the edit
        _log.warning("blocks of the JPEG cannot be kept, all is compressed anew: %s", error)
        return None


def _replace_in_folder(
    data: bytes,
    places: Sequence[Rectangle],
    encode: Callable[[slice, slice], bytes],
    turn: Sequence[str],
    progressive: bool,
) -> bytes | None:
    """Do the work of `replace_blocks` in a temporary folder; `places` are the rectangles of new blocks."""
    with tempfile.TemporaryDirectory() as folder:
        now, then = Path(folder) / "now.jpg", Path(folder) / "then.jpg"
        now.write_bytes(data)
        passes = [[*turn, "-perfect"]] if turn else []
        for number, (rows, columns) in enumerate(places):
            patch = Path(folder) / f"{number}.jpg"
            patch.write_bytes(encode(rows, columns))
            passes.append(["-drop", f"+{columns.start}+{rows.start}", str(patch)])
        passes = passes or [[]]
        # How the blocks are packed, which takes the most time, is chosen once: the last pass packs all of them again.
        passes[-1].append("-progressive" if progressive else "-optimize")
        for options in passes:
            if not _jpegtran(["-copy", "none", *options], now, then):
                return None
            now, then = then, now
        return now.read_bytes()


def _jpegtran(options: Sequence[str], source: Path, target: Path) -> bool:
    command = ["jpegtran", *options, "-outfile", str(target), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        _log.info("jpegtran: %s", result.stderr.strip())
    return result.returncode == 0


def rectangles(changed: NDArray[np.bool_], unit: tuple[int, int]) -> list[Rectangle]:
    """Return rows and columns, in whole units, of a few rectangles that hold all that changed.

    Each patch of changed units is cut into bands, so that a round one does not drag its corners along.

    Args:
        changed: (H, W).
        unit: width and height in pixels.
    """
    height, width = changed.shape
    wide, high = unit
    padded = np.pad(changed, ((0, -height % high), (0, -width % wide)))
    grid = np.asarray(padded.reshape(padded.shape[0] // high, high, -1, wide).any(axis=(1, 3)), np.bool_)
    count, labels = cv2.connectedComponents(grid.astype(np.uint8), connectivity=8)
    if count > 9:
        count, labels = 2, grid.astype(np.int32)
    bands = max(1, 8 // max(1, count - 1))
    found = []
    for label in range(1, count):
        rows = np.flatnonzero((labels == label).any(axis=1))
        for band in np.array_split(np.arange(rows[0], rows[-1] + 1), bands):
            columns = np.flatnonzero((labels[band] == label).any(axis=0))
            if len(columns):
                y = slice(int(band[0]) * high, min(height, (int(band[-1]) + 1) * high))
                x = slice(int(columns[0]) * wide, min(width, (int(columns[-1]) + 1) * wide))
                found.append((y, x))
    return found
