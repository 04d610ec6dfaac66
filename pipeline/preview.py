"""A moving picture of a drag, and pictures of landmarks: what people look at to see what happened."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from drag.editor import DragResult
from pipeline.faces import Face
from pipeline.metadata import mark_edited
from pipeline.tensors import Crop
from weights.errors import InvalidInput
from weights.files import replacing

FRAMES = 48  # at most; longer drags are thinned
SIDE = 384  # px, the least side of a preview
FRAME, LAST_FRAME = 80, 1200  # milliseconds
LOOPS = b"\x21\xff\x0bNETSCAPE2.0"  # begins a GIF's block of 5 bytes more
XMP_BOX = UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")  # of an MP4
HANDLE, TARGET, PATH = (220, 40, 40), (40, 90, 220), (255, 200, 40)

Canvas = NDArray[np.uint8]


def write_preview(path: Path, result: DragResult, render: Callable[[Tensor], Crop]) -> None:
    """Write the drag as an animated GIF or WebP or as MP4, with handles, targets and the handles' paths drawn.

    Each says in its XMP that it was edited.

    Args:
        path: ends in .gif, .webp or .mp4.
        result: of the drag.
        render: from a code to its crop.

    Raises:
        InvalidInput: another ending; or this OpenCV writes no MP4.
        OSError: it cannot be written, as on a full disk.
    """
    check_preview(path)
    steps = np.unique(np.linspace(0, result.steps, min(FRAMES, result.steps + 1)).round().astype(int))
    frames = [draw_drag(render(result.w_at(int(i))), result, int(i)) for i in steps]
    ending = path.suffix.lower()
    with replacing(path) as temporary:
        if ending == ".mp4":
            _write_mp4(temporary, frames)
            _mark_mp4(temporary)
        else:
            images = [Image.fromarray(frame) for frame in frames]
            durations = [FRAME] * (len(images) - 1) + [LAST_FRAME]
            said: dict[str, Any] = {"xmp": mark_edited(None)} if ending == ".webp" else {}
            images[0].save(temporary, save_all=True, append_images=images[1:], duration=durations, loop=0, **said)
            if ending == ".gif":
                _mark_gif(temporary)


def _write_mp4(path: Path, frames: Sequence[Canvas]) -> None:
    """Write pictures of one size as MPEG-4 (part 2), the last one shown longer."""
    height, width = frames[0].shape[:2]
    rate = 1000 / FRAME
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
    if not writer.isOpened():
        raise InvalidInput("This OpenCV writes no MP4: write the preview as .gif or .webp.")
    shown = (*frames, *(frames[-1],) * (LAST_FRAME // FRAME))
    for frame in shown:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    # OpenCV says nothing of what it could not write, as on a full disk.
    if _count_frames(path) != len(shown):
        raise OSError("The preview could not be written whole: make room on the disk")


def _mark_gif(path: Path) -> None:
    """Say in a GIF's XMP that it was edited, as the XMP specification's part 3 lays it out.

    Readers that know no XMP skip blocks by their length byte: the ramp after the packet leads all of them to the end.
    """
    block = b"\x21\xff\x0bXMP DataXMP" + mark_edited(None) + bytes([1, *range(255, -1, -1), 0])
    content = path.read_bytes()
    flags = content[10]
    head = 13 + (3 << (flags % 8 + 1) if flags & 0x80 else 0)  # the colours of all frames follow, or none
    if content[head:].startswith(LOOPS):  # some readers look for it there alone
        head += len(LOOPS) + 5
    path.write_bytes(content[:head] + block + content[head:])


def _mark_mp4(path: Path) -> None:
    """Say in an MP4's XMP that it was edited: a box of its own at the end, as that specification has it."""
    packet = mark_edited(None)
    with path.open("ab") as file:
        file.write((len(packet) + 24).to_bytes(4, "big") + b"uuid" + XMP_BOX.bytes + packet)


def _count_frames(path: Path) -> int:
    """Return how many pictures of a film can be read."""
    reader = cv2.VideoCapture(str(path))
    count = 0
    while reader.grab():
        count += 1
    reader.release()
    return count


def check_preview(path: Path) -> None:
    """Make sure that a preview can be written to `path`.

    Raises:
        InvalidInput: the ending is neither .gif nor .webp nor .mp4.
    """
    if path.suffix.lower() not in (".gif", ".webp", ".mp4"):
        raise InvalidInput(f"A preview ends in .gif, .webp or .mp4, which {path.name!r} does not.")


def draw_drag(crop: Crop, result: DragResult, step: int) -> Canvas:
    """Draw handles (red), targets (blue) and paths (yellow) up to `step` on an enlarged crop."""
    factor = max(1, -(-SIDE // len(crop)))
    canvas = _enlarge(np.clip(crop + 0.5, 0, 255).astype(np.uint8), factor)
    for path, target in zip(result.path.transpose(1, 0, 2), result.targets, strict=True):
        way = [_at(p, factor) for p in path[: step + 1]]
        for a, b in pairwise(way):
            cv2.line(canvas, a, b, PATH, 2, cv2.LINE_AA)
        cv2.circle(canvas, _at(target, factor), 5, TARGET, -1, cv2.LINE_AA)
        cv2.circle(canvas, way[-1], 5, HANDLE, -1, cv2.LINE_AA)
    return canvas


def draw_faces(pixels: NDArray[np.uint8], faces: Sequence[Face]) -> Canvas:
    """Draw each face's box, number and 68 numbered landmarks on a copy of a photo (H, W, 3)."""
    # Numbers are legible where a face is 600 px wide: a smaller one's picture is enlarged.
    smallest = min((f.box[2] - f.box[0] for f in faces), default=600)
    factor = int(np.clip(round(600 / max(smallest, 1)), 1, 2400 // max(pixels.shape[:2]) or 1))
    canvas = _enlarge(pixels, factor)
    for number, face in enumerate(faces, start=1):
        x0, y0, x1, y1 = face.box
        cv2.rectangle(canvas, _at((x0, y0), factor), _at((x1, y1), factor), TARGET, 2, cv2.LINE_AA)
        write_on(canvas, f"face {number}", _at((x0, y0), factor), 0.8, TARGET)
        for i, point in enumerate(face.landmarks):
            cv2.circle(canvas, _at(point, factor), 2, HANDLE, -1, cv2.LINE_AA)
            write_on(canvas, str(i), _at(point, factor), 0.35, (255, 255, 255))
    return canvas


def side_by_side(pictures: Sequence[NDArray[np.uint8]], *, gap: int = 8) -> Canvas:
    """Put pictures (H, W, 3) of one height next to each other, with white between."""
    bar = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (picture, bar)]
    return np.hstack(row[:-1])


def _enlarge(picture: NDArray[np.uint8], factor: int) -> Canvas:
    """Return an enlarged copy."""
    large = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(large, np.uint8)


def _at(point: Sequence[float] | NDArray[np.float64], factor: int) -> tuple[int, int]:
    """Return where a point of the picture lies on its enlargement, in whole pixels."""
    x, y = (round((float(v) + 0.5) * factor - 0.5) for v in point)
    return x, y


def write_on(canvas: Canvas, text: str, at: tuple[int, int], scale: float, color: tuple[int, int, int]) -> None:
    """Write text with a dark edge, legible on any ground."""
    # A thicker pen would write wider: the edge is the same text, moved by a pixel each way.
    around = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy]
    for (dx, dy), ink in [*((way, (0, 0, 0)) for way in around), ((0, 0), color)]:
        place = at[0] + 3 + dx, at[1] - 3 + dy
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)
