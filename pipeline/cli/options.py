"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from drag.settings import DragSettings, RetargetDragSettings
from inversion.settings import InversionSettings, TuningSettings
from pipeline.settings import CompositeSettings, ComputeSettings, FaceSettings

Output = Annotated[Path | None, Parameter(name=["--output", "-o"])]
Flag = Annotated[bool, Parameter(negative="")]


def _options(title: str, order: int, *, prefix: str = "", switch: str = "") -> Parameter:
    """Make each field of a dataclass an option, with `prefix` before its name; the field `switch` has none."""

    def name(field: str) -> str:
        field = field.replace("_", "-")
        return field if field == switch else prefix + field

    return Parameter(name="*", group=Group(title, sort_key=order), name_transform=name)


FaceOptions = Annotated[FaceSettings, _options("Face", 1)]
DragOptions = Annotated[DragSettings, _options("Drag", 2)]
RetargetDragOptions = Annotated[RetargetDragSettings, _options("Drag", 2)]
InversionOptions = Annotated[InversionSettings, _options("Inversion", 3, prefix="invert-")]
PlainInversionOptions = Annotated[InversionSettings, _options("Inversion", 3)]
TuningOptions = Annotated[TuningSettings, _options("Pivotal tuning", 4, prefix="tune-", switch="tune")]
CompositeOptions = Annotated[CompositeSettings, _options("Composite", 5)]
ComputeOptions = Annotated[ComputeSettings, _options("Compute", 6)]
