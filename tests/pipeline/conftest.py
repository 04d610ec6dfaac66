"""Fixtures of the commands' tests."""

import pytest

from pipeline.cli.app import run
from pipeline.photo import write_photo


@pytest.fixture
def photo(tmp_path, astronaut):
    """A photo's path."""
    path = tmp_path / "me.png"
    write_photo(astronaut, path)
    return path


@pytest.fixture
def cli(capsys):
    """Run a command; return its exit code, stdout, and stderr as one line."""

    def call(*arguments):
        code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, " ".join(err.split())

    return call
