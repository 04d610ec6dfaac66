"""Where and in which precision to compute."""

from typing import Literal

import torch

from weights.errors import InvalidInput

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

DtypeName = Literal["auto", "float32", "bfloat16"]


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device called `name`; `auto` is the first of CUDA, MPS and CPU that is there.

    Raises:
        InvalidInput: no such device on this machine.
    """
    if isinstance(name, torch.device):
        return name
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidInput(f"No device {name!r} on this machine: use cpu, or leave it at auto.") from error
    return device


def resolve_dtype(name: DtypeName | torch.dtype, device: torch.device) -> torch.dtype:
    """Return the dtype of convolutions called `name`; `auto` is bfloat16 where the CPU multiplies it natively.

    Latents, losses and optimiser states stay in float32 whatever this says.

    Raises:
        InvalidInput: another name than auto, float32 or bfloat16.
    """
    if isinstance(name, torch.dtype):
        return name
    if name == "auto":
        return torch.bfloat16 if device.type == "cpu" and has_native_bfloat16() else torch.float32
    if name not in DTYPES:
        raise InvalidInput(f"dtype is one of auto, {', '.join(DTYPES)}, not {name!r}.")
    return DTYPES[name]


def has_native_bfloat16() -> bool:
    """Tell whether this CPU has instructions that multiply bfloat16 matrices (AMX, or AVX-512 BF16)."""
    # torch 2.10 cannot tell yet; float32 is always right.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
