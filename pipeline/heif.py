"""HEIF and HEIC, which pillow-heif reads and writes."""

from collections.abc import Mapping
from typing import Any

from weights.errors import InvalidFile, InvalidInput

BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def is_heif(data: bytes) -> bool:
    """Tell whether a file says that it is HEIF."""
    return data[4:8] == b"ftyp" and data[8:12] in BRANDS


def holds_film(data: bytes) -> bool:
    """Tell whether a HEIF holds the film of a motion photo: a box of its own among the file's."""
    at = 0
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"mpvd":
            return True
        if size == 1:  # the true one stands behind the kind
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:  # to the end of the file
            return False
        at += size
    return False


def colours(nclx: Mapping[str, Any]) -> dict[str, int]:
    """Return what of a HEIF's nclx profile says its colours, as pillow-heif's writer takes it.

    The matrix and the range are none of it: they are undone on reading, and the writer chooses its own.
    """
    said = {name: int(nclx[name]) for name in ("color_primaries", "transfer_characteristics") if name in nclx}
    return said | {"matrix_coefficients": 6, "full_range_flag": 1} if said else {}


def are_srgb(said: Mapping[str, int]) -> bool:
    """Tell whether the numbers of `colours` are sRGB's, or say nothing; the codes are those of ITU-T H.273."""
    primaries, transfer = said.get("color_primaries", 2), said.get("transfer_characteristics", 2)
    return primaries in (1, 2) and transfer in (1, 2, 6, 13)  # 1 and 6 are television's, which are shown alike


def enable(name: str) -> None:
    """Teach Pillow to read and write HEIF.

    Raises:
        InvalidFile: pillow-heif is not installed; `name` is what the error calls the photo.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise InvalidFile(f"{name} is HEIF, which needs pillow-heif: pip install pillow-heif.") from error
    pillow_heif.register_heif_opener()


def check_writable() -> None:
    """Make sure, before any work, that HEIF can be written.

    Raises:
        InvalidInput: pillow-heif is not installed, or was built without an encoder.
    """
    try:
        import pillow_heif

        able = bool(pillow_heif.libheif_info().get("HEIF"))
    except ImportError:
        able = False
    if not able:
        raise InvalidInput("HEIF cannot be written here: pip install pillow-heif, or choose another format.")
