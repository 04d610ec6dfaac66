"""The state of a run as a file: torch's own format, read without running anything out of it."""

import pickle
from pathlib import Path
from typing import Any

import torch

from weights.errors import InvalidFile
from weights.files import replacing
from weights.training.codes import CAPACITY
from weights.training.settings import NetworkSettings

# The first recipe's names of the networks; its names of their parameters are those used here.
FIRST_RECIPE = {
    "g": "generator",
    "e": "encoder",
    "d": "discriminator",
    "mean_g": "mean_generator",
    "mean_e": "mean_encoder",
}


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a trainer's state; the file is there whole or not at all."""
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load(path: Path) -> dict[str, Any]:
    """Read a trainer's state to the CPU, or one of the first recipe's, whose optimisers start anew.

    Raises:
        InvalidFile: it is no such file, or a damaged one.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        return _from_first_recipe(state) if "mean_g" in state else _checked(state)
    except (
        OSError,
        RuntimeError,
        LookupError,
        TypeError,
        AttributeError,
        EOFError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidFile(f"{path} is no checkpoint of a training run: {reason.rstrip('.')}.") from error


def _checked(state: dict[str, Any]) -> dict[str, Any]:
    missing = {"size", "networks", "optimizers", "bank", "random", "progress"} - set(state)
    if missing:
        raise KeyError(f"it has no {min(missing)}")
    return state


def _from_first_recipe(state: dict[str, Any]) -> dict[str, Any]:
    networks = {
        f"{name}.{key}": value.float() for short, name in FIRST_RECIPE.items() for key, value in state[short].items()
    }
    return {
        **vars(NetworkSettings(size=state["size"])),
        "encoder_size": min(state["size"], 128),
        "networks": networks,
        "optimizers": {},
        "bank": {"codes": state["bank"].float(), "filled": min(CAPACITY, state["seen"]), "cursor": 0},
        "random": None,
        "progress": {"seen": state["seen"], "born": state["born"]},
    }
