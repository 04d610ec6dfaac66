import numpy as np
import pytest
import torch

from tests.conftest import DATA, tiny_generator, tiny_ws
from weights.generator import Generator, GeneratorConfig, convolve


@pytest.fixture(scope="module", params=[("skip32", None), ("clamp64", 256.0)], ids=["skip32", "clamp64"])
def reference(request):
    """A network of NVIDIA's implementation: its state, inputs and outputs."""
    name, conv_clamp = request.param
    with np.load(DATA / "stylegan2_nvidia.npz") as data:
        values = {
            key.removeprefix(f"{name}/"): torch.from_numpy(data[key]) for key in data.files if key.startswith(name)
        }
    state = {key.removeprefix("state/"): value for key, value in values.items() if key.startswith("state/")}
    network = Generator(GeneratorConfig.from_state(state, conv_clamp=conv_clamp))
    network.load_state_dict(state)
    return network.requires_grad_(False), values


def close(a, b):
    return torch.allclose(a, b, rtol=0, atol=1e-4)


def test_mapping_equals_reference(reference):
    network, values = reference
    assert close(network.mapping(values["z"]), values["w"])
    assert close(network.mapping(values["z"], truncation_psi=0.7), values["w_psi0.7"])


def test_images_equal_reference(reference):
    network, values = reference
    assert close(network(values["z"]), values["image_const"])
    assert close(network(values["z"], truncation_psi=0.7, noise_mode="none"), values["image_psi0.7_nonoise"])


@pytest.mark.parametrize("n", [1, 2, 5])
def test_batch_size_changes_nothing(reference, n):
    network, values = reference
    ws = values["w"][torch.arange(n) % 2]
    expected = values["image_const"][torch.arange(n) % 2]
    assert close(network.synthesis(ws), expected)


def test_trainable_and_frozen_weights_agree_and_frozen_ones_follow_changes(reference):
    network, values = reference
    frozen = network.synthesis(values["w"])
    network.requires_grad_(True)
    assert close(network.synthesis(values["w"]), frozen)
    network.requires_grad_(False)
    layer = network.synthesis.blocks[-1].conv1
    before = layer.weight.clone()
    layer.weight.mul_(-1)
    assert not close(network.synthesis(values["w"]), frozen)
    layer.weight.copy_(before)
    assert close(network.synthesis(values["w"]), frozen)


def test_gradients_reach_every_row():
    network = tiny_generator(8, channels=3, dtype=torch.float64, w_dim=4, z_dim=4)
    ws = tiny_ws(network).requires_grad_()
    assert torch.autograd.gradcheck(network.synthesis, ws)
    (gradient,) = torch.autograd.grad(network.synthesis(ws).square().sum(), ws)
    assert (gradient.abs().sum(dim=2) > 0).all()


def test_features_are_what_the_picture_is_made_of():
    network = tiny_generator(32)
    ws = tiny_ws(network)
    assert network.synthesis.features(ws, 16).shape == (1, 16, 16, 16)
    last = network.synthesis.blocks[-1]
    smaller = [network.synthesis.features(ws, r) for r in (4, 8, 16, 32)]
    image = None
    for block, x in zip(network.synthesis.blocks, smaller, strict=True):
        rgb = block.torgb(x, ws[:, network.synthesis.rows[f"b{block.resolution}.torgb"]])
        image = rgb if image is None else rgb + block.upsample(image)
    assert last.resolution == 32
    assert close(image, network.synthesis(ws))
    with pytest.raises(ValueError, match="got 64"):
        network.synthesis.features(ws, 64)


def test_rows_name_each_layer_once_and_torgb_shares_with_the_next_block():
    network = tiny_generator(16)
    assert network.synthesis.rows == {
        **{"b4.conv1": 0, "b4.torgb": 1, "b8.conv0": 1, "b8.conv1": 2, "b8.torgb": 3},
        **{"b16.conv0": 3, "b16.conv1": 4, "b16.torgb": 5},
    }
    assert network.config.num_ws == 6
    ws = tiny_ws(network).requires_grad_()
    # Features at 8 px depend on the rows of the layers up to there, and on no other.
    (gradient,) = torch.autograd.grad(network.synthesis.features(ws, 8).sum(), ws)
    assert [bool(g) for g in gradient[0].abs().sum(dim=1) > 0] == [True, True, True, False, False, False]


def test_there_is_a_picture_without_noise():
    network = tiny_generator(16)
    ws = tiny_ws(network)
    shown, none = network.synthesis(ws), network.synthesis(ws, noise_mode="none")
    for layer in network.synthesis.blocks[-1].conv0, network.synthesis.blocks[-1].conv1:
        layer.noise_const.mul_(-1)
    assert not close(network.synthesis(ws), shown)
    assert torch.equal(network.synthesis(ws, noise_mode="none"), none)


def test_truncation_cutoff_leaves_the_later_rows_alone():
    network = tiny_generator(16)
    z = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    ws = network.mapping(z, truncation_psi=0.5, truncation_cutoff=2)
    assert close(ws[:, 2:], network.mapping(z)[:, 2:])
    assert close(ws[:, :2], network.mapping(z, truncation_psi=0.5)[:, :2])


def test_conditional_mapping_depends_on_the_class():
    network = tiny_generator(8, c_dim=3)
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    one, other = (network.mapping(z, torch.eye(3)[i : i + 1]) for i in (0, 1))
    assert not close(one, other)
    assert GeneratorConfig.from_state(network.state_dict()) == network.config


def test_bfloat16_is_near_float32():
    network = tiny_generator(32)
    ws = tiny_ws(network)
    exact, rough = network.synthesis(ws), network.synthesis(ws, dtype=torch.bfloat16)
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().max() < 0.05 * exact.abs().max()


def test_the_way_past_a_block_is_not_clamped():
    free, clamped = (tiny_generator(8, architecture="resnet", conv_clamp=clamp) for clamp in (None, 0.1))
    x = torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(clamped.synthesis.b8.skip(x), free.synthesis.b8.skip(x))


def test_valid_convolution_is_the_inner_part_of_the_padded_one():
    network = tiny_generator(16)
    x = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    block = network.synthesis.blocks[-1]
    for layer, lost in ((block.conv1, 1), (block.conv0, 2)):
        constants = layer.kernel(x.dtype).weight, layer.taps(x.dtype) if layer.up else None
        whole = convolve(x, *constants)
        assert close(convolve(x, *constants, valid=True), whole[:, :, lost:-lost, lost:-lost])
