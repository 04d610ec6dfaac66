"""TIFF: 16-bit pictures read, and pictures of 8 or 16 bits written with EXIF, IPTC, XMP and ICC profile.

Source: TIFF 6.0 (Adobe 1992), and the TIFF technical note of 2002 for Deflate.
"""

import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from weights.errors import InvalidFile

Array = NDArray[np.uint8 | np.uint16]

BITS, PHOTOMETRIC, SAMPLES, PLANAR, SAMPLE_FORMAT = 258, 262, 277, 284, 339
XMP, ICC = 700, 34675
BYTE, SHORT, LONG, UNDEFINED = 1, 3, 4, 7
MIN_IS_WHITE, MIN_IS_BLACK, RGB = 0, 1, 2
NONE, DEFLATE = 1, 8
_CODES = {BYTE: "B", SHORT: "H", LONG: "I", UNDEFINED: "B"}
_SIZES = {BYTE: 1, SHORT: 2, LONG: 4, UNDEFINED: 1}


def bits(image: Image.Image) -> int:
    """Return how many bits a sample of a TIFF has."""
    return int(np.max(image.getexif().get(BITS, 1)))


def read_16_bit(data: bytes, image: Image.Image, *, name: str) -> NDArray[np.uint16]:
    """Read a TIFF of 16 bits a sample: (H, W) or (H, W, C), RGB, and alpha last.

    Raises:
        InvalidFile: its samples are no whole numbers, of no RGB or grey, or its layout is not read.
    """
    tags = image.getexif()
    kind = tags.get(PHOTOMETRIC)
    if kind not in (MIN_IS_WHITE, MIN_IS_BLACK, RGB) or np.max(tags.get(SAMPLE_FORMAT, 1)) != 1:
        raise InvalidFile(f"{name} is a 16-bit TIFF that is neither RGB nor grey: convert it to one of these.")
    apart = tags.get(PLANAR, 1) != 1 and tags.get(SAMPLES, 1) > 1  # OpenCV would read such as something else
    pixels = None if apart else decode_16_bit(data)
    if pixels is None or pixels.shape[:2] != (image.height, image.width):
        raise InvalidFile(f"{name} is a 16-bit TIFF in a layout that is not read: save it with interleaved samples.")
    return np.asarray(65535 - pixels if kind == MIN_IS_WHITE else pixels, np.uint16)


def decode_16_bit(data: bytes) -> NDArray[np.uint16] | None:
    """Read a PNG or TIFF of 16 bits: (H, W), or (H, W, C) with RGB first; None where it cannot be."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        return None
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return np.ascontiguousarray(pixels, np.uint16)


@dataclass
class _Field:
    tag: int
    kind: int
    values: bytes | tuple[int, ...]


def write(
    pixels: Array, *, compressed: bool, exif: bytes | None = None, xmp: bytes | None = None, icc: bytes | None = None
) -> bytes:
    """Return a TIFF's bytes.

    EXIF is a TIFF without a picture: its bytes stay where they are, offsets and all, the picture goes behind
    them, and a new first directory names both.

    Args:
        pixels: (H, W) grey, (H, W, 2) with alpha, (H, W, 3) RGB, (H, W, 4) with alpha; uint8 or uint16.
        compressed: by Deflate, with differences along rows.
        exif: with or without its head.
        xmp: a packet.
        icc: a profile.
    """
    start = (exif or b"").removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(start[:4])
    if order is None:
        start, order = b"II*\0" + struct.pack("<I", 0), "<"
    out = bytearray(start)
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    rows = max(1, (1 << 16) // (width * channels * pixels.itemsize))
    strips = [_strip(pixels[y : y + rows], order, compressed=compressed) for y in range(0, height, rows)]
    offsets = []
    for strip in strips:
        out += b"\0" * (len(out) % 2)
        offsets.append(len(out))
        out += strip
    fields = [
        _Field(256, LONG, (width,)),
        _Field(257, LONG, (height,)),
        _Field(BITS, SHORT, (8 * pixels.itemsize,) * channels),
        _Field(259, SHORT, (DEFLATE if compressed else NONE,)),
        _Field(PHOTOMETRIC, SHORT, (MIN_IS_BLACK if channels < 3 else RGB,)),
        _Field(273, LONG, tuple(offsets)),
        _Field(SAMPLES, SHORT, (channels,)),
        _Field(278, LONG, (rows,)),
        _Field(279, LONG, tuple(len(strip) for strip in strips)),
        _Field(PLANAR, SHORT, (1,)),
    ]
    fields += [_Field(317, SHORT, (2,))] if compressed else []
    fields += [_Field(338, SHORT, (2,))] if channels in (2, 4) else []
    fields += [_Field(XMP, BYTE, xmp)] if xmp else []
    fields += [_Field(ICC, UNDEFINED, icc)] if icc else []
    entries = _entries(start, order) if exif else {}
    for field in fields:
        entries[field.tag] = _entry(field, out, order)
    out += b"\0" * (len(out) % 2)
    struct.pack_into(order + "I", out, 4, len(out))
    out += struct.pack(order + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries))
    out += struct.pack(order + "I", 0)  # no second directory: a thumbnail there would show the picture before
    return bytes(out)


def _strip(rows: Array, order: str, *, compressed: bool) -> bytes:
    """Return the bytes of some rows."""
    if compressed:
        rows = rows.copy()
        rows[:, 1:] -= rows[:, :-1].copy()  # modulo the type's range, as the predictor is defined
    data = rows.astype(rows.dtype.newbyteorder("<" if order == "<" else ">")).tobytes()
    return zlib.compress(data, 6) if compressed else data


def _entries(exif: bytes, order: str) -> dict[int, bytes]:
    """Return the entries of the first directory of EXIF as they are, by their tags."""
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        places = [start + 2 + 12 * i for i in range(count)]
        return {struct.unpack_from(order + "H", exif, at)[0]: exif[at : at + 12] for at in places}
    except struct.error:
        return {}


def _entry(field: _Field, out: bytearray, order: str) -> bytes:
    """Return the twelve bytes of a field; a value of more than four bytes is put behind the rest."""
    values = field.values
    data = values if isinstance(values, bytes) else struct.pack(f"{order}{len(values)}{_CODES[field.kind]}", *values)
    head = struct.pack(order + "HHI", field.tag, field.kind, len(data) // _SIZES[field.kind])
    if len(data) <= 4:
        return head + data.ljust(4, b"\0")
    out += b"\0" * (len(out) % 2)
    at = len(out)
    out += data
    return head + struct.pack(order + "I", at)
