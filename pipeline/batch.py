"""One edit for a folder of photos: what is done is skipped, what fails is noted, what was cut off goes on.

A photo is done when the manifest says so for the same content and the same settings, and its output is there as
it was written. A line of the manifest is on the disk before its output gets its name, so that after a kill an
output is never there without a line.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.cache import InversionCache
from pipeline.edit import Pipeline
from pipeline.manifest import NAME, Entry, Manifest
from pipeline.photo import FORMATS, READ_ONLY, check_output, check_size, decode_photo, encode_photo
from pipeline.recipes import Recipe
from pipeline.report import describe
from pipeline.retarget import plan as plan_drags
from weights.errors import InvalidInput, PhotodragError, WeightsMissing
from weights.files import remove_leftovers, replacing, sha256
from weights.memory import keep_freed_memory
from weights.outputs import check_apart, check_folder, check_place
from weights.store import Store

Progress = Callable[[str, int, int, str], object]


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How a batch goes; what is done to each photo is a recipe.

    Attributes:
        jobs: processes at once, which share the processor's cores.
        force: do again what is done, and replace it, though it was changed since.
        overwrite: replace outputs that no batch made as well.
        strip_metadata: leave out EXIF, IPTC, XMP and comments.
        format: JPEG, PNG, WEBP, TIFF or HEIF; None for that of each photo.
        use_cache: keep inversions, and take those that are kept.
        offline: never use the network.
    """

    jobs: int = 1
    force: bool = False
    overwrite: bool = False
    strip_metadata: bool = False
    format: str | None = None
    use_cache: bool = True
    offline: bool = False


@dataclass(frozen=True, kw_only=True)
class Task:
    """A photo to be done: its path, its output's, both as the manifest calls them, and the key of its content."""

    input: Path
    output: Path
    name: str
    output_name: str
    sha256: str
    key: str


@dataclass(kw_only=True)
class BatchResult:
    """What a batch did.

    Attributes:
        done: entries of the photos edited now.
        skipped: entries of those that were done before.
        failed: entries of those that could not be edited.
    """

    done: list[Entry] = field(default_factory=list)
    skipped: list[Entry] = field(default_factory=list)
    failed: list[Entry] = field(default_factory=list)


def find_photos(folder: Path, *, leave_out: Path | None = None) -> list[Path]:
    """Return the photos in a folder and those below it, sorted, but for hidden ones and for another folder in it.

    Raises:
        InvalidInput: it is no folder, or holds no photo.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is no folder: give the folder that holds the photos.")
    endings = {*FORMATS, *READ_ONLY}
    outside = leave_out.resolve() if leave_out else None
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in endings
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not (outside and path.resolve().is_relative_to(outside))
    ]
    if not found:
        raise InvalidInput(f"{folder} holds no photo ({', '.join(sorted(endings))}): give another folder.")
    return found


def output_name(name: Path, format_: str | None) -> Path:
    """Return where a photo's output lies below the output folder: at its own place, by its own name.

    Where the format is another one than the name says, the new ending comes behind the old one, so that a.jpg and
    a.png do not become one file.
    """
    own = FORMATS.get(name.suffix.lower())
    wanted = format_ or own or "PNG"
    return name if own == wanted else name.with_name(f"{name.name}.{wanted.lower()}")


def output_names(source: Path, target: Path, format_: str | None) -> dict[Path, Path]:
    """Return where the output of each photo of a folder lies below another, by where the photo lies below its own.

    Raises:
        InvalidInput: as in `find_photos`; or two photos would become one.
    """
    inside = source.resolve() in target.resolve().parents
    names: dict[Path, Path] = {}
    photos: dict[Path, Path] = {}  # by their outputs' names
    for path in find_photos(source, leave_out=target if inside else None):
        name = path.relative_to(source)
        to = output_name(name, format_)
        if to in photos:
            raise InvalidInput(f"{source / photos[to]} and {path} would both become {target / to}: rename one of them.")
        names[name], photos[to] = to, name
    return names


def plan(source: Path, target: Path, recipe: Recipe, settings: BatchSettings) -> tuple[list[Task], BatchResult]:
    """Return the photos to be done, and a result that holds those that are done.

    Raises:
        InvalidInput: as in `output_names`; or an output is there that no batch made, or that was changed since; or
            outputs cannot be written, or would replace what is read; or the folders are one.
    """
    if target.resolve() == source.resolve():
        raise InvalidInput(f"{target} is the folder of the photos, which are never written over: give another.")
    check_folder(target)
    names = output_names(source, target, settings.format)
    check_apart((target / to for to in names.values()), [*recipe.files(), *(source / name for name in names)])
    manifest = Manifest(target / NAME)
    known, made = manifest.entries(), manifest.made()
    secret = _settings_key(recipe, settings)
    tasks, result = [], BatchResult()
    for name, to in names.items():
        path, output, digest = source / name, target / to, _digest(source / name)
        key = hashlib.sha256(f"{digest} {secret}".encode()).hexdigest()
        before = known.get(name.as_posix())
        if before and not settings.force and _is_done(before, key, output):
            result.skipped.append(before)
            continue
        _check_output(output, made.get(to.as_posix(), set()), settings)
        tasks.append(
            Task(input=path, output=output, name=name.as_posix(), output_name=to.as_posix(), sha256=digest, key=key)
        )
    return tasks, result


def _digest(path: Path) -> str:
    """Return the hash of a photo's content; nothing where it cannot be read, which is what its edit fails of."""
    try:
        return sha256(path)
    except OSError:
        return ""


def _check_output(output: Path, made: set[str], settings: BatchSettings) -> None:
    """Make sure that an output can be written, and replaces only what may be replaced.

    Args:
        output: where to.
        made: hashes of all that batches wrote there.
        settings: say what may be replaced.
    """
    if output.exists() and not settings.overwrite:
        if not made:
            raise InvalidInput(f"{output} exists, and no batch made it: give another folder, or --overwrite.")
        if not settings.force and sha256(output) not in made:
            raise InvalidInput(f"{output} was changed since a batch made it: give another folder, or --force.")
    check_place(output, overwrite=True)


def _settings_key(recipe: Recipe, settings: BatchSettings) -> str:
    """Return a hash of all that an output depends on beside its photo."""
    # What files hold counts, and not where they lie.
    told: dict[str, Any] = {"recipe": recipe.moved(lambda path: Path()).as_dict(), "version": version("photodrag")}
    told |= {"strip": settings.strip_metadata, "format": settings.format}
    told["files"] = [sha256(path) for path in recipe.files() if path.is_file()]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _is_done(entry: Entry, key: str, output: Path) -> bool:
    """Tell whether an entry is of a photo that was done by the same settings, and whose output is as written."""
    if entry.get("status") != "done" or entry.get("key") != key or not output.is_file():
        return False
    return sha256(output) == entry.get("output_sha256")


def run_batch(
    source: Path,
    target: Path,
    recipe: Recipe,
    settings: BatchSettings | None = None,
    *,
    store: Store | None = None,
    progress: Progress | None = None,
    on_failure: Callable[[Entry], object] | None = None,
) -> BatchResult:
    """Edit every photo of a folder into another folder.

    Args:
        source: the folder of photos.
        target: gets the outputs, in folders and under names as in `source`, and manifest.jsonl.
        recipe: what is done to each photo.
        settings: see there; None for the defaults.
        store: where weights come from, for one job; more of them make their own.
        progress: told "batch", photos done, photos in all and the last one's name; may raise to interrupt.
        on_failure: told of each photo that failed.

    Raises:
        InvalidInput: settings that suit no photo, or see `plan`.
        WeightsMissing: without which no photo can be edited.
    """
    settings = settings or BatchSettings()
    if settings.jobs < 1:
        raise InvalidInput(f"--jobs is at least 1, not {settings.jobs}.")
    recipe.edit.read()  # what suits no photo is said once, before any
    tasks, result = plan(source, target, recipe, settings)
    if not tasks:
        return result
    manifest, total = Manifest(target / NAME), len(tasks)
    try:
        with closing(_outcomes(tasks, recipe, settings, store)) as outcomes:  # ends its processes, whatever comes
            for count, (task, entry, data) in enumerate(outcomes, start=1):
                entry = _keep(task, entry, data, manifest)
                failed = entry["status"] == "failed"
                (result.failed if failed else result.done).append(entry)
                if failed and on_failure:
                    on_failure(entry)
                if progress:
                    progress("batch", count, total, task.name)
    finally:
        manifest.close()
    return result


def _keep(task: Task, entry: Entry, data: bytes | None, manifest: Manifest) -> Entry:
    """Write a photo's line and its output; return the line."""
    if data is None:
        manifest.append(entry)
        return entry
    remove_leftovers(task.output)
    entry = {**entry, "output_sha256": hashlib.sha256(data).hexdigest()}
    try:
        with replacing(task.output) as temporary:
            temporary.write_bytes(data)
            manifest.append(entry)
    except OSError as error:
        entry = _failure(task, error)
        manifest.append(entry)
    return entry


def _outcomes(
    tasks: Sequence[Task], recipe: Recipe, settings: BatchSettings, store: Store | None
) -> Generator[tuple[Task, Entry, bytes | None], None, None]:
    """Edit photos, in this process or in others; give each one's entry and output as it is done."""
    if settings.jobs == 1 or len(tasks) == 1:
        editor = _Editor(recipe, settings, store)
        for task in tasks:
            yield task, *editor.edit(task)
        return
    _Editor(recipe, settings, store)  # what suits no photo is found before processes start
    waiting = deque(tasks)
    while waiting:
        yield from _in_processes(waiting, min(settings.jobs, len(tasks)), recipe, settings)


def _in_processes(
    waiting: deque[Task], jobs: int, recipe: Recipe, settings: BatchSettings
) -> Iterator[tuple[Task, Entry, bytes | None]]:
    """Edit photos in processes, and take them out of `waiting`, until all are done or one of the processes is killed.

    A pool is of no use then. No more photos are handed to it than it has processes, so that those which fail with it
    are the ones in work.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_start, initargs=(recipe, settings, max(1, cores() // jobs))
    ) as pool:
        futures: dict[Future[tuple[Entry, bytes | None]], Task] = {}
        try:
            while _hand_out(waiting, pool, futures, jobs):
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    task = futures.pop(future)
                    yield task, *_outcome(task, future)
        except BaseException:
            processes = list((pool._processes or {}).values())  # before Python 3.14, a pool cannot end them itself
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            raise


def _hand_out(
    waiting: deque[Task],
    pool: ProcessPoolExecutor,
    futures: dict[Future[tuple[Entry, bytes | None]], Task],
    jobs: int,
) -> bool:
    """Give a pool photos for all of its processes; tell whether any are in work."""
    with suppress(BrokenProcessPool):  # the next pool gets them
        while waiting and len(futures) < jobs:
            futures[pool.submit(_edit, waiting[0])] = waiting[0]
            waiting.popleft()
    return bool(futures)


def _outcome(task: Task, future: Future[tuple[Entry, bytes | None]]) -> tuple[Entry, bytes | None]:
    """Return what became of a photo."""
    try:
        return future.result()
    except BrokenProcessPool:
        reason = "A process was killed in the midst of this photo or the next one, for want of memory perhaps: "
        return _failure(task, InvalidInput(f"{reason}run the batch again with fewer --jobs.")), None


def cores() -> int:
    """Return how many of the processor's cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Editor:
    """A pipeline and what is done with it."""

    def __init__(self, recipe: Recipe, settings: BatchSettings, store: Store | None = None) -> None:
        self.recipe, self.settings = recipe, settings
        cache = InversionCache() if settings.use_cache else None
        self.pipeline = Pipeline(recipe.settings(), store=store or Store(offline=settings.offline), cache=cache)
        assert self.pipeline.generator.size
        request = recipe.edit.read().seen(lambda: self.pipeline.detector)
        self.planner = partial(plan_drags, request=request)

    def edit(self, task: Task) -> tuple[Entry, bytes | None]:
        """Edit a photo; return its entry and its output's bytes, or the entry of its failure and None.

        Raises:
            WeightsMissing: without which no photo can be edited.
        """
        start = time.perf_counter()
        try:
            check_output(task.output, overwrite=True)
            photo = decode_photo(task.input.read_bytes(), name=str(task.input))
            if self.recipe.composite.composite != "crop":
                check_size(photo.width, photo.height, FORMATS[task.output.suffix.lower()])
            result = self.pipeline.edit(photo, self.planner)
            edited = result.photo.stripped() if self.settings.strip_metadata else result.photo
            data = encode_photo(edited, FORMATS[task.output.suffix.lower()])
        except WeightsMissing:
            raise
        except Exception as error:  # a bad photo must not end the batch; its line says what happened
            return _failure(task, error), None
        told = describe(result)
        entry = _entry(task, "done") | {**told, "settings": self.recipe.as_dict(), "notices": list(photo.notices)}
        entry["seconds"] = {**told["seconds"], "all": round(time.perf_counter() - start, 2)}
        return entry, data


def _entry(task: Task, status: str) -> Entry:
    return {
        "input": task.name,
        "output": task.output_name,
        "status": status,
        "sha256": task.sha256,
        "key": task.key,
    }


def _failure(task: Task, error: Exception) -> Entry:
    """Return the entry of a photo that could not be edited."""
    known = isinstance(error, PhotodragError | OSError)
    message = str(error) if known else f"This is a bug of Photodrag ({type(error).__name__}: {error}): report it."
    return _entry(task, "failed") | {"error": {"type": type(error).__name__, "message": message}}


_editor: _Editor | None = None  # of a process of the batch


def _start(recipe: Recipe, settings: BatchSettings, threads: int) -> None:
    """Prepare a process of a batch."""
    import cv2
    import torch

    global _editor
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the batch itself, which ends its processes
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    _editor = _Editor(recipe, settings)


def _end_with_parent() -> None:
    """End this process when the batch is gone, killed for instance."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _edit(task: Task) -> tuple[Entry, bytes | None]:
    assert _editor is not None
    return _editor.edit(task)
