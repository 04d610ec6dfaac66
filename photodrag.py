"""Drag points on your own photos.

    import photodrag
    from pathlib import Path

    result = photodrag.edit("me.jpg", ["mouth-left:-8%,-6%", "mouth-right:8%,-6%"])
    photodrag.write_photo(result.photo, Path("me-edited.jpg"))

Names are loaded when they are used, so that importing this module costs nothing.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drag.editor import DragResult as DragResult
    from drag.editor import drag as drag
    from drag.landmarks import Drag as Drag
    from drag.landmarks import parse_drag as parse_drag
    from drag.points_file import PointsFile as PointsFile
    from drag.points_file import read_points as read_points
    from drag.presets import Preset as Preset
    from drag.presets import read_presets as read_presets
    from drag.settings import DragSettings as DragSettings
    from drag.settings import LandmarkDragSettings as LandmarkDragSettings
    from inversion.settings import InversionSettings as InversionSettings
    from inversion.settings import TuningSettings as TuningSettings
    from pipeline.api import edit as edit
    from pipeline.api import invert as invert
    from pipeline.api import retarget as retarget
    from pipeline.batch import BatchSettings as BatchSettings
    from pipeline.batch import run_batch as run_batch
    from pipeline.composite import composite as composite
    from pipeline.edit import EditResult as EditResult
    from pipeline.edit import EditSettings as EditSettings
    from pipeline.edit import Pipeline as Pipeline
    from pipeline.flow import FaceMotion as FaceMotion
    from pipeline.photo import Photo as Photo
    from pipeline.photo import decode_photo as decode_photo
    from pipeline.photo import encode_photo as encode_photo
    from pipeline.photo import read_photo as read_photo
    from pipeline.photo import write_photo as write_photo
    from pipeline.plan import Plan as Plan
    from pipeline.recipes import Recipe as Recipe
    from pipeline.recipes import read_recipe as read_recipe
    from pipeline.recipes import write_recipe as write_recipe
    from pipeline.report import describe as describe
    from pipeline.report import succeeded as succeeded
    from pipeline.request import EditRequest as EditRequest
    from pipeline.settings import CompositeSettings as CompositeSettings
    from pipeline.settings import ComputeSettings as ComputeSettings
    from pipeline.settings import FaceSettings as FaceSettings
    from pipeline.subject import Subject as Subject
    from weights.errors import Cancelled as Cancelled
    from weights.errors import InvalidFile as InvalidFile
    from weights.errors import InvalidInput as InvalidInput
    from weights.errors import NoFace as NoFace
    from weights.errors import PhotodragError as PhotodragError
    from weights.errors import WeightsMissing as WeightsMissing
    from weights.load import load_generator as load_generator
    from weights.memory import keep_freed_memory as keep_freed_memory
    from weights.store import Store as Store

_HOMES = {
    "BatchSettings": "pipeline.batch",
    "Cancelled": "weights.errors",
    "CompositeSettings": "pipeline.settings",
    "ComputeSettings": "pipeline.settings",
    "Drag": "drag.landmarks",
    "DragResult": "drag.editor",
    "DragSettings": "drag.settings",
    "EditRequest": "pipeline.request",
    "EditResult": "pipeline.edit",
    "EditSettings": "pipeline.edit",
    "FaceMotion": "pipeline.flow",
    "FaceSettings": "pipeline.settings",
    "InvalidFile": "weights.errors",
    "InvalidInput": "weights.errors",
    "InversionSettings": "inversion.settings",
    "NoFace": "weights.errors",
    "Photo": "pipeline.photo",
    "PhotodragError": "weights.errors",
    "Pipeline": "pipeline.edit",
    "Plan": "pipeline.plan",
    "PointsFile": "drag.points_file",
    "Preset": "drag.presets",
    "Recipe": "pipeline.recipes",
    "LandmarkDragSettings": "drag.settings",
    "Store": "weights.store",
    "Subject": "pipeline.subject",
    "TuningSettings": "inversion.settings",
    "WeightsMissing": "weights.errors",
    "composite": "pipeline.composite",
    "decode_photo": "pipeline.photo",
    "describe": "pipeline.report",
    "drag": "drag.editor",
    "edit": "pipeline.api",
    "encode_photo": "pipeline.photo",
    "invert": "pipeline.api",
    "keep_freed_memory": "weights.memory",
    "load_generator": "weights.load",
    "parse_drag": "drag.landmarks",
    "read_photo": "pipeline.photo",
    "read_points": "drag.points_file",
    "read_presets": "drag.presets",
    "read_recipe": "pipeline.recipes",
    "retarget": "pipeline.api",
    "run_batch": "pipeline.batch",
    "succeeded": "pipeline.report",
    "write_photo": "pipeline.photo",
    "write_recipe": "pipeline.recipes",
}

__all__ = ["main", *_HOMES]


def main() -> None:
    """The command `photodrag`."""
    try:
        from pipeline.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'photodrag' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


if __name__ == "__main__":
    main()
