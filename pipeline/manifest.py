"""The manifest of a batch: a line of JSON for each photo that was done or failed, written as it goes."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

NAME = "manifest.jsonl"

Entry = dict[str, Any]


class Manifest:
    """A file that grows by a line at a time, and survives being cut off in one."""

    def __init__(self, path: Path) -> None:
        """Use the file at `path`, which need not be there."""
        self.path = path
        self._file: IO[str] | None = None

    def entries(self) -> dict[str, Entry]:
        """Return the last entry of each input."""
        return {entry["input"]: entry for entry in self._lines()}

    def made(self) -> dict[str, set[str]]:
        """Return the hashes of all that was ever written under each output's name."""
        found: dict[str, set[str]] = {}
        for entry in self._lines():
            if entry.get("status") == "done":
                found.setdefault(str(entry.get("output")), set()).add(str(entry.get("output_sha256")))
        return found

    def _lines(self) -> Iterator[Entry]:
        """Give the entries as they were written; lines that are no JSON, a cut one for instance, do not count."""
        if not self.path.exists():
            return
        # Not splitlines: it cuts at U+2028 and U+0085 as well, which JSON may hold as they are.
        for line in self.path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(entry, dict) and isinstance(entry.get("input"), str):
                yield entry

    def append(self, entry: Entry) -> None:
        """Add an entry; when this returns, it is on the disk."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            cut = self.path.exists() and self.path.read_bytes()[-1:] not in (b"", b"\n")
            self._file = self.path.open("a", encoding="utf-8")
            if cut:  # the line that an interrupted batch was writing
                self._file.write("\n")
        self._file.write(json.dumps(entry) + "\n")  # in ASCII: a file's name need not be UTF-8
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
            self._file = None
