"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, ArgumentCollection, Group, Parameter, Token

from drag.settings import DragSettings, RetargetDragSettings
from inversion.settings import InversionSettings, TuningSettings
from pipeline.recipes import Recipe, read_tables
from pipeline.request import EditRequest
from pipeline.settings import CompositeSettings, ComputeSettings, FaceSettings

Output = Annotated[Path | None, Parameter(name=["--output", "-o"], allow_leading_hyphen=True)]
Flag = Annotated[bool, Parameter(negative="")]
FormatName = Literal["jpeg", "png", "webp", "tiff", "heif"]


def _options(title: str, order: int, *, prefix: str = "", switch: str = "") -> Parameter:
    """Make each field of a dataclass an option, with `prefix` before its name; the field `switch` has none."""

    def name(field: str) -> str:
        field = field.replace("_", "-")
        return field if field == switch else prefix + field

    return Parameter(name="*", group=Group(title, sort_key=order), name_transform=name)


RequestOptions = Annotated[EditRequest, Parameter(name="*", negative="", show_default=False)]
FaceOptions = Annotated[FaceSettings, _options("Face", 1)]
DragOptions = Annotated[DragSettings, _options("Drag", 2)]
RetargetDragOptions = Annotated[RetargetDragSettings, _options("Drag", 2)]
InversionOptions = Annotated[InversionSettings, _options("Inversion", 3, prefix="invert-")]
PlainInversionOptions = Annotated[InversionSettings, _options("Inversion", 3)]
TuningOptions = Annotated[TuningSettings, _options("Pivotal tuning", 4, prefix="tune-", switch="tune")]
CompositeOptions = Annotated[CompositeSettings, _options("Composite", 5)]
ComputeOptions = Annotated[ComputeSettings, _options("Compute", 6)]

PARAMETERS = {
    "request": "edit",
    "faces": "faces",
    "inversion": "inversion",
    "tuning": "tuning",
    "dragging": "drag",
    "compositing": "composite",
    "compute": "compute",
}
"""A recipe's table for each group of options, by the parameter's name in the commands."""


def as_recipe(**groups: Any) -> Recipe:
    """Return the groups of options that a command got, each by its parameter's name, as a recipe."""
    return Recipe(**{PARAMETERS[name]: group for name, group in groups.items()})


def from_recipe(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill the options that were not given with what the file of --recipe says."""
    chosen = next((a for a in arguments if a.name == "--recipe" and a.tokens), None)
    if chosen is None:
        return
    path = chosen.tokens[-1].value
    tables = read_tables(Path(path))
    group = ""
    for argument in arguments:
        if not argument.keys:
            group = argument.field_info.name
            continue
        value = tables.get(PARAMETERS.get(group, ""), {}).get(argument.keys[0])
        if value is None or argument.tokens:
            continue
        for index, text in enumerate(value if isinstance(value, list) else [value]):
            word = str(text).lower() if isinstance(text, bool) else str(text)
            argument.append(Token(keyword=argument.name, value=word, source=path, index=index))
