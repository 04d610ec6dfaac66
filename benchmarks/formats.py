"""Every layout of a checkpoint at full size, and every hostile file.

    python -m benchmarks.formats [--folder DIR] [--size 1024]

Writes a random generator of config f (1024 px, 30 million parameters) in each layout together with what real files
hold besides (G, D, optimisers), reads each in a process of its own, and compares a picture with the source's. Peak
memory is what the process used at most while it read, above what it used after its imports. Writes
docs/results/formats.md. Needs 3 GB of disk in DIR.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import skimage.data
import torch

from benchmarks.fullsize import config_f
from tests.weights import attacks, writers
from weights.errors import InvalidFile
from weights.formats.read import read_checkpoint
from weights.generator import Generator

RESULTS = Path(__file__).parent.parent / "docs" / "results"
RUNS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "exec", "compile", "pickle.find_class", "os.fork")

CHILD = """
import json, sys, time
import torch
from benchmarks.fullsize import held, peak
from weights.load import load_generator
from weights.store import Store

torch.set_num_threads(1)
before = held()
start = time.perf_counter()
loaded = load_generator(sys.argv[1], device=torch.device("cpu"), store=Store(offline=True))
seconds, more = time.perf_counter() - start, peak() - before
ws, image = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    difference = float((loaded.network.synthesis(ws) - image).abs().max())
print(json.dumps({"format": loaded.format, "seconds": seconds, "peak": more, "difference": difference}))
"""


def layouts(network: Generator, other: Generator) -> dict[str, tuple[Callable[[Path], object], str]]:
    """Return writers of each layout and what its files hold besides the generator."""
    state, more = network.state_dict(), writers.rosinality_state(other)
    train = writers.rosinality_train(network)
    train |= {"g": more, "g_optim": {"state": {i: {"exp_avg": v} for i, v in enumerate(more.values())}}}
    training = "G, D, augment_pipe"
    return {
        "NVIDIA torch, protocol 4": (lambda p: writers.nvidia(network, p, other=other), training),
        "NVIDIA torch, protocol 2": (lambda p: writers.nvidia(network, p, other=other, protocol=2), training),
        "NVIDIA torch, StyleGAN3's arguments": (
            lambda p: writers.nvidia(network, p, other=other, layout="stylegan3", numpy_module="numpy._core"),
            training,
        ),
        "NVIDIA TensorFlow": (lambda p: writers.tensorflow(network, p, conv_clamp=256), "empty G and D"),
        "rosinality, train.py": (lambda p: writers.torch_save(train, p), "g, an optimiser"),
        "rosinality, torch legacy": (
            lambda p: writers.torch_save({"g_ema": writers.rosinality_state(network)}, p, legacy=True), "nothing"
        ),
        "pSp, e4e": (lambda p: writers.torch_save(writers.encoder_checkpoint(network), p), "an encoder's layer"),
        "PTI, whole module": (lambda p: writers.torch_save(writers.nvidia_module(network), p), "nothing"),
        "state dict, torch zip": (lambda p: writers.torch_save(state, p), "nothing"),
        "state dict, half precision": (
            lambda p: writers.torch_save({k: v.half() for k, v in state.items()}, p), "nothing"
        ),
    }  # fmt: skip


def measure(path: Path, shown: Path) -> dict[str, Any]:
    """Read a file in a process of its own."""
    done = subprocess.run([sys.executable, "-c", CHILD, path, shown], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"format": done.stderr.strip().splitlines()[-1], "seconds": 0.0, "peak": 0.0, "difference": float("nan")}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def photodrag(*arguments: object) -> tuple[float, str]:
    """Run the command; return its seconds and its last line."""
    start = time.perf_counter()
    code = "import sys, photodrag; sys.argv[0] = 'photodrag'; photodrag.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 6):
        raise SystemExit(done.stderr)
    return time.perf_counter() - start, done.stdout.strip()


def benign(folder: Path, size: int) -> list[str]:
    """Measure every layout, then convert and use one."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = config_f(size, conv_clamp=256.0)
    network, other = (Generator(config).eval().requires_grad_(False) for _ in range(2))
    for name, value in network.named_parameters():
        if name.endswith("noise_strength"):
            value.fill_(0.1)
    network.mapping.average()
    ws = network.mapping(torch.randn(1, 512), truncation_psi=0.7)
    shown = folder / "picture.pt"
    torch.save((ws, network.synthesis(ws)), shown)
    # A layout that has no place for conv_clamp gives the same picture as long as nothing reaches the clamp.
    rounded = Generator(config).eval().requires_grad_(False)
    rounded.load_state_dict({k: v.half().float() for k, v in network.state_dict().items()})
    shown_rounded = folder / "rounded.pt"
    torch.save((ws, rounded.synthesis(ws)), shown_rounded)
    size_mb = sum(v.numel() * v.element_size() for v in network.state_dict().values()) / 1e6
    limit = 2.2 * size_mb + 100
    lines = [
        f"A random generator of config f, {size} px: G_ema is {size_mb:.0f} MB in float32; the limit that was set for "
        f"the peak is 2.2 times that and 100 MB: {limit:.0f} MB. Times are those of one thread, and hold the SHA-256 "
        "of the file and the spread of w. Half precision is compared with the source rounded to it.",
        "",
        "| layout | besides | file MB | loads | max abs difference | seconds | peak MB above the imports |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]

    def row(name: str, besides: str, path: Path) -> None:
        found = measure(path, shown_rounded if "half" in name else shown)
        loads = "yes" if found["difference"] < 1e-4 else f"no: {found['format']}"
        lines.append(
            f"| {name} | {besides} | {path.stat().st_size / 1e6:.0f} | {loads} | {found['difference']:.1e} | "
            f"{found['seconds']:.2f} | {found['peak']:.0f} |"
        )
        print(lines[-1], flush=True)

    source = folder / "nvidia.pkl"
    for name, (write, besides) in layouts(network, other).items():
        path = folder / "file"
        write(path)
        row(name, besides, path)
        path.rename(source) if not source.exists() else path.unlink()
    converted = folder / "converted.safetensors"
    seconds, _ = photodrag("weights", "convert", source, "-o", converted, "--overwrite")
    row("own safetensors, converted from the first", "nothing", converted)
    photo = folder / "photo.png"
    from PIL import Image

    Image.fromarray(skimage.data.astronaut()).save(photo)
    quick = ["--invert-w-steps", 1, "--invert-steps", 1, "--invert-perceptual", "alex", "--steps", 1, "--no-cache"]
    edit_seconds, out = photodrag(
        "edit", photo, "--generator", converted, "--drag", "206,152:230,148", "--overwrite", "--json", *quick
    )
    told = json.loads(out)
    return [
        *lines,
        "",
        f"`photodrag weights convert` took {seconds:.1f} s in all. `photodrag edit --generator "
        f"converted.safetensors` with one step of each kind made a picture in {edit_seconds:.0f} s (generator "
        f"{told['generator']!r}, {told['changed']} pixels changed).",
    ]


_events: list[str] = []


def hostile(folder: Path) -> list[str]:
    """Read every hostile file, and write down what was said and what Python's audit events saw."""
    sys.addaudithook(lambda event, args: _events.append(event) if event in RUNS else None)
    "".encode("cp437")  # a module that zipfile imports at its first use
    lines = [
        "Run: what Python's audit events (exec, compile, os.system, subprocess.Popen, pickle.find_class, ...) saw "
        "while the file was read.",
        "",
        "| file | bytes | refused | run | seconds | said |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    path = folder / "hostile"
    for attack in attacks.every_attack("ran-out-of-a-file"):
        path.write_bytes(attack.content)
        _events.clear()
        start = time.perf_counter()
        try:
            read_checkpoint(path)
            said = "no"
        except InvalidFile as error:
            said = str(error).removeprefix(f"{path} ").replace("|", "\\|")
        seconds, ran = time.perf_counter() - start, ", ".join(_events) or "nothing"
        refused = "no" if said == "no" else "yes"
        lines.append(f"| {attack.name} | {len(attack.content)} | {refused} | {ran} | {seconds:.3f} | {said} |")
    return lines


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--size", type=int, default=1024)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, torch.no_grad():
        first = benign(Path(folder), options.size)
        second = hostile(Path(folder))
    head = ["# Checkpoints: every layout, every attack", "", "Written by `python -m benchmarks.formats`.", ""]
    text = "\n".join([*head, "## Layouts", "", *first, "", "## Hostile files", "", *second, ""])
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "formats.md").write_text(text)


if __name__ == "__main__":
    main()
