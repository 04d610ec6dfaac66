"""What can be set of the pipeline's own stages. This module imports neither torch nor numpy."""

from dataclasses import dataclass
from math import inf
from typing import Literal

from weights.checks import check_fields


@dataclass(frozen=True, kw_only=True)
class FaceSettings:
    """Which face is edited.

    Attributes:
        detector: dlib, or the networks of face-alignment.
        face: number of the face, counted from 1 at the left; the largest where none is given.
        corrections: how often, at most, landmarks are detected again on the edited crop and a drag that fell
            short goes on from there; of handles that are landmarks.
    """

    detector: Literal["dlib", "face-alignment"] = "dlib"
    face: int | None = None
    corrections: int = 4


@dataclass(frozen=True, kw_only=True)
class CompositeSettings:
    """How the edited crop goes back into the photo.

    Attributes:
        composite: detail carries the photo's own pixels along what moved; paste puts the edited crop into the photo
            as it is; crop gives the edited crop alone.
        finish: landmarks that the drag left short of their targets are moved on by a warp, by this share of their
            way at most (eyelids that close by all of it), and those that were to stay are brought back; 0 for none of
            this. What the photo then still lacks lengthens the way, by half at most.
        feather: width of the soft edge of what changes, in percent of the crop, 50 at most.
        match_grain: give what the generator made the photo's grain.
    """

    composite: Literal["detail", "paste", "crop"] = "detail"
    finish: float = 0.7
    feather: float = 6.0
    match_grain: bool = True


@dataclass(frozen=True, kw_only=True)
class ComputeSettings:
    """What computes.

    Attributes:
        generator: faces-128, which is embedded; a name that `photodrag weights list` shows; or a checkpoint's file.
        frame: how the generator's crops are cut: ffhq (a face, by its landmarks) or center (the largest centred
            square); where it is not given, as the generator's file or the catalogue says, else center.
        device: auto, cpu, cuda, mps, ...; auto takes the first that is there of CUDA, MPS and CPU.
        dtype: of convolutions; auto is bfloat16 where the processor multiplies it natively.
        seed: of what is random: the noise on an inversion's way without an encoder, and the faces that a tuning's
            locality keeps.
    """

    generator: str = "faces-128"
    frame: Literal["ffhq", "center"] | None = None
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0


def check(faces: FaceSettings, composite: CompositeSettings, compute: ComputeSettings) -> None:
    """Make sure that the settings make sense by themselves.

    Raises:
        InvalidInput: one of them does not.
    """
    check_fields(faces, "edit", face=(1, inf))
    check_fields(composite, "edit", finish=(0, 1), feather=(0, 50))
    check_fields(compute, "edit", seed=(0, 2**64 - 1))
