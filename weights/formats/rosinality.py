"""rosinality's layout (stylegan2-pytorch, and pSp, e4e and ReStyle, whose decoder it is), and bare state dicts."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from weights.formats.checkpoint import Arrays, Checkpoint, resolutions
from weights.formats.errors import FormatError, shown
from weights.formats.stubs import Array, TensorStub
from weights.formats.tensors import Values

Make = Callable[[Any], Values]

MAX_TENSORS = 5000

CONTAINERS = ("g_ema", "G_ema", "generator_ema", "params_ema", "state_dict", "g", "G", "generator", "params", "model")
OURS, THEIRS = "synthesis.b4.const", "input.input"


def is_state_dict(value: Any) -> bool:
    """Tell whether a value out of a file is a dict of tensors by their names."""
    return (
        isinstance(value, dict)
        and 0 < len(value) <= MAX_TENSORS
        and all(isinstance(key, str) and len(key) <= 200 for key in value)
        and any(isinstance(item, (TensorStub, Array, np.ndarray)) for item in value.values())
    )


def find(root: Any) -> tuple[str, dict[str, Any], Any] | None:
    """Return the words for the layout, the state dict that holds a generator, and `latent_avg`; None for none.

    It is looked for under the usual keys, g_ema first, then at the top.
    """
    if not isinstance(root, dict):
        return None
    for key in CONTAINERS:
        inner = root.get(key)
        if isinstance(inner, dict) and is_state_dict(inner) and _prefix(inner) is not None:
            return f"state dict under {key!r}", inner, root.get("latent_avg")
    if is_state_dict(root) and _prefix(root) is not None:
        return "bare state dict", root, root.get("latent_avg")
    return None


def _prefix(state: dict[str, Any]) -> tuple[str, bool] | None:
    """Return what stands before the generator's names, and whether they are NVIDIA's."""
    for end, ours in ((OURS, True), (THEIRS, False)):
        found = sorted((key[: -len(end)] for key in state if key.endswith(end)), key=len)
        for prefix in found:
            if prefix == "" or prefix.endswith("."):
                return prefix, ours
    return None


def read(what: str, state: dict[str, Any], latent_avg: Any, make: Make) -> Checkpoint:
    """Return the generator inside of a state dict that `find` found.

    Raises:
        FormatError: it is another network, or damaged.
    """
    place = _prefix(state)
    assert place is not None
    prefix, ours = place
    inner = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    if any(key.startswith("synthesis.input.") for key in inner):
        raise FormatError("it is a StyleGAN3 generator (or StyleGAN-XL), and StyleGAN2 is what can be edited here")
    where = f", names begin with {prefix!r}" if prefix else ""
    if ours:
        kept = {k: v for k, v in inner.items() if k.startswith(("synthesis.", "mapping."))}
        arrays = {name: make(stub) for name, stub in kept.items()}
        resolutions(arrays)
        return Checkpoint(format=f"{what}, NVIDIA's names{where}", arrays=arrays)
    arrays = _convert(inner, make)
    if latent_avg is not None:
        average = make(latent_avg)
        if average.size == 0 or average.ndim == 0 or average.dtype != np.float32:
            raise FormatError("its latent_avg is no latent")
        arrays["mapping.w_avg"] = average.reshape(-1, average.shape[-1]).mean(axis=0)
    return Checkpoint(format=f"rosinality, {what}{where}", arrays=arrays)


def _convert(state: dict[str, Any], make: Make) -> Arrays:
    arrays: Arrays = {}
    for name, stub in state.items():
        if found := re.fullmatch(r"style\.(\d{1,2})\.(weight|bias)", name):
            arrays[f"mapping.fc{int(found[1]) - 1}.{found[2]}"] = make(stub)
        elif name == "input.input":
            arrays["synthesis.b4.const"] = _squeeze(make(stub), 4, name)
        elif found := re.fullmatch(r"noises\.noise_(\d{1,2})", name):
            noise = _squeeze(make(stub), 4, name)
            arrays[f"synthesis.{_layer(int(found[1]))}.noise_const"] = _squeeze(noise, 3, name)
        elif found := re.fullmatch(r"(conv1|convs\.(\d{1,2}))\.(.+)", name):
            layer = _layer(0 if found[2] is None else int(found[2]) + 1)
            _convolution(arrays, f"synthesis.{layer}", found[3], stub, make, name)
        elif found := re.fullmatch(r"to_rgb(?:1|s\.(\d{1,2}))\.(.+)", name):
            resolution = 4 if found[1] is None else 8 << int(found[1])
            _convolution(arrays, f"synthesis.b{resolution}.torgb", found[2], stub, make, name)
        else:
            raise FormatError(f"its tensor {shown(name)} is none of a StyleGAN2 generator")
    resolutions(arrays)
    return arrays


def _layer(number: int) -> str:
    """Return the name here of convolution `number`, counted from the one at 4 px."""
    return "b4.conv1" if number == 0 else f"b{4 << (number + 1) // 2}.conv{(number + 1) % 2}"


def _convolution(arrays: Arrays, prefix: str, rest: str, stub: Any, make: Make, name: str) -> None:
    if rest == "conv.weight":
        arrays[f"{prefix}.weight"] = _squeeze(make(stub), 5, name)
    elif rest in ("conv.modulation.weight", "conv.modulation.bias"):
        arrays[f"{prefix}.affine.{rest.rsplit('.', 1)[1]}"] = make(stub)
    elif rest in ("activate.bias", "bias"):
        arrays[f"{prefix}.bias"] = make(stub).reshape(-1)
    elif rest == "noise.weight":
        values = make(stub)
        if values.size != 1:
            raise FormatError(f"its tensor {shown(name)} has a strange shape")
        arrays[f"{prefix}.noise_strength"] = values.reshape(())
    elif rest in ("conv.blur.kernel", "upsample.kernel"):
        kernel = make(stub)
        taps = np.array([1, 3, 3, 1], np.float32)
        if kernel.shape != (4, 4) or not np.allclose(
            kernel / (kernel.sum() or 1), np.outer(taps, taps) / 64, atol=1e-4
        ):
            raise FormatError("its low-pass filter is not [1, 3, 3, 1]")
    else:
        raise FormatError(f"its tensor {shown(name)} is none of a StyleGAN2 generator")


def _squeeze(values: Values, dimensions: int, name: str) -> Values:
    """Drop the leading dimension of size 1 of an array of so many dimensions."""
    if values.ndim != dimensions or values.shape[0] != 1:
        raise FormatError(f"its tensor {shown(name)} has a strange shape")
    return values[0]
