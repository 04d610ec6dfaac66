import numpy as np
import pytest

from drag.points import check_mask, check_points
from weights.errors import InvalidInput


def test_points_are_copied():
    handles = np.array([[1.0, 2.0]])
    points = check_points(handles, [[3, 4.5]], size=16)
    handles[0] = 0
    assert points.handles.tolist() == [[1, 2]]
    assert points.targets.tolist() == [[3, 4.5]]
    assert points.distances == pytest.approx([np.hypot(2, 2.5)])
    assert len(points) == 1


@pytest.mark.parametrize(
    ("handles", "targets", "message"),
    [
        ([], [], "no points"),
        ([[1, 1]], [], "1 handles and 0 targets"),
        ([[1, 1, 1]], [[2, 2, 2]], r"shape \(1, 3\)"),
        ([1, 2], [2, 3], r"shape \(2,\)"),
        ([["a", 1]], [[2, 2]], "no list"),
        ([[np.nan, 1]], [[2, 2]], "not finite"),
        ([[16, 1]], [[2, 2]], r"handle \(16, 1\) lies outside the 16 x 16 crop"),
        ([[1, 1]], [[2, -1]], r"target \(2, -1\) lies outside"),
        ([[1, 1]], [[1, 1]], "its own target"),
    ],
)
def test_bad_points(handles, targets, message):
    with pytest.raises(InvalidInput, match=message):
        check_points(handles, targets, size=16)


@pytest.mark.parametrize("weights", [[1], [1, -1], [1, 0], [np.inf, 1]])
def test_bad_weights(weights):
    with pytest.raises(InvalidInput, match="Weights are 2 numbers"):
        check_points([[1, 1], [2, 2]], [[3, 3], [4, 4]], size=16, weights=weights)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((8, 16)), "16 x 8 pixels where the picture is 16 x 16"),
        (np.zeros((16, 16)), "nothing to move"),
        (np.full((16, 16), 255), "from 0"),
        (np.full((16, 16), np.nan), "from 0"),
    ],
)
def test_bad_masks(mask, message):
    with pytest.raises(InvalidInput, match=message):
        check_mask(mask, size=16)


def test_boolean_and_soft_masks():
    assert check_mask(np.eye(4, dtype=bool), size=4).dtype == np.float32
    assert check_mask(np.eye(4) * 0.5, size=4)[0, 0] == 0.5


def test_anchors_may_stay():
    points = check_points([[1, 1], [4, 4]], [[2, 2], [4, 4]], size=16, anchors=[False, True])
    assert points.distances == pytest.approx([2**0.5, 0])
    with pytest.raises(InvalidInput, match="its own target"):
        check_points([[1, 1], [4, 4]], [[2, 2], [4, 4]], size=16, anchors=[True, False])
    with pytest.raises(InvalidInput, match="Every handle is an anchor"):
        check_points([[1, 1]], [[1, 1]], size=16, anchors=[True])
    with pytest.raises(InvalidInput, match="2 times yes or no"):
        check_points([[1, 1], [2, 2]], [[3, 3], [4, 4]], size=16, anchors=[True])
