"""From a run's checkpoint to the files that the rest of Photodrag loads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from weights.errors import InvalidInput
from weights.formats import native
from weights.outputs import check_place
from weights.training.checkpoint import load
from weights.training.codes import fit_mapping
from weights.training.networks import Networks, restore
from weights.training.run import CHECKPOINT
from weights.training.settings import ExportSettings, NetworkSettings


def export(
    run: Path,
    output: Path,
    settings: ExportSettings,
    *,
    callback: Callable[[int, float], None] | None = None,
) -> tuple[Path, Path]:
    """Write the averaged generator and encoder in half precision, the mapping network fitted to the codes.

    Args:
        run: the run's folder, or a checkpoint.
        output: the folder that the files go to.
        settings: see there.
        callback: told of each step of the fit, and of the sliced distance before it.

    Returns:
        the generator's file and the encoder's.

    Raises:
        InvalidInput: the run has no checkpoint, or no codes yet; or a file exists that may not be replaced, or lies
            where nothing may be written.
        InvalidFile: the checkpoint cannot be read.
    """
    path = run / CHECKPOINT if run.is_dir() else run
    if not path.is_file():
        raise InvalidInput(f"There is no {path}: give the folder of a run, or a checkpoint.")
    state = load(path)
    shape = NetworkSettings(**{key: state[key] for key in vars(NetworkSettings())})
    random = torch.Generator().manual_seed(settings.seed)
    networks = Networks(shape, encoder_size=state["encoder_size"], random=random)
    restore(networks, state["networks"], size=state["size"])
    name = settings.name or f"faces-{shape.size}"
    files = output / f"{name}.safetensors", output / f"{name}-encoder.safetensors"
    for file in files:
        check_place(file, overwrite=settings.overwrite)
    codes = state["bank"]["codes"][: state["bank"]["filled"]]
    if len(codes) < 2:
        raise InvalidInput(f"{path} has seen no pictures yet: train first.")
    generator, encoder = networks.mean_generator, networks.mean_encoder
    fit_mapping(generator.mapping, codes, steps=settings.fit_steps, random=random, callback=callback)
    told = _metadata(settings, state)
    for file, network, architecture in zip(
        files, (generator, encoder), ("stylegan2-skip", "photodrag-encoder"), strict=True
    ):
        half = {key: value.half() for key, value in network.state_dict().items()}
        try:
            native.write(file, half, told | {"architecture": architecture})
        except OSError as error:
            raise InvalidInput(f"{file} cannot be written: {error.strerror or error}.") from error
    return files


def _metadata(settings: ExportSettings, state: dict[str, Any]) -> dict[str, str]:
    told = {
        "size": str(state["size"]),
        "frame": settings.frame,
        "license": settings.license,
        "source": settings.source,
        "images_seen": str(state["progress"]["seen"]),
    }
    return told if settings.usual_loss is None else told | {"usual_loss": str(settings.usual_loss)}
