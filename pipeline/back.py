"""The way back: what a drag changed goes into the photo, and is looked at there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drag.landmarks import Landmarks
from drag.points import unit
from pipeline.check import CLOSE, around, both_landmarks, crop_landmarks, look
from pipeline.composite import Patch, composite
from pipeline.faces import Detector
from pipeline.finish import beyond, finish, lacking
from pipeline.flow import FaceMotion
from pipeline.photo import Photo
from pipeline.plan import Plan
from pipeline.settings import CompositeSettings
from pipeline.subject import Subject
from pipeline.tensors import Crop

Sight = tuple[Landmarks, Landmarks]
"""Landmarks (68, 2) before and after an edit, in pixels of the crop."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Returned:
    """A change that was put back.

    Attributes:
        original: the photo before.
        crop: (size, size, 3) from 0 to 255, of which it was made: landmarks that fell short are moved on.
        patch: what the photo changed; None with `composite="crop"`.
        seen: landmarks that were looked for, before and after; None where there were none to look for, or no face
            was found again.
    """

    original: Photo
    crop: Crop
    patch: Patch | None
    seen: Sight | None

    def photo(self) -> Photo:
        """Return the edited photo; with `composite="crop"` the edited crop."""
        if self.patch:
            return self.original.edited(self.patch.on(self.original.pixels))
        pixels = np.clip(self.crop + 0.5, 0, 255).astype(np.uint8)
        return Photo(pixels=pixels, format=self.original.format).edited(pixels)


def put_back(
    subject: Subject, plan: Plan, after: Crop, settings: CompositeSettings, detector: Detector | None
) -> Returned:
    """Move landmarks on that a drag left short, and put the change back; then look whether the photo shows it.

    A detector, and who looks, sees less of a small motion in a photo than there was in the generator's picture. So
    what landmarks still lack lengthens their ways (`finish.beyond`), and the change is put back once more; the
    result is what lacks less.

    Args:
        subject: what was dragged.
        plan: by which it was.
        after: (size, size, 3) from 0 to 255, the generator's picture after the drag.
        settings: see there.
        detector: of the landmarks; None for a subject without a face.
    """
    ways = plan.ways(subject)
    moving = detector is not None and bool((np.nan_to_num(ways) != 0).any())
    way = _Way(subject, plan.allowed_in(subject), settings, detector if moving else None)
    drawn = both_landmarks(subject.reconstruction, after, detector) if detector else None
    if drawn is None:
        return way.go(after)
    first, last = drawn

    def attempt(ways: NDArray[np.float64]) -> Returned:
        finished, moved = finish(after, first, last, ways, most=settings.finish)
        return way.go(finished, (first, moved))

    made = attempt(ways)
    if not settings.finish or made.seen is None:
        return made
    lack = lacking(ways, made.seen)
    if np.hypot(*lack.T).max() < CLOSE * unit(len(after)):
        return made
    again = attempt(ways + beyond(ways, lack))
    nearer = again.seen and _total(lacking(ways, again.seen)) < _total(lack)
    return again if nearer else made


def _total(lack: NDArray[np.float64]) -> float:
    return float(np.hypot(*lack.T).sum())


class _Way:
    """From a crop to the photo, and what a detector sees there."""

    def __init__(
        self,
        subject: Subject,
        allowed: NDArray[np.float32] | None,
        settings: CompositeSettings,
        detector: Detector | None,
    ) -> None:
        """`detector` is None where nothing is to be looked for."""
        self.subject, self.allowed, self.settings, self.detector = subject, allowed, settings, detector
        self.part = around(subject)
        # Where the landmarks are by the detector that looks again, at the size at which it does.
        self.start = None if detector is None else look(subject, subject.photo.pixels[self.part], detector=detector)
        if self.start is None and subject.face:
            self.start = subject.alignment.to_crop(subject.face.landmarks)

    def go(self, crop: Crop, drawn: Sight | None = None) -> Returned:
        """Put a crop back, with what is known of its landmarks and of those of the reconstruction."""
        subject, settings = self.subject, self.settings
        if settings.composite == "crop":
            seen = crop_landmarks(crop, self.detector) if self.detector and drawn else None
            return Returned(
                original=subject.photo,
                crop=crop,
                patch=None,
                seen=None if seen is None or drawn is None else (drawn[0], seen),
            )
        patch = composite(
            subject.photo,
            subject.alignment,
            subject.reconstruction,
            crop,
            settings,
            allowed=self.allowed,
            face=None if drawn is None or self.start is None else FaceMotion.of(*drawn, self.start),
        )
        before = drawn[0] if drawn and settings.composite == "paste" else self.start
        seen = None
        if self.detector and before is not None:
            seen = look(subject, patch.part(subject.photo.pixels, *self.part), detector=self.detector)
        return Returned(
            original=subject.photo,
            crop=crop,
            patch=patch,
            seen=None if seen is None or before is None else (before, seen),
        )
