"""`photodrag doctor`."""

from pipeline.cli import console
from pipeline.cli.options import Flag

MARKS = {"ok": "ok     ", "note": "note   ", "missing": "MISSING"}


def doctor(*, json: Flag = False) -> int:
    """Show versions, devices, weights, space and tools; what is missing, and the command that mends it.

    Nothing is fetched or changed. The exit code is 1 where something is missing.

    Parameters
    ----------
    json
        Print it as JSON.
    """
    from pipeline.doctor import as_dict, examine

    found = examine()
    if json:
        console.result_json([as_dict(finding) for finding in found])
    else:
        for finding in found:
            mend = f"  -> {finding.mend}" if finding.mend else ""
            console.result(f"{MARKS[finding.level]} {finding.what:22} {finding.found}{mend}")
    return 1 if any(finding.level == "missing" for finding in found) else 0
