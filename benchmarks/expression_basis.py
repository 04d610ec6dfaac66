"""Make drag/expression.npz: what of a face's shape is expression, measured within persons.

    python -m benchmarks.expression_basis --faces faces320.zip [--landmarks landmarks.npz]

The archive holds pictures of the One Million Impressions data set (Peterson et al. 2022, CC BY-NC-SA 4.0;
synthetic, no real person): `images/` of many persons, and `edited/PERSON_ATTRIBUTE_LEVEL.jpg`, the same persons
made to look more or less outgoing, dominant, smart and so on. dlib finds the 68 landmarks of all.

Depth: mirror images bring out what yaw does to a shape, and yaw is its first antisymmetric mode: x moves in
proportion to depth. The scale of depth follows from foreshortening, as y over the eyes' distance grows by
1 / cos(yaw).

Expression: with pose taken out, let T be the covariance of shapes over persons, and W that within persons, over
attributes that are not the person's own (not age, gender, weight). The generalised eigenvectors of W and T put
what only expressions move first, what only persons differ in last. The edits span a part of what faces do, so
that W is scaled up until its first mode fills T's variance BEYOND times over; the share of expression in a mode
is its W over its T, at most 1.
"""

import argparse
import re
import zipfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from drag.shape import RIGID, ShapeModel, mirrored, to_shape
from pipeline.faces import DlibDetector
from weights.store import Store

OUT = Path(__file__).parent.parent / "drag" / "expression.npz"
PERSONAL = {"age", "gender", "weight"}
SPACE, MODES = 40, 40  # dimensions in which the covariances are compared; modes kept
NOISE = 0.004  # standard deviation of a landmark by the detector, in distances between the eyes
BEYOND = 3.0


def detect(archive: Path) -> dict[str, NDArray[np.float64]]:
    """Return the landmarks (68, 2) of each picture of the archive in which dlib sees a face."""
    detector = DlibDetector(Store())
    found = {}
    with zipfile.ZipFile(archive) as pictures:
        for name in sorted(n for n in pictures.namelist() if n.endswith(".jpg")):
            picture = cv2.imdecode(np.frombuffer(pictures.read(name), np.uint8), cv2.IMREAD_COLOR)
            faces = detector.detect(np.ascontiguousarray(picture[..., ::-1]))
            if faces:
                found[name] = max(faces, key=lambda face: face.area).landmarks
    return found


def depth_of(shapes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the depth (68,) of landmarks from shapes (n, 68, 2) of many poses."""
    odd = (shapes - mirrored(shapes)) / 2
    _, _, modes = np.linalg.svd(odd.reshape(len(odd), -1), full_matrices=False)
    mode = modes[0].reshape(68, 2)
    profile = mode[:, 0] / mode[30, 0]  # the nose tip's is 1
    slide = np.tensordot(odd[..., 0], profile, axes=1) / (profile @ profile)  # tan(yaw) times the nose tip's depth
    even = (shapes + mirrored(shapes)) / 2
    found = []
    for k in (8, 33, 48, 51):
        flat, bend = np.linalg.lstsq(np.stack([np.ones(len(slide)), slide**2], axis=1), even[:, k, 1], rcond=None)[0]
        found.append(np.sqrt(flat / (2 * bend)))  # y = flat / cos(yaw), to the second order
    print("nose tip's depth by chin, nose, mouth, lip:", np.round(found, 3))
    return profile * np.median(found)


def build(shapes: dict[str, NDArray[np.float64]]) -> ShapeModel:
    """Return the model of shapes (68, 2) by the pictures' names."""
    persons = np.stack([s for name, s in shapes.items() if name.startswith("images/")])
    depth = depth_of(persons)
    both = np.concatenate([persons, mirrored(persons)])
    none = np.zeros((0, 68, 2))
    rough = ShapeModel(mean=both.mean(axis=0), depth=depth, readers=none, patterns=none, shares=np.zeros(0))

    def straight(shape: NDArray[np.float64]) -> NDArray[np.float64]:
        return shape - rough.turned(rough.pose(shape)) - rough.mean

    total = np.stack([straight(s) for s in both])
    total -= total.mean(axis=0)
    groups: dict[str, list[NDArray[np.float64]]] = {}
    for name, shape in shapes.items():
        match = re.fullmatch(r"edited/(\d+)_(\w+)_\d\.jpg", name)
        if match and match[2] not in PERSONAL:
            groups.setdefault(match[1], []).append(straight(shape))
    within = np.concatenate([np.stack(g) - np.mean(g, axis=0) for g in groups.values()])
    within = np.concatenate([within, mirrored(within)])

    basis = np.linalg.svd(total.reshape(len(total), -1), full_matrices=False)[2][:SPACE]
    t, w = (np.cov((v.reshape(len(v), -1) @ basis.T).T) for v in (total, within))
    t += NOISE**2 * np.eye(SPACE)
    root = np.linalg.cholesky(t)
    inner = np.linalg.solve(root, np.linalg.solve(root, w).T)
    ratios, vectors = np.linalg.eigh((inner + inner.T) / 2)
    ratios, vectors = ratios[::-1][:MODES], vectors[:, ::-1][:, :MODES]
    readers = np.linalg.solve(root.T, vectors).T @ basis
    patterns = (root @ vectors).T @ basis
    shares = np.minimum(1, BEYOND * ratios / ratios[0])
    print("within / total:", ratios.round(3), "shares:", shares.round(2), sep="\n")
    shaped = (-1, 68, 2)
    return ShapeModel(
        mean=rough.mean, depth=depth, readers=readers.reshape(shaped), patterns=patterns.reshape(shaped), shares=shares
    )


def main() -> None:
    """Detect, build, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--landmarks", type=Path, help="keep what dlib found here, and take it from here")
    arguments = parser.parse_args()
    kept = arguments.landmarks
    if kept and kept.exists():
        with np.load(kept) as file:
            found = dict(zip(file["names"].tolist(), file["landmarks"], strict=True))
    else:
        found = detect(arguments.faces)
        if kept:
            np.savez(kept, names=np.array(list(found)), landmarks=np.stack(list(found.values())))
    model = build({name: to_shape(landmarks) for name, landmarks in found.items()})
    arrays = {name: getattr(model, name).astype(np.float32) for name in ShapeModel.__dataclass_fields__}
    np.savez(OUT, **arrays)
    print(f"{OUT}: {OUT.stat().st_size / 1000:.0f} kB from {len(found)} faces; rigid landmarks {RIGID}")


if __name__ == "__main__":
    main()
