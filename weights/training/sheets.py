"""Sheets of pictures to look at."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from weights.files import replacing
from weights.training.trainer import Trainer

COLUMNS = 8


@torch.no_grad()
def make_sheet(trainer: Trainer) -> Tensor:
    """Show, by the averaged networks, always the same pictures: two rows each of data, reconstructions and mixtures.

    Returns:
        (48, 3, size, size) in [-1, 1].
    """
    n, random = trainer.networks, torch.Generator().manual_seed(0)
    real: list[Tensor] = []
    while sum(map(len, real)) < 2 * COLUMNS:
        real.append(trainer.draw(random))
    x = torch.cat(real)[: 2 * COLUMNS]
    w = n.mean_encoder(x, dtype=trainer.dtype)
    mixed = trainer.bank.mixed(2 * COLUMNS, n.num_ws, random)
    rows = torch.cat([w[:, None].expand(-1, n.num_ws, -1), mixed])
    shown = torch.cat([n.mean_generator.synthesis(part, dtype=trainer.dtype) for part in rows.split(COLUMNS)])
    rebuilt, mixtures = shown.split(2 * COLUMNS)
    first, second = slice(0, COLUMNS), slice(COLUMNS, None)
    return torch.cat([x[first], rebuilt[first], x[second], rebuilt[second], mixtures])


def write_sheet(path: Path, images: Tensor, *, columns: int = COLUMNS) -> None:
    """Write pictures (N, 3, H, W) in [-1, 1], N a multiple of the columns, as one PNG."""
    tiles = ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    sheet = np.vstack([np.hstack(list(tiles[i : i + columns])) for i in range(0, len(tiles), columns)])
    done, data = cv2.imencode(".png", sheet[..., ::-1])
    assert done
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())
