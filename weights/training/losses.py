"""What the networks are trained to make small."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_loss(fake: Tensor) -> Tensor:
    """Return the non-saturating logistic loss of logits of generated pictures (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the logistic loss of logits of real and of generated pictures; ln 4 where it cannot tell them apart."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Return the mean squared norm of the gradient by real pictures (N, C, H, W), a scalar that has a gradient.

    Half of it times gamma is R1 (Mescheder et al., Which training methods for GANs do actually converge?, 2018,
    equation 9).
    """
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return slope.square().sum(dim=[1, 2, 3]).mean()


def views(size: int, window: int) -> list[int]:
    """Return by how much a picture of `size` px is made smaller in turn, so that windows of `window` px see all of it.

    The first one shows the whole picture, the last one has its own pixels.
    """
    return [2**i for i in range(max(0, (size // window).bit_length() - 1), -1, -1)]


def windows(pictures: tuple[Tensor, ...], window: int, factor: int, random: torch.Generator) -> Iterator[Tensor]:
    """Average pictures (N, 3, H, W) down by `factor`, and yield the same random window of each."""
    side = pictures[0].shape[-1] // factor
    top, left = torch.randint(0, max(1, side - window + 1), (2,), generator=random).tolist()
    for x in pictures:
        small = F.avg_pool2d(x, factor) if factor > 1 else x
        yield small[:, :, top : top + window, left : left + window]
