"""Quality of the drag on the embedded generator, per tracker.

    python -m benchmarks.drag_quality [--pairs 50] [--few 25] [--trackers nearest steady none] [--items FOLDER]
        [--minutes 20] [--threads 2]

Landmark manipulation (DragGAN, table 1), paired reconstruction (table 2), there and back (FreeDrag's CCSD).
Landmarks are dlib's on pictures enlarged to 512 px; distances are pixels at that scale. What each drag gave is kept
as a JSON file of --items, which is not measured again: a run can be made in parts, or stopped; empty the folder after
a change of the code. docs/results/drag-quality.md and .png are written from all that is in it.
"""

import argparse
import itertools
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.faces import SCALE, Observer, enlarge
from benchmarks.items import Items
from drag.editor import DragResult, drag
from drag.points import check_points
from drag.settings import DragSettings, TrackerName
from pipeline.tensors import to_array
from weights.compute import resolve_dtype
from weights.load import LoadedGenerator, load_generator
from weights.perceptual import Lpips
from weights.store import Store

RESULTS = Path(__file__).parent.parent / "docs" / "results"
EYES = (list(range(36, 42)), list(range(42, 48)))
POINTS = {1: ([30],), 5: (*EYES, [30], [48], [54]), 68: tuple([i] for i in range(68))}
PAPER = {1: (12.93, 2.44), 5: (11.66, 3.18), 68: (16.02, 4.73)}  # no edit, DragGAN, on FFHQ


Pair = tuple[Tensor, NDArray[np.float64], NDArray[np.float64]]


class Bench:
    """The generator, the observer, and drags between pictures of the generator."""

    def __init__(self, generator: LoadedGenerator, store: Store, dtype: torch.dtype) -> None:
        """Load what measures; drags compute in `dtype`."""
        self.generator, self.observer, self.dtype = generator, Observer(store), dtype
        self.lpips = Lpips("alex", store=store, device=torch.device("cpu"))
        self.ratio = generator.size / SCALE

    @torch.no_grad()
    def render(self, w: Tensor) -> NDArray[np.float32]:
        """Return the picture of a code, from 0 to 255."""
        return to_array(self.generator.network.synthesis(w))

    def drag(
        self, w: Tensor, handles: NDArray, targets: NDArray, tracker: str, **settings: object
    ) -> tuple[DragResult, NDArray[np.bool_]]:
        """Drag points given at 512 px, and tell which (n,): those that are there already stay out."""
        h, t = ((points + 0.5) * self.ratio - 0.5 for points in (handles, targets))
        keep = np.hypot(*(h - t).T) > 1e-3
        points = check_points(h[keep], t[keep], size=self.generator.size)
        result = drag(
            self.generator.network,
            w,
            points,
            spread=self.generator.spread,
            settings=DragSettings(tracker=tracker, **settings),
            dtype=self.dtype,
        )
        return result, keep

    def pairs(self, n: int, seed: int) -> list[Pair]:
        """Return codes of random faces (psi 0.7), their landmarks and another's, both found by dlib."""
        random = torch.Generator().manual_seed(seed)
        found = []
        while len(found) < n:
            z = torch.randn(2, self.generator.network.config.z_dim, generator=random)
            ws = self.generator.network.mapping(z, truncation_psi=0.7)
            landmarks = [self.observer.landmarks(self.render(w[None])) for w in ws]
            if all(found_ is not None for found_ in landmarks):
                found.append((ws[:1], *landmarks))
        return found

    def landmark_manipulation(self, pair: Pair, n_points: int, tracker: str) -> dict | None:
        """Drag the landmarks of one face to those of another; mean distances by dlib, None without a face after."""
        w, source, target = pair
        handles, targets = (grouped(face, n_points) for face in (source, target))
        result, _ = self.drag(w, handles, targets, tracker)
        landmarks = self.observer.landmarks(self.render(result.w))
        if landmarks is None:
            return None
        return {
            "before": float(np.hypot(*(handles - targets).T).mean()),
            "after": float(np.hypot(*(grouped(landmarks, n_points) - targets).T).mean()),
            "steps": result.steps,
            "reason": result.reason,
        }

    def paired_reconstruction(self, number: int, tracker: str) -> dict:
        """Drag 32 random pixels along the flow between w1 and w2 = w1 + noise; MSE and LPIPS to the second."""
        random, rng = torch.Generator().manual_seed(1000 + number), np.random.default_rng(1000 + number)
        network, spread = self.generator.network, self.generator.spread
        z = torch.randn(1, network.config.z_dim, generator=random)
        w1 = network.mapping(z, truncation_psi=0.7)
        w2 = w1 + 0.5 * spread * torch.randn(w1[:, :1].shape, generator=random)
        first, second = self.render(w1), self.render(w2)
        grey = [cv2.cvtColor(enlarge(p), cv2.COLOR_RGB2GRAY) for p in (first, second)]
        flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)
        handles = rng.uniform(0.15, 0.85, (32, 2)) * SCALE
        columns, rows = handles.astype(int).T
        targets = np.clip(handles + flow[rows, columns], 1, SCALE - 2)
        dragged, _ = self.drag(w1, handles, targets, tracker, steps=100)
        reached = self.render(dragged.w)
        return {
            "mse": float(np.square((reached - second) / 255).mean()),
            "mse_none": float(np.square((first - second) / 255).mean()),
            "lpips": self._lpips(reached, second),
            "lpips_none": self._lpips(first, second),
        }

    def there_and_back(self, pair: Pair, tracker: str) -> dict:
        """Drag the five points there, then back; LPIPS to the start."""
        w, source, target = pair
        handles, targets = (grouped(face, 5) for face in (source, target))
        there, moved = self.drag(w, handles, targets, tracker)
        ended = (there.path[-1] + 0.5) / self.ratio - 0.5
        back, _ = self.drag(there.w, ended, handles[moved], tracker)
        return {"lpips": self._lpips(self.render(w), self.render(back.w))}

    @torch.no_grad()
    def _lpips(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
        a_, b_ = (torch.as_tensor(p).permute(2, 0, 1)[None] / 127.5 - 1 for p in (a, b))
        return float(self.lpips(a_, b_))

    def jitter(self, pairs: list[Pair]) -> float:
        """Return how far dlib's landmarks move when a picture is shifted by half a pixel of 512."""
        moved = []
        for w, source, _ in pairs:
            large = enlarge(self.render(w)).astype(np.float32)
            shifted = cv2.warpAffine(
                large, np.float32([[1, 0, 0.5], [0, 1, 0.5]]), (SCALE, SCALE), borderMode=cv2.BORDER_REPLICATE
            )
            landmarks = self.observer.landmarks(shifted)
            if landmarks is not None:
                moved.append(float(np.hypot(*(landmarks - 0.5 - source).T).mean()))
        return float(np.mean(moved))


def grouped(landmarks: NDArray[np.float64], n_points: int) -> NDArray[np.float64]:
    """Return the points (n, 2) of the experiment with so many, the means of groups of landmarks (68, 2)."""
    return np.array([landmarks[group].mean(axis=0) for group in POINTS[n_points]])


def report_landmarks(items: Items, trackers: list[str], path: Path) -> list[str]:
    """Tell of the landmark experiment, and draw MD after against before, a panel for each number of points."""
    import matplotlib.pyplot as plt

    lines = [
        "| points | tracker | pairs | no edit | MD | of no edit | paper, FFHQ | steps | arrived | no face found |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    figure, panels = plt.subplots(1, len(POINTS), figsize=(4 * len(POINTS), 4))
    for panel, n in zip(panels, POINTS, strict=True):
        limit = 1.0
        for tracker in trackers:
            everything = items.read(f"landmarks.{n}.{tracker}")
            found = [item for item in everything if "lost" not in item]
            if not found:
                continue
            before, after = (np.array([item[key] for item in found]) for key in ("before", "after"))
            arrived = np.mean([item["reason"] == "arrived" for item in found])
            lines.append(
                f"| {n} | {tracker} | {len(found)} | {before.mean():.2f} | {after.mean():.2f} "
                f"| {after.mean() / before.mean():.0%} | {PAPER[n][1] / PAPER[n][0]:.0%} "
                f"| {np.median([item['steps'] for item in found]):.0f} | {arrived:.0%} "
                f"| {len(everything) - len(found)} |"
            )
            panel.scatter(before, after, s=10, label=tracker)
            panel.legend(fontsize=8)
            limit = max(limit, before.max())
        panel.plot([0, limit], [0, limit], color="grey", linewidth=0.8)
        panel.set(title=f"{n} point{'s' if n > 1 else ''}", xlabel="before (px at 512)", ylabel="after")
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    return lines


def report_pictures(items: Items, trackers: list[str]) -> list[str]:
    """Tell of paired reconstruction, and of there and back."""
    lines = [
        "| tracker | pairs | MSE | no edit | LPIPS(alex) | no edit | there and back, LPIPS(alex) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for tracker in trackers:
        paired, back = items.read(f"paired.{tracker}"), items.read(f"back.{tracker}")
        if paired and back:
            n = {key: np.median([item[key] for item in paired]) for key in paired[0]}
            lines.append(
                f"| {tracker} | {len(paired)} | {n['mse']:.4f} | {n['mse_none']:.4f} | {n['lpips']:.3f} "
                f"| {n['lpips_none']:.3f} | {np.median([item['lpips'] for item in back]):.3f} |"
            )
    return lines


def main() -> None:
    """Run all experiments and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--few", type=int, default=25, help="pairs of the reconstruction, and of there and back")
    known = get_args(TrackerName)
    parser.add_argument("--trackers", nargs="+", default=list(known), choices=known)
    parser.add_argument("--points", type=int, nargs="*", default=list(POINTS), choices=list(POINTS))
    parser.add_argument("--items", type=Path, default=Path("out/drag-quality"), help="folder of what was measured")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no drag after so many")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS / "drag-quality.md")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device("cpu")
    bench = Bench(load_generator(device=device), Store(), resolve_dtype("auto", device))
    pairs = bench.pairs(arguments.pairs, seed=1)
    described = f"{asdict(DragSettings())} {bench.dtype} {bench.generator.sha256}"
    items = Items(arguments.items, described, time.monotonic() + arguments.minutes * 60)
    items.folder.mkdir(parents=True, exist_ok=True)
    for n, tracker in itertools.product(arguments.points, arguments.trackers):
        for number, pair in enumerate(pairs):
            measure = partial(bench.landmark_manipulation, pair, n, tracker)
            items.measure(f"landmarks.{n}.{tracker}.{number:03}", measure)
    for number, tracker in itertools.product(range(arguments.few), arguments.trackers):
        items.measure(f"paired.{tracker}.{number:03}", partial(bench.paired_reconstruction, number, tracker))
        if number < len(pairs):
            items.measure(f"back.{tracker}.{number:03}", partial(bench.there_and_back, pairs[number], tracker))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Quality of the drag",
        "",
        f"Written by `python -m benchmarks.drag_quality`: embedded generator {bench.generator.name}, "
        f"{str(bench.dtype).removeprefix('torch.')}. Distances in pixels at 512 px; dlib's own jitter (the picture",
        f"shifted by half a pixel) is {bench.jitter(pairs):.2f} px.",
        "",
        *report_landmarks(items, arguments.trackers, arguments.output.with_suffix(".png")),
        "",
        f"![MD after against before]({arguments.output.stem}.png)",
        "",
        "Paired reconstruction (32 random points, 100 steps at most; medians) and there and back (five points):",
        "",
        *report_pictures(items, arguments.trackers),
    ]
    arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
