"""Writes a generator in every layout that people hold, without the code that these layouts come from.

`Name`, `Call` and `New` make the pickler write a global, a call or an object by its name alone.
"""

import pickle
import struct
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

from weights.generator import Generator


class Name:
    """A global, by its name."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """A call (REDUCE), with a state (BUILD) where there is one."""

    def __init__(self, function, *args, state=None):
        self.function, self.args, self.state = function, args, state


class New:
    """An object made by its class (NEWOBJ), with a state or with a dict's items."""

    def __init__(self, cls, state=None, items=None):
        self.cls, self.state, self.items = cls, state, items


class Pickler(pickle._Pickler):
    """The standard pickler, which knows these three too, and numpy arrays in numpy 1's or 2's names."""

    numpy_module = "numpy.core"

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Name):
            self._name(obj)
        elif isinstance(obj, (Call, New)) and id(obj) in self.memo:
            self.write(self.get(self.memo[id(obj)][0]))
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.args)
            self.write(pickle.REDUCE)
            self.memoize(obj)
            self._state(obj.state)
        elif isinstance(obj, New):
            self.save(obj.cls)
            self.save(())
            self.write(pickle.NEWOBJ)
            self.memoize(obj)
            if obj.items is not None:
                self._batch_setitems(obj.items.items(), obj) if _WANTS_OBJ else self._batch_setitems(obj.items.items())
            self._state(obj.state)
        elif type(obj) is np.ndarray:
            self.save(array(obj, self.numpy_module))
        else:
            super().save(obj, save_persistent_id)

    def _name(self, obj):
        if self.proto >= 4:
            self.save(obj.module)
            self.save(obj.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())

    def _state(self, state):
        if state is not None:
            self.save(state)
            self.write(pickle.BUILD)


_WANTS_OBJ = pickle._Pickler._batch_setitems.__code__.co_argcount == 3


def array(value, module="numpy.core"):
    """Return what numpy's own reduction writes, under the names of numpy 1 or 2."""
    dtype = Call(Name("numpy", "dtype"), value.dtype.str[1:], False, True,
                 state=(3, "<", None, None, None, -1, -1, 0))  # fmt: skip
    empty = (Name("numpy", "ndarray"), (0,), b"b")
    made = Call(Name(f"{module}.multiarray", "_reconstruct"), *empty)
    made.state = (1, value.shape, dtype, False, np.ascontiguousarray(value).tobytes())
    return made


def dump(value, path: Path, *, protocol=4, numpy_module="numpy.core"):
    """Pickle to a file."""
    with path.open("wb") as file:
        pickler = Pickler(file, protocol)
        pickler.numpy_module = numpy_module
        pickler.dump(value)
    return path


PERSISTENT = Name("torch_utils.persistence", "_reconstruct_persistent_obj")


def persistent(class_name, *, parameters=None, buffers=None, modules=None, **attributes):
    """Return a module as NVIDIA's persistence writes it; its source would end the test, if it ran."""
    state = {
        "training": False,
        "_parameters": OrderedDict(parameters or {}),
        "_buffers": OrderedDict(buffers or {}),
        "_non_persistent_buffers_set": Call(Name("builtins", "set"), []),
        "_backward_hooks": OrderedDict(),
        "_modules": OrderedDict(modules or {}),
        "_init_args": (),
        **attributes,
    }
    meta = {
        "type": "class",
        "version": 6,
        "module_src": "raise SystemExit('it ran')\n" * 300,
        "class_name": class_name,
        "state": state,
    }
    return Call(PERSISTENT, meta)


def _tree(module: torch.nn.Module, names: dict[str, str], path="", **attributes):
    parameters = {k: None if p is None else torch.nn.Parameter(p.clone()) for k, p in module._parameters.items()}
    modules = {k: _tree(m, names, f"{path}.{k}".lstrip("."), **attributes) for k, m in module._modules.items()}
    own = attributes.get(type(module).__name__, {})
    return persistent(names.get(path, type(module).__name__), parameters=parameters,
                      buffers=dict(module._buffers), modules=modules, **own)  # fmt: skip


def nvidia_module(network: Generator, *, layout="ada"):
    """Return G_ema: ADA's arguments nest the synthesis network's, the StyleGAN3 repository's do not."""
    config = network.config
    layer = {"conv_clamp": config.conv_clamp, "activation": "lrelu"}
    kwargs = {"mapping_kwargs": easy_dict({"num_layers": config.mapping_layers})}
    synthesis = {"conv_clamp": config.conv_clamp, "channel_base": 32768}
    if layout == "ada":
        kwargs["synthesis_kwargs"] = easy_dict(synthesis)
    else:
        kwargs.update(synthesis)
    tree = _tree(network, {"": "Generator", "synthesis": "SynthesisNetwork", "mapping": "MappingNetwork"},
                 SynthesisLayer=layer, ToRGB={"conv_clamp": config.conv_clamp})  # fmt: skip
    tree.args[0]["state"].update(
        z_dim=config.z_dim, c_dim=config.c_dim, w_dim=config.w_dim, img_resolution=config.size, img_channels=3,
        num_ws=config.num_ws, _init_kwargs=easy_dict(kwargs),
    )  # fmt: skip
    return tree


def easy_dict(items):
    return New(Name("dnnlib.util", "EasyDict"), items=items)


def nvidia(network: Generator, path: Path, *, protocol=4, layout="ada", numpy_module="numpy.core", other=None):
    """Write a pickle as training does: G, D, G_ema and what else was at hand."""
    other = other or network
    number = Call(Name(f"{numpy_module}.multiarray", "scalar"),
                  Call(Name("numpy", "dtype"), "i8", False, True, state=(3, "<", None, None, None, -1, -1, 0)),
                  struct.pack("<q", 70000))  # fmt: skip
    content = {
        "G": nvidia_module(other, layout=layout),
        "D": persistent("Discriminator", modules={"b8": _tree(other.synthesis, {})}),
        "G_ema": nvidia_module(network, layout=layout),
        "augment_pipe": persistent("AugmentPipe", buffers={"p": torch.tensor(0.5)}),
        "training_set_kwargs": easy_dict({"path": "/data/faces.zip", "max_size": number}),
    }
    return dump(content, path, protocol=protocol, numpy_module=numpy_module)


def _torch_pickler(protocol=2):
    module = types.ModuleType("writer")
    module.Pickler, module.Unpickler = Pickler, pickle.Unpickler
    module.dump = lambda value, file, protocol=protocol: Pickler(file, protocol).dump(value)
    return module


def torch_save(value, path: Path, *, legacy=False):
    """torch.save, with a pickler that knows names."""
    torch.save(value, path, _use_new_zipfile_serialization=not legacy, pickle_module=_torch_pickler())
    return path


def rosinality_state(network: Generator, *, noises=True, kernels=True):
    """Return the state dict of rosinality's generator."""
    ours, out = network.state_dict(), {}
    for i in range(network.config.mapping_layers):
        for end in ("weight", "bias"):
            out[f"style.{i + 1}.{end}"] = ours[f"mapping.fc{i}.{end}"]
    out["input.input"] = ours["synthesis.b4.const"][None]
    layers = [name for name in network.synthesis.rows if "conv" in name]
    for n, name in enumerate(layers):
        theirs = "conv1" if n == 0 else f"convs.{n - 1}"
        out[f"{theirs}.conv.weight"] = ours[f"synthesis.{name}.weight"][None]
        for end in ("weight", "bias"):
            out[f"{theirs}.conv.modulation.{end}"] = ours[f"synthesis.{name}.affine.{end}"]
        if name.endswith("conv0") and kernels:
            out[f"{theirs}.conv.blur.kernel"] = ours[f"synthesis.{name}.resample_filter"] * 4
        out[f"{theirs}.noise.weight"] = ours[f"synthesis.{name}.noise_strength"][None]
        out[f"{theirs}.activate.bias"] = ours[f"synthesis.{name}.bias"]
        if noises:
            out[f"noises.noise_{n}"] = ours[f"synthesis.{name}.noise_const"][None, None]
    for n, r in enumerate(network.config.resolutions):
        theirs = "to_rgb1" if n == 0 else f"to_rgbs.{n - 1}"
        out[f"{theirs}.conv.weight"] = ours[f"synthesis.b{r}.torgb.weight"][None]
        for end in ("weight", "bias"):
            out[f"{theirs}.conv.modulation.{end}"] = ours[f"synthesis.b{r}.torgb.affine.{end}"]
        out[f"{theirs}.bias"] = ours[f"synthesis.b{r}.torgb.bias"].reshape(1, 3, 1, 1)
        if n and kernels:
            out[f"{theirs}.upsample.kernel"] = ours[f"synthesis.b{r}.resample_filter"] * 4
    return {name: value.clone() for name, value in out.items()}


def rosinality_train(network: Generator):
    """Return what rosinality's train.py keeps."""
    state, other = rosinality_state(network), {"convs.0.0.weight": torch.zeros(2)}
    optimizer = {
        "state": {0: {"step": 3, "exp_avg": torch.ones(4)}},
        "param_groups": [{"lr": 2e-3, "betas": (0, 0.99)}],
    }
    args = New(Name("argparse", "Namespace"), state={"size": 32, "path": "lmdb", "channel_multiplier": 2})
    wrong = {name: value + 1 for name, value in state.items()}
    return {
        "g": wrong, "d": other, "g_ema": state, "g_optim": optimizer, "d_optim": optimizer, "args": args,
        "ada_aug_p": 0.1, "latent_avg": network.mapping.w_avg.clone(),
    }  # fmt: skip


def encoder_checkpoint(network: Generator):
    """Return what pSp and e4e keep: an encoder and a decoder in one state dict, and `latent_avg` for each row."""
    state = {f"decoder.{name}": value for name, value in rosinality_state(network).items()}
    state["encoder.input_layer.0.weight"] = torch.zeros(4, 3, 3, 3)
    average = network.mapping.w_avg.clone()
    return {"state_dict": state, "latent_avg": average.repeat(network.config.num_ws, 1), "opts": {"stylegan_size": 32}}


def tensorflow(network: Generator, path: Path, *, protocol=4, numpy_module="numpy.core", **kwargs):
    """Write G, D and Gs as dnnlib.tflib does."""
    return dump(_tensorflow_networks(network, **kwargs), path, protocol=protocol, numpy_module=numpy_module)


def _tensorflow_networks(network: Generator, **kwargs):
    ours = {name: value.numpy() for name, value in network.state_dict().items()}
    mapping, synthesis = [], []
    for i in range(network.config.mapping_layers):
        mapping.append((f"Dense{i}/weight", ours[f"mapping.fc{i}.weight"].T))
        mapping.append((f"Dense{i}/bias", ours[f"mapping.fc{i}.bias"]))
    if network.config.c_dim:
        mapping.append(("LabelEmbed/weight", ours["mapping.embed.weight"].T))
        mapping.append(("LabelEmbed/bias", ours["mapping.embed.bias"]))
    synthesis.append(("4x4/Const/const", ours["synthesis.b4.const"][None]))
    layers = [name for name in network.synthesis.rows if "conv" in name]
    for n, name in enumerate(layers):
        r = int(name[1:].split(".")[0])
        theirs = f"{r}x{r}/" + {"b4.conv1": "Conv"}.get(name, "Conv0_up" if name.endswith("conv0") else "Conv1")
        weight = ours[f"synthesis.{name}.weight"].transpose(2, 3, 1, 0)
        weight = weight[::-1, ::-1] if name.endswith("conv0") else weight
        synthesis.append((f"{theirs}/weight", weight))
        synthesis += _tensorflow_layer(theirs, ours, name)
        synthesis.append((f"{theirs}/noise_strength", ours[f"synthesis.{name}.noise_strength"]))
        synthesis.append((f"noise{n}", ours[f"synthesis.{name}.noise_const"][None, None]))
    for r in network.config.resolutions:
        if f"synthesis.b{r}.skip.weight" in ours:
            weight = ours[f"synthesis.b{r}.skip.weight"].transpose(2, 3, 1, 0)
            synthesis.append((f"{r}x{r}/Skip/weight", weight))
        if f"synthesis.b{r}.torgb.weight" in ours:
            weight = ours[f"synthesis.b{r}.torgb.weight"].transpose(2, 3, 1, 0)
            synthesis.append((f"{r}x{r}/ToRGB/weight", weight))
            synthesis += _tensorflow_layer(f"{r}x{r}/ToRGB", ours, f"b{r}.torgb")

    def net(name, variables, components=None, **more):
        state = {"version": 4, "name": name, "static_kwargs": more, "components": components or {},
                 "build_module_src": "raise SystemExit", "variables": variables}  # fmt: skip
        return New(Name("dnnlib.tflib.network", "Network"), state=state)

    parts = {"synthesis": net("G_synthesis", synthesis), "mapping": net("G_mapping", mapping)}
    average = ("dlatent_avg", ours["mapping.w_avg"])
    static = {"resolution": network.config.size, "fmap_base": 16384, **kwargs}
    gs = net("Gs", [("lod", np.float32(0).reshape(())), average], parts, **static)
    g = net("G", [("lod", np.zeros((), np.float32))])
    return (g, net("D", []), gs)


def _tensorflow_layer(theirs, ours, name):
    return [
        (f"{theirs}/mod_weight", ours[f"synthesis.{name}.affine.weight"].T),
        (f"{theirs}/mod_bias", ours[f"synthesis.{name}.affine.bias"] - 1),
        (f"{theirs}/bias", ours[f"synthesis.{name}.bias"]),
    ]


if sys.byteorder != "little":  # the layouts above are written as they lie in memory
    raise RuntimeError("these writers are for little-endian machines")
