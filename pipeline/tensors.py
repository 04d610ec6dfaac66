"""Crops as arrays, and as the pictures that networks take."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Crop = NDArray[np.float32]
"""(size, size, 3), sRGB from 0 to 255."""


def to_tensor(crop: Crop, device: torch.device) -> Tensor:
    """Return a crop as a picture (1, 3, size, size) in [-1, 1]."""
    return torch.as_tensor(crop, device=device).permute(2, 0, 1)[None] / 127.5 - 1


def to_array(image: Tensor) -> Crop:
    """Return a picture (1, 3, size, size) as a crop, clamped to what can be shown."""
    crop: Crop = ((image[0].detach().float() + 1) * 127.5).clamp(0, 255).permute(1, 2, 0).cpu().numpy()
    return crop
