"""Inversions that are kept: in the cache, and as files beside photos."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from drag.landmarks import parse_drag
from drag.settings import LandmarkDragSettings
from inversion.inversion import Inversion, read_inversion
from inversion.settings import InversionSettings, TuningSettings
from pipeline.cache import InversionCache
from pipeline.cli.app import run
from pipeline.edit import EditSettings, Pipeline
from pipeline.inversions import made_before, read_with_photo, tables, write_for_photo
from pipeline.photo import Photo, read_photo, write_photo
from pipeline.settings import ComputeSettings, FaceSettings
from tests.conftest import SMILE, full_disk, smooth_picture
from tests.pipeline.test_cli import INVERT, QUICK
from weights.encoder import Encoder
from weights.errors import InvalidFile, InvalidInput
from weights.files import is_safetensors
from weights.formats import native
from weights.load import load_generator

PLAIN = [f"--{word}" if i % 2 == 0 else word for i, word in enumerate(INVERT)] + ["--no-tune"]


@pytest.fixture
def inversion():
    return Inversion(
        w=torch.zeros(1, 4, 8), difference={}, generator="g", generator_sha256="0", loss=0.5, pivot_loss=0.5,
        steps={"project": 1}, completed=True, settings={},
    )  # fmt: skip


def test_cache(tmp_path, inversion):
    cache = InversionCache(tmp_path)
    crop = np.zeros((4, 4, 3), np.float32)
    keys = [cache.key(crop, seed=0), cache.key(crop, seed=1), cache.key(crop + 1, seed=0)]
    assert len(set(keys)) == 3
    assert keys[0] == cache.key(crop.copy(), seed=0)
    assert cache.get(keys[0]) is None
    cache.put(keys[0], inversion)
    cache.put(keys[1], replace(inversion, loss=0.1))
    assert [cache.get(key).loss for key in keys[:2]] == [0.5, 0.1]
    cache.paths()[0].write_bytes(b"cut")
    assert sum(cache.get(key) is not None for key in keys[:2]) == 1
    assert cache.clear() == 1
    assert cache.paths() == []


def test_the_cache_lets_go_of_what_was_not_used_for_longest(tmp_path, inversion):
    InversionCache(tmp_path).put("a", inversion)
    size = InversionCache(tmp_path).paths()[0].stat().st_size
    cache = InversionCache(tmp_path, limit=2 * size + size // 2)
    cache.put("b", inversion)
    for age, key in ((30, "a"), (20, "b")):
        path = tmp_path / f"{key}.inv.safetensors"
        os.utime(path, ns=(0, path.stat().st_mtime_ns - age * 10**9))
    assert cache.get("a").loss == inversion.loss  # and is the one used last now
    cache.put("c", inversion)
    assert [cache.get(key) is not None for key in "abc"] == [True, False, True]
    InversionCache(tmp_path, limit=0).put("d", inversion)
    assert [path.name[0] for path in cache.paths()] == ["d"]


def test_an_inversion_that_cannot_be_kept_is_no_error(tmp_path, inversion, caplog):
    (tmp_path / "file").write_text("no folder")
    InversionCache(tmp_path / "file").put("a", inversion)
    assert "the inversion could not be kept in" in caplog.text
    caplog.clear()
    with full_disk():
        InversionCache(tmp_path).put("a", inversion)
    assert "the inversion could not be kept in" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_damaged_inversion_that_cannot_be_removed_is_made_again(tmp_path):
    (tmp_path / "a.inv.safetensors").mkdir()  # which unlink refuses, as it does in a folder that is read-only
    assert InversionCache(tmp_path).get("a") is None


def in_a_few_steps(settings):
    return replace(
        settings,
        inversion=replace(settings.inversion, w_steps=2, steps=4, perceptual="alex"),
        drag=LandmarkDragSettings(steps=5),
        faces=FaceSettings(corrections=0),
    )


def test_the_second_edit_skips_the_inversion(tmp_path, one_thread, quick, store, astronaut, monkeypatch):
    settings = in_a_few_steps(quick)
    cache = InversionCache(tmp_path)
    drags = [parse_drag(SMILE[0])]
    first = Pipeline(settings, store=store, cache=cache).edit(astronaut, drags)
    monkeypatch.setattr("pipeline.edit.invert", lambda *args, **kwargs: pytest.fail("inverted again"))
    second = Pipeline(settings, store=store, cache=cache).edit(astronaut, drags)
    assert np.array_equal(first.photo.pixels, second.photo.pixels)
    monkeypatch.setattr("pipeline.edit.invert", lambda *args, **kwargs: (_ for _ in ()).throw(InterruptedError))
    other = replace(settings, inversion=replace(settings.inversion, steps=5))
    with pytest.raises(InterruptedError):
        Pipeline(other, store=store, cache=cache).edit(astronaut, drags)


def test_the_same_crop_of_another_photo_keeps_its_own_place(tmp_path, store, tiny_file, one_thread):
    settings = EditSettings(
        inversion=InversionSettings(w_steps=0, steps=1, perceptual="alex"),
        tuning=TuningSettings(tune=False),
        compute=ComputeSettings(generator=str(tiny_file)),
    )
    pipeline = Pipeline(settings, store=store, cache=InversionCache(tmp_path))
    square = smooth_picture(64, 64)
    wide = np.pad(square, ((0, 0), (20, 20), (0, 0)))
    first, second = (pipeline.invert(pipeline.align(Photo(pixels=pixels))) for pixels in (square, wide))
    assert np.array_equal(first.crop, second.crop)
    assert torch.equal(first.w, second.w)
    for subject in (first, second):
        assert np.array_equal(subject.inversion.alignment.numpy(), subject.alignment.matrix)
    assert not np.array_equal(first.alignment.matrix, second.alignment.matrix)


def test_an_inversion_from_another_start_is_not_taken(tmp_path, store, tiny_file):
    path = tmp_path / "own.safetensors"
    path.write_bytes(tiny_file.read_bytes())
    settings = EditSettings(
        inversion=InversionSettings(w_steps=0, steps=0, perceptual="alex"),
        tuning=TuningSettings(tune=False),
        compute=ComputeSettings(generator=str(path)),
    )
    photo, cache = Photo(pixels=smooth_picture(64, 64)), InversionCache(tmp_path / "kept")
    codes = []
    for seed in (None, 1, 2, 1):  # of the encoder beside it
        if seed:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                state = Encoder({32: 4, 16: 4, 8: 4, 4: 4}, 16).state_dict()
            native.write(path.with_name("own-encoder.safetensors"), state, {})
        pipeline = Pipeline(settings, store=store, cache=cache)
        codes.append(pipeline.invert(pipeline.align(photo)).w)
    assert len(cache.paths()) == 3
    assert torch.equal(codes[1], codes[3])
    assert not torch.equal(codes[1], codes[2])


def test_a_subject_is_dragged_any_number_of_times(quick, store, astronaut):
    pipeline = Pipeline(in_a_few_steps(quick), store=store)
    subject = pipeline.prepare(astronaut)
    results = [pipeline.edit(subject, [parse_drag(text)]) for text in SMILE]
    assert all(result.subject is subject for result in results)
    assert results[0].seconds["invert"] < 0.1
    assert not np.array_equal(results[0].photo.pixels, results[1].photo.pixels)


def test_a_file_finds_its_photo(tmp_path, inversion):
    photo = tmp_path / "photos" / "me.png"
    write_photo(Photo(pixels=smooth_picture(8, 8)), photo)
    path = tmp_path / "kept" / "me.inv.safetensors"
    write_for_photo(inversion, path, photo)
    assert is_safetensors(path)
    assert not is_safetensors(photo)
    assert not is_safetensors(tmp_path / "missing")
    found, where = read_with_photo(path)
    assert found.photo == "../photos/me.png"
    assert where.resolve() == photo
    write_photo(Photo(pixels=smooth_picture(8, 8, seed=1)), photo, overwrite=True)
    with pytest.raises(InvalidFile, match="is not the photo"):
        read_with_photo(path)
    photo.unlink()
    with pytest.raises(InvalidInput, match="put it back there"):
        read_with_photo(path)


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"compute": ComputeSettings(device="cpu")}, True),
        ({"faces": FaceSettings(corrections=0)}, True),
        ({"faces": FaceSettings(face=1)}, False),
        ({"compute": ComputeSettings(dtype="bfloat16")}, False),
        ({"inversion": InversionSettings(steps=41)}, False),
    ],
)
def test_what_an_inversion_does_not_depend_on_does_not_spoil_going_on(tmp_path, inversion, tiny_file, change, again):
    photo, path = tmp_path / "me.png", tmp_path / "me.inv.safetensors"
    write_photo(Photo(pixels=smooth_picture(8, 8)), photo)
    generator = load_generator(tiny_file, device=torch.device("cpu"))
    made = replace(inversion, generator_sha256=generator.sha256, settings=tables(EditSettings()))
    write_for_photo(made, path, photo)
    assert (made_before(path, photo, EditSettings(**change), generator) is not None) == again


def test_a_file_on_another_drive_finds_its_photo(tmp_path, inversion, monkeypatch):
    def fail(*arguments):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr("os.path.relpath", fail)
    photo, path = tmp_path / "me.png", tmp_path / "kept" / "me.inv.safetensors"
    write_photo(Photo(pixels=smooth_picture(8, 8)), photo)
    write_for_photo(inversion, path, photo)
    assert read_with_photo(path)[1] == photo.resolve()


def test_several_photos_at_once(photo, astronaut, capsys):
    other = photo.with_name("mirrored.png")
    write_photo(replace(astronaut, pixels=np.ascontiguousarray(astronaut.pixels[:, ::-1])), other)
    assert run(["invert", str(photo), str(other), *PLAIN]) == 0
    targets = [path.with_name(f"{path.stem}.inv.safetensors") for path in (photo, other)]
    assert capsys.readouterr().out.split() == [str(target) for target in targets]
    found = [read_inversion(target) for target in targets]
    assert (found[0].w - found[1].w).abs().max() > 0.1
    assert [one.photo for one in found] == ["me.png", "mirrored.png"]
    assert run(["invert", str(photo), str(other), "-o", "one.safetensors", *PLAIN]) == 2


def test_photos_that_fail_do_not_stop_the_others(photo, capsys):
    grey, text, other = (photo.with_name(name) for name in ("grey.png", "text.png", "copy.jpg"))
    Image.new("RGB", (200, 200), "grey").save(grey)
    text.write_text("not a picture")
    write_photo(read_photo(photo), other)
    assert run(["invert", *map(str, (grey, photo, text, other)), *PLAIN]) == 5
    out, err = capsys.readouterr()
    assert out.split() == [str(path.with_name(f"{path.stem}.inv.safetensors")) for path in (photo, other)]
    said = " ".join(err.split())
    assert f"{grey}: No face was found" in said
    assert f"photodrag: {text} is no JPEG" in said  # which names the file itself
    assert run(["invert", str(grey), *PLAIN]) == 3


def test_each_photo_has_a_time_limit_of_its_own(photo, tiny_file, monkeypatch):
    other, groups = photo.with_name("other.png"), []
    write_photo(read_photo(photo), other)
    original = Pipeline.invert_all

    def note(self, aligned, **more):
        groups.append(len(aligned))
        return original(self, aligned, **more)

    monkeypatch.setattr(Pipeline, "invert_all", note)
    assert run(["invert", str(photo), str(other), *PLAIN, "--generator", str(tiny_file), "--time-limit", "600"]) == 0
    assert groups == [1, 1]


def test_invert_takes_what_an_edit_kept(photo, tiny_file, monkeypatch):
    tiny = ["--generator", str(tiny_file)]
    assert run(["edit", str(photo), "--drag", "90,90:95,90", *QUICK, *tiny]) in (0, 6)
    monkeypatch.setattr("pipeline.edit.invert", lambda *args, **kwargs: pytest.fail("inverted again"))
    assert run(["invert", str(photo), *PLAIN, *tiny]) == 0


def test_a_dry_run_takes_the_inversion(photo, tiny_file, monkeypatch, capsys):
    tiny = ["--generator", str(tiny_file)]
    assert run(["invert", str(photo), *PLAIN, *tiny]) == 0
    path = str(photo.with_name("me.inv.safetensors"))
    monkeypatch.setattr("pipeline.edit.invert", lambda *args, **kwargs: pytest.fail("inverted again"))
    capsys.readouterr()
    words = ["--drag", "90,90:95,90", "--dry-run", "--json"]
    assert run(["edit", path, *words, *tiny]) == 0
    assert json.loads(capsys.readouterr().out)["seconds"]["invert"] < 0.1
    assert run(["edit", path, *words]) == 1
    assert "was made for the generator 'tiny'" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", [["edit", "--drag", SMILE[0]], ["invert"]])
def test_a_folder_is_no_photo(command, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run([command[0], ".", *command[1:]]) == 2
    assert ". is a folder: give the path of a photo" in " ".join(capsys.readouterr().err.split())


def test_invert_then_edit(photo, capsys):
    path = photo.with_name("me.inv.safetensors")
    assert run(["invert", str(photo), *PLAIN[:-1], "--tune-steps", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["output"] == str(path)
    assert told["steps"] == {"project": 10, "tune": 2}
    assert read_inversion(path).difference
    assert run(["invert", str(photo), *PLAIN]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(["edit", str(path), "--drag", SMILE[0], "--steps", "3", "--json"]) in (0, 6)
    told = json.loads(capsys.readouterr().out)
    assert told["photo"] == str(photo)
    assert told["steps"]["tune"] == 2
    assert (read_photo(photo.with_name("me-edited.png")).pixels != read_photo(photo).pixels).any()


def test_an_inversion_replaces_no_photo(photo, capsys):
    before = photo.read_bytes()
    for words in ([photo, "-o", photo], [photo, photo.with_name("me.jpg"), "-o", photo]):
        assert run(["invert", *(str(word) for word in words), "--overwrite", *PLAIN]) == 2
    other = photo.with_name("me.inv.safetensors")
    photo.rename(other)  # a photo by the name that an inversion would have
    assert run(["invert", str(other), "-o", str(other), "--overwrite", *PLAIN]) == 2
    assert "never written over" in " ".join(capsys.readouterr().err.split())
    assert other.read_bytes() == before


def test_ctrl_c_keeps_the_best_so_far(photo, capsys, monkeypatch):
    path, command = photo.with_name("me.inv.safetensors"), ["invert", str(photo), *PLAIN, "--no-cache"]

    def press(original):
        def pressed(*args, **kwargs):
            os.kill(os.getpid(), signal.SIGINT)
            return original(*args, **kwargs)

        return pressed

    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "invert_all", press(Pipeline.invert_all))
        assert run(command) == 130
    err = " ".join(capsys.readouterr().err.split())
    assert "the best so far was kept" in err
    assert "the same command goes on" in err
    found = read_inversion(path)
    assert (found.completed, found.steps) == (False, {"project": 1})
    # An edit says so, and the same command, which is pressed before there is anything to keep, makes it anew.
    run(["edit", str(path), "--drag", SMILE[0], "--dry-run", "--overwrite"])
    assert "was stopped before it was done" in " ".join(capsys.readouterr().err.split())
    path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "align", press(Pipeline.align))
        assert run(command) == 130
    assert not path.exists()


def test_the_same_command_goes_on_with_what_is_left(photo, tiny_file, capsys):
    path, tiny = photo.with_name("me.inv.safetensors"), ["--generator", str(tiny_file)]
    command = ["invert", str(photo), *PLAIN, *tiny]
    assert run(command) == 0
    whole = path.read_bytes()
    capsys.readouterr()
    assert run(command) == 0
    out, err = capsys.readouterr()
    assert (out, "it is left as it is" in " ".join(err.split())) == ("", True)
    other = photo.with_name("other.png")
    write_photo(Photo(pixels=smooth_picture(64, 80)), other)
    assert run([*command, str(other)]) == 0
    assert capsys.readouterr().out.split() == [str(other.with_name("other.inv.safetensors"))]
    assert path.read_bytes() == whole
    for changed in (["--patience", "9"], ["--seed", "1"]):
        assert run([*command, *changed]) == 2
        assert "exists: give another path, or --overwrite" in " ".join(capsys.readouterr().err.split())
    replace(read_inversion(path), completed=False).write(path)
    assert run(command) == 0
    assert read_inversion(path).completed
    write_photo(Photo(pixels=smooth_picture(64, 80)), photo, overwrite=True)
    assert run(command) == 2


def test_what_an_inversion_has_settled_is_not_set_anew(photo, tiny_file, capsys):
    path, tiny = photo.with_name("me.inv.safetensors"), ["--generator", str(tiny_file)]
    assert run(["invert", str(photo), *PLAIN, *tiny]) == 0
    own = read_inversion(path).settings
    words = ["edit", str(path), "--drag", "90,90:95,90", "--steps", "1", *tiny, "--json", "--overwrite"]
    capsys.readouterr()
    for said, told in (([], None), (["--face", "2", "--invert-steps", "200"], "(faces.face, inversion.steps)")):
        assert run([*words, *said]) in (0, 6)
        out, err = capsys.readouterr()
        settings = json.loads(out)["settings"]
        assert (settings["inversion"], settings["tuning"]) == (own["inversion"], own["tuning"])
        assert "face" not in settings["faces"]
        assert settings["drag"]["steps"] == 1
        assert (f"was made by other settings {told}" in " ".join(err.split())) == (told is not None)


def test_cache_commands(photo, capsys):
    InversionCache().clear()
    assert run(["invert", str(photo), *PLAIN]) == 0
    capsys.readouterr()
    assert run(["cache", "list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["bytes"] == InversionCache().paths()[0].stat().st_size
    assert run(["cache", "list"]) == 0
    assert row["path"] in capsys.readouterr().out
    assert run(["cache", "clear"]) == 0
    assert "1 inversions removed" in capsys.readouterr().err
    assert InversionCache().paths() == []


def test_an_inversion_for_another_generator(photo, tmp_path, inversion, capsys):
    path = tmp_path / "other.inv.safetensors"
    write_for_photo(inversion, path, photo)
    assert run(["edit", str(path), "--drag", SMILE[0]]) == 1
    assert "was made for the generator 'g'" in " ".join(capsys.readouterr().err.split())
