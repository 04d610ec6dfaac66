"""Quality of the drag on the embedded generator, per tracker.

    python -m benchmarks.drag_quality [--pairs 50] [--trackers nearest patch none] [--threads 2]

Landmark manipulation (DragGAN, table 1), paired reconstruction (table 2), there and back (FreeDrag's CCSD).
Landmarks are dlib's on pictures enlarged to 512 px; distances are pixels at that scale. Writes
docs/results/drag-quality.md and .png.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.faces import SCALE, Observer, enlarge
from drag.editor import DragResult, drag
from drag.points import check_points
from drag.settings import DragSettings
from inversion.perceptual import Lpips
from pipeline.tensors import to_array
from weights.load import LoadedGenerator, load_generator
from weights.store import Store

RESULTS = Path(__file__).parent.parent / "docs" / "results"
EYES = (list(range(36, 42)), list(range(42, 48)))
POINTS = {1: ([30],), 5: (*EYES, [30], [48], [54]), 68: tuple([i] for i in range(68))}
PAPER = {1: (12.93, 2.44), 5: (11.66, 3.18), 68: (16.02, 4.73)}  # no edit, DragGAN, on FFHQ


@dataclass
class Samples:
    """What one experiment found, a number a pair."""

    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    lost_faces: int = 0


class Bench:
    """The generator, the observer, and drags between pictures of the generator."""

    def __init__(self, generator: LoadedGenerator, store: Store) -> None:
        """Load what measures."""
        self.generator, self.observer = generator, Observer(store)
        self.lpips = Lpips("alex", store=store, device=torch.device("cpu"))
        self.ratio = generator.size / SCALE

    @torch.no_grad()
    def render(self, w: Tensor) -> NDArray[np.float32]:
        """Return the picture of a code, from 0 to 255."""
        return to_array(self.generator.network.synthesis(w))

    def drag(self, w: Tensor, handles: NDArray, targets: NDArray, tracker: str, **settings: object) -> DragResult:
        """Drag points given at 512 px; those that are there already stay out."""
        h, t = ((points + 0.5) * self.ratio - 0.5 for points in (handles, targets))
        keep = np.hypot(*(h - t).T) > 1e-3
        points = check_points(h[keep], t[keep], size=self.generator.size)
        return drag(
            self.generator.network,
            w,
            points,
            spread=self.generator.spread,
            settings=DragSettings(tracker=tracker, **settings),
        )

    def pairs(self, n: int, seed: int) -> list[tuple[Tensor, NDArray, NDArray]]:
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

    def landmark_manipulation(self, pairs: list, n_points: int, tracker: str) -> Samples:
        """Drag the landmarks of one face to those of another; MD by dlib."""
        out = Samples()
        for w, source, target in pairs:
            handles, targets = (
                np.array([face[group].mean(axis=0) for group in POINTS[n_points]]) for face in (source, target)
            )
            result = self.drag(w, handles, targets, tracker)
            landmarks = self.observer.landmarks(self.render(result.w))
            if landmarks is None:
                out.lost_faces += 1
                continue
            reached = np.array([landmarks[group].mean(axis=0) for group in POINTS[n_points]])
            out.before.append(float(np.hypot(*(handles - targets).T).mean()))
            out.after.append(float(np.hypot(*(reached - targets).T).mean()))
            out.steps.append(result.steps)
            out.reasons.append(result.reason)
        return out

    def paired_reconstruction(self, n: int, tracker: str, seed: int) -> tuple[list, list, list, list]:
        """Drag 32 random pixels along the flow between w1 and w2 = w1 + noise; MSE and LPIPS to the second."""
        random, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
        network, spread = self.generator.network, self.generator.spread
        mse, lpips, mse_none, lpips_none = [], [], [], []
        for _ in range(n):
            z = torch.randn(1, network.config.z_dim, generator=random)
            w1 = network.mapping(z, truncation_psi=0.7)
            w2 = w1 + 0.5 * spread * torch.randn(w1[:, :1].shape, generator=random)
            first, second = self.render(w1), self.render(w2)
            grey = [cv2.cvtColor(enlarge(p), cv2.COLOR_RGB2GRAY) for p in (first, second)]
            flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)
            handles = rng.uniform(0.15, 0.85, (32, 2)) * SCALE
            columns, rows = handles.astype(int).T
            targets = np.clip(handles + flow[rows, columns], 1, SCALE - 2)
            result = self.drag(w1, handles, targets, tracker, steps=100)
            reached = self.render(result.w)
            for picture, errors, distances in ((reached, mse, lpips), (first, mse_none, lpips_none)):
                errors.append(float(np.square((picture - second) / 255).mean()))
                distances.append(self._lpips(picture, second))
        return mse, lpips, mse_none, lpips_none

    def there_and_back(self, pairs: list, tracker: str) -> list[float]:
        """Drag the five points there, then back; LPIPS to the start."""
        found = []
        for w, source, target in pairs:
            handles, targets = (
                np.array([face[group].mean(axis=0) for group in POINTS[5]]) for face in (source, target)
            )
            there = self.drag(w, handles, targets, tracker)
            ended = (there.path[-1] + 0.5) / self.ratio - 0.5
            back = self.drag(there.w, ended, handles[: len(ended)], tracker)
            found.append(self._lpips(self.render(w), self.render(back.w)))
        return found

    @torch.no_grad()
    def _lpips(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
        a_, b_ = (torch.as_tensor(p).permute(2, 0, 1)[None] / 127.5 - 1 for p in (a, b))
        return float(self.lpips(a_, b_))

    def jitter(self, pairs: list) -> float:
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


def plot(found: dict[tuple[int, str], Samples], path: Path) -> None:
    """Draw MD after against before, a panel for each number of points."""
    import matplotlib.pyplot as plt

    numbers = sorted({n for n, _ in found})
    figure, panels = plt.subplots(1, len(numbers), figsize=(4 * len(numbers), 4), squeeze=False)
    for panel, n in zip(panels[0], numbers, strict=True):
        for (points, tracker), samples in found.items():
            if points == n:
                panel.scatter(samples.before, samples.after, s=10, label=tracker)
        limit = max(max(s.before, default=1) for (points, _), s in found.items() if points == n)
        panel.plot([0, limit], [0, limit], color="grey", linewidth=0.8)
        panel.set(title=f"{n} point{'s' if n > 1 else ''}", xlabel="before (px at 512)", ylabel="after")
        panel.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main() -> None:
    """Run all experiments and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--trackers", nargs="+", default=["nearest", "patch", "none"])
    parser.add_argument("--points", type=int, nargs="+", default=list(POINTS), choices=list(POINTS))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    store = Store()
    bench = Bench(load_generator(device=torch.device("cpu")), store)
    pairs = bench.pairs(arguments.pairs, seed=1)
    lines = [
        "# Quality of the drag",
        "",
        f"Written by `python -m benchmarks.drag_quality --pairs {arguments.pairs}`: embedded generator "
        f"{bench.generator.name}, float32. Distances in pixels at 512 px; dlib's own jitter (the picture shifted",
        f"by half a pixel) is {bench.jitter(pairs):.2f} px.",
        "",
        "| points | tracker | no edit | MD | of no edit | paper, FFHQ | steps | arrived | no face found |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    found = {}
    for n in arguments.points:
        for tracker in arguments.trackers:
            s = found[n, tracker] = bench.landmark_manipulation(pairs, n, tracker)
            before, after = np.mean(s.before), np.mean(s.after)
            lines.append(
                f"| {n} | {tracker} | {before:.2f} | {after:.2f} | {after / before:.0%} | "
                f"{PAPER[n][1] / PAPER[n][0]:.0%} | {np.median(s.steps):.0f} | "
                f"{s.reasons.count('arrived') / len(s.reasons):.0%} | {s.lost_faces} |"
            )
            print(lines[-1], flush=True)
    lines += [
        "",
        "![MD after against before](drag-quality.png)",
        "",
        "Paired reconstruction (32 random points, 100 steps at most; medians) and there and back (five points):",
        "",
        "| tracker | MSE | no edit | LPIPS(alex) | no edit | there and back, LPIPS(alex) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    few = max(1, arguments.pairs // 2)
    for tracker in arguments.trackers:
        mse, lpips, mse_none, lpips_none = map(np.median, bench.paired_reconstruction(few, tracker, seed=2))
        back = np.median(bench.there_and_back(pairs[:few], tracker))
        lines.append(f"| {tracker} | {mse:.4f} | {mse_none:.4f} | {lpips:.3f} | {lpips_none:.3f} | {back:.3f} |")
        print(lines[-1], flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "drag-quality.md").write_text("\n".join(lines) + "\n")
    plot(found, RESULTS / "drag-quality.png")


if __name__ == "__main__":
    main()
