"""Composites against the truth: python -m benchmarks.composite --faces DIR [--sources ...] [--minutes 20].

Each pair of DIR/edits shows a face before and after an edit, both large. What a generator shows of the two is put
into the large `before`, and should give the large `after`. What is measured is kept, pair by pair, in the folder
--items, and the inversions beside it, so that the benchmark can be run in parts: the report holds all that is there
of the composite, the generator and the inversion's defaults as they are now (the files' names tell them).
"""

import argparse
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import drag.limits
import drag.shape
import pipeline.check
import pipeline.composite
import pipeline.flow
import pipeline.grain
from benchmarks.items import Items
from benchmarks.pairs import CPU, Inverted, Pair, read_pairs, sources
from pipeline.align import Alignment, center_frame, cut
from pipeline.check import both_landmarks, crop_landmarks
from pipeline.composite import LUMA, composite
from pipeline.faces import DlibDetector
from pipeline.flow import FaceMotion
from pipeline.photo import Photo
from pipeline.tensors import Crop, to_tensor
from weights.compute import resolve_dtype
from weights.perceptual import Lpips
from weights.store import Store

Picture = NDArray[np.float32]
Seen = FaceMotion | None
LPIPS_SIZE = 512
RESULTS = Path(__file__).parent.parent / "docs" / "results"


def enlarged(picture: Crop, size: int) -> Picture:
    """Return a picture at another size, by cubic interpolation."""
    return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def paste(photo: Photo, frame: Alignment, before: Crop, after: Crop, seen: Seen) -> Picture:
    """The generator's pixels in the photo's place."""
    return enlarged(after, photo.width)


def delta(photo: Photo, frame: Alignment, before: Crop, after: Crop, seen: Seen) -> Picture:
    """The photo and the difference."""
    return photo.pixels + enlarged(after - before, photo.width)


def ours(photo: Photo, frame: Alignment, before: Crop, after: Crop, seen: Seen) -> Picture:
    """The project's composite."""
    return composite(photo, frame, before, after, face=seen).on(photo.pixels).astype(np.float32)


def without_landmarks(photo: Photo, frame: Alignment, before: Crop, after: Crop, seen: Seen) -> Picture:
    """The project's composite where no face is found."""
    return ours(photo, frame, before, after, None)


@cache
def _detector() -> DlibDetector:
    return DlibDetector(Store())


def seen_in(crop: Crop, before: Crop, after: Crop) -> Seen:
    """Return the landmarks of a photo's crop and of the generator's two, where a face is found in all."""
    own, drawn = crop_landmarks(crop, _detector()), both_landmarks(before, after, _detector())
    return None if own is None or drawn is None else FaceMotion.of(*drawn, own)


CASES = {"paste": paste, "delta": delta, "detail": ours, "detail, no landmarks": without_landmarks}


class Judge:
    """Measures against the truth."""

    def __init__(self) -> None:
        self.lpips = Lpips("vgg", store=Store(), device=CPU, dtype=resolve_dtype("auto", CPU))

    @torch.no_grad()
    def __call__(self, got: Picture, truth: NDArray[np.uint8], size: int) -> tuple[float, float, float]:
        """Return PSNR, LPIPS (vgg, at 512 px), and the ratio of high frequencies (root mean square, in the face).

        High frequencies are what a Gaussian of half a pixel of the crop takes away.
        """
        got, wanted = np.clip(got, 0, 255), truth.astype(np.float32)
        psnr = 10 * np.log10(255**2 / np.square(got - wanted).mean())
        small = [cv2.resize(p, (LPIPS_SIZE, LPIPS_SIZE), interpolation=cv2.INTER_AREA) for p in (got, wanted)]
        # The metric's usual 256 px would not see what this is about.
        lpips = float(self.lpips(*(to_tensor(p, CPU) for p in small), size=LPIPS_SIZE))
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
    """Measure what is not measured yet, and write the report and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="folder with edits/NAME_{before,after}.jpg")
    parser.add_argument("--items", type=Path, default=Path("out/composite"), help="folder of what was measured")
    parser.add_argument("--sources", nargs="*", help="'256 px', '128 px', '128 px, tuned', ...; all where not given")
    parser.add_argument("--every", type=int, default=1, help="take one pair of so many")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop measuring after so long")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS / "composite.md")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each pair that is measured")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pairs = read_pairs(arguments.faces / "edits")[:: arguments.every]
    modules = (drag.limits, drag.shape, pipeline.check, pipeline.composite, pipeline.flow, pipeline.grain)
    inverted = Inverted(arguments.items / "inversions")
    made_by = "".join(Path(str(module.__file__)).read_text() for module in modules) + inverted.made_by
    items = Items(arguments.items, made_by, time.monotonic() + arguments.minutes * 60)
    items.folder.mkdir(parents=True, exist_ok=True)
    judge = Judge()
    known = sources(inverted)
    for name in arguments.sources or known:
        size, source = known[name]
        for pair in pairs:
            measure = partial(
                measured, pair, size, partial(source, pair), judge, _picture(arguments.pictures, name, pair)
            )
            items.measure(f"{_slug(name)}.{pair.name}", measure)
    report(items, list(known), len(pairs[0].before), arguments.output)


def measured(
    pair: Pair, size: int, source: Callable[[], tuple[Crop, Crop]], judge: Judge, picture: Path | None
) -> dict[str, list[float]]:
    """Make all composites of a pair; return PSNR, LPIPS, high frequencies and seconds of each."""
    photo = Photo(pixels=pair.before)
    frame = center_frame(photo.width, photo.height, size)
    before, after = source()
    seen = seen_in(cut(photo.pixels, frame), before, after)
    numbers, made = {}, {}
    for name, case in CASES.items():
        start = time.perf_counter()
        made[name] = case(photo, frame, before, after, seen)
        seconds = time.perf_counter() - start
        numbers[name] = [*judge(made[name], pair.after, size), seconds]
    if picture:
        save([pair.before, *(made[name] for name in ("paste", "delta", "detail")), pair.after], picture)
    return numbers


def report(items: Items, names: list[str], size: int, output: Path) -> None:
    """Write the table of all that was measured."""
    lines = [
        "# Composite",
        "",
        f"Written by `python -m benchmarks.composite` on pairs of {size} px. Means over so many pairs. `paste` "
        "enlarges the edited crop, `delta` adds its difference from the reconstruction, `detail` is the project's. "
        f"PSNR over the whole picture; LPIPS is vgg's at {LPIPS_SIZE} px, with the lowest and the highest of a pair; "
        "HF is the root mean square of what a Gaussian of half a pixel of the crop takes from the face, over the "
        "truth's; seconds are the composite's alone.",
        "",
        "Crops of `256 px` and `128 px` are the truth, shrunk. `inverted` is an inversion of the picture before, and "
        "the same network's picture of the code moved on to the picture after; `tuned`, the same with the network "
        "tuned on the picture before: what an edit's composite gets. `apart` are two inversions, each picture's own "
        "(tuned: each with a network of its own), which differ in more than the edit.",
        "",
        "| crop | pairs | case | PSNR | LPIPS | of a pair | HF | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in names:
        found = items.read(_slug(name))
        for case in CASES if found else ():
            values = np.array([item[case] for item in found])
            psnr, lpips, high, seconds = values.mean(axis=0)
            low, most = values[:, 1].min(), values[:, 1].max()
            lines.append(
                f"| {name} | {len(found)} | {case} | {psnr:.2f} | {lpips:.4f} | {low:.3f} to {most:.3f} | {high:.3f} | "
                f"{seconds:.2f} |"
            )
    print("\n".join(lines), flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n".join(lines) + "\n")


def _slug(name: str) -> str:
    return name.replace(" px", "").replace(", ", "-").replace(" ", "-")


def _picture(folder: Path | None, source: str, pair: Pair) -> Path | None:
    return folder and folder / f"{pair.name}-{_slug(source)}.png"


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
