"""Retargeting on the embedded generator: 68 points between samples, presets, and other faces' expressions.

    python -m benchmarks.retarget --faces ../shared/faces/aligned [--every 2] [--limit 20] [--pairs 20]
        [--samples 10] [--presets smile tilt] [--cache FOLDER] [--threads 2]

Everything is measured by dlib on pictures before (the generator's reconstruction) and after, enlarged to 512 px;
identity by the Euclidean distance of dlib's embeddings. Writes docs/results/retarget.md and .png, and goes on
after each experiment with what was found, so that a run that was stopped has left its table.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.faces import SCALE, Observer
from drag.handles import choose, to_drags
from drag.landmarks import Drag, Landmarks
from drag.presets import own_presets
from drag.settings import DragSettings, RetargetDragSettings
from drag.shape import Shape, to_shape
from inversion.inversion import Inversion
from pipeline.align import Alignment
from pipeline.cache import InversionCache
from pipeline.edit import EditResult, EditSettings, Pipeline
from pipeline.faces import Face
from pipeline.photo import Photo
from pipeline.retarget import Plan, Request, overall, plan
from pipeline.subject import Subject
from weights.errors import InvalidInput, PhotodragError

RESULTS = Path(__file__).parent.parent / "docs" / "results"
CHANGED = 8.0  # of 255: a pixel that differs by more has changed
# Measures of an expression, their units, and the least gap that is more than the detector's jitter.
MEASURES = {
    "mouth width": 0.05,
    "mouth opening": 0.03,
    "eye opening": 0.02,
    "mouth-corner angle": 4.0,
}


def measures(landmarks: Landmarks) -> NDArray[np.float64]:
    """Return width and opening of the mouth and opening of the eyes in distances between the eyes, and the angle.

    The angle is by how many degrees the mouth's corners stand above the middle of the lips, both sides' mean.
    """
    s = to_shape(landmarks)
    width = np.hypot(*(s[54] - s[48]))
    eyes = [s[41] - s[37], s[40] - s[38], s[47] - s[43], s[46] - s[44]]
    rise = (s[62, 1] + s[66, 1]) / 2 - (s[48, 1] + s[54, 1]) / 2
    angle = np.degrees(np.arctan2(rise, width / 2))
    return np.array([width, s[66, 1] - s[62, 1], np.mean(eyes, axis=0)[1], angle])


@dataclass
class Seen:
    """What was found of one edit.

    Attributes:
        share: of the landmarks' way that they made in the generator's picture, and in the photo.
        identity: distance of the embeddings before and after.
        outside: share of the crop's pixels outside the region that changed; NaN where all may change.
        held: how far anchors went, in percent of the distance between the eyes, the mean.
        after: landmarks at 512 px.
    """

    share: float
    share_photo: float
    identity: float
    outside: float
    held: float
    before: Landmarks
    after: Landmarks


@dataclass
class Bench:
    """Edits of photos and what dlib says of them."""

    pipeline: Pipeline
    observer: Observer = field(default_factory=Observer)

    def edit(self, subject: Subject, planned: Plan) -> Seen | None:
        """Make an edit; None where no face is seen after it."""
        result = self.pipeline.edit(subject, planned.drags, mask=planned.regions or None)
        return self.look(result, planned)

    def look(self, result: EditResult, planned: Plan) -> Seen | None:
        """Measure an edit."""
        before, after = (self.observer.landmarks(p) for p in (result.reconstruction, result.edited))
        if before is None or after is None:
            return None
        ratio = SCALE / len(result.edited)
        asked = (result.points.targets - result.points.handles) * ratio
        numbers = [drag.handle for drag in planned.drags]
        went = np.array([_place(after, n) - _place(before, n) for n in numbers])
        moving = np.array([not drag.anchor for drag in planned.drags])
        eyes = np.hypot(*(before[42:48].mean(axis=0) - before[36:42].mean(axis=0)))
        change = np.abs(result.edited - result.reconstruction).max(axis=2) > CHANGED
        outside = float("nan")
        if planned.regions:
            beyond = result.subject.mask(planned.regions) < 0.05
            outside = float(change[beyond].mean())
        of_photo = overall(result)
        faces = [self.observer.identity(p, m) for p, m in ((result.reconstruction, before), (result.edited, after))]
        return Seen(
            share=float((went * asked)[moving].sum() / (asked**2)[moving].sum()),
            share_photo=float("nan") if of_photo is None else of_photo,
            identity=float(np.linalg.norm(faces[1] - faces[0])),
            outside=outside,
            held=float(np.hypot(*went[~moving].T).mean() / eyes * 100) if (~moving).any() else float("nan"),
            before=before,
            after=after,
        )

    def sample(self, random: torch.Generator) -> Subject:
        """Return a random face of the generator (psi 0.7) as a subject."""
        generator = self.pipeline.generator
        while True:
            z = torch.randn(1, generator.network.config.z_dim, generator=random)
            w = generator.network.mapping(z, truncation_psi=0.7)
            with torch.no_grad():
                picture = generator.network.synthesis(w)[0].permute(1, 2, 0).numpy() * 127.5 + 127.5
            landmarks = self.observer.landmarks(picture)
            if landmarks is None:
                continue
            size = generator.size
            face = Face(
                landmarks=(landmarks + 0.5) * size / SCALE - 0.5, box=(0, 0, size, size), score=1.0, detector="dlib"
            )
            return Subject(
                photo=Photo(pixels=np.clip(picture + 0.5, 0, 255).astype(np.uint8)),
                face=face,
                alignment=Alignment(np.eye(2, 3), size),
                crop=np.clip(picture, 0, 255).astype(np.float32),
                inversion=Inversion(
                    w=w,
                    difference={},
                    generator=generator.name,
                    generator_sha256=generator.sha256,
                    loss=0.0,
                    steps={},
                    completed=True,
                    settings={},
                ),
                network=generator.network,
                dtype=self.pipeline.dtype,
            )


def _place(landmarks: Landmarks, handle: object) -> NDArray[np.float64]:
    from drag.landmarks import place

    return place(landmarks, str(handle))


def samples(bench: Bench, n: int) -> list[str]:
    """Drag one sample's landmarks to another's: all 68 by the paper's settings, and the chosen handles."""
    random = torch.Generator().manual_seed(1)
    distances: dict[str, list[float]] = {"no edit": [], "68 handles": [], "chosen handles": []}
    lost = 0
    for _ in range(n):
        first, second = bench.sample(random), bench.sample(random)
        assert first.face is not None
        assert second.face is not None
        shape = to_shape(first.face.landmarks)
        shift = _difference(first.face.landmarks, second.face.landmarks)
        every = to_drags([k for k in range(68) if np.hypot(*shift[k]) > 1e-3], shift, np.ones(68))
        handles, _ = choose(shape, shift)
        few = to_drags(handles, shift, np.ones(68))
        row = {"no edit": _distance(first.face.landmarks, second.face.landmarks, bench)}
        for name, drags, settings in (
            ("68 handles", every, DragSettings(steps=200)),
            ("chosen handles", few, RetargetDragSettings()),
        ):
            bench.pipeline.settings = EditSettings(drag=settings)
            after = bench.observer.landmarks(_edited(bench, first, drags))
            if after is not None:
                size = bench.pipeline.generator.size
                row[name] = _distance((after + 0.5) * size / SCALE - 0.5, second.face.landmarks, bench)
        bench.pipeline.settings = EditSettings(drag=RetargetDragSettings())
        if len(row) < 3:
            lost += 1
            continue
        for name, value in row.items():
            distances[name].append(value)
    base = np.mean(distances["no edit"])
    return [
        f"## 68 points between random samples ({n - lost} pairs, psi 0.7; {lost} without a face after)",
        "",
        "Mean distance of all 68 landmarks to the other sample's, detected again, in pixels at 512 px. The paper's",
        "Table 1 (FFHQ, 512 px): 16.02 without an edit, 4.73 with 68 points (30 %).",
        "",
        "| handles | MD | of no edit |",
        "| --- | --- | --- |",
        *(f"| {name} | {np.mean(v):.2f} | {np.mean(v) / base:.0%} |" for name, v in distances.items()),
        "",
    ]


def _difference(first: Landmarks, second: Landmarks) -> Shape:
    """Return the way from one face's landmarks to another's in the same crop, in the first one's axes."""
    from drag.landmarks import face_axes

    return (second - first) @ np.linalg.inv(face_axes(first))


def _distance(a: Landmarks, b: Landmarks, bench: Bench) -> float:
    return float(np.hypot(*(a - b).T).mean() * SCALE / bench.pipeline.generator.size)


def _edited(bench: Bench, subject: Subject, drags: list[Drag]) -> NDArray[np.float32]:
    return bench.pipeline.edit(subject, drags).edited


def presets(
    bench: Bench, subjects: dict[str, Subject], names: list[str], strength: float, keep: Callable[[list[str]], None]
) -> dict[str, NDArray[np.float64]]:
    """Apply each preset to each face; `keep` writes what was found so far."""
    head = [
        f"## Presets at {strength:+g} on {len(subjects)} faces",
        "",
        "Reached: share of the way that the handles made, projected on it; direction: faces in which it is above 0.",
        f"Outside: pixels outside the region that changed by more than {CHANGED:g} of 255. Held: how far anchors went.",
        "",
        "| preset | reached, median (quartiles) | in the photo | direction | identity | outside | held | no face |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    keep(head)
    shares, everyone = {}, []
    for name in names:
        found, lost = [], 0
        for subject in subjects.values():
            try:
                seen = bench.edit(subject, plan(subject, Request(presets=((own_presets()[name], strength),))))
            except InvalidInput:
                continue
            lost += seen is None
            found += [seen] if seen else []
        of = {key: np.array([getattr(s, key) for s in found]) for key in Seen.__dataclass_fields__}
        shares[name] = of["share"]
        everyone += found
        low, high = np.percentile(of["share"], [25, 75])
        outside = f"{np.median(of['outside']):.1%}" if np.isfinite(of["outside"]).any() else ""
        held = f"{np.nanmedian(of['held']):.1f} %" if np.isfinite(of["held"]).any() else ""
        reached = f"{np.median(of['share']):.0%} ({low:.0%} to {high:.0%})"
        line = (
            f"| {name} | {reached} | {np.nanmedian(of['share_photo']):.0%} "
            f"| {(of['share'] > 0).mean():.0%} | {np.median(of['identity']):.2f} | {outside} | {held} | {lost} |"
        )
        print(line, flush=True)
        keep([line])
    tail = [
        "",
        f"Over all: {np.mean([s.share > 0 for s in everyone]):.0%} in the right direction, identity "
        f"{np.median([s.identity for s in everyone]):.2f} in the median.",
        "",
    ]
    keep(tail)
    return shares


def transfers(bench: Bench, subjects: dict[str, Subject], n: int) -> tuple[list[str], dict]:
    """Give faces the expressions of others."""
    names = list(subjects)
    rng = np.random.default_rng(0)
    closed: dict[str, list[float]] = {name: [] for name in MEASURES}
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in MEASURES}
    found, lost = [], 0
    for i in range(n):
        source = names[i % len(names)]
        other = names[(i + int(rng.integers(1, len(names)))) % len(names)]
        subject, like = subjects[source], subjects[other].face
        assert like is not None
        assert subject.face is not None
        planned = plan(subject, Request(like=like.landmarks))
        seen = bench.edit(subject, planned)
        if seen is None:
            lost += 1
            continue
        found.append(seen)
        change = measures(seen.after) - measures(seen.before)
        gap = measures(like.landmarks) - measures(subject.face.landmarks)
        for k, (name, least) in enumerate(MEASURES.items()):
            if abs(gap[k]) >= least:
                closed[name].append(change[k] / gap[k])
                points[name].append((gap[k], change[k]))
        print(source, other, f"{seen.share:.2f} {seen.identity:.2f}", flush=True)
    lines = [
        f"## Expressions of other faces ({len(found)} pairs; {lost} without a face after)",
        "",
        "`--like` with all parts but the pose at strength 1. Medians: the handles made "
        f"{np.median([s.share for s in found]):.0%} of their way; identity distance to the source "
        f"{np.median([s.identity for s in found]):.2f}.",
        "Gap: of the measure between the two photos; change: in the generator's picture. Pairs whose gap is not more",
        "than the detector's jitter are left out.",
        "",
        "| measure | least gap | pairs | closed, median (quartiles) |",
        "| --- | --- | --- | --- |",
    ]
    for name, values in closed.items():
        if values:
            low, middle, high = np.percentile(values, [25, 50, 75])
            lines.append(f"| {name} | {MEASURES[name]:g} | {len(values)} | {middle:.0%} ({low:.0%} to {high:.0%}) |")
    return [*lines, ""], points


def draw(shares: dict, points: dict, path: Path) -> None:
    """Plot each preset's shares, and each measure's change against its gap."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 1 + len(MEASURES), figsize=(17, 4), width_ratios=[2, 1, 1, 1, 1])
    if shares:
        panels[0].boxplot(list(shares.values()), orientation="horizontal", tick_labels=list(shares))
        panels[0].axvline(0.5, color="grey", linewidth=0.8)
        panels[0].set(xlabel="share of the way", title="presets")
    for panel, name in zip(panels[1:], MEASURES, strict=True):
        if points.get(name):
            gap, change = np.array(points[name]).T
            panel.scatter(gap, change, s=12)
            ends = np.array([gap.min(), gap.max()])
            panel.plot(ends, ends, color="grey", linewidth=0.8)
            panel.plot(ends, ends / 2, color="grey", linewidth=0.8, linestyle=":")
        panel.set(title=name, xlabel="gap", ylabel="change")
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main() -> None:
    """Run the experiments and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="take every so many-th face")
    parser.add_argument("--limit", type=int, default=20, help="faces at most")
    parser.add_argument("--pairs", type=int, default=20, help="of faces whose expression travels")
    parser.add_argument("--samples", type=int, default=10, help="pairs of random samples")
    parser.add_argument("--presets", nargs="+", default=list(own_presets()))
    parser.add_argument("--strength", type=float, default=0.6)
    parser.add_argument("--cache", type=Path, help="folder of inversions to use and to fill")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS / "retarget.md")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cache = InversionCache(arguments.cache) if arguments.cache else None
    bench = Bench(Pipeline(EditSettings(drag=RetargetDragSettings()), cache=cache))
    subjects = {}
    for path in sorted(arguments.faces.glob("*.jpg"))[:: arguments.every][: arguments.limit]:
        try:
            subjects[path.stem] = bench.pipeline.prepare(path)
        except PhotodragError as error:
            print(path, error)
    lines = [
        "# Retargeting",
        "",
        f"Written by `python -m benchmarks.retarget --every {arguments.every} --limit {arguments.limit} --pairs "
        f"{arguments.pairs} --samples {arguments.samples}`:",
        f"embedded generator {bench.pipeline.generator.name}, {str(bench.pipeline.dtype).removeprefix('torch.')}, "
        "held-out faces, inversions by the default settings. Everything is seen by dlib",
        "on the generator's pictures before and after, enlarged to 512 px; identity is the Euclidean distance of",
        "dlib's embeddings (strangers: 0.80).",
        "",
    ]
    shares: dict = {}
    points: dict = {}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)

    def keep(more: list[str]) -> None:
        lines.extend(more)
        arguments.output.write_text("\n".join(lines).rstrip("\n") + "\n")

    if arguments.pairs:
        more, points = transfers(bench, subjects, arguments.pairs)
        keep(more)
    if arguments.samples:
        keep(samples(bench, arguments.samples))
    if arguments.strength and arguments.presets != ["none"]:
        shares = presets(bench, subjects, arguments.presets, arguments.strength, keep)
    draw(shares, points, arguments.output.with_suffix(".png"))
    keep([f"![Shares of the way, and changes against gaps]({arguments.output.stem}.png)"])


if __name__ == "__main__":
    main()
