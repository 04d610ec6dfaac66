"""`photodrag edit` among other programs: pipes, logs, recipes, JSON, previews, stages, what is never done."""

import io
import json
import logging
import os
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
from PIL import Image

from drag.settings import DragSettings, LandmarkDragSettings
from pipeline.cli import console
from pipeline.cli.app import app, run
from pipeline.photo import Photo, decode_photo, read_photo, write_photo
from pipeline.recipes import read_recipe
from tests.conftest import SMILE, smooth_picture
from weights.errors import InvalidInput

SCHEMA = Path(__file__).parents[2] / "docs" / "edit.schema.json"
ME = [sys.executable, "-c", "import photodrag; photodrag.main()"]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth_picture(64, 80)).save(path, quality=90)
    return path


@pytest.fixture
def quickly(tiny_file):
    """Options of an edit in a moment, without a face."""
    words = "--drag 30,30:36,30 --invert-w-steps 1 --invert-steps 1 --invert-perceptual alex --steps 2"
    words += " --composite paste --generator"  # so little is no change that detail would show
    return [*words.split(), str(tiny_file), "--no-cache"]


@pytest.fixture
def cli(capsys):
    def call(*arguments):
        code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_a_pipe(photo, quickly):
    """cat a.jpg | photodrag edit - … --format png | cat."""
    with photo.open("rb") as file:
        first = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
    middle = subprocess.Popen(
        [*ME, "edit", "-", "--format", "png", *quickly],
        stdin=first.stdout,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    last = subprocess.Popen(["cat"], stdin=middle.stdout, stdout=subprocess.PIPE)
    first.stdout.close()
    middle.stdout.close()
    out, _ = last.communicate()
    said = middle.stderr.read().decode()
    middle.stderr.close()
    assert (first.wait(), middle.wait(), last.returncode) == (0, 6, 0), said
    assert "The drag ended after 2 steps" in said
    assert "\x1b" not in said  # no bars, no colours: stderr is no terminal
    with Image.open(BytesIO(out)) as image:
        assert (image.format, image.size) == ("PNG", (80, 64))
        assert (np.asarray(image) != read_photo(photo).pixels).any()
        assert "compositeWithTrainedAlgorithmicMedia" in str(image.info)


def test_edits_in_a_row_through_streams(photo, quickly, monkeypatch, capfdbinary):
    """A photo's bytes go through stdin and stdout, JPEG as JPEG, and nothing else does."""

    def stage(data):
        stream = io.TextIOWrapper(BytesIO(data))
        monkeypatch.setattr("sys.stdin", stream)
        assert run(["edit", "-", "-o", "-", *quickly, "--quiet"]) == 6
        out, err = capfdbinary.readouterr()
        assert err == b""
        return out

    once = stage(photo.read_bytes())
    twice = stage(once)
    assert Image.open(BytesIO(once)).format == Image.open(BytesIO(twice)).format == "JPEG"
    assert decode_photo(twice, name="it").pixels.shape == (64, 80, 3)
    assert twice != once


def test_streams_that_cannot_be(cli, photo, quickly, monkeypatch):
    class Stream:
        def __init__(self, data, tty):
            self.buffer, self.isatty = BytesIO(data), lambda: tty

    monkeypatch.setattr("sys.stdin", Stream(b"", tty=False))
    assert "nothing" in cli("edit", "-", *quickly)[2]
    assert "cannot --json" in " ".join(cli("edit", "-", *quickly, "--json")[2].split())
    monkeypatch.setattr("sys.stdin", Stream(b"text", tty=False))
    code, out, err = cli("edit", "-", *quickly)
    assert (code, out) == (1, "")
    assert "The photo on stdin is no JPEG" in err
    monkeypatch.setattr("sys.stdin", Stream(b"", tty=True))
    assert "which is a terminal" in cli("edit", "-", *quickly)[2]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert "would go to the terminal" in cli("edit", photo, "-o", "-", *quickly)[2]


def test_the_photo_itself_is_never_written_over(cli, photo, quickly, tmp_path):
    before = photo.read_bytes()
    link = tmp_path / "link.jpg"
    link.symlink_to(photo)
    for target in (photo, link):
        code, _, err = cli("edit", photo, "-o", target, "--overwrite", *quickly)
        assert code == 2
        assert "never written over" in " ".join(err.split())
    assert photo.read_bytes() == before


def test_nothing_that_is_read_is_written_over(cli, photo, quickly, tmp_path):
    moving, points, recipe = tmp_path / "me.webp", tmp_path / "p.json", tmp_path / "r.toml"
    Image.fromarray(smooth_picture(64, 80)).save(moving)
    points.write_text('{"handles": [{"handle": [30, 30], "target": [36, 30]}]}')
    recipe.write_text("[drag]\nsteps = 2\n")
    stage = tmp_path / "crop.png"
    shutil.copy(moving, stage)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for words in (
        (moving, "--preview", moving),
        (photo, "--save-recipe", photo),
        (photo, "--save-points", photo),
        (photo, "--mask", moving, "--preview", moving),
        (photo, "--points", points, "--save-points", points),
        (photo, "--recipe", recipe, "--save-recipe", recipe),
        (photo, "--save-recipe", quickly[quickly.index("--generator") + 1]),
        (stage, "--save-stages", tmp_path),
    ):
        code, _, err = cli("edit", *words, "--overwrite", *quickly)
        assert (code, "never written over" in " ".join(err.split())) == (2, True), words
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_no_two_outputs_are_one_file(cli, photo, quickly, tmp_path):
    new = tmp_path / "new.webp"
    for words in (
        ("-o", new, "--preview", new),
        ("-o", new, "--save-points", tmp_path / "." / "below" / ".." / "new.webp"),
        ("--save-recipe", new, "--save-points", new),
        ("-o", tmp_path / "s" / "crop.png", "--save-stages", tmp_path / "s"),
    ):
        code, _, err = cli("edit", photo, *words, *quickly)
        assert (code, "would be written twice" in " ".join(err.split())) == (2, True), words
    assert list(tmp_path.iterdir()) == [photo]


def test_a_full_disk_leaves_no_half_file(cli, photo, quickly, monkeypatch):
    write = Path.write_bytes

    def full(path, data):
        write(path, data[:100])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    files = set(photo.parent.iterdir())
    code, out, err = cli("edit", photo, *quickly)
    assert (code, out) == (1, "")
    assert "No space left on device. No half file was left." in " ".join(err.split())
    assert set(photo.parent.iterdir()) == files


def test_an_interruption_while_writing_leaves_no_half_file(cli, photo, quickly, monkeypatch):
    write = Path.write_bytes

    def interrupted(path, data):
        write(path, data[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    files = set(photo.parent.iterdir())
    assert cli("edit", photo, *quickly)[0] == 130
    assert set(photo.parent.iterdir()) == files


def test_format_and_ending(cli, photo, quickly, tmp_path):
    code, out, _ = cli("edit", photo, "--format", "tiff", *quickly)
    assert (code, out.strip()) == (6, str(photo.with_name("a-edited.tiff")))
    assert photo.with_name("a-edited.tiff").read_bytes()[:2] == b"II"
    assert (
        "does not end as --format png" in cli("edit", photo, "--format", "png", "-o", tmp_path / "b.jpg", *quickly)[2]
    )
    assert cli("edit", photo, "--format", "webp", "-o", tmp_path / "noending", *quickly)[0] == 6
    assert read_photo(tmp_path / "noending").format == "WEBP"


def test_strip_metadata(cli, photo, quickly, tmp_path):
    tags = Image.Exif()
    tags[0x0110] = "A Camera"
    tags.get_ifd(0x8825)[1] = "N"
    Image.fromarray(smooth_picture(64, 80)).save(photo, exif=tags.tobytes())
    kept, stripped = tmp_path / "kept.jpg", tmp_path / "stripped.jpg"
    cli("edit", photo, "-o", kept, *quickly)
    cli("edit", photo, "-o", stripped, *quickly, "--strip-metadata")
    with Image.open(kept) as image:
        assert image.getexif()[0x0110] == "A Camera"
        assert image.getexif().get_ifd(0x8825)[1] == "N"
    with Image.open(stripped) as image:
        assert len(image.getexif()) == 0
        assert "compositeWithTrainedAlgorithmicMedia" in str(image.info["xmp"])


def test_json_is_as_the_schema_says(cli, photo, quickly):
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    code, out, _ = cli("edit", photo, *quickly, "--json")
    told = json.loads(out)
    jsonschema.validate(told, schema)
    assert code == 6
    assert told["size"] == [80, 64]
    assert told["settings"]["drag"]["steps"] == 2
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(told | {"more": 1}, schema)


def test_json_of_a_face_is_as_the_schema_says(smile):
    from pipeline.report import describe

    told = {"photo": "a", "output": "b", **describe(smile), "settings": {}}
    jsonschema.validate(told, json.loads(SCHEMA.read_text()))
    assert told["detector"] == "dlib"
    assert [handle["drag"] for handle in told["handles"]] == list(SMILE)


def test_a_recipe_holds_every_setting(cli, photo, quickly, tmp_path):
    recipe, mask = tmp_path / "recipes" / "r.toml", tmp_path / "mask.png"
    Image.new("L", (80, 64), 255).save(mask)
    _, out, _ = cli(
        *("edit", photo, *quickly, "--mask", mask, "--feather", 3, "--seed", 7, "--save-recipe", recipe, "--json")
    )
    told = json.loads(out)
    assert read_recipe(recipe).as_dict() == told["settings"]
    again = tmp_path / "again.jpg"
    _, out, _ = cli("edit", photo, "--recipe", recipe, "-o", again, "--json", "--no-cache")
    assert json.loads(out)["settings"] == told["settings"]
    assert np.array_equal(read_photo(again).pixels, read_photo(photo.with_name("a-edited.jpg")).pixels)
    # What is said on the command line goes before what the recipe says.
    _, out, _ = cli("edit", photo, "--recipe", recipe, "--steps", 1, "-o", tmp_path / "c.jpg", "--json", "--no-cache")
    settings = json.loads(out)["settings"]
    assert settings["drag"]["steps"] == 1
    assert settings["composite"]["feather"] == 3
    assert "exists" in cli("edit", photo, *quickly, "-o", tmp_path / "d.jpg", "--save-recipe", recipe)[2]


def test_points_of_a_picture_without_a_face(cli, photo, quickly, tmp_path):
    points, again, recipe = tmp_path / "p.json", tmp_path / "again.jpg", tmp_path / "r.toml"
    assert cli("edit", photo, *quickly, "--tolerance", 1, "--mask-weight", 5, "--save-points", points)[0] == 6
    assert "exists" in cli("edit", photo, *quickly, "-o", again, "--save-points", points)[2]
    words = [*quickly[2:], "--points", points, "--learning-rate", 0.0042]
    code, out, _ = cli("edit", photo, *words, "-o", again, "--json", "--save-recipe", recipe)
    told = json.loads(out)
    assert code == 6
    assert (told["reached"], told["regions"], told["notes"]) == (None, [], [])
    assert told["handles"][0]["drag"] == "30,30:36,30"
    assert told["settings"]["edit"] == {"points": str(points)}
    assert (told["settings"]["drag"]["tolerance"], told["settings"]["drag"]["mask_weight"]) == (1, 5)
    assert read_recipe(recipe).edit.points == points
    assert np.array_equal(read_photo(again).pixels, read_photo(photo.with_name("a-edited.jpg")).pixels)
    code, out, _ = cli("edit", photo, *words, "--dry-run", "-o", tmp_path / "c.jpg")
    assert (code, "It takes at most" in out) == (0, True)
    assert "needs a face" in cli("edit", photo, *quickly, "--preset", "smile", "-o", tmp_path / "c.jpg")[2]


def test_anchors_in_pixels_leave_landmarks_their_defaults(cli, photo, monkeypatch):
    seen = []

    def note(pipeline, *args, **kwargs):
        seen.append(pipeline.settings.drag)
        raise InvalidInput("That is enough.")

    monkeypatch.setattr("pipeline.edit.Pipeline.edit", note)
    for drag in ("10,10:0%,0%", "10,10:1%,0%"):
        assert cli("edit", photo, "--drag", "mouth-left:-8%,-6%", "--drag", drag)[0] == 2
    assert seen == [LandmarkDragSettings(), DragSettings()]


def test_preview_as_mp4(cli, photo, quickly, tmp_path):
    preview = tmp_path / "drag.mp4"
    # A rate at which the handle goes far enough in two steps for MPEG-4 to keep it.
    assert cli("edit", photo, *quickly, "--learning-rate", 0.1, "--preview", preview)[0] == 6
    video = cv2.VideoCapture(str(preview))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    assert len(frames) == 3 + 15  # the steps, and the last one shown longer
    assert frames[0].shape == (384, 384, 3)
    red = (frames[0][..., 2].astype(int) - frames[0][..., 1] > 120) & (frames[0][..., 0] < 120)
    assert red.sum() > 40  # the handle
    assert np.abs(frames[0].astype(int) - frames[2]).max() > 30


def test_stages(cli, photo, quickly, tmp_path):
    folder = tmp_path / "stages"
    assert cli("edit", photo, *quickly, "--save-stages", folder)[0] == 6
    page = (folder / "index.html").read_text()
    pictures = {path.name: Image.open(path) for path in folder.glob("*.png")}
    sizes = {name: picture.size for name, picture in pictures.items()}
    for picture in pictures.values():
        picture.close()
    assert sizes["photo-before.png"] == sizes["photo-after.png"] == sizes["photo-mask.png"] == (80, 64)
    assert sizes["crop.png"] == sizes["reconstruction.png"] == sizes["edited.png"] == sizes["finished.png"] == (32, 32)
    assert all(f'src="{name}"' in page for name in sizes)
    assert 'src="drag.webp"' in page
    assert "30,30:36,30" in page
    assert np.array_equal(read_photo(folder / "photo-before.png").pixels, read_photo(photo).pixels)
    assert {name for name in sizes if read_photo(folder / name).xmp} == {
        "photo-after.png", "edited.png", "finished.png", "drag.png",
    }  # fmt: skip
    assert read_photo(folder / "photo-mask.png").grey
    assert "holds something" in cli("edit", photo, *quickly, "-o", tmp_path / "b.jpg", "--save-stages", folder)[2]
    assert not (tmp_path / "b.jpg").exists()


def test_stages_beside_the_photo_itself(cli, photo, quickly, tmp_path):
    folder, recipe = tmp_path / "new", tmp_path / "new" / "r.toml"
    words = ("-o", folder / "x.png", "--save-stages", folder, "--save-recipe", recipe)
    code, out, err = cli("edit", photo, *quickly, *words)
    assert (code, out) == (6, f"{folder / 'x.png'}\n"), err
    assert (folder / "index.html").is_file()
    assert read_recipe(recipe).drag.steps == 2


def test_dry_run_says_how_long_and_writes_nothing(cli, photo, quickly):
    files = set(photo.parent.iterdir())
    code, out, _ = cli("edit", photo, *quickly, "--dry-run", "--json")
    few = json.loads(out)
    assert code == 0
    assert few["memory"] > 1e7
    longer = ["2000" if before == "--steps" else word for before, word in zip(["", *quickly], quickly, strict=False)]
    _, out, _ = cli("edit", photo, *longer, "--dry-run", "--json")
    many = json.loads(out)
    assert many["seconds"]["drag"] > 20 * few["seconds"]["drag"]
    assert "It takes at most" in cli("edit", photo, *quickly, "--dry-run")[1]
    assert set(photo.parent.iterdir()) == files
    assert cli("edit", photo, "--drag", "1,1:2,2", "--generator", "nobody", "--dry-run")[0] == 2


def test_dry_run_says_what_exists_and_leaves_stdout_to_the_photo(cli, photo, quickly, tmp_path, monkeypatch):
    there = tmp_path / "there.jpg"
    there.write_text("something")
    code, out, err = cli("edit", photo, *quickly, "--dry-run", "-o", there)
    assert (code, "It takes at most" in out) == (0, True)
    assert "exists: give another path, or --overwrite" in " ".join(err.split())
    assert there.read_text() == "something"
    code, _, err = cli("edit", photo, *quickly, "--dry-run", "-o", photo)
    assert (code, "never written over" in " ".join(err.split())) == (2, True)
    code, out, err = cli("edit", photo, *quickly, "--dry-run", "-o", "-")
    assert (code, out) == (0, "")
    assert "It takes at most" in err
    code, out, _ = cli("edit", photo, *quickly, "--dry-run", "-o", "-", "--json")
    assert (code, json.loads(out)["output"]) == (0, "-")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert cli("edit", photo, *quickly, "--dry-run", "-o", "-")[0] == 0


def test_a_recipe_that_cannot_hold_a_name_is_told_before_the_work(cli, photo, quickly, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.edit.Pipeline.edit", lambda *args, **kwargs: pytest.fail("the work began"))
    mask = tmp_path / os.fsdecode(b"m\xff.png")
    Image.new("L", (80, 64), 255).save(mask)
    words = ("--mask", mask, "--save-recipe", tmp_path / "r.toml")
    for code, _, err in (
        cli("edit", photo, *quickly, *words),
        cli("batch", tmp_path, "-o", tmp_path / "out", *quickly, *words),
    ):
        assert (code, "is no UTF-8, which recipes are" in " ".join(err.split())) == (2, True)


def told_of_results(stdout, monkeypatch):
    """Return the exit code and the words of a command whose results go to `stdout`."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # with which nothing is left for the end
    command = [*ME, "weights", "path", "faces-128"]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_results_for_which_there_is_no_room(monkeypatch):
    with Path("/dev/full").open("w") as full:
        code, words = told_of_results(full, monkeypatch)
    assert (code, words.strip()) == (1, "photodrag: No space left on device. No half file was left.")


def test_results_that_nobody_reads(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    told = told_of_results(writer, monkeypatch)
    os.close(writer)
    assert told == (1, "")


def test_quiet_verbose_and_json_logs(cli, photo, quickly, tmp_path):
    code, out, err = cli("edit", photo, *quickly, "--quiet")
    assert (code, out, err) == (6, f"{photo.with_name('a-edited.jpg')}\n", "")
    assert "exists" in cli("edit", photo, *quickly, "--quiet")[2]
    words = [word for word in quickly if word != "--no-cache"]
    cli("edit", photo, *words, "-o", tmp_path / "b.jpg")
    _, _, err = cli("--verbose", "edit", photo, *words, "-o", tmp_path / "c.jpg")
    assert "the inversion is kept in" in err
    _, _, err = cli("edit", photo, *words, "-o", tmp_path / "d.jpg", "--verbose", "--log-json")
    lines = [json.loads(line) for line in err.splitlines()]
    assert {line["level"] for line in lines} == {"info", "progress"}
    assert [line for line in lines if line.get("logger") == "pipeline.cache"]
    drag = [line for line in lines if line.get("stage") == "drag"]
    assert (drag[-1]["done"], drag[-1]["total"]) == (2, 2)
    _, _, err = cli("edit", photo, *words, "-o", tmp_path / "d.jpg", "--log-json")
    (line,) = [json.loads(line) for line in err.splitlines()]
    assert line["level"] == "error"
    code, _, err = cli("edit", photo, "--bogus", "--log-json")
    assert code == 2
    assert "--bogus" in json.loads(err)["message"]
    console.speak()


def test_notices_are_said(cli, quickly, tmp_path):
    path = tmp_path / "moving.gif"
    frames = [Image.fromarray(smooth_picture(64, 80, seed=i)) for i in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    code, out, err = cli("edit", path, *quickly)
    assert (code, out) == (6, f"{tmp_path / 'moving-edited.png'}\n")
    assert "is animated (3 frames)" in err


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bits_through_an_edit(cli, quickly, tmp_path, ending):
    """What does not change is equal at 16 bits; what changes does as at 8."""
    shallow = smooth_picture(64, 80)
    noise = np.random.default_rng(0).integers(-128, 128, shallow.shape)
    deep = np.clip(shallow.astype(int) * 257 + noise, 0, 65535).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"deep.{ending}"), deep[..., ::-1])
    Image.fromarray(shallow).save(tmp_path / "shallow.png")
    for name in (f"deep.{ending}", "shallow.png"):
        assert cli("edit", tmp_path / name, *quickly)[0] == 6
    edited = read_photo(tmp_path / f"deep-edited.{ending}").pixels
    wanted = read_photo(tmp_path / "shallow-edited.png").pixels
    same = (wanted == shallow).all(axis=2)
    assert edited.dtype == np.uint16
    assert 0.1 < same.mean() < 0.9
    assert np.array_equal(edited[same], deep[same])
    assert np.abs(edited.astype(int) - wanted.astype(int) * 257).max() <= 257


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(shell):
    script = app.generate_completion(shell=shell)
    for word in ("edit", "batch", "doctor", "strip-metadata", "save-recipe"):
        assert word in script


def test_warnings_of_the_packages_are_notices(capsys):
    for options, said in (({}, "kept"), ({"quiet": True}, ""), ({"verbose": True}, "pipeline.cache: kept")):
        console.speak(**options)
        logging.getLogger("pipeline.cache").warning("kept")
        assert capsys.readouterr().err.strip() == said
    console.speak(log_json=True)
    logging.getLogger("pipeline.cache").warning("kept")
    told = json.loads(capsys.readouterr().err)
    assert (told["level"], told["message"]) == ("warning", "kept")
    console.speak()


@pytest.mark.parametrize("command", ["edit", "batch"])
def test_a_photo_larger_than_its_format_holds_is_refused_before_the_work(cli, tmp_path, monkeypatch, command):
    monkeypatch.setattr("pipeline.edit.Pipeline.edit", lambda *args, **kwargs: pytest.fail("the work began"))
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "wide.png"
    write_photo(Photo(pixels=np.zeros((4, 16400, 3), np.uint8)), path)
    given = [path, "-o", tmp_path / "out.webp"] if command == "edit" else [path.parent, "-o", tmp_path / "out"]
    if command == "batch":
        given += ["--format", "webp"]
    code, _, err = cli(command, *given, "--drag", "2,2:3,2")
    assert code == (2 if command == "edit" else 5)
    assert "16400 x 4 pixels are more than WEBP holds" in err
