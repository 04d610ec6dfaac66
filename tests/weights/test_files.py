import hashlib

import pytest

from weights.files import replacing, sha256


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


def test_sha256(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 1000)
    assert sha256(path) == hashlib.sha256(b"abc" * 1000).hexdigest()
