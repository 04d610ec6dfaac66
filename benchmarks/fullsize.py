"""What benchmarks of full-size generators share: the shape of those, and the memory of a process (on Linux)."""

from pathlib import Path

from weights.generator import GeneratorConfig


def config_f(size: int, *, conv_clamp: float | None = None) -> GeneratorConfig:
    """Return config f of the paper, as NVIDIA trains it with channel_base 32768."""
    channels = (min(32768 // (4 << i), 512) for i in range(size.bit_length() - 2))
    return GeneratorConfig(channels=tuple(channels), conv_clamp=conv_clamp)


def held() -> float:
    """Return the MB that this process holds, and let its peak begin there."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak() -> float:
    """Return the most MB that this process held since."""
    return _status("VmHWM")


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1e3
