"""What an edit did, as an object for programs and as a few lines for people; and whether it did what was asked."""

from collections.abc import Mapping
from typing import Any

from pipeline.edit import EditResult
from pipeline.retarget import overall

ENDED = {
    "arrived": "arrived",
    "steps": "ended",
    "stalled": "came no nearer, and ended",
    "lost": "lost its handles, and ended",
    "stopped": "was stopped",
}

ENOUGH = 0.5  # share of the landmarks' way that counts as done


def describe(result: EditResult) -> dict[str, Any]:
    """Return what was done, as JSON's types; docs/edit.schema.json says what each key means."""
    subject, scale = result.subject, result.subject.alignment.scale
    to_photo, face = subject.alignment.to_photo, result.subject.face
    ends = {"from": result.points.handles, "to": result.points.targets, "ended": result.drag.path[-1]}
    photo_ends = {key: to_photo(points).round(2).tolist() for key, points in ends.items()}
    return {
        "size": [subject.photo.width, subject.photo.height],
        "generator": subject.inversion.generator,
        "detector": face.detector if face else None,
        "face": {"box": [round(v, 1) for v in face.box], "score": round(face.score, 3)} if face else None,
        "handles": [
            {
                "drag": str(drag),
                **{key: points[i] for key, points in photo_ends.items()},
                "left": round(float(result.drag.distances[i]) * scale, 2),
                "reached": _share(share),
            }
            for i, (drag, share) in enumerate(zip(result.plan.drags, result.reached, strict=True))
        ],
        "regions": list(result.plan.regions),
        "notes": [*result.plan.notes, *([subject.doubt] if subject.doubt else [])],
        "stopped": result.drag.reason,
        "arrived": result.arrived,
        "reached": _share(overall(result)),
        "steps": {**subject.inversion.steps, "drag": result.drag.steps},
        "loss": round(subject.inversion.loss, 4),
        "changed": int((result.mask > 0).sum()),
        "seconds": {stage: round(seconds, 2) for stage, seconds in result.seconds.items()},
    }


def succeeded(told: Mapping[str, Any]) -> bool:
    """Tell whether an edit did what was asked; where not, the commands' exit code is 6.

    The landmarks, detected again on the edited photo, made half of their way at least. Where that cannot be told
    (points that are no landmarks, no face found again), every handle arrived by the tracker.

    Args:
        told: what `describe` says of the edit.
    """
    reached = told.get("reached")
    return bool(told["arrived"]) if reached is None else reached >= ENOUGH


def summary(result: EditResult) -> str:
    """Return a few lines for people."""
    plan, scale, share = result.plan, result.subject.alignment.scale, overall(result)
    lines = [f"The drag {ENDED[result.drag.reason]} after {result.drag.steps} steps."]
    if share is not None:
        lines.append(f"Detected again on the result, the landmarks made {share:.0%} of their way:")
    for drag, left, made in zip(plan.drags, result.drag.distances, result.reached, strict=True):
        if not drag.anchor:
            line = f"  {drag}: {left * scale:.1f} px from its target by the tracker"
            lines.append(line if made != made else f"{line}; the landmark made {made:.0%} of its way")
    held = sum(drag.anchor for drag in plan.drags)
    if held:
        lines.append(f"  {held} landmarks were held")
    if plan.regions:
        lines.append(f"  what might change: {', '.join(plan.regions)}")
    lines.append("  " + ", ".join(f"{stage} {value:.1f} s" for stage, value in result.seconds.items()))
    return "\n".join(lines)


def _share(value: float | None) -> float | None:
    return None if value is None or value != value else round(float(value), 3)
