"""Pictures of presets: their ways drawn on the mean face, and a contact sheet of a photo."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from drag.presets import Preset
from drag.shape import OUTLINES, shape_model
from pipeline.align import cut
from pipeline.edit import Pipeline
from pipeline.photo import Photo
from pipeline.preview import write_on
from pipeline.retarget import Request, overall, plan
from weights.errors import InvalidInput

Canvas = NDArray[np.uint8]
Told = Callable[[str, int, int, str], bool | None]

TILE, COLUMNS = 256, 4  # px of a picture, pictures in a row
INK, WAY, PAPER = (70, 70, 70), (40, 90, 220), (255, 255, 255)


def draw_presets(presets: Sequence[Preset], *, strength: float = 1.0, side: int = TILE) -> Canvas:
    """Draw each preset's ways on the mean face: a sheet (H, W, 3)."""
    model = shape_model()
    tiles = []
    for preset in presets:
        tile = np.full((side, side, 3), PAPER, np.uint8)
        shift = preset.shift(model.mean, model, strength)
        at = _on_tile(model.mean, side)
        for line in OUTLINES:
            cv2.polylines(tile, [at[list(line)]], False, INK, 1, cv2.LINE_AA)
        there = _on_tile(model.mean + shift, side)
        for k in np.flatnonzero(np.hypot(*shift.T) > 1e-6):
            cv2.arrowedLine(tile, at[k].tolist(), there[k].tolist(), WAY, 2, cv2.LINE_AA, tipLength=0.3)
        tiles.append(_titled(tile, preset.name, INK))
    return tiled(tiles)


def sheet_of(
    pipeline: Pipeline,
    photo: Photo,
    presets: Sequence[Preset],
    *,
    strength: float,
    progress: Told | None = None,
    side: int = TILE,
) -> Canvas:
    """Apply each preset to a photo and lay out its faces, the photo's own first: a sheet (H, W, 3).

    Each picture bears its preset's name and how much of their way the landmarks made.

    Raises:
        PhotodragError: see `Pipeline.edit`.
    """
    subject = pipeline.invert(pipeline.align(photo), progress=progress)
    frame = subject.alignment.resized(side)

    def face(of: Photo) -> Canvas:
        return np.clip(cut(of.to_srgb(of.pixels), frame) + 0.5, 0, 255).astype(np.uint8)

    tiles = [_titled(face(photo), "before")]
    for number, preset in enumerate(presets, start=1):
        if progress:
            progress("sheet", number, len(presets), preset.name)
        try:
            planned = plan(subject, Request(presets=((preset, strength),)))
        except InvalidInput:  # nothing that would move, as with a mouth that is closed already
            continue
        result = pipeline.edit(subject, planned, progress=progress)
        share = overall(result)
        tiles.append(_titled(face(result.photo), preset.name if share is None else f"{preset.name}  {share:.0%}"))
    return tiled(tiles)


def tiled(tiles: Sequence[Canvas], *, columns: int = COLUMNS, gap: int = 6) -> Canvas:
    """Lay pictures (h, w, 3) of one size out in rows, on white."""
    height, width = tiles[0].shape[:2]
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), PAPER, np.uint8)
    for number, tile in enumerate(tiles):
        y, x = (number // columns) * (height + gap), (number % columns) * (width + gap)
        sheet[y : y + height, x : x + width] = tile
    return sheet


def _on_tile(shape: NDArray[np.float64], side: int) -> NDArray[np.int32]:
    """Bring a shape into the pixels of a tile."""
    return np.asarray((shape * 0.33 + [0.5, 0.3]) * side, np.int32)


def _titled(tile: Canvas, text: str, ink: tuple[int, int, int] = PAPER) -> Canvas:
    """Write a line at the foot of a picture."""
    tile = np.ascontiguousarray(tile)
    write_on(tile, text, (4, len(tile) - 5), 0.5, ink)
    return tile
