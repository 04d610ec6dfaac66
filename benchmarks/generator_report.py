"""What benchmarks.generator found, a row a generator, and the curves of training."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.tensors import to_array

RESULTS = Path(__file__).parent.parent / "docs" / "results"
CURVES = {"l1": "mean absolute error", "lpips": "LPIPS(vgg), windows of 64 px", "d": "discriminator's loss"}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One generator: how many were measured, and medians or means; None where nothing was."""

    size: int
    at: int
    sha256: str
    faces: int
    encoder_lpips: float | None
    encoder_mse: float | None
    inverted: int
    inversion_lpips: float | None
    inversion_mse: float | None
    samples: int
    frechet: float | None
    looked_at: int
    faces_found: float | None
    pairs: int
    no_edit: float | None
    md: float | None
    paths: int
    path_length: float | None


def update(report: Path, name: str, summary: Summary) -> None:
    """Put a generator's summary into the JSON beside the report, in the place of an older one."""
    path = report.with_suffix(".json")
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept[name] = {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(summary).items()}
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n")


def write_report(report: Path, metrics: list[Path]) -> None:
    """Write the table of all generators in the JSON, and the curves of runs whose metrics are given, by older ones."""
    path = report.with_suffix(".json")
    kept: dict[str, dict] = json.loads(path.read_text()) if path.exists() else {}
    lines = [
        "# Generators",
        "",
        "Written by `python -m benchmarks.generator`. Held-out faces: medians of LPIPS(vgg) and of MSE (pictures in",
        "[0, 1]) of the encoder's reconstruction, and of W+ after 200 steps. Fréchet distance on EfficientNet-Lite0's",
        "features (no FID: another scale; it falls with the number of samples). Faces: the share of samples (psi 1) in",
        "which dlib finds one. MD: mean distance in pixels at 512 px after dragging 5 landmarks of a sample (psi 0.7)",
        "to another's, and before. Path: perceptual path length in W. In brackets, how many were measured. Smaller",
        "pictures were enlarged bicubically to the size of comparison.",
        "",
        "| generator | px | at | encoder LPIPS | MSE | W+ LPIPS | MSE | Fréchet | faces | MD (before) | path |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in kept.items():
        cells = [
            *(name, row["size"], row["at"]),
            *(_cell(row, "encoder_lpips", ".3f", "faces"), _cell(row, "encoder_mse", ".4f")),
            *(_cell(row, "inversion_lpips", ".3f", "inverted"), _cell(row, "inversion_mse", ".5f")),
            *(_cell(row, "frechet", ".1f", "samples"), _cell(row, "faces_found", ".1%", "looked_at")),
            f"{_cell(row, 'md', '.2f', 'pairs')} from {_cell(row, 'no_edit', '.2f')}",
            _cell(row, "path_length", ".0f", "paths"),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for name in kept:
        stem = f"{report.stem}-{name.replace(' ', '-')}"
        for kind, words in (("samples", "samples, none chosen"), ("faces", "held-out faces, encoder, W+")):
            if report.with_name(f"{stem}-{kind}.jpg").exists():
                lines += ["", f"{name}: {words}", "", f"![{name}: {words}]({stem}-{kind}.jpg)"]
    if metrics:
        runs = "-".join(file.parent.name for file in metrics)
        plot(metrics, report.with_name(f"{report.stem}-curves-{runs}.png"))
    curves = sorted(report.parent.glob(f"{report.stem}-curves-*.png"))
    if curves:
        lines += ["", "Training, over pictures seen:"]
    for picture in curves:
        lines += ["", f"![curves]({picture.name})"]
    report.write_text("\n".join(lines) + "\n")


def _cell(row: dict, key: str, form: str, number: str = "") -> str:
    if row[key] is None:
        return "–"
    return format(row[key], form) + (f" ({row[number]})" if number else "")


def plot(metrics: list[Path], path: Path) -> None:
    """Draw what runs reported, a line a run, and a panel for each of the curves that any of them has."""
    import matplotlib.pyplot as plt

    runs = [(file.parent.name, [json.loads(line) for line in file.read_text().splitlines()]) for file in metrics]
    curves = [key for key in CURVES if any(key in line for _, lines in runs for line in lines)]
    figure, panels = plt.subplots(1, len(curves), figsize=(4.5 * len(curves), 3.5), squeeze=False)
    for panel, key in zip(panels[0], curves, strict=True):
        for name, lines in runs:
            points = [(line["seen"], line[key]) for line in lines if key in line]
            if points:
                panel.plot(*np.array(points).T, label=name)
        panel.set(title=CURVES[key], xlabel="pictures seen")
        panel.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def pixels(image: Tensor) -> NDArray[np.uint8]:
    """Return a picture (3, H, W) in [-1, 1] as (H, W, 3)."""
    return np.asarray(to_array(image[None]).round(), np.uint8)


def write_sheet(path: Path, tiles: list[NDArray[np.uint8]], columns: int = 8) -> None:
    """Write pictures of one size as a sheet."""
    sheet = np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])
    cv2.imwrite(str(path), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


def median(rows: list[dict], key: str) -> float | None:
    """Return the median of a number of items; None where there are none."""
    return float(np.median([row[key] for row in rows])) if rows else None
