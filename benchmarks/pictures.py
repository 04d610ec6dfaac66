"""The README's pictures: python -m benchmarks.pictures [--faces DIR].

Writes docs/images/demo.jpg (the demo's photo before and after), presets.jpg (every preset on that photo) and, with
`--faces`, composite.jpg (two pairs of DIR/edits at 128 px: the photo, the crop pasted, ours, the truth). like.jpg is
made by `benchmarks.retarget --sheet`, from drags that it kept.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from benchmarks.composite import CASES, middle, seen_in
from benchmarks.pairs import read_pairs, shrunk
from pipeline.align import center_frame, cut
from pipeline.cli.app import run
from pipeline.photo import Photo, read_photo, write_photo

NAMES = ["demo", "presets", "composite"]
IMAGES = Path(__file__).parent.parent / "docs" / "images"


def save(pixels: NDArray[np.uint8], name: str) -> None:
    """Write a picture as a small JPEG."""
    Image.fromarray(pixels).save(IMAGES / f"{name}.jpg", quality=82)


def demo() -> None:
    """The demo's photo before and after."""
    with tempfile.TemporaryDirectory() as folder:
        run(["demo", "-o", folder])
        save(read_photo(Path(folder) / "side-by-side.png").pixels, "demo")


def presets() -> None:
    """Every preset on the demo's photo."""
    with tempfile.TemporaryDirectory() as folder:
        photo, sheet = Path(folder) / "photo.png", Path(folder) / "sheet.png"
        write_photo(Photo(pixels=skimage.data.astronaut()), photo)
        run(["presets", "--sheet", str(photo), "-o", str(sheet)])
        save(read_photo(sheet).pixels, "presets")


def composites(faces: Path, chosen: tuple[int, ...] = (2, 4), size: int = 128) -> None:
    """Pairs of a small generator's size in their photos: before, pasted, ours, the truth."""
    rows = []
    for pair in [read_pairs(faces / "edits")[i] for i in chosen]:
        photo, frame = Photo(pixels=pair.before), center_frame(pair.before.shape[1], pair.before.shape[0], size)
        crops = shrunk(pair, size)
        seen = seen_in(cut(photo.pixels, frame), *crops)
        made = [CASES[name](photo, frame, *crops, seen) for name in ("paste", "detail")]
        rows.append(np.hstack([middle(picture) for picture in (pair.before, *made, pair.after)]))
    sheet = np.vstack(rows)
    save(np.asarray(cv2.resize(sheet, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8), "composite")


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    arguments = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    if "demo" in arguments.only:
        demo()
    if "presets" in arguments.only:
        presets()
    if arguments.faces and "composite" in arguments.only:
        composites(arguments.faces)


if __name__ == "__main__":
    main()
