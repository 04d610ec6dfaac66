"""The rest of the way, made by a warp."""

import cv2
import numpy as np
import pytest

from drag.landmarks import Drag
from drag.presets import own_presets
from drag.shape import shape_model
from pipeline.faces import Face
from pipeline.finish import BEYOND, _closing, beyond, finish, lacking
from pipeline.photo import Photo
from pipeline.plan import Plan
from pipeline.retarget import Request, plan
from pipeline.subject import Aligned
from tests.pipeline.crops import SIZE, centre, dots, placed, textured


def face() -> np.ndarray:
    """Return 68 places spread over a crop, none near another."""
    y, x = np.mgrid[24:104:9j, 24:104:8j]
    return np.stack([x.ravel(), y.ravel()], axis=1)[:68]


def asked(ways: dict[int, tuple[float, float]]) -> np.ndarray:
    """Return the ways of some landmarks, and none of the others."""
    out = np.full((68, 2), np.nan)
    for number, way in ways.items():
        out[number] = way
    return out


def test_a_landmark_that_fell_short_is_brought_to_its_target():
    before = face()
    after = before.copy()
    after[20] += [4.0, 0.0]  # two thirds of its way, and the anchor stayed
    picture, moved = finish(dots(after), before, after, asked({20: (6, 0), 36: (0, 0)}), most=0.5)
    assert moved[20] == pytest.approx(before[20] + [6, 0], abs=0.3)
    assert centre(picture, moved[20]) == pytest.approx(before[20] + [6, 0], abs=0.4)
    assert moved[36] == pytest.approx(before[36], abs=0.2)
    assert centre(picture, before[36]) == pytest.approx(before[36], abs=0.3)


@pytest.mark.parametrize(("most", "made"), [(0.5, 5.0), (0.25, 3.0), (0.0, 1.0)])
def test_it_goes_on_by_a_share_of_the_way_at_most(most, made):
    before = face()
    after = before.copy()
    after[20] += [1.0, 0.0]
    picture, moved = finish(dots(after), before, after, asked({20: (8, 0)}), most=most)
    assert moved[20, 0] - before[20, 0] == pytest.approx(made, abs=0.3)
    if not most:
        assert np.array_equal(picture, dots(after))
        assert np.array_equal(moved, after)


def test_what_was_to_stay_comes_back_and_jitter_is_left():
    before = face()
    after = before.copy()
    after[20] += [6.0, 0.0]
    after[47] += [0.0, 3.0]
    after[36] += [0.3, 0.0]  # 1.2 px at 512
    ways = asked({20: (6, 0), 47: (0, 0), 36: (0, 0)})
    _, moved = finish(textured(SIZE, SIZE).astype(np.float32), before, after, ways, most=0.5)
    assert moved[47] == pytest.approx(before[47], abs=0.7)
    assert moved[36] == pytest.approx(after[36], abs=0.2)
    assert moved[20] == pytest.approx(after[20], abs=0.2)


@pytest.mark.parametrize("seen", [(-12.0, 0.0), (20.0, 9.0)])
def test_no_landmark_ends_farther_from_its_target_than_it_began(seen):
    before = face()
    after = before.copy()
    after[20] += seen  # by a detector that was mistaken
    _, moved = finish(dots(before), before, after, asked({20: (4, 0)}), most=0.7)
    assert np.hypot(*(moved[20] - before[20] - [4, 0])) < 4.3


def test_lips_that_would_cross_meet():
    before = (shape_model().mean * 30 + [64, 50]).astype(np.float64)
    ways = dict.fromkeys((61, 62, 63), (0, 8)) | dict.fromkeys((65, 66, 67), (0, -8))
    picture, moved = finish(textured(SIZE, SIZE).astype(np.float32), before, before, asked(ways), most=1.0)
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        assert -1e-6 < moved[lower, 1] - moved[upper, 1] < 0.5
    assert np.isfinite(picture).all()


def test_eyelids_that_close_go_all_of_the_way_and_those_that_open_a_share():
    before = (shape_model().mean * 30 + [64, 50]).astype(np.float64)
    picture = textured(SIZE, SIZE).astype(np.float32)
    for way, made in ((1.5, 1.5), (-1.5, -0.6)):  # of the upper lids, downward
        _, moved = finish(picture, before, before, asked(dict.fromkeys((37, 38, 43, 44), (0, way))), most=0.4)
        assert (moved - before)[[37, 38, 43, 44], 1] == pytest.approx(made, abs=0.1)
    _, moved = finish(picture, before, before, asked({41: (0, -1.5), 57: (0, 1.5)}), most=0.4)
    assert (moved - before)[[41, 57], 1] == pytest.approx([-1.5, 0.6], abs=0.1)


@pytest.mark.parametrize("name", [name for name, preset in own_presets().items() if any(preset.turn)])
def test_lids_of_a_head_that_turns_do_not_close(name):
    before = (shape_model().mean * 30 + [64, 50]).astype(np.float64)
    photo = Photo(pixels=np.zeros((SIZE, SIZE, 3), np.uint8))
    face = Face(landmarks=before, box=(0, 0, SIZE, SIZE), score=1, detector="dlib")
    aligned = Aligned(photo=photo, face=face, alignment=placed(1.0, 63.5, 63.5), crop=photo.pixels.astype(np.float32))
    for strength in (1, -1):
        ways = plan(aligned, Request(presets=((own_presets()[name], strength),))).ways(aligned)
        assert not _closing(before, ways, SIZE).any()


def test_what_is_lacking_sends_a_landmark_past_its_target_by_half_of_its_way_at_most():
    ways = asked({20: (6, 0), 21: (0, 4), 36: (0, 0)})
    before = face()
    after = before + 5
    after[[20, 21]] = before[[20, 21]] + [(4, 0), (0, -8)]
    lack = lacking(ways, (before, after))
    assert lack[20] == pytest.approx([2, 0])
    assert lack[21] == pytest.approx([0, 12])
    assert not np.delete(lack, [20, 21], axis=0).any()  # neither of what was to stay nor of what is free
    sent = beyond(ways, lack)
    assert sent[20] == pytest.approx([2, 0])
    assert sent[21] == pytest.approx([0, 4 * BEYOND])
    assert not np.delete(sent, [20, 21], axis=0).any()


def test_nothing_is_moved_of_which_nothing_is_said():
    before = face()
    picture = cv2.GaussianBlur(textured(SIZE, SIZE), (0, 0), 1).astype(np.float32)
    same, landmarks = finish(picture, before, before + 2, asked({}), most=0.5)
    assert np.array_equal(same, picture)
    assert np.array_equal(landmarks, before + 2)


def test_drags_go_before_what_else_is_asked_of_landmarks():
    photo = Photo(pixels=textured(300, 300))
    frame = placed(2.0, 150, 150)
    landmarks = frame.to_photo(face())
    seen = Face(landmarks=landmarks, box=(0, 0, 300, 300), score=1.0, detector="dlib")
    aligned = Aligned(photo=photo, face=seen, alignment=frame, crop=np.zeros((SIZE, SIZE, 3), np.float32))
    x, y = landmarks[36:42].mean(axis=0)
    drags = (
        Drag(handle="mouth-left", target=(0.0, 0.0), relative=True),
        Drag(handle="eye-left", target=(x, y + 6)),
        Drag(handle=(120.0, 120.0), target=(130.0, 120.0)),
    )
    also = tuple(
        Drag(handle=name, target=(landmarks[k, 0] + 8, landmarks[k, 1])) for name, k in (("48", 48), ("54", 54))
    )
    ways = Plan(drags=drags, also=also).ways(aligned)
    assert ways[54] == pytest.approx([4, 0])
    assert ways[48] == pytest.approx([0, 0])
    assert ways[36:42] == pytest.approx(np.array([[0.0, 3.0]] * 6))
    assert np.isnan(ways).sum() == 2 * 60
    bounded = Plan(drags=drags, also=also, regions=("mouth", "eyes")).ways(aligned)
    assert not bounded[[33, 8, 19]].any()
    assert np.isnan(bounded[[49, 60, 45]]).all()
    assert bounded[54] == pytest.approx([4, 0])
    assert np.isnan(Plan(drags=drags, regions=("face",)).ways(aligned)[33]).all()
