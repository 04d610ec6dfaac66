"""Photodrag's own files: safetensors with what the tensors cannot say in the metadata."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from weights.errors import InvalidFile
from weights.files import replacing


def read(path: Path, *, keep_dtype: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read all tensors, floats as float32 unless `keep_dtype`, and the metadata of a safetensors file.

    Raises:
        InvalidFile: not a safetensors file, or a damaged one.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise InvalidFile(f"{path} is no readable safetensors file: {error}.") from error
    if keep_dtype:
        return tensors, metadata
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, metadata


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata; the file is there whole or not at all.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    data = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with replacing(path) as temporary:
        # In memory as a whole: save_file would make a file that its owner alone may read, whatever the umask.
        temporary.write_bytes(save(data, metadata=dict(metadata)))
