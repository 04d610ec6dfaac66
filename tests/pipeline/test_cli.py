"""Commands: their text, their files and their exit codes."""

import io
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import photodrag
from pipeline.cli.app import main
from pipeline.photo import read_photo
from tests.conftest import SMILE

INVERT = ["w-steps", "2", "steps", "8", "perceptual", "alex"]
QUICK = [f"--invert-{word}" if i % 2 == 0 else word for i, word in enumerate(INVERT)] + ["--no-tune", "--steps", "30"]


def test_edit(cli, photo):
    code, out, err = cli("edit", photo, "--drag", SMILE[0], "--drag", SMILE[1], *QUICK, "--corrections", 0)
    edited = photo.with_name("me-edited.png")
    assert out == f"{edited}\n"
    assert re.search(r"The drag (arrived|ended|came no nearer, and ended) after \d+ steps", err)
    made = int(re.search(r"the landmarks made (-?\d+)% of their way", err)[1])
    assert (code == 0) == (made >= 50)
    assert "the landmark made" in err
    assert "invert" in err
    assert (read_photo(edited).pixels != read_photo(photo).pixels).any()


def test_edit_with_json_and_preview(cli, photo, tmp_path):
    target, preview = tmp_path / "out.jpg", tmp_path / "drag.gif"
    code, out, _ = cli(
        "edit", photo, "-o", target, "--drag", "206,152:200,148", "--json", "--preview", preview, *QUICK
    )  # fmt: skip
    told = json.loads(out)
    assert code == 0
    assert (told["photo"], told["output"]) == (str(photo), str(target))
    assert told["handles"][0]["from"] == pytest.approx([206, 152], abs=0.02)
    assert told["handles"][0]["to"] == pytest.approx([200, 148], abs=0.02)
    assert told["handles"][0]["reached"] is None
    assert told["stopped"] == "arrived"
    assert told["detector"] == "dlib"
    with Image.open(preview) as animation:
        assert animation.n_frames == told["steps"]["drag"] + 1
        assert animation.size == (384, 384)
    assert target.read_bytes().startswith(b"\xff\xd8")


def test_handles_that_do_not_arrive_are_written_all_the_same(cli, photo):
    code, _, err = cli(
        "edit", photo, "--drag", "mouth-left:-30%,-20%", *QUICK[:-1], "1", "--corrections", 0, "--finish", 0
    )
    assert code == 6
    assert "The drag ended after 1 steps" in err
    assert photo.with_name("me-edited.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["PHOTO"], 2, "give at least one --drag"),
        (["PHOTO", "--drag", "nonsense"], 2, "'nonsense' is no drag"),
        (["PHOTO", "--drag", "nostril:1%,1%"], 2, "No landmark is called 'nostril'"),
        (["PHOTO", "--drag", "1,1:2,2", "-o", "x.bmp"], 2, "choose a format"),
        (["PHOTO", "--drag", "1,1:2,2", "-o", "PHOTO"], 2, "which is never written over"),
        (["PHOTO", "--drag", "1,1:2,2", "-o", "TEXT"], 2, "exists: give another path, or --overwrite"),
        (["PHOTO", "--drag", "1,1:2,2", "-o", "BELOW"], 2, "is a file, and no folder can be there"),
        (["PHOTO", "--drag", "1,1:2,2", "--preview", "x.png"], 2, "ends in .gif, .webp or .mp4"),
        (["PHOTO", "--drag", "1,1:2,2", "--mask", "missing.png"], 2, "No mask is called 'missing.png'"),
        (["PHOTO", "--drag", "1,1:2,2", "--mask", "nosee"], 2, "give face, mouth, eyes, brows, nose, jaw, none, or"),
        (["PHOTO", "--drag", "1,1:2,2", "-o", "FOLDER"], 2, "is a folder: give the path of a file"),
        (["PHOTO", "--drag", "mouth-left:1%,1%", "--drag", "mouth-left:2%,0%"], 2, "mouth-left is dragged twice"),
        (["PHOTO", "--drag", "mouth:0%,1%", "--learning-rate", "0"], 2, "learning-rate is a number above 0"),
        (["missing.jpg", "--drag", "1,1:2,2"], 2, "There is no photo at missing.jpg"),
        (["PHOTO", "--drag", "1,1:2,2", "--device", "abacus"], 2, "No device 'abacus'"),
        (["PHOTO", "--drag", "1,1:2,2", "--generator", "nobody"], 2, "'nobody'"),
        (["PHOTO", "--drag", "1,1:2,2", "--steps", "many"], 2, "many"),
        (["PHOTO", "--drag", "1,1:2,2", "--feather", "inf"], 2, "feather is a number from 0 to 50, not inf"),
        (["PHOTO", "--drag", "1,1:2,2", "--feather", "nan"], 2, "feather is a number from 0 to 50, not nan"),
        (["PHOTO", "--drag", "1,1:2,2", "--corrections", "-1"], 2, "corrections is a number of 0 or more, not -1"),
        (["PHOTO", "--drag", "1,1:2,2", "--seed", str(2**64)], 2, "seed is a number from 0 to"),
        (["PHOTO", "--drag", "1,1:2,2", "--face", "0"], 2, "face is a number of 1 or more, not 0"),
        (["PHOTO", "--bogus"], 2, "--bogus"),
        (["TEXT", "--drag", "1,1:2,2"], 1, "no JPEG"),
        (["GREY", "--drag", "mouth-left:1%,1%"], 3, "No face was found"),
        (["PHOTO", "--drag", "mouth-left:1%,1%", "--face", "7"], 3, "--face 7"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(cli, photo, tmp_path, arguments, code, message):
    text, grey = tmp_path / "text.png", tmp_path / "grey.png"
    text.write_text("not a picture")
    Image.new("RGB", (200, 200), "grey").save(grey)
    names = {"PHOTO": photo, "TEXT": text, "GREY": grey, "BELOW": text / "out.png", "FOLDER": tmp_path}
    before = set(tmp_path.iterdir())
    found, out, err = cli("edit", *(names.get(a, a) for a in arguments))
    assert found == code
    assert message.replace(" ", "") in err.replace(" ", "").replace("│", "")
    assert "Traceback" not in err
    assert out == ""
    assert set(tmp_path.iterdir()) == before


def test_weights_that_are_missing(cli, photo, monkeypatch, tmp_path):
    monkeypatch.setenv("PHOTODRAG_HOME", str(tmp_path / "empty"))
    code, _, err = cli("edit", photo, "--drag", SMILE[0], "--offline")
    assert code == 4
    assert "--offline forbids fetching it" in err


def test_interruption(cli, photo, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.edit.invert", interrupt)
    code, _, err = cli("edit", photo, "--drag", SMILE[0])
    assert code == 130
    assert "Interrupted" in err
    assert not photo.with_name("me-edited.png").exists()


def test_sigterm_ends_it_with_a_sentence(capsys, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("pipeline.cli.app.run", lambda arguments: signal.raise_signal(signal.SIGTERM))
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143
    assert capsys.readouterr().err == "photodrag: Terminated; no half file was left.\n"


def test_ctrl_c_while_it_is_imported_is_no_traceback(monkeypatch):
    class Interrupting:
        def find_spec(self, name, path=None, target=None):
            if name == "pipeline.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "pipeline.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        photodrag.main()
    assert ended.value.code == 130


def test_landmarks(cli, photo, tmp_path):
    overlay = tmp_path / "overlay.png"
    code, out, _ = cli("landmarks", photo, "-o", overlay)
    assert code == 0
    assert out.startswith("face 1: ")
    assert any(line.split()[0] == "mouth-left" and line.split()[-1] == "48" for line in out.splitlines()[1:])
    assert read_photo(overlay).width > 512
    code, out, _ = cli("landmarks", photo, "--json")
    (face,) = json.loads(out)["faces"]
    assert len(face["landmarks"]) == 68
    assert face["names"]["mouth-left"] == face["landmarks"][48]


def test_landmarks_from_stdin(cli, photo, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    code, out, _ = cli("landmarks", "-", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["photo"] == "-"
    assert told["size"] == [512, 512]


def test_landmarks_without_a_face(cli, tmp_path):
    path = tmp_path / "grey.png"
    Image.new("RGB", (200, 200), "grey").save(path)
    code, out, err = cli("landmarks", path)
    assert (code, out) == (3, "")
    assert "No face was found" in err


def test_demo(cli, tmp_path, monkeypatch, smile, astronaut):
    """The demo's own part; the edit behind it is tested elsewhere."""
    monkeypatch.setattr("pipeline.edit.Pipeline.edit", lambda *args, **kwargs: smile)
    code, out, err = cli("demo", "-o", tmp_path / "out")
    paths = [tmp_path / "out" / f"{name}.png" for name in ("before", "after", "side-by-side")]
    assert code == 0
    assert out.split() == [str(path) for path in paths]
    assert "of its way" in err
    before, after, both = (read_photo(path).pixels for path in paths)
    assert np.array_equal(before, astronaut.pixels)
    assert np.array_equal(after, smile.photo.pixels)
    assert np.array_equal(both[:, :512], before)
    assert np.array_equal(both[:, -512:], after)
    assert cli("demo", "-o", tmp_path / "out")[0] == 2
    assert "is a file, and no folder can be there" in cli("demo", "-o", paths[0])[2]
    assert cli("demo", "-o", tmp_path / "out", "--overwrite")[0] == code


def test_help_and_version_load_nothing_heavy():
    script = """
import sys
from photodrag import main
for arguments in (["--help"], ["edit", "--help"], ["--version"]):
    sys.argv = ["photodrag", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code
heavy = {"torch", "numpy", "cv2", "dlib", "PIL", "scipy", "skimage"} & set(sys.modules)
assert not heavy, heavy
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "edit" in result.stdout
    assert "mouth-left" in result.stdout
    assert "0.1.0" in result.stdout


def test_what_is_not_there_and_what_exists_is_said_before_all_is_imported(photo):
    script = f"""
import sys
from pipeline.cli.app import run
assert run(["edit", "missing.jpg", "--drag", "1,1:2,2"]) == 2
assert run(["edit", {str(photo)!r}, "--drag", "1,1:2,2", "-o", {__file__!r} + "/out.png"]) == 2
assert "torch" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "There is no photo at missing.jpg" in result.stderr


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "photodrag", "edit", "missing.jpg", "--drag", "1,1:2,2"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "missing.jpg" in result.stderr
