"""What a benchmark measured, kept item by item, so that a long run can be made in parts."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Items:
    """What was measured, a JSON file an edit.

    Attributes:
        folder: of the files.
        settings: what they depend on; files made with others are not read.
        until: time after which nothing more is measured.
    """

    folder: Path
    settings: str
    until: float = float("inf")

    def digest(self, of: object = None) -> str:
        """Return a digest of the settings and of what else an item depends on."""
        return hashlib.sha256(f"{self.settings} {of}".encode()).hexdigest()[:8]

    def path(self, name: str, *, of: object = None, suffix: str = ".json") -> Path:
        """Return where an item is kept, or with another suffix what belongs to it."""
        return self.folder / f"{name}.{self.digest(of)}{suffix}"

    def measure(self, name: str, make: Callable[[], dict | None], *, of: object = None) -> None:
        """Measure an item that there is none of yet; None of `make` is kept as an edit without a face after."""
        path = self.path(name, of=of)
        if path.exists() or time.monotonic() > self.until:
            return
        found = make()
        path.write_text(json.dumps(found or {"lost": True}))
        print(name, found and {k: round(v, 2) for k, v in found.items() if isinstance(v, float)}, flush=True)

    def read(self, kind: str, *, of: object = None) -> list[dict]:
        """Return the items of a kind, in order of their names."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob(f"{kind}.*.{self.digest(of)}.json"))]
