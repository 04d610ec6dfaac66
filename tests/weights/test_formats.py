"""A random generator in every layout gives the pictures of its source."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.conftest import CPU, tiny_generator
from tests.weights import writers
from tests.weights.writers import Name, New, dump, nvidia, persistent, torch_save
from weights.errors import InvalidFile
from weights.formats import native
from weights.formats.read import read_checkpoint, read_pivot
from weights.load import load_generator


def random_generator(size=16, *, seed=0, **config):
    """A tiny generator in which no number is the default one."""
    network = tiny_generator(size, channels=8, seed=seed, **config)
    random = torch.Generator().manual_seed(seed + 1)
    for name, value in network.state_dict().items():
        if not name.endswith("resample_filter"):
            value += 0.1 * torch.randn(value.shape, generator=random)
    return network


@torch.no_grad()
def picture(network, *, c=None, psi=0.7):
    z = torch.randn(2, network.config.z_dim, generator=torch.Generator().manual_seed(7))
    return network(z, c, truncation_psi=psi)


def same(path, network, **more):
    loaded = load_generator(path, device=CPU)
    difference = (picture(loaded.network, **more) - picture(network, **more)).abs().max()
    assert difference < 1e-4
    assert loaded.network.config == network.config
    return loaded


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("layout", ["ada", "stylegan3"])
def test_nvidia(tmp_path, protocol, layout):
    network = random_generator(conv_clamp=256.0 if layout == "stylegan3" else None)
    path = nvidia(network, tmp_path / "file", protocol=protocol, layout=layout, other=random_generator(seed=5))
    assert same(path, network).format == "NVIDIA torch pickle, 'G_ema'"


def test_numpy_2_names(tmp_path):
    network = random_generator()
    same(nvidia(network, tmp_path / "a.pkl", numpy_module="numpy._core"), network)
    same(writers.tensorflow(network, tmp_path / "b.pkl", numpy_module="numpy._core"), network)


@pytest.mark.parametrize(
    "config",
    [
        {"mapping_layers": 8},
        {"z_dim": 8, "w_dim": 24},
        {"c_dim": 3},
        {"conv_clamp": 256.0},
        {"portrait": True},
        {"architecture": "resnet", "conv_clamp": 256.0},
        {"architecture": "orig"},
    ],
    ids=str,
)
def test_variants(tmp_path, config):
    network = random_generator(**config)
    more = {"c": torch.eye(3)[[0, 2]]} if "c_dim" in config else {}
    same(nvidia(network, tmp_path / "file"), network, **more)
    if config.get("portrait"):
        assert picture(network).shape == (2, 3, 16, 8)
    elif "conv_clamp" not in config:
        same(writers.tensorflow(network, tmp_path / "tf.pkl"), network, **more)
    own = tmp_path / "own.safetensors"
    metadata = {"conv_clamp": str(config["conv_clamp"])} if "conv_clamp" in config else {}
    native.write(own, network.state_dict(), metadata)
    same(own, network, **more)


def test_a_smaller_channel_base_gives_fewer_channels(tmp_path):
    network = random_generator()
    config = dataclasses.replace(network.config, channels=(8, 6, 4))
    narrow = type(network)(config).eval().requires_grad_(False)
    same(nvidia(narrow, tmp_path / "file"), narrow)
    same(torch_save({"g_ema": writers.rosinality_state(narrow)}, tmp_path / "pt"), narrow, psi=1)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_tensorflow(tmp_path, protocol):
    network = random_generator()
    loaded = same(writers.tensorflow(network, tmp_path / "file", protocol=protocol), network)
    assert loaded.format == "NVIDIA TensorFlow pickle"


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("make", [writers.rosinality_train, writers.encoder_checkpoint])
def test_rosinality(tmp_path, make, legacy):
    network = random_generator(32)
    loaded = same(torch_save(make(network), tmp_path / "file", legacy=legacy), network)
    assert "rosinality" in loaded.format


@pytest.mark.parametrize("legacy", [False, True])
def test_bare_state_dicts(tmp_path, legacy):
    network = random_generator()
    same(torch_save(network.state_dict(), tmp_path / "ours", legacy=legacy), network)
    prefixed = {f"module.{name}": value for name, value in network.state_dict().items()}
    same(torch_save({"G_ema": prefixed}, tmp_path / "prefixed", legacy=legacy), network)
    same(dump(network.state_dict(), tmp_path / "plain.pkl"), network)
    path = tmp_path / "theirs.safetensors"
    native.write(path, writers.rosinality_state(network), {})
    same(path, network, psi=1)


@pytest.mark.parametrize("legacy", [False, True])
def test_whole_module_of_pti(tmp_path, legacy):
    network = random_generator()
    path = torch_save(writers.nvidia_module(network), tmp_path / "model_ABC_me.pt", legacy=legacy)
    assert "PTI" in same(path, network).format


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_come_as_float32(tmp_path, dtype):
    network = random_generator()
    rounded = {name: value.to(dtype) for name, value in network.state_dict().items()}
    network.load_state_dict(rounded)
    same(torch_save(rounded, tmp_path / "file"), network)


def test_strided_weights(tmp_path):
    network = random_generator()
    state = {k: v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 else v
             for k, v in network.state_dict().items()}  # fmt: skip
    state["mapping.fc0.weight"] = state["mapping.fc0.weight"].t().contiguous().t()
    same(torch_save(state, tmp_path / "a"), network)
    same(dump(state, tmp_path / "b"), network)


def test_the_mean_latent_is_made_where_a_file_has_none(tmp_path):
    network = random_generator()
    network.mapping.average()
    loaded = same(torch_save({"g_ema": writers.rosinality_state(network)}, tmp_path / "file"), network)
    assert loaded.network.mapping.w_avg.abs().max() > 0


def test_missing_noise_maps_are_filled_and_told(tmp_path):
    state = writers.rosinality_state(random_generator(), noises=False, kernels=False)
    checkpoint = read_checkpoint(torch_save({"g_ema": state}, tmp_path / "file"))
    assert checkpoint.notes == ("the file has no fixed noise maps: random ones were put in",)


@pytest.mark.parametrize("shape", [(1, 8, 16), (8, 16)])
def test_pivots(tmp_path, shape):
    w = torch.randn(shape)
    np.save(tmp_path / "w.npy", w.numpy())
    torch_save(w, tmp_path / "0.pt")
    torch_save({"w": w.half()}, tmp_path / "old.pt", legacy=True)
    for name in ("w.npy", "0.pt", "old.pt"):
        pivot = read_pivot(tmp_path / name)
        assert pivot.shape == (1, 8, 16)
        assert torch.allclose(pivot, w.reshape(1, 8, 16), atol=2e-3)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((2, 8, 16), np.float32), "no latent"),
        (np.full((8, 16), np.nan, np.float32), "not finite"),
        (np.zeros((8, 16), np.int64), "'int64'"),
        (np.zeros(5, object), "'object'"),
    ],
)
def test_other_arrays_are_no_pivots(tmp_path, value, message):
    np.save(tmp_path / "w.npy", value, allow_pickle=True)
    with pytest.raises(InvalidFile, match=message):
        read_pivot(tmp_path / "w.npy")


def network_of(*names, kind="Generator"):
    """A module in NVIDIA's layout with parameters of these names, all of one number."""
    tree: dict = {}
    for name in names:
        node = tree
        *path, _ = name.split(".")
        for part in path:
            node = node.setdefault(part, {})

    def make(node, name):
        return persistent(name, parameters={"weight": torch.zeros(1)},
                          modules={key: make(child, key) for key, child in node.items()})  # fmt: skip

    return make(tree, kind)


def _tf(*names):
    state = {"version": 4, "static_kwargs": {}, "components": {},
             "variables": [(name, np.zeros((1, 1), np.float32)) for name in names]}  # fmt: skip
    network = New(Name("dnnlib.tflib.network", "Network"), state=state)
    return (network, network, network)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"G_ema": network_of("synthesis.input.weight", "synthesis.L0_36_1024.weight")}, "StyleGAN3"),
        ({"G_ema": network_of("backbone.mapping.fc0.weight")}, "EG3D"),
        ({"G_ema": network_of("b4.out.weight", kind="Discriminator")}, "discriminator"),
        ({"G_ema": network_of("encoder.weight", kind="Unet")}, "class 'Unet'"),
        (_tf("G_synthesis/4x4/Const/StyleMod/weight"), "StyleGAN1"),
        (_tf("G_mapping/LabelConcat/weight"), "labels"),
        (_tf("4x4/Dense/weight", "ToRGB_lod0/weight"), "Progressive GAN"),
        (_tf("something/else"), "'something/else'"),
        (New(Name("tfutil", "Network"), state={}), "Progressive GAN"),
        (New(Name("model", "Generator"), state={}), "whole module"),
        ({"weights": [1, 2]}, "the keys 'weights'"),
        ({"state_dict": {"conv.weight": torch.zeros(3)}}, "no generator is in it"),
        (torch.zeros(1, 18, 512), "perhaps a latent"),
        (7, "a int"),
    ],
)
def test_other_networks_are_named(tmp_path, value, message):
    path = dump(value, tmp_path / "file.pkl")
    with pytest.raises(InvalidFile, match=message):
        load_generator(path, device=CPU)


def test_contradictions_are_found(tmp_path):
    network = random_generator()
    tree = writers.nvidia_module(network)
    tree.args[0]["state"]["img_resolution"] = 512
    with pytest.raises(InvalidFile, match="img_resolution is 512, but its tensors make it 16"):
        load_generator(dump({"G_ema": tree}, tmp_path / "a.pkl"), device=CPU)
    for change, message in [
        ({"synthesis.b8.conv1.bias": torch.zeros(3)}, "b8.conv1.bias is of the shape"),
        ({"synthesis.b8.conv0.weight": None}, "b8.conv0.weight is missing"),
        ({"synthesis.extra": torch.zeros(1)}, "'synthesis.extra' belongs to no part"),
        ({"synthesis.b8.conv1.bias": torch.full((8,), torch.inf)}, "not finite"),
        ({"mapping.fc0.weight": None}, "mapping.fc0.weight"),
        ({"synthesis.b4.const": torch.zeros(8, 3, 3)}, "constant input"),
        ({"mapping.fc0.bias": torch.zeros(16, dtype=torch.int64)}, "no floats"),
    ]:
        state = {k: v for k, v in {**network.state_dict(), **change}.items() if v is not None}
        with pytest.raises(InvalidFile, match=message):
            load_generator(torch_save(state, tmp_path / "b.pt"), device=CPU)


@pytest.mark.parametrize("average", [torch.zeros(0), torch.zeros(3, 0)])
def test_an_empty_latent_average(tmp_path, average):
    state = writers.rosinality_train(random_generator()) | {"latent_avg": average}
    with pytest.raises(InvalidFile, match="latent_avg is no latent"):
        load_generator(torch_save(state, tmp_path / "a.pt"), device=CPU)


def test_a_synthesis_network_without_layers(tmp_path):
    network = random_generator()
    tree = writers.nvidia_module(network)
    parameters = {name: torch.nn.Parameter(value.clone()) for name, value in network.synthesis.named_parameters()}
    flat = persistent("SynthesisNetwork", parameters=parameters, buffers=dict(network.synthesis.named_buffers()))
    tree.args[0]["state"]["_modules"]["synthesis"] = flat
    with pytest.raises(InvalidFile, match="no layers"):
        load_generator(dump({"G_ema": tree}, tmp_path / "a.pkl"), device=CPU)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"\xff\xd8\xff\xe0 JFIF", "a JPEG picture"),
        (b"\x89PNG\r\n", "a PNG picture"),
        (b"\n<!DOCTYPE html><title>Quota exceeded", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"\x80\x63.", "protocol 99"),
        (b"hello", "a text"),
        (b"\x00\x01\x02", "of no kind"),
        (b"", "empty"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, head, message):
    path = tmp_path / "ffhq.pkl"
    path.write_bytes(head)
    with pytest.raises(InvalidFile, match=message):
        load_generator(path, device=CPU)
