import dataclasses
import math
from dataclasses import replace

import pytest
import torch

from inversion.inversion import check_generator, doubt, invert, read_inversion
from inversion.perceptual import Mixture
from inversion.settings import InversionSettings, TuningSettings
from tests.conftest import CPU, on_one_thread, smooth_picture, tiny_generator
from weights.errors import InvalidFile, InvalidInput
from weights.formats import native
from weights.load import load_generator
from weights.perceptual import Lpips

QUICK = InversionSettings(w_steps=1, steps=6, perceptual="alex")
UNTUNED = TuningSettings(tune=False)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """The fixtures of this module are made so as well."""
    with on_one_thread():
        yield


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    native.write(path, tiny_generator(32).state_dict(), {"frame": "center"})
    return load_generator(path, device=CPU)


@pytest.fixture(scope="module")
def crop():
    return torch.as_tensor(smooth_picture(32, 32)).permute(2, 0, 1)[None] / 127.5 - 1


@pytest.fixture(scope="module")
def lpips(store):
    return Lpips("alex", store=store, device=CPU)


@pytest.fixture(scope="module")
def tuned(generator, crop, lpips):
    tuning = TuningSettings(tune=True, steps=5, learning_rate=0.02)
    return invert(generator, crop, lpips=lpips, settings=QUICK, tuning=tuning)[0]


def test_without_tuning_the_network_is_the_generators(generator, crop, lpips):
    found = invert(generator, crop, lpips=lpips, settings=QUICK, tuning=UNTUNED)[0]
    assert found.difference == {}
    assert found.network(generator) is generator.network
    assert found.steps == {"project": 14}
    assert found.completed


def test_tuning_comes_on_top(generator, crop, lpips, tuned):
    plain = invert(generator, crop, lpips=lpips, settings=QUICK, tuning=UNTUNED)[0]
    assert torch.equal(tuned.w, plain.w)
    assert tuned.loss < plain.loss
    assert tuned.steps == {"project": 14, "tune": 5}


def test_optimised_noise_is_part_of_the_difference(generator, crop, lpips):
    found = invert(generator, crop, lpips=lpips, settings=replace(QUICK, noise="optimise"), tuning=UNTUNED)[0]
    assert found.difference
    assert all(name.endswith("noise_const") for name in found.difference)
    network = found.network(generator)
    noise = network.synthesis.b32.conv1.noise_const
    assert float(noise.square().mean()) == pytest.approx(1, rel=0.05)
    (both,) = invert(
        generator,
        crop,
        lpips=lpips,
        settings=replace(QUICK, noise="optimise"),
        tuning=TuningSettings(tune=True, steps=2),
    )
    assert any(name.endswith("noise_const") for name in both.difference)
    assert any(name.endswith("weight") for name in both.difference)


def test_the_face_can_count_more_than_its_background(generator, crop, lpips):
    weight = torch.zeros(1, 1, 32, 32)
    weight[..., 8:24, 8:24] = 4.0
    results = [
        invert(generator, crop, lpips=lpips, settings=replace(QUICK, steps=60, pull=0.0), weight=w, tuning=UNTUNED)[0]
        for w in (None, weight)
    ]
    errors = []
    for found in results:
        error = (generator.network.synthesis(found.w) - crop).square()
        errors.append((float(error[..., 8:24, 8:24].mean()), float(error.mean())))
    assert errors[1][0] < errors[0][0]
    assert errors[1][1] > errors[0][1]


def test_the_clock_ends_it(generator, crop, lpips):
    found = invert(generator, crop, lpips=lpips, settings=replace(QUICK, time_limit=1e-6), tuning=UNTUNED)[0]
    assert not found.completed
    assert found.steps == {"project": 1}


def test_photos_of_a_batch_share_the_time_for_their_tunings(generator, crop, lpips, monkeypatch):
    """One whose share is over leaves the next one its own."""
    seconds = iter(range(10**6))
    monkeypatch.setattr("time.monotonic", lambda: float(next(seconds)))
    settings = replace(QUICK, steps=2, time_limit=60)
    tuning = TuningSettings(enough=0)  # none of them ends before its time
    both = invert(generator, torch.cat([crop, crop.flip(3)]), lpips=lpips, settings=settings, tuning=tuning)
    assert [found.completed for found in both] == [False, False]
    assert min(found.steps["tune"] for found in both) > 10
    assert sum(found.steps["tune"] for found in both) < 60


def test_nothing_is_begun_after_a_stop(generator, crop, lpips):
    both = invert(
        generator,
        torch.cat([crop, crop.flip(3)]),
        lpips=lpips,
        settings=replace(QUICK, steps=2),
        tuning=TuningSettings(steps=5),
        callback=lambda step: step.phase != "tune" or step.index < 1,
    )
    assert [found.completed for found in both] == [False, False]
    assert [found.steps.get("tune") for found in both] == [2, None]


def test_the_file_holds_it_all(tmp_path, generator, tuned):
    path = tmp_path / "face.inv.safetensors"
    alignment = torch.eye(2, 3, dtype=torch.float64) * 1.1
    tuned = replace(tuned, alignment=alignment, photo="me.jpg", photo_sha256="ab")
    tuned.write(path)
    again = read_inversion(path)
    for field in dataclasses.fields(tuned):
        old, new = getattr(tuned, field.name), getattr(again, field.name)
        if isinstance(old, torch.Tensor):
            assert torch.equal(old, new), field.name
            assert old.dtype == new.dtype
        elif field.name == "difference":
            assert old.keys() == new.keys()
            assert all(torch.equal(old[name], new[name]) for name in old)
        else:
            assert old == new, field.name
    check_generator(again, generator, name="it")
    shown = again.network(generator).synthesis(again.w)
    assert torch.equal(shown, tuned.network(generator).synthesis(tuned.w))


def test_other_generators_are_refused(tmp_path, tuned, generator):
    with pytest.raises(InvalidFile, match="was made for the generator 'tiny', not for 'faces-128'"):
        check_generator(tuned, load_generator(device=CPU), name="it")
    with pytest.raises(InvalidFile, match="does not fit"):
        check_generator(replace(tuned, w=tuned.w[:, :3]), generator, name="it")
    with pytest.raises(InvalidFile, match="does not fit"):
        check_generator(replace(tuned, difference={"b4.const": torch.zeros(1)}), generator, name="it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "something"}, "is no inversion"),
        ({"version": "99"}, "format '99', not 2"),
        ({"inversion": "{"}, "damaged"),
        ({"inversion": "{}"}, "damaged"),
        ({"inversion": '{"unknown": 1}'}, "damaged"),
    ],
)
def test_files_that_are_no_inversion(tmp_path, tuned, change, message):
    path = tmp_path / "face.inv.safetensors"
    tuned.write(path)
    tensors, metadata = native.read(path, keep_dtype=True)
    native.write(path, tensors, metadata | change)
    with pytest.raises(InvalidFile, match=message):
        read_inversion(path)


def test_damaged_files(tmp_path, tuned):
    path = tmp_path / "face.inv.safetensors"
    tuned.write(path)
    data = path.read_bytes()
    for length in (0, 4, 8, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(InvalidFile):
            read_inversion(path)
    replace(tuned, w=torch.full((1, 8, 16), torch.nan)).write(path)
    with pytest.raises(InvalidFile, match="damaged"):
        read_inversion(path)


@pytest.mark.parametrize(
    "field",
    [
        *({"alignment": matrix} for matrix in (torch.eye(2), torch.zeros(2, 3), torch.full((2, 3), torch.inf))),
        *({"alignment": torch.ones(2, 3)}, {"photo": 3}, {"photo_sha256": None}, {"generator": []}),
        *(
            {"completed": 1},
            {"loss": "low"},
            {"steps": 5},
            {"steps": {"tune": "ten"}},
            {"settings": []},
            {"settings": {"inversion": 1}},
        ),
        {"w": torch.zeros(1, 8, 16, dtype=torch.int32)},
        {"difference": {"b8.conv1.bias": torch.tensor([0.0, torch.nan]).half()}},
        {"difference": {"b8.conv1.bias": torch.zeros(2, dtype=torch.int64)}},
    ],
)
def test_fields_that_cannot_be(tmp_path, tuned, field):
    path = tmp_path / "face.inv.safetensors"
    replace(tuned, **field).write(path)
    with pytest.raises(InvalidFile, match=r"is a damaged inversion \(its .*\): invert the photo again"):
        read_inversion(path)


# Few steps without a plateau: in many, the last bits in which batches differ grow to a path of their own.
@pytest.mark.parametrize(("steps", "patience"), [(8, 0), (30, 3)])
def test_a_batch_is_inverted_like_its_photos(generator, crop, lpips, steps, patience):
    """Also where one of them reaches its plateau long before the other."""
    settings = replace(QUICK, steps=steps, patience=patience, learning_rate=0.05)
    own = generator.network.synthesis(generator.network.mapping.w_avg.expand(1, generator.network.config.num_ws, -1))
    crops = torch.cat([own, crop])
    both = invert(generator, crops, lpips=lpips, settings=settings, tuning=UNTUNED)
    alone = [invert(generator, c[None], lpips=lpips, settings=settings, tuning=UNTUNED)[0] for c in crops]
    for one, other in zip(both, alone, strict=True):
        assert one.w.shape == (1, *one.w.shape[1:])
        assert one.loss == pytest.approx(other.loss, rel=1e-3, abs=1e-6)
        assert (one.w - other.w).abs().max() < 1e-3
    assert (alone[0].steps["project"] < 0.7 * alone[1].steps["project"]) == bool(patience)


def test_a_batch_is_tuned_one_by_one(generator, crop, lpips):
    crops = torch.cat([crop, crop.flip(3)])
    tuned = invert(generator, crops, lpips=lpips, settings=QUICK, tuning=TuningSettings(tune=True, steps=2))
    assert all(found.difference and found.steps["tune"] == 2 for found in tuned)
    with pytest.raises(InvalidInput, match="one photo at a time"):
        invert(generator, crops, lpips=lpips, settings=replace(QUICK, noise="optimise"), tuning=UNTUNED)


@pytest.mark.parametrize(
    ("settings", "tuning", "message"),
    [
        ({"steps": -1}, {}, "inversion's steps is a number of 0 or more, not -1"),
        ({"pixel_weight": math.nan}, {}, "inversion's pixel-weight is a number of 0 or more, not nan"),
        ({"time_limit": math.inf}, {}, "inversion's time-limit is a number of 0 or more, not inf"),
        ({"focus": 1.5}, {}, "inversion's focus is a number from 0 to 1, not 1.5"),
        ({"space": "z"}, {}, "inversion's space is w or w\\+, not 'z'"),
        ({"prior": None}, {}, "inversion's prior is w or pn or none, not None"),
        ({}, {"learning_rate": -0.1}, "tuning's learning-rate is a number of 0 or more, not -0.1"),
        ({}, {"texture": -1.0}, "tuning's texture is a number of 0 or more"),
        ({}, {"enough": math.nan}, "tuning's enough is a number of 0 or more, not nan"),
        ({}, {"blocks": 64}, "tuning's blocks is at most the generator's 32 px, not 64"),
    ],
)
def test_settings_that_make_no_sense(generator, crop, lpips, settings, tuning, message):
    seen = []
    with pytest.raises(InvalidInput, match=message) as raised:
        invert(
            generator,
            crop,
            lpips=lpips,
            settings=replace(QUICK, **settings),
            tuning=TuningSettings(**tuning),
            callback=seen.append,
        )
    assert seen == []
    assert str(raised.value).count(". ") == 0


def test_blocks_do_not_matter_without_a_tuning(generator, crop, lpips):
    tuning = replace(UNTUNED, blocks=64)
    assert invert(generator, crop, lpips=lpips, settings=replace(QUICK, w_steps=0, steps=1), tuning=tuning)


def test_texture_counts_in_the_tuning(generator, crop, lpips, store):
    """A second metric pulls the tuned picture nearer by that metric."""
    other = Lpips("vgg", store=store, device=CPU)
    tuning = TuningSettings(tune=True, steps=30, learning_rate=0.01, texture=4.0)
    losses = []
    for texture in (None, other):
        (found,) = invert(generator, crop, lpips=lpips, settings=QUICK, tuning=tuning, texture=texture)
        losses.append(float(other(found.network(generator).synthesis(found.w), crop)))
    assert losses[1] < losses[0]


def test_a_mixture_is_the_weighted_sum_of_two_metrics(crop, lpips, store):
    other = Lpips("vgg", store=store, device=CPU)
    mixture = Mixture(lpips, other, 0.25)
    expected = lpips(crop, -crop) + 0.25 * other(crop, -crop)
    assert torch.allclose(mixture(crop, -crop), expected, rtol=1e-4)


def test_an_inversion_needs_no_grad_mode_of_its_caller(generator, crop, lpips):
    settings, tuning = replace(QUICK, w_steps=1, steps=1), TuningSettings(tune=True, steps=1)
    (expected,) = invert(generator, crop, lpips=lpips, settings=settings, tuning=tuning)
    with torch.no_grad():
        (found,) = invert(generator, crop, lpips=lpips, settings=settings, tuning=tuning)
    assert torch.equal(found.w, expected.w)
    assert all(torch.equal(change, expected.difference[name]) for name, change in found.difference.items())


def test_a_face_that_cannot_be_shown_is_doubted(generator, crop, lpips, tuned):
    usual = replace(generator, usual_loss=0.1, frame="ffhq")
    found = replace(tuned, settings={"inversion": dataclasses.asdict(InversionSettings())})
    sentence = doubt(replace(found, pivot_loss=0.4), usual)
    assert "loss 0.40, where up to 0.10 is usual" in sentence
    assert "--generator ffhq-1024" in sentence
    assert doubt(replace(found, pivot_loss=0.14, loss=0.4), usual) is None
    assert doubt(replace(found, pivot_loss=0.4), generator) is None  # nobody knows what is usual


@pytest.mark.parametrize(
    "change", [{"perceptual": "alex"}, {"steps": 39}, {"w_steps": 0}, {"space": "w"}, {"pull": 1.0}]
)
def test_a_face_is_not_doubted_for_an_inversion_of_another_kind(generator, tuned, change):
    usual = replace(generator, usual_loss=0.1)
    plain = dataclasses.asdict(InversionSettings())

    def doubted(settings, **how):
        return doubt(replace(tuned, pivot_loss=0.4, settings={"inversion": settings}, **how), usual) is not None

    assert doubted(plain)
    assert doubted(plain | {"steps": 100})  # which should have shown it all the better
    assert not doubted(plain, completed=False)
    assert not doubted(plain | change)
