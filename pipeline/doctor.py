"""What this machine has and lacks for Photodrag."""

import importlib
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from weights.catalog import catalog, lookup
from weights.errors import WeightsMissing
from weights.outputs import existing
from weights.store import Store, home

PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "lpips": "lpips",
    "numpy": "numpy",
    "pillow": "PIL",
    "opencv-python": "cv2",
    "dlib-bin": "dlib",
    "face-alignment": "face_alignment",
    "pillow-heif": "pillow_heif",
}
"""What is imported to see whether it works, by the name that pip knows it by."""
NEED = 2e9  # bytes free in the cache's folder; the largest weights take about half a gigabyte each


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that was looked at.

    Attributes:
        what: its name.
        found: what it is.
        level: ok, note (works, could be better) or missing (something does not work).
        mend: the command or the step that mends it; empty where nothing is to be.
    """

    what: str
    found: str
    level: str = "ok"
    mend: str = ""


def examine(*, store: Store | None = None) -> list[Finding]:
    """Look at versions, devices, weights, disk and tools; nothing is fetched or changed."""
    store = store or Store(offline=True)
    found = [Finding(what="photodrag", found=version("photodrag"))]
    found.append(Finding(what="Python", found=f"{platform.python_version()}, {sys.executable}"))
    found.append(Finding(what="system", found=f"{platform.system()} {platform.release()}, {platform.machine()}"))
    found += [_package(name, module) for name, module in PACKAGES.items()]
    found += _devices()
    found.append(_disk(home()))
    found += [_weights(name, store) for name in catalog()]
    found += _tools()
    return found


def _package(name: str, module: str) -> Finding:
    """Import a package, which tells more than that its files are there."""
    try:
        importlib.import_module(module)
        return Finding(what=name, found=version(name))
    except (ImportError, PackageNotFoundError, OSError) as error:
        found = str(error).splitlines()[0] if str(error) else "cannot be imported"
        return Finding(what=name, found=found, level="missing", mend=f"{sys.executable} -m pip install {name}")


def _devices() -> list[Finding]:
    try:
        import torch

        from pipeline.batch import cores
        from weights.compute import has_native_bfloat16, resolve_device
    except ImportError:
        return []
    found = [Finding(what="device", found=f"{resolve_device()} is what --device auto takes")]
    for i in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(i)
        found.append(Finding(what=f"cuda:{i}", found=f"{card.name}, {card.total_memory / 1e9:.1f} GB"))
    native = has_native_bfloat16()
    words = "bfloat16 natively (AMX or AVX-512 BF16)" if native else "float32 only; no AMX, no AVX-512 BF16"
    found.append(Finding(what="processor", found=f"{cores()} cores, {torch.get_num_threads()} threads, {words}"))
    return found


def _disk(folder: Path) -> Finding:
    there = existing(folder)
    if there is None:
        return Finding(what="cache", found=f"there is no {folder.anchor}", level="missing", mend="set PHOTODRAG_HOME")
    free = shutil.disk_usage(there).free
    found = f"{free / 1e9:.1f} GB free in {folder}"
    if free >= NEED:
        return Finding(what="cache", found=found)
    return Finding(what="cache", found=found, level="note", mend="photodrag cache clear; or set PHOTODRAG_HOME")


def _weights(name: str, store: Store) -> Finding:
    """Tell whether weights are in the cache and whole."""
    what = f"weights {name}"
    try:
        whole = store.verify(name)
    except WeightsMissing:
        entry = lookup(name)
        mend = "fetched when first needed, online" if entry.sources else f"get {entry.file} yourself, and give its path"
        return Finding(what=what, found="not fetched yet" if entry.sources else "not here", level="note", mend=mend)
    path = store.path(name)
    if whole is False:
        return Finding(what=what, found=f"{path} is damaged", level="missing", mend=f"photodrag weights remove {name}")
    return Finding(what=what, found=f"{path.stat().st_size / 1e6:.0f} MB, {'hash right' if whole else 'no hash known'}")


def _tools() -> list[Finding]:
    from pipeline.jpeg import has_jpegtran

    if has_jpegtran():
        return [Finding(what="jpegtran", found=shutil.which("jpegtran") or "")]
    return [
        Finding(
            what="jpegtran",
            found="not there, or without -drop: JPEGs are compressed anew as a whole, by their own tables",
            level="note",
            mend="apt install libjpeg-turbo-progs; brew install jpeg-turbo",
        )
    ]


def as_dict(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON's types."""
    return dict(vars(finding))
