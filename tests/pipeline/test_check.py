"""The closed loop of corrections, with a generator whose landmarks do a part of what the tracker believes."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from drag.editor import DragResult
from drag.landmarks import Drag
from drag.points import Points
from pipeline.align import Alignment
from pipeline.check import OVERSHOOT, PATIENCE, around, correct, look, reached
from pipeline.faces import Face
from pipeline.photo import Photo
from pipeline.subject import Aligned

SIZE = 512
LANDMARKS = np.stack(np.meshgrid(np.arange(8) * 40.0 + 100, np.arange(9) * 30.0 + 100), axis=-1).reshape(-1, 2)[:68]
NOSE, CHIN = 30, 8
WAY = 10.0  # px


class Seen:
    """A detector of a face whose nose has gone right by a tenth of the picture's red, and its chin by its green."""

    def detect(self, picture):
        landmarks = LANDMARKS.copy()
        landmarks[NOSE, 0] += (float(picture[..., 0].mean()) - 100) / 10
        landmarks[CHIN, 0] += (float(picture[..., 1].mean()) - 100) / 10
        return [Face(landmarks=landmarks, box=(0, 0, SIZE, SIZE), score=1.0, detector="fake")]


class Loop:
    """A generator in which the nose goes `gain` of the tracker's way, and the chin `slip` of the nose's way."""

    def __init__(self, gain, slip=0.0):
        self.gain, self.slip = gain, slip
        self.asked = []
        self.subject = SimpleNamespace(alignment=SimpleNamespace(size=SIZE), w=torch.zeros(1, 1, 2), render=self.render)
        self.subject.reconstruction = self.render(self.subject.w)

    def render(self, w):
        crop = np.full((SIZE, SIZE, 3), 100, np.float32)
        crop[..., :2] += 10 * w[0, 0].numpy()
        return crop

    def go_on(self, w, points):
        """Drag: the tracker sees all handles arrive."""
        self.asked.append(points)
        nose = self.gain * float(points.targets[0, 0] - points.handles[0, 0])
        w = w + torch.tensor([nose, nose * self.slip])
        path = np.stack([points.handles, points.targets])
        return DragResult(w=w, reason="arrived", steps=1, path=path, targets=points.targets, rows=torch.zeros(2, 1, 2))

    def run(self, rounds=6):
        """Return the drag's end, and how far the nose went."""
        handles = LANDMARKS[[NOSE, CHIN]]
        points = Points(handles, handles + np.array([[WAY, 0], [0, 0]]), np.ones(2))
        drags = [
            Drag(handle="nose-tip", target=(1.0, 0.0), relative=True),
            Drag(handle="chin", target=(0.0, 0.0), relative=True),
        ]
        end = correct(
            self.subject,
            self.go_on(self.subject.w, points),
            points,
            drags,
            detector=Seen(),
            go_on=self.go_on,
            rounds=rounds,
            close=1.0,
        )
        assert (end.targets == points.targets).all()
        return end, float(end.w[0, 0, 0])


@pytest.mark.parametrize("gain", [0.2, 0.5, 0.9])
def test_a_landmark_that_lags_behind_its_handle_is_sent_past_the_target(gain):
    loop = Loop(gain)
    end, went = loop.run()
    assert went == pytest.approx(WAY, abs=1.5)
    assert end.steps == len(loop.asked)
    for points in loop.asked[1:]:
        beyond = points.targets - (LANDMARKS[[NOSE, CHIN]] + np.array([[WAY, 0], [0, 0]]))
        assert 0 < beyond[0, 0] <= OVERSHOOT * WAY + 1e-6
        assert beyond[1] == pytest.approx(0)  # the anchor stayed


def test_a_landmark_that_arrives_is_left_alone():
    loop = Loop(1.0)
    _, went = loop.run()
    assert went == pytest.approx(WAY)
    assert len(loop.asked) == 1


def test_what_goes_the_wrong_way_is_given_up_and_the_nearest_kept():
    loop = Loop(-0.3)
    end, went = loop.run(rounds=9)
    assert went == pytest.approx(-0.3 * WAY)
    assert end.steps == 1
    assert len(loop.asked) == 2 + PATIENCE


def test_an_anchor_that_slips_is_pulled_back_but_does_not_stop_the_handle():
    loop = Loop(0.5, slip=0.6)
    _, went = loop.run()
    assert went > 0.8 * WAY
    chin = [points.targets[1, 0] - LANDMARKS[CHIN, 0] for points in loop.asked]
    assert chin[0] == 0
    assert min(chin) == pytest.approx(-1)  # by no more than the least


def test_no_rounds_are_no_look():
    loop = Loop(0.5)
    end, went = loop.run(rounds=0)
    assert went == pytest.approx(5)
    assert end.steps == 1


def placed_face(pixels):
    """Return a photo with a face in it: its crop is the left half, at twice the size."""
    alignment = Alignment(np.array([[0.5, 0, 0], [0, 0.5, 0]]), SIZE)
    face = Face(landmarks=alignment.to_photo(LANDMARKS), box=(0, 0, 256, 256), score=1.0, detector="fake")
    return Aligned(
        photo=Photo(pixels=pixels), face=face, alignment=alignment, crop=np.zeros((SIZE, SIZE, 3), np.float32)
    )


def test_the_share_of_a_way_is_between_two_sights():
    aligned = placed_face(np.zeros((256, 512, 3), np.uint8))
    before = LANDMARKS + 3  # wherever the face was found at first
    after = before.copy()
    after[NOSE] += [6, 9]
    x, y = aligned.face.landmarks[NOSE]
    drags = [
        Drag(handle="nose-tip", target=(x + 4, y)),
        Drag(handle="chin", target=(0.0, 0.0), relative=True),
        Drag(handle=(1.0, 1.0), target=(2.0, 2.0)),
    ]
    shares = reached(aligned, (before, after), drags)
    assert shares[0] == pytest.approx(0.75)
    assert np.isnan(shares[1:]).all()
    assert np.isnan(reached(aligned, None, drags)).all()


def test_a_face_is_looked_for_where_it_was():
    aligned = placed_face(np.zeros((256, 512, 3), np.uint8))
    rows, columns = around(aligned)
    assert (rows, columns) == (slice(0, 256), slice(0, 385))
    moved = LANDMARKS + np.array([0, 20])
    for offsets, found in (([(0, 0)], True), ([(400, 0), (0, 0)], True), ([(400, 0)], False), ([], False)):
        faces = [replace(aligned.face, landmarks=aligned.alignment.to_photo(moved + offset)) for offset in offsets]
        detector = SimpleNamespace(detect=lambda pixels, faces=faces: faces)
        seen = look(aligned, aligned.photo.pixels[rows, columns], detector=detector)
        assert (seen is not None) == found
        if seen is not None:
            assert seen == pytest.approx(moved)
