"""Perceptual metrics that an inversion puts together; LPIPS itself is in weights/perceptual.py."""

from torch import Tensor

from weights.perceptual import Lpips


class Mixture:
    """Two metrics as one: the first plus the second by a weight."""

    def __init__(self, first: Lpips, second: Lpips, weight: float) -> None:
        self.first, self.second, self.root = first, second, weight**0.5

    def features(self, images: Tensor) -> list[Tensor]:
        """Map RGB (N, 3, H, W) in [-1, 1] to features, whose sums of squared differences make the metric."""
        return self.first.features(images) + [f * self.root for f in self.second.features(images)]

    distance = staticmethod(Lpips.distance)

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the metric (N,) between RGB pictures (N, 3, H, W) in [-1, 1]."""
        return self.distance(self.features(a), self.features(b))
