"""Runs: from nothing, resumed, grown, from the first recipe's checkpoint, by the command."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
import torch
from filelock import FileLock

from tests.conftest import CPU
from tests.weights.training import TINY, Blocks, draw_faces
from weights.compute import resolve_dtype
from weights.errors import Diverged, InvalidFile, InvalidInput
from weights.load import load_generator
from weights.perceptual import Lpips
from weights.training import checkpoint
from weights.training import run as runs
from weights.training.__main__ import main
from weights.training.codes import CodeBank
from weights.training.pictures import read_pictures
from weights.training.run import train
from weights.training.settings import ExportSettings, TrainingSettings
from weights.training.sheets import make_sheet
from weights.training.trainer import Trainer

DOC = Path(__file__).parents[2] / "docs" / "training.md"
FEW = {"fit_steps": 2}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return draw_faces(tmp_path_factory.mktemp("faces"), 12, 20)


@pytest.fixture
def _early(monkeypatch):
    """Let the adversarial loss come in at the third step."""
    monkeypatch.setattr(CodeBank, "enough", property(lambda self: self.filled >= 8))


def steps(faces, run, n, settings=TINY, **more):
    return train(faces, run, replace(settings, images=n * settings.batch), Blocks(), **more)


def same(a, b):
    """Whether two states are equal, bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_loss_of_a_run_from_nothing_falls_by_half(tmp_path, store):
    """200 pictures at 64 px, with the real metric; in three parts, of which each tells its mean loss."""
    faces = draw_faces(tmp_path / "faces", 200, 80)
    settings = TrainingSettings(
        size=64, channel_base=2048, channel_max=64, batch=8, rate=0.004, encoder_rate=0.002, threads=1, device="cpu"
    )
    lpips = Lpips("vgg", store=store, device=CPU, dtype=resolve_dtype("auto", CPU))
    for images in (48, 420, 480):
        train(faces, tmp_path / "run", replace(settings, images=images), lpips)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["seen"] for line in lines] == [48, 424, 480]
    assert lines[2]["loss"] < 0.5 * lines[0]["loss"]
    sheet = cv2.imread(str(tmp_path / "run" / "sheets" / "64-00000480.png"))
    assert sheet.shape == (6 * 64, 8 * 64, 3)


@pytest.mark.usefixtures("_early")
def test_resumed_run_equals_an_uninterrupted_one(faces, tmp_path):
    whole = steps(faces, tmp_path / "whole", 7)
    first = steps(faces, tmp_path / "parts", 4)
    second = steps(faces, tmp_path / "parts", 7)
    assert first is not second
    assert whole.adversarial > 0
    whole.progress.hours = second.progress.hours
    assert same(whole.state, second.state)
    lines = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert [line["seen"] for line in lines] == [16, 28]
    assert {"l1", "lpips", "d", "g", "r1"} <= lines[1].keys()


@pytest.mark.usefixtures("_early")
def test_kept_optimisers_and_random_state_matter(faces, tmp_path):
    """The equality above is none of indifference: without them the run goes another way."""
    whole = steps(faces, tmp_path / "whole", 5).state
    state = steps(faces, tmp_path / "parts", 4).state
    for change in ({"optimizers": {}}, {"random": None}):
        trainer = Trainer(TINY, read_pictures(faces, 16), Blocks(), state=state | change)
        trainer.step()
        assert not same(trainer.state["networks"], whole["networks"])


def test_settings_may_change_on_the_way_but_shapes_may_not(faces, tmp_path):
    steps(faces, tmp_path, 2)
    changed = steps(faces, tmp_path, 3, replace(TINY, rate=0.5, encoder_rate=0.25))
    assert [group["lr"] for group in changed.optimizers["autoencoder"].param_groups] == [0.5, 0.25]
    with pytest.raises(InvalidInput, match="--channel-base"):
        steps(faces, tmp_path, 4, replace(TINY, channel_max=4))
    with pytest.raises(InvalidInput, match="give --size 16"):
        steps(faces, tmp_path, 4, replace(TINY, size=8))


@pytest.mark.usefixtures("_early")
def test_growing_goes_on_from_the_averages_and_keeps_their_picture_at_the_start(faces, tmp_path):
    small = steps(faces, tmp_path, 4)
    settings = replace(TINY, size=32, new_alone=8)
    pictures = read_pictures(draw_faces(tmp_path / "large", 4, 32), 32)
    grown = Trainer(settings, pictures, Blocks(), state=checkpoint.load(tmp_path / "checkpoint.pt"))
    ws = torch.randn(2, grown.networks.num_ws, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        shown = small.networks.mean_generator.synthesis(ws[:, : small.networks.num_ws])
        assert not torch.allclose(small.networks.generator.synthesis(ws[:, : small.networks.num_ws]), shown, atol=1e-5)
        for generator in (grown.networks.generator, grown.networks.mean_generator):
            expected = generator.synthesis.blocks[-1].upsample(shown)
            assert torch.allclose(generator.synthesis(ws), expected, atol=1e-5)
    assert grown.networks.encoder.size == 16
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        small_x = torch.nn.functional.avg_pool2d(x, 2)
        for encoder in (grown.networks.encoder, grown.networks.mean_encoder):
            assert torch.allclose(encoder(x), small.networks.mean_encoder(small_x), atol=1e-5)
    assert small.adversarial > grown.adversarial == 0  # it comes in anew
    assert grown.progress.born == grown.progress.seen == 16

    def changed(n):
        before = {k: v.clone() for k, v in grown.networks.named_parameters() if k.startswith(("generator", "encoder"))}
        for _ in range(n):
            grown.step()
        return {k for k, v in grown.networks.named_parameters() if k in before and not torch.equal(v, before[k])}

    alone = changed(2)
    assert alone
    assert all(name.startswith("generator.synthesis.b32.") for name in alone)
    assert 0 < grown.adversarial < small.adversarial
    together = changed(1)
    assert {"generator.synthesis.b4.const", "encoder.out.weight", "generator.synthesis.b32.conv0.weight"} <= together


def test_grown_encoder_on_request(faces, tmp_path):
    steps(faces, tmp_path, 1, replace(TINY, size=8))
    grown = steps(faces, tmp_path, 2, replace(TINY, encoder_size=16))
    assert grown.networks.encoder.size == 16
    assert steps(faces, tmp_path, 3).networks.encoder.size == 16


def test_first_recipes_checkpoint_goes_on(faces, tmp_path):
    trainer = steps(faces, tmp_path / "run", 3)
    networks = {name: getattr(trainer.networks, name).state_dict() for name in checkpoint.FIRST_RECIPE.values()}
    old = {short: {k: v.half() for k, v in networks[name].items()} for short, name in checkpoint.FIRST_RECIPE.items()}
    path = tmp_path / "old.pt"
    torch.save({**old, "bank": trainer.bank.codes, "seen": 12, "born": 4, "size": 16}, path)
    state = checkpoint.load(path)
    again = Trainer(TINY, read_pictures(faces, 16), Blocks(), state=state)
    for name, value in trainer.networks.state_dict().items():
        assert torch.allclose(again.networks.state_dict()[name], value, rtol=1e-3, atol=1e-3), name
    assert (again.progress.seen, again.progress.born, again.bank.filled) == (12, 4, 12)
    again.step()
    assert again.progress.seen == 16


def test_other_files_are_no_checkpoints(faces, tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    own = tmp_path / "checkpoint.pt"
    old = {"mean_g": {}, "size": 16}
    for content in (b"", b"no checkpoint", Evil(), {"size": 16}, old, old | {"g": torch.zeros(1)}):
        own.write_bytes(content) if isinstance(content, bytes) else torch.save(content, own)
        with pytest.raises(InvalidFile, match=r"checkpoint\.pt is no checkpoint of a training run"):
            steps(faces, tmp_path, 1)
    trainer = steps(faces, tmp_path / "run", 1)
    state = trainer.state
    del state["networks"]["encoder.out.weight"]
    checkpoint.save(own, state)
    with pytest.raises(InvalidFile, match=r"has no encoder\.out\.weight"):
        steps(faces, tmp_path, 1)


def test_interrupted_write_keeps_the_last_checkpoint(faces, tmp_path, monkeypatch):
    steps(faces, tmp_path, 2)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def fail(state, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        steps(faces, tmp_path, 3)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob(".checkpoint*"))


def test_stop_saves(faces, tmp_path):
    asked = iter([False, False, True])
    trainer = train(faces, tmp_path, TINY, Blocks(), stop=lambda: next(asked))
    assert trainer.progress.seen == 8
    assert checkpoint.load(tmp_path / "checkpoint.pt")["progress"]["seen"] == 8


def test_loss_that_is_no_number_stops_the_run_and_is_not_kept(faces, tmp_path):
    steps(faces, tmp_path, 2)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(Diverged, match="smaller learning rates"):
        steps(faces, tmp_path, 4, replace(TINY, pixel_weight=float("nan")))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_weights_that_are_no_numbers_are_not_kept(faces, tmp_path, monkeypatch):
    steps(faces, tmp_path, 2)
    before, step = (tmp_path / "checkpoint.pt").read_bytes(), Trainer.step

    def diverge(trainer):
        step(trainer)
        trainer.networks.generator.synthesis.b4.const.data[0, 0, 0] = float("nan")

    monkeypatch.setattr(Trainer, "step", diverge)
    with pytest.raises(Diverged, match="smaller learning rates"):
        steps(faces, tmp_path, 3)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_one_process_a_run(faces, tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(InvalidInput, match="another process"):
        steps(faces, tmp_path, 1)


def test_sheets_show_the_same_and_leave_the_run_alone(faces, tmp_path):
    trainer = steps(faces, tmp_path, 2)
    before = trainer.state
    first, second = make_sheet(trainer), make_sheet(trainer)
    assert first.shape == (48, 3, 16, 16)
    assert torch.equal(first, second)
    assert same(before, trainer.state)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"size": 12}, "--size is a power of 2 .* not 12"),
        ({"size": 4}, "--size is a power of 2 .* not 4"),
        ({"encoder_size": 32}, "--encoder-size is a power of 2 .* not 32"),
        ({"batch": 0}, "--batch is 1 or more, not 0"),
        ({"perceptual_size": -1}, "--perceptual-size is 1 or more, not -1"),
        ({"r1_every": 0}, "--r1-every"),
        ({"vary": 2}, "--vary is from 0 to 1, not 2"),
        ({"device": "abacus"}, "No device 'abacus'"),
    ],
)
def test_settings_that_make_no_sense(faces, tmp_path, change, match):
    with pytest.raises(InvalidInput, match=match):
        steps(faces, tmp_path, 1, replace(TINY, **{"batch": 4} | change))


def test_help_is_quick_and_imports_no_torch():
    code = "import sys; from weights.training.__main__ import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code, "train", "--help"], check=True, capture_output=True, text=True
    ).stdout
    assert out.splitlines()[-1] == "False"
    for option in ("--size", "--odds", "--start", "--new-alone", "--adversarial-after"):
        assert re.search(rf"{option}\b", out), option


def test_command_trains_and_exports(faces, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("weights.perceptual.Lpips", lambda *_, **__: Blocks())
    options = ["--size=16", "--channel-base=128", "--channel-max=8", "--w-dim=16", "--batch=4", "--images=8"]
    assert main(["train", str(faces), str(tmp_path / "run"), *options, "--perceptual-size=8", "--device=cpu"]) == 0
    assert json.loads(capsys.readouterr().err.splitlines()[-1])["seen"] == 8
    out = tmp_path / "out"
    assert main(["export", str(tmp_path / "run"), str(out), "--name=small", "--fit-steps=2"]) == 0
    assert capsys.readouterr().out.split() == [str(out / f"small{kind}.safetensors") for kind in ("", "-encoder")]


def test_the_example_of_the_docs_runs(tmp_path, monkeypatch, store):
    draw_faces(tmp_path / "pictures", 4, 64)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ExportSettings.__init__, "__kwdefaults__", ExportSettings.__init__.__kwdefaults__ | FEW)
    (block,) = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    exec(block.replace("images=1000", "images=1, threads=1").replace('"vgg"', '"alex"'), {})
    loaded = load_generator(tmp_path / "out" / "mine.safetensors", device=CPU)
    assert (loaded.size, loaded.frame) == (64, "center")


def test_errors_are_one_sentence_and_an_exit_code(tmp_path, capsys):
    assert main(["export", str(tmp_path), str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"There is no {tmp_path}/checkpoint.pt: give the folder of a run, or a checkpoint."
    ]
    assert main(["train", "--nonsense"]) == 2


def test_clock_counts_hours_and_ends_the_run(faces, tmp_path, monkeypatch):
    now = iter(range(0, 100000, 600))
    monkeypatch.setattr(runs, "time", SimpleNamespace(monotonic=lambda: next(now)))
    trainer = train(faces, tmp_path, replace(TINY, hours=1.0), Blocks())
    assert 0 < trainer.progress.seen <= 24
    assert 0 < trainer.progress.hours <= 1.5
