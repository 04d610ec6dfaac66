"""The composite: what stays, what is carried along, what the generator fills in."""

import cv2
import numpy as np
import pytest

from drag.shape import outlined, shape_model
from pipeline.composite import change_mask, composite
from pipeline.flow import FaceMotion, landmark_motion, warp
from pipeline.photo import Photo
from pipeline.settings import CompositeSettings
from tests.pipeline.crops import SIZE, bulge, centre, dots, edit, placed, seen, textured


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


def erring(crop: np.ndarray, level: float) -> np.ndarray:
    """Return what a generator that errs by `level` would add to a crop."""
    error = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 1, crop.shape).astype(np.float32), (0, 0), 2)
    return level * error / error.std()


def test_a_stain_is_not_believed_and_teeth_are():
    """A generator that errs by some levels everywhere: what it adds counts where it stands out of that."""
    photo = Photo(pixels=textured(SIZE * 3, SIZE * 3))
    frame = placed(3.0, SIZE * 1.5, SIZE * 1.5)
    crop = seen(photo, frame)
    before = crop + erring(crop, 8)
    flow = bulge(SIZE, 4.0)
    stain, teeth = np.zeros_like(crop), np.zeros_like(crop)
    stain[60:72, 44:56] = [-10, -20, -35]
    teeth[60:72, 76:88] = 150
    moved = composite(photo, frame, before, warp(before, flow)).on(photo.pixels).astype(float)
    got = composite(photo, frame, before, warp(before, flow) + stain + teeth).on(photo.pixels).astype(float)
    stained, new = (slice(189, 207), slice(141, 159)), (slice(189, 207), slice(237, 255))
    assert np.abs(got - moved)[stained].mean() < 8
    assert np.abs((got - moved)[new]).mean() > 90
    # Where the generator shows the photo without an error, its every change is meant.
    exact = composite(photo, frame, crop, warp(crop, flow) + stain).on(photo.pixels).astype(float)
    assert (exact - moved)[stained].mean() == pytest.approx(stain[60:72, 44:56].mean(), abs=6)


def test_landmarks_help_where_the_search_is_lost():
    """Stripes that move by more than one of them: landmarks know by how many."""
    y, x = np.mgrid[: SIZE * 2, : SIZE * 2]
    stripes = 120 + 60 * np.sin(x * np.pi / 8) + 10 * np.sin(y / 10)
    photo, frame = Photo(pixels=np.repeat(stripes[..., None], 3, axis=2).astype(np.uint8)), placed(2.0, SIZE, SIZE)
    before = seen(photo, frame)
    before += erring(before, 6)
    flow = bulge(SIZE, 10.0)
    at = np.round(shape_model().mean * 30 + [64, 52]).astype(int)
    landmarks = at + flow[at[:, 1], at[:, 0]].astype(float), at.astype(float)
    face = FaceMotion(drawn=landmarks, photo=landmarks)
    after = warp(before, flow)
    truth = warp(photo.pixels.astype(np.float32), 2 * cv2.resize(flow, (2 * SIZE, 2 * SIZE)))
    errors = [
        np.abs(composite(photo, frame, before, after, face=known).on(photo.pixels) - truth)[96:160, 96:160].mean()
        for known in (face, None)
    ]
    assert errors[0] < 0.6 * errors[1]


def mouth_moved(at: np.ndarray, way: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return a face's landmarks in a crop, and where its mouth has gone."""
    after = at.copy()
    after[48:] += way
    return at, after


def test_the_photos_own_landmarks_go_as_far_as_the_generators():
    """A generator that draws the mouth 3 px beside its place."""
    start = shape_model().mean * 30 + [64, 45]
    start[[48, 54]] += [[-6, 0], [6, 0]]  # apart from their neighbours, to be found again
    drawn = mouth_moved(start - [3, 0], (0, 6))
    photo, frame = Photo(pixels=dots(start).astype(np.uint8)), placed(1.0, (SIZE - 1) / 2, (SIZE - 1) / 2)
    before, after = (dots(at) + erring(dots(at), 8) for at in drawn)
    got = composite(photo, frame, before, after, face=FaceMotion.of(*drawn, start)).on(photo.pixels).astype(np.float32)
    for corner in (48, 54):
        assert centre(got, start[corner] + [0, 6]) == pytest.approx(start[corner] + [0, 6], abs=1.2)


def test_what_is_new_stands_in_the_place_of_what_moved():
    """White teeth over a texture, by a generator that draws the mouth beside its place: no ghosts of either."""
    pixels = textured(SIZE * 3, SIZE * 3)
    photo, frame = Photo(pixels=pixels), placed(3.0, SIZE * 1.5, SIZE * 1.5)
    before = seen(photo, frame) + erring(seen(photo, frame), 8)
    drawn = mouth_moved(shape_model().mean * 30 + [64, 45], (0, 4))
    face = FaceMotion.of(*drawn, drawn[0] + [8, 0])
    known = landmark_motion(outlined(drawn[0]), outlined(drawn[1]), SIZE)
    after = warp(before, known)
    after[66:92, 44:84] = 230
    settings = CompositeSettings(match_grain=False)
    got = composite(photo, frame, before, after, settings, face=face).on(photo.pixels)[216:258, 150:234].astype(float)
    assert got.mean() == pytest.approx(230, abs=3)
    assert got.std() < 7


def test_a_patch_in_a_part_of_the_photo_is_the_whole_cut():
    photo, frame = Photo(pixels=textured(300, 200)), placed(1.0, 100, 150)
    patch = composite(photo, frame, *edit(photo, frame))
    whole = patch.on(photo.pixels)
    assert (whole != photo.pixels).any()
    for rows, columns in (
        (slice(0, 300), slice(0, 200)),
        (slice(140, 170), slice(90, 200)),
        (slice(0, 150), slice(0, 101)),
        (slice(290, 300), slice(0, 5)),
    ):
        assert np.array_equal(patch.part(photo.pixels, rows, columns), whole[rows, columns])


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


def test_a_grey_photo_stays_grey():
    grey = np.repeat(textured(300, 300)[..., :1], 3, axis=2)
    photo = Photo(pixels=grey, grey=True)
    frame = placed(2.0, 150, 150)
    crop = seen(photo, frame)
    got = composite(photo, frame, crop, crop + np.float32([60, 0, 0])).on(grey)
    assert (got[..., :1] == got).all()
    assert got.mean() > grey.mean() + 5


def test_sixteen_bits_stay_sixteen():
    """Where nothing changes, with the bits that eight cannot hold; where it does, by as much as in eight."""
    shallow = textured(300, 300)
    noise = np.random.default_rng(0).integers(-128, 128, shallow.shape)
    deep = np.clip(shallow.astype(int) * 257 + noise, 0, 65535).astype(np.uint16)
    frame = placed(2.0, 150, 150)
    crops = edit(Photo(pixels=shallow), frame)
    wanted = composite(Photo(pixels=shallow), frame, *crops).on(shallow).astype(float)
    patch = composite(Photo(pixels=deep), frame, *crops)
    got, mask = patch.on(deep), patch.whole_mask(300, 300)
    assert got.dtype == np.uint16
    assert np.array_equal(got[mask == 0], deep[mask == 0])
    assert np.abs(got / 257 - wanted).max() <= 1
