"""The parts of training: pictures, losses, codes and their fit, the discriminator, the export."""

import io
import tracemalloc
import zipfile

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.conftest import CPU
from tests.weights.training import TINY, Blocks, draw_face, draw_faces
from weights.errors import InvalidFile, InvalidInput
from weights.formats import native
from weights.generator import GeneratorConfig, Mapping
from weights.load import load_generator
from weights.training.augment import shift, vary
from weights.training.codes import CAPACITY, CodeBank, fit_mapping, sliced_distance
from weights.training.discriminator import Discriminator
from weights.training.export import export
from weights.training.losses import discriminator_loss, generator_loss, r1_penalty, views, windows
from weights.training.pictures import read_pictures
from weights.training.run import train
from weights.training.settings import ExportSettings, TrainingSettings


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def encoded(image, ending=".png"):
    return cv2.imencode(ending, image[..., ::-1])[1].tobytes()


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture(scope="module")
def face():
    return draw_face(20, np.random.default_rng(0))


def test_folder_and_zip_give_the_same(tmp_path, face):
    other = face[:, ::-1].copy()
    files = {"b/one.png": encoded(face), "b/c/two.png": encoded(other), "notes.txt": b"x", "__MACOSX/._one.png": b"x"}
    for name, data in files.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(data)
    packed = zipped(tmp_path / "pictures.zip", files)
    folder, archive = (read_pictures(p, 16, odds=["c=0.125"]) for p in (tmp_path / "folder", packed))
    assert torch.equal(folder.pixels, archive.pixels)
    assert folder.pixels.shape == (2, 3, 20, 20)
    assert torch.equal(folder.pixels[1], torch.from_numpy(face.transpose(2, 0, 1).copy()))  # b/c/two.png comes first
    assert folder.odds.tolist() == archive.odds.tolist() == [0.125, 1]
    drawn = archive.draw(4000, seeded())
    share = (drawn == archive.pixels[0].float() / 127.5 - 1).flatten(1).all(dim=1).double().mean()
    assert 0.09 < share < 0.13  # a ninth
    assert torch.equal(archive.draw(5, seeded(3)), folder.draw(5, seeded(3)))


def test_pictures_of_other_sizes_are_resized(tmp_path, face):
    large = cv2.resize(face, (80, 80), interpolation=cv2.INTER_CUBIC)
    packed = zipped(tmp_path / "p.zip", {"a.jpg": encoded(large, ".jpg"), "b.jpeg": encoded(face[:16, :16], ".jpg")})
    assert read_pictures(packed, 16).pixels.shape == (2, 3, 20, 20)


def test_pictures_take_no_more_memory_than_they_are_kept_in(tmp_path):
    packed = zipped(tmp_path / "p.zip", {f"{i}.png": encoded(np.full((160, 160, 3), i, np.uint8)) for i in range(40)})
    tracemalloc.start()
    try:
        kept = read_pictures(packed, 128).pixels
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept.shape == (40, 3, 160, 160)
    assert peak < 1.3 * kept.numel()


@pytest.mark.parametrize(
    ("files", "error", "match"),
    [
        ({}, InvalidInput, r"holds no \.jpg"),
        ({"a.txt": b"x"}, InvalidInput, r"holds no \.jpg"),
        ({"a.png": b""}, InvalidFile, r"a\.png cannot be read as a picture"),
        ({"a.png": b"\x89PNG nonsense"}, InvalidFile, r"a\.png cannot be read as a picture"),
        ({"a.png": encoded(np.zeros((20, 30, 3), np.uint8))}, InvalidInput, r"a\.png is 30 x 20 pixels, no square"),
        ({"a.png": encoded(np.zeros((8, 8, 3), np.uint8))}, InvalidInput, r"a\.png is 8 px, too small to train 16 px"),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_pictures_that_cannot_be_used(tmp_path, files, error, match, kind):
    path = zipped(tmp_path / "p.zip", files)
    if kind == "folder":
        path = tmp_path / "p"
        path.mkdir()
        for name, data in files.items():
            (path / name).write_bytes(data)
    with pytest.raises(error, match=match) as raised:
        read_pictures(path, 16)
    assert str(raised.value).count(". ") == 0
    assert "\n" not in str(raised.value)


def test_what_is_neither_folder_nor_zip(tmp_path, face):
    with pytest.raises(InvalidInput, match="There is no "):
        read_pictures(tmp_path / "nowhere", 16)
    (tmp_path / "a.zip").write_bytes(b"no archive")
    with pytest.raises(InvalidFile, match=r"no readable \.zip"):
        read_pictures(tmp_path / "a.zip", 16)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", encoded(face))
    damaged = bytearray(buffer.getvalue())
    damaged[60:80] = bytes(20)
    (tmp_path / "b.zip").write_bytes(damaged)
    with pytest.raises(InvalidFile, match=r"no readable \.zip"):
        read_pictures(tmp_path / "b.zip", 16)


@pytest.mark.parametrize("odds", ["edited", "edited=", "=2", "edited=0", "edited=-1", "edited=inf", "edited=nan"])
def test_odds_that_are_none(tmp_path, face, odds):
    packed = zipped(tmp_path / "p.zip", {"edited/a.png": encoded(face)})
    with pytest.raises(InvalidInput, match="FOLDER=FACTOR"):
        read_pictures(packed, 16, odds=[odds])
    with pytest.raises(InvalidInput, match="names the folder 'other'"):
        read_pictures(packed, 16, odds=["other=2"])


def test_pictures_are_shown_in_place():
    """At strength 0, without mirror, a picture is resampled and nothing else; x goes to the right."""
    ramp = torch.linspace(-1, 1, 40).expand(1, 3, 40, 40)
    assert torch.allclose(
        vary(ramp, 32, seeded(), mirror=False, strength=0)[0, 0, 0], torch.linspace(-1, 1, 32), atol=0.02
    )
    many = vary(ramp.expand(64, -1, -1, -1), 32, seeded(), strength=0)
    rising = many[:, 0, 16, -1] > many[:, 0, 16, 0]
    assert 16 < rising.sum() < 48
    assert torch.allclose(many[~rising].flip(3), many[rising][:1].expand(int((~rising).sum()), -1, -1, -1), atol=1e-5)
    varied = vary(ramp.expand(64, -1, -1, -1), 32, seeded())
    assert varied.abs().max() <= 1
    assert 0.01 < (varied - many).abs().mean() < 0.15
    assert torch.equal(varied, vary(ramp.expand(64, -1, -1, -1), 32, seeded()))


def test_shift_moves_whole_pictures_and_lets_gradients_through():
    x = torch.ones(8, 3, 32, 32, requires_grad=True)
    moved = shift(x, seeded())
    assert moved.shape == x.shape
    filled = moved[:, 0].flatten(1).sum(dim=1)
    assert (filled >= 30 * 30).all()
    assert filled.unique().numel() > 2
    (gradient,) = torch.autograd.grad(moved.sum(), x)
    assert torch.equal(gradient.flatten(1).sum(dim=1) / 3, filled)


def test_adversarial_losses_are_the_logistic_ones():
    real, fake = torch.tensor([0.3, -2.0]), torch.tensor([1.5, 0.1])
    literal = -(torch.log(torch.sigmoid(real)).mean() + torch.log(1 - torch.sigmoid(fake)).mean())
    assert torch.allclose(discriminator_loss(real, fake), literal)
    assert torch.allclose(generator_loss(fake), -torch.log(torch.sigmoid(fake)).mean())
    assert float(discriminator_loss(torch.zeros(3), torch.zeros(3))) == pytest.approx(np.log(4))


def small_discriminator():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Discriminator({8: 3, 4: 4}).double()


def test_r1_is_the_squared_gradient_by_finite_differences():
    """And its own gradient, by the parameters, is right as well."""
    discriminator, x = small_discriminator(), torch.randn(4, 3, 8, 8, generator=seeded(), dtype=torch.float64)

    def literal():
        total, step = 0.0, 1e-5
        for i in range(x.numel()):
            bump = torch.zeros(x.numel(), dtype=x.dtype)
            bump[i] = step
            up, down = (discriminator(x + sign * bump.view_as(x)).sum() for sign in (1, -1))
            total += float((up - down) / (2 * step)) ** 2
        return total / len(x)

    penalty = r1_penalty(discriminator, x)
    with torch.no_grad():
        assert float(penalty) == pytest.approx(literal(), rel=1e-5)
    weight = discriminator.trunk.blocks["8"].c0.weight
    (slope,) = torch.autograd.grad(penalty, weight)
    with torch.no_grad():
        weight[0, 0, 0, 0] += 1e-5
        up = float(r1_grad_enabled(discriminator, x))
        weight[0, 0, 0, 0] -= 2e-5
        down = float(r1_grad_enabled(discriminator, x))
    assert float(slope[0, 0, 0, 0]) == pytest.approx((up - down) / 2e-5, rel=1e-3)


def r1_grad_enabled(discriminator, x):
    with torch.enable_grad():
        return r1_penalty(discriminator, x).detach()


def test_discriminator_sees_how_much_a_group_differs():
    discriminator, x = small_discriminator(), torch.randn(8, 3, 8, 8, generator=seeded(), dtype=torch.float64)
    twins = x.clone()
    twins[[2, 4, 6]] = x[0]  # the group of the first: every second one of eight
    assert discriminator(x).shape == (8, 1)
    assert not torch.allclose(discriminator(twins)[0], discriminator(x)[0])
    assert torch.allclose(discriminator(twins)[1], discriminator(x)[1])
    assert discriminator(x[:3]).shape == (3, 1)


def test_views_go_from_the_whole_picture_to_its_own_pixels():
    assert views(64, 64) == [1]
    assert views(256, 64) == [4, 2, 1]
    assert views(32, 64) == [1]
    x = torch.randn(2, 3, 32, 32, generator=seeded())
    whole, twice = windows((x, 2 * x), 16, 2, seeded())
    assert torch.equal(whole, F.avg_pool2d(x, 2))
    assert torch.equal(twice, 2 * whole)
    part, same = windows((x, x), 16, 1, seeded())
    assert torch.equal(part, same)
    assert any(torch.equal(part, x[:, :, i : i + 16, j : j + 16]) for i in range(17) for j in range(17))


def test_bank_keeps_the_latest_codes():
    bank = CodeBank(2, CPU)
    for i in range(CAPACITY // 64 + 1):
        assert bank.filled == min(CAPACITY, 64 * i)
        bank.add(torch.full((64, 2), float(i)))
    assert bank.filled == len(bank.known) == CAPACITY
    assert bank.known.unique().tolist() == [float(i) for i in range(1, CAPACITY // 64 + 1)]


def test_mixed_codes_lie_around_the_data_and_half_have_a_second_style():
    bank = CodeBank(4, CPU)
    bank.add(torch.rand(64, 4, generator=seeded()))
    ws = bank.mixed(400, 6, seeded(1))
    assert ws.shape == (400, 6, 4)
    assert ws.min() > -0.5
    assert ws.max() < 1.5
    cuts = (ws[:, 1:] != ws[:, :-1]).any(dim=2)
    assert cuts.sum(dim=1).max() == 1
    assert 0.4 < cuts.any(dim=1).float().mean() < 0.6
    assert not cuts[:, 0].any()  # the first two rows stay together
    assert ((ws < 0) | (ws > 1)).any()  # some lie beyond
    assert torch.equal(ws, bank.mixed(400, 6, seeded(1)))


def test_sliced_distance_is_that_of_the_sorted():
    a, b = torch.tensor([[0.0, 5.0], [2.0, 5.0]]), torch.tensor([[3.0, 5.0], [1.0, 5.0]])
    assert float(sliced_distance(a, b, torch.tensor([[1.0], [0.0]]))) == 1  # 0 -> 1 and 2 -> 3
    assert float(sliced_distance(a, b, torch.tensor([[0.0], [1.0]]))) == 0


def test_fit_brings_the_mapping_network_to_the_codes():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mapping = Mapping(GeneratorConfig(channels=(4,), z_dim=8, w_dim=16, mapping_layers=2))
    codes = F.layer_norm(torch.randn(128, 3, generator=seeded()) @ torch.randn(3, 16, generator=seeded(1)), [16])
    axes = F.normalize(torch.randn(16, 64, generator=seeded(2)), dim=0)
    z = torch.randn(128, 8, generator=seeded(3))

    def distance():
        with torch.no_grad():
            return float(sliced_distance(mapping.one_row(z), codes, axes))

    before, told = distance(), []
    fit_mapping(mapping, codes, steps=100, random=seeded(4), callback=lambda step, value: told.append(value))
    assert distance() < 0.35 * before
    assert len(told) == 100
    assert told[-1] < 0.35 * told[0]
    assert torch.allclose(mapping.w_avg, codes.mean(dim=0))
    assert not any(p.requires_grad for p in mapping.parameters())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    faces = draw_faces(folder / "faces", 8, 20)
    settings = TrainingSettings(**vars(TINY) | {"images": 24})
    return folder / "run", train(faces, folder / "run", settings, Blocks())


def test_export_is_read_back_and_renders_the_same(trained, tmp_path):
    run, trainer = trained
    told = ExportSettings(
        frame="ffhq", license="CC-BY-4.0", source="drawn", usual_loss=0.25, fit_steps=3, name="drawn"
    )  # fmt: skip
    files = export(run, tmp_path, told)
    loaded = load_generator(files[0], device=CPU)
    assert (loaded.size, loaded.frame, loaded.license, loaded.usual_loss) == (16, "ffhq", "CC-BY-4.0", 0.25)
    assert loaded.encoder is not None
    _, metadata = native.read(files[0])
    assert metadata["architecture"] == "stylegan2-skip"
    assert (metadata["images_seen"], metadata["source"], metadata["size"]) == ("24", "drawn", "16")
    assert native.read(files[0], keep_dtype=True)[0]["synthesis.b4.const"].dtype == torch.float16
    x = torch.rand(2, 3, 16, 16, generator=seeded()) * 2 - 1
    with torch.no_grad():
        w = trainer.networks.mean_encoder(x)
        assert torch.allclose(loaded.encoder(x), w, atol=0.02)
        ws = w[:, None].repeat(1, 6, 1)
        expected = trainer.networks.mean_generator.synthesis(ws)
        assert torch.allclose(loaded.network.synthesis(ws), expected, atol=0.01 * float(expected.abs().max()))
    assert torch.allclose(loaded.network.mapping.w_avg, trainer.bank.known.mean(dim=0), atol=2e-3)


def test_export_is_the_same_each_time_and_takes_a_checkpoint(trained, tmp_path):
    run, _ = trained
    settings = ExportSettings(fit_steps=3)
    first, second = export(run, tmp_path / "a", settings), export(run / "checkpoint.pt", tmp_path / "b", settings)
    assert first[0].name == "faces-16.safetensors"
    for one, other in zip(first, second, strict=True):
        (state, told), (state_again, told_again) = native.read(one), native.read(other)
        assert told == told_again
        assert all(torch.equal(state[key], state_again[key]) for key in state | state_again)
    assert "usual_loss" not in native.read(first[0])[1]


def test_export_without_a_run(tmp_path):
    with pytest.raises(InvalidInput, match=r"There is no .*checkpoint\.pt"):
        export(tmp_path, tmp_path, ExportSettings())
