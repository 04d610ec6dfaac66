import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from drag.features import FeatureNetwork, default_resolution
from tests.conftest import tiny_generator, tiny_ws


@pytest.mark.parametrize("size", [64, 128, 512])
def test_pieces_hold_the_numbers_of_the_resized_map(size):
    network = tiny_generator(size, channels=6, dtype=torch.float64)
    ws = tiny_ws(network)
    resolution = default_resolution(size)
    features = FeatureNetwork(network, ws, rows=6, resolution=resolution, dtype=torch.float64)
    whole = network.synthesis.features(ws, resolution)
    assert torch.equal(features.whole(ws[:, :6]).values, whole)
    picture = F.interpolate(whole, size=(size, size), mode="bilinear", align_corners=False)
    centers = np.array([[0.0, size - 1], [size / 3, size / 7 + 0.3], [size - 1.2, 0.4]])
    radius = 16 * size / 512
    offsets = np.linspace(-radius, radius, 9)
    xs, ys = ((centers[:, i : i + 1] + offsets).clip(0, size - 1) for i in (0, 1))
    expected = []
    for x, y in zip(torch.as_tensor(xs), torch.as_tensor(ys), strict=True):
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2) / (size - 1) * 2 - 1
        expected.append(F.grid_sample(picture, grid[None], align_corners=True)[0])
    for blocks in range(len(network.synthesis.rows) // 3):
        features._cheapest = lambda n, side, blocks=blocks: blocks
        if 4 << blocks > resolution:
            break
        pieces = features.pieces(ws[:, :6], centers, radius)
        assert torch.allclose(pieces.sample(xs, ys), torch.stack(expected), atol=1e-12), blocks


def test_few_handles_use_windows_and_many_the_whole_map():
    network = tiny_generator(512, channels=8)
    features = FeatureNetwork(network, tiny_ws(network), rows=6, resolution=128, dtype=torch.float32)
    assert features._cheapest(1, 10) >= 2
    assert features._cheapest(500, 10) == 0


def test_gradients_through_pieces_are_those_through_the_map():
    network = tiny_generator(128, channels=6, dtype=torch.float64)
    ws = tiny_ws(network)
    features = FeatureNetwork(network, ws, rows=6, resolution=64, dtype=torch.float64)
    center = np.array([[3.0, 100.0]])
    xs, ys = (center[:, i : i + 1] + np.arange(-3, 4) for i in (0, 1))
    gradients = []
    for blocks in (0, 2):
        features._cheapest = lambda n, side, blocks=blocks: blocks
        moved = ws[:, :6].clone().requires_grad_()
        features.pieces(moved, center, 4.0).sample(xs, ys).square().sum().backward()
        gradients.append(moved.grad)
    assert torch.allclose(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
def test_compiled_is_the_same():
    network = tiny_generator(32, channels=4)
    ws = tiny_ws(network)
    maps, gradients = [], []
    for compiled in (False, True):
        features = FeatureNetwork(network, ws, rows=4, resolution=16, dtype=torch.float32, compiled=compiled)
        moved = ws[:, :4].clone().requires_grad_()
        maps.append(features.whole(moved).values)
        maps[-1].square().sum().backward()
        gradients.append(moved.grad)
    assert torch.allclose(*maps, atol=1e-5)
    assert torch.allclose(*gradients, rtol=1e-3, atol=1e-4)
