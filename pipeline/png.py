"""PNG: what its chunks say of colours, and pictures of 16 bits written with their metadata.

Source: Portable Network Graphics (W3C, third edition), sections 4, 5 and 11.
"""

import zlib
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = ("cICP", "sRGB", "gAMA", "cHRM")  # the first one there is the one to go by
SRGB_CODES = b"\1\x0d"  # cICP's primaries and transfer function
SRGB_NUMBERS = {"gAMA": (45455,), "cHRM": (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)}
ROUNDED = 500  # by which these numbers may be off


def bits(data: bytes) -> int:
    """Return how many bits a sample of a PNG has."""
    return data[24] if len(data) > 24 else 8


def colour_chunks(data: bytes) -> dict[str, bytes]:
    """Return what the chunks before a PNG's pixels say of its colours, beside an ICC profile, by their names."""
    found, at = {}, len(SIGNATURE)
    while at + 8 <= len(data) and data[at + 4 : at + 8] != b"IDAT":
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8].decode("latin-1")
        if kind in COLOURS:
            found[kind] = data[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def are_srgb(colours: Mapping[str, bytes]) -> bool:
    """Tell whether chunks of `colour_chunks` say sRGB, or nothing."""
    if "cICP" in colours:
        return colours["cICP"][:2] == SRGB_CODES
    if "sRGB" in colours:
        return True
    for kind, numbers in SRGB_NUMBERS.items():
        content = colours.get(kind, b"")[: 4 * len(numbers)]
        if len(content) < 4 * len(numbers):  # none, or a damaged one
            continue
        if np.abs(np.frombuffer(content, ">u4").astype(np.int64) - numbers).max() > ROUNDED:
            return False
    return True


def write_16_bit(
    pixels: NDArray[np.uint16],
    *,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    icc: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    colours: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return the bytes of a PNG.

    Args:
        pixels: (H, W) grey, (H, W, 3) RGB, (H, W, 4) with alpha.
        exif: with or without its head.
        xmp: a packet.
        icc: a profile.
        dpi: pixels an inch, across and down; numbers that make no sense are left out.
        colours: chunks of `colour_chunks`; none says sRGB beside a profile.
    """
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels))
    data = encoded.tobytes()
    said = {kind: content for kind, content in (colours or {}).items() if not (icc and kind == "sRGB")}
    chunks = b"".join(_chunk(kind.encode(), content) for kind, content in said.items())
    if icc:
        chunks += _chunk(b"iCCP", b"ICC\0\0" + zlib.compress(icc))
    if dpi and all(0 < d / 0.0254 < 1 << 31 for d in dpi):  # PNG's numbers have 31 bits
        chunks += _chunk(b"pHYs", b"".join(round(d / 0.0254).to_bytes(4, "big") for d in dpi) + b"\1")
    if exif:
        chunks += _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    if xmp:
        chunks += _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    header = len(SIGNATURE) + 12 + 13
    return data[:header] + chunks + data[header:]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
