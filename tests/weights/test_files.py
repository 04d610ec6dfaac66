import hashlib

import pytest

from weights.files import remove_leftovers, replacing, sha256


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new folder" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("tw")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()
    assert path.read_text() == "one"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("stem", ["a" * 251, "\N{CJK UNIFIED IDEOGRAPH-5199}" * 83, "\N{GRINNING FACE}" * 62])
def test_a_name_of_any_length_that_a_file_system_takes(tmp_path, stem):
    path = tmp_path / f"{stem}.png"
    with replacing(path) as temporary:
        temporary.write_text("one")
        assert temporary.suffix == ".png"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stem", ["me", "a" * 251])
def test_what_a_kill_leaves_is_removed_and_nothing_else(tmp_path, stem):
    path = tmp_path / f"{stem}.png"
    others = [tmp_path / name for name in (".me.png", ".me.0123456789ab.jpg", ".you.0123456789ab.png")]
    for other in others:
        other.write_text("another's")
    with replacing(path) as temporary:
        temporary.write_text("one")
        killed = temporary.rename(temporary.with_name(temporary.name[:-16] + "0123456789ab.png"))
        remove_leftovers(path)
        assert not killed.exists()
        temporary.write_text("two")
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_sha256(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 1000)
    assert sha256(path) == hashlib.sha256(b"abc" * 1000).hexdigest()
