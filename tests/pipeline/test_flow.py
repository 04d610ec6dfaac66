"""How a face moved, and a photo's grain."""

import cv2
import numpy as np
import pytest

from pipeline.flow import FACE, JITTER, PART, SMOOTHED, Known, known_motion, landmark_motion, motion, warp
from pipeline.grain import measure_grain
from tests.pipeline.crops import SIZE, bulge, textured


def test_grain_is_measured_in_the_smooth_parts():
    rng = np.random.default_rng(1)
    level = 5.0
    pixels = np.clip(np.full((256, 256, 3), 128) + rng.normal(0, level, (256, 256, 1)), 0, 255)
    pixels[:, 160:] = textured(256, 96, level=50)
    grain = measure_grain(pixels.astype(np.uint8))
    made = grain.make(200, 200, rng)
    assert made.std() == pytest.approx(level, rel=0.3)


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


def test_a_known_motion_is_gone_on_from():
    """Too far for the search alone where all looks alike: stripes that move by more than one of them."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    picture = np.repeat((120 + 60 * np.sin(x * np.pi / 4) + 10 * np.sin(y / 5))[..., None], 3, axis=2)
    wanted = bulge(SIZE, 10.0)
    edited = warp(picture, wanted)
    alone, _ = motion(picture, edited)
    flow, trust = motion(picture, edited, known=Known(wanted * 0.9, np.ones((SIZE, SIZE), np.float32)))
    middle = (slice(48, 80), slice(48, 80))
    assert np.abs(flow - wanted)[middle].mean() < 0.5 < np.abs(alone - wanted)[middle].mean()
    assert trust[middle].mean() > 0.7
    # Of which nothing is in doubt is not searched for.
    flow, _ = motion(picture, edited, known=Known(wanted * 0.9, np.zeros((SIZE, SIZE), np.float32)))
    assert np.abs(flow - wanted * 0.9).max() < 0.1


def test_landmarks_move_what_is_around_them():
    rng = np.random.default_rng(0)
    before = rng.uniform(40, 88, (30, 2))
    turn = np.array([[0.97, -0.05], [0.05, 0.97]])
    after = (before - 64) @ turn + 64 + [2.0, -1.0]
    known = known_motion(before, after, SIZE)
    flow = known.flow
    assert np.array_equal(flow, landmark_motion(before, after, SIZE))
    assert flow.shape == (SIZE, SIZE, 2)
    at = after.astype(np.float32)
    there = cv2.remap(flow, at[None, :, 0], at[None, :, 1], cv2.INTER_LINEAR)[0]
    assert np.abs(there - (before - after)).max() < 0.25
    between = np.array([64.0, 64.0])  # where no landmark is
    assert flow[64, 64] == pytest.approx((between - 64 - [2.0, -1.0]) @ np.linalg.inv(turn) + 64 - between, abs=0.3)
    border = np.concatenate([flow[0], flow[-1], flow[:, 0], flow[:, -1]])
    assert np.abs(border).max() < 0.5 * np.abs(flow).max()
    assert all(known.doubt[round(y), round(x)] < 0.2 for x, y in after)
    assert known.doubt[0, 0] > 0.8
    # On a larger crop the same, larger.
    large = landmark_motion((before + 0.5) * 4 - 0.5, (after + 0.5) * 4 - 0.5, 4 * SIZE)
    small = cv2.resize(large, (SIZE, SIZE), interpolation=cv2.INTER_AREA) / 4
    assert np.abs(small - flow).max() < 0.05


def test_the_spread_is_a_gaussian_process_pixel_by_pixel():
    """Rasmussen and Williams's equations 2.25 and 2.26 as they stand."""
    rng = np.random.default_rng(0)
    before = rng.uniform(40, 88, (12, 2))
    after = before + rng.normal(0, 3, before.shape)
    known = known_motion(before, after, SIZE)

    def k(p, q):
        near = np.hypot(*(p - q)) / SIZE
        return (np.exp(-((near / FACE) ** 2) / 2) + np.exp(-near / PART)) / 2

    ways = before - after
    noise = (SMOOTHED * SIZE) ** 2 / ((ways**2).mean() - (JITTER * SIZE) ** 2)
    among = np.array([[k(p, q) for q in after] for p in after]) + noise * np.eye(12)
    for x, y in rng.integers(0, SIZE, (20, 2)):
        near = np.array([k(np.array([x, y]), q) for q in after])
        mean = near @ np.linalg.solve(among, ways)
        assert known.flow[y, x] == pytest.approx(np.clip(mean, ways.min(axis=0), ways.max(axis=0)), abs=1e-4)
        assert known.doubt[y, x] == pytest.approx(1 - near @ np.linalg.solve(among, near), abs=1e-5)


def test_landmarks_that_only_jitter_say_nothing():
    rng = np.random.default_rng(0)
    before = rng.uniform(30, 98, (68, 2))
    assert not landmark_motion(before, before, SIZE).any()
    jitter = SIZE / 1280
    seen = rng.normal(0, jitter, before.shape)
    seen *= 0.95 * jitter / np.sqrt(np.square(seen).mean())
    known = known_motion(before, before + seen, SIZE)
    assert np.abs(known.flow).max() < 0.01 * jitter
    assert known.doubt.min() > 0.99
    # So what moves among them is found.
    picture = textured(SIZE, SIZE, level=2.0).astype(np.float32)
    wanted = bulge(SIZE, 5.0)
    flow, _ = motion(picture, warp(picture, wanted), known=known)
    assert np.abs(flow - wanted)[40:88, 40:88].mean() < 0.5


def test_lips_that_meet_say_nothing_of_the_chin():
    """An open mouth closed: above its line the flow comes from above, below from below, and nowhere from farther."""
    x = np.linspace(52, 76, 19)
    edges = ((57.0, 61.0), (60.0, 63.9), (68.0, 64.1), (72.0, 67.0))  # of the lips, before and after
    jaw = np.stack([np.linspace(30, 98, 9), 88 + 12 * np.cos(np.linspace(-1.2, 1.2, 9))], axis=1)
    before, after = (
        np.concatenate([*(np.stack([x, np.full_like(x, edge[when])], axis=1) for edge in edges), jaw])
        for when in (0, 1)
    )
    flow = landmark_motion(before, after, SIZE)[..., 1]
    farthest = np.abs(before - after).max()
    assert np.abs(flow).max() <= farthest + 1e-4
    assert (flow[:63, 64] < 0.1).all()
    assert (flow[66:86, 64] > -0.1).all()
    assert flow[62, 64] < -3
    assert flow[66, 64] > 3
    assert np.abs(flow[96:, 64]).max() < 0.35 * farthest


def test_unknown_landmarks_are_left_out():
    before = np.random.default_rng(0).uniform(40, 88, (10, 2))
    after = before + np.array([3.0, 0.0])
    wanted = known_motion(before[:8], after[:8], SIZE)
    after[8:] = np.nan
    found = known_motion(before, after, SIZE)
    assert np.array_equal(found.flow, wanted.flow)
    assert np.array_equal(found.doubt, wanted.doubt)


def test_lids_that_part_are_not_smoothed_together():
    before = np.array([[60.0, 60.0], [64.0, 60.0], [68.0, 60.0], [60.0, 62.0], [64.0, 62.0], [68.0, 62.0]])
    after = before + np.array([[0.0, -1.5]] * 3 + [[0.0, 1.5]] * 3)
    flow = landmark_motion(before, after, SIZE)
    assert flow[58, 64, 1] == pytest.approx(1.5, abs=0.3)
    assert flow[63, 64, 1] == pytest.approx(-1.5, abs=0.4)
