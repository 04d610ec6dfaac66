"""Plans of retargeting, on a real face; and the commands, end to end with few steps."""

import io
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from drag.landmarks import Drag, parse_drag
from drag.names import numbers
from drag.points_file import PointsFile
from drag.presets import own_presets
from drag.settings import DragSettings, LandmarkDragSettings, drag_defaults
from drag.shape import PARTS, Pose, shape_model, to_shape
from inversion.settings import InversionSettings, TuningSettings
from pipeline.align import Alignment
from pipeline.batch import BatchResult
from pipeline.cli.app import run
from pipeline.cli.options import as_recipe
from pipeline.cli.photo import exit_code
from pipeline.manifest import Manifest
from pipeline.photo import Photo, decode_photo, read_photo, write_photo
from pipeline.plan import Plan
from pipeline.report import succeeded
from pipeline.request import EditRequest
from pipeline.retarget import Request, landmarks_of, overall, plan, transfer, wanted
from pipeline.settings import FaceSettings
from pipeline.sheet import draw_presets, tiled
from weights.errors import InvalidInput, NoFace

SCHEMA = Path(__file__).parents[2] / "docs" / "edit.schema.json"
MODEL = shape_model()
SMILE, LEFT = own_presets()["smile"], own_presets()["face-left"]


def changed(landmarks, shift):
    """Return landmarks whose shape has been shifted, in the pixels of another picture."""
    return 3 * (to_shape(landmarks) + shift) @ [[0.8, 0.6], [-0.6, 0.8]] * 40 + 200


@pytest.fixture(scope="module")
def subject(smile):
    return smile.subject


def test_no_handle_is_given_twice(subject):
    twice = tuple(parse_drag(f"chin:0%,{way}%") for way in (5, 9))
    for request in (Request(drags=twice), Request(points=PointsFile(drags=twice))):
        with pytest.raises(InvalidInput, match="chin is dragged twice: give each handle one target"):
            plan(subject, request)
    with pytest.raises(InvalidInput, match="9,9 is dragged twice"):
        Plan.of([parse_drag("9,9:10,10"), parse_drag("9,9:0%,1%")])
    with pytest.raises(InvalidInput, match="48 is dragged twice"):  # by another name
        Plan.of([parse_drag("mouth-left:0%,5%"), parse_drag("48:0%,9%")])
    assert Plan.of([parse_drag("mouth:0%,5%"), parse_drag("mouth-left:0%,9%")])


def test_a_preset_becomes_handles_and_anchors(subject):
    planned = plan(subject, Request(presets=((SMILE, 0.5),)))
    by_name = {drag.handle: drag for drag in planned.drags}
    assert by_name["mouth-left"].target == (-5.0, -4.5)
    assert all(drag.relative for drag in planned.drags)
    assert by_name["chin"].anchor
    assert by_name["eye-left-outer"].anchor
    assert planned.regions == ("mouth",)
    assert planned.notes == ()
    assert {drag.weight for drag in planned.drags} != {1.0}
    points = subject.points(list(planned.drags))
    assert len(points) == len(planned.drags)
    assert points.weights.min() > 0
    mask = subject.mask(("mouth", "eyes"))
    assert mask == pytest.approx(np.maximum(subject.mask("mouth"), subject.mask("eyes")))


def test_presets_mix_and_turns_open_the_whole_picture(subject):
    planned = plan(subject, Request(presets=((SMILE, 0.5), (SMILE, 0.25), (own_presets()["brows-up"], 1.0))))
    assert {d.handle: d.target for d in planned.drags}["mouth-left"] == (-7.5, -6.75)
    assert planned.regions == ("brows", "mouth")
    assert plan(subject, Request(presets=((SMILE, 0.5), (LEFT, 0.5)))).regions == ()


def test_the_same_face_in_another_picture_asks_for_nothing(subject):
    like = changed(subject.face.landmarks, 0)
    assert transfer(
        to_shape(subject.face.landmarks), to_shape(like), MODEL, parts=tuple(PARTS), pose=True
    ) == pytest.approx(0, abs=1e-9)
    with pytest.raises(InvalidInput, match="Nothing would move"):
        plan(subject, Request(like=like))


def test_an_expression_travels_and_a_pose_only_when_asked(subject):
    shape = to_shape(subject.face.landmarks)
    opened = MODEL.expressed(np.eye(len(MODEL.patterns))[0])
    turned = MODEL.turned(Pose(yaw=0.2, pitch=0.0))
    like = changed(subject.face.landmarks, opened + turned)
    found = transfer(shape, to_shape(like), MODEL, parts=tuple(PARTS))
    assert found == pytest.approx(opened, abs=0.1 * np.abs(opened).max())
    assert MODEL.pose(shape + transfer(shape, to_shape(like), MODEL, parts=(), pose=True)).yaw == pytest.approx(
        MODEL.pose(to_shape(like)).yaw, abs=0.02
    )
    of_mouth = transfer(shape, to_shape(like), MODEL, parts=("mouth",))
    assert of_mouth[:48] == pytest.approx(0)
    assert of_mouth[48:] == pytest.approx(found[48:])
    planned = plan(subject, Request(like=like, parts=("mouth",), strength=0.5))
    assert planned.regions == ("mouth",)
    moving = [d for d in planned.drags if not d.anchor]
    far = {d.handle: np.hypot(*d.target) for d in moving}
    assert max(far.values()) == pytest.approx(50 * np.hypot(*found[48:].T).max(), rel=0.1)
    assert wanted(()) == (("mouth", "eyes", "brows", "jaw"), False)
    assert wanted(("all",)) == (tuple(PARTS), True)
    assert wanted(("pose", "jaw", "mouth")) == (("mouth", "jaw"), True)
    assert plan(subject, Request(like=like, parts=("pose",))).regions == ()


def test_what_is_no_handle_is_moved_on_with_the_others(subject):
    like = changed(subject.face.landmarks, MODEL.expressed(np.eye(len(MODEL.shares))[0] * 2))
    planned = plan(subject, Request(like=like, parts=("mouth",)))
    handles = {k for drag in planned.drags for k in numbers(str(drag.handle))}
    beside = {k for drag in planned.also for k in numbers(str(drag.handle))}
    assert beside
    assert not handles & beside
    assert beside <= set(PARTS["mouth"])
    ways = planned.ways(subject)
    assert all(np.hypot(*ways[k]) > 0 for k in beside)
    # What a file says of a landmark goes before what the expression would do with it.
    own = Drag(handle=str(min(beside)), target=(0.0, 1.0), relative=True)
    points = PointsFile(drags=(Drag(handle="chin", target=(0.0, 2.0), relative=True),), also=(own,))
    both = plan(subject, Request(like=like, parts=("mouth",), points=points))
    assert [drag for drag in both.also if drag.handle == own.handle] == [own]
    assert own.handle not in {drag.handle for drag in both.drags}


def test_points_take_the_place_of_what_else_moves_their_landmarks(subject):
    points = PointsFile(
        drags=(
            Drag(handle="mouth-left", target=(1.0, 2.0), relative=True),
            Drag(handle="chin", target=(0.0, 0.0), relative=True, weight=0.5),
            Drag(handle=(206.0, 152.0), target=(200.0, 148.0)),
        ),
        regions=("jaw",),
    )
    alone = plan(subject, Request(points=points))
    assert alone.points.regions == ("jaw",)
    assert set(alone.drags) == set(points.drags)
    both = plan(subject, Request(points=points, presets=((SMILE, 0.5),)))
    named = {d.handle: d for d in both.drags}
    assert len(named) == len(both.drags)
    assert named["mouth-left"].target == (1, 2)
    assert named["mouth-right"].target == (5, -4.5)
    assert named["chin"].weight == 0.5
    assert both.regions == ("jaw", "mouth")


def test_what_cannot_be_is_told(subject):
    planned = plan(subject, Request(presets=((own_presets()["eyes-open"], -3.0),)))
    assert any("eyelids would cross" in note for note in planned.notes)
    size = subject.alignment.size
    # The same face in a crop that ends just below its mouth.
    matrix = subject.alignment.matrix.copy()
    low = subject.face.landmarks[57, 1] + 8
    matrix[1, 2] = low - matrix[1, 1] * (size - 1)
    cut = replace(subject, alignment=Alignment(matrix, size))
    planned = plan(cut, Request(presets=((own_presets()["mouth-open"], 3.0),)))
    assert any("outside the crop" in note for note in planned.notes)
    assert all("chin" not in str(d.handle) for d in planned.drags)
    cut.points(list(planned.drags))
    with pytest.raises(InvalidInput, match="needs a face"):
        plan(replace(subject, face=None), Request(presets=((SMILE, 1.0),)))
    with pytest.raises(InvalidInput, match=r"from 0 to 1\.5"):
        plan(subject, Request(like=subject.face.landmarks, strength=2))


def test_the_share_of_all_ways_counts_long_ones_most(smile):
    result = replace(smile, reached=np.array([1.0, 0.5]))
    first, second = smile.points.distances**2
    assert overall(result) == pytest.approx((first + 0.5 * second) / (first + second))
    assert overall(replace(smile, reached=np.array([np.nan, 0.5]))) == 0.5
    assert overall(replace(smile, reached=np.array([np.nan, np.nan]))) is None


def test_drawings():
    drawn = draw_presets([SMILE, LEFT], side=128)
    assert drawn.shape == (128, 128 * 2 + 6, 3)
    blue = (drawn == (40, 90, 220)).all(axis=2)
    assert blue[:, :128].any()
    assert blue[:, 134:].sum() > blue[:, :128].sum()
    assert (draw_presets([SMILE], strength=-1, side=128) != drawn[:, :128]).any()
    tiles = [np.full((4, 6, 3), v, np.uint8) for v in range(5)]
    sheet = tiled(tiles, columns=2, gap=1)
    assert sheet.shape == (3 * 4 + 2, 13, 3)
    assert (sheet[10:14, :6] == 4).all()
    assert (sheet[10:14, 7:] == 255).all()


QUICK = ["--invert-w-steps", "2", "--invert-steps", "8", "--invert-perceptual", "alex", "--no-tune", "--steps", "30"]


def test_retarget_and_again_from_its_recipe_and_its_points(one_thread, cli, photo, tmp_path, monkeypatch):
    points, recipe, first, second = (tmp_path / name for name in ("p.json", "r.toml", "1.png", "2.png"))
    code, out, err = cli(
        "retarget", photo, "--preset", "smile=-1", "-o", first, "--save-points", points, "--save-recipe", recipe,
        "--json", *QUICK[:-1], 15, "--corrections", 1,
    )  # fmt: skip
    told = json.loads(out)
    jsonschema.validate(told, json.loads(SCHEMA.read_text()))
    assert told["regions"] == ["mouth"]
    assert told["notes"] == []
    assert told["settings"]["edit"] == {"preset": ["smile=-1"]}
    assert told["settings"]["drag"]["mask_weight"] == 5
    assert told["reached"] > 0.1
    assert (code == 0) == (told["reached"] >= 0.5)
    shares = {handle["drag"]: handle["reached"] for handle in told["handles"]}
    assert shares["mouth-left:10%,9%"] is not None
    assert shares["chin:0%,0%"] is None
    assert "Traceback" not in err
    assert (read_photo(first).pixels != read_photo(photo).pixels).any()
    # The recipe asks for the same, whichever command takes it.
    code_2, out, err = cli("edit", photo, "--recipe", recipe, "-o", second)
    assert out == f"{second}\n"
    assert code_2 == code
    assert "Detected again on the result, the landmarks made" in err
    assert "what might change: mouth" in err
    assert np.array_equal(read_photo(first).pixels, read_photo(second).pixels)
    # And so do the points, from a stream to a stream.
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    words = ["retarget", "-", "--points", str(points), *QUICK[:-1], "15", "--corrections", "1", "--strip-metadata"]
    stream = io.TextIOWrapper(io.BytesIO())
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", stream)
        assert run(words) == code
    streamed = decode_photo(stream.buffer.getvalue(), name="it")
    assert streamed.format == "PNG"
    assert np.array_equal(streamed.pixels, read_photo(first).pixels)


def test_a_batch_of_a_preset(cli, astronaut, photo, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    mine = tmp_path / "mine.toml"
    mine.write_text('[frown]\nregions = ["mouth"]\nmove = { mouth-left = [10, 9], mouth-right = [-10, 9] }\n')
    write_photo(astronaut, folder / "a.png")
    write_photo(Photo(pixels=np.ascontiguousarray(astronaut.pixels[:, ::-1])), folder / "b.jpg")
    Image.new("RGB", (200, 200), "grey").save(folder / "none.png")
    words = ("batch", folder, "-o", out, "--preset", "frown", "--presets", mine, *QUICK[:-1], 10, "--corrections", 0)
    code, said, err = cli(*words)
    assert code == 5
    assert said.split() == [str(out / "a.png"), str(out / "b.jpg")]
    assert "none.png: No face was found" in err
    entries = Manifest(out / "manifest.jsonl").entries()
    for name in ("a.png", "b.jpg"):
        assert entries[name]["regions"] == ["mouth"]
        assert entries[name]["settings"]["drag"]["tolerance"] == 1
        assert {"mouth-left:10%,9%", "mouth-right:-10%,9%"} <= {h["drag"] for h in entries[name]["handles"]}
        assert entries[name]["reached"] > 0
        assert (read_photo(out / name).pixels != read_photo(folder / name).pixels).any()
    _, said, _ = cli(*words, "--dry-run", "--json")
    assert json.loads(said) == {"todo": ["none.png"], "skipped": 2}
    # Another content of the presets' file is another edit.
    mine.write_text(mine.read_text().replace("9", "5"))
    _, said, _ = cli(*words, "--dry-run", "--json")
    assert json.loads(said) == {"todo": ["a.png", "b.jpg", "none.png"], "skipped": 0}


def test_a_face_that_is_not_there_ends_a_batch_before_it_begins(cli, photo, tmp_path):
    grey, folder = tmp_path / "grey.png", tmp_path / "in"
    folder.mkdir()
    photo.rename(folder / "me.png")
    Image.new("RGB", (200, 200), "grey").save(grey)
    code, _, err = cli("batch", folder, "-o", tmp_path / "out", "--like", grey)
    assert (code, "No face was found" in err) == (3, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["edit", "retarget", "batch"])
def test_every_command_takes_the_defaults_of_what_is_asked(cli, command, tmp_path, monkeypatch):
    asked = []

    def note(photo, recipe, options):
        asked.append(as_recipe(recipe))
        return 0

    def note_batch(source, target, recipe, settings, **more):
        asked.append(recipe)
        return BatchResult()

    for name in ("edit", "retarget"):
        monkeypatch.setattr(import_module(f"pipeline.cli.{name}"), "edit_photo", note)
    monkeypatch.setattr("pipeline.batch.run_batch", note_batch)
    path = tmp_path / "r.toml"
    path.write_text('[edit]\npreset = ["tilt"]\n[drag]\nmask_weight = 7.0\n')
    head = (command, tmp_path, *(("-o", tmp_path / "out") if command == "batch" else ()))
    for words in (
        ["--drag", "1,1:2,2", "--drag", "3,3:4,4"],
        ["--drag", "chin:0%,4%", "--drag", "3,3:4,4"],
        ["--drag", "chin:0%,4%", "--drag", "#30:3,4", "--mask", "none", "--steps", "9"],
        ["--preset", "smile", "--preset", "tilt=0.5", "--presets", "a.toml", "--steps", "5"],
        ["--like", "b.jpg", "--region", "mouth", "--region", "pose", "--strength", "0.5"],
        ["--points", "p.json", "--mask", "face", "--mask-weight", "20"],
        ["--recipe", str(path), "--preset", "smile"],
    ):
        assert cli(*head, *words)[0] == 0
    assert [recipe.drag for recipe in asked] == [
        DragSettings(),
        DragSettings(),
        LandmarkDragSettings(steps=9),
        LandmarkDragSettings(steps=5),
        LandmarkDragSettings(),
        LandmarkDragSettings(mask_weight=20),
        LandmarkDragSettings(mask_weight=7),
    ]
    assert [recipe.edit for recipe in asked] == [
        EditRequest(drag=("1,1:2,2", "3,3:4,4")),
        EditRequest(drag=("chin:0%,4%", "3,3:4,4")),
        EditRequest(drag=("chin:0%,4%", "#30:3,4"), mask="none"),
        EditRequest(preset=("smile", "tilt=0.5"), presets=(Path("a.toml"),)),
        EditRequest(like=Path("b.jpg"), region=("mouth", "pose"), strength=0.5),
        EditRequest(points=Path("p.json"), mask="face"),
        EditRequest(preset=("smile",)),
    ]
    _, out, _ = cli(command, "--help")
    shown = " ".join(out.replace("│", " ").split())
    for plain, landmarks in ((300, 60), (0.0042, 0.0048)):
        assert f"[default: {landmarks}; for --drag X,Y:X,Y {plain}]" in shown
    assert (" --drag STR" in shown, " --preset STR" in shown) == (command != "retarget", command != "edit")


def test_what_is_asked_has_the_same_defaults_before_and_after_it_is_read(photo, tmp_path):
    points = tmp_path / "p.json"
    PointsFile(drags=(Drag(handle=(5.0, 5.0), target=(9.0, 9.0)),), regions=()).write(points)
    for landmarks, asked in (
        (False, EditRequest(drag=("1,1:2,2",))),
        (False, EditRequest(drag=("chin:0%,4%", "3,3:4,4"))),
        (True, EditRequest(drag=("chin:0%,4%", "3,3:0%,0%"))),
        (True, EditRequest(drag=("1,1:2,2",), preset=("smile",))),
        (True, EditRequest(points=points)),
        (True, EditRequest(drag=("1,1:2,2",), like=photo)),
    ):
        assert asked.landmarks == landmarks
        assert asked.read().settings == drag_defaults(landmarks=landmarks)


def test_a_mask_takes_the_place_of_the_regions(subject):
    request = Request(presets=((SMILE, 0.5),))
    assert plan(subject, request).allowed == ("mouth",)
    assert plan(subject, replace(request, mask="face")).allowed == ("face",)
    assert plan(subject, replace(request, mask=())).allowed is None
    assert plan(subject, replace(request, drags=(parse_drag("chin:0%,4%"),))).allowed == ("jaw", "mouth")
    assert plan(subject, replace(request, drags=(parse_drag("99,99:98,98"),))).allowed is None
    allowed = np.ones((512, 512), np.float32)
    planned = plan(subject, replace(request, mask=allowed))
    assert planned.allowed is allowed
    assert planned.regions == planned.points.regions == ()


def test_drags_go_before_points_and_presets(subject):
    points = PointsFile(drags=(parse_drag("mouth-left:1%,2%"), parse_drag("chin:0%,3%")), regions=("mouth",))
    drags = (parse_drag("mouth-left:3%,0%"), parse_drag("nose-tip:0%,0%"))
    planned = plan(subject, Request(drags=drags, points=points, presets=((SMILE, 0.5),)))
    named = {drag.handle: str(drag) for drag in planned.drags}
    assert len(named) == len(planned.drags)
    assert named["mouth-left"] == "mouth-left:3%,0%"
    assert named["chin"] == "chin:0%,3%"
    assert named["mouth-right"] == "mouth-right:5%,-4.5%"
    assert planned.regions == ("mouth",)
    assert plan(subject, Request(drags=drags[1:], points=points)).regions == ("mouth",)
    # Drags alone stay as they are, in their order.
    alone = plan(subject, Request(drags=drags[::-1]))
    assert (alone.drags, alone.regions, alone.settings) == (drags[::-1], ("mouth",), LandmarkDragSettings())
    with pytest.raises(TypeError, match="seen"):
        plan(subject, Request(like=subject.photo))


def test_a_landmark_is_the_same_by_each_of_its_names(subject):
    smile = ((SMILE, 0.5),)

    def handles(**request):
        return [str(drag) for drag in plan(subject, Request(**request)).drags]

    alone = handles(presets=smile)
    assert any(drag.startswith("mouth-left:") for drag in alone)
    for name in ("48", "#48", "mouth-left"):
        asked = handles(presets=smile, drags=(parse_drag(f"{name}:8%,0%"),))
        assert asked[0] == f"{name}:8%,0%"
        assert not any(drag.startswith("mouth-left:") for drag in asked[1:])
        assert any(drag.startswith("mouth-right:") for drag in asked)
    # What holds both corners of the mouth takes the place of each; and anchors give way likewise.
    both = handles(presets=smile, drags=(parse_drag("mouth:0%,3%"), parse_drag("8:0%,1%")))
    assert not any(drag.startswith(("mouth-", "chin:")) for drag in both)
    points = PointsFile(drags=(parse_drag("mouth-left:1%,2%"), parse_drag("9,9:8,8"), parse_drag("7,7:8,8")))
    drags = (parse_drag("48:3%,0%"), parse_drag("9,9:5,5"))
    assert handles(points=points, drags=drags) == ["7,7:8,8", "48:3%,0%", "9,9:5,5"]


def test_success_is_told_by_the_landmarks_where_they_are_seen():
    assert succeeded({"arrived": False, "reached": 0.5})
    assert not succeeded({"arrived": True, "reached": 0.49})
    assert succeeded({"arrived": True, "reached": None})
    assert not succeeded({"arrived": False, "reached": None})
    assert (exit_code({"arrived": True}), exit_code({"arrived": True}, {"arrived": False})) == (0, 6)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["PHOTO"], 2, "give --like OTHER, --preset NAME=STRENGTH, or --points FILE"),
        (["PHOTO", "--preset", "grin"], 2, "No preset is called 'grin'"),
        (["PHOTO", "--preset", "smile=x"], 2, "write smile=0.6"),
        (["PHOTO", "--preset", "smile", "--region", "mouth"], 2, "give its photo (--like), too"),
        (["PHOTO", "--like", "PHOTO", "--strength", "2"], 2, "from 0 to 1.5"),
        (["PHOTO", "--like", "PHOTO", "--region", "ear"], 2, "ear"),
        (["PHOTO", "--like", "missing.png"], 2, "There is no photo at missing.png"),
        (["PHOTO", "--like", "GREY"], 3, "No face was found in the photo whose expression is to be taken"),
        (["GREY", "--like", "PHOTO"], 3, "No face was found in the photo: use one"),
        (["PHOTO", "--like", "PHOTO"], 2, "Nothing would move"),
        (["PHOTO", "--points", "missing.json"], 2, "no points to read"),
        (["PHOTO", "--points", "TEXT"], 1, "no JSON file"),
        (["PHOTO", "--preset", "smile", "--presets", "TEXT"], 1, "no TOML file"),
        (["PHOTO", "--points", "TEXT", "--presets", "TEXT"], 2, "choose of them by name (--preset NAME)"),
        (["PHOTO", "--preset", "smile", "--save-points", "TEXT"], 2, "exists: give another path"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(cli, photo, tmp_path, arguments, code, message):
    text, grey = tmp_path / "text.txt", tmp_path / "grey.png"
    text.write_text("not data")
    Image.new("RGB", (200, 200), "grey").save(grey)
    names = {"PHOTO": photo, "TEXT": text, "GREY": grey}
    before = set(tmp_path.iterdir())
    found, out, err = cli("retarget", *(names.get(a, a) for a in arguments))
    assert found == code
    assert message.replace(" ", "") in err.replace(" ", "").replace("│", "")
    assert "Traceback" not in err
    assert out == ""
    assert set(tmp_path.iterdir()) == before


def test_presets_are_listed_and_drawn(cli, tmp_path):
    mine, drawn = tmp_path / "mine.toml", tmp_path / "drawn.png"
    mine.write_text('[wink]\nabout = "one eye"\nregions = ["eyes"]\nmove = { 37 = [0, 5], 38 = [0, 5] }\n')
    code, out, _ = cli("presets", "--presets", mine, "-o", drawn)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [*own_presets(), "wink"]
    assert "one eye  (eyes)" in out
    assert (read_photo(drawn).width, read_photo(drawn).xmp) == (4 * 256 + 3 * 6, None)
    code, out, _ = cli("presets", "--json")
    assert json.loads(out)["smile"]["move"]["mouth-left"] == [-10, -9]
    assert cli("presets", "-o", drawn)[0] == 2
    assert "say where with -o" in cli("presets", "--sheet", drawn)[2]
    assert "from -1.5 to 1.5" in cli("presets", "--strength", 0)[2]


def test_a_sheet_of_a_photo_from_stdin(cli, photo, tmp_path, monkeypatch):
    for kind, few in (
        (LandmarkDragSettings, {"steps": 4}),
        (InversionSettings, {"w_steps": 1, "steps": 2, "perceptual": "alex"}),
        (TuningSettings, {"steps": 1}),
        (FaceSettings, {"corrections": 0}),
    ):
        for name, value in few.items():
            monkeypatch.setitem(kind.__init__.__kwdefaults__, name, value)
    monkeypatch.setattr("drag.presets.read_presets", lambda paths: {"smile": SMILE})
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    sheet = tmp_path / "sheet.png"
    code, out, _ = cli("presets", "--sheet", "-", "-o", sheet, "--strength", -1, "--no-cache")
    assert (code, out) == (0, f"{sheet}\n")
    monkeypatch.setattr("pipeline.sheet.sheet_of", lambda *args, **kwargs: read_photo(photo).pixels)
    code, out, _ = cli("presets", "--sheet", photo, "-o", tmp_path / "again.png", "--json")
    assert (code, list(json.loads(out))) == (0, ["smile"])
    assert b"compositeWithTrainedAlgorithmicMedia" in read_photo(sheet).xmp
    pixels = read_photo(sheet).pixels
    assert pixels.shape == (256, 2 * 256 + 6, 3)
    assert (pixels[:, :256] != pixels[:, 262:]).any()
    assert "never written over" in cli("presets", "--sheet", photo, "-o", photo, "--overwrite")[2]


def test_the_largest_face_is_taken(astronaut, store):
    from pipeline.faces import make_detector
    from pipeline.photo import Photo

    detector = make_detector("dlib", store=store)
    assert landmarks_of(astronaut, detector).shape == (68, 2)
    with pytest.raises(NoFace):
        landmarks_of(Photo(pixels=np.full((200, 200, 3), 90, np.uint8)), detector)
