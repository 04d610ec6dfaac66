"""Drag points on your own photos.

    import photodrag
    from pathlib import Path

    result = photodrag.Pipeline().edit(Path("me.jpg"), [photodrag.parse_drag("mouth-left:-8%,-6%")])
    photodrag.write_photo(result.photo, Path("me-edited.jpg"))

Names are loaded when they are used, so that importing this module costs nothing.
"""

from importlib import import_module
from typing import Any

from pipeline.cli.app import main

_HOMES = {
    "Drag": "drag.landmarks",
    "DragSettings": "drag.settings",
    "EditResult": "pipeline.edit",
    "EditSettings": "pipeline.edit",
    "InversionSettings": "inversion.settings",
    "Photo": "pipeline.photo",
    "PhotodragError": "weights.errors",
    "Pipeline": "pipeline.edit",
    "Store": "weights.store",
    "load_generator": "weights.load",
    "parse_drag": "drag.landmarks",
    "read_photo": "pipeline.photo",
    "write_photo": "pipeline.photo",
}

__all__ = ["main", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'photodrag' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
