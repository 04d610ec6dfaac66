"""What an edit did, as an object for programs and as a few lines for people."""

from collections.abc import Sequence
from typing import Any

from pipeline.edit import EditResult


def describe(result: EditResult, drags: Sequence[str]) -> dict[str, Any]:
    """Return what was done, as JSON's types; docs/edit.schema.json says what each key means.

    Args:
        result: of the edit.
        drags: what to call each handle: the text that asked for it.
    """
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
                "drag": text,
                **{key: points[i] for key, points in photo_ends.items()},
                "left": round(float(result.drag.distances[i]) * scale, 2),
                "reached": None if share != share else round(float(share), 3),
            }
            for i, (text, share) in enumerate(zip(drags, result.reached, strict=True))
        ],
        "stopped": result.drag.reason,
        "arrived": result.arrived,
        "steps": {**subject.inversion.steps, "drag": result.drag.steps},
        "loss": round(subject.inversion.loss, 4),
        "changed": int((result.mask > 0).sum()),
        "seconds": {stage: round(seconds, 2) for stage, seconds in result.seconds.items()},
    }


def summary(result: EditResult, drags: Sequence[str]) -> str:
    """Return a few lines for people."""
    scale = result.subject.alignment.scale
    lines = []
    for text, left, share in zip(drags, result.drag.distances, result.reached, strict=True):
        line = f"  {text}: {left * scale:.1f} px from its target by the tracker"
        lines.append(line if share != share else f"{line}; the landmark made {share:.0%} of its way")
    seconds = ", ".join(f"{stage} {value:.1f} s" for stage, value in result.seconds.items())
    return "\n".join([f"The drag ended: {result.drag.reason} after {result.drag.steps} steps.", *lines, f"  {seconds}"])
