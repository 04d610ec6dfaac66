"""Moving pictures of drags."""

import json
import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from drag.editor import DragResult
from pipeline.faces import Face
from pipeline.metadata import DIGITAL_SOURCE_TYPE, mark_edited
from pipeline.preview import FRAME, LAST_FRAME, draw_faces, write_preview
from tests.conftest import full_disk
from tests.pipeline.exiftool import exiftool, needs_exiftool


@pytest.fixture
def drag():
    """A drag of three steps."""
    path = np.tile([[10.0, 10.0]], (4, 1, 1))
    rows = torch.zeros(4, 1, 8)
    return DragResult(w=rows[:1], reason="arrived", steps=3, path=path, targets=path[0], rows=rows)


def noise(w):
    return np.random.default_rng(0).uniform(0, 255, (384, 384, 3)).astype(np.float32)


def test_a_film_is_written_whole(tmp_path, drag):
    write_preview(tmp_path / "a.mp4", drag, noise)
    film = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 4 + LAST_FRAME // FRAME


def test_a_webp_says_that_it_was_edited(tmp_path, drag):
    write_preview(tmp_path / "a.webp", drag, noise)
    with Image.open(tmp_path / "a.webp") as image:
        assert image.info["xmp"] == mark_edited(None)


def test_a_gif_that_says_so_is_whole(tmp_path, drag):
    lights = iter(range(50, 250, 50))
    write_preview(tmp_path / "a.gif", drag, lambda _: np.full((384, 384, 3), next(lights), np.float32))
    assert mark_edited(None) in (tmp_path / "a.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.n_frames, image.info["loop"]) == (4, 0)
        for frame in range(4):
            image.seek(frame)
            assert image.convert("L").getpixel((300, 300)) == pytest.approx(50 + 50 * frame, abs=1)


@needs_exiftool
@pytest.mark.parametrize("ending", ["webp", "gif", "mp4"])
def test_exiftool_reads_that_a_preview_was_edited(tmp_path, drag, ending):
    path = tmp_path / f"a.{ending}"
    write_preview(path, drag, noise)
    (told,) = json.loads(exiftool("-j", "-n", "-G1", path))
    assert told["XMP-iptcExt:DigitalSourceType"] == DIGITAL_SOURCE_TYPE
    assert "ExifTool:Warning" not in told


@pytest.mark.parametrize("ending", ["mp4", "gif", "webp"])
@pytest.mark.parametrize("room", [100, 20_000])
def test_a_film_that_does_not_fit_on_the_disk_leaves_none(tmp_path, drag, ending, room):
    with full_disk(room), pytest.raises(OSError, match=r"make room on the disk|File too large"):
        write_preview(tmp_path / f"a.{ending}", drag, noise)
    assert list(tmp_path.iterdir()) == []


def test_faces_are_drawn_on_a_copy_that_costs_little():
    pixels = np.full((2000, 3000, 3), 7, np.uint8)
    face = Face(landmarks=np.full((68, 2), 500.0), box=(100, 100, 900, 900), score=1, detector="dlib")
    tracemalloc.start()
    canvas = draw_faces(pixels, [face])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (pixels == 7).all()
    assert (canvas != 7).any()
    assert np.array_equal(canvas[1000:], pixels[1000:])
    assert most < 2.5 * pixels.nbytes
