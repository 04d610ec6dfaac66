"""The exit codes of the commands, in one place with what they mean."""

from weights.errors import Cancelled, InvalidInput, NoFace, PhotodragError, WeightsMissing

FAILED = PhotodragError.exit_code
USAGE = InvalidInput.exit_code
SOME_FAILED = 5
FELL_SHORT = 6
INTERRUPTED = Cancelled.exit_code
TERMINATED = 143  # 128 and the number of SIGTERM, as shells have it

MEANINGS = {
    0: "done",
    FAILED: "failure",
    USAGE: "usage",
    NoFace.exit_code: "no face",
    WeightsMissing.exit_code: "weights missing",
    SOME_FAILED: "some photos failed",
    FELL_SHORT: "the edit fell short (the picture is written all the same)",
    INTERRUPTED: "interrupted",
    TERMINATED: "terminated",
}
