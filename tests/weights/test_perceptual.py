import warnings

import pytest
import torch

from tests.conftest import CPU
from weights.errors import InvalidFile
from weights.formats.pickles import read_arrays
from weights.perceptual import MAX_SIZE, Lpips, shrink


def pictures(n, size, seed=0):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module", params=["alex", "vgg"])
def metric(request, store):
    return request.param, Lpips(request.param, store=store, device=CPU)


def test_equals_the_lpips_package(metric):
    import lpips

    name, ours = metric
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = lpips.LPIPS(net=name, pnet_rand=True, verbose=False)
    theirs.net.load_state_dict(ours.net.state_dict())
    a, b = pictures(2, 64), pictures(2, 64, seed=1)
    assert torch.allclose(ours(a, b), theirs(a, b).flatten(), rtol=1e-4)


def test_backbone_is_the_published_one(metric):
    """Noise is farther from a soft picture than a slight blur of it is: a random backbone does not know."""
    _, ours = metric
    soft = torch.nn.functional.interpolate(pictures(1, 8), size=(64, 64), mode="bicubic").clamp(-1, 1)
    shifted = soft.roll(1, dims=3)
    noisy = (soft + 0.3 * (pictures(1, 64, seed=2))).clamp(-1, 1)
    assert 5 * ours(soft, shifted) < ours(soft, noisy)
    assert float(ours(soft, soft)) == 0


def test_kept_features_give_the_same_distance_and_gradients(metric):
    _, ours = metric
    a, b = pictures(1, 32), pictures(1, 32, seed=1).requires_grad_()
    kept = ours.features(a)
    distance = ours.distance(kept, ours.features(b))
    assert torch.allclose(distance, ours(a, b))
    (gradient,) = torch.autograd.grad(distance.sum(), b)
    assert gradient.abs().max() > 0


def test_gradients_are_finite_where_nothing_answers(metric):
    _, ours = metric
    flat = torch.full((1, 3, 32, 32), -1.0, requires_grad=True)
    (gradient,) = torch.autograd.grad(ours(flat, flat.detach()).sum() + ours(flat, pictures(1, 32)).sum(), flat)
    assert torch.isfinite(gradient).all()


def test_large_pictures_are_averaged_first(metric):
    _, ours = metric
    a, b = pictures(1, 2 * MAX_SIZE), pictures(1, 2 * MAX_SIZE, seed=1)
    assert shrink(a).shape[-1] == MAX_SIZE
    assert torch.allclose(ours(a, b), ours(shrink(a), shrink(b)))
    assert torch.allclose(ours(a, b, size=64), ours(shrink(a, 64), shrink(b, 64)))
    assert not torch.allclose(ours(a, b, size=2 * MAX_SIZE), ours(a, b))


def test_other_pickles_are_refused(tmp_path):
    path = tmp_path / "evil.ckpt"
    marker = tmp_path / "ran"
    path.write_bytes(b"cos\nsystem\n(S'touch %s'\ntR." % str(marker).encode())
    with pytest.raises(InvalidFile, match=r"os\.system|posix\.system"):
        read_arrays(path)
    assert not marker.exists()
