import cv2
import numpy as np
import pytest

from drag.landmarks import place
from pipeline.align import Alignment, center_frame, cut, ffhq_frame, outside
from tests.conftest import smooth_picture


def landmarks(center=(200.0, 180.0), eyes=60.0, angle=0.0):
    """A face whose eyes are `eyes` px apart, turned by `angle` degrees about its centre."""
    points = np.zeros((68, 2))
    points[36:42], points[42:48] = (-eyes / 2, 0), (eyes / 2, 0)
    points[48], points[54] = (-eyes / 3, eyes), (eyes / 3, eyes)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return points @ np.array([[c, s], [-s, c]]) + center


def dots(height, width, places, sigma):
    """A dark picture with a bright dot at each place."""
    y, x = np.mgrid[:height, :width]
    shown = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2)) for px, py in places)
    return np.repeat((np.clip(shown, 0, 1) * 250).astype(np.uint8)[..., None], 3, axis=2)


def centroid(picture, near, radius):
    """Return the centre of brightness around a place."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    weight = picture[..., 0].astype(float) * (np.hypot(x - near[0], y - near[1]) < radius)
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("angle", [0, 25, -140])
def test_ffhq_frame_follows_the_rule(angle):
    points = landmarks(angle=angle)
    frame = ffhq_frame(points, 128)
    middle = (place(points, "eye-left") + place(points, "eye-right")) / 2
    down = place(points, "mouth") - middle
    assert frame.scale * 128 == pytest.approx(4 * 60)
    assert np.degrees(np.arctan2(frame.matrix[1, 0], frame.matrix[0, 0])) == pytest.approx(angle)
    assert frame.to_photo(np.array([[63.5, 63.5]]))[0] == pytest.approx(middle + 0.1 * down)


@pytest.mark.parametrize("size", [32, 256, 100])
def test_a_crop_of_another_size_shows_the_same_square(size):
    points = landmarks(angle=25)
    assert ffhq_frame(points, 128).resized(size).matrix == pytest.approx(ffhq_frame(points, size).matrix)


def test_ffhq_frame_of_a_long_face_goes_by_its_length():
    points = landmarks()
    points[[48, 54], 1] += 40
    assert ffhq_frame(points, 64).scale * 64 == pytest.approx(3.6 * 100)


def test_center_frame():
    frame = center_frame(300, 200, 100)
    corners = frame.to_photo(np.array([[-0.5, -0.5], [99.5, 99.5]]))
    assert corners == pytest.approx(np.array([[49.5, -0.5], [249.5, 199.5]]))


@pytest.mark.parametrize(("eyes", "angle"), [(9, 0), (30, 12), (60, -33), (190, 5)])
def test_points_and_pixels_agree_to_a_quarter_of_a_pixel(eyes, angle):
    """A dot of the photo is cut out where `to_crop` says, and that maps back to the dot."""
    size = 128
    points = landmarks((600.3, 500.7), eyes, angle)
    frame = ffhq_frame(points, size)
    places = frame.to_photo(np.array([[30.0, 40.0], [90.25, 70.5], [64.0, 110.0]]))
    photo = dots(1000, 1200, places, max(1.5 * frame.scale, 1.2))
    crop = cut(photo, frame)
    for place_, expected in zip(places, frame.to_crop(places), strict=True):
        found = centroid(crop, expected, 8 if frame.scale >= 1 else 12)
        assert np.abs(found - expected).max() < 0.25
        assert frame.to_photo(expected[None])[0] == pytest.approx(place_)


def test_a_large_face_is_antialiased():
    """Stripes finer than a pixel of the crop become grey instead of false stripes."""
    photo = np.zeros((800, 800, 3), np.uint8)
    photo[:, ::2] = 255
    crop = cut(photo, center_frame(800, 800, 64))
    assert np.abs(crop - 127.5).max() < 8


def test_beyond_the_border_is_soft_and_inside_is_the_photo():
    photo = smooth_picture(200, 200)
    frame = ffhq_frame(landmarks((20.0, 100.0), 40), 64)
    crop, beyond = cut(photo, frame), outside(frame, 200, 200)
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    at = frame.to_photo(np.stack([x.ravel(), y.ravel()], 1).astype(float)).reshape(64, 64, 2)
    inside = (at >= 2).all(axis=2) & (at <= 197).all(axis=2)
    assert (beyond[inside] == 0).all()
    expected = cv2.remap(photo, at[..., 0].astype(np.float32), at[..., 1].astype(np.float32), cv2.INTER_LINEAR)
    assert np.abs(crop[inside] - expected[inside]).max() < 12
    left = crop[:, :8]
    assert beyond[:, 0].min() > 15
    assert np.abs(np.diff(left, axis=0)).max() < np.abs(np.diff(crop[inside.any(axis=1)], axis=0)).max()


def test_a_crop_wholly_beyond_the_photo_is_still_a_crop():
    frame = ffhq_frame(landmarks((-500.0, -500.0), 30), 32)
    crop = cut(smooth_picture(60, 60), frame)
    assert crop.shape == (32, 32, 3)
    assert np.isfinite(crop).all()


def test_region_holds_the_crop():
    frame = Alignment(np.array([[2.0, 0, 10], [0, 2.0, 20]]), 10)
    rows, columns = frame.region(100, 100)
    assert (rows, columns) == (slice(19, 40), slice(9, 30))
    assert frame.region(100, 100, margin=50) == (slice(0, 90), slice(0, 80))
