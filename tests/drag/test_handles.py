import numpy as np
import pytest

from drag.handles import LEAST_WEIGHT, choose, name_of, texture_weights, to_drags
from drag.landmarks import Drag
from drag.presets import own_presets
from drag.shape import PARTS, shape_model

MODEL = shape_model()


def chosen(name, strength=0.6):
    return choose(MODEL.mean, own_presets()[name].shift(MODEL.mean, MODEL, strength))


def test_what_moves_is_dragged_and_what_lies_apart_is_held():
    handles, anchors = chosen("smile")
    assert handles[:2] in ([48, 54], [54, 48])
    assert set(handles) <= set(PARTS["mouth"])
    assert {36, 45, 19, 24} <= set(anchors)
    assert not set(anchors) & set(PARTS["mouth"])
    handles, anchors = chosen("brows-up")
    assert set(handles) <= set(PARTS["brows"])
    assert {48, 54, 8, 30} <= set(anchors)
    assert not set(PARTS["brows"]) & set(anchors)


@pytest.mark.parametrize("name", list(own_presets()))
def test_handles_are_few(name):
    handles, anchors = chosen(name)
    assert 2 <= len(handles) <= 23
    assert len(set(handles + anchors)) == len(handles + anchors)


def test_near_landmarks_that_go_the_same_way_are_one():
    shift = np.zeros((68, 2))
    shift[48:68] = [0.1, 0]
    assert len(choose(MODEL.mean, shift)[0]) <= 8
    shift[57] = [0.1, 0.1]  # goes another way
    assert 57 in choose(MODEL.mean, shift)[0]


def test_short_ways_are_left_out_beside_long_ones_of_the_same_part():
    shift = np.zeros((68, 2))
    shift[8], shift[4], shift[37] = [0, 0.3], [0.02, 0], [0, 0.02]
    assert choose(MODEL.mean, shift)[0] == [37, 8]
    assert choose(MODEL.mean, np.zeros((68, 2)))[0] == []


def test_drags_are_in_percent():
    shift = np.zeros((68, 2))
    shift[48] = [0.123456, -0.05]
    weights = np.full(68, 0.5)
    assert to_drags([48, 49], shift, weights) == [
        Drag(handle="mouth-left", target=(12.35, -5.0), relative=True, weight=0.5),
        Drag(handle="49", target=(0.0, 0.0), relative=True, weight=0.5),
    ]
    assert name_of(30) == "nose-tip"
    assert name_of(37) == "37"


def test_plain_ground_weighs_less_than_corners():
    picture = np.full((128, 128, 3), 120, np.float32)
    for x, y in ((30, 30), (80, 40), (50, 90)):
        picture[y : y + 8, x : x + 8] = 250
    weights = texture_weights(picture, np.array([[30, 30], [80, 40], [50, 90], [10, 110], [33, 70]], float))
    assert weights[:3] == pytest.approx(1, abs=0.1)
    assert weights[3:].tolist() == [LEAST_WEIGHT] * 2
    assert texture_weights(np.zeros((64, 64, 3), np.float32), np.array([[3.0, 3], [900, -5]])).min() == LEAST_WEIGHT
