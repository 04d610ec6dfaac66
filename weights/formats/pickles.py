"""Pickles are programs. These are read without running any of them."""

import pickle
from pathlib import Path
from typing import Any

from weights.errors import InvalidFile

_ARRAY_GLOBALS = {"_reconstruct", "ndarray", "dtype"}


class _ArrayUnpickler(pickle.Unpickler):
    """Admits numpy arrays and plain containers, and refuses everything else by name."""

    def find_class(self, module: str, name: str) -> Any:
        if module not in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") or name not in _ARRAY_GLOBALS:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a file of arrays")
        return super().find_class("numpy" if module == "numpy" else "numpy._core.multiarray", name)


def read_arrays(path: Path) -> dict[str, Any]:
    """Read a pickle of nested dicts of numpy arrays.

    Raises:
        InvalidFile: it holds anything else, or is damaged.
    """
    try:
        with path.open("rb") as file:
            data = _ArrayUnpickler(file).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, ImportError, AttributeError) as error:
        raise InvalidFile(f"{path} is no pickle of arrays: {error}.") from error
    if not isinstance(data, dict):
        raise InvalidFile(f"{path} holds a {type(data).__name__} where a dict of arrays should be.")
    return data
