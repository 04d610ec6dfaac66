import pytest
import torch

from inversion.noise import WEIGHT, noise_loss, noise_maps, normalise
from tests.conftest import tiny_generator


def literal_loss(noise):
    """Karras et al. 2020, appendix D, equation by equation."""
    total, n = 0.0, noise.clone()
    while True:
        height, width = n.shape
        across = sum(n[y, x] * n[y, x - 1] for y in range(height) for x in range(width)) / (height * width)
        down = sum(n[y, x] * n[y - 1, x] for y in range(height) for x in range(width)) / (height * width)
        total += across**2 + down**2
        if height <= 8:
            return WEIGHT * total
        n = (n[::2, ::2] + n[1::2, ::2] + n[::2, 1::2] + n[1::2, 1::2]) / 4


def test_equals_the_literal_regulariser():
    maps = {str(r): torch.randn(r, r, generator=torch.Generator().manual_seed(r)).double() for r in (4, 8, 32)}
    assert float(noise_loss(maps)) == pytest.approx(float(sum(literal_loss(n) for n in maps.values())))
    assert torch.autograd.gradcheck(lambda n: noise_loss({"n": n}), torch.randn(16, 16).double().requires_grad_())


def test_pictures_are_no_noise():
    smooth = torch.linspace(-1, 1, 32).expand(32, -1).clone()
    white = torch.randn(32, 32, generator=torch.Generator().manual_seed(0))
    for maps in ({"n": smooth}, {"n": white}):
        normalise(maps)
        assert float(maps["n"].mean()) == pytest.approx(0, abs=1e-6)
        assert float(maps["n"].square().mean()) == pytest.approx(1, rel=1e-4)
    assert noise_loss({"n": smooth}) > 20 * noise_loss({"n": white})


def test_maps_are_copies_under_the_names_of_the_network():
    synthesis = tiny_generator(8).synthesis
    maps = noise_maps(synthesis)
    assert sorted(maps) == ["b4.conv1.noise_const", "b8.conv0.noise_const", "b8.conv1.noise_const"]
    with torch.no_grad():
        maps["b4.conv1.noise_const"].add_(1)
    assert not torch.equal(maps["b4.conv1.noise_const"], synthesis.b4.conv1.noise_const)
