"""A generator ready to use, by name or from a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import torch

from weights.encoder import Encoder
from weights.errors import InvalidFile, InvalidInput
from weights.files import sha256
from weights.formats import native
from weights.generator import Generator, GeneratorConfig

Frame = Literal["ffhq", "center"]

FACES = Path(__file__).with_name("faces")
EMBEDDED = "faces-128"


@dataclass(frozen=True, kw_only=True)
class LoadedGenerator:
    """A generator, and what is known of it.

    Attributes:
        name: what to call it: the embedded one's name, or the file's.
        network: frozen, in evaluation mode.
        encoder: for the start of an inversion, where there is one.
        frame: how its crops are cut.
        sha256: of the file it came from.
        spread: root mean square of w - w_avg, the scale of steps in W.
        license: SPDX expression or words; empty where unknown.
    """

    name: str
    network: Generator
    encoder: Encoder | None
    frame: Frame
    sha256: str
    spread: float
    license: str

    @property
    def size(self) -> int:
        """Height and width of its pictures."""
        return self.network.config.size


def load_generator(name: str | Path = EMBEDDED, *, device: torch.device, frame: Frame | None = None) -> LoadedGenerator:
    """Load the embedded generator by its name, or a generator from a file.

    Args:
        name: `faces-128`, or the path of a file.
        device: where its parameters go.
        frame: how its crops are cut, where the file does not say.

    Raises:
        InvalidInput: neither an embedded generator nor a file is called so.
        InvalidFile: the file holds no generator.
    """
    embedded = FACES / f"{name}.safetensors"
    path = embedded if embedded.exists() else Path(name)
    if not path.is_file():
        raise InvalidInput(f"No generator and no file is called {str(name)!r}: use {EMBEDDED} or a file's path.")
    state, metadata = native.read(path)
    try:
        config = GeneratorConfig.from_state(state, conv_clamp=_optional_float(metadata.get("conv_clamp")))
        with torch.device("cpu"):
            network = Generator(config)
        network.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise InvalidFile(f"{path} holds no StyleGAN2 generator: {error}.") from error
    network.eval().requires_grad_(False).to(device)
    return LoadedGenerator(
        name=path.stem,
        network=network,
        encoder=_load_encoder(path, device),
        frame=frame or _frame(metadata),
        sha256=sha256(path),
        spread=network.mapping.spread(),
        license=metadata.get("license", ""),
    )


def _load_encoder(path: Path, device: torch.device) -> Encoder | None:
    """Load the encoder that lies beside a generator's file as NAME-encoder.safetensors."""
    beside = path.with_name(f"{path.stem}-encoder.safetensors")
    if not beside.exists():
        return None
    state, _ = native.read(beside)
    try:
        with torch.device("cpu"):
            encoder = Encoder.from_state(state)
    except (KeyError, RuntimeError) as error:
        raise InvalidFile(f"{beside} holds no encoder: {error}.") from error
    return encoder.eval().requires_grad_(False).to(device)


def _frame(metadata: dict[str, str]) -> Frame:
    frame = metadata.get("frame", "center")
    if frame not in get_args(Frame):
        raise InvalidFile(f"The generator's frame is {frame!r}, which is none of {', '.join(get_args(Frame))}.")
    return cast(Frame, frame)


def _optional_float(text: str | None) -> float | None:
    return float(text) if text else None
