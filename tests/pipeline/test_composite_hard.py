"""The composite where it is hard: borders, sizes, large photos, several faces, what lies over a face."""

import tracemalloc

import cv2
import numpy as np
import pytest

from pipeline.composite import composite, room
from pipeline.flow import warp
from pipeline.photo import Photo
from pipeline.settings import CompositeSettings
from tests.pipeline.crops import SIZE, bulge, edit, placed, seen, textured


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


def test_two_edits_side_by_side_keep_each_other():
    photo = Photo(pixels=textured(300, 420))
    frames = placed(2.0, 150, 150), placed(2.0, 270, 150)  # they overlap by half
    first = composite(photo, frames[0], *edit(photo, frames[0]))
    once = Photo(pixels=first.on(photo.pixels))
    second = composite(once, frames[1], *edit(once, frames[1]))
    twice = second.on(once.pixels)
    only_first = (first.whole_mask(300, 420) > 0) & (second.whole_mask(300, 420) == 0)
    assert np.array_equal(twice[only_first], once.pixels[only_first])
    assert (twice[only_first] != photo.pixels[only_first]).any()


def test_where_faces_overlap_a_later_edit_builds_on_the_earlier_without_a_seam():
    photo = Photo(pixels=textured(300, 420, level=4.0))
    frames = placed(2.0, 150, 150), placed(2.0, 270, 150)
    crop = seen(photo, frames[0])
    lighter = crop.copy()
    lighter[40:90, 80:115] += 50  # in both crops
    once = Photo(pixels=composite(photo, frames[0], crop, lighter).on(photo.pixels))
    crop = seen(once, frames[1])
    second = composite(once, frames[1], crop, warp(crop, bulge(SIZE, 6.0)))
    twice, mask = second.on(once.pixels).astype(float), second.whole_mask(300, 420)
    assert twice[120:170, 200:225].mean() > photo.pixels[120:170, 200:225].mean() + 40
    edge = (mask > 0) & (mask < 0.05)
    assert np.abs(twice - once.pixels)[edge].mean() < 2


@pytest.mark.parametrize("value", [np.uint8(120), np.uint16(120 * 257)], ids=["8 bits", "16 bits"])
def test_memory_follows_the_face_not_the_photo(value):
    photo = Photo(pixels=np.broadcast_to(value, (10_000, 10_000, 3)))
    frame = placed(2.0, 5000, 4000)
    crop = np.full((SIZE, SIZE, 3), 120, np.float32)
    tracemalloc.start()
    patch = composite(photo, frame, crop, crop + bulge(SIZE, 40.0)[..., :1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert patch.mask.any()
    assert peak < 60e6  # a mask of the whole photo alone would be 100 million pixels


def test_a_face_of_thousands_of_pixels():
    """Its crop is 5000 px wide; what changes is a small part, and only that is worked on."""
    photo = Photo(pixels=np.broadcast_to(textured(1, 5200, level=4.0), (5200, 5200, 3)))
    frame = placed(40.0, 2600, 2600)
    crop = seen(photo, frame)
    after = crop.copy()
    after[60:68, 60:68] += 50
    patch = composite(photo, frame, crop, after)
    own = photo.pixels[patch.rows, patch.columns]
    assert max(patch.mask.shape) < 1500
    assert patch.pixels[len(own) // 2, len(own) // 2].mean() == pytest.approx(own.mean() + 50, abs=12)
    assert np.array_equal(patch.pixels[patch.mask == 0], own[patch.mask == 0])


def test_thin_things_that_the_generator_does_not_see_go_along_once():
    """Hair, or the rim of glasses: dark lines of a pixel, which the crop blurs away."""
    lines = np.full((512, 512, 3), 150, np.uint8)
    lines[:, 100:400:12] = 40
    photo, frame = Photo(pixels=lines), placed(4.0, 256, 256)
    skin = cv2.GaussianBlur(textured(SIZE, SIZE, level=3.0).astype(np.float32), (0, 0), 1.5)
    before = 0.8 * 150 + 0.2 * skin
    moved = composite(photo, frame, before, warp(before, bulge(SIZE, 4.0))).on(lines).astype(float)
    dark = (moved[256, 200:312].mean(axis=1) < 110).astype(int)
    assert np.count_nonzero(np.diff(dark) == 1) in (9, 10)  # as many as before: none doubled, none lost


def test_a_hand_that_rests_stays_while_the_cheek_behind_it_moves():
    photo = Photo(pixels=textured(512, 512, level=6.0, seed=3))
    hand = np.zeros((512, 512), bool)
    hand[250:, 290:380] = True
    photo.pixels[hand] = textured(512, 512, level=6.0, seed=4)[hand] // 2 + 120
    frame = placed(4.0, 256, 256)
    before = seen(photo, frame)
    covered = cv2.warpAffine(hand.astype(np.float32), frame.inverse, (SIZE, SIZE)) > 0.5
    after = np.where(covered[..., None], before, warp(before, bulge(SIZE, 5.0)))
    got = composite(photo, frame, before, after).on(photo.pixels).astype(float)
    inside = cv2.erode(hand.astype(np.uint8), np.ones((33, 33))) > 0
    change = np.abs(got - photo.pixels).mean(axis=2)
    assert change[inside].mean() < 2
    assert change[230:280, 200:270].mean() > 5  # the cheek beside it


def test_large_faces_are_painted_in_bands_that_fit():
    photo = Photo(pixels=textured(900, 900, level=4.0))
    frame = placed(6.0, 450, 450)
    crop = seen(photo, frame)
    got = composite(photo, frame, crop, warp(crop, bulge(SIZE, 5.0)), CompositeSettings(match_grain=False))
    rows = np.abs(np.diff(got.on(photo.pixels).astype(float), axis=0)).mean(axis=(1, 2))
    # No row stands out where bands of 256 rows meet.
    assert rows.max() < 1.3 * np.median(rows)
