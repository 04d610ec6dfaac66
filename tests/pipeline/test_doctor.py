import json
import shutil
import sys
from collections import namedtuple

import pytest

from pipeline import doctor
from pipeline.cli.app import run
from weights.store import Store


def by_name(found):
    return {finding.what: finding for finding in found}


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A cache in which nothing is."""
    monkeypatch.setenv("PHOTODRAG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_what_is_there(store, capsys):
    code = run(["doctor", "--json"])
    told = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert code == 0
    assert told["photodrag"]["found"] == "0.1.0"
    assert told["torch"]["level"] == "ok"
    assert told["device"]["found"].split()[0] in ("cpu", "cuda", "mps")
    assert any(known in told["processor"]["found"] for known in ("bfloat16", "float32 only"))
    assert "GB free" in told["cache"]["found"]


def test_weights_that_are_not_there_and_such_as_are_damaged(empty):
    found = by_name(doctor.examine(store=Store(offline=True)))
    weights = found["weights lpips-alex"]
    assert (weights.level, weights.found) == ("note", "not fetched yet")
    own = found["weights ffhq-1024-rosinality"]  # which nobody has put where it could be fetched
    assert (own.level, own.found) == ("note", "not here")
    assert own.mend.endswith("yourself, and give its path")
    assert not empty.exists()  # looking changes nothing
    path = Store(offline=True).path("lpips-alex")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    damaged = by_name(doctor.examine(store=Store(offline=True)))["weights lpips-alex"]
    assert damaged.level == "missing"
    assert damaged.mend == "photodrag weights remove lpips-alex"
    assert run(damaged.mend.split()[1:]) == 0
    assert not path.exists()


def test_what_is_missing_comes_with_the_command_that_mends_it(empty, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    usage = namedtuple("usage", "total used free")(1, 1, 1e9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert run(["doctor"]) == 1
    lines = {line[8:30].strip(): line for line in capsys.readouterr().out.splitlines()}
    assert lines["pillow-heif"].startswith("MISSING")
    assert lines["pillow-heif"].endswith("-m pip install pillow-heif")
    assert lines["jpegtran"].startswith("note")
    assert "libjpeg-turbo-progs" in lines["jpegtran"]
    assert "1.0 GB free" in lines["cache"]
    assert "PHOTODRAG_HOME" in lines["cache"]
