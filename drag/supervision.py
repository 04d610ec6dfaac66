"""Motion supervision and the mask term (Pan et al., Drag Your GAN, 2023, section 3.2, equation 1)."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from drag.features import FeaturePieces, like
from drag.points import unit

SUPERVISION_RADIUS = 3.0  # r1, in units u


def lattice(radius: float, size: int) -> NDArray[np.float64]:
    """Return offsets from -radius to radius px in steps of u, or of 1 px where u is more: (2k + 1,)."""
    step = min(unit(size), 1.0)
    k = int(radius / step + 1e-9)
    return np.arange(-k, k + 1, dtype=np.float64) * step


def step_toward(points: NDArray[np.float64], targets: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return d (n, 2): from each point toward its target, u long or as far as the target is."""
    way = targets - points
    distance = np.hypot(*way.T)[:, None]
    return way * np.minimum(1.0, unit(size) / np.maximum(distance, 1e-12))


def motion_supervision_loss(
    pieces: FeaturePieces,
    points: NDArray[np.float64],
    targets: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> Tensor:
    """Return the sum over handles of the mean of |F(q) - F(q + d)| over the disc around each and over channels.

    F(q) is detached: the gradient moves what is at q + d toward what is at q (equation 1, first term; the
    paper's sum over a disc is a mean here, so that the loss does not depend on the lattice).

    Args:
        pieces: of F, one a handle, holding r1 + u around it.
        points: (n, 2) where the handles are, in picture coordinates.
        targets: (n, 2).
        weights: (n,) of each handle.
    """
    offsets = lattice(SUPERVISION_RADIUS * unit(pieces.size), pieces.size)
    at = points[:, :, None] + offsets  # (n, 2, k)
    d = step_toward(points, targets, pieces.size)[:, :, None]
    here, there = (pieces.sample(*q.transpose(1, 0, 2)) for q in (at, at + d))
    difference = (here.detach() - there).abs().mean(dim=1)
    disc = np.hypot(offsets, offsets[:, None]) <= SUPERVISION_RADIUS * unit(pieces.size) + 1e-9
    inside = (at > -0.5) & (at < pieces.size - 0.5)
    share = (disc & inside[:, 1, :, None] & inside[:, 0, None, :]).astype(np.float64)
    share *= weights[:, None, None] / share.sum(axis=(1, 2), keepdims=True)
    return (difference * like(difference, share)).sum()


def mask_to_features(mask: NDArray[np.float32], resolution: int, device: torch.device) -> Tensor:
    """Average a mask (size, size), 1 where the picture may move, to what must stay, (resolution, resolution)."""
    stays = torch.as_tensor(1 - mask, device=device)[None, None]
    return F.adaptive_avg_pool2d(stays, resolution)[0, 0]


def mask_loss(features: Tensor, initial: Tensor, stays: Tensor) -> Tensor:
    """Return the mean of |F - F0| over what must stay and over channels (equation 1, second term, as a mean).

    Args:
        features: F (1, C, r, r).
        initial: F0, likewise.
        stays: (r, r), 1 where the picture must stay.
    """
    difference = (features - initial).abs().to(stays.dtype).mean(dim=[0, 1])
    return (difference * stays).sum() / stays.sum().clamp(min=1e-12)
