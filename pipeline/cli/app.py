"""The command `photodrag`: its commands, and what becomes of their errors."""

import os
import signal
import sys
from importlib.metadata import version
from types import FrameType
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter

from pipeline.cli import codes, console
from pipeline.cli.batch import batch
from pipeline.cli.demo import demo
from pipeline.cli.doctor import doctor
from pipeline.cli.edit import edit
from pipeline.cli.invert import cache, invert
from pipeline.cli.landmarks import landmarks
from pipeline.cli.options import Flag, fill_in
from pipeline.cli.presets import presets
from pipeline.cli.retarget import retarget
from pipeline.cli.weights import weights
from weights.errors import PhotodragError
from weights.memory import keep_freed_memory

COMMANDS = (
    edit,
    retarget,
    presets,
    batch,
    invert,
    landmarks,
    cache,
    weights,
    demo,
    doctor,
)

app = App(
    name="photodrag",
    help="Drag points on your own photos: the face is inverted into StyleGAN2, dragged, and put back.",
    help_epilogue=f"Exit codes: {', '.join(f'{code} {meaning}' for code, meaning in codes.MEANINGS.items())}.",
    version=lambda: version("photodrag"),
    suppress_keyboard_interrupt=False,
    config=(fill_in,),
)
for command in COMMANDS:
    app.command(command)
app.register_install_completion_command(help="Install completion for bash, zsh or fish.")
app.meta.suppress_keyboard_interrupt = False
app.meta.group_parameters = Group("What is said on stderr", sort_key=9)


@app.meta.default
def session(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    quiet: Flag = False,
    verbose: Flag = False,
    log_json: Flag = False,
) -> object:
    """Drag points on your own photos.

    Parameters
    ----------
    quiet
        Say nothing but errors: no notices, no bars.
    verbose
        Say more: which source of weights is tried, what was found in the cache, ...
    log_json
        Say it as JSON, one object a line: time, level, message; and stage, done, total of progress.
    """
    console.speak(quiet=quiet, verbose=verbose, log_json=log_json)
    try:
        return app(tokens, result_action="return_value", exit_on_error=False, print_error=not log_json)
    except CycloptsError as error:
        if log_json:
            console.error(str(error))
        raise


def run(arguments: list[str]) -> int:
    """Run one command and return the exit code."""
    try:
        code = app.meta(arguments, result_action="return_value", exit_on_error=False, print_error=True)
        sys.stdout.flush()
    except CycloptsError:  # which has been printed
        return codes.USAGE
    except PhotodragError as error:
        console.error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        console.error("Interrupted; no half file was left.")
        return codes.INTERRUPTED
    except BrokenPipeError:
        return codes.FAILED
    except OSError as error:  # a full disk, a folder that may not be written
        where = f"{error.filename}: " if error.filename else ""
        console.error(f"{where}{error.strerror or error}. No half file was left.")
        return codes.FAILED
    return code if isinstance(code, int) else 0


def main() -> None:
    """The console script's entry."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(codes.TERMINATED)  # as an exception, so that temporary files are removed

    signal.signal(signal.SIGTERM, end)
    keep_freed_memory()
    try:
        code = run(sys.argv[1:])
    except SystemExit as ended:
        if ended.code == codes.TERMINATED:
            console.error("Terminated; no half file was left.")
        raise
    try:
        sys.stdout.flush()
    except OSError:  # which `run` has said; Python's own try at the end would make another exit code of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
