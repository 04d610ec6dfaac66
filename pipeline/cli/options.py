"""Options that several commands share, each written down once: as fields of data classes."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from cyclopts import App, ArgumentCollection, Group, Parameter, Token

from drag.settings import DragSettings, LandmarkDragSettings
from inversion.settings import InversionSettings, TuningSettings
from pipeline.recipes import Recipe, read_tables, recipe_from
from pipeline.request import EditRequest
from pipeline.settings import CompositeSettings, ComputeSettings, FaceSettings

Output = Annotated[Path | None, Parameter(name=["--output", "-o"], allow_leading_hyphen=True)]
Flag = Annotated[bool, Parameter(negative="")]
FormatName = Literal["jpeg", "png", "webp", "tiff", "heif"]
PhotoPath = Annotated[
    Path,
    Parameter(
        allow_leading_hyphen=True,
        help="JPEG, PNG, WebP, TIFF, HEIF or GIF; or an inversion's file, made by `photodrag invert`, whose photo lies "
        "where it was; or - for a photo from stdin.",
    ),
]


def _options(title: str, order: int, *, prefix: str = "", switch: str = "") -> Parameter:
    """Make each field of a dataclass an option, with `prefix` before its name; the field `switch` has none."""

    def name(field: str) -> str:
        field = field.replace("_", "-")
        return field if field == switch else prefix + field

    return Parameter(name="*", group=Group(title, sort_key=order), name_transform=name)


def _with_parameters(kind: type, parameters: Mapping[str, Parameter], types: Mapping[str, Any] = {}) -> Any:
    """Return a data class like `kind`, some of whose fields have parameters, or other types, of their own."""
    made = []
    for item in fields(kind):
        hint = types.get(item.name, get_type_hints(kind)[item.name])
        if item.name in parameters:
            hint = Annotated[hint, parameters[item.name]]
        default = {"default": item.default} if item.default is not MISSING else {}
        made.append((item.name, hint, field(default_factory=item.default_factory, **default)))
    documented = {"__doc__": kind.__doc__, "__module__": __name__}
    return make_dataclass(kind.__name__, made, bases=(kind,), namespace=documented, frozen=True, kw_only=True)


def _drag_defaults() -> dict[str, Parameter]:
    """Return parameters that say in the help what points in pixels have for a default, where they have another."""
    plain, other = DragSettings(), LandmarkDragSettings()
    values = {f.name: (getattr(plain, f.name), getattr(other, f.name)) for f in fields(plain)}
    return {name: Parameter(show_default=f"{b}; for --drag X,Y:X,Y {a}") for name, (a, b) in values.items() if a != b}


FaceOptions = Annotated[FaceSettings, _options("Face", 1)]
InversionOptions = Annotated[InversionSettings, _options("Inversion", 3, prefix="invert-")]
# Of a command that drags nothing.
if TYPE_CHECKING:
    PlainFaceOptions = FaceSettings
else:
    PlainFaceOptions = Annotated[
        _with_parameters(FaceSettings, {"corrections": Parameter(parse=False)}), _options("Face", 1)
    ]
PlainInversionOptions = Annotated[InversionSettings, _options("Inversion", 3)]
TuningOptions = Annotated[TuningSettings, _options("Pivotal tuning", 4, prefix="tune-", switch="tune")]
CompositeOptions = Annotated[CompositeSettings, _options("Composite", 5)]
ComputeOptions = Annotated[ComputeSettings, _options("Compute", 6)]


def _recipe_options(*, hidden: tuple[str, ...] = ()) -> Any:
    """Return what a recipe holds as options, some of what can be asked kept out of the help."""
    request = _with_parameters(EditRequest, {name: Parameter(show=False) for name in hidden})
    dragging = _with_parameters(DragSettings, _drag_defaults())
    types = {
        "edit": Annotated[request, Parameter(name="*", negative="", show_default=False)],
        "faces": FaceOptions,
        "inversion": InversionOptions,
        "tuning": TuningOptions,
        "drag": Annotated[dragging, _options("Drag", 2)],
        "composite": CompositeOptions,
        "compute": ComputeOptions,
    }
    return Annotated[_with_parameters(Recipe, {}, types), Parameter(name="*")]


if TYPE_CHECKING:
    EditRecipe = Recipe
    RetargetRecipe = Recipe
    BatchRecipe = Recipe
else:
    EditRecipe = _recipe_options(hidden=("like", "region", "strength", "preset", "presets"))
    RetargetRecipe = _recipe_options(hidden=("drag",))
    BatchRecipe = _recipe_options()


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What goes with an edit of one photo and of many, and is no part of its recipe.

    Attributes:
        format: of what is written; without it, that of the output's ending, or of the photo.
        strip_metadata: leave out EXIF with the place it was taken at, IPTC, XMP and comments; the colour profile stays.
        recipe: take what is not said here from this file.
        save_recipe: write every setting of this edit to a file that --recipe takes.
        json: print what was done as JSON; docs/json.md says what it holds.
        dry_run: write nothing; say how long an edit would take at most, and how much memory, having made a few
            steps; or which photos of a folder would be edited.
        no_cache: invert anew, and keep no inversion for the next edit.
        overwrite: replace files that exist; never the photo itself, nor what else is read.
        offline: never use the network.
        accept_license: accept the licence of a generator that has to be fetched, where it is non-commercial.
    """

    format: FormatName | None = None
    strip_metadata: Flag = False
    recipe: Path | None = None
    save_recipe: Path | None = None
    json: Flag = False
    dry_run: Flag = False
    no_cache: Flag = False
    overwrite: Flag = False
    offline: Flag = False
    accept_license: Flag = False


@dataclass(frozen=True, kw_only=True)
class PhotoOptions(RunOptions):
    """What goes with an edit of one photo.

    Attributes:
        output: where the edited photo goes; its ending chooses the format. Without it, NAME-edited.EXT beside the
            photo, or stdout for a photo from stdin. - is stdout.
        save_points: write the handles and targets that were used to a file that --points takes.
        preview: write the drag as a moving picture, .gif, .webp or .mp4.
        save_stages: keep crop, reconstruction, edited crop and masks in this folder, and index.html, which shows them.
    """

    output: Output = None
    save_points: Path | None = None
    preview: Path | None = None
    save_stages: Path | None = None


AsRunOptions = Annotated[RunOptions, Parameter(name="*")]
AsPhotoOptions = Annotated[PhotoOptions, Parameter(name="*")]


def as_recipe(asked: Recipe) -> Recipe:
    """Return the options that a command got as the plain recipe that they stand for."""
    return recipe_from(asked.as_dict(), name="The command line")


def fill_in(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill options that were not given with what the file of --recipe says, and then with what landmarks have."""
    chosen = next((a for a in arguments if a.name == "--recipe" and a.tokens), None)
    if chosen is not None:
        path = chosen.tokens[-1].value
        _fill(arguments, read_tables(Path(path)), source=path)
    asked: dict[str, Any] = {
        argument.keys[1]: tuple(token.value for token in argument.tokens)
        for argument in arguments
        if argument.tokens and argument.keys[:1] == ("edit",)
    }
    if EditRequest(**asked).landmarks:
        values = {f.name: getattr(LandmarkDragSettings(), f.name) for f in fields(LandmarkDragSettings)}
        _fill(arguments, {"drag": values}, source="landmarks")


def _fill(arguments: ArgumentCollection, tables: Mapping[str, Mapping[str, Any]], *, source: str) -> None:
    """Give options without a word of their own the values of a recipe's tables."""
    for argument in arguments:
        if len(argument.keys) != 2 or argument.tokens:
            continue
        value = tables.get(argument.keys[0], {}).get(argument.keys[1])
        if value is None:
            continue
        for index, text in enumerate(value if isinstance(value, list) else [value]):
            word = str(text).lower() if isinstance(text, bool) else str(text)
            argument.append(Token(keyword=argument.name, value=word, source=source, index=index))
