"""The command `python -m weights.training`. It imports torch when it trains, not before.

LPIPS is a network with a file of weights, so it lies in weights/ beside the others, and the trainer uses it without a
look at what is built on top of it. The trainer itself takes any metric.
"""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from weights.errors import PhotodragError
from weights.memory import keep_freed_memory
from weights.training.settings import ExportSettings, TrainingSettings

AsTraining = Annotated[TrainingSettings, Parameter(name="*")]
AsExport = Annotated[ExportSettings, Parameter(name="*")]

app = App(
    name="python -m weights.training",
    help="Train a generator and its encoder on aligned pictures; docs/training.md says how.",
)


@app.command
def train(data: Path, run: Path, /, *, start: Path | None = None, settings: AsTraining = TrainingSettings()) -> None:
    """Train, or go on with a run that was stopped. Ctrl-C, or SIGTERM, stops after the step, and saves.

    Parameters
    ----------
    data
        A folder or a .zip of square .jpg and .png pictures, all cut alike.
    run
        The folder of the run: checkpoint.pt, metrics.jsonl, sheets. Where it has a checkpoint, the run goes on.
    start
        A checkpoint to begin from, of this trainer or of the first recipe; of a smaller size, it is grown.
    settings
        See above.
    """
    from weights.compute import resolve_device, resolve_dtype
    from weights.perceptual import Lpips
    from weights.store import Store
    from weights.training.run import train as go_on
    from weights.training.settings import check

    check(settings)
    device = resolve_device(settings.device)
    lpips = Lpips(settings.perceptual, store=Store(), device=device, dtype=resolve_dtype(settings.dtype, device))
    with _signals() as stop:
        go_on(data, run, settings, lpips, start=start, stop=stop, callback=_tell)


@app.command
def export(run: Path, output: Path, /, *, settings: AsExport = ExportSettings()) -> None:
    """Write what a run has learned as NAME.safetensors and NAME-encoder.safetensors, and print their paths.

    Parameters
    ----------
    run
        The folder of the run, or a checkpoint.
    output
        The folder that the files go to.
    settings
        See above.
    """
    from weights.training.export import export as write

    def tell(step: int, distance: float) -> None:
        if step % 250 == 0:
            _tell({"fit": step, "distance": round(distance, 6)})

    for path in write(run, output, settings, callback=tell):
        sys.stdout.write(f"{path}\n")


def _tell(line: dict[str, Any]) -> None:
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether to stop; a second signal ends the process as ever."""
    asked = False

    def note(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        restore()

    def restore() -> None:
        for kind, handler in before.items():
            signal.signal(kind, handler)

    before = {kind: signal.signal(kind, note) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        restore()


def main(arguments: list[str]) -> int:
    """Run one command and return the exit code."""
    keep_freed_memory()
    try:
        app(arguments, result_action="return_value", exit_on_error=False)
    except CycloptsError:  # which has been printed
        return 2
    except PhotodragError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
