"""exiftool, which says what is in a file's metadata, for the tests of several modules."""

import shutil
import subprocess

import pytest

needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="exiftool is not installed (Debian: libimage-exiftool-perl)"
)


def exiftool(*arguments: object) -> str:
    """Return what exiftool prints."""
    return subprocess.run(["exiftool", *map(str, arguments)], capture_output=True, text=True, check=True).stdout
