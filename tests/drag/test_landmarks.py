import numpy as np
import pytest

from drag.landmarks import Drag, face_axes, parse_drag, place
from drag.names import NAMES
from weights.errors import InvalidInput


@pytest.fixture
def face():
    """Landmarks whose eyes are 100 px apart, the right one 60 px lower: a rolled head."""
    landmarks = np.random.default_rng(0).uniform(0, 300, (68, 2))
    landmarks[36:42] = (100, 100)
    landmarks[42:48] = (180, 160)
    landmarks[48] = (90, 220)
    return landmarks


def test_every_name_has_a_place(face):
    for name, numbers in NAMES.items():
        assert place(face, name) == pytest.approx(face[list(numbers)].mean(axis=0))
    assert place(face, "48").tolist() == place(face, "#48").tolist() == [90, 220]


@pytest.mark.parametrize("name", ["mouth-middle", "68", "#-1", "", "²"])
def test_unknown_names(face, name):
    with pytest.raises(InvalidInput, match="choose from"):
        place(face, name)


def test_axes_turn_with_the_head(face):
    assert face_axes(face).tolist() == [[80, 60], [-60, 80]]


def test_absolute_drag():
    drag = parse_drag("10.5,20:-3,.5")
    assert drag == Drag(handle=(10.5, 20.0), target=(-3.0, 0.5))
    handle, target = drag.resolve(None)
    assert (handle.tolist(), target.tolist()) == ([10.5, 20], [-3, 0.5])


def test_relative_drag(face):
    drag = parse_drag("mouth-left:-10%,+5%")
    assert drag == Drag(handle="mouth-left", target=(-10.0, 5.0), relative=True)
    handle, target = drag.resolve(face)
    assert handle.tolist() == [90, 220]
    assert target == pytest.approx([90 - 8 - 3, 220 - 6 + 4])


def test_named_handle_with_a_target_in_pixels(face):
    handle, target = parse_drag("48:1,2").resolve(face)
    assert (handle.tolist(), target.tolist()) == ([90, 220], [1, 2])


@pytest.mark.parametrize(
    "text", ["", "mouth-left", "1,2", "1,2:3", "1,2:3,4,5", "a,b:1,2", "mouth-left:1%,2", "1,2:nan,1", "Mouth:1,2"]
)
def test_unreadable_drags(text):
    with pytest.raises(InvalidInput, match="is no drag"):
        parse_drag(text)


@pytest.mark.parametrize("text", ["mouth-left:1%,2%", "mouth-left:1,2", "1,2:3%,4%"])
def test_without_a_face(text):
    with pytest.raises(InvalidInput, match="need a face: give points in pixels instead, or --frame ffhq"):
        parse_drag(text).resolve(None)


def test_a_relative_drag_by_nothing_is_an_anchor():
    assert parse_drag("chin:0%,0%").anchor
    assert not parse_drag("chin:0%,1%").anchor
    assert not parse_drag("0,0:0,0").anchor


@pytest.mark.parametrize("text", ["mouth-left:-8%,-6%", "48:0.5%,0%", "12345.75,644:800,630", "10,20:-1.5%,2%"])
def test_a_drag_is_written_as_it_is_read(text):
    assert str(parse_drag(text)) == text
