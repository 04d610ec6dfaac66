"""`photodrag weights`: text, files and exit codes."""

import io
import json

import numpy as np
import pytest

from pipeline.cli import console
from pipeline.cli.app import run
from pipeline.photo import write_photo
from tests.conftest import CPU, tiny_generator
from tests.weights import writers
from weights import catalog as catalog_module
from weights.catalog import Entry, catalog
from weights.files import sha256
from weights.formats import native
from weights.load import load_generator
from weights.store import Store


@pytest.fixture
def cli(capsys, monkeypatch, tmp_path):
    """Run a command with a home of its own; return its exit code, stdout, and stderr as one line."""
    monkeypatch.setenv("PHOTODRAG_HOME", str(tmp_path / "home"))

    def call(*arguments):
        code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, " ".join(err.split())

    return call


@pytest.fixture
def checkpoint(tmp_path):
    return writers.nvidia(tiny_generator(16, channels=8, conv_clamp=256.0), tmp_path / "mine.pkl")


def test_help(cli):
    code, out, _ = cli("weights", "--help")
    assert code == 0
    for command in ("list", "info", "fetch", "verify", "convert", "path", "remove"):
        assert command in out
    assert "weights" in cli("--help")[1]


def test_list(cli):
    code, out, err = cli("weights", "list")
    assert code == 0
    lines = {line[6:].split()[0]: line for line in out.splitlines()}
    assert lines["faces-128"].startswith("here")
    assert lines["ffhq-1024-rosinality"].startswith("own")
    assert "1024 px  ffhq     382 MB" in lines["ffhq-1024"]
    assert "own: recognised" in err
    rows = {row["name"]: row for row in json.loads(cli("weights", "list", "--json")[1])}
    assert rows.keys() == {"faces-128", *catalog()}
    assert rows["lions-512"]["license"] == "CC-BY-4.0"
    assert rows["lions-512"]["here"] is False


def test_info(cli, checkpoint):
    code, out, _ = cli("weights", "info", checkpoint)
    assert code == 0
    assert "NVIDIA torch pickle, 'G_ema'" in out
    told = json.loads(cli("weights", "info", checkpoint, "--json")[1])
    assert (told["size"], told["num_ws"], told["conv_clamp"], told["frame"]) == ([16, 16], 6, 256.0, "center")
    assert told["sha256"] == sha256(checkpoint)


def test_info_of_a_pivot(cli, tmp_path):
    np.save(tmp_path / "w.npy", np.zeros((1, 18, 512), np.float32))
    told = json.loads(cli("weights", "info", tmp_path / "w.npy", "--json")[1])
    assert (told["rows"], told["w_dim"]) == (18, 512)
    assert "pivot" in told["format"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info", "nothing.pkl"], 2, "No generator and no file is called 'nothing.pkl'"),
        (["info", "HTML"], 1, "a web page"),
        (["info", "ffhq-1024"], 4, "`photodrag weights fetch ffhq-1024`"),
        (["path", "ffhq-1024"], 4, "`photodrag weights fetch ffhq-1024`"),
        (["path", "nobody"], 2, "No weights are called 'nobody'"),
        (["path", "lion-512"], 2, "did you mean lions-512"),
        (["verify", "lions-512"], 4, "fetch it first"),
        (["remove", "nobody"], 2, "No weights are called"),
        (["fetch", "faces-128"], 2, "faces-128 comes with Photodrag"),
        (["verify", "faces-128"], 2, "faces-128 comes with Photodrag"),
        (["remove", "faces-128"], 2, "faces-128 comes with Photodrag"),
        (["fetch", "ffhq-1024-rosinality"], 4, "no public address"),
        (["fetch", "ffhq-1024"], 4, "give --accept-license"),
        (["convert", "CHECKPOINT", "-o", "out.pkl"], 2, "does not end in .safetensors"),
        (["convert", "CHECKPOINT", "-o", "THERE"], 2, "--overwrite"),
    ],
)
def test_what_goes_wrong_is_said(cli, checkpoint, tmp_path, arguments, code, message):
    page, there = tmp_path / "ffhq.pkl", tmp_path / "there.safetensors"
    page.write_text("<html>Too many downloads</html>")
    there.write_text("")
    places = {"HTML": page, "CHECKPOINT": checkpoint, "THERE": there}
    got, out, err = cli("weights", *(places.get(a, a) for a in arguments))
    assert (got, out) == (code, "")
    assert message in err


def test_convert_and_the_frame(cli, checkpoint, tmp_path):
    target = tmp_path / "mine.safetensors"
    code, out, err = cli("weights", "convert", checkpoint, "-o", target, "--frame", "ffhq")
    assert (code, out) == (0, f"{target}\n")
    assert "licence of the source" in err
    loaded = load_generator(target, device=CPU)
    assert (loaded.frame, loaded.network.config.conv_clamp) == ("ffhq", 256.0)
    _, metadata = native.read(target)
    assert metadata["source_sha256"] == sha256(checkpoint)
    assert metadata["architecture"] == "stylegan2-skip"
    told = json.loads(cli("weights", "convert", checkpoint, "-o", target, "--overwrite", "--json")[1])
    assert (told["output"], told["frame"]) == (str(target), "center")


def test_path_verify_and_remove(cli, tmp_path, monkeypatch):
    assert cli("weights", "path", "faces-128")[1].endswith("faces-128.safetensors\n")
    store = Store()
    entry = Entry(name="thing", file="thing.bin", kind="test", shows="a thing", license="mine", sources=(),
                  sha256="2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")  # fmt: skip
    monkeypatch.setitem(catalog_module.catalog(), "thing", entry)
    kept = store.path("thing")
    kept.parent.mkdir(parents=True)
    kept.write_text("hello")
    assert cli("weights", "path", "thing")[:2] == (0, f"{kept}\n")
    assert cli("weights", "verify")[:2] == (0, f"right    thing                {kept}\n")
    kept.write_text("other")
    code, out, _ = cli("weights", "verify", "thing", "--json")
    assert (code, json.loads(out)[0]["hash"]) == (1, "wrong")
    assert "was removed" in cli("weights", "remove", "thing")[2]
    assert not kept.exists()
    assert json.loads(cli("weights", "remove", "thing", "--json")[1]) == {"name": "thing", "removed": False}


def test_a_checkpoint_edits_a_photo(capsys, astronaut, tmp_path):
    photo = tmp_path / "me.png"
    write_photo(astronaut, photo)
    checkpoint = writers.nvidia(tiny_generator(64, channels=8), tmp_path / "mine.pkl")
    quick = ["--invert-w-steps", "1", "--invert-steps", "2", "--invert-perceptual", "alex", "--steps", "2"]

    def cli(*arguments):
        return run([str(a) for a in arguments]), *capsys.readouterr()

    code, out, err = cli("edit", photo, "--generator", checkpoint, "--drag", "206,152:230,148", "--json", *quick)
    assert code in (0, 6), err
    assert json.loads(out)["generator"] == "mine"
    assert json.loads(out)["face"] is None  # the frame is `center`


def test_portraits_and_resnets_are_not_dragged_yet(capsys, astronaut, tmp_path):
    photo = tmp_path / "me.png"
    write_photo(astronaut, photo)
    for config, message in [({"portrait": True}, "of portraits"), ({"architecture": "resnet"}, "'resnet'")]:
        path = writers.nvidia(tiny_generator(32, channels=8, **config), tmp_path / "net.pkl")
        code = run(["edit", str(photo), "--generator", str(path), "--drag", "206,152:230,148"])
        assert code == 2
        assert message in capsys.readouterr().err


def test_a_question_needs_a_terminal(monkeypatch):
    assert console.ask("Yes?") is False

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    class Shown:
        is_terminal = True

        def print(self, *args, **more):
            pass

    monkeypatch.setattr(console, "stderr", Shown())
    for answer, expected in [("y\n", True), ("Yes\n", True), ("\n", False), ("n\n", False), ("", False)]:
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert console.ask("Yes?") is expected
