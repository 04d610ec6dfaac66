"""The stages of an edit as pictures in a folder, and a page that shows them."""

from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.edit import EditResult
from pipeline.photo import Photo, eight_bit, encode_photo
from pipeline.preview import draw_drag, write_preview
from pipeline.report import ENDED, describe
from weights.errors import InvalidInput
from weights.files import replacing
from weights.outputs import check_folder

SHOWN = 1024  # px, the longer side of whole photos

CAPTIONS = {
    "photo-before": "The photo before",
    "photo-after": "The photo after",
    "photo-mask": "Where the photo changed (white: wholly)",
    "crop": "The crop: the face in the generator's frame",
    "reconstruction": "The reconstruction: the generator's picture of the inverted code",
    "edited": "The edited crop: the generator's picture of the dragged code",
    "finished": "The same, landmarks that fell short of their targets moved on",
    "difference": "That minus reconstruction, four times as strong, around grey",
    "drag": "Handles (red), targets (blue) and the way of the handles (yellow)",
}

EDITED = ("photo-after", "edited", "finished", "drag")  # of these, those that show the edit, and say so

MOVING, PAGE = "drag.webp", "index.html"

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222 }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1.5rem }
figure { margin: 0 } img { width: 100%; height: auto; background: #eee } figcaption { color: #555 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .2rem .8rem; border-bottom: 1px solid #ddd;
text-align: left }
"""


def stage_files(folder: Path) -> list[Path]:
    """Return the files that `write_stages` writes."""
    return [*(folder / f"{name}.png" for name in CAPTIONS), folder / MOVING, folder / PAGE]


def check_stages(folder: Path, *, overwrite: bool) -> None:
    """Make sure that stages can be written to a folder.

    Raises:
        InvalidInput: it is none, or nothing may be written there; or it holds something and `overwrite` is false.
    """
    check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise InvalidInput(f"{folder} holds something: give another folder for the stages, or --overwrite.")


def write_stages(folder: Path, result: EditResult) -> Path:
    """Write crop, reconstruction, edited crop, masks and the drag as PNG and WebP, and index.html beside them.

    Args:
        folder: where to; it is made, and pictures of these names in it are replaced.
        result: of the edit.

    Returns:
        The page.

    Raises:
        InvalidInput: as in `check_folder`.
    """
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures(result).items():
        grey = picture.ndim == 2
        shown = Photo(pixels=np.dstack([picture] * 3) if grey else picture, grey=grey)
        shown = shown.edited(shown.pixels) if name in EDITED else shown
        with replacing(folder / f"{name}.png") as temporary:
            temporary.write_bytes(encode_photo(shown, "PNG"))
    write_preview(folder / MOVING, result.drag, result.subject.render)
    page = folder / PAGE
    with replacing(page) as temporary:
        temporary.write_text(_page(result), encoding="utf-8")
    return page


def pictures(result: EditResult) -> dict[str, NDArray[np.uint8]]:
    """Return each stage's picture, uint8, by the name of its file; photos are shown at 1024 px at most."""
    subject = result.subject
    change = 128 + 4 * (result.finished - result.reconstruction)
    return {
        "photo-before": _shown(subject.photo.to_srgb(subject.photo.pixels)),
        "photo-after": _shown(result.photo.to_srgb(result.photo.pixels)),
        "photo-mask": _shown(_bytes(result.mask * 255)),
        "crop": _bytes(subject.crop),
        "reconstruction": _bytes(result.reconstruction),
        "edited": _bytes(result.edited),
        "finished": _bytes(result.finished),
        "difference": _bytes(change),
        "drag": draw_drag(result.edited, result.drag, result.drag.steps),
    }


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


def _shown(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture, reduced where it is large."""
    factor = SHOWN / max(picture.shape[:2])
    if factor >= 1:
        return eight_bit(picture)
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)


def _page(result: EditResult) -> str:
    """Return the page that shows the pictures, and what the edit did."""
    told = describe(result)
    rows = "".join(
        f"<tr><td>{escape(h['drag'])}</td><td>{h['from']}</td><td>{h['to']}</td><td>{h['ended']}</td>"
        f"<td>{h['left']}</td><td>{'' if h['reached'] is None else format(h['reached'], '.0%')}</td></tr>"
        for h in told["handles"]
    )
    seconds = ", ".join(f"{stage} {value:.1f} s" for stage, value in told["seconds"].items())
    figures = "".join(
        f'<figure><img src="{name}.png" alt=""><figcaption>{escape(caption)}</figcaption></figure>'
        for name, caption in CAPTIONS.items()
    )
    moving = f'<figure><img src="{MOVING}" alt=""><figcaption>The drag, step by step</figcaption></figure>'
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Photodrag: stages</title><style>{STYLE}</style>'
        f"<h1>Stages of an edit</h1><p>The drag {ENDED[told['stopped']]} after {told['steps']['drag']} steps; "
        f"{told['changed']} pixels changed; {escape(seconds)}.</p>"
        "<table><tr><th>drag</th><th>from</th><th>to</th><th>ended</th><th>px left</th><th>way made</th></tr>"
        f"{rows}</table><main>{figures}{moving}</main></html>\n"
    )
