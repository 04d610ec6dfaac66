"""The composite: what stays, what is carried along, what the generator fills in."""

import tracemalloc

import cv2
import numpy as np
import pytest

from pipeline.align import Alignment
from pipeline.composite import change_mask, composite, room
from pipeline.flow import motion, warp
from pipeline.grain import measure_grain
from pipeline.photo import Photo
from pipeline.settings import CompositeSettings
from tests.conftest import smooth_picture

SIZE = 128


def textured(height: int, width: int, *, level: float = 12.0, seed: int = 0) -> np.ndarray:
    """Make a picture (H, W, 3) uint8 with structure down to single pixels."""
    rng = np.random.default_rng(seed)
    fine = rng.normal(0, level, (height, width, 1))
    for sigma in (4, 9):
        coarse = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), sigma)
        fine = fine + (coarse / coarse.std() * 20)[..., None]
    return np.clip(smooth_picture(height, width) * 0.4 + 70 + fine, 0, 255).astype(np.uint8)


def placed(scale: float, x: float, y: float, *, degrees: float = 0.0, size: int = SIZE) -> Alignment:
    """Return a crop of that scale and roll around (x, y) of its photo."""
    angle = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    origin = np.array([x, y]) - linear @ np.full(2, (size - 1) / 2)
    return Alignment(np.hstack([linear, origin[:, None]]), size)


def seen(photo: Photo, frame: Alignment) -> np.ndarray:
    """Return the crop as a perfect generator would show it."""
    from pipeline.align import cut

    return cut(photo.pixels, frame)


def bulge(size: int, shift: float) -> np.ndarray:
    """Return a flow (size, size, 2) that moves the middle by `shift` pixels to the right, and the border not."""
    y, x = np.mgrid[:size, :size] / (size - 1) - 0.5
    flow = np.zeros((size, size, 2), np.float32)
    flow[..., 0] = -shift * np.exp(-(x**2 + y**2) / 0.03)
    return flow


def test_nothing_changes_without_a_change():
    photo = Photo(pixels=textured(300, 260))
    frame = placed(1.5, 130, 150, degrees=20)
    crop = seen(photo, frame)
    patch = composite(photo, frame, crop, crop + 2.0)
    assert patch.pixels.size == 0
    assert np.array_equal(patch.on(photo.pixels), photo.pixels)
    assert not patch.whole_mask(300, 260).any()


@pytest.mark.parametrize(("scale", "degrees"), [(4.0, 0.0), (2.5, 35.0), (1.2, 160.0)])
def test_detail_moves_with_the_face(scale, degrees):
    """The photo's own pixels, moved by the flow, are the truth."""
    side = round(SIZE * scale * 1.5)
    photo = Photo(pixels=textured(side, side))
    frame = placed(scale, side / 2, side / 2, degrees=degrees)
    flow = bulge(SIZE, 6.0)
    before = seen(photo, frame)
    patch = composite(photo, frame, before, warp(before, flow))
    # The same flow for each pixel of the photo, literally.
    y, x = np.mgrid[:side, :side].astype(np.float64)
    points = frame.to_crop(np.stack([x.ravel(), y.ravel()], axis=1)).astype(np.float32).reshape(side, side, 2)
    moved = cv2.remap(flow, points[..., 0], points[..., 1], cv2.INTER_LINEAR) @ frame.matrix[:, :2].T.astype(np.float32)
    truth = warp(photo.pixels.astype(np.float32), moved)
    got = patch.on(photo.pixels).astype(np.float32)
    middle = np.hypot(*(points - (SIZE - 1) / 2).transpose(2, 0, 1)) < 0.2 * SIZE
    error, standing = (np.abs(truth - other)[middle].mean() for other in (got, photo.pixels))
    assert error < 0.5 * standing
    detail = [p - cv2.GaussianBlur(p, (0, 0), 1) for p in (got, truth)]
    assert 0.8 < detail[0][middle].std() / detail[1][middle].std() < 1.15


def test_what_is_uncovered_shows_no_ghost():
    """Dark stripes become a light patch: of the stripes nothing is left."""
    pixels = np.full((384, 384, 3), 150, np.uint8)
    pixels[160:230:6, 130:260] = 20
    pixels[161:231:6, 130:260] = 20
    photo, frame = Photo(pixels=pixels), placed(3.0, 192, 192)
    before = seen(photo, frame)
    after = before.copy()
    after[52:78, 42:88] = 230
    got = composite(photo, frame, before, after).on(photo.pixels)[175:215, 150:240].astype(float)
    assert got.mean() == pytest.approx(230, abs=6)
    assert got.std() < 6
    ghosts = (pixels + cv2.resize(after - before, (384, 384)))[175:215, 150:240]
    assert ghosts.std() > 20  # what adding the difference would leave


def test_colours_follow_the_photos_light():
    """The generator shows the face 20 levels too dark; the photo does not become darker."""
    photo = Photo(pixels=textured(300, 300))
    frame = placed(2.0, 150, 150)
    crop = seen(photo, frame)
    dark = crop - 20
    edited = warp(dark, bulge(SIZE, 6.0))
    got = composite(photo, frame, dark, edited).on(photo.pixels).astype(float)
    assert got.mean() == pytest.approx(photo.pixels.mean(), abs=1)


def test_outside_the_mask_pixels_are_equal_and_inside_the_border_fades():
    photo = Photo(pixels=textured(400, 400))
    frame = placed(2.0, 200, 200, degrees=-15)
    crop = seen(photo, frame)
    patch = composite(photo, frame, crop, warp(crop, bulge(SIZE, 8.0)))
    mask, got = patch.whole_mask(400, 400), patch.on(photo.pixels)
    assert np.array_equal(got[mask == 0], photo.pixels[mask == 0])
    assert (got[mask == 1] != photo.pixels[mask == 1]).any()
    assert np.abs(np.diff(mask, axis=0)).max() < 0.2  # no hard edge


def test_a_mask_bounds_the_composite():
    photo = Photo(pixels=textured(300, 300))
    frame = placed(2.0, 150, 150)
    crop = seen(photo, frame)
    allowed = np.zeros((SIZE, SIZE), np.float32)
    allowed[:, : SIZE // 2] = 1
    for mode in ("detail", "paste"):
        settings = CompositeSettings(composite=mode)
        mask = composite(photo, frame, crop, crop + 30, settings, allowed=allowed).whole_mask(300, 300)
        assert not mask[:, 154:].any()
        assert mask[150, 100] == pytest.approx(1)


def test_change_is_connected():
    """Faint differences count where they belong to a plain one, and not elsewhere."""
    before = np.full((SIZE, SIZE, 3), 100, np.float32)
    after = before.copy()
    after[40:60, 30:70] += 6
    after[45:55, 40:50] += 30
    after[90:110, 80:110] += 6
    mask = change_mask(before, after, feather=2)
    assert mask[50, 66] > 0.5
    assert not mask[85:, :].any()


@pytest.mark.parametrize(
    ("scale", "x", "y"), [(1.5, 10, 60), (1.5, 199, 199), (0.3, 100, 100), (2.0, 100, 100)], ids=str
)
def test_faces_at_the_border_and_small_ones(scale, x, y):
    photo = Photo(pixels=textured(200, 200))
    frame = placed(scale, x, y, degrees=10)
    crop = seen(photo, frame)
    patch = composite(photo, frame, crop, warp(crop, bulge(SIZE, 10.0)))
    got = patch.on(photo.pixels)
    assert got.shape == photo.pixels.shape
    assert (got != photo.pixels).any()
    mask = patch.whole_mask(200, 200)
    assert np.array_equal(got[mask == 0], photo.pixels[mask == 0])


def test_sides_at_the_photos_border_need_no_fading():
    photo = Photo(pixels=textured(256, 400))
    frame = placed(2.0, 127.5, 127.5)  # fills the photo's height, and touches its left border
    free = room(photo, frame, feather=6)
    assert free[[0, -1], 64] == pytest.approx(1)
    assert free[64, 0] == pytest.approx(1)
    assert free[64, -1] == 0


def test_paste_takes_the_generators_pixels():
    photo = Photo(pixels=textured(300, 300))
    frame = placed(2.0, 150, 150)
    edited = np.full((SIZE, SIZE, 3), 77, np.float32)
    patch = composite(photo, frame, seen(photo, frame), edited, CompositeSettings(composite="paste"))
    got = patch.on(photo.pixels)
    assert (got[100:200, 100:200] == 77).all()
    assert np.array_equal(got[:15], photo.pixels[:15])


def test_a_wider_feather_is_softer():
    photo = Photo(pixels=textured(300, 300))
    frame = placed(2.0, 150, 150)
    crop = seen(photo, frame)
    steepest = []
    for feather in (2.0, 16.0):
        patch = composite(photo, frame, crop, warp(crop, bulge(SIZE, 8.0)), CompositeSettings(feather=feather))
        steepest.append(np.abs(np.diff(patch.mask, axis=1)).max())
    assert steepest[1] < 0.5 * steepest[0]


def test_grain_is_matched_where_the_generator_paints():
    rng = np.random.default_rng(0)
    pixels = np.clip(np.full((300, 300, 3), 128) + rng.normal(0, 8, (300, 300, 1)), 0, 255).astype(np.uint8)
    photo, frame = Photo(pixels=pixels), placed(2.0, 150, 150)
    before = np.full((SIZE, SIZE, 3), 128, np.float32)
    after = before.copy()
    after[40:88, 40:88] = (220, 40, 60)
    area = (slice(120, 180), slice(120, 180))
    stds = {}
    for match in (True, False):
        settings = CompositeSettings(match_grain=match)
        got = composite(photo, frame, before, after, settings).on(pixels)[area].astype(np.float32)
        stds[match] = (got - cv2.GaussianBlur(got, (0, 0), 2))[..., 1].std()
    own = pixels[area].astype(np.float32)
    wanted = (own - cv2.GaussianBlur(own, (0, 0), 2))[..., 1].std()
    assert stds[True] == pytest.approx(wanted, rel=0.25)
    assert stds[False] < 0.3 * wanted


def test_grain_is_measured_in_the_smooth_parts():
    rng = np.random.default_rng(1)
    level = 5.0
    pixels = np.clip(np.full((256, 256, 3), 128) + rng.normal(0, level, (256, 256, 1)), 0, 255)
    pixels[:, 160:] = textured(256, 96, level=50)
    grain = measure_grain(pixels.astype(np.uint8))
    made = grain.make(200, 200, rng)
    assert made.std() == pytest.approx(level, rel=0.3)


def test_two_edits_side_by_side_keep_each_other():
    photo = Photo(pixels=textured(300, 420))
    frames = placed(2.0, 150, 150), placed(2.0, 270, 150)  # they overlap by half
    first = composite(photo, frames[0], *_edit(photo, frames[0]))
    once = Photo(pixels=first.on(photo.pixels))
    second = composite(once, frames[1], *_edit(once, frames[1]))
    twice = second.on(once.pixels)
    only_first = (first.whole_mask(300, 420) > 0) & (second.whole_mask(300, 420) == 0)
    assert np.array_equal(twice[only_first], once.pixels[only_first])
    assert (twice[only_first] != photo.pixels[only_first]).any()


def _edit(photo: Photo, frame: Alignment) -> tuple[np.ndarray, np.ndarray]:
    crop = seen(photo, frame)
    return crop, warp(crop, bulge(SIZE, 6.0))


def test_a_grey_photo_stays_grey():
    grey = np.repeat(textured(300, 300)[..., :1], 3, axis=2)
    photo = Photo(pixels=grey, grey=True)
    frame = placed(2.0, 150, 150)
    crop = seen(photo, frame)
    got = composite(photo, frame, crop, crop + np.float32([60, 0, 0])).on(grey)
    assert (got[..., :1] == got).all()
    assert got.mean() > grey.mean() + 5


def test_memory_follows_the_face_not_the_photo():
    photo = Photo(pixels=np.broadcast_to(np.uint8(120), (10_000, 10_000, 3)))
    frame = placed(2.0, 5000, 4000)
    crop = np.full((SIZE, SIZE, 3), 120, np.float32)
    tracemalloc.start()
    patch = composite(photo, frame, crop, crop + bulge(SIZE, 40.0)[..., :1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert patch.mask.any()
    assert peak < 60e6  # a mask of the whole photo alone would be 100 million pixels


def test_large_faces_are_painted_in_bands_that_fit():
    photo = Photo(pixels=textured(900, 900, level=4.0))
    frame = placed(6.0, 450, 450)
    crop = seen(photo, frame)
    got = composite(photo, frame, crop, warp(crop, bulge(SIZE, 5.0)), CompositeSettings(match_grain=False))
    rows = np.abs(np.diff(got.on(photo.pixels).astype(float), axis=0)).mean(axis=(1, 2))
    # No row stands out where bands of 256 rows meet.
    assert rows.max() < 1.3 * np.median(rows)


def test_flow_finds_a_known_motion():
    picture = textured(SIZE, SIZE, level=2.0).astype(np.float32)
    wanted = bulge(SIZE, 5.0)
    flow, trust = motion(picture, warp(picture, wanted))
    middle = (slice(40, 88), slice(40, 88))
    assert np.abs(flow - wanted)[middle].mean() < 0.5
    assert trust[middle].mean() > 0.7
    flow, trust = motion(picture, picture)
    assert np.abs(flow).max() < 0.05
    assert trust.min() > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_flow_does_not_knead_where_soft_pictures_show_little(seed):
    """A generator's pictures: soft, and a little different everywhere, as an edit leaves them."""
    picture = cv2.GaussianBlur(textured(SIZE, SIZE, level=0, seed=seed).astype(np.float32), (0, 0), 3)
    picture[:, :40] = picture[:, :40].mean(axis=(0, 1))  # a cheek, say
    rng = np.random.default_rng(seed)
    drift = cv2.GaussianBlur(rng.normal(0, 1, (SIZE, SIZE)).astype(np.float32), (0, 0), 3)[..., None]
    wanted = bulge(SIZE, 5.0)
    flow, _ = motion(picture, warp(picture, wanted) + 3 * drift / drift.std())
    wrong = np.abs(np.diff(flow - wanted, axis=1))
    assert wrong.max() < 1.1  # beyond 1, neighbours change places
    assert wrong.mean() < 0.055
