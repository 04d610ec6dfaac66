"""Composites against the truth: python -m benchmarks.composite --faces DIR.

Each pair of DIR/edits shows a face before and after an edit, both large. Shrunk to a generator's size, the two are
a perfect reconstruction and a perfect edit; put into the large `before`, they should give the large `after`. With
`--inversions` the generator's own reconstructions of both take their place.
"""

import argparse
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inversion import perceptual
from inversion.inversion import invert
from inversion.settings import InversionSettings, TuningSettings
from pipeline.align import Alignment, center_frame
from pipeline.composite import composite
from pipeline.photo import Photo
from pipeline.settings import CompositeSettings
from pipeline.tensors import Crop, to_array, to_tensor
from weights.compute import has_native_bfloat16
from weights.load import load_generator
from weights.perceptual import Lpips
from weights.store import Store

Picture = NDArray[np.float32]
CPU = torch.device("cpu")
LPIPS_SIZE = 512
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Pair:
    """The same face before and after an edit, (H, W, 3) uint8."""

    name: str
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]


def read_pairs(folder: Path) -> list[Pair]:
    """Read all pairs of a folder."""
    pairs = []
    for path in sorted(folder.glob("*_before.jpg")):
        after = path.with_name(path.name.replace("_before", "_after"))
        pictures = [np.ascontiguousarray(cv2.imread(str(p))[..., ::-1]) for p in (path, after)]
        pairs.append(Pair(path.stem.removesuffix("_before"), *pictures))
    return pairs


def shrunk(pair: Pair, size: int) -> tuple[Crop, Crop]:
    """Return what a perfect generator of that size would show."""
    before, after = (
        cv2.resize(p.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) for p in (pair.before, pair.after)
    )
    return before, after


class Inverted:
    """Reconstructions by the embedded generator; with tuning, each by a generator of its own."""

    def __init__(self, *, tune: bool) -> None:
        self.generator = load_generator("faces-128", device=CPU)
        self.dtype = torch.bfloat16 if has_native_bfloat16() else torch.float32
        self.lpips = Lpips("vgg", store=Store(), device=CPU, dtype=self.dtype)
        self.texture = Lpips("alex", store=Store(), device=CPU, dtype=self.dtype)
        self.tuning = TuningSettings(tune=tune)

    def __call__(self, pair: Pair, size: int) -> tuple[Crop, Crop]:
        """Return the generator's pictures of a pair."""
        before, after = (self._show(crop) for crop in shrunk(pair, size))
        return before, after

    def _show(self, crop: Crop) -> Crop:
        (found,) = invert(
            self.generator,
            to_tensor(crop, CPU),
            lpips=self.lpips,
            settings=InversionSettings(),
            tuning=self.tuning,
            texture=self.texture,
            dtype=self.dtype,
        )
        with torch.no_grad():
            return to_array(found.network(self.generator).synthesis(found.w, dtype=self.dtype))


def enlarged(picture: Crop, size: int) -> Picture:
    """Return a picture at another size, by cubic interpolation."""
    return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def paste(photo: Photo, frame: Alignment, before: Crop, after: Crop) -> Picture:
    """The generator's pixels in the photo's place."""
    return enlarged(after, photo.width)


def delta(photo: Photo, frame: Alignment, before: Crop, after: Crop) -> Picture:
    """The photo and the difference."""
    return photo.pixels + enlarged(after - before, photo.width)


def ours(settings: CompositeSettings, photo: Photo, frame: Alignment, before: Crop, after: Crop) -> Picture:
    """The project's composite."""
    return composite(photo, frame, before, after, settings).on(photo.pixels).astype(np.float32)


CASES = {
    "paste": paste,
    "delta": delta,
    "detail": partial(ours, CompositeSettings()),
    "detail, no grain": partial(ours, CompositeSettings(match_grain=False)),
}


class Judge:
    """Measures against the truth."""

    def __init__(self) -> None:
        # The metric's usual 256 px would not see what this is about.
        perceptual.MAX_SIZE = LPIPS_SIZE
        dtype = torch.bfloat16 if has_native_bfloat16() else torch.float32
        self.lpips = Lpips("vgg", store=Store(), device=CPU, dtype=dtype)

    @torch.no_grad()
    def __call__(self, got: Picture, truth: NDArray[np.uint8], size: int) -> tuple[float, float, float]:
        """Return PSNR, LPIPS (vgg, at 512 px), and the ratio of high frequencies (root mean square, in the face).

        High frequencies are what a Gaussian of half a pixel of the crop takes away.
        """
        got, wanted = np.clip(got, 0, 255), truth.astype(np.float32)
        psnr = 10 * np.log10(255**2 / np.square(got - wanted).mean())
        small = [cv2.resize(p, (LPIPS_SIZE, LPIPS_SIZE), interpolation=cv2.INTER_AREA) for p in (got, wanted)]
        lpips = float(self.lpips(*(to_tensor(p, CPU) for p in small)))
        fine = [high_frequencies(p, len(truth) / size / 2) for p in (got, wanted)]
        return float(psnr), lpips, fine[0] / fine[1]


def high_frequencies(picture: Picture, sigma: float) -> float:
    """Return the root mean square of what a Gaussian takes from the face, an ellipse in the frame's middle."""
    grey = picture @ LUMA
    high = grey - cv2.GaussianBlur(grey, (0, 0), sigma)
    height, width = grey.shape
    face = cv2.ellipse(
        np.zeros((height, width), np.uint8), (width // 2, height * 35 // 64), (width * 19 // 64, height * 25 // 64),
        0, 0, 360, 1, -1,
    )  # fmt: skip
    return float(np.sqrt(np.square(high[face > 0]).mean()))


def main() -> None:
    """Run the benchmark and write its report and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=Path, required=True, help="folder with edits/NAME_{before,after}.jpg")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 128])
    parser.add_argument("--every", type=int, default=1, help="take one pair of so many")
    parser.add_argument("--inversions", action="store_true", help="real inversions, too, with and without tuning")
    parser.add_argument("--output", type=Path, default=Path("docs/results/composite.md"))
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each pair")
    arguments = parser.parse_args()
    pairs = read_pairs(arguments.faces / "edits")[:: arguments.every]
    sources = [(f"{size} px", size, shrunk) for size in arguments.sizes]
    if arguments.inversions:
        sources += [
            (f"128 px, {name}", 128, Inverted(tune=tune)) for name, tune in (("inverted", False), ("tuned", True))
        ]
    judge = Judge()
    lines = [
        "# Composite",
        "",
        f"Written by `python -m benchmarks.composite` on {len(pairs)} pairs of {len(pairs[0].before)} px. Means. "
        "`paste` enlarges the edited crop, `delta` adds its difference from the reconstruction, `detail` is the "
        "project's. PSNR over the whole picture; LPIPS is vgg's at 512 px; HF is the root mean square of what a "
        "Gaussian of half a pixel of the crop takes from the face, over the truth's.",
        "",
        "| crop | case | PSNR | LPIPS | HF | seconds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for source_name, size, source in sources:
        numbers: dict[str, list[tuple[float, ...]]] = {name: [] for name in CASES}
        for pair in pairs:
            photo = Photo(pixels=pair.before)
            frame = center_frame(photo.width, photo.height, size)
            before, after = source(pair, size)
            made = {}
            for name, case in CASES.items():
                start = time.perf_counter()
                made[name] = case(photo, frame, before, after)
                numbers[name].append((*judge(made[name], pair.after, size), time.perf_counter() - start))
            if arguments.pictures:
                shown = [pair.before, *(made[name] for name in ("paste", "delta", "detail")), pair.after]
                save(shown, arguments.pictures / f"{pair.name}-{source_name.replace(' px', '').replace(', ', '-')}.png")
        for name, rows in numbers.items():
            psnr, lpips, high, seconds = np.mean(rows, axis=0)
            lines.append(f"| {source_name} | {name} | {psnr:.2f} | {lpips:.4f} | {high:.3f} | {seconds:.2f} |")
            print(lines[-1], flush=True)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text("\n".join(lines) + "\n")


def middle(picture: NDArray) -> NDArray[np.uint8]:
    """Return the face's middle of a picture of 0 to 255."""
    height, width = picture.shape[:2]
    part = picture[height * 5 // 16 : height * 15 // 16, width * 7 // 32 : width * 25 // 32]
    return np.clip(np.asarray(part) + 0.5, 0, 255).astype(np.uint8)


def save(pictures: list[NDArray], path: Path) -> None:
    """Write the faces' middles side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.hstack([middle(p) for p in pictures])[..., ::-1])


if __name__ == "__main__":
    main()
