"""Inversion of held-out faces: how closely it shows them, and how well it can be edited then.

    python -m benchmarks.inversion --faces DIR [--every 4] [--cases ...] [--threads 2] [--kept DIR]

DIR/aligned holds pictures in the FFHQ frame. Medians over the faces; images in [0, 1] for MSE; identity is the
Euclidean distance of dlib's 128-d embeddings. Editability: after each inversion the mouth corners are dragged 8 %
of the distance between the eyes outward and 6 % up; landmarks are detected again; reported are the share of the
way that they made, and the identity distance of the edited picture to the crop. Writes docs/results/inversion.md,
its curves inversion.png, and a sheet of reconstructions. What is measured is kept, face by face, in the folder
`--kept`, so that the benchmark can be run in parts: the table holds all that is there of this generator, with the
settings as they are now.
"""

import argparse
import json
import resource
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.faces import SCALE, Observer, read_faces
from benchmarks.items import Items
from drag.editor import drag
from drag.landmarks import face_axes
from drag.points import check_points
from drag.settings import DragSettings
from inversion.inversion import invert
from inversion.settings import InversionSettings, TuningSettings
from pipeline.tensors import to_array, to_tensor
from weights.catalog import EMBEDDED
from weights.compute import resolve_dtype
from weights.load import load_generator
from weights.perceptual import Lpips
from weights.store import Store

RESULTS = Path(__file__).parent.parent / "docs" / "results"

PLAIN = InversionSettings(patience=0, w_steps=20, steps=100)
UNTUNED = TuningSettings(tune=False)
DRAG = DragSettings(steps=100)
MEAN_START, ENCODER_START = "W+, mean w start", "W+, encoder start, a third of its steps"
CASES: dict[str, tuple[InversionSettings, TuningSettings, bool]] = {
    "encoder only": (replace(PLAIN, w_steps=0, steps=0), UNTUNED, True),
    "W": (replace(PLAIN, space="w", w_steps=120), UNTUNED, True),
    "W+, no prior": (replace(PLAIN, prior="none"), UNTUNED, True),
    "W+, pull to W": (PLAIN, UNTUNED, True),
    "W+, strong pull to W": (replace(PLAIN, pull=0.3), UNTUNED, True),
    "W+, P_N": (replace(PLAIN, prior="pn", pull=0.01), UNTUNED, True),
    MEAN_START: (replace(PLAIN, w_steps=10), UNTUNED, False),
    ENCODER_START: (replace(PLAIN, w_steps=10, steps=50), UNTUNED, True),
    "W, tuned": (replace(PLAIN, space="w", w_steps=60), TuningSettings(tune=True, steps=150), True),
    "W+, tuned by vgg alone": (PLAIN, TuningSettings(tune=True, steps=100, texture=0), True),
    "W+, tuned": (PLAIN, TuningSettings(tune=True, steps=100), True),
    "default": (InversionSettings(), TuningSettings(), True),
}


@dataclass
class Found:
    """Numbers of one case and one face; NaN where dlib finds no face."""

    alex: float = np.nan
    vgg: float = np.nan
    mse: float = np.nan
    ms_ssim: float = np.nan
    identity: float = np.nan
    reached: float = np.nan
    edited_identity: float = np.nan
    pivot_loss: float = np.nan
    seconds: float = np.nan
    peak: float = np.nan  # MB, of the process that measured it, until then
    steps: int = 0
    curve: list[float] = field(default_factory=list)


def ms_ssim(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the multi-scale structural similarity of two pictures from 0 to 255 (Wang et al. 2003, equation 7).

    Windows reach beyond the border, where the pictures are mirrored: of 128 px, the last scale has 8 left.
    """
    shares = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    values = []
    for _ in shares:
        mean_a, mean_b, square_a, square_b, product = (
            cv2.GaussianBlur(p, (11, 11), 1.5) for p in (a, b, a * a, b * b, a * b)
        )
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        variances = square_a - mean_a**2 + square_b - mean_b**2
        structure = (2 * (product - mean_a * mean_b) + c2) / (variances + c2)
        values.append(structure.mean())
        a, b = (cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for p in (a, b))
    values[-1] = (luminance * structure).mean()
    return float(np.prod(np.clip(values, 1e-6, None) ** shares))


class Bench:
    """What is measured with."""

    def __init__(self, generator: str) -> None:
        """Load the generator, the metrics and the observer."""
        self.device, self.store = torch.device("cpu"), Store()
        self.dtype = dtype = resolve_dtype("auto", self.device)
        self.generator = load_generator(generator, device=self.device)
        self.metrics = {name: Lpips(name, store=self.store, device=self.device) for name in ("alex", "vgg")}
        self.loss = Lpips("vgg", store=self.store, device=self.device, dtype=dtype)
        self.texture = Lpips("alex", store=self.store, device=self.device, dtype=dtype)
        self.observer = Observer(self.store)

    def run(self, crop: NDArray[np.float32], case: str, picture: Path) -> dict:
        """Invert one crop and measure; return the numbers of `Found`, and write the reconstruction."""
        settings, tuning, encoder = CASES[case]
        generator = self.generator if encoder else replace(self.generator, encoder=None)
        found = Found()
        start = time.perf_counter()
        (inversion,) = invert(
            generator, to_tensor(crop, self.device), lpips=self.loss, settings=settings, tuning=tuning,
            texture=self.texture, dtype=self.dtype, callback=lambda step: found.curve.append(step.loss),
        )  # fmt: skip
        found.seconds = time.perf_counter() - start
        found.steps, found.pivot_loss = sum(inversion.steps.values()), inversion.pivot_loss
        network = inversion.network(generator)
        with torch.no_grad():
            shown = to_array(network.synthesis(inversion.w))
        pair = [to_tensor(p, self.device) for p in (shown, crop)]
        with torch.no_grad():
            found.alex = float(self.metrics["alex"](*pair))
            found.vgg = float(self.metrics["vgg"](*pair))
        found.mse = float(np.square((shown - crop) / 255).mean())
        found.ms_ssim = ms_ssim(shown, crop)
        self._identity_and_edit(crop, shown, network, inversion.w, found)
        cv2.imwrite(str(picture), np.clip(shown + 0.5, 0, 255).astype(np.uint8)[..., ::-1])
        found.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return vars(found)

    def _identity_and_edit(self, crop, shown, network, w: Tensor, found: Found) -> None:
        true, before = self.observer.landmarks(crop), self.observer.landmarks(shown)
        if true is None or before is None:
            return
        who = self.observer.identity(crop, true)
        found.identity = float(np.linalg.norm(self.observer.identity(shown, before) - who))
        asked = np.array([[-0.08, -0.06], [0.08, -0.06]]) @ face_axes(before)
        ratio = self.generator.size / SCALE
        handles = before[[48, 54]]
        points = check_points(
            (handles + 0.5) * ratio - 0.5, (handles + asked + 0.5) * ratio - 0.5, size=self.generator.size
        )
        dragged = drag(network, w, points, spread=self.generator.spread, settings=DRAG, dtype=self.dtype)
        with torch.no_grad():
            edited = to_array(network.synthesis(dragged.w))
        after = self.observer.landmarks(edited)
        if after is None:
            return
        moved = after[[48, 54]] - handles
        found.reached = float(((moved * asked).sum(axis=1) / (asked**2).sum(axis=1)).mean())
        found.edited_identity = float(np.linalg.norm(self.observer.identity(edited, after) - who))


def path_of(items: Items, case: str, name: str, suffix: str = ".json") -> Path:
    """Return where the numbers of a case and a face are kept, or its picture."""
    return items.path(item_name(case, name), of=CASES[case], suffix=suffix)


def item_name(case: str, name: str) -> str:
    """Return what the item of a case and a face is called."""
    return f"{case.replace(' ', '_')}.{name}"


def report_start(items: Items, names: list[str]) -> list[str]:
    """Tell where a start by the encoder ends after a third of the steps of one by the mean w."""
    ends = []
    for name in names:
        paths = [path_of(items, case, name) for case in (MEAN_START, ENCODER_START)]
        if all(path.exists() for path in paths):
            ends.append([json.loads(path.read_text())["pivot_loss"] for path in paths])
    if not ends:
        return []
    mean, encoder = np.median(ends, axis=0)
    soon = sum(third <= whole for whole, third in ends)
    return [
        f"From the mean w the loss ends at {mean:.3f} in the median; from the encoder's code, in a third of the steps,",
        f"at {encoder:.3f}. It is no higher in {soon} of {len(ends)} faces.",
        "",
    ]


def report_pivots(found: dict[str, list[Found]]) -> list[str]:
    """Tell what the loss of a generator's `usual_loss` is."""
    if "default" not in found:
        return []
    usual = np.percentile([row.pivot_loss for row in found["default"]], 95)
    return [f"Before the tuning of the default, 19 of 20 faces have a loss below {usual:.3f}.", ""]


def plot(found: dict[str, list[Found]], path: Path) -> None:
    """Draw the loss over the steps of each case, median over faces."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for case, rows in found.items():
        length = min(len(row.curve) for row in rows)
        if length:
            axes.plot(np.median([row.curve[:length] for row in rows], axis=0), label=case)
    axes.set(xlabel="step", ylabel="LPIPS(vgg) + MSE", ylim=(0, 0.8))
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main() -> None:
    """Invert faces in all cases that are asked for, and write the table of all that were ever measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="take every n-th face only")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--generator", default=EMBEDDED)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kept", type=Path, default=Path("out/inversion"))
    parser.add_argument("--output", type=Path, default=RESULTS / "inversion.md")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    bench = Bench(arguments.generator)
    items = Items(arguments.kept, f"{bench.generator.sha256} {bench.dtype} {DRAG}")
    names, crops = read_faces(arguments.faces / "aligned", bench.generator.size)
    arguments.kept.mkdir(parents=True, exist_ok=True)
    for case in arguments.cases:
        for name, crop in list(zip(names, crops, strict=True))[:: arguments.every]:
            measure = partial(bench.run, crop, case, path_of(items, case, name, ".png"))
            items.measure(item_name(case, name), measure, of=CASES[case])
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    report(bench, items, names, crops, arguments.output)


def report(bench: Bench, items: Items, names: list[str], crops: NDArray[np.float32], output: Path) -> None:
    """Write the table, the curves and a sheet of faces."""
    found: dict[str, list[Found]] = {}
    sheet = [np.hstack(list(crops[::4][:8]))]
    lines = [
        "# Inversion",
        "",
        f"Written by `python -m benchmarks.inversion` on held-out faces; generator {bench.generator.name}, "
        f"{str(bench.dtype).removeprefix('torch.')}. Medians over so many faces.",
        "",
        "| case | faces | steps | LPIPS alex | LPIPS vgg | MSE | MS-SSIM | identity | s "
        "| mouth reached | identity after edit | no face |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for case in CASES:
        paths = [path_of(items, case, name) for name in names]
        rows = [Found(**json.loads(path.read_text())) for path in paths if path.exists()]
        if not rows:
            continue
        found[case] = rows
        pictures = [cv2.imread(str(p.with_suffix(".png"))) for p in paths[::4][:8] if p.exists()]
        sheet.append(np.hstack([p[..., ::-1].astype(np.float32) for p in pictures]))
        n = {key: float(np.nanmedian([getattr(row, key) for row in rows])) for key in vars(Found()) if key != "curve"}
        lines.append(
            f"| {case} | {len(rows)} | {n['steps']:.0f} | {n['alex']:.4f} | {n['vgg']:.4f} | {n['mse']:.5f} | "
            f"{n['ms_ssim']:.3f} | {n['identity']:.3f} | {n['seconds']:.1f} | {n['reached']:.0%} | "
            f"{n['edited_identity']:.3f} | {sum(np.isnan(row.reached) for row in rows)} |"
        )
    print("\n".join(lines[4:]), flush=True)
    peak = np.nanmax([row.peak for rows in found.values() for row in rows])
    same = "all rows are" if len({len(rows) for rows in found.values()}) == 1 else "not all rows are"
    lines += [
        "",
        *report_start(items, names),
        *report_pivots(found),
        f"Peak memory of a process: {peak:.0f} MB. Of the same faces {same}; cases may have been measured under other",
        "load: seconds of different rows cannot be compared, steps can. The sheet shows the crops and a row for each",
        "case, in order.",
        "",
        f"![loss]({output.stem}.png)",
        "",
        f"![faces]({output.stem}-faces.jpg)",
    ]
    output.write_text("\n".join(lines) + "\n")
    plot(found, output.with_suffix(".png"))
    width = max(row.shape[1] for row in sheet)
    rows_ = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in sheet]
    tiles = np.clip(np.vstack(rows_) + 0.5, 0, 255).astype(np.uint8)
    cv2.imwrite(str(output.with_name(f"{output.stem}-faces.jpg")), tiles[..., ::-1])


if __name__ == "__main__":
    main()
