"""The whole pipeline on a real photo, with few steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from drag.landmarks import parse_drag
from drag.settings import DragSettings, LandmarkDragSettings
from inversion.settings import InversionSettings, TuningSettings
from pipeline.edit import EditSettings, Pipeline
from pipeline.faces import make_detector
from pipeline.photo import Photo, decode_photo, encode_photo
from pipeline.plan import Plan
from pipeline.settings import ComputeSettings, FaceSettings
from tests.conftest import SMILE, smooth_picture, tiny_generator
from weights.errors import InvalidInput, NoFace
from weights.formats import native


def test_the_mouth_corners_move_the_right_way(smile, astronaut, store):
    """Landmarks found again on the edited photo, by a detector of the test's own."""
    detector = make_detector("dlib", store=store)
    before, after = (detector.detect(photo.pixels)[0].landmarks for photo in (astronaut, smile.photo))
    eyes = np.hypot(*(before[42:48].mean(axis=0) - before[36:42].mean(axis=0)))
    asked = eyes * np.array([[-0.08, -0.06], [0.08, -0.06]])
    moved = after[[48, 54]] - before[[48, 54]]
    shares = (moved * asked).sum(axis=1) / (asked**2).sum(axis=1)
    assert (shares > 0.3).all()
    assert smile.reached == pytest.approx(shares, abs=0.25)
    assert np.abs(after[36:48] - before[36:48]).max() < 0.04 * eyes  # the eyes stay where they are


def test_pixels_outside_the_mask_are_the_photos(smile, astronaut):
    outside = smile.mask == 0
    assert 0.5 < outside.mean() < 1
    saved = decode_photo(encode_photo(smile.photo, "PNG"), name="it")
    assert np.array_equal(saved.pixels[outside], astronaut.pixels[outside])
    assert (saved.pixels != astronaut.pixels).any()
    assert b"compositeWithTrainedAlgorithmicMedia" in saved.xmp


def test_the_result_holds_every_stage(smile):
    size = smile.subject.alignment.size
    assert smile.subject.crop.shape == smile.reconstruction.shape == smile.edited.shape == (size, size, 3)
    assert np.abs(smile.reconstruction - smile.subject.crop).mean() < 15
    assert smile.points.handles.shape == (2, 2)
    assert list(smile.seconds) == ["align", "invert", "drag", "composite", "check"]
    assert smile.drag.path[0] == pytest.approx(smile.points.handles)
    assert smile.subject.inversion.generator == "faces-128"


def test_a_pipeline_is_used_again_and_gives_the_same(quick, store, astronaut, one_thread):
    settings = replace(quick, inversion=InversionSettings(w_steps=2, steps=4), drag=LandmarkDragSettings(steps=8))
    pipeline = Pipeline(settings, store=store)
    first, again = (pipeline.edit(astronaut, [parse_drag(text) for text in SMILE]) for _ in range(2))
    assert (first.photo.pixels != astronaut.pixels).any()
    assert np.array_equal(again.photo.pixels, first.photo.pixels)


def test_stages_can_be_stopped_and_are_told_of(quick, store, astronaut):
    seen = []

    def progress(stage, done, total, words):
        seen.append((stage, done, total))
        return False if (stage, done) in (("invert", 2), ("drag", 1)) else None

    result = Pipeline(quick, store=store).edit(astronaut, [parse_drag(SMILE[0])], progress=progress)
    assert result.subject.inversion.steps == {"project": 2}
    assert not result.subject.inversion.completed
    assert (result.drag.reason, result.drag.steps) == ("stopped", 1)
    assert not result.arrived
    assert seen == [("invert", 1, 10), ("invert", 2, 10), ("drag", 0, 60), ("drag", 1, 60)]


def test_a_mask_of_the_photo_keeps_what_it_covers(quick, store, astronaut):
    pipeline = Pipeline(quick, store=store)
    aligned = pipeline.align(astronaut)
    mask = np.zeros(astronaut.pixels.shape[:2], np.float32)
    mask[150:, :] = 1
    crop = aligned.mask(mask)
    row = int(aligned.alignment.to_crop(np.array([[220.0, 150.0]]))[0, 1])
    assert (crop[: row - 6] == 0).all()
    assert (crop[row + 6 :] == 1).all()
    with pytest.raises(InvalidInput, match="512 x 100 pixels where the photo is 512 x 512"):
        aligned.mask(np.ones((100, 512), np.float32))
    mouth = aligned.mask("mouth")
    x, y = aligned.alignment.to_crop(aligned.face.landmarks[62:63])[0].astype(int)
    assert mouth[y, x] == 1
    assert mouth[0].max() == 0
    with pytest.raises(InvalidInput, match="nothing to move"):
        aligned.mask(np.zeros((512, 512), np.float32))


def test_landmarks_move_within_their_part_of_the_face():
    def plan(*texts):
        planned = Plan.of([parse_drag(text) for text in texts])
        return planned.regions, planned.settings

    assert plan("mouth-left:-8%,-6%", "chin:0%,0%", "9,9:9,9") == ((), DragSettings())
    assert plan("mouth-left:-8%,-6%", "chin:0%,0%") == (("mouth",), LandmarkDragSettings())
    assert plan("mouth-left:-8%,-6%", "9,9:0%,0%") == (("mouth",), LandmarkDragSettings())
    assert plan("mouth-left:-8%,-6%", "#8:0%,4%", "eye-left:100,100") == (
        ("mouth", "eyes", "jaw"),
        LandmarkDragSettings(),
    )
    assert plan("100,100:10%,0%") == ((), DragSettings())
    drags = [parse_drag("chin:0%,9%")]
    assert Plan.of(drags).masked(()).allowed is None
    assert Plan.of(drags).masked("face").allowed == ("face",)


def test_errors_come_before_the_work(quick, store, astronaut):
    pipeline = Pipeline(quick, store=store)
    with pytest.raises(InvalidInput, match="no points"):
        pipeline.edit(astronaut, [])
    with pytest.raises(
        InvalidInput, match=r"The drag 500,500:490,490 begins outside the crop, which reaches from \d+,"
    ):
        pipeline.edit(astronaut, [parse_drag("500,500:490,490")])
    with pytest.raises(InvalidInput, match="The drag mouth-left:-400%,0% ends outside the crop"):
        pipeline.edit(astronaut, [parse_drag("mouth-left:-400%,0%")])
    with pytest.raises(NoFace):
        pipeline.edit(Photo(pixels=smooth_picture(200, 200)), [parse_drag(SMILE[0])])
    with pytest.raises(NoFace, match="--face 2"):
        Pipeline(EditSettings(faces=FaceSettings(face=2)), store=store).align(astronaut)


@pytest.fixture(scope="module")
def centered(tmp_path_factory):
    """The file of a tiny generator whose frame needs no face."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    native.write(path, tiny_generator(64).state_dict(), {"frame": "center"})
    return path


def center_settings(path, **compute):
    return EditSettings(
        inversion=InversionSettings(w_steps=1, steps=3, perceptual="alex"),
        tuning=TuningSettings(steps=2),
        drag=DragSettings(steps=3),
        compute=ComputeSettings(generator=str(path), **compute),
    )


def test_a_generator_without_landmarks(centered, store):
    photo = Photo(pixels=smooth_picture(120, 160))
    pipeline = Pipeline(center_settings(centered), store=store)
    result = pipeline.edit(photo, [parse_drag("80,60:90,66")])
    assert result.subject.face is None
    assert np.isnan(result.reached).all()
    assert result.photo.pixels.shape == photo.pixels.shape
    assert (result.mask[:, :19] == 0).all()
    with pytest.raises(InvalidInput, match="need a face"):
        pipeline.edit(photo, [parse_drag(SMILE[0])])


def test_there_is_no_focus_without_a_face(centered, store):
    settings = center_settings(centered)
    pipeline = Pipeline(replace(settings, inversion=replace(settings.inversion, focus=0.5)), store=store)
    with pytest.raises(InvalidInput, match="crops for tiny are cut without looking for one: leave it at 0"):
        pipeline.edit(Photo(pixels=smooth_picture(120, 160)), [parse_drag("80,60:90,66")])


@pytest.mark.parametrize("embedded", [True, False], ids=["embedded", "tiny"])
def test_every_tensor_is_made_on_its_device(embedded, centered, store, astronaut):
    """Under a default device that holds no numbers, a tensor made without its device would fail."""
    settings = center_settings("faces-128" if embedded else centered, device="cpu")
    drags = [parse_drag(text) for text in (SMILE if embedded else ["200,200:220,210"])]
    mask = np.ones((512, 512), np.float32)
    mask[:100] = 0
    torch.set_default_device("meta")
    try:
        result = Pipeline(settings, store=store).edit(astronaut, drags, mask=mask)
    finally:
        torch.set_default_device(None)
    assert result.photo.pixels.shape == astronaut.pixels.shape
    assert np.isfinite(result.drag.path).all()


def test_the_same_in_both_precisions(centered, store):
    photo = Photo(pixels=smooth_picture(120, 160))
    settings = [
        replace(center_settings(centered, dtype=dtype), tuning=TuningSettings(tune=False))
        for dtype in ("float32", "bfloat16")
    ]
    results = [Pipeline(s, store=store).edit(photo, [parse_drag("80,60:90,66")]) for s in settings]
    assert np.abs(results[0].reconstruction - results[1].reconstruction).mean() < 5  # the way there differs, too
