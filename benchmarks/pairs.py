"""Pairs of pictures before and after an edit, and what a generator shows of them.

Shrunk to a generator's size, the two are a perfect reconstruction and a perfect edit. Real ones come from the
embedded generator, with its own network or with one tuned on the picture before. The picture after is shown
either by an inversion of its own, so that the two differ by all that an inversion gets wrong, or as an edit shows
it: by the same network, the code moved on from that of the picture before.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.items import Items
from inversion.inversion import Inversion, invert, read_inversion
from inversion.project import Objective, ramp
from inversion.settings import InversionSettings, TuningSettings
from pipeline.tensors import Crop, to_array, to_tensor
from weights.compute import resolve_dtype
from weights.generator import Generator
from weights.load import load_generator
from weights.perceptual import Lpips
from weights.store import Store

CPU = torch.device("cpu")
SIZE = 128  # px, of the embedded generator


@dataclass(frozen=True)
class Pair:
    """The same face before and after an edit, (H, W, 3) uint8."""

    name: str
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]


def read_pairs(folder: Path) -> list[Pair]:
    """Read all pairs of a folder."""
    pairs = []
    for path in sorted(folder.glob("*_before.jpg")):
        after = path.with_name(path.name.replace("_before", "_after"))
        pictures = [np.ascontiguousarray(cv2.imread(str(p))[..., ::-1]) for p in (path, after)]
        pairs.append(Pair(path.stem.removesuffix("_before"), *pictures))
    return pairs


def shrunk(pair: Pair, size: int) -> tuple[Crop, Crop]:
    """Return what a perfect generator of that size would show."""
    before, after = (
        cv2.resize(p.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) for p in (pair.before, pair.after)
    )
    return before, after


class Inverted:
    """The embedded generator's pictures of pairs; what takes long is kept in a folder.

    Attributes:
        made_by: what the pictures depend on.
    """

    def __init__(self, folder: Path) -> None:
        self.dtype = resolve_dtype("auto", CPU)
        self.generator = load_generator(device=CPU)
        self.made_by = f"{self.generator.sha256} {self.dtype} {InversionSettings()} {TuningSettings()}"
        self.items = Items(folder, self.made_by)

    @cached_property
    def lpips(self) -> tuple[Lpips, Lpips]:
        """The metric of the loss, and the one that minds texture."""
        vgg, alex = (Lpips(name, store=Store(), device=CPU, dtype=self.dtype) for name in ("vgg", "alex"))
        return vgg, alex

    def apart(self, pair: Pair, *, tune: bool) -> tuple[Crop, Crop]:
        """Return an inversion of each picture; with `tune`, each by a network of its own."""
        found = self._inversion(pair, "before", tune=tune), self._inversion(pair, "after", tune=tune)
        before, after = (self._show(one.network(self.generator), one.w) for one in found)
        return before, after

    def moved(self, pair: Pair, *, tune: bool) -> tuple[Crop, Crop]:
        """Return an inversion of the picture before, and its network's picture of the code moved to the one after."""
        inversion = self._inversion(pair, "before", tune=tune)
        network = inversion.network(self.generator)
        crop = to_tensor(shrunk(pair, SIZE)[1], CPU)
        w = self._kept(pair, f"moved{'-tuned' * tune}", lambda: self._follow(network, inversion, crop)).w
        return self._show(network, inversion.w), self._show(network, w)

    def _inversion(self, pair: Pair, which: str, *, tune: bool) -> Inversion:
        crop = shrunk(pair, SIZE)[which == "after"]
        vgg, alex = self.lpips
        make = lambda: invert(  # noqa: E731
            self.generator, to_tensor(crop, CPU), lpips=vgg, settings=InversionSettings(),
            tuning=TuningSettings(tune=tune), texture=alex, dtype=self.dtype,
        )[0]  # fmt: skip
        return self._kept(pair, f"{which}{'-tuned' * tune}", make)

    def _kept(self, pair: Pair, name: str, make: Callable[[], Inversion]) -> Inversion:
        path = self.items.path(f"{pair.name}-{name}", suffix=".safetensors")
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            make().write(path)
        return read_inversion(path)

    def _follow(self, network: Generator, start: Inversion, crop: Tensor) -> Inversion:
        """Move a code until its network shows another crop, held to where it came from as an inversion is to W."""
        settings = InversionSettings()
        objective = Objective(crop, self.lpips[0], settings, None)
        w = start.w.clone().requires_grad_()
        optimizer = torch.optim.Adam([w])
        for i in range(settings.steps):
            optimizer.param_groups[0]["lr"] = settings.learning_rate * self.generator.spread * ramp(i, settings.steps)
            shown = objective(network.synthesis(w, dtype=self.dtype)).sum()
            pull = settings.pull * ((w - start.w) / self.generator.spread).square().mean()
            optimizer.zero_grad()
            (shown + pull).backward()
            optimizer.step()
        return dataclasses.replace(start, w=w.detach())

    @torch.no_grad()
    def _show(self, network: Generator, w: Tensor) -> Crop:
        return to_array(network.synthesis(w, dtype=self.dtype))


def sources(inverted: Inverted) -> dict[str, tuple[int, Callable[[Pair], tuple[Crop, Crop]]]]:
    """Return by name: the size of a generator's pictures, and what gives them of a pair."""
    return {
        "256 px": (256, partial(shrunk, size=256)),
        "128 px": (SIZE, partial(shrunk, size=SIZE)),
        "128 px, inverted": (SIZE, partial(inverted.moved, tune=False)),
        "128 px, tuned": (SIZE, partial(inverted.moved, tune=True)),
        "128 px, inverted apart": (SIZE, partial(inverted.apart, tune=False)),
        "128 px, tuned apart": (SIZE, partial(inverted.apart, tune=True)),
    }
