import pytest
import torch

from inversion.pivotal import LOCALITY_REACH, _Locality, tune, with_difference
from inversion.project import Objective, ramp
from inversion.settings import InversionSettings, TuningSettings
from tests.conftest import CPU, smooth_picture, tiny_generator, tiny_ws
from weights.perceptual import Lpips


@pytest.fixture(scope="module")
def lpips(store):
    return Lpips("alex", store=store, device=CPU)


@pytest.fixture(scope="module")
def problem(lpips):
    """A generator, a pivot, and a picture that the generator cannot show."""
    network = tiny_generator(32)
    crop = torch.as_tensor(smooth_picture(32, 32)).permute(2, 0, 1)[None] / 127.5 - 1
    return network, tiny_ws(network), Objective(crop, lpips, InversionSettings(), None)


def run(problem, **settings):
    network, pivot, objective = problem
    callback = settings.pop("callback", None)
    defaults = {"steps": 40, "learning_rate": 0.02, "enough": 0.0}
    return tune(
        network, pivot, objective, spread=0.3, settings=TuningSettings(**defaults | settings), callback=callback
    )


def test_the_tuned_generator_shows_what_the_other_cannot(problem):
    network, pivot, objective = problem
    before = {name: value.clone() for name, value in network.state_dict().items()}
    start = float(objective(network.synthesis(pivot))[0])
    tuned = run(problem)
    assert float(objective(tuned.images)[0]) < 0.25 * start
    assert tuned.steps == 40
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    again = with_difference(network, tuned.difference)
    assert torch.equal(again.synthesis(pivot), tuned.images)
    assert not any(p.requires_grad for p in again.parameters())
    assert {change.dtype for change in tuned.difference.values()} == {torch.float16}


def test_steps_grow_and_shrink_again(problem, monkeypatch):
    rates = []

    class Noting(torch.optim.Adam):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setattr("torch.optim.Adam", Noting)
    run(problem, steps=40)
    assert rates == pytest.approx([0.02 * ramp(i, 40) for i in range(40)])
    assert rates[0] < rates[20] > rates[-1]
    assert rates[20] == 0.02


def test_only_the_blocks_asked_for_change(problem):
    names = run(problem, steps=2, blocks=16).difference
    assert names
    assert {name.split(".")[0] for name in names} == {"b16", "b32"}
    assert not any("noise_const" in name or "resample" in name for name in names)


def test_stops_when_it_is_enough_and_when_told(problem):
    full = run(problem)
    early = run(problem, enough=0.2)
    assert 0 < early.steps < full.steps
    assert early.completed
    stopped = run(problem, callback=lambda step: step.index < 4)
    assert (stopped.steps, stopped.completed) == (5, False)


def test_locality_keeps_other_faces(problem):
    network, _, _ = problem
    others = tiny_ws(network, 8, seed=3)
    kept = network.synthesis(others)
    change = []
    for locality in (0.0, 10.0):
        tuned = with_difference(network, run(problem, locality=locality, learning_rate=0.005).difference)
        change.append(float((tuned.synthesis(others) - kept).square().mean()))
    assert change[1] < 0.75 * change[0]


def test_locality_looks_at_faces_between_the_pivot_and_random_ones(problem):
    network, _, objective = problem
    spread = network.mapping.spread()
    pivot = network.mapping.w_avg + 4 * (tiny_ws(network, seed=7) - network.mapping.w_avg)
    for start in (pivot, network.mapping.w_avg.expand_as(pivot)):
        locality = _Locality(network, start, objective, spread, torch.float32, seed=0)
        for _ in range(20):
            ws, random = locality.codes()
            assert 0 < float((ws - start).norm()) <= float((random - start).norm()) * (1 + 1e-6)
            assert float((ws - start).norm()) < 1.001 * LOCALITY_REACH * spread * pivot.numel() ** 0.5
    between = [_Locality(network, pivot, objective, spread, torch.float32, seed=seed).codes() for seed in range(20)]
    assert all((ws - pivot).norm() < (random - pivot).norm() for ws, random in between)


def test_a_tuned_copy_holds_its_own_synthesis_network_alone():
    """Kernels that were prepared for the original, which its copy cannot use, are not kept with it."""
    network = tiny_generator(16)
    shown = network.synthesis(tiny_ws(network))
    kept = network.synthesis.b16.conv1._kept
    assert kept is not None
    tuned = with_difference(network, {"b16.conv1.bias": torch.ones(16)})
    assert tuned.mapping is network.mapping
    assert [m._kept for m in tuned.synthesis.modules() if hasattr(m, "_kept")] == [None] * 5
    assert network.synthesis.b16.conv1._kept is kept
    assert torch.equal(network.synthesis(tiny_ws(network)), shown)
    assert not torch.equal(tuned.synthesis(tiny_ws(network)), shown)
    assert tuned.training == network.training
    assert not any(p.requires_grad or p.is_meta for p in tuned.parameters())


def test_a_difference_of_another_network_is_refused():
    with pytest.raises(KeyError):
        with_difference(tiny_generator(8), {"b64.conv1.weight": torch.zeros(1)})
