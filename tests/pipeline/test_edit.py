"""The whole pipeline on a real photo, with few steps."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from drag.editor import drag
from drag.landmarks import Drag, parse_drag
from drag.settings import DragSettings, LandmarkDragSettings
from inversion.settings import InversionSettings, TuningSettings
from pipeline.check import PATIENCE, both_landmarks
from pipeline.edit import EditSettings, Pipeline
from pipeline.faces import make_detector
from pipeline.photo import Photo, decode_photo, encode_photo
from pipeline.plan import Plan
from pipeline.settings import CompositeSettings, ComputeSettings, FaceSettings
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
    assert list(smile.seconds) == ["align", "invert", "drag", "composite"]
    assert smile.drag.path[0] == pytest.approx(smile.points.handles)
    assert smile.subject.inversion.generator == "faces-128"


def test_a_pipeline_is_used_again_and_gives_the_same(quick, store, astronaut, one_thread):
    settings = replace(
        quick,
        inversion=InversionSettings(w_steps=2, steps=4),
        drag=LandmarkDragSettings(steps=8),
        faces=FaceSettings(corrections=1),
    )
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
    for unknown in ("eyez", ("mouth", "eyez")):
        with pytest.raises(InvalidInput, match="No part of a face is called 'eyez': choose from face, mouth"):
            aligned.mask(unknown)


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


def test_a_generator_without_landmarks(centered, store, monkeypatch):
    monkeypatch.delattr("pipeline.edit.make_detector")  # none is loaded, nor its weights fetched
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


@pytest.mark.parametrize("how", ["detail", "paste"])
def test_a_mask_keeps_what_may_not_move(centered, store, how):
    settings = replace(center_settings(centered), composite=CompositeSettings(composite=how))
    pipeline = Pipeline(replace(settings, drag=DragSettings(steps=8, learning_rate=0.03)), store=store)
    photo = Photo(pixels=smooth_picture(120, 160))
    mask = np.zeros((120, 160), np.float32)
    mask[:, 80:] = 1
    drags = [parse_drag("100,60:110,66")]
    subject = pipeline.prepare(photo)
    open_, held = pipeline.edit(subject, drags), pipeline.edit(subject, drags, mask=mask)
    changed = [(result.photo.pixels != photo.pixels).any(axis=2) for result in (open_, held)]
    feather = int(np.ceil(settings.composite.feather / 100 * 120))
    assert changed[0][:, : 80 - feather].any()
    assert not changed[1][:, : 80 - feather].any()
    assert changed[1][:, 80:].any()
    # The drag is held there as well, not the composite alone.
    moved = [np.abs(result.edited - result.reconstruction)[:, :24].mean() for result in (open_, held)]
    assert moved[1] < 0.8 * moved[0]


def test_the_edited_crop_alone(centered, store):
    settings = replace(center_settings(centered), composite=CompositeSettings(composite="crop"))
    result = Pipeline(settings, store=store).edit(Photo(pixels=smooth_picture(120, 160)), [parse_drag("80,60:90,66")])
    assert result.patch is None
    assert (result.mask == 1).all()
    assert result.photo.pixels.shape == (64, 64, 3)
    assert np.abs(result.photo.pixels - result.edited.clip(0, 255)).max() <= 0.5
    assert b"TrainedAlgorithmicMedia" in encode_photo(result.photo, "PNG")


class Blind:
    """A detector that sees the face of a photo where it was, whatever has become of it."""

    name = "dlib"

    def __init__(self, subject):
        self.subject = subject

    def detect(self, image):
        face, frame = self.subject.face, self.subject.alignment
        if np.array_equal(image, self.subject.photo.pixels):
            return [face]
        scale = len(image) / frame.size
        return [replace(face, landmarks=(frame.to_crop(face.landmarks) + 0.5) * scale - 0.5)]


def test_a_drag_goes_on_where_the_landmarks_fell_short(smile, quick, store, monkeypatch):
    calls = []

    def recorded(network, w, points, **how):
        calls.append((w, points, how["origin"]))
        return drag(network, w, points, **how)

    monkeypatch.setattr("pipeline.edit.drag", recorded)
    subject, drags = smile.subject, [parse_drag(text) for text in SMILE]
    for rounds in (0, 1, 4):
        calls.clear()
        settings = replace(quick, drag=LandmarkDragSettings(steps=2), faces=FaceSettings(corrections=rounds))
        pipeline = Pipeline(settings, store=store)
        pipeline.__dict__["detector"] = Blind(subject)
        result = pipeline.edit(subject, drags)
        assert len(calls) == 1 + min(rounds, PATIENCE + 1)
        assert all(origin is subject.w for _, _, origin in calls)
        assert torch.equal(result.drag.w, calls[1][0] if rounds else result.drag.w)  # none came nearer than the first
        for _, points, _ in calls[1:]:  # each asks for more, from where the landmarks are seen
            assert points.handles == pytest.approx(smile.points.handles, abs=0.01)
            assert (points.distances > 1.5 * smile.points.distances).all()


def test_what_the_drag_left_of_the_way_is_made_by_a_warp(smile, quick, store):
    shares = []
    for most in (0.0, 0.7):
        settings = replace(
            quick,
            drag=LandmarkDragSettings(steps=2),
            faces=FaceSettings(corrections=0),
            composite=CompositeSettings(finish=most),
        )
        result = Pipeline(settings, store=store).edit(smile.subject, [parse_drag(text) for text in SMILE])
        shares.append(float(result.reached.mean()))
    assert shares[0] + 0.3 < shares[1] < 1.3


def test_a_drag_is_put_back_again_by_other_settings(smile, quick, store):
    pipeline = Pipeline(quick, store=store)
    again = pipeline.put_back(smile.subject, smile.plan, smile.drag)
    assert np.array_equal(again.photo.pixels, smile.photo.pixels)
    assert again.reached == pytest.approx(smile.reached)
    pasted = pipeline.put_back(smile.subject, smile.plan, smile.drag, CompositeSettings(composite="paste"))
    assert np.array_equal(pasted.edited, smile.edited)
    assert not np.array_equal(pasted.photo.pixels, smile.photo.pixels)
    with pytest.raises(InvalidInput, match="finish"):
        pipeline.put_back(smile.subject, smile.plan, smile.drag, CompositeSettings(finish=2))
    with pytest.raises(InvalidInput, match="another plan"):
        pipeline.put_back(smile.subject, Plan(drags=smile.plan.drags[:1]), smile.drag)


def test_landmarks_that_are_moved_on_lie_in_the_crop(smile, quick, store):
    also = (Drag(handle="49", target=(99999.0, 0.0)),)
    planned = Plan(drags=(parse_drag(SMILE[0]),), also=also)
    with pytest.raises(InvalidInput, match="ends outside the crop"):
        Pipeline(quick, store=store).edit(smile.subject, planned)


def test_a_face_that_is_seen_elsewhere_is_not_believed(smile):
    here = smile.subject.face.landmarks
    for moved, found in ((0.0, True), (0.02, True), (0.5, False)):
        faces = iter([here, here + moved * 512])
        detector = SimpleNamespace(
            detect=lambda image, faces=faces: [replace(smile.subject.face, landmarks=next(faces))]
        )
        assert bool(both_landmarks(smile.reconstruction, smile.edited, detector)) == found


def test_an_inversion_with_a_focus_gives_the_face_more_weight(smile, quick, store):
    pipeline = Pipeline(replace(quick, inversion=InversionSettings(focus=0.5)), store=store)
    weight = pipeline._focus(smile.subject)
    assert weight.shape == (1, 1, 128, 128)
    assert float(weight.mean()) == pytest.approx(1)
    x, y = smile.subject.alignment.to_crop(smile.subject.face.landmarks[30:31])[0].astype(int)
    assert float(weight[0, 0, y, x]) == pytest.approx(2 * float(weight[0, 0, 0, 0]), rel=0.01)


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
    few = InversionSettings(w_steps=1, steps=3, perceptual="alex", learning_rate=0.05)
    settings = [
        replace(center_settings(centered, dtype=dtype), inversion=few, tuning=TuningSettings(tune=False))
        for dtype in ("float32", "bfloat16")
    ]
    results = [Pipeline(s, store=store).edit(photo, [parse_drag("80,60:90,66")]) for s in settings]
    assert np.abs(results[0].reconstruction - results[1].reconstruction).mean() < 5  # the way there differs, too
