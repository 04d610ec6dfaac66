"""Any file to a generator's checkpoint, or to a pivot: by its content, and without running anything out of it."""

import io
import math
import mmap
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weights.errors import InvalidFile
from weights.formats import content, native, nvidia, rosinality, tensorflow, tensors, unpickle, zips
from weights.formats.checkpoint import Checkpoint, clamp_of, complete
from weights.formats.errors import FormatError, shown
from weights.formats.stubs import MAX_DIMENSIONS, Array, Record, TensorStub
from weights.formats.tensors import Materialiser, Values, as_float32

HEAD = 256  # bytes that tell a file's kind
HEADER = 10_000  # bytes of text before a .npy file's numbers, at most
NPY = re.compile(
    rb"\{'descr': '(?P<type>[<>|]\w{1,5})', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>[\d, ]{0,200})\),? ?\}\s*"
)

WORDS: dict[content.Kind, str] = {
    "zip": "torch zip file",
    "pickle": "pickle",
    "legacy torch": "torch legacy file",
    "safetensors": "safetensors file",
    "npy": "numpy array",
}


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a StyleGAN2 generator out of any file that is known.

    Returns:
        The averaged generator (G_ema, Gs, g_ema), its arrays float32 and finite, with all that a network needs but
        `mapping.w_avg`, which some files leave out.

    Raises:
        InvalidFile: it holds none, holds another network, is damaged, or asks for what is not allowed.
    """
    kind, data = _open(path)
    try:
        checkpoint = _safetensors(path) if kind == "safetensors" else _checkpoint(path, kind, data)
        notes = list(checkpoint.notes)
        arrays = complete(checkpoint.arrays, notes)
    except FormatError as error:
        raise InvalidFile(f"{path} was read as a {WORDS[kind]}, but {error}.") from error
    except RecursionError as error:
        raise InvalidFile(f"{path} was read as a {WORDS[kind]}, but it is nested too deeply.") from error
    return Checkpoint(**{**vars(checkpoint), "arrays": arrays, "notes": tuple(notes)})


def read_pivot(path: Path) -> Tensor:
    """Read a latent: a tensor of torch's (PTI writes [1, 18, 512]) or a .npy file (DragGAN writes those).

    A pivot shows its face only by the generator that was tuned around it.

    Returns:
        (1, rows, w_dim) float32.

    Raises:
        InvalidFile: it holds no latent, or is damaged.
    """
    kind, data = _open(path)
    try:
        values = _pivot(path, kind, data)
        if values.dtype != np.float32 or not np.isfinite(values).all():
            raise FormatError("it holds numbers that are not finite, or no floats")
        if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[0] != 1) or 0 in values.shape:
            raise FormatError(f"it holds an array of the shape {values.shape}, which is no latent (1, rows, w_dim)")
    except FormatError as error:
        raise InvalidFile(f"{path} was read as a {WORDS[kind]}, but {error}.") from error
    return torch.from_numpy(values.reshape(1, *values.shape[-2:]).copy())


def read_value(path: Path) -> tuple[Any, Materialiser]:
    """Read a pickle of plain data and arrays; arrays are stubs that the materialiser makes.

    Raises:
        InvalidFile: it is none, is damaged, or asks for what is not allowed.
    """
    kind, data = _open(path)
    try:
        return _value(path, kind, data), Materialiser(len(data))
    except FormatError as error:
        raise InvalidFile(f"{path} was read as a {WORDS[kind]}, but {error}.") from error


def _open(path: Path) -> tuple[content.Kind, memoryview]:
    """Map a file; the map lives as long as what is made of it."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            size = file.seek(0, io.SEEK_END)
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) if size else memoryview(b"")
    except OSError as error:
        raise InvalidFile(f"{path} cannot be read: {error.strerror or error}.") from error
    kind = content.kind_of(head, size)
    if kind is None:
        raise InvalidFile(
            f"{path} is {content.describe(head)}: a generator comes as a .pkl of NVIDIA's, a .pt of torch's, "
            "or a .safetensors file."
        )
    return kind, data


def _value(path: Path, kind: content.Kind, data: memoryview) -> Any:
    if kind == "zip":
        with path.open("rb") as file:
            return zips.read_zip(data, file)
    if kind == "legacy torch":
        return tensors.read_legacy(data)[0]
    if kind == "pickle":
        return unpickle.load(data)[0]
    raise FormatError("no pickle of tensors")


def _checkpoint(path: Path, kind: content.Kind, data: memoryview) -> Checkpoint:
    if kind == "npy":
        raise FormatError("it is an array, perhaps a latent, and no generator")
    root, make = _value(path, kind, data), Materialiser(len(data))
    if nvidia.is_module(root):
        assert isinstance(root, Record)
        return nvidia.read(root, make, f"NVIDIA module, {WORDS[kind]} (PTI)" if kind != "pickle" else "NVIDIA module")
    if tensorflow.is_networks(root):
        return tensorflow.read(root[2], make)
    if isinstance(root, dict):
        for key in ("G_ema", "G"):
            if nvidia.is_module(root.get(key)):
                return nvidia.read(root[key], make, f"NVIDIA torch pickle, {key!r}")
    found = rosinality.find(root)
    if found is not None:
        checkpoint = rosinality.read(*found, make)
        return Checkpoint(**{**vars(checkpoint), "format": f"{checkpoint.format} ({WORDS[kind]})"})
    raise FormatError(f"no generator is in it; it holds {_contents(root)}")


def _safetensors(path: Path) -> Checkpoint:
    state, metadata = native.read(path)
    arrays: dict[str, Any] = {name: value.numpy() for name, value in state.items()}
    found = rosinality.find(arrays)
    if found is None:
        raise FormatError(f"no StyleGAN2 generator is in it; it holds {_contents(arrays)}")
    checkpoint = rosinality.read(*found, np.asarray)
    clamp = metadata.get("conv_clamp")
    try:
        conv_clamp = clamp_of(float(clamp) if clamp else None)
    except ValueError as error:
        raise FormatError(f"its conv_clamp is {shown(clamp)}") from error
    what = "Photodrag safetensors" if "architecture" in metadata else "safetensors"
    return Checkpoint(format=what, arrays=checkpoint.arrays, conv_clamp=conv_clamp, metadata=metadata)


def _pivot(path: Path, kind: content.Kind, data: memoryview) -> Values:
    if kind == "npy":
        return _npy(data)
    value, make = _value(path, kind, data), Materialiser(len(data))
    if isinstance(value, dict):
        value = next((v for v in value.values() if isinstance(v, (TensorStub, Array))), None)
    if not isinstance(value, (TensorStub, Array)):
        raise FormatError(f"it holds {_contents(value)} instead of a latent")
    return make(value)


def _npy(data: memoryview) -> Values:
    # numpy's own reader gives the header to Python's parser, which fails in many ways on a hostile one.
    version, layout = bytes(data[6:8]), {b"\1\0": "<H", b"\2\0": "<I"}
    if version not in layout:
        raise FormatError("it is a numpy array of an unknown version")
    start = 8 + struct.calcsize(layout[version])
    if len(data) < start:
        raise FormatError("it is cut short")
    start += struct.unpack(layout[version], data[8:start])[0]
    found = NPY.fullmatch(bytes(data[8 : min(start, HEADER)]), struct.calcsize(layout[version]))
    if found is None:
        raise FormatError("its header is damaged")
    try:
        dtype = np.dtype(found["type"].decode())
    except (TypeError, ValueError) as error:
        raise FormatError("its header is damaged") from error
    if dtype.kind != "f":
        raise FormatError(f"it holds elements of the type {shown(str(dtype))}")
    shape = tuple(int(number) for number in found["shape"].replace(b",", b" ").split())
    if len(shape) > MAX_DIMENSIONS or 0 in shape or max(shape, default=0) >= 1 << 48:
        raise FormatError("it holds an array of a shape that is no latent's")
    count = math.prod(shape) * dtype.itemsize
    if count > len(data) - start:
        raise FormatError("it is cut short")
    values = np.frombuffer(data[start : start + count], dtype)
    return as_float32(values.reshape(shape, order="F" if found["fortran"] == b"True" else "C"))


def _contents(value: Any) -> str:
    """Say in a few words what a value holds."""
    if isinstance(value, dict):
        keys = [shown(key, 40) for key in list(value)[:5]]
        return f"the keys {', '.join(keys)}{' and more' if len(value) > 5 else ''}" if keys else "an empty dict"
    if isinstance(value, TensorStub):
        return "one tensor, perhaps a latent"
    return shown(value) if isinstance(value, str) else f"a {type(value).__name__}"
