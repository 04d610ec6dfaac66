"""A generator ready to use, by name or from a file."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch

from weights.catalog import EMBEDDED, Entry, catalog, recognise
from weights.encoder import Encoder
from weights.errors import InvalidFile, InvalidInput
from weights.files import replacing, sha256
from weights.formats import native
from weights.formats.checkpoint import Checkpoint
from weights.formats.errors import shown
from weights.formats.read import read_checkpoint, read_pivot
from weights.generator import Generator, GeneratorConfig
from weights.outputs import check_apart, check_place
from weights.store import Store

Frame = Literal["ffhq", "center"]

FACES = Path(__file__).with_name("faces")
WIDEST = 4096  # z and classes of a generator; NVIDIA's have 512
EMBEDDED_USUAL_LOSS = 0.22  # of the pivots of 40 held-out faces, in the case "default" of benchmarks/inversion.py


@dataclass(frozen=True, kw_only=True)
class LoadedGenerator:
    """A generator, and what is known of it.

    Attributes:
        name: what to call it: the embedded one's name, or the file's.
        network: frozen, in evaluation mode.
        encoder: for the start of an inversion, where there is one.
        frame: how its crops are cut.
        sha256: of the file it came from.
        encoder_sha256: of the encoder's; empty without one.
        spread: root mean square of w - w_avg, the scale of steps in W.
        license: SPDX expression or words; empty where unknown.
        usual_loss: which 19 of 20 faces stay below when they are inverted by the default settings; None where nobody
            measured it.
        format: the layout that its file has, in words.
        notes: what the file left out and had to be filled in.
    """

    name: str
    network: Generator
    encoder: Encoder | None
    frame: Frame
    sha256: str
    spread: float
    license: str
    encoder_sha256: str = ""
    usual_loss: float | None = None
    format: str = ""
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Height of its pictures, and their width unless they are portraits."""
        return self.network.config.size


def load_generator(
    name: str | Path = EMBEDDED, *, device: torch.device, frame: Frame | None = None, store: Store | None = None
) -> LoadedGenerator:
    """Load a generator by its name, or from a file of any known layout.

    Args:
        name: `faces-128`, which is embedded; a generator of the catalogue, fetched where it is not there yet; or
            the path of a file.
        device: where its parameters go.
        frame: how its crops are cut; by default as the file's metadata or the catalogue say, else `center`.
        store: where the catalogue's files are kept; the default one where none is given.

    Raises:
        InvalidInput: neither a generator nor a file is called so.
        InvalidFile: the file holds no generator that can be used.
        WeightsMissing: it cannot be fetched, or its licence was not accepted.
    """
    store = store or Store()
    path = find_generator(name, store=store)
    checkpoint = read_checkpoint(path)
    digest = sha256(path)
    network = build(checkpoint, path)
    spread = network.mapping.spread()
    if not 0 < spread < math.inf:
        raise InvalidFile(f"{path} holds no generator that can be used: all its codes are one, or not finite.")
    known = recognise(digest) or _kept(path, store)
    return LoadedGenerator(
        name=path.stem if known is None else known.name,
        network=network.to(device),
        encoder=_load_encoder(path, network, device),
        frame=frame or _frame(checkpoint.metadata, known),
        sha256=digest,
        encoder_sha256=sha256(beside) if (beside := _encoder_beside(path)).exists() else "",
        spread=spread,
        license=checkpoint.metadata.get("license") or (known.license if known else ""),
        usual_loss=_usual_loss(path, checkpoint.metadata),
        format=checkpoint.format,
        notes=checkpoint.notes,
    )


def _usual_loss(path: Path, metadata: dict[str, str]) -> float | None:
    """Return what a file says of itself, or is known of the embedded one."""
    try:
        return float(metadata["usual_loss"])
    except (KeyError, ValueError):
        return EMBEDDED_USUAL_LOSS if path.parent == FACES else None


def better(generator: LoadedGenerator) -> str | None:
    """Return the catalogue's name of a larger generator of the same frame; None where there is none."""
    larger = [e for e in catalog().values() if e.kind == "generator" and e.frame == generator.frame and e.sources]
    return next((e.name for e in larger if e.size and e.size > generator.size), None)


def _kept(path: Path, store: Store) -> Entry | None:
    """Return the catalogue's entry that a store keeps at a path: of some files nobody published a hash."""
    generators = (entry for entry in catalog().values() if entry.kind == "generator")
    return next((entry for entry in generators if store.path(entry.name).resolve() == path.resolve()), None)


def find_generator(name: str | Path, *, store: Store) -> Path:
    """Return the file of a generator, by the embedded one's name, the catalogue's, or its path.

    Raises:
        InvalidInput: nothing is called so.
        WeightsMissing: it cannot be fetched.
    """
    if str(name) == EMBEDDED:
        return FACES / f"{EMBEDDED}.safetensors"
    entry = catalog().get(str(name))
    if entry is not None and entry.kind == "generator" and not Path(name).is_file():
        return store.get(entry.name)
    if not Path(name).is_file():
        raise InvalidInput(
            f"No generator and no file is called {str(name)!r}: use {EMBEDDED}, a name that `photodrag weights list` "
            "shows, or a file's path."
        )
    return Path(name)


def describe(name: str | Path, *, store: Store) -> dict[str, Any]:
    """Return what the file of a generator or of a pivot holds, as JSON's types.

    See `load_generator` for arguments and errors.
    """
    path = find_generator(name, store=store)
    try:
        loaded = load_generator(name, device=torch.device("cpu"), store=store)
    except InvalidFile as error:
        try:
            pivot = read_pivot(path)
        except InvalidFile:
            raise error from None
        return {
            "file": str(path),
            "format": "pivot: a latent, which shows its face by the generator that was tuned around it alone",
            "bytes": path.stat().st_size,
            "rows": pivot.shape[1],
            "w_dim": pivot.shape[2],
        }
    config = loaded.network.config
    return {
        "file": str(path),
        "name": loaded.name,
        "format": loaded.format,
        "bytes": path.stat().st_size,
        "sha256": loaded.sha256,
        "size": [config.width, config.size],
        "frame": loaded.frame,
        "license": loaded.license,
        "architecture": config.architecture,
        "channels": list(config.channels),
        "z_dim": config.z_dim,
        "w_dim": config.w_dim,
        "num_ws": config.num_ws,
        "mapping_layers": config.mapping_layers,
        "classes": config.c_dim,
        "conv_clamp": config.conv_clamp,
        "spread": round(loaded.spread, 4),
        "notes": list(loaded.notes),
    }


def convert(
    name: str | Path, output: Path, *, frame: Frame | None = None, overwrite: bool = False, store: Store | None = None
) -> dict[str, Any]:
    """Write a generator of any known layout as an own file, and return the metadata that it was given.

    An encoder that lies beside the source is copied beside the output; another one there is removed.

    Raises:
        InvalidInput: the output or its encoder exists and `overwrite` is not set, or is what is read, or lies where
            nothing may be written; or the output does not end in .safetensors; and see `load_generator`.
    """
    if output.suffix != ".safetensors":
        raise InvalidInput(f"{output} does not end in .safetensors, which is what is written: give such a name.")
    store = store or Store()
    source = find_generator(name, store=store)
    encoders = _encoder_beside(source), _encoder_beside(output)
    apart = encoders[0].resolve() != encoders[1].resolve()
    outputs = [output, encoders[1]] if apart else [output]
    check_apart(outputs, [source, encoders[0]])
    for path in outputs:
        check_place(path, overwrite=overwrite)
    loaded = load_generator(name, device=torch.device("cpu"), frame=frame, store=store)
    metadata = _metadata(loaded, source)
    try:
        native.write(output, loaded.network.state_dict(), metadata)
        if apart and encoders[0].exists():
            with replacing(encoders[1]) as temporary:
                shutil.copyfile(encoders[0], temporary)
        elif apart:
            encoders[1].unlink(missing_ok=True)
    except OSError as error:
        raise InvalidInput(f"{output} cannot be written: {error.strerror or error}.") from error
    return metadata | {"output": str(output), "encoder": str(encoders[1]) if encoders[1].exists() else ""}


def _metadata(loaded: LoadedGenerator, source: Path) -> dict[str, str]:
    """Return what an own file says of a generator that came from another one."""
    config = loaded.network.config
    told = {
        "architecture": f"stylegan2-{config.architecture}" + ("-portrait" if config.portrait else ""),
        "frame": loaded.frame,
        "source": source.name,
        "source_format": loaded.format,
        "source_sha256": loaded.sha256,
        "license": loaded.license,
        "conv_clamp": "" if config.conv_clamp is None else str(config.conv_clamp),
    }
    return told if loaded.usual_loss is None else told | {"usual_loss": str(loaded.usual_loss)}


def build(checkpoint: Checkpoint, path: Path) -> Generator:
    """Make the frozen network of a checkpoint on the CPU; its parameters are the checkpoint's arrays themselves.

    Raises:
        InvalidFile: arrays are missing, do not fit together, or contradict what the file says of itself.
    """
    state = {name: torch.from_numpy(array) for name, array in checkpoint.arrays.items()}
    averaged = "mapping.w_avg" in state
    try:
        config = GeneratorConfig.from_state(state, conv_clamp=checkpoint.conv_clamp)
        # Thousands of random z are mapped to w.
        if not 1 <= config.z_dim <= WIDEST or config.c_dim > WIDEST:
            raise ValueError(f"its z is {config.z_dim} wide and its classes {config.c_dim}: up to {WIDEST} are read")
        state.setdefault("mapping.w_avg", torch.zeros(config.w_dim))
        with torch.device("meta"):
            network = Generator(config)
        wrong = _differences(dict(network.state_dict()), state)
    except (KeyError, IndexError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise InvalidFile(f"{path} ({checkpoint.format}) holds no whole StyleGAN2 generator: {error}.") from error
    if wrong:
        raise InvalidFile(f"{path} ({checkpoint.format}) holds no StyleGAN2 generator that is known: {wrong}.")
    actual = {"img_resolution": config.size, "z_dim": config.z_dim, "w_dim": config.w_dim, "c_dim": config.c_dim}
    for key, stated in checkpoint.claims.items():
        if actual[key] != stated:
            raise InvalidFile(f"{path} says that its {key} is {stated}, but its tensors make it {actual[key]}.")
    network.load_state_dict(state, assign=True)
    network.eval().requires_grad_(False)
    if not averaged:
        network.mapping.average()
    return network


def _differences(expected: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> str:
    """Say what is missing, too much, or of another shape, and nothing where all is right."""
    for name, value in expected.items():
        if name not in state:
            return f"{name} is missing"
        if state[name].shape != value.shape:
            return f"{name} is of the shape {tuple(state[name].shape)}, where {tuple(value.shape)} fits the others"
    unknown = [name for name in state if name not in expected]
    return f"{shown(unknown[0])} belongs to no part of it" if unknown else ""


def _encoder_beside(path: Path) -> Path:
    """Return where the encoder of a generator's file lies, where there is one."""
    return path.with_name(f"{path.stem}-encoder.safetensors")


def _load_encoder(path: Path, network: Generator, device: torch.device) -> Encoder | None:
    """Load the encoder that lies beside a generator's file.

    Raises:
        InvalidFile: what lies there is none, or another generator's.
    """
    beside = _encoder_beside(path)
    if not beside.exists():
        return None
    state, _ = native.read(beside)
    try:
        encoder = Encoder.from_state(state)
    except (KeyError, IndexError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise InvalidFile(f"{beside} holds no encoder: {' '.join(str(error).split()).rstrip('.')}.") from error
    if encoder.w_dim != network.config.w_dim:
        raise InvalidFile(
            f"{beside} makes codes of {encoder.w_dim} numbers, where the generator beside it takes "
            f"{network.config.w_dim}: it is another one's, take it away."
        )
    if not all(bool(value.isfinite().all()) for value in encoder.state_dict().values()):
        raise InvalidFile(f"{beside} is damaged: it holds numbers that are not finite.")
    return encoder.eval().requires_grad_(False).to(device)


def _frame(metadata: dict[str, str], known: Entry | None) -> Frame:
    frame = metadata.get("frame") or (known and known.frame) or "center"
    if frame not in get_args(Frame):
        raise InvalidFile(f"The generator's frame is {frame!r}, which is none of {', '.join(get_args(Frame))}.")
    return cast(Frame, frame)
