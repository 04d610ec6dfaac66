"""What commands say: results on stdout, everything else on stderr."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from weights.store import Store

stderr = Console(stderr=True, highlight=False)


def error(message: str) -> None:
    """Say in one sentence what went wrong."""
    stderr.print(f"[bold red]photodrag:[/] {escape(message)}", soft_wrap=True)


def notice(message: str) -> None:
    """Say something that is no error and no result."""
    stderr.print(escape(message), soft_wrap=True)


def result(text: str) -> None:
    """Print a result."""
    sys.stdout.write(text + "\n")


def result_json(value: Any) -> None:
    """Print a result as JSON."""
    result(json.dumps(value, indent=2, ensure_ascii=False))


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


@contextmanager
def bars() -> Iterator[Bars]:
    """Show progress bars on stderr where that is a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:>12}"),
        BarColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as progress:
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
