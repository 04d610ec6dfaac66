"""Peak memory of each mode of inversion on a full-size generator: random weights, config f, 1024 px.

    python -m benchmarks.inversion_memory [--size 1024] [--steps 3] [--dtype auto] [--threads 2]

A mode runs in a process of its own, a few steps of each phase, as memory does not grow with their number. Memory is the
whole process's, with what Python, torch and the networks take. Writes docs/results/inversion-memory.md.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "inversion-memory.md"

MODES: dict[str, tuple[dict, dict]] = {
    "W": ({"space": "w"}, {}),
    "W+, pull to W": ({}, {}),
    "W+, P_N": ({"prior": "pn"}, {}),
    "W+, AlexNet": ({"perceptual": "alex"}, {}),
    "W+, noise optimised": ({"noise": "optimise"}, {}),
    "W+, tuned": ({}, {"tune": True}),
    "W+, tuned, locality": ({}, {"tune": True, "locality": 0.1}),
    "W+, tuned from 128 px up": ({}, {"tune": True, "blocks": 128}),
}


def measure(mode: str, size: int, steps: int, dtype: str, threads: int, keep: bool) -> dict:
    """Invert a picture of the generator by one mode in this process; seconds a step and peak memory in MB.

    `keep` has it do as the commands do: keep freed memory for what is allocated next (weights/memory.py).
    """
    import torch

    from benchmarks.fullsize import config_f
    from inversion.inversion import invert
    from inversion.settings import InversionSettings, TuningSettings
    from weights.compute import resolve_dtype
    from weights.generator import Generator
    from weights.load import LoadedGenerator
    from weights.memory import keep_freed_memory
    from weights.perceptual import Lpips
    from weights.store import Store

    if keep:
        keep_freed_memory()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    device = torch.device("cpu")
    network = Generator(config_f(size)).requires_grad_(False)
    network.mapping.average(samples=256)
    generator = LoadedGenerator(
        name="random", network=network, encoder=None, frame="center", sha256="", spread=0.1, license=""
    )
    settings, tuning = MODES[mode]
    convolutions, store = resolve_dtype(dtype, device), Store()
    marks = [time.perf_counter()]
    invert(
        generator,
        torch.rand(1, 3, size, size) * 2 - 1,
        lpips=Lpips(settings.get("perceptual", "vgg"), store=store, device=device, dtype=convolutions),
        settings=InversionSettings(**{"w_steps": 1, "steps": steps} | settings),
        tuning=TuningSettings(**{"tune": False, "steps": steps, "enough": 0.0} | tuning),
        texture=Lpips("alex", store=store, device=device, dtype=convolutions) if tuning else None,
        dtype=convolutions,
        callback=lambda step: marks.append(time.perf_counter()) or None,
    )
    seconds = sorted(b - a for a, b in itertools.pairwise(marks[1:]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"memory": peak, "seconds": seconds[len(seconds) // 2], "dtype": str(convolutions).removeprefix("torch.")}


def main() -> None:
    """Measure all modes and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--dtype", nargs="+", default=["float32", "auto"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    own = ["--size", str(arguments.size), "--steps", str(arguments.steps), "--threads", str(arguments.threads)]
    if arguments.mode:
        (dtype,) = arguments.dtype
        found = measure(arguments.mode, arguments.size, arguments.steps, dtype, arguments.threads, arguments.keep)
        print(json.dumps(found))
        return
    lines = [
        "# Memory of inversion",
        "",
        "Written by `python -m benchmarks.inversion_memory`: a random generator of config f, "
        f"{arguments.size} px, in a process of its own for each row. Peak of the whole process; seconds are medians",
        f"over steps of all phases, on {arguments.threads} threads. The process keeps what it frees, as the",
        "commands do (weights/memory.py); beside it, without that.",
        "",
        "| mode | dtype | peak MB | s a step | peak MB without | s a step |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for mode in MODES:
        for dtype in arguments.dtype:
            command = [sys.executable, "-m", "benchmarks.inversion_memory", "--mode", mode, "--dtype", dtype, *own]
            cells = []
            for keep in (["--keep"], []):
                run = subprocess.run([*command, *keep], check=True, capture_output=True, text=True)
                found = json.loads(run.stdout)
                cells.append(f"{found['memory']:.0f} | {found['seconds']:.2f}")
            lines.append(f"| {mode} | {found['dtype']} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
