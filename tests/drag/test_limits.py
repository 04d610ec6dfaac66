import numpy as np
import pytest

from drag.limits import BROW, FAR, LID, LIP, clamp, in_order
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


@pytest.mark.parametrize("scale", [40.0, 300.0])
def test_lips_and_lids_keep_their_order_wherever_they_are_sent(scale):
    turn = np.array([[np.cos(0.2), np.sin(0.2)], [-np.sin(0.2), np.cos(0.2)]]) * scale
    before = FACE @ turn + 90
    assert in_order(before, before) == pytest.approx(before)
    sent = moved(p61=(0, 0.1), p62=(0, 0.1), p63=(0, 0.1), p65=(0, -0.1), p66=(0, -0.1), p67=(0, -0.1), p37=(0, 0.3))
    found = (in_order(before, before + sent @ turn) - 90) @ np.linalg.inv(turn)
    y = found[:, 1]
    for upper, lower in ((61, 67), (62, 66), (63, 65), (37, 41)):
        assert y[lower] - y[upper] == pytest.approx(LID, abs=1e-6)
    for upper, lower in ((51, 62), (66, 57)):
        assert y[lower] - y[upper] >= LIP * (FACE[lower, 1] - FACE[upper, 1]) - LID
    still = [k for k in range(68) if k not in (*range(48, 68), 37, 41)]
    assert found[still] == pytest.approx(FACE[still])


def test_a_lip_keeps_half_of_its_thickness():
    sent = FACE + moved(p50=(0, 0.06), p51=(0, 0.06), p52=(0, 0.06))
    found = in_order(FACE, sent)
    for outer, inner in ((50, 61), (51, 62), (52, 63)):
        thickness = FACE[inner, 1] - FACE[outer, 1]
        assert sent[inner, 1] - sent[outer, 1] < LIP * thickness
        assert found[inner, 1] - found[outer, 1] == pytest.approx(LIP * thickness, abs=2e-3)
    assert found[66, 1] - found[62, 1] >= LID - 1e-9


def test_what_may_not_be_held_back_stays_where_it_goes():
    free = np.zeros(68, bool)
    free[62] = True
    found = in_order(FACE, FACE + moved(p62=(0, 0.2)), free)
    assert found[66] == pytest.approx(FACE[66])
    assert found[62, 1] == pytest.approx(FACE[66, 1] - LID)


def test_what_is_out_of_order_and_stays_is_left_alone():
    face = FACE.copy()
    face[62, 1] = face[66, 1] + 0.02
    face[60, 0] = face[48, 0] - 0.01
    assert in_order(face, face) == pytest.approx(face)
