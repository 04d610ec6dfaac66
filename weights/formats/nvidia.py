"""NVIDIA's torch layout (ADA, StyleGAN3's repository, DragGAN, Self-Distilled, PTI): modules as nested records.

A module is a record of its `__dict__`: `_parameters`, `_buffers` and `_modules`, and plain attributes. The source
code that comes with it is never looked at.
"""

from typing import Any

from weights.formats.checkpoint import Checkpoint, clamp_of, resolutions
from weights.formats.errors import FormatError, shown
from weights.formats.stubs import PERSISTENT, Record
from weights.formats.tensors import Materialiser

MAX_DEPTH = 12
MAX_TENSORS = 5000
MAX_MODULES = 1000  # counted where they are met: one module can stand in many places

CLAIMS = ("z_dim", "c_dim", "w_dim", "img_resolution")


def is_module(value: Any) -> bool:
    """Tell whether a value out of a pickle is a module of NVIDIA's."""
    # The state is looked at again: a pickle can still change the dict that it made the module of.
    return isinstance(value, Record) and value.kind == PERSISTENT and isinstance(value.state.get("state"), dict)


def read(module: Record, make: Materialiser, what: str) -> Checkpoint:
    """Return the generator that is `module`; `what` is the layout in words.

    Raises:
        FormatError: it is another network, or damaged.
    """
    stubs = _flatten(module)
    _refuse_others(module, stubs)
    layers = _layers(module)
    if not layers:
        raise FormatError("it has no layers")
    clamps = {clamp_of(layer.get("conv_clamp", _default_clamp(module))) for layer in layers}
    if len(clamps) > 1:
        raise FormatError("its layers clamp at different values")
    for layer in layers:
        if layer.get("activation", "lrelu") != "lrelu":
            raise FormatError(f"its activation is {shown(layer['activation'])} instead of 'lrelu'")
    attributes = module.state["state"]
    claims = {key: attributes[key] for key in CLAIMS if type(attributes.get(key)) is int}
    arrays = {name: make(stub) for name, stub in stubs.items()}
    return Checkpoint(format=what, arrays=arrays, conv_clamp=clamps.pop(), claims=claims)


def _flatten(module: Any) -> dict[str, Any]:
    """Return the tensors of a module and of those inside of it, by their names in a state dict."""
    out: dict[str, Any] = {}
    waiting: list[tuple[Any, str, int]] = [(module, "", 0)]
    for met in range(MAX_MODULES):
        if not waiting:
            return out
        module, prefix, depth = waiting.pop()
        if not is_module(module) or depth > MAX_DEPTH:
            raise FormatError(f"{shown(prefix.rstrip('.') or 'G_ema')} is no module of NVIDIA's")
        state = module.state["state"]
        for key in ("_parameters", "_buffers"):
            out.update({prefix + name: stub for name, stub in _named(state, key).items() if stub is not None})
        if len(out) > MAX_TENSORS:
            raise FormatError(f"it has more than {MAX_TENSORS} tensors")
        children = [
            (c, f"{prefix}{name}.", depth + 1) for name, c in _named(state, "_modules").items() if c is not None
        ]
        if met + len(waiting) + len(children) >= MAX_MODULES:
            break
        waiting += reversed(children)
    raise FormatError(f"it has more than {MAX_MODULES} modules")


def _named(state: dict[Any, Any], key: str) -> dict[str, Any]:
    named = state.get(key)
    if not isinstance(named, dict) or len(named) > MAX_TENSORS:
        raise FormatError(f"a module has no {key}, or more than {MAX_TENSORS}")
    if any(not isinstance(name, str) or len(name) > 200 for name in named):
        raise FormatError(f"a module has no {key}")
    return named


def _layers(module: Record) -> list[dict[Any, Any]]:
    """Return the attributes of the convolutions of all blocks."""
    synthesis = _child(module, "synthesis")
    out = []
    for block in _named(synthesis.state["state"], "_modules").values():
        if is_module(block):
            named = _named(block.state["state"], "_modules")
            out += [named[name].state["state"] for name in ("conv0", "conv1", "torgb") if is_module(named.get(name))]
    return out


def _child(module: Record, name: str) -> Record:
    child = _named(module.state["state"], "_modules").get(name)
    if not is_module(child):
        raise FormatError(f"it has no {name} network")
    assert isinstance(child, Record)
    return child


def _default_clamp(module: Record) -> Any:
    """Return conv_clamp as the constructor's arguments have it.

    ADA nests them under `synthesis_kwargs` and clamps nowhere by default; StyleGAN3's repository has them flat,
    and clamps at 256 by default.
    """
    kwargs = module.state["state"].get("_init_kwargs")
    kwargs = kwargs if isinstance(kwargs, dict) else {}
    nested = kwargs.get("synthesis_kwargs")
    if isinstance(nested, dict):
        return nested.get("conv_clamp")
    return kwargs.get("conv_clamp", 256)


def _refuse_others(module: Record, stubs: dict[str, Any]) -> None:
    """Name what a module is that is no StyleGAN2 generator."""
    name = module.state.get("class_name")
    name = shown(name) if isinstance(name, str) else "without a name"
    if any(key.startswith("synthesis.input.") for key in stubs):
        raise FormatError("it is a StyleGAN3 generator (or StyleGAN-XL), and StyleGAN2 is what can be edited here")
    if any(key.startswith("backbone.") for key in stubs):
        raise FormatError("it is an EG3D generator, and StyleGAN2 is what can be edited here")
    if "b4.out.weight" in stubs or "b4.fc.weight" in stubs:
        raise FormatError("it is a discriminator, and not a generator")
    if "synthesis.b4.conv1.weight" not in stubs:
        raise FormatError(f"it is a network of the class {name} whose layers are not StyleGAN2's")
    if "synthesis.b4.const" not in stubs:
        raise FormatError(f"it is a network of the class {name} without StyleGAN2's constant input")
    resolutions(stubs)
