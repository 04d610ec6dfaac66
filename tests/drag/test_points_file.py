import json

import pytest

from drag.landmarks import Drag
from drag.points_file import PointsFile, read_points
from weights.errors import InvalidFile, InvalidInput

DRAGS = (
    Drag(handle="mouth-left", target=(-8.0, -6.5), relative=True),
    Drag(handle="37", target=(0.0, 0.0), relative=True, weight=0.5),
    Drag(handle=(812.0, 644.5), target=(800.0, 630.0)),
)


def test_points_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "new" / "points.json"
    points = PointsFile(drags=DRAGS, regions=("mouth", "eyes"))
    points.write(path)
    assert read_points(path) == points
    assert [drag.anchor for drag in read_points(path).drags] == [False, True, False]
    assert json.loads(path.read_text())["points"][0] == {"handle": "mouth-left", "move": [-8.0, -6.5]}
    assert [p.name for p in path.parent.iterdir()] == ["points.json"]


def test_what_is_not_dragged_but_moved_on_is_kept(tmp_path):
    path = tmp_path / "p.json"
    points = PointsFile(drags=DRAGS[:1], also=(Drag(handle="61", target=(0.5, -2.0), relative=True),))
    points.write(path)
    assert read_points(path) == points
    assert json.loads(path.read_text())["also"] == [{"handle": "61", "move": [0.5, -2.0]}]
    PointsFile(drags=DRAGS[:1]).write(path)
    assert "also" not in json.loads(path.read_text())


def test_regions_may_be_left_out(tmp_path):
    path = tmp_path / "p.json"
    path.write_text('{"photodrag": "points", "version": 1, "points": [{"handle": [1, 2], "to": [3, 4]}]}')
    assert read_points(path) == PointsFile(drags=(Drag(handle=(1, 2), target=(3, 4)),))


POINT = {"handle": "chin", "move": [0, 5]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photodrag": "inversion"}, "no file of points"),
        ({"version": 2}, "version 2: this Photodrag reads 1"),
        ({"regions": ["ear"]}, "regions are a list of face"),
        ({"regions": [["eyes"]]}, "regions are a list of face"),
        ({"points": []}, "holds no points"),
        ({"points": ["chin"]}, "point 1 cannot be used"),
        ({"also": {}}, "also is a list of landmarks"),
        ({"also": [POINT, {"handle": "chin"}]}, "also, point 2 cannot be used: it needs a handle, and either"),
        ({"also": [{"handle": [1, 2], "to": [3, 4]}]}, "also names landmarks, no places"),
        ({"points": [POINT, POINT | {"to": [1, 2]}]}, "point 2 cannot be used: it needs a handle, and either"),
        ({"points": [POINT | {"handle": "nostril"}]}, "No landmark is called 'nostril'"),
        ({"points": [POINT | {"handle": [1]}]}, r"its handle is no \[x, y\]"),
        ({"points": [POINT | {"move": [0, "5"]}]}, r"its move is no \[x, y\]"),
        ({"points": [POINT | {"weight": 0}]}, "weight is a number above 0, not 0"),
        ({"points": [POINT | {"colour": 1}]}, "nothing else"),
        ({"points": [POINT | {"move": [0, 10**400]}]}, r"its move is no \[x, y\], but \[0, 1000"),
        ({"points": [POINT | {"weight": 10**400}]}, "weight is a number above 0, not 1000"),
        ({"points": [POINT | {"move": [0, float("inf")]}]}, r"its move is no \[x, y\]"),
        ({"points": [POINT | {"move": [0, float("nan")]}]}, r"its move is no \[x, y\]"),
    ],
)
def test_bad_files(tmp_path, change, message):
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"photodrag": "points", "version": 1, "points": [POINT]} | change))
    with pytest.raises(InvalidFile, match=message):
        read_points(path)


def test_files_that_are_none(tmp_path):
    with pytest.raises(InvalidInput, match="no points to read"):
        read_points(tmp_path / "none.json")
    path = tmp_path / "p.json"
    for content in (b"{", b"\xff\xfe", b"[1]", b"[" * 200_000, b"1" * 5000):
        path.write_bytes(content)
        with pytest.raises(InvalidFile):
            read_points(path)
