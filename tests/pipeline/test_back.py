"""The look at the photo that was put back, with a detector that says what it is told to."""

from dataclasses import replace

import numpy as np
import pytest

from drag.landmarks import Drag
from pipeline.back import put_back
from pipeline.check import LOOK, around
from pipeline.finish import BEYOND, finish
from pipeline.plan import Plan
from pipeline.settings import CompositeSettings

CORNERS = [48, 54]


class Told:
    """A detector: first of the photo, then of the generator's two pictures, then of what was made of them.

    It sees the corners of the mouth gone by those shares of their way, or no face where that is None.
    """

    name = "dlib"

    def __init__(self, subject, way, shares, *, crop):
        self.subject, self.way, self.shares, self.crop, self.calls = subject, way, shares, crop, 0

    def detect(self, image):
        share = [0.0, 0.0, 0.2, *self.shares][self.calls]
        self.calls += 1
        if share is None:
            return []
        frame, face = self.subject.alignment, self.subject.face
        landmarks = frame.to_crop(face.landmarks)
        landmarks[CORNERS] += share * self.way
        if self.calls in (2, 3) or (self.crop and self.calls > 3):
            return [replace(face, landmarks=(landmarks + 0.5) * (LOOK / frame.size) - 0.5)]
        rows, columns = around(self.subject)
        return [replace(face, landmarks=frame.to_photo(landmarks) - [columns.start, rows.start])]


@pytest.fixture
def made(monkeypatch):
    """Return what each attempt asked for and made."""
    attempts = []

    def recorded(edited, before, after, ways, *, most):
        attempts.append((ways, finish(edited, before, after, ways, most=most)[0]))
        return finish(edited, before, after, ways, most=most)

    monkeypatch.setattr("pipeline.back.finish", recorded)
    return attempts


@pytest.mark.parametrize(
    ("shares", "kept"),
    [
        ([0.4, 0.9], 1),  # the second is nearer
        ([0.4, 0.3], 0),  # or farther
        ([0.4, 1.9], 0),
        ([0.4, None], 0),  # or spoils the face
        ([None], 0),
        ([0.95], 0),  # what is missing may be jitter
    ],
)
@pytest.mark.parametrize("how", ["detail", "paste", "crop"])
def test_what_lacks_less_is_kept(smile, made, shares, kept, how):
    subject = smile.subject
    plan = Plan(
        drags=tuple(Drag(handle=str(k), target=(10.0, 0.0), relative=True) for k in CORNERS), regions=("mouth",)
    )
    way = plan.ways(subject)[CORNERS[0]]
    detector = Told(subject, way, shares, crop=how == "crop")
    back = put_back(subject, plan, smile.edited, CompositeSettings(composite=how), detector)
    assert detector.calls == 3 + len(shares)
    assert len(made) == len(shares)
    assert np.array_equal(back.crop, made[kept][1])
    assert (back.seen is None) == (shares[kept] is None)
    if back.seen:
        went = (back.seen[1] - back.seen[0])[CORNERS]
        assert went == pytest.approx(np.array([shares[kept] * way] * 2), abs=0.05)
    if len(shares) > 1:
        first, second = (ways for ways, _ in made)
        assert np.array_equal(first, plan.ways(subject), equal_nan=True)
        assert second[CORNERS] - first[CORNERS] == pytest.approx(np.array([BEYOND * way] * 2), abs=0.05)
        others = np.delete(np.arange(68), CORNERS)
        assert np.array_equal(first[others], second[others], equal_nan=True)


def test_nothing_is_looked_for_where_no_landmark_moves(smile, made):
    detector = Told(smile.subject, np.zeros(2), [], crop=False)
    detector.calls = 1  # the photo is not looked at
    plan = Plan(drags=(Drag(handle=(200.0, 200.0), target=(210.0, 200.0)),))
    back = put_back(smile.subject, plan, smile.edited, CompositeSettings(), detector)
    assert detector.calls == 3
    assert back.seen is None
    assert (back.photo().pixels != smile.subject.photo.pixels).any()


def test_without_a_face_nothing_is_detected(smile):
    subject = replace(smile.subject, face=None)
    plan = Plan(drags=(Drag(handle=(200.0, 200.0), target=(210.0, 200.0)),))
    back = put_back(subject, plan, smile.edited, CompositeSettings(), None)
    assert back.seen is None
    assert (back.photo().pixels != subject.photo.pixels).any()
