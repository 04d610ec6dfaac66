"""Recipes: every setting of an edit in a TOML file. This module imports neither torch nor numpy.

A table a group of settings, a key a field, by the names of the data classes; what a recipe leaves out has its
default. Paths of files are read as seen from the recipe.
"""

import dataclasses
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin, get_type_hints

from drag.settings import DragSettings, drag_defaults
from inversion.settings import InversionSettings, TuningSettings
from pipeline.request import EditRequest
from pipeline.settings import CompositeSettings, ComputeSettings, FaceSettings
from weights.catalog import EMBEDDED, catalog
from weights.errors import InvalidFile, InvalidInput
from weights.files import replacing
from weights.outputs import check_place

if TYPE_CHECKING:
    from pipeline.edit import EditSettings

HEAD = "# A recipe of Photodrag: photodrag edit PHOTO --recipe THIS; photodrag batch IN -o OUT --recipe THIS\n"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to do to a photo, and all that can be set of it; each field is a table of the file.

    Attributes:
        edit: see there, as of the others.
        faces: likewise.
        inversion: likewise.
        tuning: likewise.
        drag: None for the defaults that suit what is asked: `LandmarkDragSettings`, or `DragSettings` where
            points are dragged that are no landmarks.
        composite: likewise.
        compute: likewise.
    """

    edit: EditRequest = field(default_factory=EditRequest)
    faces: FaceSettings = field(default_factory=FaceSettings)
    inversion: InversionSettings = field(default_factory=InversionSettings)
    tuning: TuningSettings = field(default_factory=TuningSettings)
    drag: DragSettings = field(default=cast("DragSettings", None))
    composite: CompositeSettings = field(default_factory=CompositeSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)

    def __post_init__(self) -> None:
        if cast("DragSettings | None", self.drag) is None:
            object.__setattr__(self, "drag", drag_defaults(landmarks=self.edit.landmarks))

    def settings(self) -> "EditSettings":
        """Return the settings as the pipeline takes them."""
        from pipeline.edit import EditSettings

        return EditSettings(**{f.name: getattr(self, f.name) for f in dataclasses.fields(EditSettings)})

    def moved(self, to: Callable[[Path], Path]) -> "Recipe":
        """Return the recipe with other paths for its files, `to` of each one's own."""
        generator = self.compute.generator
        if generator not in (EMBEDDED, *catalog()):
            generator = str(to(Path(generator)))
        return replace(self, edit=self.edit.moved(to), compute=replace(self.compute, generator=generator))

    def files(self) -> list[Path]:
        """Return the files that this recipe names."""
        generator = Path(self.compute.generator)
        return [*self.edit.files(), *([generator] if generator.is_file() else [])]

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return the tables as JSON's types, without what is None, and of what is asked without what is not."""
        tables = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {
            table: {
                f.name: _plain(value)
                for f in dataclasses.fields(values)
                if (value := getattr(values, f.name)) is not None and not (table == "edit" and value == f.default)
            }
            for table, values in tables.items()
        }


def _plain(value: Any) -> Any:
    """Return a field's value as JSON's types."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        InvalidInput: there is no such file, or it has a table, key or value that no recipe has.
        InvalidFile: it is no TOML.
    """
    return recipe_from(read_tables(path), name=str(path))


def read_tables(path: Path) -> dict[str, dict[str, Any]]:
    """Read the tables that a recipe has, checked, with its files' paths as seen from here.

    Raises:
        InvalidInput, InvalidFile: as in `read_recipe`.
    """
    if not path.is_file():
        raise InvalidInput(f"There is no recipe at {path}: check the path.")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidFile(f"{path} is no TOML: {error}.") from error
    here = recipe_from(tables, name=str(path)).moved(lambda file: path.parent / file).as_dict()
    if "edit" in tables:
        tables["edit"] = here["edit"]
    if "generator" in tables.get("compute", {}):
        tables["compute"]["generator"] = here["compute"]["generator"]
    return tables


def recipe_from(tables: Mapping[str, Any], *, name: str) -> Recipe:
    """Check tables and return them as a recipe; `name` is what errors call it.

    Raises:
        InvalidInput: a table, key or value that no recipe has.
    """
    made: dict[str, Any] = {}
    kinds = {f.name: f.default_factory for f in dataclasses.fields(Recipe)}
    for table, values in tables.items():
        if table not in kinds or not isinstance(values, dict):
            raise InvalidInput(f"{name} has {table!r}, which is no table of a recipe: use {', '.join(kinds)}.")
    # What is asked comes first: it tells which defaults the drag has.
    for table, values in sorted(tables.items(), key=lambda item: item[0] != "edit"):
        kind: Any = kinds[table]
        if table == "drag":
            kind = type(Recipe(edit=made.get("edit", EditRequest())).drag)
        hints = get_type_hints(kind)
        for key, value in values.items():
            if key not in hints:
                raise InvalidInput(f"{name} sets {table}.{key}, which there is not: use {', '.join(hints)}.")
            values = {**values, key: _checked(value, hints[key], f"{table}.{key} in {name}")}
        made[table] = kind(**values)
    return Recipe(**made)


def _checked(value: Any, hint: Any, what: str) -> Any:
    """Return a value of TOML as the type that a field has."""
    options = [option for option in get_args(hint) if option is not NoneType]
    if NoneType in get_args(hint):
        hint = options[0]
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        wanted = f"one of {', '.join(get_args(hint))}"
    elif get_origin(hint) is tuple:
        if isinstance(value, list):
            return tuple(_checked(item, get_args(hint)[0], f"An item of {what}") for item in value)
        wanted = "a list of strings"
    elif hint is Path and isinstance(value, str):
        return Path(value)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif type(value) is hint:
        return value
    else:
        wanted = {float: "a number", int: "a whole number", bool: "true or false", str: "a string", Path: "a path"}[
            hint
        ]
    raise InvalidInput(f"{what} is {value!r}, which is not {wanted}: correct it.")


def format_recipe(recipe: Recipe) -> str:
    """Return a recipe as TOML.

    Raises:
        InvalidInput: it names a file by what is no UTF-8.
    """
    lines = [HEAD]
    for table, values in recipe.as_dict().items():
        lines += [f"[{table}]", *(f"{key} = {_value(value)}" for key, value in values.items()), ""]
    return "\n".join(lines)


def _value(value: object) -> str:
    """Return a value as TOML, whose strings, lists and numbers are those of JSON here."""
    if isinstance(value, float):
        return repr(value)
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # which JSON takes as it is
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{value!r} is no UTF-8, which recipes are: rename the file, or save no recipe.") from error
    return text


def as_written(recipe: Recipe) -> str:
    """Return a recipe as TOML with its files' paths made absolute, so that it can be moved.

    Raises:
        InvalidInput: as in `format_recipe`.
    """
    return format_recipe(recipe.moved(Path.resolve))


def write_recipe(recipe: Recipe, path: Path, *, overwrite: bool = False) -> None:
    """Write a recipe as `as_written` returns it.

    Raises:
        InvalidInput: as in `check_place` and `format_recipe`.
    """
    check_place(path, overwrite=overwrite)
    text = as_written(recipe)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def stands(recipe: Recipe, path: Path) -> bool:
    """Tell whether a file says what `write_recipe` would write there.

    Raises:
        InvalidInput: as in `format_recipe`.
    """
    text = as_written(recipe)
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False
