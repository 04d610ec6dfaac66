"""What can be fetched: catalog.toml as data classes."""

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from weights.errors import InvalidInput

EMBEDDED = "faces-128"  # the generator that needs no fetching, and so is no entry


@dataclass(frozen=True, kw_only=True)
class Url:
    """A file at an http(s) address."""

    url: str


@dataclass(frozen=True, kw_only=True)
class PackageMember:
    """A file inside the source archive of a package on the package index."""

    package: str
    version: str
    archive_sha256: str
    member: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file that can be fetched.

    Attributes:
        name: what users call it.
        file: its name in the cache.
        kind: what it is for.
        shows: one line for people.
        license: its licence, in words or as an SPDX expression.
        noncommercial: the licence forbids commercial use.
        sources: where it is, tried in order; none for a file that is only recognised.
        sha256: hash of the content, or its beginning where no more was published; None where nobody published one.
        bytes: size; None where unknown.
        frame: how a generator's crops are cut.
        size: height of a generator's pictures in pixels.
    """

    name: str
    file: str
    kind: str
    shows: str
    license: str
    sources: tuple[Url | PackageMember, ...]
    noncommercial: bool = False
    sha256: str | None = None
    bytes: int | None = None
    frame: str | None = None
    size: int | None = None


def recognise(digest: str) -> Entry | None:
    """Return the entry whose content has this SHA-256."""
    return next((entry for entry in catalog().values() if entry.sha256 == digest), None)


@cache
def catalog() -> dict[str, Entry]:
    """Return every entry by its name."""
    data = tomllib.loads(Path(__file__).with_name("catalog.toml").read_text())
    packages = data["packages"]

    def source(raw: dict[str, str]) -> Url | PackageMember:
        if "url" in raw:
            return Url(url=raw["url"])
        package = packages[raw["package"]]
        return PackageMember(**raw, version=package["version"], archive_sha256=package["sha256"])

    return {
        name: Entry(name=name, **{**raw, "sources": tuple(source(s) for s in raw["sources"])})
        for name, raw in data["weights"].items()
    }


def lookup(name: str) -> Entry:
    """Return the entry called `name`.

    Raises:
        InvalidInput: there is none; or it is the embedded generator, which is no entry.
    """
    if name == EMBEDDED:
        raise InvalidInput(f"{EMBEDDED} comes with Photodrag: there is nothing to fetch, to verify or to remove.")
    try:
        return catalog()[name]
    except KeyError:
        like = get_close_matches(name, catalog())
        hint = f"did you mean {' or '.join(like)}? " if like else ""
        raise InvalidInput(f"No weights are called {name!r}: {hint}`photodrag weights list` shows them.") from None
