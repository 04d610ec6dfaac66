"""Inversions made before, found again by what they were made of."""

import hashlib
import json
import logging
from pathlib import Path

from inversion.inversion import Inversion, read_inversion
from pipeline.tensors import Crop
from weights.errors import InvalidFile
from weights.store import home

_log = logging.getLogger(__name__)

ENDING = ".inv.safetensors"


class InversionCache:
    """A folder of inversions, each under the hash of its crop, generator and settings."""

    def __init__(self, folder: Path | None = None) -> None:
        """Use `folder`; None for the one in the cache folder of the project."""
        self.folder = folder or home() / "inversions"

    @staticmethod
    def key(crop: Crop, **made_with: object) -> str:
        """Return the name of the inversion of a crop made with the given settings."""
        digest = hashlib.sha256(crop.tobytes())
        digest.update(json.dumps(made_with, sort_keys=True).encode())
        return digest.hexdigest()[:32]

    def get(self, key: str) -> Inversion | None:
        """Return the inversion of that name; None where there is none that can be read."""
        path = self._path(key)
        if not path.exists():
            return None
        try:
            kept = read_inversion(path)
            _log.info("the inversion is kept in %s", path)
            return kept
        except InvalidFile:
            path.unlink(missing_ok=True)  # cut off, or of another version: it is made again
            return None

    def put(self, key: str, inversion: Inversion) -> None:
        """Keep an inversion."""
        inversion.write(self._path(key))

    def paths(self) -> list[Path]:
        """Return the files kept, the newest first."""
        return sorted(self.folder.glob(f"*{ENDING}"), key=lambda path: path.stat().st_mtime, reverse=True)

    def clear(self) -> int:
        """Remove all and return how many there were."""
        paths = self.paths()
        for path in paths:
            path.unlink(missing_ok=True)
        return len(paths)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{ENDING}"
