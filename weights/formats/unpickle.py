"""An interpreter of pickle's opcodes that runs nothing (protocols 2 to 5; the opcodes are documented in pickletools).

What a file asks for is looked up in an allow-list and becomes plain data or a stub (weights/formats/stubs.py).
Long bytes and texts stay where they are in the file: a value holds a view of them. So a walk over a file of
hundreds of megabytes touches the pages with opcodes alone, and what is never asked for is never read.
"""

import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from weights.formats import stubs
from weights.formats.errors import FormatError
from weights.formats.stubs import Raw, Text, dict_key

LONG_TEXT = 4096  # bytes from which a text stays in the file


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a pickle may use. NVIDIA's own files need about 50 000 opcodes and 20 open containers.

    Attributes:
        opcodes: executed.
        stack: values waiting.
        marks: containers that are open at a time.
        memo: values remembered.
        copies: values in the containers that calls and states are given, and every 64 characters of their texts:
            a remembered one can be given, and copied, any number of times.
        integer: bytes of a whole number.
    """

    opcodes: int = 500_000
    stack: int = 100_000
    marks: int = 200
    memo: int = 200_000
    copies: int = 500_000
    integer: int = 16


class Interpreter:
    """Reads one pickle out of a buffer."""

    def __init__(
        self, data: memoryview, start: int = 0, *, persistent: Callable[[Any], Any] | None = None,
        limits: Limits = Limits(),
    ) -> None:  # fmt: skip
        """Read from `start`; `persistent` answers persistent ids."""
        self.data, self.at, self.limits, self.persistent = data, start, limits, persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0

    def run(self) -> Any:
        """Return the value; `at` is behind its last byte then.

        Raises:
            FormatError: it is damaged, too large, or asks for anything that is not allowed.
        """
        if bytes(self.data[self.at : self.at + 1]) != pickle.PROTO:
            raise FormatError("a pickle of protocol 2 to 5 should begin here, and does not")
        for _ in range(self.limits.opcodes):
            code = self.take(1)[0]
            if code == _STOP:
                value = self.pop()
                if self.stack or self.marks:
                    raise FormatError("its pickle ends with values left over")
                return value
            action = _ACTIONS.get(code)
            if action is None:
                raise FormatError(f"its pickle uses the opcode {_name(code)}, which no checkpoint needs")
            action(self)
            if len(self.stack) > self.limits.stack or len(self.marks) > self.limits.marks:
                raise FormatError("its pickle is nested too deeply")
        raise FormatError(f"its pickle has more than {self.limits.opcodes} opcodes")

    def take(self, count: int) -> memoryview:
        """Return the next bytes, in place."""
        if count > len(self.data) - self.at:
            raise FormatError("its pickle is cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, layout: str) -> Any:
        """Return the next number, packed as struct's `layout` says."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        """Return a short text up to a newline."""
        head = bytes(self.data[self.at : self.at + 1024])
        end = head.find(b"\n")
        if end < 0:
            raise FormatError("its pickle is cut short, or has a name without an end")
        self.at += end + 1
        return _decode(memoryview(head)[:end])

    def pop(self) -> Any:
        """Take a value off the stack, above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise FormatError("its pickle takes a value that is not there")
        return self.stack.pop()

    def top(self, kind: type | tuple[type, ...], what: str) -> Any:
        """Return the value on top of the stack, which is of this kind."""
        value = self.pop()
        self.stack.append(value)
        if type(value) is not kind and not (isinstance(kind, tuple) and type(value) in kind):
            raise FormatError(f"its pickle puts values into {type(value).__name__}, which is no {what}")
        return value

    def since_mark(self) -> list[Any]:
        """Take the values above the last mark."""
        if not self.marks:
            raise FormatError("its pickle closes a container that it never opened")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def remember(self, key: int) -> None:
        """Put the top of the stack into the memo."""
        value = self.pop()
        self.stack.append(value)
        if len(self.memo) >= self.limits.memo:
            raise FormatError(f"its pickle remembers more than {self.limits.memo} values")
        self.memo[key] = value

    def recall(self, key: int) -> None:
        """Push a value out of the memo."""
        if key not in self.memo:
            raise FormatError("its pickle recalls a value that it never had")
        self.stack.append(self.memo[key])

    def integer(self, count: int) -> None:
        """Push a whole number of `count` bytes."""
        if not 0 <= count <= self.limits.integer:
            raise FormatError(f"its pickle has a whole number of {count} bytes")
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))

    def text(self, count: int) -> None:
        """Push a text of `count` bytes."""
        view = self.take(count)
        self.stack.append(Text(view) if count > LONG_TEXT else _decode(view))

    def set_items(self, values: list[Any]) -> None:
        """Put keys and values by turns into the dict on top of the stack."""
        target = self.top(dict, "dict")
        if len(values) % 2:
            raise FormatError("its pickle has a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[dict_key(key)] = value

    def find_global(self, module: Any, name: Any) -> None:
        """Push an allowed global."""
        if type(module) is not str or type(name) is not str:
            raise FormatError("its pickle makes up the name of what it asks for")
        self.stack.append(stubs.find_global(module, name))

    def stack_global(self) -> None:
        """Push the global whose name lies on the stack."""
        name, module = self.pop(), self.pop()
        self.find_global(module, name)

    def reduce(self) -> None:
        """Push what a call of an allowed function stands for."""
        args, function = self.pop(), self.pop()
        self.charge(*(args if type(args) is tuple else ()))
        self.stack.append(stubs.reduce(function, args))

    def charge(self, *given: Any) -> None:
        """Count what may be copied of the values that a call or a state is given."""
        self.copied += sum(len(value) for value in given if type(value) in (list, tuple, dict))
        self.copied += sum(len(value) // 64 for value in given if type(value) is str)
        if self.copied > self.limits.copies:
            raise FormatError(f"its pickle copies more than {self.limits.copies} values")

    def new(self, *, keywords: bool) -> None:
        """Push an object of an allowed class."""
        if keywords:
            given = self.pop()
            if type(given) is not dict or given:
                raise FormatError("its pickle makes an object with keywords")
        args, cls = self.pop(), self.pop()
        self.stack.append(stubs.new(cls, args))

    def build(self) -> None:
        """Give the object on top of the stack its state."""
        state = self.pop()
        value = self.pop()
        self.charge(state)
        stubs.build(value, state)
        self.stack.append(value)

    def persistent_id(self) -> None:
        """Push what a persistent id stands for."""
        if self.persistent is None:
            raise FormatError("its pickle refers to storages that it does not have")
        self.stack.append(self.persistent(self.pop()))

    def frame(self) -> None:
        """Check a frame's length; a frame is a hint for readers of streams."""
        if self.number("<Q") > len(self.data) - self.at:
            raise FormatError("its pickle is cut short")

    def protocol(self) -> None:
        """Check the protocol."""
        number = self.number("<B")
        if not 2 <= number <= 5:
            raise FormatError(f"it is a pickle of protocol {number}, where 2 to 5 are known")

    def tuple_of(self, count: int) -> None:
        """Push a tuple of the last `count` values."""
        values = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def append(self, values: list[Any]) -> None:
        """Put values into the list on top of the stack."""
        self.top(list, "list").extend(values)

    def pop_mark(self) -> None:
        """Forget the values above the last mark."""
        self.since_mark()

    def pop_any(self) -> None:
        """Forget a value, or an empty mark."""
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    def read_global(self) -> None:
        """Push the global whose name follows."""
        module = self.line()
        self.find_global(module, self.line())


def _decode(view: memoryview) -> str:
    try:
        return str(view, "utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("its pickle has a text that is none") from error


def _name(code: int) -> str:
    names = [name for name, value in vars(pickle).items() if name.isupper() and value == bytes([code])]
    return names[0] if names else f"0x{code:02x}"


def _push(value: Any) -> Callable[[Interpreter], None]:
    return lambda i: i.stack.append(value)


def _bytes(layout: str) -> Callable[[Interpreter], None]:
    return lambda i: i.stack.append(Raw(i.take(i.number(layout))))


def _pair(i: Interpreter) -> None:
    value = i.pop()
    i.set_items([i.pop(), value])


def _one(i: Interpreter) -> None:
    i.append([i.pop()])


_STOP = pickle.STOP[0]

_ACTIONS: dict[int, Callable[[Interpreter], None]] = {
    code[0]: action
    for code, action in {
        pickle.PROTO: Interpreter.protocol,
        pickle.FRAME: Interpreter.frame,
        pickle.MARK: lambda i: i.marks.append(len(i.stack)),
        pickle.POP: Interpreter.pop_any,
        pickle.POP_MARK: Interpreter.pop_mark,
        pickle.NONE: _push(None),
        pickle.NEWTRUE: _push(True),
        pickle.NEWFALSE: _push(False),
        pickle.BININT: lambda i: i.stack.append(i.number("<i")),
        pickle.BININT1: lambda i: i.stack.append(i.number("<B")),
        pickle.BININT2: lambda i: i.stack.append(i.number("<H")),
        pickle.LONG1: lambda i: i.integer(i.number("<B")),
        pickle.LONG4: lambda i: i.integer(i.number("<i")),
        pickle.BINFLOAT: lambda i: i.stack.append(i.number(">d")),
        pickle.SHORT_BINUNICODE: lambda i: i.text(i.number("<B")),
        pickle.BINUNICODE: lambda i: i.text(i.number("<I")),
        pickle.BINUNICODE8: lambda i: i.text(i.number("<Q")),
        pickle.SHORT_BINBYTES: _bytes("<B"),
        pickle.BINBYTES: _bytes("<I"),
        pickle.BINBYTES8: _bytes("<Q"),
        pickle.BYTEARRAY8: _bytes("<Q"),
        pickle.EMPTY_TUPLE: _push(()),
        pickle.TUPLE1: lambda i: i.tuple_of(1),
        pickle.TUPLE2: lambda i: i.tuple_of(2),
        pickle.TUPLE3: lambda i: i.tuple_of(3),
        pickle.TUPLE: lambda i: i.stack.append(tuple(i.since_mark())),
        pickle.EMPTY_LIST: lambda i: i.stack.append([]),
        pickle.EMPTY_SET: lambda i: i.stack.append([]),
        pickle.FROZENSET: lambda i: i.stack.append(i.since_mark()),
        pickle.APPEND: _one,
        pickle.APPENDS: lambda i: i.append(i.since_mark()),
        pickle.ADDITEMS: lambda i: i.append(i.since_mark()),
        pickle.EMPTY_DICT: lambda i: i.stack.append({}),
        pickle.SETITEM: _pair,
        pickle.SETITEMS: lambda i: i.set_items(i.since_mark()),
        pickle.BINPUT: lambda i: i.remember(i.number("<B")),
        pickle.LONG_BINPUT: lambda i: i.remember(i.number("<I")),
        pickle.MEMOIZE: lambda i: i.remember(len(i.memo)),
        pickle.BINGET: lambda i: i.recall(i.number("<B")),
        pickle.LONG_BINGET: lambda i: i.recall(i.number("<I")),
        pickle.GLOBAL: Interpreter.read_global,
        pickle.STACK_GLOBAL: Interpreter.stack_global,
        pickle.REDUCE: Interpreter.reduce,
        pickle.NEWOBJ: lambda i: i.new(keywords=False),
        pickle.NEWOBJ_EX: lambda i: i.new(keywords=True),
        pickle.BUILD: Interpreter.build,
        pickle.BINPERSID: Interpreter.persistent_id,
    }.items()
}


def load(data: memoryview, start: int = 0, *, persistent: Callable[[Any], Any] | None = None) -> tuple[Any, int]:
    """Read one pickle from `start` on; return its value and where it ends.

    Raises:
        FormatError: see `Interpreter.run`.
    """
    interpreter = Interpreter(data, start, persistent=persistent)
    return interpreter.run(), interpreter.at
