"""How long an edit takes at most, and how much memory: measured with a few steps of each stage, on the photo itself."""

import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from statistics import median

import torch

from inversion.inversion import Inversion
from inversion.project import steps_in_w
from pipeline.edit import EditResult, EditSettings, Pipeline
from pipeline.photo import Photo
from pipeline.retarget import Request, plan
from weights.store import Store

PROBE = 3  # steps of each stage


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What an edit will take.

    Attributes:
        seconds: of each stage at most: stages that can end early are taken to make all of their steps.
        memory: bytes at the peak, of this process or of the graphics card; None where it cannot be told.
        result: the edit of a few steps that was measured.
    """

    seconds: dict[str, float]
    memory: int | None
    result: EditResult


def estimate(
    settings: EditSettings, photo: Photo, request: Request, *, store: Store, inversion: Inversion | None = None
) -> Estimate:
    """Make a few steps of each stage, keep nothing, and multiply; an inversion made before is taken as it is.

    Raises:
        PhotodragError: what an edit of this photo would raise.
    """
    inverting, tuning, dragging = settings.inversion, settings.tuning, settings.drag or request.settings
    few = replace(
        settings,
        faces=replace(settings.faces, corrections=0),
        inversion=replace(inverting, w_steps=min(PROBE, inverting.w_steps), steps=min(PROBE, inverting.steps)),
        tuning=replace(tuning, steps=min(PROBE, tuning.steps)),
        drag=replace(dragging, steps=min(PROBE, dragging.steps)),
    )
    pipeline = Pipeline(few, store=store)
    times: dict[str, list[float]] = {}

    def progress(stage: str, done: int, total: int, words: str) -> None:
        times.setdefault(stage, []).append(time.perf_counter())

    seen = request.seen(lambda: pipeline.detector)
    source = pipeline.prepare(photo, inversion=inversion) if inversion else photo
    result = pipeline.edit(source, partial(plan, request=seen), progress=progress)
    in_w = steps_in_w(inverting, pipeline.generator.encoder)
    named = result.subject.face is not None and any(isinstance(d.handle, str) for d in result.plan.drags)
    rounds = 1 + settings.faces.corrections if named else 1
    steps = {"drag": dragging.steps * rounds}
    if inversion is None:
        steps["invert"] = in_w + (inverting.steps if inverting.space == "w+" else 0)
        steps["tune"] = tuning.steps if tuning.tune else 0
    step = {stage: median(b - a for a, b in pairwise(at)) if len(at) > 1 else 0.0 for stage, at in times.items()}
    seconds = dict(result.seconds)
    for stage, count in steps.items():
        where = "invert" if stage == "tune" else stage
        more = max(0, count - len(times.get(stage, []))) * step.get(stage, 0.0)
        limit = inverting.time_limit if where == "invert" else 0.0
        seconds[where] = min(seconds[where] + more, limit or float("inf"))
    return Estimate(seconds=seconds, memory=peak_memory(pipeline.device), result=result)


def peak_memory(device: torch.device) -> int | None:
    """Return the most bytes that this process has held so far, on the graphics card where that computes."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def in_words(estimated: Estimate) -> str:
    """Return an estimate in a sentence or two."""
    seconds = estimated.seconds
    parts = ", ".join(f"{stage} {value:.1f} s" for stage, value in seconds.items())
    memory = f" Memory at its peak: {estimated.memory / 1e9:.1f} GB." if estimated.memory else ""
    return f"It takes at most {sum(seconds.values()):.0f} s ({parts}); drags end when the handles arrive.{memory}"
