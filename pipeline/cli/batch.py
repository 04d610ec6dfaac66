"""`photodrag batch`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from drag.settings import DragSettings
from inversion.settings import InversionSettings, TuningSettings
from pipeline.cli import console
from pipeline.cli.edit import NOT_ARRIVED
from pipeline.cli.options import (
    CompositeOptions,
    ComputeOptions,
    DragOptions,
    FaceOptions,
    Flag,
    FormatName,
    InversionOptions,
    RequestOptions,
    TuningOptions,
    as_recipe,
)
from pipeline.request import EditRequest
from pipeline.settings import CompositeSettings, ComputeSettings, FaceSettings

SOME_FAILED = 5


def batch(
    folder: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    request: RequestOptions = EditRequest(),
    recipe: Path | None = None,
    jobs: int = 1,
    force: Flag = False,
    format: FormatName | None = None,
    strip_metadata: Flag = False,
    json: Flag = False,
    dry_run: Flag = False,
    no_cache: Flag = False,
    overwrite: Flag = False,
    offline: Flag = False,
    accept_license: Flag = False,
    faces: FaceOptions = FaceSettings(),
    dragging: DragOptions = DragSettings(),
    inversion: InversionOptions = InversionSettings(),
    tuning: TuningOptions = TuningSettings(),
    compositing: CompositeOptions = CompositeSettings(),
    compute: ComputeOptions = ComputeSettings(),
) -> int:
    """Make the same edit in every photo of a folder.

    Outputs have the folders and the names of their photos. manifest.jsonl in the output folder gets a line for
    each photo as it is done or fails. The same command skips what is done and goes on with the rest, after a kill
    as well. A photo that fails does not stop the others; failures are listed at the end (exit code 5).

    Parameters
    ----------
    folder
        Folder of photos, with the folders in it.
    output
        Folder for the edited photos and manifest.jsonl.
    recipe
        Take what is not said here from this file, which `photodrag edit --save-recipe` writes.
    jobs
        Photos at once, each in a process of its own; the processor's cores are shared among them.
    force
        Do again what is done, and replace it.
    format
        Format of all outputs; without it, that of each photo.
    strip_metadata
        Leave out EXIF with the place it was taken at, IPTC, XMP and comments; the colour profile stays.
    json
        Print how many were done, skipped and failed, and the failures, as JSON.
    dry_run
        Edit nothing; list what would be done.
    no_cache
        Invert anew, and keep no inversion for the next edit.
    overwrite
        Replace outputs that are there though no batch made them.
    offline
        Never use the network.
    accept_license
        Accept the licence of a generator that has to be fetched, where it is non-commercial.
    """
    from pipeline.batch import BatchSettings, plan, run_batch

    asked = as_recipe(
        request=request,
        faces=faces,
        inversion=inversion,
        tuning=tuning,
        dragging=dragging,
        compositing=compositing,
        compute=compute,
    )
    settings = BatchSettings(
        jobs=jobs,
        force=force,
        overwrite=overwrite,
        strip_metadata=strip_metadata,
        format=format and format.upper(),
        use_cache=not no_cache,
        offline=offline,
    )
    if dry_run:
        request.drags()
        tasks, before = plan(folder, output, asked, settings)
        if json:
            console.result_json({"todo": [task.name for task in tasks], "skipped": len(before.skipped)})
        else:
            for task in tasks:
                console.result(f"{task.input} -> {task.output}")
            console.notice(f"{len(tasks)} photos to do, {len(before.skipped)} done before.")
        return 0
    with console.bars(estimate=True) as bars:
        store = console.store(bars, offline=offline, accept_license=accept_license)
        result = run_batch(folder, output, asked, settings, store=store, progress=bars.stage)
    if json:
        console.result_json(
            {
                "output": str(output),
                "done": len(result.done),
                "skipped": len(result.skipped),
                "failed": [{"input": e["input"], **e["error"]} for e in result.failed],
            }
        )
    else:
        for entry in result.done:
            console.result(str(output / entry["output"]))
    console.notice(f"{len(result.done)} done, {len(result.skipped)} done before, {len(result.failed)} failed.")
    for entry in result.failed:
        console.error(f"{entry['input']}: {entry['error']['message']}")
    if result.failed:
        return SOME_FAILED
    return 0 if result.arrived else NOT_ARRIVED
