"""An inversion: the code of a photo's crop, what was tuned for it, and its file.

The file is safetensors: `w`, `alignment`, and `difference.NAME` for what pivotal tuning changed; the rest is in
the metadata. It holds nothing of the photo but where it was and its hash.
"""

import dataclasses
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from inversion.perceptual import Mixture
from inversion.pivotal import tune, with_difference
from inversion.project import Callback, Objective, Step, project
from inversion.settings import InversionSettings, TuningSettings, check
from weights.errors import InvalidFile, InvalidInput
from weights.formats import native
from weights.generator import Generator
from weights.load import LoadedGenerator, better
from weights.perceptual import Lpips

VERSION = 2
SEARCH = 1  # raised where the same settings come to find something else: what was kept before is then made anew
KIND = "photodrag-inversion"
UNUSUAL = 1.5  # times the usual loss; beyond, a face is one that the generator cannot show


@dataclass(frozen=True, kw_only=True, eq=False)
class Inversion:
    """The code of a crop.

    Attributes:
        w: (1, num_ws, w_dim) float32.
        difference: of the tuned synthesis network, float16 by name; empty where it was not tuned.
        generator: name of the generator.
        generator_sha256: of its file.
        loss: LPIPS plus the weighted mean squared error, by the settings' backbone alone, without the texture.
        pivot_loss: likewise, before the tuning: how well the generator itself shows the crop.
        steps: made in each phase: `project`, `tune`.
        completed: False where a callback or the clock stopped it.
        settings: of the projection and of the tuning; in files of `photodrag invert`, of all that made it.
        alignment: (2, 3) float64, maps (x, y, 1) of the crop to (x, y) of the photo; None where unknown.
        photo: the photo's path as seen from the inversion's file; empty where unknown.
        photo_sha256: of the photo's file; empty where unknown.
    """

    w: Tensor
    difference: dict[str, Tensor]
    generator: str
    generator_sha256: str
    loss: float
    pivot_loss: float
    steps: dict[str, int]
    completed: bool
    settings: dict[str, dict[str, object]]
    alignment: Tensor | None = None
    photo: str = ""
    photo_sha256: str = ""

    def network(self, generator: LoadedGenerator) -> Generator:
        """Return the network that shows the photo at `w`: the generator's own, or a tuned copy."""
        return with_difference(generator.network, self.difference) if self.difference else generator.network

    def write(self, path: Path) -> None:
        """Write the inversion's file; it is there whole or not at all."""
        tensors = {"w": self.w} | {f"difference.{name}": change for name, change in self.difference.items()}
        if self.alignment is not None:
            tensors["alignment"] = self.alignment
        fields = {f.name for f in dataclasses.fields(self)} - {"w", "difference", "alignment"}
        about = {name: getattr(self, name) for name in sorted(fields)}
        native.write(path, tensors, {"kind": KIND, "version": str(VERSION), "inversion": json.dumps(about)})


def read_inversion(path: Path) -> Inversion:
    """Read an inversion's file.

    Raises:
        InvalidFile: it is damaged, of another version, or something else.
    """
    tensors, metadata = native.read(path, keep_dtype=True)
    if metadata.get("kind") != KIND:
        raise InvalidFile(f"{path} is no inversion: make one with `photodrag invert`.")
    if metadata.get("version") != str(VERSION):
        raise InvalidFile(
            f"{path} was written by another version of Photodrag (format {metadata.get('version')!r}, "
            f"not {VERSION}): invert the photo again."
        )
    try:
        about = json.loads(metadata["inversion"])
        w, alignment = tensors.pop("w"), tensors.pop("alignment", None)
        difference = {name.removeprefix("difference."): change for name, change in tensors.items()}
        inversion = Inversion(w=w, difference=difference, alignment=alignment, **about)
        _check_fields(inversion)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InvalidFile(f"{path} is a damaged inversion ({error}): invert the photo again.") from error
    return inversion


def _check_fields(inversion: Inversion) -> None:
    """Make sure that what was read are an inversion's fields, for `read_inversion`.

    Raises:
        ValueError: one is of another type or shape, not finite, or an alignment that cannot be undone.
    """
    for name, kind in get_type_hints(Inversion).items():
        if not _is_of(getattr(inversion, name), kind):
            raise ValueError(f"its {name} cannot be {getattr(inversion, name)!r}")
    w, alignment = inversion.w, inversion.alignment
    if w.ndim != 3 or w.shape[0] != 1 or not w.is_floating_point() or not bool(w.isfinite().all()):
        raise ValueError(f"its code is {tuple(w.shape)} {w.dtype}")
    for name, change in inversion.difference.items():
        if not change.is_floating_point() or not bool(change.isfinite().all()):
            raise ValueError(f"its difference of {name} is not finite")
    if alignment is None:
        return
    if alignment.shape != (2, 3) or not bool(alignment.isfinite().all()) or not alignment[:, :2].double().det():
        raise ValueError(f"its alignment cannot be {alignment.tolist()}")


def _is_of(value: object, kind: Any) -> bool:
    """Tell whether a value is of a field's type, a dictionary's values of theirs."""
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_is_of(part, get_args(kind)[1]) for part in value.values())
    return isinstance(value, kind)


def check_generator(inversion: Inversion, generator: LoadedGenerator, *, name: str) -> None:
    """Make sure that an inversion was made for a generator; `name` is what errors call the inversion.

    Raises:
        InvalidFile: it was made for another one.
    """
    config = generator.network.config
    if inversion.generator_sha256 != generator.sha256:
        raise InvalidFile(
            f"{name} was made for the generator {inversion.generator!r}, not for {generator.name!r}: "
            "choose that one with --generator, or invert the photo again."
        )
    names = dict(generator.network.synthesis.state_dict())
    fits = all(k in names and names[k].shape == v.shape for k, v in inversion.difference.items())
    if tuple(inversion.w.shape) != (1, config.num_ws, config.w_dim) or not fits:
        raise InvalidFile(f"{name} does not fit the generator it was made for: invert the photo again.")


def invert(
    generator: LoadedGenerator,
    crops: Tensor,
    *,
    lpips: Lpips,
    settings: InversionSettings | None = None,
    tuning: TuningSettings | None = None,
    texture: Lpips | None = None,
    weight: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    callback: Callback | None = None,
) -> list[Inversion]:
    """Invert crops: project them as one batch, and tune the generator for each where asked to.

    Args:
        generator: to invert into; it is not changed.
        crops: RGB (N, 3, size, size) in [-1, 1].
        lpips: of the settings' backbone.
        settings: of the projection; None for the defaults.
        tuning: of the pivotal tuning; None for the defaults.
        texture: AlexNet's metric, where the tuning minds texture; None for none.
        weight: (1 or N, 1, size, size), mean 1, where the pictures count; None for everywhere alike.
        dtype: of the convolutions.
        seed: of what is random.
        callback: told of each step.

    Raises:
        InvalidInput: settings that make no sense, by themselves, for this generator, or for so many crops.
    """
    settings, tuning = settings or InversionSettings(), tuning or TuningSettings()
    _check(settings, tuning, generator, len(crops))
    deadline = time.monotonic() + settings.time_limit if settings.time_limit else math.inf
    listener = _Listener(callback)
    found = project(
        generator.network,
        crops,
        spread=generator.spread,
        lpips=lpips,
        settings=settings,
        encoder=generator.encoder,
        weight=weight,
        dtype=dtype,
        seed=seed,
        deadline=deadline,
        callback=listener,
    )
    original = generator.network.synthesis
    noise = {name: (noise - original.get_buffer(name)).half() for name, noise in found.noise.items()}
    metric = Mixture(lpips, texture, tuning.texture) if texture and tuning.texture else lpips
    inversions = []
    for i, w in enumerate(found.w):
        completed = found.completed and not listener.stopped
        difference, steps = noise, {"project": found.steps}
        loss = pivot_loss = float(found.loss[i])
        if tuning.tune and completed:
            crop, its_weight = crops[i : i + 1], None if weight is None else weight[min(i, len(weight) - 1)][None]
            objective = Objective(crop, metric, settings, its_weight)
            tuned = tune(
                generator.network,
                w[None],
                objective,
                spread=generator.spread,
                settings=tuning,
                start=difference,
                dtype=dtype,
                seed=seed,
                deadline=_share(deadline, len(crops) - i),
                callback=listener,
            )
            difference, steps["tune"], completed = tuned.difference, tuned.steps, tuned.completed
            plain = objective if metric is lpips else Objective(crop, lpips, settings, its_weight)
            with torch.no_grad():
                loss = float(plain(tuned.images)[0])
        inversions.append(
            Inversion(
                w=w[None],
                difference=difference,
                generator=generator.name,
                generator_sha256=generator.sha256,
                loss=loss,
                pivot_loss=pivot_loss,
                steps=steps,
                completed=completed,
                settings={"inversion": dataclasses.asdict(settings), "tuning": dataclasses.asdict(tuning)},
            )
        )
    return inversions


def _check(settings: InversionSettings, tuning: TuningSettings, generator: LoadedGenerator, photos: int) -> None:
    """Make sure that the settings make sense before the work, for `invert`; errors as there."""
    check(settings, tuning)
    if tuning.tune and tuning.blocks > generator.size:
        raise InvalidInput(
            f"The tuning's blocks is at most the generator's {generator.size} px, not {tuning.blocks}: "
            "nothing would be tuned."
        )
    if photos > 1 and settings.noise == "optimise":
        raise InvalidInput("Noise maps are optimised for one photo at a time: invert the photos one by one.")


class _Listener:
    """A callback that remembers that it said stop: what was not begun by then is not begun any more."""

    def __init__(self, callback: Callback | None) -> None:
        self.callback, self.stopped = callback, False

    def __call__(self, step: Step) -> bool:
        self.stopped = self.stopped or (self.callback is not None and self.callback(step) is False)
        return not self.stopped


def _share(deadline: float, photos: int) -> float:
    """Return the deadline of the first of so many photos, which have the same time each until `deadline`."""
    now = time.monotonic()
    return now + (deadline - now) / photos


def _as_usual(inversion: Inversion) -> bool:
    """Tell whether an inversion was searched for as thoroughly as by the default settings, and for the same loss."""
    usual, own = dataclasses.asdict(InversionSettings()), inversion.settings.get("inversion", {})
    for steps in ("w_steps", "steps"):
        made, least = own.get(steps), usual.pop(steps)
        if not isinstance(made, int) or made < least:  # a file may say anything
            return False
    del usual["time_limit"]  # which ended before the search, where that is complete
    return inversion.completed and all(own.get(key) == value for key, value in usual.items())


def doubt(inversion: Inversion, generator: LoadedGenerator) -> str | None:
    """Say that a generator shows a face badly, in one sentence; None where it does not, or nobody knows.

    The usual loss is that of the default settings: one that was stopped, or that others made, tells nothing of the
    face, unless they only have more steps.
    """
    usual = generator.usual_loss
    if usual is None or not _as_usual(inversion) or inversion.pivot_loss <= UNUSUAL * usual:
        return None
    larger = better(generator)
    advice = f"`--generator {larger}` shows more" if larger else "choose another with --generator"
    return (
        f"The generator {inversion.generator} cannot show this face well (loss {inversion.pivot_loss:.2f}, where up to "
        f"{usual:.2f} is usual), so the edit may look wrong: {advice}."
    )
