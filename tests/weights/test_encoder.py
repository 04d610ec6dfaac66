import pytest
import torch

from tests.conftest import CPU, tiny_generator
from weights.encoder import Encoder
from weights.errors import InvalidFile
from weights.formats import native
from weights.load import load_generator


def test_state_survives_and_larger_pictures_are_averaged():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder({32: 4, 16: 4, 8: 6, 4: 6}, 12)
        x = torch.randn(2, 3, 32, 32)
    again = Encoder.from_state(encoder.state_dict())
    w = encoder(x)
    assert encoder.size == 32
    assert torch.equal(again(x), w)
    assert torch.allclose(encoder(x.repeat_interleave(2, 2).repeat_interleave(2, 3)), w, atol=1e-5)
    assert torch.allclose(w.mean(dim=1), torch.zeros(2), atol=1e-5)
    assert torch.allclose(w.var(dim=1, unbiased=False), torch.ones(2), atol=1e-3)


@torch.no_grad()
def test_embedded_encoder_knows_the_embedded_generator():
    generator = load_generator(device=CPU)
    assert generator.encoder is not None
    z = torch.randn(8, generator.network.config.z_dim, generator=torch.Generator().manual_seed(0))
    images = generator.network(z, truncation_psi=0.7)
    w = generator.encoder(images)
    again = generator.network.synthesis(w[:, None].repeat(1, generator.network.config.num_ws, 1))
    own = (again - images).square().mean()
    others = (again.roll(1, dims=0) - images).square().mean()
    assert own < 0.35 * others


def test_other_state_is_refused():
    with pytest.raises(KeyError):
        Encoder.from_state({"trunk.rgb.8.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    "change",
    [
        {"trunk.blocks.8.c0.weight": torch.zeros(1, 60_000, 1, 1)},  # 130 GB, were it made before it is looked at
        {"trunk.blocks.x.c0.weight": torch.zeros(4, 4, 3, 3)},
        {"trunk.blocks.8.c0.weight": torch.zeros(())},
        {"out.weight": torch.zeros(())},
    ],
)
def test_an_encoder_that_is_none_is_refused_before_it_is_made(tmp_path, change):
    path = tmp_path / "tiny.safetensors"
    native.write(path, tiny_generator(16).state_dict(), {"frame": "center"})
    state = Encoder({16: 4, 8: 4, 4: 4}, 16).state_dict()
    native.write(path.with_name("tiny-encoder.safetensors"), state, {})
    assert load_generator(path, device=CPU).encoder is not None
    native.write(path.with_name("tiny-encoder.safetensors"), state | change, {})
    with pytest.raises(InvalidFile, match="holds no encoder"):
        load_generator(path, device=CPU)


def test_a_generator_of_a_huge_z_is_refused(tmp_path):
    path = tmp_path / "tiny.safetensors"
    native.write(path, tiny_generator(16, z_dim=5000).state_dict(), {"frame": "center"})
    with pytest.raises(InvalidFile, match="its z is 5000 wide and its classes 0: up to 4096 are read"):
        load_generator(path, device=CPU)
