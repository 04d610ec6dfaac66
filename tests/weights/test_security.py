"""No file runs anything, and none takes more than it brings."""

import contextlib
import io
import pickle
import pickletools
import random
import subprocess
import sys
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import CPU, tiny_generator
from tests.weights import attacks, writers
from weights.errors import InvalidFile, PhotodragError
from weights.formats import native, stubs
from weights.formats import read as read_module
from weights.formats.pickles import read_arrays
from weights.formats.read import read_checkpoint, read_pivot
from weights.formats.stubs import ALLOWED
from weights.load import load_generator

RUNS = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "exec", "compile", "pickle.find_class", "os.fork"}

_seen: list[str] | None = None


def _hook(event, args):
    if _seen is not None and event in RUNS:
        _seen.append(event)


sys.addaudithook(_hook)


@pytest.fixture
def audited():
    """What was run while a test ran, by Python's own audit events; the standard unpickler's lookups count."""
    global _seen
    "".encode("cp437")  # zipfile's first use of it imports a module, which is an event, too
    _seen = []
    yield _seen
    _seen = None


MARKER = "ran-out-of-a-file"
ATTACKS = attacks.every_attack(MARKER)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attacks_are_refused_and_run_nothing(tmp_path, monkeypatch, audited, attack):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file.pkl"
    path.write_bytes(attack.content)
    for read in (read_checkpoint, read_pivot, read_arrays)[: 3 if len(attack.content) < 100_000 else 1]:
        with pytest.raises(InvalidFile) as caught:
            read(path)
        if read is read_checkpoint:
            caught.match(attack.message)
            assert len(str(caught.value)) < 500
    assert audited == []
    assert list(tmp_path.iterdir()) == [path]


def test_the_attacks_are_real(tmp_path):
    """The standard unpickler runs them: so their refusal means something."""
    code = "import pickle, sys\ntry:\n    pickle.loads(sys.stdin.buffer.read())\nexcept Exception:\n    pass"
    ran = []
    # One process for each would take long; these stand for the kinds of opcodes.
    chosen = [a for a in ATTACKS if a.control and a.name in ("os.system", "STACK_GLOBAL", "INST", "nested REDUCE")]
    for attack in chosen:
        subprocess.run([sys.executable, "-c", code], input=attack.content, cwd=tmp_path, check=True)
        ran.append((tmp_path / MARKER).exists())
        (tmp_path / MARKER).unlink(missing_ok=True)
    assert ran == [True] * 4


def test_the_list_of_what_is_allowed_holds_no_program():
    modules = {key.rpartition(".")[0] for key in ALLOWED}
    assert modules == {
        "torch_utils.persistence", "torch._utils", "torch.storage", "torch", "collections", "builtins", "_codecs",
        "numpy", "numpy.core.multiarray", "numpy.core.numeric", "dnnlib.util", "dnnlib.tflib.network", "argparse",
    }  # fmt: skip
    assert {key for key in ALLOWED if key.startswith("builtins.")} == {"builtins.set", "builtins.frozenset"}


def _layouts():
    network = tiny_generator(8, channels=2, z_dim=4, w_dim=4)
    return {
        "nvidia": lambda path: writers.nvidia(network, path),
        "nvidia, protocol 2": lambda path: writers.nvidia(network, path, protocol=2),
        "tensorflow": lambda path: writers.tensorflow(network, path),
        "rosinality": lambda path: writers.torch_save(writers.rosinality_train(network), path),
        "rosinality, legacy": lambda path: writers.torch_save(writers.rosinality_train(network), path, legacy=True),
        "pti": lambda path: writers.torch_save(writers.nvidia_module(network), path),
        "own": lambda path: (native.write(path, network.state_dict(), {"conv_clamp": "256", "frame": "ffhq"}), path)[1],
        "pivot": lambda path: writers.torch_save(torch.zeros(1, 4, 4), path),
    }


LAYOUTS = _layouts()


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    return {name: write(folder / "file").read_bytes() for name, write in LAYOUTS.items()}


def _boundaries(data: bytes) -> list[int]:
    """Return where something ends: an opcode, a member of an archive, a storage."""
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            ends = [i.header_offset for i in archive.infolist()]
            ends += [i.header_offset + 30 + len(i.filename) for i in archive.infolist()]
            return [*ends, archive.start_dir, len(data) - 22, len(data) - 1]
    at, ends = 0, []
    while at < len(data) and data[at : at + 1] == pickle.PROTO:
        start = at
        ends += [start + (place or 0) for _, _, place in pickletools.genops(data[start:])]
        at = ends[-1] + 1
    ends += list(range(at, len(data), 64))
    step = max(1, len(ends) // 60)
    return [*ends[::step], at, len(data) - 1]


@pytest.mark.parametrize("name", LAYOUTS)
def test_cut_at_every_boundary(tmp_path, samples, name):
    data = samples[name]
    read = read_pivot if name == "pivot" else read_checkpoint
    path = tmp_path / "file"
    for end in sorted({e + d for e in _boundaries(data) for d in (-1, 0, 1) if 0 <= e + d < len(data)}):
        path.write_bytes(data[:end])
        with pytest.raises(InvalidFile):
            read(path)


def _read(path):
    for read in (lambda: load_generator(path, device=CPU), lambda: read_pivot(path)):
        try:
            read()
        except PhotodragError as error:
            assert "\n" not in str(error)  # noqa: PT017


FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.mark.parametrize("name", LAYOUTS)
@FUZZ
@given(data=st.data())
def test_changed_bytes(tmp_path, samples, name, data):
    content = bytearray(samples[name])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(content) - 1))
        change = data.draw(st.sampled_from(["set", "insert", "delete", "copy"]))
        length = data.draw(st.integers(1, 16))
        if change == "set":
            content[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
        elif change == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=16))
        elif change == "delete":
            del content[at : at + length]
            content = content or bytearray(1)
        else:
            content[at:at] = content[max(0, at - length) : at]
    path = tmp_path / "file"
    path.write_bytes(content)
    _read(path)


OPCODES = [bytes([op.code.encode("latin-1")[0]]) for op in pickletools.opcodes if op.proto <= 5]
PIECES = st.one_of(
    st.sampled_from(OPCODES),
    st.sampled_from(sorted(ALLOWED)).map(lambda key: attacks.glob(*key.rsplit(".", 1))),
    st.integers(0, 255).map(lambda n: pickle.BININT1 + bytes([n])),
    st.integers(-(2**31), 2**31 - 1).map(lambda n: pickle.BININT + n.to_bytes(4, "little", signed=True)),
    st.sampled_from(["storage", "0", "cpu", "G_ema", "state", "_parameters", "_modules", "f4", "<"]).map(attacks.text),
    st.binary(max_size=12).map(lambda b: pickle.SHORT_BINBYTES + bytes([len(b)]) + b),
)


@settings(FUZZ, max_examples=400)
@given(pieces=st.lists(PIECES, max_size=40), container=st.sampled_from(["plain", "zip"]))
def test_random_programs(tmp_path, pieces, container):
    content = attacks.program(*pieces, protocol=4)
    path = tmp_path / "file"
    path.write_bytes(content if container == "plain" else attacks.zipped({"archive/data.pkl": content}))
    _read(path)


HEADS = [
    *(b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"\x93NUMPY\x01\x00", b"\x10" + bytes(7) + b"{"),
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
]


@settings(FUZZ, max_examples=200)
@given(head=st.sampled_from(HEADS), tail=st.binary(max_size=300))
def test_random_files(tmp_path, head, tail):
    path = tmp_path / "file"
    path.write_bytes(head + tail)
    _read(path)


CHANGES = 40  # a layout


def _places(value, depth=0):
    """Yield every container of a value out of a pickle with every key that it has."""
    if isinstance(value, stubs.Record):
        value = value.state
    if isinstance(value, dict) and depth < 12:
        for key in value:
            yield value, key
            yield from _places(value[key], depth + 1)
    elif isinstance(value, (list, tuple)) and depth < 12:
        for i, item in enumerate(value):
            if isinstance(value, list):
                yield value, i
            yield from _places(item, depth + 1)


def _strange():
    """Return values that stand nowhere in a checkpoint, or not there."""
    return [
        *(None, True, -1, 10**30, 0.0, float("nan"), "", "lrelu", "a\nb", (), (1, 2), [], ["x"], {}, {"a": {}}, {1: 2}),
        *(stubs.Global("torch.Size"), stubs.Record(stubs.NETWORK), stubs.Record(stubs.PERSISTENT, {"state": {}})),
        *(stubs.Raw(memoryview(b"abc")), stubs.Text(memoryview(b"abc")), stubs.Array(), stubs.Dtype("f4")),
        stubs.Array((2, 2), stubs.Dtype("i4"), False, stubs.Raw(memoryview(bytes(16)))),
        stubs.Array((0,), stubs.Dtype("f4"), False, stubs.Raw(memoryview(b""))),
        stubs.TensorStub(stubs.Blob(stubs.Raw(memoryview(b"\x80\x02N."))), 0, (4,), (1,)),
        stubs.TensorStub(stubs.Storage("FloatStorage", 4, lambda: memoryview(bytes(16))), 0, (4,), (1,)),
        stubs.TensorStub(stubs.Storage("FloatStorage", 0, lambda: memoryview(b"")), 0, (0, 3), (1, 1)),
    ]


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name not in ("pivot", "own", "nvidia, protocol 2")])
def test_changed_values(tmp_path, samples, monkeypatch, name):
    """Files that are well formed and hold something else than they should somewhere."""
    path = tmp_path / "file"
    path.write_bytes(samples[name])
    original, rng = read_module._value, random.Random(0)

    def changed(*args):
        value = original(*args)
        for _ in range(rng.randint(1, 3)):
            container, key = rng.choice(list(_places(value)))
            if rng.random() < 0.3 and isinstance(container, dict):
                del container[key]
            else:
                container[key] = rng.choice(_strange())
        return value

    monkeypatch.setattr(read_module, "_value", changed)
    for _ in range(CHANGES):
        with contextlib.suppress(PhotodragError):
            load_generator(path, device=CPU)


@pytest.mark.parametrize("name", ["nvidia", "rosinality", "rosinality, legacy"])
def test_only_the_average_is_read(tmp_path, monkeypatch, name):
    """The training's other networks and optimisers are never made into tensors."""
    from weights.formats.tensors import Materialiser

    made = []
    original = Materialiser._tensor
    monkeypatch.setattr(Materialiser, "_tensor", lambda self, stub: made.append(stub) or original(self, stub))
    path = LAYOUTS[name](tmp_path / "file")
    checkpoint = read_checkpoint(path)
    assert len(made) <= len(checkpoint.arrays) + 4  # two low-pass filters a block have no place here


def test_memory_is_bounded_by_the_file(tmp_path):
    """A process that may take little memory still refuses the large claims."""
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from weights.formats.read import read_checkpoint\n"
        "from weights.errors import InvalidFile\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        read_checkpoint(Path(name))\n"
        "    except InvalidFile:\n"
        "        print('refused')\n"
    )
    paths = []
    for i, attack in enumerate([*attacks.bombs(), *attacks.tensors()]):
        paths.append(tmp_path / f"{i}.pkl")
        paths[-1].write_bytes(attack.content)
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True)
    assert done.stdout.count("refused") == len(paths)
