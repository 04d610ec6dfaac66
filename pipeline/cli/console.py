"""What commands say: results on stdout, everything else on stderr."""

import io
import json
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from weights.store import Store

stderr = Console(stderr=True, highlight=False)

PACKAGES = ("pipeline", "inversion", "drag", "weights")


class _Voice:
    """How the commands of this process speak; `speak` sets it, once, before a command runs."""

    quiet = False
    log_json = False


def speak(*, quiet: bool = False, verbose: bool = False, log_json: bool = False) -> None:
    """Choose what goes to stderr.

    Args:
        quiet: errors only; no notices, no bars.
        verbose: all that the packages log as well, not their warnings only.
        log_json: one JSON object a line instead of text and bars.
    """
    _Voice.quiet, _Voice.log_json = quiet, log_json
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers = [handler for handler in logger.handlers if not isinstance(handler, _Log | _Warnings)]
        logger.addHandler(_Log() if verbose else _Warnings(logging.WARNING))
        logger.setLevel(logging.DEBUG if verbose else logging.NOTSET)


class _Warnings(logging.Handler):
    """Passes on the packages' warnings, as notices."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # of a full disk, where the log may go to
            notice(record.getMessage(), level="warning")


class _Log(logging.Handler):
    """Passes on all that the packages log."""

    def emit(self, record: logging.LogRecord) -> None:
        if _Voice.log_json:
            _line(record.levelname.lower(), record.getMessage(), logger=record.name)
        else:
            stderr.print(f"[dim]{escape(record.name)}: {escape(record.getMessage())}[/]", soft_wrap=True)


def _line(level: str, message: str, **more: Any) -> None:
    """Write one line of the log as JSON."""
    told = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "message": message}
    sys.stderr.write(json.dumps(told | more, ensure_ascii=False) + "\n")
    sys.stderr.flush()


def error(message: str) -> None:
    """Say in one sentence what went wrong."""
    if _Voice.log_json:
        _line("error", message)
    else:
        stderr.print(f"[bold red]photodrag:[/] {escape(message)}", soft_wrap=True)


def error_of(file: Path | str, message: str) -> None:
    """Say what went wrong with one file of several; a message that names it already is said as it is."""
    error(message if str(file) in message else f"{file}: {message}")


def notice(message: str, *, level: str = "info") -> None:
    """Say something that is no error and no result; `level` is what --log-json calls it."""
    if _Voice.quiet:
        return
    if _Voice.log_json:
        _line(level, message)
    else:
        stderr.print(escape(message), soft_wrap=True)


def result(text: str) -> None:
    """Print a result; a file's name that is no UTF-8 goes out as the bytes that it is."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
    sys.stdout.write(text + "\n")


def result_json(value: Any) -> None:
    """Print a result as JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    result(text.encode("utf-8", "backslashreplace").decode())  # bytes that are no UTF-8 as JSON escapes them


def result_bytes(data: bytes) -> None:
    """Write a file's bytes to stdout."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@contextmanager
def interruptions() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether Ctrl-C was pressed; a second one interrupts as ever."""
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


class Bars(Protocol):
    """Progress bars: of a pipeline's stages, and of what is fetched."""

    def stage(self, name: str, done: int, total: int, words: str) -> None:
        """Show that a stage made `done` of `total` steps."""
        ...

    def fetch(self, name: str, done: int, total: int | None) -> None:
        """Show that so many bytes have come."""
        ...


def store(bars: Bars, *, offline: bool, accept_license: bool = False) -> "Store":
    """Return the store of weights; it asks for a licence where somebody is there to answer."""
    from weights.store import Store

    def accept(question: str) -> bool:
        return accept_license or ask(question)

    return Store(offline=offline, progress=bars.fetch, notice=notice, accept=accept)


def ask(question: str) -> bool:
    """Ask on the terminal for a yes; without a terminal the answer is no."""
    if not (sys.stdin.isatty() and stderr.is_terminal):
        return False
    stderr.print(escape(f"{question} [y/N] "), end="", soft_wrap=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


class _LoggedBars:
    """Progress as lines of JSON: a stage's first and last step, and one line a second between."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}

    def stage(self, name: str, done: int, total: int, words: str) -> None:
        now = time.monotonic()
        if done in (0, 1, total) or now - self.last.get(name, 0.0) >= 1:
            self.last[name] = now
            _line("progress", words, stage=name, done=done, total=total)

    def fetch(self, name: str, done: int, total: int | None) -> None:
        self.stage("fetch", done, total or 0, name)


@contextmanager
def bars(*, estimate: bool = False) -> Iterator[Bars]:
    """Show progress bars on stderr where that is a terminal; `estimate` shows the time left."""
    if _Voice.log_json and not _Voice.quiet:
        yield _LoggedBars()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = [
        TextColumn("{task.description:>12}"),
        BarColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
    ]
    if estimate:
        columns += [TextColumn("left"), TimeRemainingColumn()]
    shown = stderr.is_terminal and not _Voice.quiet
    with Progress(*columns, console=stderr, disable=not shown, transient=True) as progress:
        tasks: dict[str, Any] = {}

        class Shown:
            def stage(self, name: str, done: int, total: int, words: str) -> None:
                if name not in tasks:
                    tasks[name] = progress.add_task(name, words=words)
                progress.update(tasks[name], completed=done, total=total, words=words)

            def fetch(self, name: str, done: int, total: int | None) -> None:
                words = f"{name}, {done / 1e6:.0f} MB" + (f" of {total / 1e6:.0f}" if total else "")
                self.stage("fetch", done, total or done + 1, words)

        yield Shown()
