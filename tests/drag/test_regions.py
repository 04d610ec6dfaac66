from typing import get_args

import numpy as np
import pytest

from drag.regions import region_mask
from drag.settings import Region


@pytest.fixture(scope="module")
def landmarks(smile):
    return smile.subject.alignment.resized(128).to_crop(smile.subject.face.landmarks)


INSIDE = {"face": 30, "mouth": 62, "eyes": 37, "brows": 24, "nose": 30, "jaw": 8}
OUTSIDE = {"face": None, "mouth": 39, "eyes": 62, "brows": 8, "nose": 48, "jaw": 27}


@pytest.mark.parametrize("region", get_args(Region))
def test_regions_hold_their_landmarks_and_not_those_of_others(landmarks, region):
    mask = region_mask(landmarks, region, 128)
    assert mask.shape == (128, 128)
    assert mask.dtype == np.float32
    assert (mask.min(), mask.max()) == (0, 1)
    x, y = landmarks[INSIDE[region]].round().astype(int)
    assert mask[y, x] == 1
    assert (mask[[0, -1]] == 0).all()
    if OUTSIDE[region] is not None:
        x, y = landmarks[OUTSIDE[region]].round().astype(int)
        assert mask[y, x] == 0


def test_every_part_lies_in_the_face(landmarks):
    face = region_mask(landmarks, "face", 128)
    for region in ("mouth", "eyes", "brows", "nose"):
        part = region_mask(landmarks, region, 128)
        assert part.sum() < 0.5 * face.sum()
        assert (part * (1 - face)).sum() < 0.03 * part.sum()


def test_a_region_reaches_to_where_its_landmarks_go(landmarks):
    moved = landmarks.copy()
    moved[8] += [0, 30]
    before, after = region_mask(landmarks, "jaw", 128), region_mask(landmarks, "jaw", 128, moved=moved)
    x, y = np.clip(moved[8].round().astype(int), 0, 127)
    assert (before[y, x], after[y, x]) == (0, 1)
    assert (after >= before).all()
    assert np.array_equal(region_mask(landmarks, "mouth", 128, moved=moved), region_mask(landmarks, "mouth", 128))


def test_the_edge_is_soft_and_scales_with_the_picture(landmarks):
    small, large = region_mask(landmarks, "mouth", 128), region_mask((landmarks + 0.5) * 4 - 0.5, "mouth", 512)
    averaged = large.reshape(128, 4, 128, 4).mean(axis=(1, 3))
    assert np.abs(small - averaged).max() < 0.3
    assert np.abs(small - averaged).mean() < 0.01
    edge = (small > 0.05) & (small < 0.95)
    assert edge.any()
