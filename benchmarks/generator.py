"""How good a generator and its encoder are.

    python -m benchmarks.generator --faces DIR --data FILE [--generator FILE] [--name ...] [--at 256] [--quick]
        [--measures encoder inversion samples frechet drag path] [--pairs 20, and other amounts] [--minutes 20]
        [--metrics RUN/metrics.jsonl ...]

On the held-out faces of DIR/aligned: LPIPS(vgg) and MSE (pictures in [0, 1]) of the encoder's reconstruction, and of
W+ after 200 steps. On samples of random z, not truncated: the share in which dlib finds a face, and the Fréchet
distance to the training pictures on EfficientNet-Lite0's features (benchmarks/efficientnet.py). The mean distance of
the drag of 5 landmarks (benchmarks/drag_quality.py). Perceptual path length in W (Karras et al. 2019, section 4.1).
Generators of several sizes are compared at `--at` pixels: the pictures of smaller ones are enlarged bicubically, the
faces and data are averaged down to it.

What is measured is kept item by item in --items, and a run can be made in parts. Summaries are kept per generator in
docs/results/generator.json, from which generator.md is written with a row each; sheets of samples and of
reconstructions, nothing chosen, lie beside it. Needs the package of benchmarks/efficientnet.py.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import drag_quality
from benchmarks.efficientnet import EfficientNetLite0, frechet_distance, moments
from benchmarks.faces import read_faces
from benchmarks.generator_report import RESULTS, Summary, median, pixels, update, write_report, write_sheet
from benchmarks.items import Items
from drag.settings import DragSettings
from inversion.project import project
from inversion.settings import InversionSettings
from pipeline.tensors import to_array, to_tensor
from weights.catalog import EMBEDDED
from weights.compute import resolve_dtype
from weights.load import LoadedGenerator, load_generator
from weights.perceptual import Lpips
from weights.store import Store
from weights.training.pictures import read_pictures

CPU = torch.device("cpu")
STEPS = InversionSettings(w_steps=20, steps=180, patience=0)
MEASURES = ("encoder", "inversion", "samples", "frechet", "drag", "path")
EPSILON = 1e-4  # of the path length
BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How much is measured."""

    every: int = 1  # face
    samples: int = 2000
    looked_at: int = 500  # samples in which a face is looked for
    pairs: int = 20
    paths: int = 480


QUICK = Amount(every=8, samples=256, looked_at=48, pairs=4, paths=64)


class Bench:
    """A generator, and what it is measured with, at `at` pixels."""

    def __init__(self, generator: LoadedGenerator, at: int, items: Items, amount: Amount) -> None:
        """Load the metrics."""
        self.generator, self.at, self.items, self.amount = generator, at, items, amount
        self.network = generator.network
        self.dtype, store = resolve_dtype("auto", CPU), Store()
        self.lpips = Lpips("vgg", store=store, device=CPU)
        self.loss = Lpips("vgg", store=store, device=CPU, dtype=self.dtype)
        self.drags = drag_quality.Bench(generator, store, self.dtype)

    @cached_property
    def features(self) -> EfficientNetLite0:
        """The network of the Fréchet distance."""
        return EfficientNetLite0()

    def shown(self, images: Tensor) -> Tensor:
        """Bring pictures (N, 3, H, W) to the size that all are compared at, and to what can be shown."""
        if images.shape[-1] < self.at:
            images = F.interpolate(images, size=(self.at, self.at), mode="bicubic")
        elif images.shape[-1] > self.at:
            images = F.interpolate(images, size=(self.at, self.at), mode="area")
        return images.clamp(-1, 1)

    @torch.no_grad()
    def compare(self, image: Tensor, face: Tensor) -> dict[str, float]:
        """Return LPIPS(vgg) and MSE of a picture to a face of the size that all are compared at."""
        a = self.shown(image)
        return {"lpips": float(self.lpips(a, face)), "mse": float(((a - face) / 2).square().mean())}

    @torch.no_grad()
    def encode(self, crop: Tensor) -> Tensor:
        """Return the encoder's reconstruction of a crop of the generator's size."""
        assert self.generator.encoder is not None
        w = self.generator.encoder(crop, dtype=self.dtype)
        return self.network.synthesis(w[:, None].repeat(1, self.network.config.num_ws, 1))

    def invert(self, crop: Tensor) -> Tensor:
        """Return what W+ shows of a crop after 200 steps."""
        found = project(
            self.network, crop, spread=self.generator.spread, lpips=self.loss, settings=STEPS,
            encoder=self.generator.encoder, dtype=self.dtype,
        )  # fmt: skip
        return found.images

    def faces(self, folder: Path) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield the held-out faces: name, crop of the generator's size, crop of the size of comparison."""
        names, crops = read_faces(folder / "aligned", self.generator.size, every=self.amount.every)
        _, large = read_faces(folder / "aligned", self.at, every=self.amount.every)
        for name, crop, face in zip(names, crops, large, strict=True):
            yield name, to_tensor(crop, CPU), to_tensor(face, CPU)

    def reconstructions(self, folder: Path, measures: list[str]) -> None:
        """Measure encoder and inversion, and keep the pictures of the latter beside the numbers."""
        for name, crop, face in self.faces(folder):
            if "encoder" in measures:
                self.items.measure(f"encoder.{name}", lambda: self.compare(self.encode(crop), face))  # noqa: B023
            if "inversion" in measures:
                self.items.measure(f"inversion.{name}", lambda: self._inversion(name, crop, face))  # noqa: B023

    def _inversion(self, name: str, crop: Tensor, face: Tensor) -> dict[str, float]:
        image = self.invert(crop)
        cv2.imwrite(str(self.picture(name)), pixels(self.shown(image)[0])[..., ::-1])
        return self.compare(image, face)

    def picture(self, name: str) -> Path:
        """Where the picture of an inversion is kept."""
        return self.items.path(f"inversion.{name}", suffix=".png")

    def codes(self, n: int) -> tuple[Tensor, ...]:
        """Return batches of n random z, always the same."""
        random = torch.Generator().manual_seed(0)
        return torch.randn(n, self.network.config.z_dim, generator=random).split(BATCH)

    @torch.no_grad()
    def sample(self, z: Tensor, *, psi: float = 1.0) -> Tensor:
        """Return the pictures (N, 3, size, size) of a batch of z."""
        return self.network.synthesis(self.network.mapping(z, truncation_psi=psi), dtype=self.dtype)

    def look(self, z: Tensor) -> dict[str, float]:
        """Return in how many of the pictures of a batch of z dlib finds a face."""
        found = [self.drags.observer.landmarks(to_array(image[None])) is not None for image in self.sample(z)]
        return {"faces": float(sum(found)), "of": float(len(found))}

    def data_moments(self, data: Path, odds: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the moments of the training pictures' features, mirrored ones too, each by how often it is drawn."""
        at = self.at
        kept = self.items.folder / f"data.{Items(self.items.folder, f'{data} {odds} {at}').digest()}.npz"
        if not kept.exists():
            pictures = read_pictures(data, at, odds=odds)
            rows = []
            for part in pictures.pixels.split(BATCH):
                x = F.interpolate(part.float() / 127.5 - 1, size=(at, at), mode="area")
                rows += [self.features.features(x), self.features.features(x.flip(3))]
            weights = torch.cat([w for part in pictures.odds.split(BATCH) for w in (part, part)])
            mean, covariance = moments(torch.cat(rows).double().numpy(), weights.numpy())
            np.savez(kept, mean=mean, covariance=covariance)
        with np.load(kept) as file:
            return file["mean"], file["covariance"]

    def frechet(self, data: Path, odds: list[str]) -> dict[str, float]:
        """Return the Fréchet distance of samples to the data."""
        rows = [self.features.features(self.shown(self.sample(z))) for z in self.codes(self.amount.samples)]
        found = moments(torch.cat(rows).double().numpy())
        return {"distance": frechet_distance(found, self.data_moments(data, odds))}

    @torch.no_grad()
    def path(self, seed: int) -> dict[str, list[float]]:
        """Return LPIPS per squared step along lines between two random w, for a batch of them."""
        random = torch.Generator().manual_seed(seed)
        z = torch.randn(2, BATCH, self.network.config.z_dim, generator=random)
        start, end = (self.network.mapping.one_row(part) for part in z)
        t = torch.rand(BATCH, 1, generator=random)
        pair = []
        for shift in (0.0, EPSILON):
            w = start.lerp(end, t + shift)
            pair.append(self.shown(self.network.synthesis(w[:, None].repeat(1, self.network.config.num_ws, 1))))
        return {"lengths": (self.lpips(*pair) / EPSILON**2).tolist()}

    def measure(self, arguments: argparse.Namespace) -> None:
        """Measure what is asked for and not there yet."""
        asked, n = arguments.measures, self.amount
        self.reconstructions(arguments.faces, asked)
        if "samples" in asked:
            for number, z in enumerate(self.codes(n.looked_at)):
                self.items.measure(f"samples.{number:03}", partial(self.look, z))
        if "frechet" in asked:
            what = (n.samples, arguments.data.name, arguments.odds)
            self.items.measure("frechet.0", partial(self.frechet, arguments.data, arguments.odds), of=what)
        if "path" in asked:
            for number in range(n.paths // BATCH):
                self.items.measure(f"path.{number:03}", partial(self.path, number))
        if "drag" in asked:
            self.drag()

    @cached_property
    def pairs(self) -> list[drag_quality.Pair]:
        """Random faces, and others whose landmarks theirs are dragged to."""
        return self.drags.pairs(self.amount.pairs, seed=1)

    def drag(self) -> None:
        """Drag the landmarks of random faces to others'; of a pair only the numbers are kept."""
        for number in range(self.amount.pairs):
            self.items.measure(f"drag.{number:03}", partial(self._dragged, number), of=asdict(DragSettings()))

    def _dragged(self, number: int) -> dict | None:
        return self.drags.landmark_manipulation(self.pairs[number], 5, DragSettings().tracker)

    def summary(self, arguments: argparse.Namespace) -> Summary:
        """Sum up all that was ever measured of the generator at this size."""
        read = self.items.read
        looks, lengths = read("samples"), [v for item in read("path") for v in item["lengths"]]
        low, high = np.percentile(lengths, [1, 99]) if lengths else (0.0, 0.0)
        drags = [d for d in read("drag", of=asdict(DragSettings())) if "lost" not in d]
        frechet = read("frechet", of=(self.amount.samples, arguments.data.name, arguments.odds))
        return Summary(
            size=self.generator.size,
            at=self.at,
            sha256=self.generator.sha256,
            faces=len(read("encoder")),
            encoder_lpips=median(read("encoder"), "lpips"),
            encoder_mse=median(read("encoder"), "mse"),
            inverted=len(read("inversion")),
            inversion_lpips=median(read("inversion"), "lpips"),
            inversion_mse=median(read("inversion"), "mse"),
            samples=self.amount.samples if frechet else 0,
            frechet=frechet[0]["distance"] if frechet else None,
            looked_at=int(sum(item["of"] for item in looks)),
            faces_found=sum(item["faces"] for item in looks) / sum(item["of"] for item in looks) if looks else None,
            pairs=len(drags),
            no_edit=float(np.mean([d["before"] for d in drags])) if drags else None,
            md=float(np.mean([d["after"] for d in drags])) if drags else None,
            paths=len(lengths),
            path_length=float(np.mean([v for v in lengths if low <= v <= high])) if lengths else None,
        )

    def sheets(self, folder: Path, stem: Path) -> None:
        """Write 40 samples (psi 0.7), and eight held-out faces with the encoder's and the inversion's pictures."""
        images = torch.cat([self.sample(z, psi=0.7) for z in self.codes(40)])
        write_sheet(stem.with_name(f"{stem.name}-samples.jpg"), [pixels(x) for x in self.shown(images)])
        rows: list[list[NDArray[np.uint8]]] = [[], [], []]
        for name, crop, face in list(self.faces(folder))[:8]:
            if self.picture(name).exists():
                rows[0].append(pixels(face[0]))
                rows[1].append(pixels(self.shown(self.encode(crop))[0]))
                rows[2].append(cv2.imread(str(self.picture(name)))[..., ::-1])
        if rows[0]:
            tiles = [tile for row in rows for tile in row]
            write_sheet(stem.with_name(f"{stem.name}-faces.jpg"), tiles, columns=len(rows[0]))


def main() -> None:
    """Measure one generator, and write the report of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, help="held-out faces; without them, the report is written anew")
    parser.add_argument("--data", type=Path, help="folder or .zip of the training pictures")
    parser.add_argument("--odds", nargs="*", default=[], help="FOLDER=FACTOR, as in training")
    parser.add_argument("--generator", default=EMBEDDED, help="a name or a file")
    parser.add_argument("--name", help="of its row; by default, the generator's")
    parser.add_argument("--at", type=int, default=256, help="px that pictures are compared at")
    parser.add_argument("--measures", nargs="+", default=list(MEASURES), choices=MEASURES)
    parser.add_argument("--quick", action="store_true", help=f"measure less: {QUICK}")
    for name, usual in asdict(Amount()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"by default {usual}, or what --quick says")
    parser.add_argument("--items", type=Path, default=Path("out/generator"), help="folder of what was measured")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing after so many")
    parser.add_argument("--metrics", type=Path, nargs="*", default=[], help="of runs, for the curves")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS / "generator.md")
    arguments = parser.parse_args()
    if arguments.faces:
        if "frechet" in arguments.measures and arguments.data is None:
            parser.error("frechet needs --data")
        arguments.data = arguments.data or Path("none")
        torch.set_num_threads(arguments.threads)
        generator = load_generator(arguments.generator, device=CPU)
        items = Items(
            arguments.items, f"{generator.sha256} {arguments.at} {STEPS}", time.monotonic() + arguments.minutes * 60
        )
        items.folder.mkdir(parents=True, exist_ok=True)
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        amount = QUICK if arguments.quick else Amount()
        given = {name: value for name in asdict(amount) if (value := getattr(arguments, name)) is not None}
        bench = Bench(generator, arguments.at, items, replace(amount, **given))
        bench.measure(arguments)
        name = arguments.name or generator.name
        update(arguments.output, name, bench.summary(arguments))
        bench.sheets(arguments.faces, arguments.output.with_name(f"{arguments.output.stem}-{name.replace(' ', '-')}"))
    write_report(arguments.output, arguments.metrics)


if __name__ == "__main__":
    main()
