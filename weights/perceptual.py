"""LPIPS (Zhang et al., The unreasonable effectiveness of deep features as a perceptual metric, 2018)."""

import warnings
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weights.formats.pickles import read_arrays
from weights.store import Store

Backbone = Literal["alex", "vgg"]

MAX_SIZE = 256  # px; larger pictures are averaged down first, as StyleGAN2's projector does


class Lpips(nn.Module):
    """The lpips package's metric with the work on a fixed picture done once.

    LPIPS is a weighted squared distance of normalised features (equation 1 of the paper). `features` folds the
    weights in, so that the distance is a plain sum of squares, and one side of it can be kept.
    """

    def __init__(
        self, backbone: Backbone, *, store: Store, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        """Load a backbone through `store`; convolutions run in `dtype`."""
        super().__init__()
        import lpips

        with warnings.catch_warnings(), torch.device("cpu"):
            warnings.simplefilter("ignore")  # the package calls torchvision with arguments of long ago
            metric = lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False)
        _load_backbone(metric.net, store, backbone)
        self.dtype = dtype
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", metric.scaling_layer.shift)
        self.register_buffer("scale", metric.scaling_layer.scale)
        self.net = metric.net.to(dtype=dtype, memory_format=torch.channels_last)
        for i, head in enumerate(metric.lins):
            self.register_buffer(f"root{i}", head.model[-1].weight.detach().clamp(min=0).sqrt())
        self.eval().requires_grad_(False).to(device)

    def features(self, images: Tensor, *, size: int = MAX_SIZE) -> list[Tensor]:
        """Map RGB (N, 3, H, W) in [-1, 1] to features, whose sums of squared differences make the metric.

        Pictures of more than `size` px are averaged down to it first.
        """
        x = (shrink(images, size) - self.shift) / self.scale
        maps = self.net(x.to(self.dtype).contiguous(memory_format=torch.channels_last))
        out = []
        for i, f in enumerate(maps):
            f = f.float()
            # The small number under the root keeps the gradient finite where all features are 0.
            unit = f / ((f.square().sum(dim=1, keepdim=True) + 1e-20).sqrt() + 1e-10)
            out.append(unit * getattr(self, f"root{i}"))
        return out

    @staticmethod
    def distance(a: list[Tensor], b: list[Tensor], *, weights: list[Tensor] | None = None) -> Tensor:
        """Return LPIPS (N,) between pictures given by their `features`.

        `weights` say where the pictures count, a map for each layer, as `layer_weights` makes them.
        """
        total = torch.zeros(len(a[0]), device=a[0].device)
        for i, (f, g) in enumerate(zip(a, b, strict=True)):
            layer = (f - g).square().sum(dim=1)
            layer = layer if weights is None else layer * weights[i]
            total = total + layer.mean(dim=[1, 2])
        return total

    def forward(self, a: Tensor, b: Tensor, *, size: int = MAX_SIZE) -> Tensor:
        """Return LPIPS (N,) between RGB pictures (N, 3, H, W) in [-1, 1]; `size` as for `features`."""
        return self.distance(self.features(a, size=size), self.features(b, size=size))


def layer_weights(weight: Tensor, features: list[Tensor]) -> list[Tensor]:
    """Average a map (1 or N, 1, H, W) of mean 1 down to those of the features: (1 or N, h, w) for each.

    The processor does it: on MPS, torch averages down only to sizes that divide the map's.
    """
    whole = weight.cpu()
    return [F.interpolate(whole, size=f.shape[2:], mode="area")[:, 0].to(f.device) for f in features]


def shrink(images: Tensor, size: int = MAX_SIZE) -> Tensor:
    """Average pictures (N, 3, H, W) down to `size` px; smaller ones stay."""
    if images.shape[-1] <= size:
        return images
    return F.interpolate(images, size=(size, size), mode="area")


def _load_backbone(net: nn.Module, store: Store, backbone: Backbone) -> None:
    """Put the convolutions of ImageNet into a backbone of the lpips package."""
    data = read_arrays(store.get(f"lpips-{backbone}"))
    arrays = data["AlexNet_0" if backbone == "alex" else "VGG16_0"]
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    for i, conv in enumerate(convolutions):
        layer = arrays[f"Conv_{i}"]
        conv.load_state_dict(
            {
                "weight": torch.as_tensor(layer["kernel"].transpose(3, 2, 0, 1), device="cpu"),
                "bias": torch.as_tensor(layer["bias"], device="cpu"),
            }
        )
