"""NVIDIA's TensorFlow layout: a tuple G, D, Gs of networks, each a list of named arrays.

The weights of convolutions are (height, width, in, out) and become (out, in, height, width). A convolution that
doubles the resolution was written as a transposed one: its kernel is turned by half a circle.
"""

import re
from typing import Any

import numpy as np

from weights.formats.checkpoint import Arrays, Checkpoint, clamp_of, resolutions
from weights.formats.errors import FormatError, shown
from weights.formats.stubs import NETWORK, Array, Record
from weights.formats.tensors import Materialiser, Values

MAX_DEPTH = 8
MAX_VARIABLES = 5000
MAX_NETWORKS = 50  # counted where they are met: one network can stand in many places

NAME = "NVIDIA TensorFlow pickle"


def is_networks(value: Any) -> bool:
    """Tell whether a value out of a pickle is a tuple of TensorFlow networks."""
    return (
        isinstance(value, (tuple, list))
        and len(value) == 3
        and all(isinstance(network, Record) and network.kind == NETWORK for network in value)
    )


def read(network: Record, make: Materialiser) -> Checkpoint:
    """Return the generator that is `network`, the third of the tuple: the average over training.

    Raises:
        FormatError: it is another network, or damaged.
    """
    stubs: dict[str, Any] = {}
    _collect(network, "", stubs, [])
    _refuse_others(stubs)
    version = network.state.get("version")
    if type(version) is not int or version < 4:
        raise FormatError("it is a TensorFlow network of a version before StyleGAN2's (4)")
    kwargs = network.state.get("static_kwargs")
    kwargs = kwargs if isinstance(kwargs, dict) else {}
    _refuse_settings(kwargs)
    arrays: Arrays = {}
    unknown = []
    for name, stub in stubs.items():
        if name.rpartition("/")[2] == "lod" or ("/" not in name and name != "dlatent_avg"):
            continue  # counters of the training
        found = _convert(name, stub, make)
        if found is None:
            unknown.append(name)
        else:
            arrays[found[0]] = found[1]
    if unknown:
        raise FormatError(f"its variable {shown(unknown[0])} is none of a StyleGAN2 generator")
    resolutions(arrays)
    claims = {"img_resolution": kwargs["resolution"]} if type(kwargs.get("resolution")) is int else {}
    return Checkpoint(
        format=NAME,
        arrays=arrays,
        conv_clamp=clamp_of(kwargs.get("conv_clamp")),
        claims=claims,
    )


def _collect(network: Any, prefix: str, out: dict[str, Any], met: list[str]) -> None:
    met.append(prefix)
    if len(met) > MAX_NETWORKS:
        raise FormatError(f"it has more than {MAX_NETWORKS} networks")
    if not isinstance(network, Record) or network.kind != NETWORK or prefix.count("/") > MAX_DEPTH:
        raise FormatError("a part of a network is none")
    variables, components = network.state.get("variables"), network.state.get("components", {})
    if not isinstance(variables, list) or not isinstance(components, dict):
        raise FormatError("a network has no variables")
    if len(variables) > MAX_VARIABLES:
        raise FormatError(f"it has more than {MAX_VARIABLES} variables")
    for pair in variables:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], str):
            raise FormatError("a variable has no name")
        out[prefix + pair[0]] = pair[1]
    if len(out) > MAX_VARIABLES:
        raise FormatError(f"it has more than {MAX_VARIABLES} variables")
    for name, part in components.items():
        _collect(part, f"{prefix}{name}/", out, met)


def _refuse_others(stubs: dict[str, Any]) -> None:
    names = " ".join(stubs)
    if "StyleMod" in names:
        raise FormatError("it is a StyleGAN1 generator, and StyleGAN2 is what can be edited here")
    if "LabelConcat" in names:
        raise FormatError("it is a StyleGAN2 generator with labels of TensorFlow's first kind, which is not supported")
    if "4x4/Dense/" in names or "ToRGB_lod" in names:
        raise FormatError("it is a Progressive GAN generator, and StyleGAN2 is what can be edited here")


def _refuse_settings(kwargs: dict[Any, Any]) -> None:
    kernel = kwargs.get("resample_kernel", [1, 3, 3, 1])
    if not isinstance(kernel, (list, tuple)) or [k for k in kernel if type(k) in (int, float)] != [1, 3, 3, 1]:
        raise FormatError("its low-pass filter is not [1, 3, 3, 1]")
    for key in ("act", "mapping_nonlinearity", "nonlinearity"):
        if isinstance(kwargs.get(key), str) and kwargs[key] != "lrelu":
            raise FormatError(f"its activation is {shown(kwargs[key])} instead of 'lrelu'")


_LAYERS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb", "Skip": "skip"}


def _convert(name: str, stub: Any, make: Materialiser) -> tuple[str, Values] | None:
    """Return a variable's name and value here; None for one that is not known."""
    if not isinstance(stub, (Array, int, float)):
        raise FormatError(f"its variable {shown(name)} is no array")
    if name == "dlatent_avg":
        return "mapping.w_avg", make(stub)
    if found := re.fullmatch(r"mapping/(?:Dense(\d{1,2})|LabelEmbed)/(weight|bias)", name):
        layer = "embed" if found[1] is None else f"fc{int(found[1])}"
        values = make(stub)
        return f"mapping.{layer}.{found[2]}", np.ascontiguousarray(values.T) if found[2] == "weight" else values
    if found := re.fullmatch(r"synthesis/noise(\d{1,2})", name):
        number = int(found[1])
        place = "b4.conv1" if number == 0 else f"b{4 << (number + 1) // 2}.conv{(number + 1) % 2}"
        return f"synthesis.{place}.noise_const", _drop(make(stub), 2, name)
    if name == "synthesis/4x4/Const/const":
        return "synthesis.b4.const", _drop(make(stub), 1, name)
    if found := re.fullmatch(r"synthesis/(\d{1,5})x(\d{1,5})/(\w+)/(\w+)", name):
        layer = _LAYERS.get(found[3], "")
        if layer:
            return _layer(f"synthesis.b{int(found[1])}.{layer}", found[4], make(stub), flip=found[3] in FLIPPED)
    return None


FLIPPED = ("Conv0_up", "Skip")


def _layer(prefix: str, name: str, values: Values, *, flip: bool) -> tuple[str, Values] | None:
    if name == "weight":
        if values.ndim != 4:
            raise FormatError("a convolution's weight has other than 4 dimensions")
        values = values[::-1, ::-1] if flip else values
        return f"{prefix}.weight", np.ascontiguousarray(values.transpose(3, 2, 0, 1))
    if name == "mod_weight":
        return f"{prefix}.affine.weight", np.ascontiguousarray(values.T)
    if name == "mod_bias":
        return f"{prefix}.affine.bias", values + np.float32(1)
    if name in ("bias", "noise_strength"):
        return f"{prefix}.{name}", values
    return None


def _drop(values: Values, count: int, name: str) -> Values:
    """Drop `count` leading dimensions of size 1."""
    if values.shape[:count] != (1,) * count:
        raise FormatError(f"its variable {shown(name)} has a strange shape")
    return values.reshape(values.shape[count:])
