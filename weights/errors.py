"""Every error that a user can cause.

    PhotodragError
    ├── InvalidInput          a point, a mask, a setting, a photo that cannot be used     exit 2
    ├── NoFace                no face in the photo, or not that many                     exit 3
    ├── WeightsMissing        weights that are not here and cannot be fetched            exit 4
    ├── InvalidFile           a file that is damaged, unsafe, or not what it should be   exit 1
    ├── Diverged              a training whose loss is no number any more                exit 1
    └── Cancelled             somebody said stop                                         exit 130

Each message is one sentence or two: what was wrong, what was got, and what to do.
"""

from typing import ClassVar


class PhotodragError(Exception):
    """The root; `exit_code` is what the command line returns for it."""

    exit_code: ClassVar[int] = 1


class InvalidInput(PhotodragError):
    """A point, a mask, a setting or a photo that cannot be used as asked."""

    exit_code = 2


class NoFace(PhotodragError):
    """No face was found in the photo, or fewer than the one asked for."""

    exit_code = 3


class WeightsMissing(PhotodragError):
    """Weights that are neither here nor to be had: offline, no connection, a licence that was not accepted."""

    exit_code = 4


class InvalidFile(PhotodragError):
    """A file that is damaged, unsafe to read, or not what its place asks for."""


class Diverged(PhotodragError):
    """A training that has left all sense: its loss is no number any more."""


class Cancelled(PhotodragError):
    """What was asked to stop did so."""

    exit_code = 130
