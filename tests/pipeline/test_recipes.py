import pytest

from drag.settings import DragSettings, LandmarkDragSettings
from inversion.settings import TuningSettings
from pipeline.recipes import Recipe, format_recipe, read_recipe, recipe_from, write_recipe
from pipeline.request import EditRequest
from pipeline.settings import ComputeSettings, FaceSettings
from weights.errors import InvalidFile, InvalidInput

RECIPE = Recipe(
    edit=EditRequest(drag=('mouth-left:-8%,-6%', "1,2:3,4"), mask="mouth"),
    faces=FaceSettings(face=2),
    tuning=TuningSettings(tune=True, learning_rate=1e-5),
    drag=DragSettings(steps=17),
)  # fmt: skip


def test_there_and_back(tmp_path):
    path = tmp_path / "r.toml"
    write_recipe(RECIPE, path)
    assert read_recipe(path) == RECIPE
    with pytest.raises(InvalidInput, match="--overwrite"):
        write_recipe(RECIPE, path)
    write_recipe(Recipe(), path, overwrite=True)
    assert read_recipe(path) == Recipe()


def test_names_of_files_there_and_back(tmp_path):
    recipe = Recipe(edit=EditRequest(like=tmp_path / 'a\x7f"\\\té.jpg', preset=("smile",)))
    write_recipe(recipe, tmp_path / "r.toml")
    assert read_recipe(tmp_path / "r.toml") == recipe
    with pytest.raises(InvalidInput, match="rename the file"):
        write_recipe(Recipe(edit=EditRequest(mask="\udcff.png")), tmp_path / "other.toml")
    assert not (tmp_path / "other.toml").exists()


def test_every_field_of_every_table_is_in_the_file():
    text = format_recipe(RECIPE)
    for table, values in RECIPE.as_dict().items():
        assert f"[{table}]" in text
        for key in values:
            assert f"\n{key} = " in text
    settings = RECIPE.settings()
    assert (settings.drag, settings.faces, settings.tuning) == (RECIPE.drag, RECIPE.faces, RECIPE.tuning)


def test_what_is_left_out_has_its_default():
    assert recipe_from({"drag": {"steps": 5}}, name="it") == Recipe(drag=DragSettings(steps=5))
    assert recipe_from({"drag": {"learning_rate": 1}}, name="it").drag.learning_rate == 1.0


def test_retargeting_there_and_back(tmp_path):
    here = tmp_path / "here"
    request = EditRequest(
        drag=("1,2:3,4",),
        points=here / "p.json",
        like=here / "like.jpg",
        region=("mouth", "pose"),
        strength=0.5,
        preset=("smile=0.6", "tilt"),
        presets=(here / "a.toml", here / "b.toml"),
        mask=str(here / "m.png"),
    )
    recipe = Recipe(edit=request)
    assert recipe.drag == LandmarkDragSettings()
    write_recipe(recipe, tmp_path / "r.toml")
    assert read_recipe(tmp_path / "r.toml") == recipe
    assert request.files() == [here / name for name in ("m.png", "p.json", "like.jpg", "a.toml", "b.toml")]
    (tmp_path / "r.toml").write_text('[edit]\nlike = "x.jpg"\npresets = ["a.toml"]\npreset = ["smile"]\n')
    read = read_recipe(tmp_path / "r.toml").edit
    assert (read.like, read.presets) == (tmp_path / "x.jpg", (tmp_path / "a.toml",))
    assert recipe.as_dict()["edit"]["region"] == ["mouth", "pose"]
    assert Recipe().as_dict()["edit"] == {}


def test_a_recipes_drag_has_the_defaults_of_what_it_asks():
    tables = {"drag": {"steps": 7}, "edit": {"preset": ["smile"]}}
    assert recipe_from(tables, name="it").drag == LandmarkDragSettings(steps=7)
    assert recipe_from({"drag": {"steps": 7}}, name="it").drag == DragSettings(steps=7)
    assert recipe_from({"edit": {"drag": ["1,2:3,4", "chin:0%,4%"]}}, name="it").drag == DragSettings()
    assert recipe_from({"edit": {"drag": ["12:3,4", "chin:0%,4%"]}}, name="it").drag == LandmarkDragSettings()
    assert recipe_from({"edit": {"drag": ["1,2:0%,0%", "chin:0%,4%"]}}, name="it").drag == LandmarkDragSettings()
    assert recipe_from({"edit": {"drag": ["1,2:3,4", "chin:-0%,.0%"]}}, name="it").drag == DragSettings()
    assert recipe_from({"edit": {"points": "p.json"}}, name="it").drag == LandmarkDragSettings()


def test_a_masks_path_lies_beside_the_recipe(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('[edit]\ndrag = ["1,1:2,2"]\nmask = "m.png"\n')
    assert read_recipe(path).edit.mask == str(tmp_path / "m.png")
    write_recipe(read_recipe(path), tmp_path / "below" / "r.toml")
    assert EditRequest(mask="none").files() == EditRequest(mask="mouth").files() == []
    assert EditRequest(mask="none").moved(lambda path: tmp_path / path).mask == "none"
    assert read_recipe(tmp_path / "below" / "r.toml").edit.mask == str(tmp_path / "m.png")


def test_a_generators_path_is_read_as_seen_from_the_recipe(tmp_path, monkeypatch):
    path = tmp_path / "r.toml"
    path.write_text('[compute]\ngenerator = "ffhq.pkl"\n')
    assert read_recipe(path) == Recipe(compute=ComputeSettings(generator=str(tmp_path / "ffhq.pkl")))
    for name in ("faces-128", "ffhq-1024"):
        path.write_text(f'[compute]\ngenerator = "{name}"\n')
        assert read_recipe(path).compute.generator == name
    monkeypatch.chdir(tmp_path)
    write_recipe(Recipe(compute=ComputeSettings(generator="ffhq.pkl")), tmp_path / "below" / "r.toml")
    assert read_recipe(tmp_path / "below" / "r.toml").compute.generator == str(tmp_path / "ffhq.pkl")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[edit", InvalidFile, "is no TOML"),
        ("[cooking]\n", InvalidInput, "'cooking', which is no table"),
        ("steps = 3\n", InvalidInput, "'steps', which is no table"),
        ("[drag]\nstep = 3\n", InvalidInput, "sets drag.step, which there is not"),
        ('[drag]\nsteps = "3"\n', InvalidInput, "is '3', which is not a whole number"),
        ("[drag]\nsteps = 3.5\n", InvalidInput, "is not a whole number"),
        ("[drag]\nsteps = true\n", InvalidInput, "is not a whole number"),
        ('[drag]\ntracker = "nose"\n', InvalidInput, "not one of nearest, steady, none"),
        ("[tuning]\ntune = 1\n", InvalidInput, "not true or false"),
        ('[edit]\ndrag = "1,1:2,2"\n', InvalidInput, "not a list of strings"),
        ('[edit]\nregion = ["ear"]\n', InvalidInput, "'ear', which is not one of mouth"),
        ("[edit]\npreset = [3]\n", InvalidInput, "3, which is not a string"),
        ("[edit]\nlike = 3\n", InvalidInput, "3, which is not a path"),
        ("[composite]\nfeather = []\n", InvalidInput, "not a number"),
    ],
)
def test_what_is_no_recipe(tmp_path, text, error, message):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_recipe(path)


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(InvalidInput, match="check the path"):
        read_recipe(tmp_path / "r.toml")
