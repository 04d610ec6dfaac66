"""Stubs to arrays: every size is checked against the bytes that are there before anything is allocated."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weights.formats import unpickle
from weights.formats.errors import FormatError, shown
from weights.formats.stubs import Array, Blob, Global, Storage, TensorStub

Values = NDArray[Any]

MAGIC = 0x1950A86A20F9469CFC6C  # of torch's legacy serialisation
PROTOCOL = 1001
MAX_ELEMENTS = 1 << 48  # of an array, were none of its sides empty: numpy refuses more

ELEMENTS = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",  # numpy has none: the upper half of a float32
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "<u1",
}


class Materialiser:
    """Makes arrays of stubs, and no more bytes in all than the file has."""

    def __init__(self, file_bytes: int) -> None:
        """`file_bytes` is what may be spent."""
        self.left = file_bytes
        self.left_to_parse = 2 * file_bytes  # of blobs: many tensors can name one, which is parsed for each

    def __call__(self, stub: Any) -> Values:
        """Return an array, float32 where the stub holds floats of any kind, C-contiguous.

        Raises:
            FormatError: no tensor, one whose elements overlap or lie outside of its storage, or too large a one.
        """
        if isinstance(stub, TensorStub):
            return self._tensor(stub)
        if isinstance(stub, Array):
            return self._array(stub)
        if type(stub) in (int, float):
            return np.array(stub, np.float32)
        raise FormatError(f"{shown(stub)} stands where a tensor should")

    def _spend(self, shape: tuple[int, ...], element: int) -> None:
        self.left -= math.prod(shape) * element
        if self.left < 0 or math.prod(max(n, 1) for n in shape) > MAX_ELEMENTS:
            raise FormatError("its tensors are larger than the file")

    def _tensor(self, stub: TensorStub) -> Values:
        storage = self._parse(stub.storage) if isinstance(stub.storage, Blob) else stub.storage
        elements = np.dtype(ELEMENTS[storage.kind])
        check_window(stub, storage.numel)
        self._spend(stub.size, elements.itemsize)
        data = storage.find()
        if len(data) != storage.numel * elements.itemsize:
            raise FormatError("a storage has other bytes than its pickle says")
        if math.prod(stub.size) == 0:
            return np.zeros(stub.size, np.float32)
        flat = np.frombuffer(data, elements)
        stride = tuple(s * elements.itemsize for s in stub.stride)
        window = np.lib.stride_tricks.as_strided(flat[stub.offset :], stub.size, stride, writeable=False)
        return as_float32(window, bfloat16=storage.kind == "BFloat16Storage")

    def _parse(self, blob: Blob) -> Storage:
        self.left_to_parse -= len(blob.raw.view)
        if self.left_to_parse < 0:
            raise FormatError("its storages are larger than the file")
        return read_blob(blob)

    def _array(self, stub: Array) -> Values:
        if stub.raw is None or stub.dtype is None:
            raise FormatError("an array has no content")
        elements = np.dtype(stub.dtype.code)
        count = math.prod(stub.shape) * elements.itemsize
        self._spend(stub.shape, elements.itemsize)
        data = stub.raw.data()
        if len(data) != count:
            raise FormatError(f"an array of {count} bytes has {len(data)}")
        return as_float32(np.frombuffer(data, elements).reshape(stub.shape, order="F" if stub.fortran else "C"))


def check_window(stub: TensorStub, numel: int) -> None:
    """Make sure that a tensor lies within its storage of `numel` elements, and uses none of them twice.

    Raises:
        FormatError: it does not.
    """
    if math.prod(stub.size) == 0:
        return
    last = stub.offset
    reach = 1
    for stride, size in sorted((s, n) for s, n in zip(stub.stride, stub.size, strict=True) if n > 1):
        if stride < reach:
            raise FormatError("a tensor's elements overlap")
        reach = stride * (size - 1) + reach
        last += stride * (size - 1)
    if last >= numel:
        raise FormatError(f"a tensor reaches to element {last} of a storage that has {numel}")


def as_float32(values: Values, *, bfloat16: bool = False) -> Values:
    """Copy into C-contiguous memory, floats as float32."""
    if bfloat16:
        wide = np.array(values, np.uint32, order="C")
        return np.left_shift(wide, 16, out=wide).view(np.float32)
    if values.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            return np.array(values, np.float32, order="C")
    return np.array(values, values.dtype.newbyteorder("="), order="C")


def storage_of(pid: Any, find: Any) -> Storage:
    """Return the storage that a persistent id of torch's stands for; `find(key, bytes)` returns its bytes.

    Raises:
        FormatError: no such id.
    """
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or not isinstance(pid[0], str) or pid[0] != "storage":
        raise FormatError("it refers to something else than a storage")
    _, kind, key, _, numel = pid[:5]
    if len(pid) == 6 and pid[5] is not None:
        raise FormatError("it has a storage that is a view of another, which torch stopped writing in 2017")
    if not isinstance(kind, Global) or kind.key.removeprefix("torch.") not in ELEMENTS:
        raise FormatError("it has a storage of an unknown type")
    name = kind.key.removeprefix("torch.")
    if type(key) is int:
        key = str(key)
    if not isinstance(key, str) or not key or len(key) > 64:
        raise FormatError("it has a storage without a key")
    if type(numel) is not int or not 0 <= numel < 1 << 48:
        raise FormatError("it has a storage without a size")
    count = numel * np.dtype(ELEMENTS[name]).itemsize
    return Storage(name, numel, lambda: find(key, count))


def read_blob(blob: Blob) -> Storage:
    """Return the one storage inside of a blob of torch's legacy serialisation.

    Raises:
        FormatError: it holds something else.
    """
    root, _ = read_legacy(blob.raw.data())
    if not isinstance(root, Storage):
        raise FormatError("a blob holds no storage")
    return root


def is_legacy(data: memoryview) -> bool:
    """Tell whether torch's legacy serialisation begins here: a pickle of its magic number."""
    return bytes(data[:2]) == b"\x80\x02" and bytes(data[2:14]) == b"\x8a\x0a" + MAGIC.to_bytes(10, "little")


def read_legacy(data: memoryview) -> tuple[Any, dict[str, memoryview]]:
    """Read torch's legacy serialisation: five pickles in a row, then each storage's length and bytes.

    Returns:
        The value, with stubs for tensors, and the storages' bytes by their keys.

    Raises:
        FormatError: it is damaged, or holds anything that is not allowed.
    """
    places: dict[str, memoryview] = {}
    sizes: dict[str, int] = {}

    def find(key: str, count: int) -> memoryview:
        if key not in places or len(places[key]) != count:
            raise FormatError("a storage is missing, or has another size")
        return places[key]

    def persistent(pid: Any) -> Storage:
        storage = storage_of(pid, find)
        size = np.dtype(ELEMENTS[storage.kind]).itemsize
        if sizes.setdefault(str(pid[2]), size) != size:
            raise FormatError("a storage has two types")
        return storage

    magic, at = unpickle.load(data)
    protocol, at = unpickle.load(data, at)
    if type(magic) is not int or magic != MAGIC or type(protocol) is not int or protocol != PROTOCOL:
        raise FormatError("a torch file of the legacy kind should begin here, and does not")
    system, at = unpickle.load(data, at)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise FormatError("it was written by a big-endian machine")
    root, at = unpickle.load(data, at, persistent=persistent)
    keys, at = unpickle.load(data, at)
    if not isinstance(keys, list) or len(keys) > len(sizes) or any(type(key) not in (str, int) for key in keys):
        raise FormatError("the list of its storages is damaged")
    for key in map(str, keys):
        if len(data) - at < 8:
            raise FormatError("it is cut short")
        count = int.from_bytes(data[at : at + 8], "little", signed=True) * sizes.get(key, 0)
        at += 8
        if key not in sizes or not 0 <= count <= len(data) - at:
            raise FormatError("it is cut short, or one of its storages is")
        places[key] = data[at : at + count]
        at += count
    return root, places
