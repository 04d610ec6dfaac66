"""A run in its folder: goes on where it stopped, and keeps a checkpoint, metrics and sheets.

RUN/checkpoint.pt     everything it takes to go on
RUN/metrics.jsonl     a line each time a checkpoint is written
RUN/sheets/*.png      the same pictures each time, reconstructed, and mixtures
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from weights.errors import Diverged, InvalidInput
from weights.training.checkpoint import load, save
from weights.training.pictures import read_pictures
from weights.training.settings import TrainingSettings, check
from weights.training.sheets import make_sheet, write_sheet
from weights.training.trainer import Perceptual, Trainer

CHECKPOINT, METRICS, SHEETS = "checkpoint.pt", "metrics.jsonl", "sheets"


def train(
    data: Path,
    run: Path,
    settings: TrainingSettings,
    perceptual: Perceptual,
    *,
    start: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    callback: Callable[[dict[str, Any]], None] | None = None,
) -> Trainer:
    """Train until the settings or `stop` say that it is enough; a checkpoint is written then as well.

    Args:
        data: a folder or .zip of aligned pictures.
        run: where the run is kept; one that is there already goes on.
        settings: see there.
        perceptual: the metric of the reconstructions.
        start: a checkpoint to begin from where the run has none of its own yet.
        stop: asked after each step.
        callback: told of each line of metrics.

    Raises:
        InvalidInput: pictures or settings that cannot be used, or the run is going on already.
        InvalidFile: pictures or a checkpoint that cannot be read.
        Diverged: the loss or a weight is no number any more; the last checkpoint is from before.
    """
    run.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run / ".lock", timeout=0):
            return _train(data, run, settings, perceptual, start, stop, callback)
    except Timeout:
        raise InvalidInput(f"{run} is being trained by another process: wait for it, or give another folder.") from None


def _train(
    data: Path,
    run: Path,
    settings: TrainingSettings,
    perceptual: Perceptual,
    start: Path | None,
    stop: Callable[[], bool],
    callback: Callable[[dict[str, Any]], None] | None,
) -> Trainer:
    check(settings)
    own = run / CHECKPOINT
    source = own if own.exists() else start
    state = load(source) if source else None
    if settings.threads:
        torch.set_num_threads(settings.threads)
    trainer = Trainer(settings, read_pictures(data, settings.size, odds=settings.odds), perceptual, state=state)
    clock, since = _Clock(settings, trainer), trainer.progress.seen

    def keep(*, sheet: bool) -> None:
        nonlocal since
        line = clock.line(since)
        # Weights as well, since the loss is one step behind them.
        if not (all(math.isfinite(value) for value in line.values()) and trainer.networks.finite):
            raise Diverged(
                f"The loss or a weight is no number any more: start again from {own} with smaller learning rates."
            )
        save(own, trainer.state)
        with (run / METRICS).open("a") as file:
            file.write(json.dumps(line) + "\n")
        if sheet and trainer.bank.filled:
            path = run / SHEETS / f"{settings.size}-{trainer.progress.seen:08d}.png"
            write_sheet(path, make_sheet(trainer))
        if callback:
            callback(line)
        since = trainer.progress.seen

    while not (clock.over or stop()):
        trainer.step()
        clock.tick()
        if clock.due("save", settings.save_minutes):
            keep(sheet=clock.due("sheet", settings.sheet_minutes))
    if trainer.progress.seen > since:
        keep(sheet=True)
    return trainer


class _Clock:
    """How long a run has taken, and when what is due."""

    def __init__(self, settings: TrainingSettings, trainer: Trainer) -> None:
        self.settings, self.trainer = settings, trainer
        self.start = self.last_tick = self.last_line = time.monotonic()
        self.last = {"save": self.start, "sheet": self.start}

    @property
    def over(self) -> bool:
        s, now = self.settings, time.monotonic()
        return 0 < s.images <= self.trainer.progress.seen or 0 < s.hours * 3600 <= now - self.start

    def tick(self) -> None:
        now = time.monotonic()
        self.trainer.progress.hours += (now - self.last_tick) / 3600
        self.last_tick = now

    def due(self, what: str, minutes: float) -> bool:
        now = time.monotonic()
        if now - self.last[what] < minutes * 60:
            return False
        self.last[what] = now
        return True

    def line(self, since: int) -> dict[str, Any]:
        """Return the metrics since the last line."""
        now, p = time.monotonic(), self.trainer.progress
        rate = (p.seen - since) / max(now - self.last_line, 1e-9)
        self.last_line = now
        means = {name: round(value, 5) for name, value in self.trainer.take_means().items()}
        told = {"seen": p.seen, "size": self.settings.size, "hours": round(p.hours, 4)}
        return told | means | {"adversarial": round(self.trainer.adversarial, 4), "per_second": round(rate, 3)}
