"""How a face moved, and a photo's grain."""

import cv2
import numpy as np
import pytest

from pipeline.flow import motion, warp
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
