"""The pipeline: align, invert, drag, composite."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drag.editor import DragResult, drag
from drag.features import check_draggable
from drag.landmarks import Drag
from drag.points import Points
from drag.regions import region_mask
from drag.settings import DragSettings, check_settings
from inversion.inversion import SEARCH, Inversion, check_generator, doubt, invert
from inversion.settings import InversionSettings, TuningSettings
from pipeline.align import Alignment, center_frame, cut, ffhq_frame
from pipeline.back import put_back
from pipeline.cache import InversionCache
from pipeline.check import CLOSE, correct, reached
from pipeline.composite import Patch
from pipeline.faces import Detector, choose_face, find_faces, make_detector
from pipeline.photo import Photo, read_photo
from pipeline.plan import Mask, Plan, Planner
from pipeline.settings import CompositeSettings, ComputeSettings, FaceSettings, check
from pipeline.subject import Aligned, Subject
from pipeline.tensors import Crop, to_tensor
from weights.compute import resolve_device, resolve_dtype
from weights.errors import InvalidInput
from weights.load import LoadedGenerator, load_generator
from weights.perceptual import Lpips
from weights.store import Store

Progress = Callable[[str, int, int, str], bool | None]
"""Told of each step: the stage, steps made, steps at most, and a word on how it goes; False stops the stage."""


@dataclass(frozen=True, kw_only=True)
class EditSettings:
    """All that can be set of an edit.

    Attributes:
        faces: see there, as of the others.
        inversion: likewise.
        tuning: likewise.
        drag: None for the defaults that suit what is asked: `LandmarkDragSettings`, or `DragSettings` where
            points are dragged that are no landmarks.
        composite: likewise.
        compute: likewise.
    """

    faces: FaceSettings = field(default_factory=FaceSettings)
    inversion: InversionSettings = field(default_factory=InversionSettings)
    tuning: TuningSettings = field(default_factory=TuningSettings)
    drag: DragSettings | None = None
    composite: CompositeSettings = field(default_factory=CompositeSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)


@dataclass(frozen=True, kw_only=True, eq=False)
class EditResult:
    """An edit and all its stages.

    Attributes:
        photo: the edited photo; with `composite="crop"` the edited crop.
        subject: the photo before, its face, its crop and its inversion.
        plan: what was to be dragged, and what might change.
        points: handles and targets in pixels of the crop.
        drag: the drag.
        reconstruction: (size, size, 3) float32, the generator's picture before the drag, from 0 to 255.
        edited: likewise, after it.
        finished: likewise, landmarks that fell short moved on: what went back into the photo.
        patch: what the photo changed, and where; None with `composite="crop"`.
        reached: share of each handle's way that its landmark made, detected again on the edited photo; NaN
            where that cannot be told.
        seconds: of each stage.
    """

    photo: Photo
    subject: Subject
    plan: Plan
    points: Points
    drag: DragResult
    reconstruction: Crop
    edited: Crop
    finished: Crop
    patch: Patch | None
    reached: NDArray[np.float64]
    seconds: dict[str, float]

    @property
    def mask(self) -> NDArray[np.float32]:
        """(H, W) from 0 to 1, where the edited photo changed."""
        if self.patch is None:
            return np.ones((self.photo.height, self.photo.width), np.float32)
        return self.patch.whole_mask(self.photo.height, self.photo.width)

    @property
    def arrived(self) -> bool:
        """Whether every handle arrived, by the tracker."""
        return self.drag.reason == "arrived"


class Pipeline:
    """The networks that edits share, loaded when first needed."""

    def __init__(
        self,
        settings: EditSettings | None = None,
        *,
        store: Store | None = None,
        cache: InversionCache | None = None,
    ) -> None:
        """Prepare for edits with `settings`.

        Args:
            settings: see there; None for the defaults.
            store: where weights come from.
            cache: of inversions; None for none.

        Raises:
            InvalidInput: settings that make no sense, or a device or dtype that this machine does not have.
        """
        self.settings = settings or EditSettings()
        check(self.settings.faces, self.settings.composite, self.settings.compute)
        self.store = store or Store()
        self.cache = cache
        self.device = resolve_device(self.settings.compute.device)
        self.dtype = resolve_dtype(self.settings.compute.dtype, self.device)

    @cached_property
    def generator(self) -> LoadedGenerator:
        """The generator of the settings."""
        compute = self.settings.compute
        loaded = load_generator(compute.generator, device=self.device, frame=compute.frame, store=self.store)
        check_draggable(loaded.network.config)
        return loaded

    @cached_property
    def lpips(self) -> Lpips:
        """The perceptual loss of the settings."""
        return Lpips(self.settings.inversion.perceptual, store=self.store, device=self.device, dtype=self.dtype)

    @cached_property
    def texture(self) -> Lpips | None:
        """AlexNet's metric, where the tuning of the settings minds texture and `lpips` is not AlexNet's already."""
        tuning = self.settings.tuning
        if not (tuning.tune and tuning.texture and self.settings.inversion.perceptual != "alex"):
            return None
        return Lpips("alex", store=self.store, device=self.device, dtype=self.dtype)

    @cached_property
    def detector(self) -> Detector:
        """The face detector of the settings."""
        return make_detector(self.settings.faces.detector, store=self.store, device=str(self.device))

    def edit(
        self,
        photo: Photo | Path | Aligned,
        drags: Sequence[Drag] | Plan | Planner,
        *,
        mask: Mask | None = None,
        progress: Progress | None = None,
    ) -> EditResult:
        """Edit a photo.

        Args:
            photo: to edit; or a subject that `prepare` made of one, which saves its inversion.
            drags: handles and targets; or a plan, or what makes one of the aligned photo.
            mask: (H, W) float32 of the photo's size, 1 where it may move; or regions of the face, () for everywhere;
                None for what the plan says: of drags, the parts of the face whose landmarks move, or everywhere
                where other points do.
            progress: told of each step.

        Raises:
            PhotodragError: see the stages.
        """
        seconds: dict[str, float] = {}
        # 1. Find the face and cut it out in the generator's frame; make sure of the points before the work.
        with _timed(seconds, "align"):
            aligned = photo if isinstance(photo, Aligned) else self.align(photo)
            if isinstance(aligned, Subject):
                check_generator(aligned.inversion, self.generator, name="The subject")
            plan = _planned(drags, aligned).masked(mask)
            aligned.points(list(plan.drags))
            if plan.also:
                aligned.points(list(plan.also))
            plan.allowed_in(aligned)
            self._drag_settings(plan)
        # 2. Find the code that shows the crop.
        with _timed(seconds, "invert"):
            subject = aligned if isinstance(aligned, Subject) else self.invert(aligned, progress=progress)
        # 3. Drag the handles to their targets.
        with _timed(seconds, "drag"):
            dragged = self.drag(subject, plan, progress=progress)
        # 4. Put the change back into the photo, and look whether the face did what was asked.
        result = self.put_back(subject, plan, dragged)
        return dataclasses.replace(result, seconds=seconds | result.seconds)

    def drag(self, subject: Subject, plan: Plan, *, progress: Progress | None = None) -> DragResult:
        """Drag a subject's handles to their targets; landmarks that fell short are dragged on.

        Raises:
            PhotodragError: points, mask or settings that cannot be used.
        """
        check_generator(subject.inversion, self.generator, name="The subject")
        settings = self._drag_settings(plan)
        points, allowed = subject.points(list(plan.drags)), plan.allowed_in(subject)

        def go_on(w: Tensor, points: Points) -> DragResult:
            return drag(
                subject.network,
                w,
                points,
                spread=self.generator.spread,
                settings=settings,
                mask=allowed,
                dtype=self.dtype,
                origin=subject.w,
                callback=progress
                and (lambda s: progress("drag", s.index, s.total, f"{s.distances.max():.2f} px of the crop left")),
            )

        dragged = go_on(subject.w, points)
        if not subject.face:
            return dragged
        return correct(
            subject,
            dragged,
            points,
            plan.drags,
            detector=self.detector,
            go_on=go_on,
            rounds=self.settings.faces.corrections,
            close=settings.tolerance or CLOSE,
        )

    def put_back(
        self, subject: Subject, plan: Plan, dragged: DragResult, settings: CompositeSettings | None = None
    ) -> EditResult:
        """Put what a drag changed back into the photo, and look whether the face did what was asked.

        Landmarks that fell short are moved on by a warp. A drag can be put back any number of times, by other settings.

        Args:
            subject: what was dragged.
            plan: by which it was.
            dragged: what `drag` made of them.
            settings: None for the pipeline's own.

        Raises:
            InvalidInput: settings that make no sense, a mask that cannot be used, or another plan.
            InvalidFile: the subject's inversion was made for another generator.
        """
        settings = settings or self.settings.composite
        check(self.settings.faces, settings, self.settings.compute)
        check_generator(subject.inversion, self.generator, name="The subject")
        points = subject.points(list(plan.drags))
        if len(points.targets) != len(dragged.targets):
            raise InvalidInput("The drag was made by another plan: give the plan that it was made by.")
        start = time.perf_counter()
        edited = subject.render(dragged.w)
        back = put_back(subject, plan, edited, settings, self.detector if subject.face else None)
        return EditResult(
            photo=back.photo(),
            subject=subject,
            plan=plan,
            points=points,
            drag=dragged,
            reconstruction=subject.reconstruction,
            edited=edited,
            finished=back.crop,
            patch=back.patch,
            reached=reached(subject, back.seen, plan.drags),
            seconds={"composite": time.perf_counter() - start},
        )

    def prepare(
        self, photo: Photo | Path, *, inversion: Inversion | None = None, progress: Progress | None = None
    ) -> Subject:
        """Align a photo and invert it, or take an inversion made before.

        Raises:
            InvalidFile: the inversion was made for another generator.
            NoFace: as in `align`.
        """
        if inversion is None:
            return self.invert(self.align(photo), progress=progress)
        check_generator(inversion, self.generator, name="The inversion")
        alignment = None
        if inversion.alignment is not None:
            alignment = Alignment(inversion.alignment.double().numpy(), self.generator.size)
        return self._subject(self.align(photo, alignment=alignment), inversion)

    def align(self, photo: Photo | Path, *, alignment: Alignment | None = None) -> Aligned:
        """Find the face and cut it out in the generator's frame, or by an alignment made before.

        Raises:
            NoFace: the frame needs a face, and there is none, or not that many.
        """
        photo = photo if isinstance(photo, Photo) else read_photo(photo)
        size = self.generator.size
        srgb = photo.to_srgb(photo.pixels)
        face = None
        if self.generator.frame == "ffhq":
            faces = find_faces(srgb, self.detector)
            if alignment is None:
                face = choose_face(faces, self.settings.faces.face)
                alignment = ffhq_frame(face.landmarks, size)
            elif faces:
                middle = alignment.to_photo(np.array([[(size - 1) / 2] * 2]))
                face = min(faces, key=lambda f: float(np.hypot(*(f.landmarks.mean(axis=0) - middle[0]))))
        elif alignment is None:
            alignment = center_frame(photo.width, photo.height, size)
        return Aligned(photo=photo, face=face, alignment=alignment, crop=cut(srgb, alignment))

    def invert(self, aligned: Aligned, *, progress: Progress | None = None) -> Subject:
        """Find the code that shows the crop, or find it in the cache."""
        return self.invert_all([aligned], progress=progress)[0]

    def invert_all(self, aligned: Sequence[Aligned], *, progress: Progress | None = None) -> list[Subject]:
        """Find the codes of several photos' crops as one batch; those that are in the cache are taken from there.

        Raises:
            InvalidInput: see `inversion.inversion.invert`; or the settings focus on a face, and there is none.
        """
        keys = [self._key(one) for one in aligned]
        found = [self.cache.get(key) if self.cache else None for key in keys]
        missing = [i for i, inversion in enumerate(found) if inversion is None]
        if missing:
            settings, weights = self.settings, [self._focus(aligned[i]) for i in missing]
            inverted = invert(
                self.generator,
                torch.cat([to_tensor(aligned[i].crop, self.device) for i in missing]),
                lpips=self.lpips,
                settings=settings.inversion,
                tuning=settings.tuning,
                texture=self.texture,
                weight=torch.cat([w for w in weights if w is not None]) if settings.inversion.focus else None,
                dtype=self.dtype,
                seed=settings.compute.seed,
                callback=progress and (lambda s: progress(_STAGE[s.phase], s.index + 1, s.total, f"loss {s.loss:.3f}")),
            )
            for i, inversion in zip(missing, inverted, strict=True):
                found[i] = inversion
                if self.cache and inversion.completed:
                    self.cache.put(keys[i], inversion)
        # A kept inversion may be of another photo that has the same crop elsewhere.
        return [
            self._subject(one, dataclasses.replace(inversion, alignment=torch.from_numpy(one.alignment.matrix)))
            for one, inversion in zip(aligned, found, strict=True)
            if inversion
        ]

    def _key(self, aligned: Aligned) -> str:
        """Return what the inversion of a crop is called in the cache."""
        settings = self.settings
        return InversionCache.key(
            aligned.crop,
            search=SEARCH,
            generator=self.generator.sha256,
            encoder=self.generator.encoder_sha256,
            seed=settings.compute.seed,
            dtype=str(self.dtype),
            inversion=dataclasses.asdict(settings.inversion),
            tuning=dataclasses.asdict(settings.tuning),
        )

    def _focus(self, aligned: Aligned) -> Tensor | None:
        """Return where the crop counts, (1, 1, size, size) of mean 1: the face more than its background.

        Raises:
            InvalidInput: there is no face to focus on.
        """
        focus = self.settings.inversion.focus
        if not focus:
            return None
        if aligned.face is None:
            raise InvalidInput(
                f"The inversion's focus gives weight to a face, and crops for {self.generator.name} are cut without "
                "looking for one: leave it at 0."
            )
        size = aligned.alignment.size
        face = region_mask(aligned.alignment.to_crop(aligned.face.landmarks), "face", size)
        weight = 1 - focus + focus * face
        return torch.as_tensor(weight / weight.mean(), device=self.device)[None, None]

    def _subject(self, aligned: Aligned, inversion: Inversion) -> Subject:
        parts = {f.name: getattr(aligned, f.name) for f in dataclasses.fields(Aligned)}
        return Subject(
            **parts,
            inversion=inversion,
            network=inversion.network(self.generator),
            dtype=self.dtype,
            doubt=doubt(inversion, self.generator),
        )

    def _drag_settings(self, plan: Plan) -> DragSettings:
        settings = self.settings.drag or plan.settings
        check_settings(settings, self.generator.network.config.resolutions)
        return settings


def _planned(drags: Sequence[Drag] | Plan | Planner, aligned: Aligned) -> Plan:
    if isinstance(drags, Plan):
        return drags
    return drags(aligned) if callable(drags) else Plan.of(drags)


_STAGE = {"w": "invert", "w+": "invert", "tune": "tune"}


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
