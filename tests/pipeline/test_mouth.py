"""The inside of a mouth that opens or closes."""

from itertools import product

import cv2
import numpy as np
import pytest

from drag.shape import shape_model
from pipeline.mouth import BEND, DARK, SIDE, STEEP, TONGUE, Mouth, _line, met
from pipeline.slit import Slit
from tests.pipeline.crops import SIZE, column_after

ZOOM = SIDE / SIZE
STILL = np.zeros((SIZE, SIZE, 2), np.float32)
SKIN, LIPS, TEETH, LINE = 200, 120, 240, 20
UPPER, LOWER = [61, 62, 63], [67, 66, 65]
UPPER_EDGE, LOWER_EDGE = (60, 61, 62, 63, 64), (60, 67, 66, 65, 64)
OVER, BENEATH = [49, 50, 51, 52, 53], [59, 58, 57, 56, 55]  # the outer edges


def face(opening: float) -> np.ndarray:
    """Return landmarks of a face whose inner lips lie at row 84 and so far below it, from column 48 to column 80."""
    at = shape_model().mean * 30 + [64, 45]
    at[[60, 64]] = [[48, 84 + opening / 2], [80, 84 + opening / 2]]
    at[UPPER], at[LOWER] = ([[x, y] for x in (56, 64, 72)] for y in (84, 84 + opening))
    columns = np.linspace(50, 78, 5)
    at[OVER], at[BENEATH] = ([[x, y] for x in columns] for y in (76, 84 + opening + 8))
    at[[48, 54]] = [[46, 84 + opening / 2], [82, 84 + opening / 2]]
    return at


def opened(at: np.ndarray, way: float) -> np.ndarray:
    """Return landmarks whose lower lip has gone down by `way`."""
    after = at.copy()
    after[LOWER + BENEATH] += [0, way]
    after[[48, 54, 60, 64]] += [0, way / 2]
    return after


def drawn(opening: float, *, dark: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Draw that face's mouth at SIDE px: teeth between lips, and a dark line from one row to another."""
    picture = np.full((SIDE, SIDE, 3), SKIN, np.float32)
    y = (np.arange(SIDE) + 0.5) / ZOOM - 0.5
    picture[(y > 76) & (y < 84 + opening + 8), 160:360] = LIPS
    picture[(y >= 84) & (y < 84 + opening), 160:360] = TEETH
    picture[(y >= dark[0]) & (y < dark[1]), 160:360] = LINE
    return picture


def column(mouth: Mouth, rows: np.ndarray, x: float = 64.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what `at` says of some rows of one column: shares, rows of the sources, depths."""
    shown = mouth.at(np.stack([np.full_like(rows, x), rows], axis=1)[:, None])
    return shown.share[:, 0], shown.sources[:, 0, 1], shown.deep[:, 0]


@pytest.mark.parametrize("opening", [0.0, 1.0, 10.0, 20.0])
def test_a_still_mouth_is_left_alone_and_would_show_itself(opening, monkeypatch):
    at = face(opening)
    picture = drawn(opening, dark=(84 + opening / 2, 85 + opening / 2))
    assert Mouth.of(picture, at, at, STILL) is None
    monkeypatch.setattr("pipeline.mouth.CLOSE", 1e-12)
    mouth = Mouth.of(picture, at, opened(at, 1e-6), STILL)
    points = np.stack(np.meshgrid(np.arange(40.0, 88), np.arange(70.0, 115)), axis=2)
    shown = mouth.at(points)
    assert shown.share.max() == pytest.approx(1)
    assert np.abs(shown.sources - points).max() < 1e-4
    assert shown.deep.max() < 1e-6


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
    assert (np.diff(sources[(rows > 84) & (rows < 98)]) > -1e-4).all()  # nothing twice
    assert mouth.dark == pytest.approx(mouth.dark[0] * np.ones(3))
    assert mouth.dark[0] <= DARK * LIPS


@pytest.mark.parametrize(("degrees", "size"), [(25, SIZE), (-70, SIZE), (180, 2 * SIZE), (0, 4 * SIZE)])
def test_a_rolled_or_larger_crop_is_the_same_mouth(degrees, size):
    zoom, angle = size / SIZE, np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def placed(points):
        return ((points - (SIZE - 1) / 2) @ turn.T + SIZE / 2) * zoom - 0.5

    at = face(6)
    picture, after = drawn(6, dark=(88.5, 89.2)), opened(at, 8)
    rolled = cv2.warpAffine(
        picture, cv2.getRotationMatrix2D(((SIDE - 1) / 2,) * 2, -degrees, 1), (SIDE, SIDE), borderValue=(SKIN,) * 3
    )
    usual = Mouth.of(picture, at, after, STILL)
    mouth = Mouth.of(rolled, placed(at), placed(after), np.zeros((size, size, 2), np.float32))
    points = np.stack(np.meshgrid(np.arange(52.0, 76), np.arange(78.0, 104)), axis=2)
    expected = usual.at(points)
    shown = mouth.at(placed(points.reshape(-1, 2)).reshape(points.shape))
    assert shown.share == pytest.approx(expected.share, abs=0.01)
    assert shown.sources == pytest.approx(placed(expected.sources.reshape(-1, 2)).reshape(points.shape), abs=0.6 * zoom)
    assert np.abs(shown.deep - expected.deep).mean() < 0.02
    assert np.abs(shown.tone - expected.tone).mean() < 3


def test_a_high_gap_is_dark_but_for_a_tongue_low_in_it_as_red_as_light_by_way_of_lips_is():
    at = face(6)
    picture = drawn(6, dark=(88.5, 89.2))
    picture[picture[..., 0] == LIPS] = 160, 110, 100
    for way, raised in ((12, True), (1, False)):
        mouth = Mouth.of(picture, at, opened(at, way), STILL)
        points = np.array([[[64.0, 90 + 0.1 * way]], [[64, 89 + 0.9 * way]], [[53, 89 + 0.4 * way]]])
        tone = mouth.at(points).tone[:, 0]
        assert tone[[0, 2]] == pytest.approx(np.array([mouth.dark, mouth.dark]), abs=2)
        assert tone[1] == pytest.approx(mouth.tongue if raised else mouth.dark, abs=0.15 * mouth.tongue.max())
        light = np.array([0.299, 0.587, 0.114])
        lip = np.array([160, 110, 100])
        assert mouth.tongue @ light == pytest.approx(TONGUE * (lip @ light), rel=0.01)
        assert mouth.tongue[0] / mouth.tongue[1] == pytest.approx((160 / 110) ** 2, rel=0.01)
        assert mouth.dark @ light <= DARK * (lip @ light) + 0.01


def test_what_a_detector_jitters_is_no_gap():
    at = face(6)
    rows = np.arange(80.0, 96, 0.25)
    picture = drawn(6, dark=(88.5, 89.2))
    assert Mouth.of(picture, at, opened(at, -0.25), STILL) is Mouth.of(picture, at, opened(at, 0.25), STILL) is None
    half, all_ = (column(Mouth.of(picture, at, opened(at, way), STILL), rows)[0].max() for way in (0.5, 0.8))
    assert 0.3 < half < 0.7
    assert all_ == pytest.approx(1)


def test_landmarks_beyond_a_corner_or_unknown():
    """As of a face that looks aside."""
    at = face(6)
    aside = at.copy()
    aside[[63, 65], 0] = at[64, 0] + [1.5, 0.5]
    mouth = Mouth.of(drawn(6), aside, opened(aside, 4), STILL)
    assert np.isfinite(mouth.at(np.full((1, 1, 2), 64.0)).sources).all()
    behind = at.copy()
    behind[62, 0], behind[63, 0] = at[63, 0], at[62, 0]  # the middle one farther right than the right one
    level = behind.copy()
    level[63, 0] = behind[62, 0]
    assert np.array_equal(*(Slit.of(found, UPPER_EDGE, LOWER_EDGE).upper for found in (behind, level)))
    unknown = at.copy()
    unknown[62] = np.nan
    assert Mouth.of(drawn(6), unknown, at, STILL) is None
    assert Mouth.of(drawn(6), at, unknown, STILL) is None


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
    assert sources[2] == pytest.approx(86 + 9.9, abs=0.3)


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
    mouth = Mouth.of(drawn(6, dark=(88, 89)), at, opened(at, 3), flow)
    share, sources, _ = column(mouth, np.arange(60.0, 84, 0.25))
    assert sources[0] == 63
    assert share[0] == 0
    assert share[-1] > 0.95
    assert sources[-1] == pytest.approx(83.75, abs=0.1)  # the upper lip stays
    assert np.abs(np.diff(sources - np.arange(60.0, 84, 0.25))).max() < 0.4
    outline = mouth.outline
    points = np.stack(np.meshgrid(np.arange(SIZE * 1.0), np.arange(SIZE * 1.0)), axis=2)
    y, x = np.nonzero(mouth.at(points).share)
    assert (outline.min(axis=0) <= [x.min(), y.min()]).all()
    assert (outline.max(axis=0) >= [x.max(), y.max()]).all()


def test_closed_lips_meet_at_the_darkest_line():
    picture = drawn(0, dark=(84.9, 85.4))
    at = face(0.5)
    moved = met(picture, at, SIZE)
    assert moved[UPPER, 1] == pytest.approx(84.9, abs=0.15)  # half a pixel apart, as they were
    assert moved[LOWER, 1] == pytest.approx(85.4, abs=0.15)
    others = np.setdiff1d(np.arange(68), UPPER + LOWER)
    assert np.array_equal(moved[others], at[others])
    assert np.array_equal(met(picture, face(4), SIZE), face(4))


def test_the_line_is_the_darkest_of_all():
    rng = np.random.default_rng(0)
    for _ in range(20):
        looks = rng.uniform(0, 1, (4, 5))
        lines = list(product(range(5), repeat=4))

        def cost(line, looks=looks):
            steps = np.abs(np.diff(line))
            return looks[np.arange(4), line].sum() + BEND * steps.sum() if steps.max() <= STEEP else np.inf

        assert cost(_line(looks)) == pytest.approx(min(map(cost, lines)))


def test_a_mouth_in_profile_is_left_to_the_flow():
    at = face(2)
    at[60] = at[64] - [0.5, 0]
    assert Mouth.of(drawn(2), at, at, STILL) is None
    assert np.array_equal(met(drawn(2), at, SIZE), at)


@pytest.mark.parametrize("degrees", [0, 15, 90])
def test_in_a_photo_closed_lips_part_and_keep_their_thickness(degrees):
    at = face(0)
    after = opened(at, 8)
    line = column_after(drawn(0, dark=(83.6, 84.4)), at, after, degrees)
    dark = np.flatnonzero(line < 60)
    assert dark[-1] - dark[0] == len(dark) - 1  # one gap
    assert len(dark) / 4 == pytest.approx(8, abs=1.5)
    for lip in (line[: dark[0]], line[dark[-1] + 1 :]):
        assert (np.abs(lip - LIPS) < 25).sum() / 4 == pytest.approx(7.5, abs=2)


def test_in_a_photo_the_gap_has_the_lips_hue_and_less_light():
    """Below upper teeth, with no dark line anywhere."""
    at = face(6)
    after = opened(at, 8)
    line = column_after(drawn(6), at, after, 10)
    top, bottom = (84 + 6 + 3) * 4, (84 + 6 + 7) * 4
    assert line[top - 4 : top + 4] == pytest.approx(DARK * LIPS, abs=4)
    assert DARK * LIPS + 8 < line[bottom] < TONGUE * LIPS  # the tongue
    assert (np.diff(line[top:bottom]) > -1).all()
    teeth = line > (TEETH + LIPS) / 2
    assert teeth[84 * 4 : 100 * 4].sum() / 4 == pytest.approx(6, abs=0.8)


def test_in_a_photo_lips_that_close_leave_no_teeth():
    at = face(6)
    after = opened(at, -5.9)
    line = column_after(drawn(6, dark=(89.4, 90)), at, after, 5)
    mouth = line[78 * 4 : 92 * 4]
    assert mouth.max() < LIPS + 40
    assert mouth.min() < LIPS - 15  # a line between the lips
