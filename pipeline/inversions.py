"""Inversions as files beside photos: which photo one belongs to, and what is said when it does not fit."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path

from inversion.inversion import SEARCH, Inversion, read_inversion
from inversion.settings import InversionSettings, TuningSettings
from pipeline.edit import EditSettings
from pipeline.recipes import Recipe, recipe_from
from weights.errors import InvalidFile, InvalidInput
from weights.files import is_safetensors, sha256
from weights.load import LoadedGenerator

FIXED = {
    "faces": {"face"},
    "inversion": {f.name for f in fields(InversionSettings)},
    "tuning": {f.name for f in fields(TuningSettings)},
    "compute": {"seed"},
}
"""What an inversion has settled, and an edit of it cannot change, by the tables of recipes."""

MADE_BY = FIXED | {"faces": {"face", "detector"}, "compute": {"seed", "frame", "dtype"}, "program": {"search"}}
"""What tells whether an inversion would be made alike again."""


def write_for_photo(inversion: Inversion, path: Path, photo: Path) -> None:
    """Write an inversion that remembers where its photo lies as seen from its own file, and the photo's hash."""
    where = photo.resolve()
    with suppress(ValueError):  # on another drive of Windows, no way leads there
        where = Path(os.path.relpath(where, path.parent.resolve()))
    replace(inversion, photo=where.as_posix(), photo_sha256=sha256(photo)).write(path)


def tables(settings: EditSettings) -> dict[str, dict[str, object]]:
    """Return what an inversion depends on, as its file holds it."""
    own = {name: asdict(getattr(settings, name)) for name in ("faces", "inversion", "tuning", "compute")}
    return own | {"program": {"search": SEARCH}}


def made_before(path: Path, photo: Path, settings: EditSettings, generator: LoadedGenerator) -> Inversion | None:
    """Return the inversion at `path`, whole or stopped, if it is of the photo, by these settings and generator."""
    try:
        found = read_inversion(path) if is_safetensors(path) else None
    except InvalidFile:
        return None
    if found is None or found.photo_sha256 != sha256(photo) or found.generator_sha256 != generator.sha256:
        return None
    return found if _made_by(found.settings) == _made_by(tables(settings)) else None


def _made_by(said: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    return {table: {key: said.get(table, {}).get(key) for key in keys} for table, keys in MADE_BY.items()}


def with_own_settings(inversion: Inversion, recipe: Recipe, *, name: str) -> tuple[Recipe, list[str]]:
    """Return a recipe with the settings that an inversion was made by, and the keys of which it said something else.

    Raises:
        InvalidInput: the inversion, which errors call `name`, has settings that no recipe has.
    """
    said, usual, other = recipe.as_dict(), Recipe().as_dict(), []
    for table, keys in FIXED.items():
        for key, own in inversion.settings.get(table, {}).items():
            if key in keys:
                if said[table].get(key) not in (own, usual[table].get(key)):
                    other.append(f"{table}.{key}")
                said[table] |= {key: own}
        said[table] = {key: value for key, value in said[table].items() if value is not None}
    return recipe_from(said, name=name), other


def read_with_photo(path: Path) -> tuple[Inversion, Path]:
    """Read an inversion and find its photo.

    Raises:
        InvalidFile: it is no inversion, or the photo is another one by now.
        InvalidInput: the photo is not where it was.
    """
    inversion = read_inversion(path)
    photo = path.parent / inversion.photo
    if not inversion.photo or not photo.is_file():
        raise InvalidInput(f"The photo of {path} is not at {photo}: put it back there, or invert it again.")
    if sha256(photo) != inversion.photo_sha256:
        raise InvalidFile(f"{photo} is not the photo that {path} was made of: invert it again.")
    return inversion, photo
