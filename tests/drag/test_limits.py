import numpy as np
import pytest

from drag.limits import BROW, FAR, LID, clamp
from drag.shape import Pose, shape_model

MODEL = shape_model()
FACE = MODEL.mean


def moved(**ways):
    shift = np.zeros((68, 2))
    for name, way in ways.items():
        shift[int(name[1:])] = way
    return shift


def test_what_a_face_can_do_is_left_alone():
    shift = moved(p48=(-0.1, -0.1), p37=(0, 0.05))
    found, told = clamp(FACE, shift, MODEL)
    assert found == pytest.approx(shift)
    assert told == []


@pytest.mark.parametrize(
    ("ways", "word", "pair", "gap"),
    [
        ({"p62": (0, 0.2), "p66": (0, -0.2)}, "lips would cross", (62, 66), LID),
        ({"p37": (0, 0.3)}, "eyelids would cross", (37, 41), LID),
        ({"p44": (0, -0.4)}, "brow would come down", (24, 44), BROW),
        ({"p19": (0, 0.5)}, "brow would come down", (19, 37), BROW),
    ],
)
def test_what_would_cross_meets(ways, word, pair, gap):
    shift = moved(**ways)
    found, told = clamp(FACE, shift, MODEL)
    assert any(word in sentence for sentence in told)
    y = (FACE + found)[:, 1]
    assert y[pair[1]] - y[pair[0]] == pytest.approx(gap)
    assert (y[[41, 40, 47, 46]] - y[[37, 38, 43, 44]]).min() >= LID - 1e-9
    assert shift == pytest.approx(moved(**ways))  # what was given is not changed


def test_corners_of_the_mouth_stay_apart():
    found, told = clamp(FACE, moved(p48=(0.59, 0), p54=(-0.59, 0)), MODEL)
    assert "the corners of the mouth" in told[0]
    assert (FACE + found)[54, 0] - (FACE + found)[48, 0] == pytest.approx(0.1)


def test_no_way_is_longer_than_a_face():
    found, told = clamp(FACE, moved(p8=(0, 5)), MODEL)
    assert found[8].tolist() == pytest.approx([0, FAR])
    assert "60%" in told[0]


def test_a_pair_that_was_out_of_order_may_stay_so():
    shape = FACE.copy()
    shape[62, 1] = shape[66, 1] + 0.01
    found, told = clamp(shape, moved(p48=(0.05, 0)), MODEL)
    assert told == []
    assert found[[62, 66]] == pytest.approx(0)


@pytest.mark.parametrize(("before", "told"), [(0.4, True), (0.7, False)])
def test_the_farthest_pose_is_told_where_it_is_the_shifts_doing(before, told):
    shape = FACE + MODEL.turned(Pose(yaw=before, pitch=0))
    _, sentences = clamp(shape, MODEL.turned(Pose(yaw=0.3, pitch=0)), MODEL)
    assert any("The head is turned by 35 degrees" in sentence for sentence in sentences) is told
