"""What the globals of a checkpoint's pickle turn into: plain data. Nothing here calls anything out of a file.

`ALLOWED` is the whole list. A global stands for one of three things: a function of this module that makes data out
of data (`REDUCE`), a kind of object with a state (`NEWOBJ`, `BUILD`), or a name that is only compared.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from weights.formats.errors import FormatError, shown

MAX_DIMENSIONS = 8
MAX_KEY = 1 << 60  # hashes of whole numbers from here on can be made equal, and a dict of such takes for ever


@dataclass(slots=True, eq=False, repr=False)
class Raw:
    """Bytes where they lie in the file.

    Attributes:
        view: the bytes, or with `latin1` the UTF-8 of a text whose characters are the bytes (protocol 2).
        latin1: see there.
    """

    view: memoryview
    latin1: bool = False

    def data(self) -> memoryview:
        """Return the bytes, copied only where they are spelt as text.

        Raises:
            FormatError: the text has characters that are no bytes.
        """
        if not self.latin1:
            return self.view
        try:
            return memoryview(str(self.view, "utf-8").encode("latin-1"))
        except UnicodeError as error:
            raise FormatError("its bytes are spelt by characters that stand for none") from error


@dataclass(slots=True, eq=False, repr=False)
class Text:
    """A long text where it lies in the file; a network's source code, for instance, which nobody reads."""

    view: memoryview


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Global:
    """An allowed name. `key` is its name today; `kind` says what it stands for."""

    key: str


@dataclass(slots=True, eq=False, repr=False)
class Record:
    """An object that is known by its class's name and by its state alone.

    Attributes:
        kind: the allowed name of its class.
        state: its attributes.
    """

    kind: str
    state: dict[Any, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False, repr=False)
class Dtype:
    """The type of an array's elements, as numpy spells it; the byte order comes with the state."""

    code: str


@dataclass(slots=True, eq=False, repr=False)
class Array:
    """A numpy array that was not made yet."""

    shape: tuple[int, ...] = ()
    dtype: Dtype | None = None
    fortran: bool = False
    raw: Raw | None = None


@dataclass(slots=True, eq=False, repr=False)
class Blob:
    """A torch storage in torch's legacy serialisation, inside of a pickle."""

    raw: Raw


@dataclass(slots=True, eq=False, repr=False)
class Storage:
    """A torch storage beside the pickle.

    Attributes:
        kind: FloatStorage, HalfStorage, ...
        numel: its elements, as the pickle says.
        find: returns its bytes.
    """

    kind: str
    numel: int
    find: Callable[[], memoryview]


@dataclass(slots=True, eq=False, repr=False)
class TensorStub:
    """A tensor that was not made yet: a window of a storage, in elements."""

    storage: Blob | Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
NETWORK = "dnnlib.tflib.network.Network"
NAMESPACE = "argparse.Namespace"

_PLACES = {  # where the same thing lived before, or lives now
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
    "__builtin__": "builtins",
}

_STORAGES = {
    f"torch.{kind}Storage"
    for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
}
_DTYPES = {
    f"torch.{name}"
    for name in ("float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
}
OBJECTS = {"collections.OrderedDict", "dnnlib.util.EasyDict", NAMESPACE, NETWORK}

UNSUPPORTED = {  # names that tell what a file is, which is nothing to be read here
    "tfutil.Network": "a Progressive GAN checkpoint",
    "network.Network": "a Progressive GAN checkpoint",
    "model.Generator": "a whole module of rosinality's code (save its state_dict instead)",
    "models.stylegan2.model.Generator": "a whole module of rosinality's code (save its state_dict instead)",
    "legacy_pickle.Network": "a Progressive GAN checkpoint",
}


def find_global(module: str, name: str) -> Global:
    """Return the stub of an allowed global.

    Raises:
        FormatError: it is not on the list.
    """
    key = f"{_PLACES.get(module, module)}.{name}"
    if key in ALLOWED:
        return Global(key)
    full = f"{module}.{name}"
    if full in UNSUPPORTED:
        raise FormatError(f"it is {UNSUPPORTED[full]}, which is not supported")
    raise FormatError(f"it asks for {shown(full)}, which no StyleGAN2 checkpoint needs and which is not allowed")


def reduce(function: Any, args: Any) -> Any:
    """Make what the allowed function `function` would stand for with `args`; a stub's own builder does it.

    Raises:
        FormatError: not an allowed function, or arguments that it never gets.
    """
    if not isinstance(function, Global) or not isinstance(args, tuple):
        raise FormatError(f"it calls {_called(function)} (REDUCE), which is not allowed")
    builder = _FUNCTIONS.get(function.key)
    if builder is None:
        raise FormatError(f"it calls {shown(function.key)}, which is only a name here")
    try:
        return builder(*args)
    except TypeError as error:  # builders do nothing but store; a wrong number of arguments is all there is
        raise FormatError(f"it calls {shown(function.key)} with {len(args)} arguments") from error


def new(cls: Any, args: Any) -> Any:
    """Make an object of an allowed class, without any state.

    Raises:
        FormatError: not an allowed class, or arguments that it never gets.
    """
    if not isinstance(cls, Global) or cls.key not in OBJECTS:
        raise FormatError(f"it makes an object of {_called(cls)} (NEWOBJ), which is not allowed")
    if not isinstance(args, tuple) or args:
        raise FormatError(f"it makes an object of {shown(cls.key)} with arguments")
    return {} if cls.key in ("collections.OrderedDict", "dnnlib.util.EasyDict") else Record(cls.key)


def build(value: Any, state: Any) -> None:
    """Give an object its state, which is stored and interpreted by nobody.

    Raises:
        FormatError: the object takes no state, or none of this kind.
    """
    if isinstance(value, Record) and value.kind != PERSISTENT and isinstance(state, dict):
        value.state.update(state)
    elif isinstance(value, Array) and value.raw is None and isinstance(state, tuple) and len(state) == 5:
        _, shape, dtype, fortran, raw = state
        _fill(value, raw, dtype, shape, bool(fortran) if isinstance(fortran, (bool, int)) else False)
    elif isinstance(value, Dtype) and isinstance(state, tuple) and len(state) >= 2:
        order = state[1]
        if not isinstance(order, str) or order not in ("<", ">", "|", "="):
            raise FormatError("an array has a strange byte order")
        if order == ">":
            value.code = f">{value.code[-2:]}"
    elif isinstance(value, dict) and isinstance(state, dict):
        pass  # torch hangs `_metadata` on a state dict
    else:
        raise FormatError(f"it sets the state of {_called(value)} (BUILD), which is not allowed")


def integers(value: Any, what: str, *, lowest: int = 0) -> tuple[int, ...]:
    """Return a tuple of a few whole numbers, each at least `lowest`.

    Raises:
        FormatError: it is something else.
    """
    if not isinstance(value, tuple) or len(value) > MAX_DIMENSIONS:
        raise FormatError(f"a tensor's {what} is no short tuple")
    for number in value:
        if type(number) is not int or not lowest <= number < 1 << 48:
            raise FormatError(f"a tensor's {what} holds {_number(number)}")
    return value


def _number(value: Any) -> str:
    return str(value) if type(value) is int and abs(value) < 1 << 64 else f"a {type(value).__name__}"


def _called(value: Any) -> str:
    return shown(value.key if isinstance(value, Global) else value)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorStub:
    if not isinstance(storage, (Blob, Storage)):
        raise FormatError(f"a tensor lies in {shown(storage)} instead of a storage")
    (offset,) = integers((offset,), "offset")
    size, stride = integers(size, "size"), integers(stride, "stride")
    if len(size) != len(stride):
        raise FormatError("a tensor has more sizes than strides, or fewer")
    return TensorStub(storage, offset, size, stride)


def _parameter(data: Any, *_: Any) -> TensorStub:
    if not isinstance(data, TensorStub):
        raise FormatError(f"a parameter is {shown(data)} instead of a tensor")
    return data


def _blob(raw: Any) -> Blob:
    if not isinstance(raw, Raw):
        raise FormatError(f"a storage is {shown(raw)} instead of bytes")
    return Blob(raw)


def _persistent(meta: Any) -> Record:
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        raise FormatError("an object of NVIDIA's has no state")
    return Record(PERSISTENT, meta)


def _encode(text: Any, encoding: Any) -> Raw:
    if not isinstance(encoding, str) or encoding not in ("latin1", "latin-1"):
        raise FormatError("bytes are spelt in another encoding than Latin-1")
    if isinstance(text, Text):
        return Raw(text.view, latin1=True)
    if isinstance(text, str):
        return Raw(memoryview(text.encode()), latin1=True)
    raise FormatError("bytes are spelt by no text")


def _ordered(items: Any = ()) -> dict[Any, Any]:
    if not isinstance(items, (list, tuple)):
        raise FormatError("an ordered dict is made of no list")
    out = {}
    for pair in items:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise FormatError("an ordered dict is made of no pairs")
        out[dict_key(pair[0])] = pair[1]
    return out


def dict_key(value: Any) -> Any:
    """Return a dict's key, which is a short text, a number, or None: hashing anything nested can take for ever.

    Raises:
        FormatError: it is something else.
    """
    if value is None or type(value) in (str, float, bool) or (type(value) is int and abs(value) < MAX_KEY):
        return value
    raise FormatError(f"a dict has {_called(value)} for a key")


def _items(items: Any = ()) -> list[Any]:
    if not isinstance(items, (list, tuple)):
        raise FormatError("a set is made of no list")
    return list(items)


def _size(items: Any = ()) -> tuple[int, ...]:
    return integers(tuple(items) if isinstance(items, list) else items, "size")


def _ignored(*_: Any) -> None:
    return None


def _dtype(code: Any, *_: Any) -> Dtype:
    if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?(f[248]|[iu][1248]|b1)", code):
        raise FormatError(f"an array has elements of the type {shown(code)}")
    return Dtype(code)


def _empty_array(*_: Any) -> Array:
    return Array()


def _array_from_buffer(raw: Any, dtype: Any, shape: Any, order: Any = "C") -> Array:
    array = Array()
    _fill(array, raw, dtype, shape, isinstance(order, str) and order == "F")
    return array


def _fill(array: Array, raw: Any, dtype: Any, shape: Any, fortran: bool) -> None:
    if not isinstance(raw, Raw) or not isinstance(dtype, Dtype):
        raise FormatError("an array has no bytes, or no type of elements")
    array.shape, array.dtype, array.fortran, array.raw = integers(shape, "shape"), dtype, fortran, raw


def _scalar(dtype: Any, raw: Any) -> float | int | bool:
    import numpy as np

    if not isinstance(dtype, Dtype) or not isinstance(raw, Raw) or len(raw.view) > 16:
        raise FormatError("a number of numpy's has no bytes, or no type")
    data, kind = raw.data(), np.dtype(dtype.code)
    if len(data) != kind.itemsize:
        raise FormatError("a number of numpy's has too few bytes, or too many")
    value: float | int | bool = np.frombuffer(data, kind)[0].item()
    return value


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    PERSISTENT: _persistent,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.storage._load_from_bytes": _blob,
    "torch.Size": _size,
    "torch.device": _ignored,
    "collections.OrderedDict": _ordered,
    "builtins.set": _items,
    "builtins.frozenset": _items,
    "_codecs.encode": _encode,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy.core.numeric._frombuffer": _array_from_buffer,
}

ALLOWED = frozenset(_FUNCTIONS) | OBJECTS | _STORAGES | _DTYPES | {"numpy.ndarray"}
