"""The inside of a mouth that opens or closes."""

from itertools import product

import cv2
import numpy as np
import pytest

from drag.shape import shape_model
from pipeline.composite import composite
from pipeline.flow import FaceMotion, landmark_motion, warp
from pipeline.mouth import BEND, SIDE, Mouth, _line, met
from pipeline.photo import Photo
from pipeline.settings import CompositeSettings
from tests.pipeline.crops import SIZE, placed, seen

ZOOM = SIDE / SIZE
STILL = np.zeros((SIZE, SIZE, 2), np.float32)
SKIN, LIPS, TEETH, DARK = 200, 120, 240, 20
UPPER, LOWER = [61, 62, 63], [67, 66, 65]


def face(opening: float) -> np.ndarray:
    """Return landmarks of a face whose inner lips lie at row 84 and so far below it, from column 48 to column 80."""
    at = shape_model().mean * 30 + [64, 45]
    at[[60, 64]] = [[48, 84 + opening / 2], [80, 84 + opening / 2]]
    at[UPPER], at[LOWER] = ([[x, y] for x in (56, 64, 72)] for y in (84, 84 + opening))
    at[[57, 51]] = [[64, 84 + opening + 6], [64, 78]]
    return at


def opened(at: np.ndarray, way: float) -> np.ndarray:
    """Return landmarks whose lower lip has gone down by `way`."""
    after = at.copy()
    after[LOWER] += [0, way]
    after[[60, 64]] += [0, way / 2]
    return after


def drawn(opening: float, *, dark: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Draw that face's mouth at SIDE px: teeth between lips, and a dark line from one row to another."""
    picture = np.full((SIDE, SIDE, 3), SKIN, np.float32)
    y = (np.arange(SIDE) + 0.5) / ZOOM - 0.5
    picture[(y > 76) & (y < 84 + opening + 8), 160:360] = LIPS
    picture[(y >= 84) & (y < 84 + opening), 160:360] = TEETH
    picture[(y >= dark[0]) & (y < dark[1]), 160:360] = DARK
    return picture


def column(mouth: Mouth, rows: np.ndarray, x: float = 64.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what `at` says of some rows of one column: shares, rows of the sources, depths."""
    share, sources, deep = mouth.at(np.stack([np.full_like(rows, x), rows], axis=1)[:, None])
    return share[:, 0], sources[:, 0, 1], deep[:, 0]


@pytest.mark.parametrize("opening", [0.0, 1.0, 10.0, 20.0])
def test_a_still_mouth_shows_itself(opening):
    at = face(opening)
    mouth = Mouth.of(drawn(opening, dark=(84 + opening / 2, 85 + opening / 2)), at, at, STILL)
    points = np.stack(np.meshgrid(np.arange(40.0, 88), np.arange(70.0, 115)), axis=2)
    _, sources, deep = mouth.at(points)
    assert np.abs(sources - points).max() < 1e-4
    assert deep.max() < 1e-6


def test_where_it_opens_teeth_keep_their_size_and_the_gap_between_them_is_dark():
    at = face(6)
    mouth = Mouth.of(drawn(6, dark=(88.5, 89.2)), at, opened(at, 8), STILL)
    rows = np.arange(80.0, 104, 0.25)
    share, sources, deep = column(mouth, rows)
    upper, lower = (rows > 84) & (rows < 88), (rows > 97) & (rows < 98)
    assert sources[upper] == pytest.approx(rows[upper], abs=1e-4)
    assert sources[lower] == pytest.approx(rows[lower] - 8, abs=0.15)  # the lips' edges are a little smooth
    middle = (rows > 90.5) & (rows < 95)
    assert deep[middle] == pytest.approx(1)
    assert sources[middle] == pytest.approx(88.8, abs=0.5)
    assert not deep[upper].any()
    assert not deep[lower].any()
    assert share[(rows > 84) & (rows < 97)] == pytest.approx(1)
    assert (np.diff(sources) > -1e-4).all()  # nothing twice
    assert mouth.tone == pytest.approx(mouth.tone[0] * np.ones(3))
    assert mouth.tone[0] <= 0.3 * LIPS


def test_below_upper_teeth_alone_the_gap_is_above_the_lower_lip():
    at = face(6)
    _, sources, deep = column(Mouth.of(drawn(6), at, opened(at, 8), STILL), np.array([85.0, 89.0, 94.0]))
    assert sources[:2] == pytest.approx([85, 89], abs=1e-4)
    assert deep == pytest.approx([0, 0, 1])


def test_where_it_closes_upper_teeth_hide_what_is_below():
    at = face(10)
    rows = np.array([85.0, 86.0, 86.9])
    _, sources, deep = column(Mouth.of(drawn(10, dark=(89, 90)), at, opened(at, -7), STILL), rows)
    assert sources == pytest.approx(rows, abs=1e-4)
    assert not deep.any()
    shut = Mouth.of(drawn(10, dark=(89, 90)), at, opened(at, -9.9), STILL)
    share, sources, deep = column(shut, np.array([82.0, 84.05, 86.0]))
    assert deep[1] > 0.9  # a line between lips, and no row of teeth
    assert (share[[0, 2]] > 0.3).all()
    assert sources[0] == pytest.approx(82, abs=0.1)
    # The lower lip: a lip at what share of it is the mouth's, and elsewhere as before.
    assert sources[2] == pytest.approx(86 + share[2] * 9.9, abs=0.3)


def test_a_wide_open_mouth_is_stretched_as_it_has_a_gap_and_squeezed_never():
    at = face(20)
    picture = drawn(20, dark=(92, 96))
    rows = np.array([84.5, 90.0, 108.5])
    _, sources, deep = column(Mouth.of(picture, at, opened(at, 5), STILL), rows)
    assert sources == pytest.approx(84 + (rows - 84) * 20 / 25, abs=0.1)
    assert not deep.any()
    _, sources, _ = column(Mouth.of(picture, at, opened(at, -8), STILL), rows[:2])
    assert sources == pytest.approx(rows[:2], abs=1e-4)


def test_elsewhere_the_flow_holds_and_comes_in_smoothly():
    at = face(6)
    flow = np.full((SIZE, SIZE, 2), [0.0, 3.0], np.float32)
    mouth = Mouth.of(drawn(6, dark=(88, 89)), at, at, flow)
    share, sources, _ = column(mouth, np.arange(60.0, 84, 0.25))
    assert sources[0] == 63
    assert share[0] == 0
    assert share[-1] > 0.95
    assert np.abs(np.diff(sources - np.arange(60.0, 84, 0.25))).max() < 0.4
    outline = mouth.outline
    points = np.stack(np.meshgrid(np.arange(SIZE * 1.0), np.arange(SIZE * 1.0)), axis=2)
    y, x = np.nonzero(mouth.at(points)[0])
    assert (outline.min(axis=0) <= [x.min(), y.min()]).all()
    assert (outline.max(axis=0) >= [x.max(), y.max()]).all()


def test_closed_lips_meet_at_the_darkest_line():
    picture = drawn(0, dark=(84.9, 85.4))
    at = face(0.5)
    moved = met(picture, at, SIZE)
    assert moved[UPPER + LOWER, 1] == pytest.approx(85.15, abs=0.15)
    others = np.setdiff1d(np.arange(68), UPPER + LOWER)
    assert np.array_equal(moved[others], at[others])
    assert np.array_equal(met(picture, face(4), SIZE), face(4))


def test_the_line_is_the_darkest_of_all():
    rng = np.random.default_rng(0)
    for _ in range(20):
        looks = rng.uniform(0, 1, (4, 5))
        lines = list(product(range(5), repeat=4))

        def cost(line, looks=looks):
            return looks[np.arange(4), line].sum() + BEND * np.abs(np.diff(line)).sum()

        assert cost(_line(looks)) == pytest.approx(min(map(cost, lines)))


def test_a_mouth_in_profile_is_left_to_the_flow():
    at = face(2)
    at[60] = at[64] - [0.5, 0]
    assert Mouth.of(drawn(2), at, at, STILL) is None
    assert np.array_equal(met(drawn(2), at, SIZE), at)


def test_in_a_photo_closed_lips_part_and_keep_their_thickness():
    """By a generator that is far off: all that is known are the landmarks."""
    side = SIZE * 4
    pixels = cv2.resize(drawn(0, dark=(83.6, 84.4)), (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)
    photo, frame = Photo(pixels=pixels), placed(4.0, (side - 1) / 2, (side - 1) / 2)
    at = face(0)
    after = opened(at, 8)
    after[[55, 56, 57, 58, 59]] += [0, 8]
    motion = FaceMotion(drawn=(at, after), photo=(at, after))
    noise = 25 * cv2.GaussianBlur(np.random.default_rng(0).normal(0, 8, (SIZE, SIZE, 3)), (0, 0), 3)
    before = (seen(photo, frame) + noise).astype(np.float32)
    edited = warp(before, landmark_motion(at, after, SIZE).flow)
    got = composite(photo, frame, before, edited, CompositeSettings(match_grain=False), face=motion).on(pixels)
    line = got[:, side // 2].astype(int)[:, 1]
    dark = np.flatnonzero(line < 60)
    assert dark[-1] - dark[0] == len(dark) - 1  # one gap
    assert len(dark) / 4 == pytest.approx(8, abs=1.5)
    upper, lower = line[: dark[0]], line[dark[-1] + 1 :]
    assert (np.abs(upper - LIPS) < 25).sum() / 4 == pytest.approx(7.5, abs=2)
    assert (np.abs(lower - LIPS) < 25).sum() / 4 == pytest.approx(7.5, abs=2)
