"""Photos and their files: read with all that belongs to them, written back with nothing lost."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import heif
from pipeline.decode import READ_ONLY as READ_ONLY
from pipeline.decode import decode_photo as decode_photo
from pipeline.encode import FORMATS as FORMATS
from pipeline.encode import check_size as check_size
from pipeline.encode import encode_photo as encode_photo
from pipeline.picture import EightBit as EightBit
from pipeline.picture import Photo as Photo
from pipeline.picture import Pixels as Pixels
from pipeline.picture import deepen as deepen
from pipeline.picture import eight_bit as eight_bit
from weights.errors import InvalidInput
from weights.files import replacing
from weights.outputs import check_place


def read_photo(path: Path) -> Photo:
    """Read a photo.

    Raises:
        InvalidInput: there is no such file.
        InvalidFile: it is no picture of a format that is read, is damaged, or claims to be enormous.
    """
    check_photo(path)
    return decode_photo(path.read_bytes(), name=str(path))


def check_photo(path: Path) -> None:
    """Make sure that a photo's file is there.

    Raises:
        InvalidInput: it is not.
    """
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder: give the path of a photo; `photodrag batch` edits all of a folder.")
    if not path.is_file():
        raise InvalidInput(f"There is no photo at {path}: check the path.")


def read_mask(path: Path) -> NDArray[np.float32]:
    """Read a painted mask: (H, W) float32 from 0 (black or transparent, stays) to 1 (white, may move).

    Raises:
        InvalidInput, InvalidFile: as in `read_photo`.
    """
    painted = read_photo(path)
    mask: NDArray[np.float32] = eight_bit(painted.pixels).mean(axis=2, dtype=np.float32) / 255
    if painted.alpha is not None:
        mask *= eight_bit(painted.alpha).astype(np.float32) / 255
    return mask


def write_photo(photo: Photo, path: Path, *, overwrite: bool = False, format_: str | None = None) -> None:
    """Write a photo; the file is there whole or not at all.

    Args:
        photo: to write.
        path: its ending chooses the format, unless `format_` does.
        overwrite: replace a file that exists.
        format_: JPEG, PNG, WEBP, TIFF or HEIF; None for that of the ending.

    Raises:
        InvalidInput: the ending is none that is written, the file exists and `overwrite` is false, or as in
            `encode_photo`.
    """
    check_output(path, overwrite=overwrite, format_=format_)
    data = encode_photo(photo, format_ or FORMATS[path.suffix.lower()])
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def check_output(path: Path, *, overwrite: bool, format_: str | None = None) -> None:
    """Make sure, before any work, that a photo can be written to `path`.

    Args:
        path: where to.
        overwrite: a file there may be replaced.
        format_: where the ending does not choose it.

    Raises:
        InvalidInput: as in `write_photo`; or the path lies where nothing may be written; or it is HEIF, and that
            cannot be written here.
    """
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder: give the path of a file.")
    if format_ is None and path.suffix.lower() not in FORMATS:
        raise InvalidInput(f"{path} ends in none of {', '.join(FORMATS)}: choose a format by the ending.")
    if (format_ or FORMATS[path.suffix.lower()]) == "HEIF":
        heif.check_writable()
    check_place(path, overwrite=overwrite)
