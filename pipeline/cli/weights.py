"""`photodrag weights`: networks' files."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from pipeline.cli import codes, console
from pipeline.cli.options import Flag

weights = App(name="weights", help="Generators and other networks: list, fetch, check, look into and convert them.")


@weights.command(name="list")
def list_(*, json: Flag = False) -> None:
    """List what can be fetched, and what is here.

    Parameters
    ----------
    json
        Print it as JSON.
    """
    from weights.catalog import EMBEDDED, catalog
    from weights.load import FACES
    from weights.store import Store

    store = Store()
    embedded: dict[str, Any] = {
        "name": EMBEDDED,
        "kind": "generator",
        "shows": "faces; embedded",
        "size": 128,
        "frame": "ffhq",
        "bytes": (FACES / f"{EMBEDDED}.safetensors").stat().st_size,
        "license": "CC-BY-NC-SA-4.0",
        "noncommercial": True,
        "sha256": None,
        "fetchable": False,
        "here": True,
    }
    rows: list[dict[str, Any]] = [embedded] + [
        {
            "name": entry.name,
            "kind": entry.kind,
            "shows": entry.shows,
            "size": entry.size,
            "frame": entry.frame,
            "bytes": entry.bytes,
            "license": entry.license,
            "noncommercial": entry.noncommercial,
            "sha256": entry.sha256,
            "fetchable": bool(entry.sources),
            "here": store.path(entry.name).exists(),
        }
        for entry in catalog().values()
    ]
    if json:
        console.result_json(rows)
        return
    for row in sorted(rows, key=lambda row: row["kind"] != "generator"):
        here = "here" if row["here"] else "" if row["fetchable"] else "own"
        size = f"{row['size']} px" if row["size"] else row["kind"]
        megabytes = f"{row['bytes'] / 1e6:.0f} MB" if row["bytes"] else "?"
        console.result(
            f"{here:4}  {row['name']:20}  {size:>10}  {row['frame'] or '':6}  {megabytes:>7}  {row['shows']}"
        )
    console.notice("here: fetched; own: recognised where you bring the file, but not fetched.")


@weights.command
def info(file: Path, /, *, json: Flag = False) -> None:
    """Say what a generator's file holds, without running anything out of it.

    Parameters
    ----------
    file
        A checkpoint of any known layout, a pivot, or a name of `photodrag weights list` that is here.
    json
        Print it as JSON.
    """
    from weights.load import describe
    from weights.store import Store

    told = describe(_here(file), store=Store(offline=True))
    if json:
        console.result_json(told)
        return
    for key, value in told.items():
        if value not in (None, "", []):
            words = ", ".join(map(str, value)) if isinstance(value, list) else value
            console.result(f"{key.replace('_', ' '):15} {words}")


@weights.command
def fetch(name: str, /, *, accept_license: Flag = False, json: Flag = False) -> None:
    """Fetch and verify a file of the catalogue, and print its path.

    Parameters
    ----------
    name
        See `photodrag weights list`.
    accept_license
        Accept its licence, where it is non-commercial.
    json
        Print name and path as JSON.
    """
    with console.bars() as bars:
        path = console.store(bars, offline=False, accept_license=accept_license).get(name)
    _print_path(name, path, json=json)


@weights.command
def path(name: str, /, *, json: Flag = False) -> None:
    """Print where a file of the catalogue is kept.

    Parameters
    ----------
    name
        See `photodrag weights list`.
    json
        Print name and path as JSON.
    """
    from weights.catalog import EMBEDDED
    from weights.load import find_generator
    from weights.store import Store

    store = Store(offline=True)
    kept = find_generator(name, store=store) if name == EMBEDDED else store.path(name)
    _check_kept(name, kept)
    _print_path(name, kept, json=json)


def _here(file: Path) -> Path:
    """Make sure that a generator of the catalogue was fetched, where that is what is meant."""
    from weights.catalog import catalog
    from weights.store import Store

    if str(file) in catalog() and not file.exists():
        _check_kept(str(file), Store().path(str(file)))
    return file


def _check_kept(name: str, kept: Path) -> None:
    from weights.errors import WeightsMissing

    if not kept.exists():
        raise WeightsMissing(f"{name} would be kept at {kept}, but is not there: `photodrag weights fetch {name}`.")


def _print_path(name: str, path: Path, *, json: bool) -> None:
    if json:
        console.result_json({"name": name, "path": str(path)})
    else:
        console.result(str(path))


@weights.command
def verify(name: str | None = None, /, *, json: Flag = False) -> int:
    """Check the hashes of what is here; a wrong one makes the exit code 1.

    Parameters
    ----------
    name
        See `photodrag weights list`; all that is here where none is given.
    json
        Print it as JSON.
    """
    from weights.catalog import catalog
    from weights.store import Store

    store = Store()
    names = [name] if name else [n for n in catalog() if store.path(n).exists()]
    words = {True: "right", False: "wrong", None: "unknown"}
    rows = [{"name": n, "path": str(store.path(n)), "hash": words[store.verify(n)]} for n in names]
    if json:
        console.result_json(rows)
    else:
        for row in rows:
            console.result(f"{row['hash']:8} {row['name']:20} {row['path']}")
    return codes.FAILED if any(row["hash"] == "wrong" for row in rows) else 0


@weights.command
def convert(
    file: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    frame: Literal["ffhq", "center"] | None = None,
    json: Flag = False,
    overwrite: Flag = False,
) -> None:
    """Convert a generator to safetensors, which loads faster and can hold no program.

    An encoder beside it, NAME-encoder.safetensors, is copied to beside the output; another one there is removed, with
    --overwrite.

    Parameters
    ----------
    file
        A checkpoint of any known layout, or a name of `photodrag weights list` that is here.
    output
        Where it goes; ends in .safetensors.
    frame
        How its crops are cut; where it is not given, as the file or the catalogue says, else center.
    json
        Print what was written as JSON.
    overwrite
        Replace files that exist.
    """
    from weights.load import convert as convert_generator
    from weights.store import Store

    store = Store(offline=True)
    told = convert_generator(_here(file), output, frame=frame, overwrite=overwrite, store=store)
    if json:
        console.result_json(told)
        return
    console.result(str(output))
    if told["license"]:
        console.notice(f"The licence of the source holds for the conversion as well: {told['license']}.")
    else:
        console.notice("The licence of the source, which is not known here, holds for the conversion as well.")


@weights.command
def remove(name: str, /, *, json: Flag = False) -> None:
    """Remove a file of the catalogue that was fetched.

    Parameters
    ----------
    name
        See `photodrag weights list`.
    json
        Print whether there was one as JSON.
    """
    from weights.store import Store

    store = Store()
    removed = store.remove(name)
    if json:
        told: dict[str, Any] = {"name": name, "removed": removed}
        console.result_json(told)
    else:
        console.notice(f"{name} was removed." if removed else f"{name} was not here.")
