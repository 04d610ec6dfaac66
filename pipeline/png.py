"""PNG of 16 bits, with its metadata.

Source: Portable Network Graphics (W3C, third edition), sections 5 and 11.
"""

import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def bits(data: bytes) -> int:
    """Return how many bits a sample of a PNG has."""
    return data[24] if len(data) > 24 else 8


def write_16_bit(
    pixels: NDArray[np.uint16],
    *,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    icc: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> bytes:
    """Return the bytes of a PNG.

    Args:
        pixels: (H, W) grey, (H, W, 3) RGB, (H, W, 4) with alpha.
        exif: with or without its head.
        xmp: a packet.
        icc: a profile.
        dpi: pixels an inch, across and down; numbers that make no sense are left out.
    """
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels))
    data = encoded.tobytes()
    chunks = b""
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
