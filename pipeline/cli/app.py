"""The command `photodrag` and its exit codes.

0 done · 1 failure · 2 usage · 3 no face · 4 weights missing · 6 the handles did not arrive · 130 interrupted
"""

import sys
from importlib.metadata import version

from cyclopts import App, CycloptsError

from pipeline.cli import console
from pipeline.cli.demo import demo
from pipeline.cli.edit import edit
from pipeline.cli.invert import cache, invert
from pipeline.cli.landmarks import landmarks
from pipeline.cli.presets import presets
from pipeline.cli.retarget import retarget
from weights.errors import InvalidInput, PhotodragError

app = App(
    name="photodrag",
    help="Drag points on your own photos: the face is inverted into StyleGAN2, dragged, and put back.",
    help_epilogue=(
        "Exit codes: 0 done, 1 failure, 2 usage, 3 no face, 4 weights missing, "
        "6 the handles did not arrive (the picture is written all the same), 130 interrupted."
    ),
    version=lambda: version("photodrag"),
    suppress_keyboard_interrupt=False,
)
for command in (edit, retarget, presets, invert, landmarks, cache, demo):
    app.command(command)


def run(arguments: list[str]) -> int:
    """Run one command and return the exit code."""
    try:
        code = app(arguments, result_action="return_value", exit_on_error=False, print_error=True)
    except CycloptsError:  # which has been printed
        return InvalidInput.exit_code
    except PhotodragError as error:
        console.error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        console.error("Interrupted; nothing was written.")
        return 130
    except BrokenPipeError:
        return 1
    return code if isinstance(code, int) else 0


def main() -> None:
    """The console script's entry."""
    sys.exit(run(sys.argv[1:]))
