"""The networks of a training run: made, grown from smaller ones, averaged."""

import copy
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from weights.encoder import Encoder
from weights.errors import InvalidFile, InvalidInput
from weights.generator import FullyConnected, Generator, GeneratorConfig
from weights.training.discriminator import Discriminator
from weights.training.settings import NetworkSettings

ENCODER_MAX = 128  # px; larger pictures are averaged down, which is cheap and loses little of a code
RESOLUTION = re.compile(r"\.(?:b|rgb\.|blocks\.)(\d+)\.")


class Networks(nn.Module):
    """Generator, encoder and discriminator, and the averages of the first two, which are what is used later."""

    def __init__(self, settings: NetworkSettings, *, encoder_size: int, random: torch.Generator) -> None:
        """Make fresh networks on the CPU, all their random numbers from `random`."""
        super().__init__()
        self.generator = Generator(generator_config(settings))
        self.encoder = Encoder(trunk_channels(settings, encoder_size), settings.w_dim)
        self.discriminator = Discriminator(trunk_channels(settings, settings.size))
        for network in self.children():
            initialise(network, random)
        self.generator.mapping.requires_grad_(False)  # it is fitted at the export
        self.mean_generator = copy.deepcopy(self.generator).requires_grad_(False)
        self.mean_encoder = copy.deepcopy(self.encoder).requires_grad_(False)

    @property
    def num_ws(self) -> int:
        """Rows of W+."""
        return self.generator.config.num_ws

    @property
    def finite(self) -> bool:
        """Whether all weights are numbers."""
        return all(bool(value.isfinite().all()) for value in self.state_dict().values())

    @torch.no_grad()
    def average(self, keep: float) -> None:
        """Move the averages toward the networks as they are now; they keep the share `keep` of what they were."""
        for mean, now in ((self.mean_generator, self.generator), (self.mean_encoder, self.encoder)):
            torch._foreach_lerp_(list(mean.parameters()), list(now.parameters()), 1 - keep)


def generator_config(settings: NetworkSettings) -> GeneratorConfig:
    """Return the generator's shape."""
    resolutions = [4 << i for i in range(settings.size.bit_length() - 2)]
    return GeneratorConfig(
        channels=tuple(max(1, min(settings.channel_base // r, settings.channel_max)) for r in resolutions),
        z_dim=settings.z_dim,
        w_dim=settings.w_dim,
        mapping_layers=settings.mapping_layers,
    )


def trunk_channels(settings: NetworkSettings, size: int) -> dict[int, int]:
    """Return the channels at each resolution of an encoder or a discriminator, from `size` down to 4."""
    channels, r = {}, size
    while r >= 4:
        channels[r] = max(1, min(settings.channel_base // 2 // r, settings.channel_max))
        r //= 2
    return channels


@torch.no_grad()
def initialise(network: nn.Module, random: torch.Generator) -> None:
    """Draw all weights and noise maps anew from `random`, normal and of the deviation that each layer wants."""
    for module in network.modules():
        std = 1 / module.bias_gain if isinstance(module, FullyConnected) else 1.0
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            if name in ("weight", "const", "noise_const"):
                tensor.normal_(std=std, generator=random)


@torch.no_grad()
def restore(networks: Networks, state: Mapping[str, Tensor], *, size: int) -> None:
    """Load the state of networks for pictures of `size` px; where these are larger, they are grown.

    Blocks are named by their resolution: those that the state has are kept, others stay as they are, fresh. A fresh
    block of the generator adds nothing to the picture at first (its RGB is zero), so that the grown one shows the old
    picture enlarged. The picture's way into a grown trunk is fresh. What is kept of a grown generator and encoder are
    their averages: new blocks would else learn on the last step's weights, and the averages end there with them while
    the old blocks wait.

    Raises:
        InvalidInput: the state is of larger networks, or of other widths.
        InvalidFile: something is missing.
    """
    grown_to = networks.generator.config.size
    if size > grown_to:
        raise InvalidInput(f"The checkpoint is of {size} px, which cannot become {grown_to}: give --size {size}.")
    if size < grown_to:
        averages = {name.removeprefix("mean_"): value for name, value in state.items() if name.startswith("mean_")}
        state = {**state, **averages}
    own = networks.state_dict()
    for name, value in own.items():
        if name in state and state[name].shape == value.shape:
            own[name] = state[name].to(value.dtype)
        elif name in state:
            shapes = f"{tuple(state[name].shape)}, where the settings make it {tuple(value.shape)}"
            raise InvalidInput(f"In the checkpoint {name} is {shapes}: give the run's own --channel-base and widths.")
        elif not _is_new(name, state):
            raise InvalidFile(f"The checkpoint has no {name}: it is of no training run, or of another version.")
    networks.load_state_dict(own)
    for network in (networks.generator, networks.mean_generator):
        for block in network.synthesis.blocks:
            if block.resolution > size:
                nn.init.zeros_(block.torgb.weight)


def _is_new(name: str, state: Mapping[str, Tensor]) -> bool:
    """Tell whether a parameter belongs to a block of a resolution that the state's network does not have."""
    found = RESOLUTION.search(name)
    return found is not None and not any(key.startswith(name[: found.end()]) for key in state)


def in_new_blocks(name: str, size: int) -> bool:
    """Tell whether a generator's parameter belongs to a block above `size` px."""
    found = RESOLUTION.search(f".{name}")
    return found is not None and int(found[1]) > size
