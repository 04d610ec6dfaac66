import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from inversion.project import WITHOUT_ENCODER, Objective, project
from inversion.settings import InversionSettings
from tests.conftest import CPU, tiny_generator, tiny_ws
from weights.encoder import Encoder
from weights.perceptual import Lpips


@pytest.fixture(scope="module")
def lpips(store):
    return Lpips("alex", store=store, device=CPU)


@pytest.fixture(scope="module")
def network():
    network = tiny_generator(32)
    network.mapping.w_avg.copy_(
        network.mapping(torch.randn(256, 16, generator=torch.Generator().manual_seed(9)))[:, 0].mean(0)
    )
    return network


@pytest.fixture(scope="module")
def crops(network):
    """Pictures of the generator itself, which can be inverted."""
    return network.synthesis(tiny_ws(network, 2, seed=5))


def invert(network, crops, lpips, *, seed=0, callback=None, encoder=None, **settings):
    return project(
        network,
        crops,
        spread=network.mapping.spread(),
        lpips=lpips,
        settings=InversionSettings(**{"w_steps": 5, "steps": 30, "patience": 0} | settings),
        encoder=encoder,
        seed=seed,
        callback=callback,
    )


def start_loss(network, crops, lpips):
    mean = network.synthesis(network.mapping.w_avg.expand(len(crops), network.config.num_ws, -1))
    return lpips(mean, crops) + (mean - crops).square().mean(dim=[1, 2, 3])


def test_the_loss_falls_for_each_crop(network, crops, lpips):
    result = invert(network, crops, lpips)
    assert (result.loss < 0.3 * start_loss(network, crops, lpips)).all()
    assert torch.allclose(network.synthesis(result.w), result.images)
    expected = lpips(result.images, crops) + (result.images - crops).square().mean(dim=[1, 2, 3])
    assert torch.allclose(result.loss, expected, rtol=1e-4)
    assert (result.steps, result.completed) == (WITHOUT_ENCODER * 5 + 30, True)


def test_w_keeps_its_rows_alike_and_w_plus_shows_more(network, crops, lpips):
    w = invert(network, crops, lpips, space="w")
    wider = invert(network, crops, lpips, pull=0.0)
    assert torch.equal(w.w, w.w[:, :1].expand_as(w.w))
    assert not torch.equal(wider.w, wider.w[:, :1].expand_as(w.w))
    assert (wider.loss < w.loss).all()


def test_the_pull_keeps_rows_together(network, crops, lpips):
    spreads = [float(invert(network, crops, lpips, pull=pull).w.std(dim=1).mean()) for pull in (0.0, 1.0)]
    assert spreads[1] < 0.7 * spreads[0]


def test_the_weight_is_brought_to_each_layer_once(network, crops, lpips, monkeypatch):
    weight = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    weight = weight / weight.mean(dim=[1, 2, 3], keepdim=True)
    objective = Objective(crops, lpips, InversionSettings(perceptual="alex"), weight)
    monkeypatch.setattr(F, "interpolate", None)  # and not again with each step
    shown = network.synthesis(tiny_ws(network, 2, seed=6))
    perceptual, square = objective.parts(shown)
    monkeypatch.undo()
    layers = [
        ((f - g).square().sum(dim=1, keepdim=True) * F.adaptive_avg_pool2d(weight, f.shape[2:])).mean(dim=[1, 2, 3])
        for f, g in zip(lpips.features(shown), lpips.features(crops), strict=True)
    ]
    assert torch.allclose(perceptual, sum(layers), rtol=1e-5)
    assert torch.allclose(square, ((shown - crops).square() * weight).mean(dim=[1, 2, 3]))


def test_starts_from_the_encoder(network, crops, lpips):
    class Oracle(Encoder):
        def __init__(self):
            super().__init__({32: 4, 16: 4, 8: 4, 4: 4}, 16)

        def forward(self, x, *, dtype=None):
            return tiny_ws(network, 2, seed=5)[:, 0]

    result = invert(network, crops, lpips, encoder=Oracle(), w_steps=1, steps=1)
    assert (result.loss < 1e-3).all()
    assert result.steps == 2


def test_the_seed_decides_the_noise_of_a_start_without_encoder(network, crops, lpips):
    first, again, other = (invert(network, crops, lpips, seed=seed, steps=2).w for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_callback_stops_with_the_best_so_far(network, crops, lpips):
    seen = []
    result = invert(network, crops, lpips, callback=lambda step: seen.append(step) or len(seen) < 7)
    assert (result.steps, result.completed) == (7, False)
    assert [(s.phase, s.index, s.total) for s in seen] == [("w", i, WITHOUT_ENCODER * 5) for i in range(7)]
    assert float(result.loss.mean()) <= min(s.loss for s in seen) + 1e-4


@pytest.mark.parametrize("space", ["w", "w+"])
def test_the_noise_maps_are_those_of_the_best_code(network, crops, lpips, space, monkeypatch):
    monkeypatch.setattr("inversion.project.NOISE_LEARNING_RATE", 1.0)  # so that the loss is another after a step
    told = {}

    def callback(step):
        told.setdefault(step.phase, []).append(step.loss)
        return step.phase != space or step.index < 12

    result = invert(network, crops[:1], lpips, noise="optimise", space=space, pull=0.0, callback=callback)
    assert float(result.loss) == pytest.approx(min(told[space]), rel=1e-4)
    assert torch.equal(functional_call(network.synthesis, result.noise, (result.w,)), result.images)


def test_stops_on_a_plateau(network, crops, lpips):
    exact = tiny_ws(network, 2, seed=5)

    class Oracle(Encoder):
        def __init__(self):
            super().__init__({32: 4, 16: 4, 8: 4, 4: 4}, 16)

        def forward(self, x, *, dtype=None):
            return exact[:, 0]

    result = invert(network, crops, lpips, encoder=Oracle(), w_steps=50, steps=50, patience=3)
    assert result.steps < 20
