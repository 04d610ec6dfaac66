"""The pictures to learn from: a folder or a .zip of aligned squares, read into memory."""

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weights.errors import InvalidFile, InvalidInput

ENDINGS = (".jpg", ".jpeg", ".png")
MARGIN = 1.25  # pictures are kept that much larger than they are shown, for turning and zooming
MAX_BYTES = 100_000_000  # of one picture's file


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pictures in memory.

    Attributes:
        pixels: (n, 3, side, side) uint8 RGB, side 1.25 times the size that is trained.
        odds: (n,) float64, how often each is drawn, relative to the others.
    """

    pixels: Tensor
    odds: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def draw(self, n: int, random: torch.Generator) -> Tensor:
        """Draw n pictures with replacement: (n, 3, side, side) in [-1, 1], float32, on the CPU."""
        chosen = torch.multinomial(self.odds, n, replacement=True, generator=random)
        return self.pixels[chosen].float() / 127.5 - 1


def read_pictures(path: Path, size: int, *, odds: Sequence[str] = ()) -> Pictures:
    """Read all .jpg and .png files below a folder, or in a .zip.

    Args:
        path: the folder or the .zip.
        size: what will be trained, in pixels; smaller pictures are refused.
        odds: FOLDER=FACTOR, see DataSettings.

    Raises:
        InvalidInput: no such folder, nothing in it, a picture that is no square or too small, odds that are none.
        InvalidFile: a .zip or a picture that cannot be read.
    """
    factors = _factors(odds)
    side = round(size * MARGIN)
    names = _names(path)
    if not names:
        raise InvalidInput(f"{path} holds no {', '.join(ENDINGS)} pictures: give a folder or a .zip of aligned ones.")
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    unused = [folder for folder in factors if not any(folder in parts for parts in folders)]
    if unused:
        raise InvalidInput(f"--odds names the folder {unused[0]!r}, but no picture of {path} is in one of that name.")
    # Each picture goes to its place at once: a list of them, stacked in the end, would take twice the memory.
    pixels = np.empty((len(names), 3, side, side), np.uint8)
    for place, (name, data) in zip(pixels, _files(path, names), strict=True):
        place[:] = _decode(f"{path}/{name}", data, size, side)
    weights = [math.prod(factors.get(folder, 1.0) for folder in parts) for parts in folders]
    return Pictures(pixels=torch.from_numpy(pixels), odds=torch.tensor(weights, dtype=torch.float64))


def _factors(odds: Sequence[str]) -> dict[str, float]:
    factors = {}
    for text in odds:
        folder, _, factor = text.partition("=")
        try:
            factors[folder] = float(factor)
        except ValueError:
            factors[folder] = math.nan
        if not folder or not 0 < factors[folder] < math.inf:
            raise InvalidInput(f"--odds takes FOLDER=FACTOR with a positive factor, like edited=0.125, not {text!r}.")
    return factors


def _names(path: Path) -> list[str]:
    """Return the pictures' paths below a folder or in a .zip, in a fixed order."""
    if path.is_dir():
        names = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
    else:
        with _archive(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    kept = (n for n in names if n.lower().endswith(ENDINGS))
    return sorted(n for n in kept if not any(part.startswith((".", "__")) for part in PurePosixPath(n).parts))


def _files(path: Path, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each picture's file."""
    if path.is_dir():
        for name in names:
            yield name, (path / name).read_bytes()
        return
    with _archive(path) as archive:
        for name in names:
            if archive.getinfo(name).file_size > MAX_BYTES:
                raise InvalidFile(f"{path}/{name} takes more than {MAX_BYTES // 10**6} MB: leave it out.")
            yield name, archive.read(name)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a .zip of pictures; what goes wrong with it is said in a sentence."""
    if not path.is_file():
        raise InvalidInput(f"There is no {path}: give a folder, or a .zip, of aligned pictures.")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        raise InvalidFile(f"{path} is no folder and no readable .zip of pictures: {error}.") from error


def _decode(name: str, data: bytes, size: int, side: int) -> NDArray[np.uint8]:
    """Return one picture (3, side, side), RGB."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise InvalidFile(f"{name} cannot be read as a picture: take it out, or save it anew.")
    height, width = image.shape[:2]
    if height != width:
        raise InvalidInput(f"{name} is {width} x {height} pixels, no square: align or crop the pictures first.")
    if height < size:
        raise InvalidInput(f"{name} is {height} px, too small to train {size} px: leave it out, or give --size.")
    method = cv2.INTER_AREA if height > side else cv2.INTER_CUBIC
    small = image if height == side else cv2.resize(image, (side, side), interpolation=method)
    return np.ascontiguousarray(small.transpose(2, 0, 1))
