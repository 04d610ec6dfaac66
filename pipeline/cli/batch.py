"""`photodrag batch`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipeline.cli import codes, console
from pipeline.cli.options import AsRunOptions, BatchRecipe, Flag, RunOptions, as_recipe
from pipeline.cli.photo import exit_code
from pipeline.recipes import Recipe


def batch(
    folder: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    asked: BatchRecipe = Recipe(),
    jobs: int = 1,
    force: Flag = False,
    options: AsRunOptions = RunOptions(),
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
    jobs
        Photos at once, each in a process of its own; the processor's cores are shared among them.
    force
        Do again what is done, and replace it.
    """
    from pipeline.batch import BatchSettings, plan, run_batch
    from pipeline.recipes import stands, write_recipe

    recipe = as_recipe(asked)
    settings = BatchSettings(
        jobs=jobs,
        force=force,
        overwrite=options.overwrite,
        strip_metadata=options.strip_metadata,
        format=options.format and options.format.upper(),
        use_cache=not options.no_cache,
        offline=options.offline,
    )
    if options.save_recipe:
        _check_recipe(options.save_recipe, recipe, folder, output, options)
    if options.dry_run:
        recipe.edit.read()
        tasks, before = plan(folder, output, recipe, settings)
        if options.json:
            console.result_json({"todo": [task.name for task in tasks], "skipped": len(before.skipped)})
        else:
            for task in tasks:
                console.result(f"{task.input} -> {task.output}")
            console.notice(f"{len(tasks)} photos to do, {len(before.skipped)} done before.")
        return 0
    with console.bars(estimate=True) as bars:
        store = console.store(bars, offline=options.offline, accept_license=options.accept_license)
        result = run_batch(folder, output, recipe, settings, store=store, progress=bars.stage)
    if options.save_recipe and not stands(recipe, options.save_recipe):
        write_recipe(recipe, options.save_recipe, overwrite=options.overwrite)
    if options.json:
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
        console.error_of(entry["input"], entry["error"]["message"])
    return codes.SOME_FAILED if result.failed else exit_code(*result.done, *result.skipped)


def _check_recipe(path: Path, recipe: Recipe, folder: Path, output: Path, options: RunOptions) -> None:
    """Make sure that the recipe can be written, and replaces nothing that the batch reads or writes."""
    from pipeline.batch import output_names
    from pipeline.manifest import NAME
    from pipeline.recipes import stands
    from weights.outputs import check_apart, check_place

    names = output_names(folder, output, options.format and options.format.upper())
    read = [*recipe.files(), *(folder / name for name in names), *([options.recipe] if options.recipe else [])]
    check_apart([output / NAME, *(output / to for to in names.values()), path], read)
    if not stands(recipe, path):
        check_place(path, overwrite=options.overwrite)
