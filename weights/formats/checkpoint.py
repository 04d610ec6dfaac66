"""What a reader returns: a state dict with NVIDIA's names, and what tensors cannot say."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weights.formats.errors import FormatError, shown

Arrays = dict[str, NDArray[Any]]

MAX_SIZE = 2048  # pixels


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A generator's file, read.

    Attributes:
        format: the layout that was found, in words.
        arrays: float32, under the names of NVIDIA's torch code.
        conv_clamp: see `weights.generator.GeneratorConfig`.
        claims: numbers that the file states besides its tensors (z_dim, img_resolution, ...), to be compared.
        metadata: what an own file says of itself.
        notes: what had to be filled in.
    """

    format: str
    arrays: Arrays
    conv_clamp: float | None = None
    claims: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def clamp_of(value: Any) -> float | None:
    """Return a conv_clamp that stands in a file.

    Raises:
        FormatError: it is no positive number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e30:
        raise FormatError("its conv_clamp is no positive number")
    return float(value)


def resolutions(arrays: Arrays) -> list[int]:
    """Return the heights of the blocks, 4, 8, ..., and check that they are those of a StyleGAN2 generator.

    Raises:
        FormatError: they are not, or larger than anybody's.
    """
    found: list[int] = []
    while f"synthesis.b{4 << len(found)}.conv1.weight" in arrays:
        found.append(4 << len(found))
        if found[-1] > MAX_SIZE:
            raise FormatError(f"its pictures would be larger than {MAX_SIZE} px")
    if len(found) < 2:
        some = ", ".join(shown(name) for name in list(arrays)[:3])
        raise FormatError(f"it holds no StyleGAN2 generator, but tensors called {some} and so on" if some else "empty")
    return found


def complete(arrays: Arrays, notes: list[str]) -> Arrays:
    """Fill in what layouts leave out: low-pass filters, and noise where there never was any.

    Raises:
        FormatError: there is no generator, or one with numbers that are none.
    """
    taps = np.array([1, 3, 3, 1], np.float32) / 8
    out = dict(arrays)
    random = np.random.default_rng(0)
    missing = False
    found = resolutions(arrays)
    const = out.get("synthesis.b4.const")
    if const is None or const.ndim != 3 or const.shape[1] != 4 or const.shape[2] not in (2, 4):
        raise FormatError("its constant input is missing, or is not 4 x 4 (or 4 x 2) pixels")
    for r in found:
        out.setdefault(f"synthesis.b{r}.resample_filter", np.outer(taps, taps))
        for layer in ("conv1",) if r == 4 else ("conv0", "conv1"):
            name = f"synthesis.b{r}.{layer}"
            out.setdefault(f"{name}.resample_filter", np.outer(taps, taps))
            if f"{name}.noise_strength" not in out:  # trained without noise
                out[f"{name}.noise_strength"] = np.zeros((), np.float32)
            if out[f"{name}.noise_strength"].size != 1:
                raise FormatError(f"its tensor {shown(f'{name}.noise_strength')} is no single number")
            out[f"{name}.noise_strength"] = out[f"{name}.noise_strength"].reshape(())
            if f"{name}.noise_const" not in out:
                shape = (r, r * const.shape[2] // 4)
                out[f"{name}.noise_const"] = random.standard_normal(shape, np.float32)
                missing = missing or bool(out[f"{name}.noise_strength"])
        if f"synthesis.b{r}.skip.weight" in out:
            out.setdefault(f"synthesis.b{r}.skip.resample_filter", np.outer(taps, taps))
    if missing:
        notes.append("the file has no fixed noise maps: random ones were put in")
    for name, array in out.items():
        if array.dtype != np.float32:
            raise FormatError(f"its tensor {shown(name)} holds no floats")
        # The sum of finite float32 numbers, in float64, is finite, and takes no memory of the array's size.
        if not math.isfinite(array.sum(dtype=np.float64)):
            raise FormatError(f"its tensor {shown(name)} holds numbers that are not finite")
    return out
