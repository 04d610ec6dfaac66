"""The Python API, and the examples of docs/python.md, which are run."""

import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import photodrag
from drag.settings import DragSettings, LandmarkDragSettings
from inversion.settings import InversionSettings, TuningSettings
from pipeline.edit import EditSettings, Pipeline
from pipeline.faces import make_detector
from pipeline.photo import Photo, write_photo
from pipeline.settings import CompositeSettings, ComputeSettings, FaceSettings
from tests.conftest import smooth_picture, tiny_generator
from weights.errors import Cancelled, InvalidFile, InvalidInput
from weights.formats import native

DOC = Path(__file__).parents[2] / "docs" / "python.md"
FEW = {
    InversionSettings: {"w_steps": 2, "steps": 4, "perceptual": "alex"},
    TuningSettings: {"steps": 2},
    DragSettings: {"steps": 3},
    LandmarkDragSettings: {"steps": 3},
    FaceSettings: {"corrections": 0},
}


@pytest.fixture
def settings(tiny_file):
    return EditSettings(
        inversion=InversionSettings(w_steps=1, steps=2, perceptual="alex"),
        tuning=TuningSettings(steps=1),
        drag=DragSettings(steps=4),
        compute=ComputeSettings(generator=str(tiny_file)),
    )


@pytest.fixture
def photo():
    return Photo(pixels=smooth_picture(64, 80))


def test_the_examples_run(tmp_path, monkeypatch, astronaut, store, capsys):
    write_photo(astronaut, tmp_path / "me.jpg")
    monkeypatch.chdir(tmp_path)
    for kind, few in FEW.items():
        for name, value in few.items():
            monkeypatch.setitem(kind.__init__.__kwdefaults__, name, value)
    detector = make_detector("dlib", store=store)
    monkeypatch.setattr("pipeline.edit.make_detector", lambda *args, **kwargs: detector)
    blocks = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    names = {}
    for block in blocks:
        exec(compile(block, str(DOC), "exec"), names)
    assert len(blocks) == 8
    for name in (
        "me-edited.jpg",
        "me-open.jpg",
        "me-brows.jpg",
        "me-again.jpg",
        "me-by-hand.png",
        "me-retargeted.jpg",
        "smile.json",
        "smile.toml",
        "edited/me.jpg",
    ):
        assert (tmp_path / name).is_file()
    assert (len(names["done"].done), len(names["done"].failed)) == (1, 0)
    assert {"brow-left", "mouth-left"} & {drag.handle for drag in names["retargeted"].plan.drags}
    assert names["retargeted"].plan.regions == ("brows", "mouth")
    assert names["again"].plan.points == names["retargeted"].plan.points
    out = capsys.readouterr().out
    assert "The edit was cancelled; nothing was written." in out
    assert "There is no photo at missing.jpg" in out
    assert names["picture"].shape == (1, 3, 128, 128)


def test_strings_paths_and_subjects(tmp_path, photo, settings):
    path = tmp_path / "a.png"
    Image.fromarray(photo.pixels).save(path)
    pipeline = Pipeline(settings)
    results = [photodrag.edit(what, ["30,30:36,30"], pipeline=pipeline) for what in (str(path), path, photo)]
    subject = photodrag.invert(path, pipeline=pipeline)
    results.append(photodrag.edit(subject, [photodrag.parse_drag("30,30:36,30")], pipeline=pipeline))
    for result in results[1:]:
        assert np.array_equal(result.photo.pixels, results[0].photo.pixels)
    assert results[-1].subject is subject


def test_a_subject_of_another_generator(tmp_path, photo, settings):
    native.write(tmp_path / "other.safetensors", tiny_generator(seed=1).state_dict(), {"frame": "center"})
    other = replace(settings, compute=ComputeSettings(generator=str(tmp_path / "other.safetensors")))
    subject = photodrag.invert(photo, settings=other)
    with pytest.raises(InvalidFile, match="The subject was made for the generator 'other', not for 'tiny'"):
        photodrag.edit(subject, ["30,30:36,30"], settings=settings)


def test_settings_are_checked_before_the_work():
    for settings, words in (
        (EditSettings(composite=CompositeSettings(feather=float("nan"))), "feather is a number from 0 to 50, not nan"),
        (EditSettings(composite=CompositeSettings(composite="glue")), "composite is detail or paste or crop"),
        (EditSettings(faces=FaceSettings(corrections=-1)), "corrections is a number of 0 or more, not -1"),
        (EditSettings(compute=ComputeSettings(frame="portrait")), "frame is ffhq or center, not 'portrait'"),
    ):
        with pytest.raises(InvalidInput, match=words):
            Pipeline(settings)


def test_progress_stops_a_stage_and_cancel_the_edit(photo, settings):
    steps = []

    def progress(stage, done, total, words):
        steps.append((stage, done))
        return not (stage == "drag" and done == 2)

    result = photodrag.edit(photo, ["30,30:36,30"], settings=settings, progress=progress)
    assert (result.drag.reason, result.drag.steps) == ("stopped", 2)
    assert steps[-1] == ("drag", 2)
    stop = threading.Event()
    seen = []

    def watch(stage, done, total, words):
        seen.append(stage)
        stop.set()

    with pytest.raises(Cancelled, match="nothing was written"):
        photodrag.edit(photo, ["30,30:36,30"], settings=settings, progress=watch, cancel=stop.is_set)
    assert len(seen) == 1
    with pytest.raises(Cancelled):
        photodrag.invert(photo, settings=settings, cancel=lambda: True)


def test_the_errors_that_the_docs_name_are_there():
    named = re.findall(r"`(?:photodrag\.)?([A-Z]\w+)`", DOC.read_text().split("## Errors")[1])
    assert {"InvalidInput", "NoFace", "WeightsMissing", "InvalidFile", "Cancelled"} <= set(named)
    for name in set(named) - {"Pipeline"}:
        assert issubclass(getattr(photodrag, name), photodrag.PhotodragError)


def test_settings_of_two_kinds(photo, settings):
    with pytest.raises(InvalidInput, match="give one of the two"):
        photodrag.edit(photo, ["1,1:2,2"], settings=settings, pipeline=Pipeline(settings))
    with pytest.raises(InvalidInput, match="no drag"):
        photodrag.edit(photo, ["nonsense"], settings=settings)
    with pytest.raises(InvalidInput, match=re.escape("Drags are a list, ['1,1:2,2'] for a single one")):
        photodrag.edit(photo, "1,1:2,2", settings=settings)


def test_retargeting_asks_for_something_and_for_a_face(photo, settings):
    with pytest.raises(InvalidInput, match="give `like`, `presets` or `points`"):
        photodrag.retarget(photo, settings=settings)
    with pytest.raises(InvalidInput, match="No preset is called 'grin'"):
        photodrag.retarget(photo, presets={"grin": 1}, settings=settings)
    for words, message in (
        ({"region": ["mouth"]}, r"give its photo \(--like\), too"),
        ({"strength": 0.5}, r"give its photo \(--like\), too"),
        ({"preset_files": ["more.toml"]}, "choose of them by name"),
    ):
        with pytest.raises(InvalidInput, match=message):
            photodrag.retarget(photo, points=photodrag.PointsFile(drags=()), settings=settings, **words)
    with pytest.raises(InvalidInput, match="needs a face"):
        photodrag.retarget(photo, presets={"smile": 0.5}, settings=settings)


def test_the_drag_has_the_defaults_of_what_is_asked(photo, tiny_file):
    pipeline = Pipeline(
        EditSettings(
            inversion=InversionSettings(w_steps=1, steps=1, perceptual="alex"),
            tuning=TuningSettings(tune=False),
            compute=ComputeSettings(generator=str(tiny_file)),
        )
    )
    points = photodrag.PointsFile(drags=(photodrag.parse_drag("30,30:36,30"),))
    totals = []

    def progress(stage, done, total, words):
        if stage == "drag":
            totals.append(total)
        return stage != "drag"

    photodrag.edit(photo, points.drags, pipeline=pipeline, progress=progress)
    result = photodrag.retarget(photo, points=points, drags=["20,20:22,20"], pipeline=pipeline, progress=progress)
    assert totals == [DragSettings().steps, LandmarkDragSettings().steps]
    assert [str(drag) for drag in result.plan.drags] == ["30,30:36,30", "20,20:22,20"]
