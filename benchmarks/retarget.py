"""Retargeting on the embedded generator: 68 points between samples, presets, and other faces' expressions.

    python -m benchmarks.retarget --faces ../shared/faces/aligned [--every 2] [--limit 20] [--pairs 20]
        [--samples 10] [--presets smile tilt] [--items FOLDER] [--cache FOLDER] [--minutes 20] [--threads 2]
        [--sheet docs/images/like.jpg --sheet-pairs 0050-0250]

Everything is measured by dlib on two pairs of pictures at 512 px: the generator's before (its reconstruction) and
after, and the photo's crop before and after; identity by the Euclidean distance of dlib's embeddings. What each edit
gave is kept as a JSON file of --items, which is not measured again, and its drag's code beside it: a run can be made
in parts, or stopped, and after a change of the composite no drag is made again. docs/results/retarget.md and .png are
written from all that is in the folder; empty it after any other change of the code (one of settings or of presets is
noticed).
"""

import argparse
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import drag.limits
import drag.shape
import pipeline.back
import pipeline.check
import pipeline.composite
import pipeline.eye
import pipeline.finish
import pipeline.flow
import pipeline.grain
import pipeline.mouth
import pipeline.slit
from benchmarks.faces import SCALE, Observer
from benchmarks.items import Items
from drag.editor import DragResult
from drag.handles import choose, to_drags
from drag.landmarks import Landmarks, face_axes, place
from drag.presets import own_presets
from drag.settings import DragSettings, LandmarkDragSettings
from drag.shape import Shape, to_shape
from inversion.inversion import Inversion
from pipeline.align import Alignment, cut
from pipeline.cache import InversionCache
from pipeline.edit import EditResult, EditSettings, Pipeline
from pipeline.faces import Face
from pipeline.photo import Photo
from pipeline.retarget import Plan, Request, plan
from pipeline.subject import Subject
from pipeline.tensors import Crop
from weights.errors import InvalidInput, PhotodragError
from weights.files import replacing

RESULTS = Path(__file__).parent.parent / "docs" / "results"
BATCH = 5  # photos inverted at a time
WHERE = ("generator", "photo")
TILE = 200  # px of a face in a sheet
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
class Look:
    """What was found of a picture after an edit beside the one before.

    Attributes:
        share: of their way that the handles' landmarks made.
        identity: distance of the embeddings.
        held: how far anchors went, in percent of the distance between the eyes, the mean; NaN without any.
        before: measures of the expression, see `measures`.
        after: likewise.
    """

    share: float
    identity: float
    held: float
    before: list[float]
    after: list[float]


@dataclass
class Seen:
    """What was found of one edit.

    Attributes:
        generator: of the generator's pictures.
        photo: of the photo's crop.
        outside: share of the crop's pixels outside the region that changed in the generator's; NaN where all may.
    """

    generator: Look
    photo: Look
    outside: float


@dataclass
class Bench:
    """Edits of photos and what dlib says of them."""

    pipeline: Pipeline
    observer: Observer = field(default_factory=Observer)

    def edit(self, subject: Subject, planned: Plan, kept: Path) -> Seen | None:
        """Make an edit and measure it; None where no face is seen after it.

        Args:
            subject: what is edited.
            planned: how.
            kept: where the drag is kept, or will be.
        """
        return self.look(self.pipeline.put_back(subject, planned, self.dragged(subject, planned, kept)), planned)

    def dragged(self, subject: Subject, planned: Plan, kept: Path) -> DragResult:
        """Return a drag that was kept, or make it and keep it."""
        if kept.exists():
            return _read_drag(kept)
        dragged = self.pipeline.drag(subject, planned)
        _write_drag(dragged, kept)
        return dragged

    def look(self, result: EditResult, planned: Plan) -> Seen | None:
        """Measure an edit."""
        pairs = (
            (result.reconstruction, result.edited),
            (_large(result.subject.photo, result), _large(result.photo, result)),
        )
        generator, photo = (self._compare(*pair, result, planned) for pair in pairs)
        if generator is None or photo is None:
            return None
        change = np.abs(result.edited - result.reconstruction).max(axis=2) > CHANGED
        outside = float("nan")
        if planned.regions:
            beyond = result.subject.mask(planned.regions, planned.drags) < 0.05
            outside = float(change[beyond].mean())
        return Seen(generator=generator, photo=photo, outside=outside)

    def _compare(self, first: Crop, second: Crop, result: EditResult, planned: Plan) -> Look | None:
        before, after = (self.observer.landmarks(picture) for picture in (first, second))
        if before is None or after is None:
            return None
        asked = (result.points.targets - result.points.handles) * (SCALE / len(result.edited))
        numbers = [drag.handle for drag in planned.drags]
        went = np.array([place(after, str(n)) - place(before, str(n)) for n in numbers])
        moving = np.array([not drag.anchor for drag in planned.drags])
        eyes = np.hypot(*(before[42:48].mean(axis=0) - before[36:42].mean(axis=0)))
        faces = [self.observer.identity(p, m) for p, m in ((first, before), (second, after))]
        return Look(
            share=float((went * asked)[moving].sum() / (asked**2)[moving].sum()),
            identity=float(np.linalg.norm(faces[1] - faces[0])),
            held=float(np.hypot(*went[~moving].T).mean() / eyes * 100) if (~moving).any() else float("nan"),
            before=measures(before).tolist(),
            after=measures(after).tolist(),
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
                    pivot_loss=0.0,
                    steps={},
                    completed=True,
                    settings={},
                ),
                network=generator.network,
                dtype=self.pipeline.dtype,
            )


def _write_drag(dragged: DragResult, path: Path) -> None:
    """Keep a drag's end."""
    parts = {"w": dragged.w, "row": dragged.rows[-1:]}
    arrays = {name: part.cpu().numpy() for name, part in parts.items()}
    with replacing(path) as temporary:
        np.savez(temporary, points=dragged.path[-1:], targets=dragged.targets, **arrays)


def _read_drag(path: Path) -> DragResult:
    """Return a drag that was kept, as one without a way."""
    with np.load(path) as kept:
        return DragResult(
            w=torch.from_numpy(kept["w"]),
            reason="stopped",
            steps=0,
            path=kept["points"],
            targets=kept["targets"],
            rows=torch.from_numpy(kept["row"]),
        )


def _large(photo: Photo, result: EditResult) -> Crop:
    """Cut the place of an edit's crop out of a photo, at the size that the observer looks at."""
    return cut(photo.to_srgb(photo.pixels), result.subject.alignment.resized(SCALE))


def measure_sample(bench: Bench, number: int) -> dict | None:
    """Drag one sample's landmarks to another's: all 68 by the paper's settings, and the chosen handles."""
    random = torch.Generator().manual_seed(number + 1)
    first, second = bench.sample(random), bench.sample(random)
    assert first.face is not None
    assert second.face is not None
    shape = to_shape(first.face.landmarks)
    shift = _difference(first.face.landmarks, second.face.landmarks)
    every = to_drags([k for k in range(68) if np.hypot(*shift[k]) > 1e-3], shift, np.ones(68))
    handles, _ = choose(shape, shift)
    few = to_drags(handles, shift, np.ones(68))
    row = {"no edit": _distance(first.face.landmarks, second.face.landmarks, bench)}
    own = bench.pipeline.settings
    for name, drags, settings in (
        ("68 handles", every, DragSettings(steps=100)),
        ("chosen handles", few, LandmarkDragSettings()),
    ):
        bench.pipeline.settings = EditSettings(drag=settings)
        dragged = bench.pipeline.drag(first, Plan(drags=tuple(drags)))
        after = bench.observer.landmarks(first.render(dragged.w))
        bench.pipeline.settings = own
        if after is None:
            return None
        size = bench.pipeline.generator.size
        row[name] = _distance((after + 0.5) * size / SCALE - 0.5, second.face.landmarks, bench)
    return row


def _difference(first: Landmarks, second: Landmarks) -> Shape:
    """Return the way from one face's landmarks to another's in the same crop, in the first one's axes."""
    return (second - first) @ np.linalg.inv(face_axes(first))


def _distance(a: Landmarks, b: Landmarks, bench: Bench) -> float:
    return float(np.hypot(*(a - b).T).mean() * SCALE / bench.pipeline.generator.size)


def measure_preset(bench: Bench, subject: Subject, name: str, strength: float, kept: Path) -> dict | None:
    """Apply a preset to a face; the drag is kept in a file."""
    try:
        planned = plan(subject, Request(presets=((own_presets()[name], strength),)))
    except InvalidInput:  # nothing that would move
        return {"preset": name, "still": True}
    seen = bench.edit(subject, planned, kept)
    return None if seen is None else {"preset": name, **asdict(seen)}


def measure_transfer(bench: Bench, subject: Subject, other: Subject, kept: Path) -> dict | None:
    """Give a face the expression of another; the drag is kept in a file."""
    assert subject.face is not None
    assert other.face is not None
    seen = bench.edit(subject, plan(subject, Request(like=other.face.landmarks)), kept)
    if seen is None:
        return None
    gap = measures(other.face.landmarks) - measures(subject.face.landmarks)
    return {**asdict(seen), "gap": gap.tolist()}


def sheet(bench: Bench, pairs: list[tuple[Subject, Subject, Path]], path: Path) -> None:
    """Draw pairs of faces and the first with the other's expression, two pairs a row, from drags that were kept."""
    strips = []
    for subject, other, kept in pairs:
        assert other.face is not None
        planned = plan(subject, Request(like=other.face.landmarks))
        result = bench.pipeline.put_back(subject, planned, bench.dragged(subject, planned, kept))
        photos = (subject.photo, other.photo, result.photo)
        strips.append(np.hstack([cv2.resize(p.pixels, (TILE, TILE), interpolation=cv2.INTER_AREA) for p in photos]))
    if len(strips) % 2:
        strips.append(np.full_like(strips[0], 255))
    rows = [np.hstack(strips[k : k + 2]) for k in range(0, len(strips), 2)]
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def report_samples(items: list[dict]) -> list[str]:
    """Tell of the 68-point experiment."""
    found = [item for item in items if "lost" not in item]
    if not found:
        return []
    base = np.mean([item["no edit"] for item in found])
    return [
        f"## 68 points between random samples ({len(found)} pairs, psi 0.7; {len(items) - len(found)} "
        "without a face after)",
        "",
        "Mean distance of all 68 landmarks to the other sample's, detected again, in pixels at 512 px. The paper's",
        "Table 1 (FFHQ, 512 px): 16.02 without an edit, 4.73 with 68 points (30 %).",
        "68 handles: rounds of 100 steps with the paper's settings; both with corrections.",
        "",
        "| handles | MD | of no edit |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {np.mean([i[name] for i in found]):.2f} | {np.mean([i[name] for i in found]) / base:.0%} |"
            for name in found[0]
        ),
        "",
    ]


def report_presets(of: dict[str, list[dict]], strength: float) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    """Tell of the presets; with the shares of each, in the photo."""
    lines = [
        f"## Presets at {strength:+g}",
        "",
        "Reached: share of the way that the handles made, projected on it; direction: faces in which it is above 0.",
        "Anchors' miss: how far what should stay went in the photo, in percent of the distance between the eyes.",
        "Outside: pixels outside the region that changed in the generator's picture by more than",
        f"{CHANGED:g} of 255.",
        "Asked: half of the way in the median, the right direction in 95 % of faces, identity at most 0.45.",
        "",
        "| preset | faces | reached, generator | direction | reached, photo, median (quartiles) | direction "
        "| identity, generator | photo | outside | anchors' miss | falls short |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    shares, everyone, lost = {}, [], 0
    for name, items in of.items():
        found = [item for item in items if "photo" in item]
        lost += sum("lost" in item for item in items)
        if not found:
            continue
        everyone += found
        crop, photo = (_column(found, where, "share") for where in WHERE)
        shares[name] = photo
        low, middle, high = np.percentile(photo, [25, 50, 75])
        beyond, held = np.array([item["outside"] for item in found], float), _column(found, "photo", "held")
        outside = f"{np.nanmedian(beyond):.1%}" if np.isfinite(beyond).any() else ""
        miss = f"{np.nanmedian(held):.1f} %" if np.isfinite(held).any() else ""
        short = [
            where
            for where, share in (("generator", crop), ("photo", photo))
            if np.median(share) < 0.5 or (share > 0).mean() < 0.95
        ]
        identities = " | ".join(f"{np.median(_column(found, where, 'identity')):.2f}" for where in WHERE)
        lines.append(
            f"| {name} | {len(found)} | {np.median(crop):.0%} | {(crop > 0).mean():.0%} "
            f"| {middle:.0%} ({low:.0%} to {high:.0%}) | {(photo > 0).mean():.0%} | {identities} "
            f"| {outside} | {miss} | {', '.join(short)} |"
        )
    if not everyone:
        return [], {}
    crop, photo = (_column(everyone, where, "share") for where in WHERE)
    lines += [
        "",
        f"Over all {len(everyone)} edits ({lost} more without a face after): {(crop > 0).mean():.0%} in the right "
        f"direction in the generator's picture, {(photo > 0).mean():.0%} in the photo; identity "
        f"{np.median(_column(everyone, 'generator', 'identity')):.2f} and "
        f"{np.median(_column(everyone, 'photo', 'identity')):.2f} in the median.",
        "",
    ]
    return lines, shares


def _column(items: list[dict], where: str, key: str) -> NDArray[np.float64]:
    return np.array([item[where][key] for item in items], float)


def report_transfers(items: list[dict]) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    """Tell of the expressions of other faces; with the gaps and the photo's changes (n, 2) of each measure."""
    found = [item for item in items if "lost" not in item]
    if not found:
        return [], {}
    ways, identities = (
        [float(np.median(_column(found, where, key))) for where in WHERE] for key in ("share", "identity")
    )
    lines = [
        f"## Expressions of other faces ({len(found)} pairs; {len(items) - len(found)} without a face after)",
        "",
        "`--like` with its default parts at strength 1. Medians: the handles made "
        f"{ways[0]:.0%} of their way ({ways[1]:.0%} in the photo); identity distance to the source "
        f"{identities[0]:.2f} ({identities[1]:.2f} in the photo).",
        "Gap: of the measure between the two photos. Pairs whose gap is not more than the detector's jitter are left",
        "out. Asked: half of each gap closed, and an identity of at most 0.45.",
        "",
        "| measure | least gap | pairs | closed by the generator, median (quartiles) | in the photo |",
        "| --- | --- | --- | --- | --- |",
    ]
    gap = np.array([item["gap"] for item in found])
    change = {where: _column(found, where, "after") - _column(found, where, "before") for where in WHERE}
    points = {}
    for k, (name, least) in enumerate(MEASURES.items()):
        wide = np.abs(gap[:, k]) >= least
        if wide.any():
            points[name] = np.stack([gap[wide, k], change["photo"][wide, k]], axis=1)
            cells = []
            for made in change.values():
                low, middle, high = np.percentile(made[wide, k] / gap[wide, k], [25, 50, 75])
                cells.append(f"{middle:.0%} ({low:.0%} to {high:.0%})")
            lines.append(f"| {name} | {least:g} | {wide.sum()} | {' | '.join(cells)} |")
    return [*lines, ""], points


def draw(shares: dict, points: dict, path: Path) -> None:
    """Plot each preset's shares, and each measure's change against its gap, in the photo."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 1 + len(MEASURES), figsize=(17, 4), width_ratios=[2, 1, 1, 1, 1])
    if shares:
        panels[0].boxplot(list(shares.values()), orientation="horizontal", tick_labels=list(shares))
        panels[0].axvline(0.5, color="grey", linewidth=0.8)
        panels[0].invert_yaxis()
        panels[0].set(xlabel="share of the way", title="presets")
    for panel, name in zip(panels[1:], MEASURES, strict=True):
        if name in points:
            gap, change = points[name].T
            panel.scatter(gap, change, s=12)
            ends = np.array([gap.min(), gap.max()])
            panel.plot(ends, ends, color="grey", linewidth=0.8)
            panel.plot(ends, ends / 2, color="grey", linewidth=0.8, linestyle=":")
        panel.set(title=name, xlabel="gap", ylabel="change")
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def report(items: Items, drags: Items, output: Path, strength: float, about: list[str]) -> None:
    """Write what was measured: of photos, and of drags alone."""
    output.parent.mkdir(parents=True, exist_ok=True)
    transfers, points = report_transfers(items.read("like"))
    of = {name: items.read(f"preset.{name}.{strength:g}", of=preset) for name, preset in own_presets().items()}
    presets, shares = report_presets(of, strength)
    draw(shares, points, output.with_suffix(".png"))
    lines = [*about, *presets, *transfers, *report_samples(drags.read("sample"))]
    lines.append(f"![Shares of the way, and changes against gaps]({output.stem}.png)")
    output.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Run the experiments and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="take every so many-th face")
    parser.add_argument("--limit", type=int, default=20, help="faces at most")
    parser.add_argument("--pairs", type=int, default=20, help="of faces whose expression travels")
    parser.add_argument("--samples", type=int, default=10, help="pairs of random samples")
    parser.add_argument("--presets", nargs="*", default=list(own_presets()))
    parser.add_argument("--strength", type=float, default=0.6)
    parser.add_argument("--items", type=Path, default=Path("out/retarget"), help="folder of what was measured")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no edit after so many")
    parser.add_argument("--cache", type=Path, help="folder of inversions to use and to fill")
    parser.add_argument("--reach", type=float, default=LandmarkDragSettings().reach, help="of the drags")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS / "retarget.md")
    parser.add_argument("--sheet", type=Path, help="draw these pairs into a picture instead of measuring")
    parser.add_argument("--sheet-pairs", nargs="*", default=[], help="names of two faces, SOURCE-OTHER, each")
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.minutes * 60
    torch.set_num_threads(arguments.threads)
    cache = InversionCache(arguments.cache) if arguments.cache else None
    settings = EditSettings(drag=LandmarkDragSettings(reach=arguments.reach))
    bench = Bench(Pipeline(settings, cache=cache))
    aligned = {}
    for path in sorted(arguments.faces.glob("*.jpg"))[:: arguments.every][: arguments.limit]:
        try:
            aligned[path.stem] = bench.pipeline.align(path)
        except PhotodragError as error:
            print(path, error)
    names = list(aligned)
    subjects = {}
    for first in range(0, len(names), BATCH):
        some = names[first : first + BATCH]
        subjects |= zip(some, bench.pipeline.invert_all([aligned[name] for name in some]), strict=True)
    modules = (
        drag.limits, drag.shape, pipeline.back, pipeline.check, pipeline.composite, pipeline.eye, pipeline.finish,
        pipeline.flow, pipeline.grain, pipeline.mouth, pipeline.slit,
    )  # fmt: skip
    composite = "".join(Path(str(module.__file__)).read_text() for module in modules)
    told = asdict(settings)
    composite = f"{told.pop('composite')} {composite}"
    described = f"{told} {bench.pipeline.dtype} {bench.pipeline.generator.sha256}"
    drags, items = (Items(arguments.items, told, until) for told in (described, f"{described} {composite}"))
    items.folder.mkdir(parents=True, exist_ok=True)
    if arguments.sheet and arguments.sheet_pairs:
        pairs = [tuple(pair.split("-")) for pair in arguments.sheet_pairs]
        kept = [drags.path(f"like.{source}-{other}", suffix=".npz") for source, other in pairs]
        sheet(
            bench, [(subjects[a], subjects[b], path) for (a, b), path in zip(pairs, kept, strict=True)], arguments.sheet
        )
        return
    about = [
        "# Retargeting",
        "",
        "Written by `python -m benchmarks.retarget`: "
        f"embedded generator {bench.pipeline.generator.name}, {str(bench.pipeline.dtype).removeprefix('torch.')}, "
        "held-out faces, inversions by the default settings.",
        "Seen by dlib at 512 px on the generator's pictures before and after, and on the photo's crop;",
        "identity is the Euclidean distance of dlib's embeddings (strangers: 0.80).",
        "",
    ]
    rng = np.random.default_rng(0)
    for i in range(arguments.pairs):
        source = names[i % len(names)]
        other = names[(i + int(rng.integers(1, len(names)))) % len(names)]
        name = f"like.{source}-{other}"
        kept = drags.path(name, suffix=".npz")
        items.measure(name, partial(measure_transfer, bench, subjects[source], subjects[other], kept))
    for number in range(arguments.samples):
        drags.measure(f"sample.{number:03}", partial(measure_sample, bench, number))
    # Face by face: a run that is stopped has something of each preset.
    for face, subject in subjects.items():
        for preset in arguments.presets:
            name, of = f"preset.{preset}.{arguments.strength:g}.{face}", own_presets()[preset]
            kept = drags.path(name, of=of, suffix=".npz")
            items.measure(name, partial(measure_preset, bench, subject, preset, arguments.strength, kept), of=of)
    report(items, drags, arguments.output, arguments.strength, about)


if __name__ == "__main__":
    main()
