"""Inversions made before, found again by what they were made of."""

import hashlib
import json
import logging
import os
from contextlib import suppress
from pathlib import Path

from inversion.inversion import Inversion, read_inversion
from pipeline.tensors import Crop
from weights.errors import InvalidFile
from weights.store import home

_log = logging.getLogger(__name__)

ENDING = ".inv.safetensors"
LIMIT = 2_000_000_000  # bytes kept: some 150 inversions by the embedded generator, tuned


class InversionCache:
    """A folder of inversions, each under the hash of its crop, generator and settings.

    It holds no more than `limit` bytes: those that were not used for longest go first.
    """

    def __init__(self, folder: Path | None = None, *, limit: int = LIMIT) -> None:
        """Use `folder`; None for the one in the cache folder of the project."""
        self.folder, self.limit = folder or home() / "inversions", limit

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
            with suppress(OSError):  # another process may have removed it
                os.utime(path)
            _log.info("the inversion is kept in %s", path)
            return kept
        except InvalidFile:
            with suppress(OSError):  # where nothing may be removed, it stays
                path.unlink(missing_ok=True)  # cut off, or of another version: it is made again
            return None

    def put(self, key: str, inversion: Inversion) -> None:
        """Keep an inversion, and let go of old ones beyond the limit.

        Where that cannot be, as on a full disk, a warning is logged: the inversion itself is as good as ever.
        """
        try:
            inversion.write(self._path(key))
            self._let_go(key)
        except OSError as error:
            _log.warning("the inversion could not be kept in %s: %s", self.folder, error)

    def _let_go(self, newest: str) -> None:
        """Remove what was not used for longest, beyond the limit, but never the newest."""
        kept = 0
        for path, size in self._sizes():
            kept += size
            if kept > self.limit and path != self._path(newest):
                path.unlink(missing_ok=True)

    def paths(self) -> list[Path]:
        """Return the files kept, the one used last first."""
        return [path for path, _ in self._sizes()]

    def clear(self) -> int:
        """Remove all and return how many there were."""
        paths = self.paths()
        for path in paths:
            path.unlink(missing_ok=True)
        return len(paths)

    def _sizes(self) -> list[tuple[Path, int]]:
        """Return files and their bytes, the one used last first; another process may be removing them."""
        found = []
        for path in self.folder.glob(f"*{ENDING}"):
            with suppress(FileNotFoundError):
                stat = path.stat()
                found.append((stat.st_mtime_ns, path, stat.st_size))
        return [(path, size) for _, path, size in sorted(found, reverse=True)]

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{ENDING}"
