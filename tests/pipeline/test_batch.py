"""A folder of photos: the manifest, what is skipped, what fails, what goes on after a kill."""

import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drag.settings import DragSettings
from inversion.settings import InversionSettings, TuningSettings
from pipeline.batch import BatchSettings, _Editor, find_photos, output_name, output_names, plan, run_batch
from pipeline.cli import console
from pipeline.cli.app import run
from pipeline.manifest import Manifest
from pipeline.photo import encode_photo, read_photo
from pipeline.recipes import Recipe, read_recipe, write_recipe
from pipeline.request import EditRequest
from pipeline.settings import ComputeSettings
from tests.conftest import smooth_picture
from weights.errors import InvalidInput, WeightsMissing

BAD = ("05-text.jpg", "more/12-cut.jpg", "more/deep/21-empty.png")


@pytest.fixture
def recipe(tiny_file):
    return Recipe(
        edit=EditRequest(drag=("20,20:24,20",)),
        inversion=InversionSettings(w_steps=1, steps=1, perceptual="alex"),
        tuning=TuningSettings(tune=False),
        drag=DragSettings(steps=2),
        compute=ComputeSettings(generator=str(tiny_file)),
    )


@pytest.fixture
def options(tiny_file):
    words = "--drag 20,20:24,20 --invert-w-steps 1 --invert-steps 1 --invert-perceptual alex --no-tune --steps 2"
    return [*words.split(), "--generator", str(tiny_file), "--no-cache"]


def make_folder(folder, count):
    """Write photos of 40 to 60 px in nested folders; of thirty, the three of BAD are none."""
    for i in range(count):
        name = f"{i:02d}.jpg" if i % 3 else f"{i:02d}.png"
        path = folder / ("", "more", "more/deep")[i * 3 // count] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth_picture(40 + i % 20, 50, seed=i)).save(path)
    return folder


def thirty(folder):
    make_folder(folder, 30)
    for old, new, data in (
        ("05.jpg", BAD[0], b"no picture"),
        ("more/12.png", BAD[1], None),
        ("more/deep/21.png", BAD[2], b""),
    ):
        (folder / old).unlink()
        (folder / new).write_bytes((folder / "01.jpg").read_bytes()[:300] if data is None else data)
    return folder


def lines(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_thirty_photos_three_of_them_bad_and_a_kill(tmp_path, options, capsys):
    source, target = thirty(tmp_path / "in"), tmp_path / "out"
    command = ["batch", str(source), "-o", str(target), *options]
    process = subprocess.Popen(
        [sys.executable, "-c", "import photodrag; photodrag.main()", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    manifest = target / "manifest.jsonl"
    while process.poll() is None and not (manifest.exists() and manifest.read_text().count("\n") >= 7):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = lines(target)
    assert 7 <= len(before) < 30
    # The kill may have come between a line and its output.
    outputs = {entry["output"]: target / entry["output"] for entry in before if "error" not in entry}
    made = {name: path.stat().st_mtime_ns for name, path in outputs.items() if path.exists()}
    assert len(made) >= len(outputs) - 1

    with manifest.open("a") as file:  # a line that the kill cut in two
        file.write('{"input": "cut')
    assert run([*command, "--json"]) == 5
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["skipped"] == len(made)
    assert told["done"] == 27 - len(made)
    assert sorted(entry["input"] for entry in told["failed"]) == sorted(BAD)
    assert all(name in err for name in BAD)
    assert "no JPEG" in err
    assert "damaged" in err
    entries = Manifest(manifest).entries()
    assert len(entries) == 30
    assert {name for name, entry in entries.items() if entry["status"] == "failed"} == set(BAD)
    for name, entry in entries.items():
        assert (target / name).exists() == (name not in BAD)
        if name not in BAD:
            assert entry["settings"]["edit"] == {"drag": ["20,20:24,20"]}
            assert entry["handles"][0]["from"] == pytest.approx([20, 20], abs=0.02)
            assert entry["seconds"]["all"] > 0
            assert read_photo(target / name).pixels.shape == read_photo(source / name).pixels.shape
    for name, moment in made.items():
        assert (target / name).stat().st_mtime_ns == moment
    files = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert files == {name for name in entries if name not in BAD} | {"manifest.jsonl"}

    # All is done but the bad ones, which are tried again.
    assert run([*command, "--json"]) == 5
    told = json.loads(capsys.readouterr().out)
    assert (told["done"], told["skipped"], len(told["failed"])) == (0, 27, 3)


def test_what_is_done_again_and_what_is_not(tmp_path, recipe):
    source, target = make_folder(tmp_path / "in", 3), tmp_path / "out"
    assert len(run_batch(source, target, recipe).done) == 3
    shutil.copy(source / "more" / "01.jpg", source / "more" / "copy.jpg")
    (target / "00.png").unlink()
    Image.fromarray(smooth_picture(44, 50, seed=9)).save(source / "more" / "01.jpg")
    again = run_batch(source, target, recipe)
    assert [entry["input"] for entry in again.done] == ["00.png", "more/01.jpg", "more/copy.jpg"]
    assert [entry["input"] for entry in again.skipped] == ["more/deep/02.jpg"]
    assert len(run_batch(source, target, recipe, BatchSettings(force=True)).done) == 4
    other = replace(recipe, drag=DragSettings(steps=1))
    assert len(run_batch(source, target, other).done) == 4
    assert len(run_batch(source, target, recipe, BatchSettings(strip_metadata=True)).done) == 4


def test_files_count_by_what_they_hold_and_not_by_where_they_lie(tmp_path, recipe, tiny_file):
    source, target, masks = make_folder(tmp_path / "in", 1), tmp_path / "out", (tmp_path / "a.png", tmp_path / "b.png")
    Image.new("L", (50, 40), 255).save(masks[0])
    shutil.copy(masks[0], masks[1])
    generator = tmp_path / "." / "copy.safetensors"
    shutil.copy(tiny_file, generator)
    edits = [replace(recipe.edit, mask=str(mask)) for mask in masks]
    other = replace(recipe, edit=edits[1], compute=ComputeSettings(generator=str(generator)))
    run_batch(source, target, replace(recipe, edit=edits[0]))
    assert plan(source, target, other, BatchSettings())[0] == []
    Image.new("L", (50, 40), 128).save(masks[1])
    assert len(plan(source, target, other, BatchSettings())[0]) == 1


def test_a_recipe_file_does_what_its_options_do(tmp_path, recipe, capsys):
    source, target = make_folder(tmp_path / "in", 2), tmp_path / "out"
    write_recipe(recipe, tmp_path / "r.toml")
    assert run(["batch", str(source), "-o", str(target), "--recipe", str(tmp_path / "r.toml"), "--quiet"]) == 6
    out, err = capsys.readouterr()
    assert out.split() == [str(target / "00.png"), str(target / "more" / "01.jpg")]
    assert err == ""
    assert all(entry["settings"] == recipe.as_dict() for entry in lines(target))
    # The same from Python is the same, and done already.
    assert len(run_batch(source, target, read_recipe(tmp_path / "r.toml")).skipped) == 2
    console.speak()


def test_an_interruption_ends_the_batch_and_keeps_what_is_done(tmp_path, recipe, monkeypatch, capsys):
    source, target = make_folder(tmp_path / "in", 3), tmp_path / "out"
    write_recipe(recipe, tmp_path / "r.toml")
    edit, calls = _Editor.edit, []

    def interrupted(self, task):
        calls.append(task)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return edit(self, task)

    monkeypatch.setattr(_Editor, "edit", interrupted)
    assert run(["batch", str(source), "-o", str(target), "--recipe", str(tmp_path / "r.toml")]) == 130
    assert "Interrupted" in capsys.readouterr().err
    assert [entry["input"] for entry in lines(target)] == ["00.png"]
    assert len(run_batch(source, target, recipe).skipped) == 1


def test_weights_that_are_missing_end_the_batch(tmp_path, recipe, monkeypatch):
    source = make_folder(tmp_path / "in", 3)
    monkeypatch.setenv("PHOTODRAG_HOME", str(tmp_path / "empty"))
    with pytest.raises(WeightsMissing, match="--offline forbids"):
        run_batch(source, tmp_path / "out", recipe, BatchSettings(offline=True, use_cache=False))
    assert not (tmp_path / "out").exists()


def test_a_bug_fails_a_photo_and_not_the_batch(tmp_path, recipe, monkeypatch):
    source = make_folder(tmp_path / "in", 2)
    encode, calls = encode_photo, []

    def broken(photo, format_):
        calls.append(format_)
        return encode(photo, format_) if len(calls) > 1 else 1 / 0

    monkeypatch.setattr("pipeline.batch.encode_photo", broken)
    result = run_batch(source, tmp_path / "out", recipe)
    assert "a bug of Photodrag (ZeroDivisionError" in result.failed[0]["error"]["message"]
    assert len(result.done) == 1


def test_files_of_others_are_not_replaced(tmp_path, recipe):
    source, target = make_folder(tmp_path / "in", 1), tmp_path / "out"
    target.mkdir()
    (target / "00.png").write_bytes(b"precious")
    with pytest.raises(InvalidInput, match="no batch made it"):
        run_batch(source, target, recipe)
    assert (target / "00.png").read_bytes() == b"precious"
    assert len(run_batch(source, target, recipe, BatchSettings(overwrite=True)).done) == 1
    with pytest.raises(InvalidInput, match="never written over"):
        run_batch(source, source, recipe)


def spoil(path):
    path.write_bytes(path.read_bytes() + b"by hand")
    return path.read_bytes()


def test_what_the_user_made_of_an_output_is_kept(tmp_path, recipe):
    source, target = make_folder(tmp_path / "in", 1), tmp_path / "out"
    run_batch(source, target, recipe)
    changed = spoil(target / "00.png")
    with pytest.raises(InvalidInput, match="was changed since a batch made it"):
        run_batch(source, target, recipe)
    assert (target / "00.png").read_bytes() == changed
    assert len(run_batch(source, target, recipe, BatchSettings(force=True)).done) == 1
    # Other settings replace what a batch made, also where a kill left the output before the last.
    run_batch(source, target, replace(recipe, drag=DragSettings(steps=1)))
    manifest = target / "manifest.jsonl"
    manifest.write_text(manifest.read_text() + json.dumps(lines(target)[-1] | {"output_sha256": "another"}) + "\n")
    assert len(run_batch(source, target, recipe).done) == 1


def test_a_photo_that_failed_has_made_no_output(tmp_path, recipe):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "bad.jpg").write_bytes(b"no picture")
    assert len(run_batch(source, target, recipe).failed) == 1
    (target / "bad.jpg").write_bytes(b"precious")
    for settings in (BatchSettings(), BatchSettings(force=True)):
        with pytest.raises(InvalidInput, match="no batch made it"):
            run_batch(source, target, recipe, settings)


def test_photos_that_would_become_one_are_told(tmp_path):
    for name in ("a.gif", "a.gif.png", "b.jpg", "b.jpg.png"):
        Image.fromarray(smooth_picture(40, 50)).save(tmp_path / name)
    with pytest.raises(InvalidInput, match=r"a\.gif and \S*a\.gif\.png would both become \S*out/a\.gif\.png: rename"):
        output_names(tmp_path, tmp_path / "out", None)
    (tmp_path / "a.gif").unlink()
    assert len(output_names(tmp_path, tmp_path / "out", None)) == 3
    with pytest.raises(InvalidInput, match=r"b\.jpg and \S*b\.jpg\.png would both become"):
        output_names(tmp_path, tmp_path / "out", "PNG")


def test_a_photo_that_cannot_be_read_fails_by_itself(tmp_path, recipe, monkeypatch):
    source = make_folder(tmp_path / "in", 2)
    opened = Path.open

    def refused(path, *args, **kwargs):
        if path.name == "00.png":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refused)
    result = run_batch(source, tmp_path / "out", recipe)
    assert [entry["input"] for entry in result.failed] == ["00.png"]
    assert "Permission denied" in result.failed[0]["error"]["message"]
    assert [entry["input"] for entry in result.done] == ["more/01.jpg"]


def test_folders_that_cannot_be_written_are_told_before_the_work(tmp_path, recipe, monkeypatch):
    source, file = make_folder(tmp_path / "in", 2), tmp_path / "file"
    file.write_text("in the way")
    for target in (file, file / "out"):
        with pytest.raises(InvalidInput, match="is a file, and no folder can be there"):
            plan(source, target, recipe, BatchSettings())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "more").write_text("in the way")
    with pytest.raises(InvalidInput, match="more is a file, and no folder can be there"):
        plan(source, tmp_path / "out", recipe, BatchSettings())
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InvalidInput, match="may not be written to"):
        plan(source, tmp_path / "other", recipe, BatchSettings())


def test_outputs_may_lie_around_their_photos_and_replace_none(tmp_path, recipe):
    source = make_folder(tmp_path / "photos" / "raw", 2)
    tasks, _ = plan(source, tmp_path / "photos", recipe, BatchSettings())
    assert [task.output.relative_to(tmp_path / "photos").as_posix() for task in tasks] == ["00.png", "more/01.jpg"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "more").symlink_to(source / "more")
    with pytest.raises(InvalidInput, match="never written over"):
        plan(source, tmp_path / "out", recipe, BatchSettings(overwrite=True))


def test_the_recipe_of_a_batch_replaces_no_photo(tmp_path, options, capsys):
    source, target = make_folder(tmp_path / "in", 2), tmp_path / "out"
    command = ["batch", str(source), "-o", str(target), *options, "--overwrite", "--save-recipe"]
    for path, message in (
        (source / "00.png", "never written over"),
        (target / "more" / "01.jpg", "would be written twice"),
        (target / "manifest.jsonl", "would be written twice"),
    ):
        assert run([*command, str(path)]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert not target.exists()


def test_the_same_command_goes_on_where_its_recipe_stands(tmp_path, options, capsys):
    source, saved = make_folder(tmp_path / "in", 1), tmp_path / "r.toml"
    command = ["batch", str(source), "-o", str(tmp_path / "out"), *options, "--save-recipe", str(saved)]
    first = run(command)
    before = saved.stat().st_mtime_ns
    assert run(command) == first
    assert "1 done before" in capsys.readouterr().err
    assert saved.stat().st_mtime_ns == before
    assert run([*command, "--seed", "5"]) == 2
    assert "r.toml exists" in " ".join(capsys.readouterr().err.split())


def test_names_that_are_no_utf_8(tmp_path, recipe, monkeypatch):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    names = ["a\udce9.png", "b\u2028\x85.png"]  # Latin-1 for e acute; what splitlines takes for ends of lines
    for name in names:
        with (source / name).open("wb") as file:
            Image.fromarray(smooth_picture(40, 50)).save(file, "PNG")
    write_recipe(recipe, tmp_path / "r.toml")
    command = ["batch", str(source), "-o", str(target), "--recipe", str(tmp_path / "r.toml")]
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr("sys.stdout", stream)
    assert run(command) == 6
    stream.flush()
    assert os.fsencode(f"{target / names[0]}\n") in stream.buffer.getvalue()
    assert list(Manifest(target / "manifest.jsonl").entries()) == names
    assert len(run_batch(source, target, recipe).skipped) == 2


def test_json_of_names_that_are_no_utf_8(capsys):
    console.result_json({"photo": "a\udce9.png"})
    assert json.loads(capsys.readouterr().out) == {"photo": "a\udce9.png"}


def test_names_never_meet(tmp_path, recipe):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    picture = Image.fromarray(smooth_picture(40, 50))
    for name in ("a.jpg", "a.png", "a.gif"):
        picture.save(source / name)
    tasks, _ = plan(source, target, recipe, BatchSettings(format="JPEG"))
    assert [task.output_name for task in tasks] == ["a.gif.jpeg", "a.jpg", "a.png.jpeg"]
    tasks, _ = plan(source, target, recipe, BatchSettings())
    assert [task.output_name for task in tasks] == ["a.gif.png", "a.jpg", "a.png"]
    assert output_name(source / "b.TIF", None).name == "b.TIF"


def test_heif_that_cannot_be_written_fails_before_its_work(tmp_path, recipe, monkeypatch):
    monkeypatch.setattr(pytest.importorskip("pillow_heif"), "libheif_info", lambda: {"HEIF": ""})
    monkeypatch.setattr("pipeline.edit.Pipeline.edit", lambda *arguments: pytest.fail("the work began"))
    result = run_batch(make_folder(tmp_path / "in", 1), tmp_path / "out", recipe, BatchSettings(format="HEIF"))
    assert "HEIF cannot be written here" in result.failed[0]["error"]["message"]


def test_what_counts_as_a_photo(tmp_path):
    make_folder(tmp_path, 2)
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / ".hidden.jpg").write_bytes(b"none")
    (tmp_path / "out").mkdir()
    shutil.copy(tmp_path / "00.png", tmp_path / "out" / "00.png")
    found = find_photos(tmp_path, leave_out=tmp_path / "out")
    assert [path.name for path in found] == ["00.png", "01.jpg"]
    with pytest.raises(InvalidInput, match="holds no photo"):
        find_photos(tmp_path / "out", leave_out=tmp_path / "out")
    with pytest.raises(InvalidInput, match="is no folder"):
        find_photos(tmp_path / "missing")


def test_two_processes_do_what_one_does(tmp_path, recipe):
    source = make_folder(tmp_path / "in", 4)
    (source / "bad.jpg").write_bytes(b"no picture")
    progress = []
    one = run_batch(source, tmp_path / "one", recipe, BatchSettings(use_cache=False))
    two = run_batch(
        source, tmp_path / "two", recipe, BatchSettings(jobs=2, use_cache=False), progress=lambda *a: progress.append(a)
    )
    assert (len(two.done), [entry["input"] for entry in two.failed]) == (4, ["bad.jpg"])
    assert [step[1:3] for step in progress] == [(i, 5) for i in range(1, 6)]
    for entry in one.done:
        pixels = [read_photo(tmp_path / folder / entry["output"]).pixels for folder in ("one", "two")]
        assert np.abs(pixels[0].astype(int) - pixels[1]).max() <= 2


def test_a_killed_process_fails_the_photos_in_work_alone(tmp_path, recipe):
    source = make_folder(tmp_path / "in", 6)

    def kill(stage, done, total, name):
        if done == 1:
            multiprocessing.active_children()[0].kill()

    result = run_batch(source, tmp_path / "out", recipe, BatchSettings(jobs=2, use_cache=False), progress=kill)
    assert 1 <= len(result.failed) <= 2
    assert len(result.done) + len(result.failed) == 6
    assert all("A process was killed" in entry["error"]["message"] for entry in result.failed)


def test_processes_of_the_host_outlive_an_interrupted_batch(tmp_path, recipe):
    source = make_folder(tmp_path / "in", 3)
    mine = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    mine.start()

    def interrupt(*told):
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            run_batch(source, tmp_path / "out", recipe, BatchSettings(jobs=2, use_cache=False), progress=interrupt)
        end = time.monotonic() + 60
        while multiprocessing.active_children() != [mine] and time.monotonic() < end:
            time.sleep(0.05)
        assert multiprocessing.active_children() == [mine]
    finally:
        mine.kill()
        mine.join()


def test_a_full_disk_fails_a_photo_and_leaves_no_half_file(tmp_path, recipe, monkeypatch):
    source, target = make_folder(tmp_path / "in", 2), tmp_path / "out"
    write = Path.write_bytes

    def full(path, data):
        if "00" in path.name:
            write(path, data[:10])
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    result = run_batch(source, target, recipe)
    assert "No space left" in result.failed[0]["error"]["message"]
    assert len(result.done) == 1
    assert sorted(path.name for path in target.iterdir()) == ["manifest.jsonl", "more"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to drag"),
        (["--drag", "1,1:2,2", "--jobs", "0"], "--jobs is at least 1"),
        (["--drag", "1,1:2,2", "--generator", "nobody"], "'nobody'"),
        (["--drag", "1,1:2,2", "--mask", "missing.png"], "missing.png"),
        (["--drag", "1,1:2,2", "--recipe", "missing.toml"], "no recipe at missing.toml"),
    ],
)
def test_what_suits_no_photo_is_said_once(tmp_path, capsys, arguments, message):
    source = make_folder(tmp_path / "in", 2)
    assert run(["batch", str(source), "-o", str(tmp_path / "out"), *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_dry_run_writes_nothing(tmp_path, options, capsys):
    source = make_folder(tmp_path / "in", 2)
    assert run(["batch", str(source), "-o", str(tmp_path / "out"), *options, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"todo": ["00.png", "more/01.jpg"], "skipped": 0}
    assert not (tmp_path / "out").exists()
