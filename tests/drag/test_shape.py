import numpy as np
import pytest

from drag.landmarks import face_axes
from drag.shape import FARTHEST, PARTS, Pose, mirrored, outlined, shape_model, to_shape


@pytest.fixture(scope="module")
def model():
    return shape_model()


def in_picture(shape, *, scale=37.0, roll=0.3, at=(50.0, 40.0)):
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return shape @ turn * scale + at


def test_the_frame_undoes_any_similarity(model):
    shape = model.mean
    landmarks = in_picture(shape)
    assert to_shape(landmarks) == pytest.approx(shape, abs=1e-6)
    assert np.hypot(*face_axes(landmarks)[0]) == pytest.approx(37, abs=1e-3)


def test_the_mean_face_is_a_face(model):
    assert mirrored(model.mean) == pytest.approx(model.mean, abs=1e-6)
    assert mirrored(mirrored(model.patterns[3])) == pytest.approx(model.patterns[3])
    x, y = model.mean.T
    assert y[[19, 24]].max() < y[36:48].min() < y[33] < y[51] < y[57] < y[8]
    assert x[0] < x[36] < x[27] < x[45] < x[16]
    # The nose tip comes toward the viewer, the ears lie behind the eyes.
    assert model.depth.argmax() == 30
    assert model.depth[30] > 0.4
    assert model.depth[[0, 16]] == pytest.approx(-0.8, abs=0.25)
    assert sorted(k for part in PARTS.values() for k in part) == list(range(68))


def test_outlines_have_places_between_neighbours(model):
    places = outlined(model.mean, pieces=4)
    assert places[:68] == pytest.approx(model.mean)
    assert len(places) == 68 + 3 * (16 + 4 + 4 + 3 + 4 + 6 + 6 + 12 + 8)
    middles = [(model.mean[a] + model.mean[b]) / 2 for a, b in ((8, 9), (67, 60), (41, 36))]
    assert all(np.abs(places - middle).sum(axis=1).min() < 1e-9 for middle in middles)
    for apart in ((16, 17), (59, 60), (35, 36)):  # of two parts
        assert np.abs(places - model.mean[list(apart)].mean(axis=0)).sum(axis=1).min() > 1e-3
    unknown = model.mean.copy()
    unknown[57] = np.nan
    assert np.isnan(outlined(unknown, pieces=4)).any(axis=1).sum() == 1 + 2 * 3


@pytest.mark.parametrize("pose", [Pose(yaw=0.3, pitch=0.0), Pose(yaw=-0.2, pitch=0.15), Pose(yaw=0.0, pitch=-0.3)])
def test_pose_of_a_turned_head(model, pose):
    found = model.pose(model.mean + model.turned(pose))
    assert (found.yaw, found.pitch) == pytest.approx((pose.yaw, pose.pitch), abs=1e-6)
    assert model.pose(model.mean + 9 * model.turned(pose)).yaw <= FARTHEST


def test_a_pose_is_no_expression(model):
    turned = model.mean + model.turned(Pose(yaw=0.3, pitch=-0.2))
    assert np.abs(model.expression(turned)).max() < 1e-6


def test_coefficients_are_read_back(model):
    """Readers and patterns are dual, so that a shift of one pattern reads as its coefficient times its share."""
    products = np.tensordot(model.readers, model.patterns, axes=([1, 2], [1, 2]))
    assert products == pytest.approx(np.eye(len(products)), abs=1e-3)
    assert (np.diff(model.shares) <= 1e-6).all()
    assert 0 < model.shares[-1] < 0.2
    assert model.shares[0] == 1


def test_the_mouth_opens_by_expression_and_the_jaw_is_the_persons(model):
    """Of a mouth that stands open most is believed; of a broad jaw little."""
    opened = np.zeros((68, 2))
    opened[[61, 62, 63], 1] -= 0.05
    opened[[65, 66, 67, 56, 57, 58], 1] += 0.1
    broad = np.zeros((68, 2))
    broad[2:7, 0] -= 0.1
    broad[10:15, 0] += 0.1
    believed = []
    for shift in (opened, broad):
        found = model.expressed(model.expression(model.mean + shift))
        believed.append((found * shift).sum() / (shift**2).sum())
    assert believed[0] > 0.6
    assert believed[1] < 0.8 * believed[0]


def test_no_coefficient_goes_beyond_what_faces_do(model):
    far = np.zeros(len(model.patterns))
    far[0] = 50
    assert model.expressed(far) == pytest.approx(model.LIMIT * model.patterns[0])


def test_gauges_travel_whole_within_mouth_and_eyes(model):
    """Lids that close, which the statistics believe little of, and a wide mouth: the other face's, to the full."""
    other = model.mean.copy()
    other[[37, 38], 1] += 0.04
    other[[48, 54], 0] += [-0.1, 0.1]
    shift = model.transferred(model.mean, other)
    there = model.mean + shift
    assert there[54, 0] - there[48, 0] == pytest.approx(other[54, 0] - other[48, 0], abs=1e-6)
    assert (there[[40, 41], 1] - there[[37, 38], 1]).mean() == pytest.approx(
        (other[[40, 41], 1] - other[[37, 38], 1]).mean(), abs=1e-6
    )
    believed = model.expressed(model.expression(other) - model.expression(model.mean))
    rest = [k for part in ("jaw", "brows", "nose") for k in PARTS[part]]
    assert shift[rest] == pytest.approx(believed[rest])
