"""Pictures as the networks are shown them: mirrored, turned and coloured a little, shifted for the discriminator."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TURN, ZOOM = math.radians(4), 0.05
BRIGHTNESS, SATURATION = 0.15, 0.4  # widths of the ranges around 1


def vary(x: Tensor, size: int, random: torch.Generator, *, mirror: bool = True, strength: float = 1.0) -> Tensor:
    """Show pictures (N, 3, side, side) in [-1, 1] at `size` px, each in its own way: (N, 3, size, size).

    Half of them are mirrored; half are turned by up to 4 degrees and zoomed by up to 5 %; all vary in brightness and
    saturation. At `strength` 0 they are resampled only. Random numbers are drawn on the CPU whatever x's device.
    """
    n = len(x)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=random) * (high - low) + low

    moved = (uniform(0, 1) < 0.5).float() * strength
    turn, zoomed, flip = uniform(-TURN, TURN) * moved, uniform(0, ZOOM) * moved, uniform(0, 1) < 0.5
    # A turned square is shown whole: what it needs of room beyond the picture's border is zoomed away.
    room = turn.cos() + turn.sin().abs()
    zoom = room * (1 + zoomed)
    sign = torch.where(flip, -1.0, 1.0) if mirror else torch.ones(n)
    cos, sin, slack = turn.cos() / zoom, turn.sin() / zoom, 1 - room / zoom
    dx, dy = uniform(-1, 1) * slack, uniform(-1, 1) * slack
    theta = torch.stack([torch.stack([cos * sign, -sin, dx], 1), torch.stack([sin * sign, cos, dy], 1)], 1)
    brightness = uniform(1 - BRIGHTNESS / 2, 1 + BRIGHTNESS / 2, 1, 1, 1).lerp(torch.ones(()), 1 - strength)
    saturation = uniform(1 - SATURATION / 2, 1 + SATURATION / 2, 1, 1, 1).lerp(torch.ones(()), 1 - strength)

    theta, brightness, saturation = (t.to(x.device) for t in (theta, brightness, saturation))
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    # Bilinear sampling takes 4 pixels of the larger picture, whose side is 1.25 times as long: hardly any aliasing.
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    x = (x + 1) * brightness - 1
    grey = x.mean(dim=1, keepdim=True)
    return ((x - grey) * saturation + grey).clamp(-1, 1)


def shift(x: Tensor, random: torch.Generator) -> Tensor:
    """Shift each picture (N, 3, H, W) by up to a 16th of its size, mid-grey beyond: what the discriminator sees.

    It keeps the discriminator from learning few pictures by heart; colours and cut-outs kept it from learning at all.
    """
    n, size = len(x), x.shape[-1]
    most = size // 16
    padded = F.pad(x, [most] * 4)
    tops, lefts = torch.randint(0, 2 * most + 1, (2, n), generator=random).tolist()
    rows = [p[:, t : t + size, le : le + size] for p, t, le in zip(padded, tops, lefts, strict=True)]
    return torch.stack(rows)
