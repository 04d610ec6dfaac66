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

from pipeline.metadata import upright, without_thumbnails
from weights.errors import InvalidFile

Array = NDArray[np.uint8 | np.uint16]

BITS, PHOTOMETRIC, SAMPLES, PLANAR, EXTRA_SAMPLES, SAMPLE_FORMAT = 258, 262, 277, 284, 338, 339
XMP, ICC, PHOTOSHOP, LAYERS = 700, 34675, 34377, 37724
BYTE, SHORT, LONG, UNDEFINED = 1, 3, 4, 7
MIN_IS_WHITE, MIN_IS_BLACK, RGB = 0, 1, 2
UNSPECIFIED, PREMULTIPLIED, STRAIGHT = 0, 1, 2  # what a sample beside those of colour is: anything, or alpha
NONE, DEFLATE = 1, 8
_CODES = {BYTE: "B", SHORT: "H", LONG: "I", UNDEFINED: "B"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes, by type
POINTERS = (0x8769, 0x8825, 0xA005)  # to the directories of EXIF, GPS and interoperability
LAYOUT = {  # sizes, strips, tiles, compression, colour model, what is kept apart, and the layers before the edit
    *(254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 301, 317, 320, 322, 323, 324, 325),
    *(330, 332, 333, 334, 336, 338, 339, 340, 341, 347, 512, 513, 514, 529, 530, 531, 532, XMP, ICC, LAYERS),
}


def bits(image: Image.Image) -> int:
    """Return how many bits a sample of a TIFF has."""
    return int(np.max(image.getexif().get(BITS, 1)))


def extra_sample(image: Image.Image) -> int:
    """Return what a TIFF says of the first sample beside those of colour: straight alpha where it says nothing."""
    return int(np.append(image.getexif().get(EXTRA_SAMPLES, ()), STRAIGHT)[0])


def read_16_bit(data: bytes, image: Image.Image, *, name: str) -> NDArray[np.uint16]:
    """Read a TIFF of 16 bits a sample: (H, W) or (H, W, C), RGB, and straight alpha last.

    Raises:
        InvalidFile: its samples are no whole numbers, of no RGB or grey, or its layout is not read.
    """
    tags = image.getexif()
    kind = tags.get(PHOTOMETRIC)
    if kind not in (MIN_IS_WHITE, MIN_IS_BLACK, RGB) or np.max(tags.get(SAMPLE_FORMAT, 1)) != 1:
        raise InvalidFile(f"{name} is a 16-bit TIFF that is neither RGB nor grey: convert it to one of these.")
    apart = tags.get(PLANAR, 1) != 1 and tags.get(SAMPLES, 1) > 1  # OpenCV would read such as something else
    pixels = None if apart else decode_16_bit(upright(data))  # which OpenCV would turn by halves
    if pixels is None or sorted(pixels.shape[:2]) != sorted(image.size):
        raise InvalidFile(f"{name} is a 16-bit TIFF in a layout that is not read: save it with interleaved samples.")
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels = _straight(pixels, extra_sample(image))
    return np.asarray(65535 - pixels if kind == MIN_IS_WHITE else pixels, np.uint16)


def _straight(pixels: NDArray[np.uint16], extra: int) -> NDArray[np.uint16]:
    """Bring RGB and a sample more (H, W, 4) to RGB with straight alpha; to RGB alone where the sample is none."""
    colour, alpha = pixels[..., :3], pixels[..., 3:]
    if extra == UNSPECIFIED:
        return colour
    if extra == PREMULTIPLIED:
        divided = (colour * np.uint32(65535) + alpha // 2) // np.maximum(alpha, 1)
        return np.concatenate([np.minimum(divided, 65535).astype(np.uint16), alpha], axis=2)
    return pixels


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


def descriptive_tags(data: bytes) -> bytes | None:
    """Return a TIFF's tags that describe the picture, without those that lay out the file, as EXIF.

    Photoshop's layers and thumbnail, which show the picture before an edit, are left out, too.

    None where there are none, or the file's directories cannot be read (as those of BigTIFF).
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return None
    out = bytearray(data[:8])
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        offset = _copy_directory(data, start, order, out, depth=0)
    except (struct.error, KeyError):
        return None
    struct.pack_into(order + "I", out, 4, offset)
    return bytes(out) if offset else None


def _copy_directory(data: bytes, start: int, order: str, out: bytearray, *, depth: int) -> int:
    """Copy a directory's descriptive tags, and the directories that they point to; return where it lies, or 0."""
    entries = {}
    for tag, entry in _entries(data, order, start).items():
        kind, count = struct.unpack_from(order + "HI", entry, 2)
        if (depth == 0 and tag in LAYOUT) or kind not in _SIZES:
            continue
        size = count * _SIZES[kind]
        (at,) = struct.unpack_from(order + "I", entry, 8)
        if tag in POINTERS:
            below = _copy_directory(data, at, order, out, depth=depth + 1) if depth < 2 else 0
            if below:
                entries[tag] = _entry(_Field(tag, LONG, (below,)), out, order)
            continue
        value = entry[8 : 8 + size] if size <= 4 else data[at : at + size]
        if len(value) != size:
            continue
        if tag == PHOTOSHOP:
            kind, value = BYTE, without_thumbnails(value)
        if value:
            entries[tag] = _entry(_Field(tag, kind, value), out, order)
    return _put_directory(entries, order, out) if entries else 0


def _put_directory(entries: dict[int, bytes], order: str, out: bytearray) -> int:
    """Put a directory behind the rest, the last of its chain; return where it lies."""
    out += b"\0" * (len(out) % 2)
    at = len(out)
    out += struct.pack(order + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries))
    out += struct.pack(order + "I", 0)
    return at


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
    fields += [_Field(EXTRA_SAMPLES, SHORT, (STRAIGHT,))] if channels in (2, 4) else []
    fields += [_Field(XMP, BYTE, xmp)] if xmp else []
    fields += [_Field(ICC, UNDEFINED, icc)] if icc else []
    entries = {tag: entry for tag, entry in _first_directory(start, order).items() if tag not in LAYOUT}
    for field in fields:
        entries[field.tag] = _entry(field, out, order)
    at = _put_directory(entries, order, out)  # and no second one: a thumbnail there would show the picture before
    struct.pack_into(order + "I", out, 4, at)
    return bytes(out)


def _strip(rows: Array, order: str, *, compressed: bool) -> bytes:
    """Return the bytes of some rows."""
    if compressed:
        rows = rows.copy()
        rows[:, 1:] -= rows[:, :-1].copy()  # modulo the type's range, as the predictor is defined
    data = rows.astype(rows.dtype.newbyteorder("<" if order == "<" else ">")).tobytes()
    return zlib.compress(data, 6) if compressed else data


def _entries(data: bytes, order: str, start: int) -> dict[int, bytes]:
    """Return the twelve bytes of each entry of a directory, by their tags."""
    (count,) = struct.unpack_from(order + "H", data, start)
    places = [start + 2 + 12 * i for i in range(count)]
    return {struct.unpack_from(order + "H", data, at)[0]: data[at : at + 12] for at in places}


def _first_directory(exif: bytes, order: str) -> dict[int, bytes]:
    """Return the entries of the first directory of EXIF; none where it cannot be read."""
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        return _entries(exif, order, start) if start else {}
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
