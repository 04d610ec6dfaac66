"""Seconds a step and memory of the drag, against the baseline, all in one run.

    python -m benchmarks.drag_speed [--sizes 128 512 1024] [--handles 1 2 5 68] [--steps 9] [--rounds 2]

Each case runs in a process of its own, alternating with the baseline's of the same size, so that what the
machine does beside is shared. Memory is the peak of the process above what it held after imports and the
making of the network. Writes docs/results/drag-speed.md, and a plot beside it.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "drag-speed.md"


@dataclass(frozen=True)
class Row:
    """What was measured of one engine in one case."""

    size: int
    handles: int
    mask: bool
    engine: str
    seconds: float
    faster: float
    memory: float
    share: float

    def __str__(self) -> str:
        """The row of the table."""
        return (
            f"| {self.size} | {self.handles} | {'yes' if self.mask else 'no'} | {self.engine} | {self.seconds:.3f} | "
            f"{self.faster:.1f} | {self.memory:.0f} | {self.share:.2f} |"
        )


def measure(case: dict) -> dict:
    """Run one case in this process: seconds of each step after the second, and peak memory in MB."""
    import numpy as np
    import torch

    from benchmarks.baseline import BaselineDrag
    from benchmarks.fullsize import config_f, held, peak
    from drag.editor import drag
    from drag.points import check_points
    from drag.settings import DragSettings
    from weights.generator import Generator
    from weights.load import load_generator

    torch.set_num_threads(case["threads"])
    size = case["size"]
    if size == 128:
        network = load_generator(device=torch.device("cpu")).network
    else:
        torch.manual_seed(0)
        network = Generator(config_f(size)).requires_grad_(False)
    z = torch.randn(1, network.config.z_dim, generator=torch.Generator().manual_seed(1))
    w = network.mapping(z)
    rng = np.random.default_rng(2)
    handles = rng.uniform(0.25, 0.75, (case["handles"], 2)) * size
    targets = handles + rng.uniform(-0.1, 0.1, handles.shape) * size
    points = check_points(handles, targets, size=size)
    mask = None
    if case["mask"]:
        mask = np.zeros((size, size), np.float32)
        mask[size // 4 :, :] = 1
    before = held()
    marks = [time.perf_counter()]
    if case["engine"] == "baseline":
        baseline = BaselineDrag(network, w, points, lr=1e-3, mask=mask)
        for _ in range(case["steps"]):
            baseline.step()
            marks.append(time.perf_counter())
    else:
        drag(
            network,
            w,
            points,
            spread=1e-3,
            settings=DragSettings(steps=case["steps"], patience=0, learning_rate=1.0, compile=case["compile"]),
            mask=mask,
            dtype=getattr(torch, case["dtype"]),
            callback=lambda step: marks.append(time.perf_counter()) or None,
        )
    memory = peak() - before
    return {"seconds": [b - a for a, b in itertools.pairwise(marks)][2:], "memory": memory}


def run(case: dict) -> dict:
    """Run one case in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.drag_speed", "--case", json.dumps(case)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measure all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 512, 1024])
    parser.add_argument("--handles", type=int, nargs="+", default=[1, 2, 5, 68])
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="measure torch.compile, too")
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(json.loads(arguments.case))))
        return
    kinds = [("baseline", "float32", False), ("engine", "float32", False), ("engine", "bfloat16", False)]
    kinds += [("engine", dtype, True) for dtype in ("float32", "bfloat16") if arguments.compile]
    rows = []
    for size, handles, mask in itertools.product(arguments.sizes, arguments.handles, (False, True)):
        seconds: dict = {kind: [] for kind in kinds}
        memory: dict = dict.fromkeys(kinds, 0.0)
        measured = [kind for kind in kinds if mask or not kind[2]]  # compiling is for the whole map
        for _, kind in itertools.product(range(arguments.rounds), measured):
            engine, dtype, compiled = kind
            steps = arguments.steps if engine == "engine" else min(arguments.steps, 5)
            case = {"engine": engine, "dtype": dtype, "compile": compiled, "size": size, "handles": handles}
            found = run(case | {"mask": mask, "steps": steps, "threads": arguments.threads})
            seconds[kind] += found["seconds"]
            memory[kind] = max(memory[kind], found["memory"])
        base, base_memory = statistics.median(seconds[kinds[0]]), memory[kinds[0]]
        for kind in measured:
            s, m = statistics.median(seconds[kind]), memory[kind]
            name = kind[0] if kind[0] == "baseline" else kind[1] + (", compiled" if kind[2] else "")
            rows.append(Row(size, handles, mask, name, s, base / s, m, m / base_memory))
            print(rows[-1], flush=True)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    write(rows, arguments.threads)
    draw(rows)


def write(rows: list[Row], threads: int) -> None:
    """Write the table."""
    lines = [
        "# Speed of the drag",
        "",
        "Written by `python -m benchmarks.drag_speed`. Medians over steps; ratios to the baseline (see",
        "benchmarks/baseline.py) of the same size, handles and mask, measured in turns in the same run, on "
        f"{threads} threads;",
        "absolute times hold for the machine they were taken on only. Memory is the process's peak above what it held",
        "before the drag.",
        "",
        f"![times faster than the baseline]({RESULTS.with_suffix('.png').name})",
        "",
        "| size | handles | mask | engine | s a step | times faster | memory MB | share of memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    RESULTS.write_text("\n".join([*lines, *map(str, rows)]) + "\n")


def draw(rows: list[Row]) -> None:
    """Draw how many times faster the engine is, a panel for each size."""
    import matplotlib.pyplot as plt

    sizes = sorted({row.size for row in rows})
    engines = list(dict.fromkeys(row.engine for row in rows if row.engine != "baseline"))
    figure, panels = plt.subplots(1, len(sizes), figsize=(4 * len(sizes), 3.6), sharey=True, squeeze=False)
    for panel, size in zip(panels[0], sizes, strict=True):
        for (i, engine), mask in itertools.product(enumerate(engines), (False, True)):
            of = [r for r in rows if (r.size, r.engine, r.mask) == (size, engine, mask)]
            label = f"{engine}, {'mask' if mask else 'no mask'}"
            style = {"color": f"C{i}", "linestyle": "--" if mask else "-", "marker": "o"}
            panel.plot([str(r.handles) for r in of], [r.faster for r in of], label=label, **style)
        panel.set(title=f"{size} px", xlabel="handles", yscale="log")
        panel.grid(alpha=0.3, which="both")
    panels[0, 0].set_ylabel("times faster than the baseline")
    panels[0, 0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(RESULTS.with_suffix(".png"), dpi=90)


if __name__ == "__main__":
    main()
