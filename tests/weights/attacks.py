"""Files that would do harm if anything in them were run, or believed. Also read by benchmarks/formats.py."""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from tests.weights.writers import Call, Name, Pickler
from weights.formats.tensors import MAGIC, PROTOCOL


@dataclass(frozen=True)
class Attack:
    """A file, what its refusal says, and whether the standard unpickler would leave `marker` behind."""

    name: str
    content: bytes
    message: str
    control: bool = False


def text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def glob(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def call(function: bytes, *args: bytes) -> bytes:
    return function + pickle.MARK + b"".join(args) + pickle.TUPLE + pickle.REDUCE


def program(*opcodes: bytes, protocol: int = 4) -> bytes:
    return pickle.PROTO + bytes([protocol]) + b"".join(opcodes) + pickle.STOP


EMPTY_ORDERED = call(glob("collections", "OrderedDict"))


def programs(marker: str) -> Iterator[Attack]:
    """Pickles that run something; `control` marks those that do so in the standard unpickler."""
    touch = f"touch {marker}"
    code = f"open({marker!r}, 'w')"
    getattr_, import_ = glob("builtins", "getattr"), glob("builtins", "__import__")
    yield Attack("os.system", program(call(glob("os", "system"), text(touch))), "os.system", True)
    yield Attack("posix.system", program(call(glob("posix", "system"), text(touch))), "posix.system", True)
    shell = pickle.EMPTY_LIST + pickle.MARK + text("touch") + text(marker) + pickle.APPENDS
    yield Attack("subprocess", program(call(glob("subprocess", "call"), shell)), "subprocess.call", True)
    yield Attack("builtins.eval", program(call(glob("builtins", "eval"), text(code))), "builtins.eval", True)
    yield Attack("builtins.exec", program(call(glob("builtins", "exec"), text(code))), "builtins.exec", True)
    yield Attack("__builtin__.eval", program(call(glob("__builtin__", "eval"), text(code))), "__builtin__.eval")
    found = call(getattr_, call(import_, text("os")), text("system"))
    yield Attack("builtins.getattr", program(call(found, text(touch))), "builtins.getattr", True)
    nested = call(call(glob("functools", "partial"), glob("os", "system"), text(touch)))
    yield Attack("nested REDUCE", program(nested), "functools.partial", True)
    yield Attack("a call of a result", program(call(EMPTY_ORDERED, text(touch))), "which is not allowed")
    yield Attack("a call of a class's name", program(call(glob("numpy", "ndarray"), text(touch))), "only a name")
    made = call(glob("copyreg", "_reconstructor"), glob("os", "_wrap_close"), glob("builtins", "object"), pickle.NONE)
    yield Attack("copyreg", program(made), "copyreg._reconstructor")
    state = pickle.EMPTY_DICT + text("__setstate__") + glob("os", "system") + pickle.SETITEM
    record = glob("argparse", "Namespace") + pickle.EMPTY_TUPLE + pickle.NEWOBJ
    yield Attack("__setstate__ by BUILD", program(record + state + pickle.BUILD + text(touch) + pickle.BUILD),
                 "os.system", True)  # fmt: skip
    harmless = pickle.EMPTY_DICT + text("__setstate__") + glob("collections", "OrderedDict") + pickle.SETITEM
    yield Attack("__setstate__ by an allowed name", program(record + harmless + pickle.BUILD + text(touch)
                                                            + pickle.BUILD), "sets the state")  # fmt: skip
    built = text("posix") + text("system") + pickle.STACK_GLOBAL
    yield Attack("STACK_GLOBAL", program(call(built, text(touch))), "posix.system", True)
    made_up = call(glob("torch", "Size"), pickle.EMPTY_LIST) + text("system") + pickle.STACK_GLOBAL
    yield Attack("STACK_GLOBAL of no text", program(call(made_up, text(touch))), "makes up the name")
    inside = text("torch._utils") + text("_rebuild_parameter.__globals__") + pickle.STACK_GLOBAL
    yield Attack("attributes of an allowed name", program(inside), "__globals__")
    yield Attack("BUILD on a name", program(glob("collections", "OrderedDict") + state + pickle.BUILD), "os.system")
    allowed = glob("collections", "OrderedDict") + pickle.EMPTY_DICT + pickle.BUILD
    yield Attack("BUILD on an allowed name", program(allowed), "sets the state")
    yield Attack("NEWOBJ", program(glob("os", "_wrap_close") + pickle.EMPTY_TUPLE + pickle.NEWOBJ), "os._wrap_close")
    yield Attack("NEWOBJ with arguments", program(glob("argparse", "Namespace") + text("a") + pickle.TUPLE1
                                                  + pickle.NEWOBJ), "with arguments")  # fmt: skip
    yield Attack("NEWOBJ_EX", program(glob("argparse", "Namespace") + pickle.EMPTY_TUPLE + pickle.EMPTY_DICT + text("a")
                                      + text("b") + pickle.SETITEM + pickle.NEWOBJ_EX), "keywords")  # fmt: skip
    inst = pickle.MARK + text(touch) + pickle.INST + b"os\nsystem\n"
    yield Attack("INST", program(inst), "opcode INST", True)
    obj = pickle.MARK + glob("os", "system") + text(touch) + pickle.OBJ
    yield Attack("OBJ", program(obj), "os.system", True)
    obj = pickle.MARK + glob("argparse", "Namespace") + text(touch) + pickle.OBJ
    yield Attack("OBJ of an allowed name", program(obj), "opcode OBJ")
    for opcode, number in ((pickle.EXT1, b"\x01"), (pickle.EXT2, b"\x01\x00"), (pickle.EXT4, b"\x01\x00\x00\x00")):
        name = f"extension registry, {len(number)} bytes"
        yield Attack(name, program(call(opcode + number, text(touch))), "opcode EXT")
    yield Attack("persistent id as text", program(pickle.PERSID + b"os\n"), "opcode PERSID")
    yield Attack("out-of-band buffer", program(pickle.NEXT_BUFFER, protocol=5), "opcode NEXT_BUFFER")
    source = "class G:\n    pass\n" + code
    meta = pickle.EMPTY_DICT + pickle.MARK + text("module_src") + text(source) + text("state") + pickle.EMPTY_DICT
    hidden = call(glob("torch_utils.persistence", "_reconstruct_persistent_obj"), meta + pickle.SETITEMS)
    yield Attack("NVIDIA's module_src", program(pickle.EMPTY_DICT + text("G_ema") + hidden + pickle.SETITEM),
                 "no _parameters|no synthesis")  # fmt: skip
    hook = pickle.EMPTY_DICT + text("type") + text("class") + pickle.SETITEM
    hidden = call(glob("torch_utils.persistence", "import_hook"), hook)
    yield Attack("NVIDIA's import_hook", program(hidden), "import_hook")
    lambda_ = call(glob("types", "FunctionType"), call(glob("marshal", "loads"), pickle.SHORT_BINBYTES + b"\x01N"))
    yield Attack("code objects", program(lambda_), "types.FunctionType")
    yield Attack("torch.load inside", program(call(glob("torch.serialization", "load"), text(marker))),
                 "torch.serialization.load")  # fmt: skip


def bombs() -> Iterator[Attack]:
    """Small pickles that want much."""
    puts = b"".join(pickle.LONG_BINPUT + struct.pack("<I", i * 7919) for i in range(200_001))
    yield Attack("memo bomb", program(pickle.NONE + puts), "remembers more than")
    laughs = text("ha") + b"".join(
        pickle.MEMOIZE
        + (pickle.BINGET + bytes([i])) * 8
        + pickle.MARK
        + (pickle.BINGET + bytes([i])) * 9
        + pickle.TUPLE
        for i in range(60)
    )
    yield Attack("billion laughs", program(pickle.MARK + laughs + pickle.TUPLE), "no generator is in it")
    key = text("ha") + b"".join(pickle.MEMOIZE + (pickle.BINGET + bytes([i])) + pickle.TUPLE2 for i in range(60))
    yield Attack("billion laughs as a key", program(pickle.EMPTY_DICT + key + pickle.NONE + pickle.SETITEM), "a key")
    yield Attack("a deep tuple", program(pickle.NONE + pickle.TUPLE1 * 250_000), "no generator is in it")
    yield Attack("too many opcodes", program(pickle.NONE + pickle.TUPLE1 * 500_001), "more than 500000 opcodes")
    yield Attack("open containers", program(pickle.MARK * 1000), "nested too deeply")
    yield Attack("a tall stack", program(pickle.NONE * 100_001), "nested too deeply")
    cycle = pickle.EMPTY_DICT + pickle.MEMOIZE + text("G_ema") + pickle.BINGET + b"\0" + pickle.SETITEM
    yield Attack("a dict in itself", program(cycle), "no generator is in it")
    yield Attack("a huge number", program(pickle.LONG4 + struct.pack("<i", 2**31 - 1)), "whole number of")
    yield Attack("a negative length", program(pickle.LONG4 + struct.pack("<i", -5)), "whole number of")
    many, none = pickle.MARK + pickle.NONE * 30_000, pickle.TUPLE1 + pickle.REDUCE
    pairs = pickle.MARK + b"".join(
        pickle.BININT2 + struct.pack("<H", i) + pickle.NONE + pickle.TUPLE2 for i in range(9000)
    )
    keys = b"".join(pickle.BININT2 + struct.pack("<H", i) + pickle.NONE for i in range(9000))
    record = glob("argparse", "Namespace") + pickle.EMPTY_TUPLE + pickle.NEWOBJ + get(0) + pickle.BUILD
    for name, value, again in (
        ("sets of one list", pickle.EMPTY_LIST + many + pickle.APPENDS, glob("builtins", "set") + get(0) + none),
        ("ordered dicts of one list", pairs + pickle.TUPLE, glob("collections", "OrderedDict") + get(0) + none),
        ("records of one state", pickle.EMPTY_DICT + pickle.MARK + keys + pickle.SETITEMS, record),
        (
            "bytes of one text",
            text("x" * 4000),
            glob("_codecs", "encode") + get(0) + text("latin1") + pickle.TUPLE2 + pickle.REDUCE,
        ),
    ):
        yield Attack(name, program(pickle.MARK + value + put(0) + again * 20_000 + pickle.TUPLE), "copies more than")
    yield Attack("a long text that is not there", program(pickle.BINUNICODE8 + struct.pack("<Q", 2**62)), "cut short")
    yield Attack("bytes that are not there", program(pickle.BINBYTES8 + struct.pack("<Q", 2**63)), "cut short")
    yield Attack("a frame that is not there", program(pickle.FRAME + struct.pack("<Q", 2**40)), "cut short")
    yield Attack("an empty stack", program(pickle.POP), "not there")
    yield Attack("values across a mark", program(pickle.NONE + pickle.MARK + pickle.TUPLE1), "not there")
    yield Attack("a memo that never was", program(pickle.BINGET + b"\x05"), "never had")
    yield Attack("values left over", program(pickle.NONE + pickle.NONE), "left over")


def pickled(value: object, protocol: int = 4) -> bytes:
    file = io.BytesIO()
    Pickler(file, protocol).dump(value)
    return file.getvalue()


def storage_blob(values: torch.Tensor) -> bytes:
    """Return a storage as torch writes it inside of another pickle."""
    blob: bytes = values._typed_storage().__reduce__()[1][0]
    return blob


def _tensor(offset, size, stride, blob=None):
    storage = Call(Name("torch.storage", "_load_from_bytes"), blob or storage_blob(torch.zeros(64)))
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), storage, offset, size, stride, False, {})


def tensors() -> Iterator[Attack]:
    """Tensors that do not lie where they say."""
    for name, offset, size, stride, message in [
        ("negative strides", 0, (4,), (-1,), "stride holds -1"),
        ("overlapping strides", 0, (4, 4), (1, 1), "overlap"),
        ("a stride of 0", 0, (1 << 40,), (0,), "overlap"),
        ("a negative size", 0, (-4,), (1,), "size holds -4"),
        ("a negative offset", -8, (4,), (1,), "offset holds -8"),
        ("an offset out of bounds", 61, (4,), (1,), "reaches to element 64"),
        ("a size out of bounds", 0, (1 << 40,), (1,), "reaches to element"),
        ("a size beyond all numbers", 0, (1 << 47, 1 << 47), (1 << 47, 1), "reaches to element"),
        ("many dimensions", 0, (1,) * 50, (1,) * 50, "no short tuple"),
        ("more sizes than strides", 0, (2, 2), (1,), "more sizes than strides"),
        ("a size that is a text", 0, ("4",), (1,), "size holds a str"),
        ("a size that is a bool", 0, (True,), (1,), "size holds a bool"),
    ]:
        value = {"synthesis.b4.const": _tensor(offset, size, stride)}
        yield Attack(name, pickled(value), message)
    blob = bytearray(storage_blob(torch.zeros(64)))
    at = blob.rindex(struct.pack("<q", 64))
    more = bytes(blob[:at]) + struct.pack("<q", 1 << 60) + bytes(blob[at + 8 :])
    yield Attack("a storage out of bounds", pickled({"synthesis.b4.const": _tensor(0, (4,), (1,), more)}), "cut short")
    less = bytes(blob[:at]) + struct.pack("<q", 8) + bytes(blob[at + 8 :])
    yield Attack("a storage of another size", pickled({"synthesis.b4.const": _tensor(0, (4,), (1,), less)}), "size")
    many = _tensor(0, (64,), (1,))
    shared = {f"synthesis.b4.t{i}": Call(*_window(many, i)) for i in range(64)}
    shared["synthesis.b4.const"] = many
    yield Attack("one storage many times", pickled(shared), "larger than the file|no StyleGAN2 generator")


def _window(tensor, i):
    return Name("torch._utils", "_rebuild_tensor_v2"), *tensor.args


def archives(marker: str) -> Iterator[Attack]:
    """Zip files, and pickles inside of torch's other containers."""
    evil = program(call(glob("posix", "system"), text(f"touch {marker}")), protocol=2)
    yield Attack("os.system in a torch zip", zipped({"archive/data.pkl": evil}), "posix.system")
    legacy = b"".join(pickle.dumps(v, 2) for v in (MAGIC, PROTOCOL, {"little_endian": True}))
    yield Attack("os.system in a torch legacy file", legacy + evil + pickle.dumps([], 2), "posix.system")
    yield Attack("os.system as torch's magic number", evil + legacy, "posix.system")
    blob = legacy + evil + pickle.dumps([], 2)
    inner = {"synthesis.b4.const": _tensor(0, (4,), (1,), blob), "synthesis.b4.conv1.weight": 1.0}
    yield Attack("os.system in a storage", pickled(inner), "posix.system")
    encoded = pickled(inner, 2)
    yield Attack("os.system in a storage, protocol 2", encoded, "posix.system")
    bomb = zipped({"archive/data.pkl": program(pickle.NONE) + bytes(50 << 20)}, compress=True)
    yield Attack("zip bomb", bomb, "compressed")
    names = {f"../../{marker}": b"x", marker: b"x", "archive/data.pkl": program(pickle.NONE, protocol=2)}
    yield Attack("paths in a zip", zipped(names), "no generator is in it")
    both = {"a/data.pkl": program(pickle.NONE), "b/data.pkl": evil}
    yield Attack("two pickles in a zip", zipped(both), "2 members called data.pkl")
    storage = pickle.BINPERSID
    pid = pickle.MARK + text("storage") + glob("torch", "FloatStorage") + text("../../../etc/passwd") + text("cpu")
    tensor = pid + pickle.BININT1 + b"\x04" + pickle.TUPLE + storage
    size = pickle.BININT1 + b"\x04" + pickle.TUPLE1
    made = call(glob("torch._utils", "_rebuild_tensor_v2"), tensor, pickle.BININT1 + b"\0", size,
                pickle.BININT1 + b"\x01" + pickle.TUPLE1, pickle.NEWFALSE, pickle.EMPTY_DICT)  # fmt: skip
    state = program(pickle.EMPTY_DICT + text("synthesis.b4.const") + made + pickle.SETITEM, protocol=2)
    yield Attack("a storage outside of a zip", zipped({"archive/data.pkl": state}), "is missing")
    yield Attack("a member that lies about its size", _lying(zipped({"archive/data.pkl": evil})), "cut short|damaged")
    yield Attack("an empty zip", zipped({}), "of no kind|0 members")
    yield Attack("a JPEG called .pkl", b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100), "a JPEG picture")
    yield Attack("a web page called .pkl", b"<!DOCTYPE html><html>Sign in</html>", "a web page")


def get(number: int) -> bytes:
    return pickle.LONG_BINGET + struct.pack("<I", number)


def put(number: int) -> bytes:
    return pickle.LONG_BINPUT + struct.pack("<I", number)


def _module(children: bytes) -> bytes:
    empty = b"".join(text(key) + pickle.EMPTY_DICT + pickle.SETITEM for key in ("_parameters", "_buffers"))
    inside = text("_modules") + pickle.EMPTY_DICT + pickle.MARK + children + pickle.SETITEMS + pickle.SETITEM
    state = text("state") + pickle.EMPTY_DICT + empty + inside + pickle.SETITEM
    return call(glob("torch_utils.persistence", "_reconstruct_persistent_obj"), pickle.EMPTY_DICT + state)


def _network(parts: bytes) -> bytes:
    variables = text("variables") + pickle.EMPTY_LIST + pickle.SETITEM
    state = variables + text("components") + pickle.EMPTY_DICT + pickle.MARK + parts + pickle.SETITEMS + pickle.SETITEM
    made = glob("dnnlib.tflib.network", "Network") + pickle.EMPTY_TUPLE + pickle.NEWOBJ
    return made + pickle.EMPTY_DICT + state + pickle.BUILD


def _dict(values: bytes) -> bytes:
    return pickle.EMPTY_DICT + pickle.MARK + values + pickle.SETITEMS


def walks() -> Iterator[Attack]:
    """Small files whose reading takes for ever, or ends in an error of numpy's."""

    def shared(make: Callable[[bytes], bytes], depth: int) -> bytes:
        """Each holds the one before 40 times: 40 ** depth to whoever visits them all."""
        levels = [make(text("none") + pickle.NONE) + put(0)]
        levels += [make(b"".join(text(f"k{i}") + get(d) for i in range(40))) + put(d + 1) for d in range(depth)]
        return pickle.POP.join(levels)

    root = pickle.MARK + shared(_module, 10) + pickle.POP_MARK
    yield Attack("modules in many places", program(root + _dict(text("G_ema") + get(10))), "more than 1000 modules")
    networks = pickle.MARK + shared(_network, 7) + pickle.POP_MARK + get(7) * 3 + pickle.TUPLE3
    yield Attack("networks in many places", program(networks), "more than 50 networks|part of a network")
    yield Attack("dicts in many places", program(shared(_dict, 15)), "no generator is in it")
    # Multiples of 2 ** 61 - 1 have one hash: a dict of n such keys takes n ** 2 comparisons.
    keys = [pickle.LONG1 + b"\x10" + (i * (2**61 - 1)).to_bytes(16, "little") for i in range(1, 40_000)]
    yield Attack("keys of one hash", program(_dict(b"".join(key + pickle.NONE for key in keys))), "for a key")
    whole = io.BytesIO(storage_blob(torch.zeros(64)))
    pickle.load(whole), pickle.load(whole)
    start = whole.tell()
    pickle.load(whole)  # what is known of the system
    system = program((pickle.NONE + pickle.POP) * 200_000 + pickle.NONE, protocol=2)
    slow = whole.getvalue()[:start] + system + whole.read()
    one = _tensor(0, (0,), (1,), slow)
    many = {f"synthesis.b4.t{i}": Call(Name("torch._utils", "_rebuild_tensor_v2"), *one.args) for i in range(2000)}
    yield Attack("one storage parsed many times", pickled(many | {"synthesis.b4.const": one}), "larger than the file")
    empty = _tensor(0, (1 << 47, 1 << 47, 0), (1, 1, 1))
    yield Attack("an empty tensor of huge sides", pickled({"synthesis.b4.const": empty}), "larger than the file")
    for name, code, shape in (
        ("halves of halves", "f1", (4,)),
        ("huge sides and no bytes", "f4", (1 << 47,) * 2 + (0,)),
    ):
        dtype = Call(Name("numpy", "dtype"), code, False, True)
        array = Call(Name("numpy.core.numeric", "_frombuffer"), b"" if 0 in shape else b"abcd", dtype, shape, "C")
        yield Attack(f"an array of {name}", pickled({"synthesis.b4.const": array}), "of the type|larger than the file")
    for name, head in (
        ("many dimensions", f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(1,) * 100}, }}"),
        ("huge sides", f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(1 << 62, 1 << 62, 0)}, }}"),
        ("many digits", "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1" * 9000 + "x"),
        ("brackets alone", "[" * 9000),
        ("signs alone", "-" * 9000 + "1"),
    ):
        header = struct.pack("<H", len(head) + 1) + head.encode() + b"\n" + bytes(64)
        yield Attack(f"a .npy of {name}", b"\x93NUMPY\x01\x00" + header, "an array")
    plain = zipped({"archive/data.pkl": program(pickle.NONE, protocol=2)})
    end = plain.rindex(b"PK\x05\x06")
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 1 << 30, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    huge = plain[:end] + record + locator + plain[end:]
    yield Attack("a zip whose ZIP64 record says otherwise", huge, "list of members of 1073741824 bytes")


def zipped(members: dict[str, bytes], *, compress: bool = False) -> bytes:
    """Return a zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _lying(archive: bytes) -> bytes:
    """Make the list of members say that the first one is larger than the file."""
    at = archive.index(b"PK\x01\x02")
    return archive[: at + 20] + struct.pack("<II", 1 << 30, 1 << 30) + archive[at + 28 :]


def every_attack(marker: str) -> list[Attack]:
    """Return all of them."""
    return [*programs(marker), *bombs(), *tensors(), *archives(marker), *walks()]
