"""Eyelids that close slide over the eye and hide it."""

import numpy as np
import pytest

from drag.shape import shape_model
from pipeline.eye import EYES, RIM, Eye
from pipeline.flow import landmark_motion
from pipeline.mouth import SIDE
from pipeline.slit import sample
from tests.pipeline.crops import SIZE, column_after

ZOOM = SIDE / SIZE
STILL = np.zeros((SIZE, SIZE, 2), np.float32)
SKIN, LID, CHEEK, WHITE, IRIS, PUPIL = 200, 150, 180, 240, 120, 30
UPPER, LOWER = [37, 38, 43, 44], [40, 41, 46, 47]
WIDTH = 20.0
EDGE = RIM * WIDTH


def face() -> np.ndarray:
    """Return landmarks of a face whose eyes are open from row 47 to row 53, from columns 36 and 72 on, 20 wide."""
    at = shape_model().mean * 32 + [64, 50]
    for x, (upper, lower) in zip((36, 72), EYES, strict=True):
        at[[upper[0], upper[-1]]] = [[x, 50], [x + WIDTH, 50]]
        at[list(upper[1:-1])] = [[x + 5, 47], [x + 15, 47]]
        at[list(lower[1:-1])] = [[x + 5, 53], [x + 15, 53]]
    return at


def closed(at: np.ndarray, upper: float, lower: float = 0.0) -> np.ndarray:
    """Return landmarks whose upper lids have gone down, and the lower ones up."""
    after = at.copy()
    after[UPPER, 1] += upper
    after[LOWER, 1] -= lower
    return after


def drawn() -> np.ndarray:
    """Draw these eyes at SIDE px: lids, and in the white an iris around a pupil, in bands."""
    picture = np.full((SIDE, SIDE, 3), SKIN, np.float32)
    y = (np.arange(SIDE) + 0.5) / ZOOM - 0.5
    for top, bottom, grey in ((41, 47, LID), (53, 58, CHEEK), (47, 53, WHITE), (48.5, 52.3, IRIS), (50.5, 51.5, PUPIL)):
        picture[(y > top) & (y < bottom), 110:400] = grey
    return picture


def column(eye: Eye, rows: np.ndarray, x: float = 46.0) -> tuple[np.ndarray, np.ndarray]:
    """Return what `at` says of some rows of one column: shares, and rows of the sources."""
    shown = eye.at(np.stack([np.full_like(rows, x), rows], axis=1)[:, None])
    assert shown.deep is None
    return shown.share[:, 0], shown.sources[:, 0, 1]


def edges(eye: Eye, x: float = 46.0) -> tuple[float, float]:
    """Return the rows of its lids after the edit, in a column."""
    place = (x - eye.slit.corner[0]) / WIDTH
    columns = np.linspace(0, 1, len(eye.slit.upper))
    return tuple(eye.slit.corner[1] + np.interp(place, columns, edge) for edge in (eye.slit.upper, eye.slit.lower))


def test_an_eye_that_stays_or_opens_is_left_to_the_flow_and_one_that_barely_closes_shows_itself(monkeypatch):
    at = face()
    assert Eye.closing(at, at, STILL) == []
    assert Eye.closing(at, closed(at, -3), STILL) == []
    assert Eye.closing(at, closed(at, 0.1), STILL) == []  # as a detector jitters
    monkeypatch.setattr("pipeline.eye.CLOSE", 1e-12)
    (eye, _) = Eye.closing(at, closed(at, 1e-6), STILL)
    points = np.stack(np.meshgrid(np.arange(30.0, 62), np.arange(34.0, 66)), axis=2)
    shown = eye.at(points)
    assert shown.share.max() == pytest.approx(1)
    assert np.abs(shown.sources - points).max() < 1e-4


def test_a_lid_that_comes_down_hides_the_eye_and_does_not_press_it():
    at = face()
    (eye, other) = Eye.closing(at, closed(at, 3), STILL)
    top, bottom = edges(eye)
    rows = np.arange(40.0, 60, 0.25)
    share, sources = column(eye, rows)
    rim, lid = (rows > top) & (rows < top + EDGE), (rows > top - 1) & (rows < top)
    assert sources[lid | rim] == pytest.approx(rows[lid | rim] - 3, abs=0.3)  # the edges are a little smooth
    within = (rows > top + EDGE) & (rows < bottom)
    assert within.sum() >= 4
    assert sources[within] == pytest.approx(rows[within], abs=0.3)
    assert sources[(rows > bottom) & (rows < bottom + 2)] == pytest.approx(
        rows[(rows > bottom) & (rows < bottom + 2)], abs=0.3
    )
    assert share[(rows > top - 2) & (rows < bottom + 2)] == pytest.approx(1)
    assert (np.diff(sources) > -1e-4).all()
    assert np.diff(sources).max() > 1.5  # what is hidden
    assert column(other, rows, 82.0)[1] == pytest.approx(sources, abs=0.1)


def test_lids_that_meet_leave_lashes_and_nothing_of_the_eye():
    at = face()
    (eye, _) = Eye.closing(at, closed(at, 4, 2), STILL)
    top, bottom = edges(eye)
    assert bottom - top < 0.5
    rows = np.arange(40.0, 60, 0.1)
    _, sources = column(eye, rows)
    own = np.interp(0.5, np.linspace(0, 1, len(eye.own.upper)), eye.own.upper) + 50
    ends = own, 100 - own
    seen = (sources > ends[0] + EDGE + 0.1) & (sources < ends[1] - 0.1)
    assert seen.sum() * 0.1 < 0.3
    assert sources[rows < top - 0.1].max() < ends[0]
    assert sources[rows > bottom + EDGE + 0.1].min() > ends[1] - 0.1


def test_a_lower_lid_that_rises_alone_takes_its_lashes_along():
    at = face()
    (eye, _) = Eye.closing(at, closed(at, 0, 3), STILL)
    top, bottom = edges(eye)
    rows = np.arange(top + EDGE + 0.1, bottom + 2, 0.25)
    _, sources = column(eye, rows)
    lashes = rows > bottom - EDGE
    assert sources[lashes] == pytest.approx(rows[lashes] + 3, abs=0.3)
    assert sources[~lashes] == pytest.approx(rows[~lashes], abs=0.3)


def test_neither_a_corner_nor_a_brow_that_moves_takes_the_eye_along():
    at = face()
    after = closed(at, 2)
    after[36, 0] -= 2
    after[17:27, 1] += 3
    flow = landmark_motion(at, after, SIZE)
    (eye, _) = Eye.closing(at, after, flow)
    top, bottom = edges(eye)
    points = np.stack(np.meshgrid(np.arange(45.0, 48), np.arange(top + EDGE + 0.2, bottom - EDGE - 0.2, 0.25)), axis=2)
    way = eye.at(points).sources - points
    assert np.abs(way[..., 1]).max() < 0.05
    assert way[..., 0] == pytest.approx(sample(eye.still, points)[..., 0], abs=1e-6)
    assert np.abs(way[..., 0]).max() < 0.65  # where it would be 1, were it stretched between the corners


def test_where_one_half_of_an_eye_opens_and_at_the_corners_the_flow_holds():
    at = face()
    after = at.copy()
    after[37, 1] += 2
    after[38, 1] -= 2
    flow = np.full((SIZE, SIZE, 2), [0.0, 1.0], np.float32)
    (eye,) = Eye.closing(at, after, flow)
    rows = np.arange(46.0, 54, 0.25)
    for x in (36.0, 52.0, 56.0):
        share, sources = column(eye, rows, x)
        assert share.max() < 1e-6
        assert sources == pytest.approx(rows + 1)
    assert column(eye, rows, 41.0)[0].max() == pytest.approx(1)


def test_the_eye_goes_along_with_the_head():
    at = face()
    shift = np.array([3.0, 2.0])
    after = closed(at, 3) + shift
    (eye, _) = Eye.closing(at, after, landmark_motion(at, after, SIZE))
    top, bottom = edges(eye, 49)
    rows = np.arange(top + EDGE + 0.1, bottom, 0.25)
    _, sources = column(eye, rows, 49)
    assert sources == pytest.approx(rows - shift[1], abs=0.35)


def test_a_lower_lid_that_sinks_while_the_upper_one_comes_down_shows_no_cheek_in_the_eye():
    at = face()
    (eye, _) = Eye.closing(at, closed(at, 4, -2), STILL)
    top, bottom = edges(eye)
    rows = np.arange(top + EDGE + 0.1, bottom, 0.25)
    _, sources = column(eye, rows)
    own = np.interp(0.5, np.linspace(0, 1, len(eye.own.lower)), eye.own.lower) + 50
    assert sources.max() < own + 1e-6
    assert np.diff(sources) == pytest.approx(0.25, abs=1e-6)


def test_one_eye_of_two_and_eyes_that_are_not_known_or_seen_in_profile():
    at = face()
    wink = closed(at, 3)
    wink[42:48] = at[42:48]
    (eye,) = Eye.closing(at, wink, STILL)
    assert eye.slit.corner == pytest.approx([36, 50])
    after = closed(at, 3)
    after[38] = np.nan
    (eye,) = Eye.closing(at, after, STILL)
    assert eye.slit.corner == pytest.approx([72, 50])
    aside = at.copy()
    aside[39] = aside[36] + [2, 0]
    assert len(Eye.closing(aside, closed(aside, 3), STILL)) == 1


def test_elsewhere_the_flow_holds_and_comes_in_smoothly():
    at = face()
    flow = np.full((SIZE, SIZE, 2), [0.0, 2.0], np.float32)
    (eye, _) = Eye.closing(at, closed(at, 3), flow)
    rows = np.arange(30.0, 49, 0.25)
    share, sources = column(eye, rows)
    assert sources[0] == 32
    assert share[0] == 0
    assert share[-1] > 0.95
    assert np.abs(np.diff(sources - rows)).max() < 0.4
    outline = eye.outline
    points = np.stack(np.meshgrid(np.arange(SIZE * 1.0), np.arange(SIZE * 1.0)), axis=2)
    y, x = np.nonzero(eye.at(points).share)
    assert (outline.min(axis=0) <= [x.min(), y.min()]).all()
    assert (outline.max(axis=0) >= [x.max(), y.max()]).all()


@pytest.mark.parametrize("degrees", [0, 15, 90])
def test_in_a_photo_the_lid_covers_the_iris_and_the_rest_of_it_stays(degrees):
    before, line = (column_after(drawn(), face(), closed(face(), way), degrees, column=46) for way in (0, 2))
    for low, high, level in ((PUPIL, IRIS, 50.0), (IRIS, WHITE, 52.0)):  # their lower edges
        at = [np.flatnonzero(seen[: 54 * 4] < (low + high) / 2).max() / 4 for seen in (before, line)]
        assert at[0] > level
        assert at[1] == pytest.approx(at[0], abs=0.3)
    dark = [(seen[: 54 * 4] < (PUPIL + IRIS) / 2).sum() / 4 for seen in (before, line)]
    assert dark[1] == pytest.approx(dark[0], abs=0.3)  # it is not pressed flat
    assert (np.abs(line[48 * 4 : 49 * 4] - LID) < 15).all()  # where the iris began


def test_in_a_photo_what_the_generator_draws_on_lids_that_close_is_not_taken():
    clean, stained = (
        column_after(drawn(), face(), closed(face(), 4, 2), 0, column=46, stain=stain)
        for stain in (slice(0), slice(40, 62))
    )
    assert np.abs(clean - stained)[203:207].max() < 20  # where they meet


def test_in_a_photo_lids_close():
    line = column_after(drawn(), face(), closed(face(), 4, 2), 5, column=46)
    assert line[40 * 4 : 60 * 4].min() > IRIS + 15  # nothing of iris or pupil
    assert (line[40 * 4 : 60 * 4] > (SKIN + WHITE) / 2).sum() / 4 < 1.5  # a rim of white where lashes would be
