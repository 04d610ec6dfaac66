import numpy as np
import pytest

from drag.presets import own_presets, parse_presets, parse_strength, read_presets
from drag.shape import FARTHEST, Pose, mirrored, shape_model
from weights.errors import InvalidFile, InvalidInput

MODEL = shape_model()


def shift(name, strength=1.0, shape=MODEL.mean):
    return own_presets()[name].shift(shape, MODEL, strength)


def test_the_projects_presets_do_what_they_say():
    smile = shift("smile")
    assert smile[48, 0] < 0 < smile[54, 0]
    assert (smile[[48, 54], 1] < 0).all()
    opened = shift("mouth-open")
    assert opened[66, 1] - opened[62, 1] > 0.1
    assert opened[8, 1] > 0
    assert shift("eyes-open")[37, 1] < 0 < shift("eyes-open")[41, 1]
    assert shift("eyes-open", -1)[41, 1] < 0 < shift("eyes-open", -1)[37, 1]
    assert (shift("brows-up")[[19, 24], 1] < 0).all()
    assert (shift("brows-down")[[19, 24], 1] > 0).all()
    assert shift("chin-down")[8, 1] > 0
    assert shift("eyes-closed")[41, 1] < 0 < shift("eyes-closed")[37, 1]
    assert shift("jaw-wide")[4, 0] < 0 < shift("jaw-wide")[12, 0]
    assert shift("jaw-narrow")[12, 0] < 0 < shift("jaw-narrow")[4, 0]
    assert shift("nose-narrow")[35, 0] < 0 < shift("nose-narrow")[31, 0]
    assert shift("face-left")[30, 0] < 0 < shift("face-left")[0, 0]
    assert shift("face-right")[30, 0] > 0
    assert shift("face-up")[30, 1] < 0 < shift("face-down")[30, 1]


def test_presets_are_symmetric_and_know_their_reverse():
    for name, preset in own_presets().items():
        assert preset.about
        there = shift(name)
        assert 0.03 < np.abs(there).max() < 0.4
        if not any(preset.turn):
            assert mirrored(there) == pytest.approx(there)
            assert preset.regions
            assert shift(name, -0.5) == pytest.approx(-0.5 * there)


def test_lengths_are_percent_of_the_distance_between_the_eyes():
    preset = parse_presets('[a]\nregions = ["eyes"]\n[a.move]\neye-left-top = [3, -4]\n"#8" = [0, 50]', name="x")["a"]
    found = preset.shift(MODEL.mean, MODEL, 2.0)
    assert found[[37, 38]].tolist() == pytest.approx(np.array([[0.06, -0.08]] * 2))
    assert found[8].tolist() == [0, 1]
    assert np.count_nonzero(found) == 5


def test_turns_go_on_from_the_heads_pose():
    turned = MODEL.mean + MODEL.turned(Pose(yaw=np.radians(12), pitch=0.0))
    preset = parse_presets("[a]\nturn = { yaw = 10 }", name="x")["a"]
    pose = MODEL.pose(turned + preset.shift(turned, MODEL))
    assert np.degrees(pose.yaw) == pytest.approx(22)
    assert MODEL.pose(turned + preset.shift(turned, MODEL, 3.0)).yaw == pytest.approx(FARTHEST)
    roll = parse_presets("[a]\nturn = { roll = 10 }", name="x")["a"].shift(MODEL.mean, MODEL)
    eyes = (MODEL.mean + roll)[[36, 45]]
    assert np.degrees(np.arctan2(*(eyes[1] - eyes[0])[::-1])) == pytest.approx(10)


def test_files_of_the_users_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[smile]\nturn = { pitch = 3 }\n[wink-2]\nmove = { 37 = [0, 3] }\n")
    found = read_presets([path])
    assert found["smile"].turn == (0, 3, 0)
    assert found["wink-2"].regions == ()
    assert found["brows-up"] is own_presets()["brows-up"]
    with pytest.raises(InvalidInput, match="no presets to read"):
        read_presets([tmp_path / "none.toml"])
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidFile, match="UTF-8"):
        read_presets([path])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a", "no TOML file"),
        ("a = 1", "a preset is a table"),
        ("[a]\nabout = 'x'", "needs a table `move`"),
        ("[a]\nmove = { nostril = [1, 1] }", "No landmark is called 'nostril'"),
        ("[a]\nmove = { 8 = [1] }", "two numbers"),
        ("[a]\nmove = { 8 = [1, 1000] }", "from -100 to 100"),
        ("[a]\nmove = { 8 = [1, nan] }", "from -100 to 100"),
        ("[a]\nturn = { yaw = 90 }", "from -45 to 45"),
        ("[a]\nturn = { spin = 9 }", "yaw, pitch and roll"),
        ("[a]\nturn = { yaw = 9 }\nregions = ['ear']", "is a list of face"),
        ("[a]\nturn = { yaw = 9 }\nregions = [['mouth']]", "is a list of face"),
        ("[a]\nturn = { yaw = 9 }\ncolour = 1", "it has colour"),
        ("a = " + "[" * 10_000, "no TOML file"),
        ("a = " + "1" * 5000, "no TOML file"),
        ("[a]\nmove = { 8 = [1, 1" + "0" * 400 + "] }", "from -100 to 100"),
        ("[A]\nturn = { yaw = 9 }", "lower-case"),
    ],
)
def test_bad_presets(text, message):
    with pytest.raises(InvalidFile, match=message):
        parse_presets(text, name="mine.toml")


def test_strengths():
    assert parse_strength("smile=-0.6", own_presets()) == (own_presets()["smile"], -0.6)
    assert parse_strength("smile", own_presets())[1] == 1
    with pytest.raises(InvalidInput, match="choose from smile, mouth-open"):
        parse_strength("grin=1", own_presets())
    for text in ("smile=", "smile=much", "smile=0", "smile=nan", "smile=7"):
        with pytest.raises(InvalidInput, match=r"write smile=0\.6"):
            parse_strength(text, own_presets())
