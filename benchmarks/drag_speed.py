"""Seconds a step and memory of the drag, against the baseline, all in one run.

    python -m benchmarks.drag_speed [--sizes 128 512 1024] [--handles 1 2 5 68] [--steps 7] [--quick]

Each case runs in a process of its own, alternating with the baseline's of the same size, so that what the
machine does beside is shared. Memory is the peak of the process above what it held after imports and the
making of the network. Writes docs/results/drag-speed.md.
"""

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "drag-speed.md"


def measure(case: dict) -> dict:
    """Run one case in this process: seconds of each step after the second, and peak memory in MB."""
    import numpy as np
    import torch

    from benchmarks.baseline import BaselineDrag
    from drag.editor import drag
    from drag.points import check_points
    from drag.settings import DragSettings
    from weights.generator import Generator, GeneratorConfig
    from weights.load import load_generator

    torch.set_num_threads(case["threads"])
    size = case["size"]
    if size == 128:
        network = load_generator(device=torch.device("cpu")).network
    else:
        torch.manual_seed(0)
        channels = tuple(min(32768 // (4 << i), 512) for i in range(size.bit_length() - 2))
        network = Generator(GeneratorConfig(channels=channels)).requires_grad_(False)
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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = [b - a for a, b in itertools.pairwise(marks)][2:]
    return {"seconds": seconds, "memory": (peak - before) / 1024}


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
    lines = [
        "# Speed of the drag",
        "",
        "Written by `python -m benchmarks.drag_speed`. Medians over steps; ratios to the baseline (see",
        "benchmarks/baseline.py) of the same row, measured in turns in the same run, on "
        f"{arguments.threads} threads; absolute times hold for the machine they were taken on only.",
        "",
        "| size | handles | mask | engine | s a step | times faster | memory MB | share of memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
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
            lines.append(
                f"| {size} | {handles} | {'yes' if mask else 'no'} | {name} | {s:.3f} | {base / s:.1f} | "
                f"{m:.0f} | {m / base_memory:.2f} |"
            )
            print(lines[-1], flush=True)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
