"""The edited crop back into the photo.

A generator's crop is softer than a photo, and its reconstruction is not quite the face. So the edit is taken
for a change between two pictures of the generator, the reconstruction and the edited one. Where they agree, the
photo's pixels stay. Where they differ, the photo's own pixels are carried along the motion between the two. What
no motion explains is believed where it stands out plainly from what the generator gets wrong anyway (teeth in the
place of lips, but no stains on skin): there the generator's pixels fill in, in the photo's light, and with its
grain and sharpness. A generator that shows the photo poorly is not asked what is in a mouth's gap, and in closing eyes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from drag.shape import outlined
from pipeline.align import Alignment, cut, outside
from pipeline.eye import Eye
from pipeline.flow import LUMA, FaceMotion, known_motion, landmark_motion, motion, smooth, warp
from pipeline.grain import measure_grain
from pipeline.mouth import SIDE, Mouth, met
from pipeline.photo import EightBit, Photo, Pixels, deepen, eight_bit
from pipeline.settings import CompositeSettings
from pipeline.tensors import Crop

Field = NDArray[np.float32]

FAINT, PLAIN = 4.0, 12.0  # of 255: changes below the first are none; a change has some above the second
DOUBTED, BELIEVED = 3.5, 7.0  # times the generator's error on the photo: changes that no motion explains
POOR = 6.0  # levels of 255, of that error; beyond, pictures say less of a motion than landmarks do
STAIN = 1 / 85  # of the crop's size, over which those are averaged
LIGHT = 32  # the light's structures are larger than a crop's size by this
SHARPER = 2.0  # the generator's finest octave is raised to this at most
LEAST = 1 / 255  # fainter parts of the mask are none
# What a pixel becomes when cubic interpolation (Keys 1981, a = -3/4 as OpenCV's) is averaged over pixels again.
AVERAGED = np.array([-0.01953125, 0.09375, 0.8515625, 0.09375, -0.01953125], np.float32)
# Where in a pixel lips and lids are looked at: each of four rows and columns once.
WITHIN = np.array([[-0.375, -0.125], [0.125, -0.375], [0.375, 0.125], [-0.125, 0.375]])
BAND = 256  # rows of the photo worked on at once


@dataclass(frozen=True, eq=False)
class Patch:
    """A part of a photo, changed.

    Attributes:
        rows: of the photo.
        columns: of the photo.
        pixels: (h, w, 3), of the photo's type, in its own colour space.
        mask: (h, w) float32 from 0 to 1; pixels where it is 0 are the photo's.
    """

    rows: slice
    columns: slice
    pixels: Pixels
    mask: Field

    @classmethod
    def of(cls, photo: Photo, rows: slice, columns: slice) -> "Patch":
        """Return a part of a photo with nothing changed yet."""
        pixels = photo.pixels[rows, columns].copy()
        return cls(rows, columns, pixels, np.zeros(pixels.shape[:2], np.float32))

    def on(self, pixels: Pixels) -> Pixels:
        """Return a photo's pixels (H, W, 3) with the patch in its place."""
        return self.part(pixels, slice(0, pixels.shape[0]), slice(0, pixels.shape[1]))

    def part(self, pixels: Pixels, rows: slice, columns: slice) -> Pixels:
        """Return a part of a photo's pixels (H, W, 3), with what of the patch lies in it."""
        out = pixels[rows, columns].copy()
        there, own = zip(*(_shared(*ways) for ways in ((rows, self.rows), (columns, self.columns))), strict=True)
        out[there] = self.pixels[own]
        return out

    def whole_mask(self, height: int, width: int) -> Field:
        """Return the mask of a photo of that size: (height, width)."""
        mask = np.zeros((height, width), np.float32)
        mask[self.rows, self.columns] = self.mask
        return mask


def _shared(first: slice, second: slice) -> tuple[slice, slice]:
    """Return what two ranges share, counted from the start of each."""
    start = max(first.start, second.start)
    stop = max(start, min(first.stop, second.stop))
    return slice(start - first.start, stop - first.start), slice(start - second.start, stop - second.start)


def composite(
    photo: Photo,
    alignment: Alignment,
    reconstruction: Crop,
    edited: Crop,
    settings: CompositeSettings | None = None,
    *,
    allowed: Field | None = None,
    face: FaceMotion | None = None,
) -> Patch:
    """Make the part of a photo that an edit changes.

    Memory is proportional to that part, whatever the photo's size.

    Args:
        photo: the photo; it is not changed.
        alignment: where the crop lies in it.
        reconstruction: (size, size, 3) from 0 to 255, sRGB, the generator's picture before the edit.
        edited: likewise, after it.
        settings: see there, but for `composite="crop"`, which puts nothing back; None for the defaults.
        allowed: (size, size) from 0 to 1, where the crop may change; None for everywhere.
        face: landmarks, from which the motion is known in part where the reconstruction is a poor one; None where
            there are none.

    Returns:
        The patch, which `Patch.on` puts into the photo.
    """
    settings = settings or CompositeSettings()
    reconstruction, edited = _restored(reconstruction), _restored(edited)
    mask = room(photo, alignment, feather=settings.feather, allowed=allowed)
    if settings.composite == "detail":
        mask *= change_mask(reconstruction, edited, feather=settings.feather)
        mask[mask < LEAST] = 0
    if not mask.any():
        return Patch(slice(0, 0), slice(0, 0), photo.pixels[:0, :0], mask[:0, :0])
    if settings.composite == "paste":
        layers = _pasted(edited)
    else:
        layers = _carried(photo, alignment, reconstruction, edited, mask, face)
    grainy = settings.match_grain and settings.composite == "detail"
    painter = _Painter(photo, alignment, layers, mask, match_grain=grainy)
    patch = Patch.of(photo, painter.rows, painter.columns)
    for start in range(painter.rows.start, painter.rows.stop, BAND):
        rows = slice(start, min(start + BAND, painter.rows.stop))
        painter.paint(patch, rows)
    return patch


def change_mask(reconstruction: Crop, edited: Crop, *, feather: float) -> Field:
    """Return where the edit changed the crop, softly: (size, size) from 0 to 1.

    A change is a connected patch of faint differences that has plain ones in it (hysteresis).

    Args:
        reconstruction: (size, size, 3) from 0 to 255, the generator's picture before the edit.
        edited: likewise, after it.
        feather: width of the soft edge, in percent of the crop.
    """
    size = len(edited)
    width = max(1.0, feather / 100 * size)
    change = np.abs(edited - reconstruction).max(axis=2)
    change = cv2.GaussianBlur(change, (0, 0), max(0.8, size / 256))
    count, labels = cv2.connectedComponents((change > FAINT).astype(np.uint8), connectivity=8)
    real = np.zeros(count, bool)
    real[np.unique(labels[change > PLAIN])] = True
    real[0] = False
    core = real[labels].astype(np.float32)
    reach = 2 * round(width / 2) + 1
    grown = cv2.dilate(core, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    soft = np.maximum(cv2.GaussianBlur(grown, (0, 0), width / 3), 0)
    return np.asarray(soft, np.float32)


def room(photo: Photo, alignment: Alignment, *, feather: float, allowed: Field | None = None) -> Field:
    """Return where the crop may go into the photo, softly: (size, size) from 0 to 1.

    It is 0 along the crop's border, but not along sides that lie at or beyond the photo's own: there is
    nothing that they would have to fit to. Beyond the photo it is 0.

    Args:
        photo: the photo.
        alignment: where the crop lies in it.
        feather: width of the soft edge, in percent of the crop.
        allowed: (size, size) from 0 to 1, where the crop may change; None for everywhere.
    """
    size = alignment.size
    width = max(1.0, feather / 100 * size)
    at = np.arange(size, dtype=np.float32)
    mask = (outside(alignment, photo.width, photo.height) <= 1).astype(np.float32)
    # The pixels just beyond each side, and the distances from it.
    beyond = {
        "left": (np.stack([np.full(size, -1.0), at], axis=1), at[None]),
        "right": (np.stack([np.full(size, float(size)), at], axis=1), at[None, ::-1]),
        "top": (np.stack([at, np.full(size, -1.0)], axis=1), at[:, None]),
        "bottom": (np.stack([at, np.full(size, float(size))], axis=1), at[::-1, None]),
    }
    for points, distance in beyond.values():
        x, y = alignment.to_photo(points.astype(np.float64)).T
        if ((x >= 0) & (x < photo.width) & (y >= 0) & (y < photo.height)).any():
            mask *= np.clip(distance / width, 0, 1)
    if allowed is not None:
        # Softened inwards: what may not change does not.
        mask *= np.minimum(cv2.GaussianBlur(allowed, (0, 0), width / 3), allowed)
    return mask


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layers:
    """What the photo's new pixels are made of, on the crop's grid.

    Attributes:
        reconstruction: in the photo's light.
        edited: in the photo's light and sharpness.
        flow: (size, size, 2), from the edited crop to the reconstruction.
        trust: (size, size), the share of the photo's detail that is carried along.
        slits: eyes and a mouth that part or meet; none where no landmarks are known, or the generator knows better.
    """

    reconstruction: Crop
    edited: Crop
    flow: Field
    trust: Field
    slits: Sequence[Eye | Mouth] = ()


def _restored(picture: Crop) -> Crop:
    """Return a picture whose interpolation averages to the given pixels, to first order, as the photo's did."""
    return picture + (picture - cv2.sepFilter2D(picture, -1, AVERAGED, AVERAGED, borderType=cv2.BORDER_REFLECT))


def _pasted(edited: Crop) -> _Layers:
    """Return layers of nothing but the edited crop."""
    size = len(edited)
    still = np.zeros((size, size, 2), np.float32)
    return _Layers(reconstruction=edited, edited=edited, flow=still, trust=still[..., 0])


def _carried(
    photo: Photo, alignment: Alignment, reconstruction: Crop, edited: Crop, mask: Field, face: FaceMotion | None
) -> _Layers:
    """Find what moved and what is new, and bring the generator's pictures into the photo's light."""
    crop, size = _crop(photo, alignment), alignment.size
    error = max(float((_strength(_restored(crop) - reconstruction) * mask).sum() / mask.sum()), 1e-3)
    known, slits = None, list[Eye | Mouth]()
    if face and error > POOR:
        near = _crop(photo, alignment.resized(SIDE))
        shift = met(near, face.photo[0], size) - face.photo[0]
        start, end = (landmarks + shift for landmarks in face.photo)
        known = known_motion(outlined(face.drawn[0]), outlined(face.drawn[1]), size)
    flow, trust = motion(reconstruction, edited, known=known)
    drawn = warp(reconstruction, flow)
    new = _new(edited - drawn, error)[..., None]
    moved = drawn
    if known:  # a lip of the photo is not quite where the generator drew it
        flow += landmark_motion(outlined(start), outlined(end), size) - known.flow
        mouth = Mouth.of(near, start, end, flow)
        slits = [*Eye.closing(start, end, flow), *([mouth] if mouth else [])]
        moved = warp(reconstruction, flow)
    # What is new comes on top of what moved, and where nothing of the photo's detail is left, in its place.
    fresh = new * (1 - trust[..., None])
    edited = moved + new * (edited - drawn) + fresh * (drawn - moved)
    trust = 1 - fresh[..., 0]
    light = np.asarray(cv2.GaussianBlur(crop - reconstruction, (0, 0), size / LIGHT), np.float32)
    before, after = reconstruction + light, edited + warp(light, flow)
    sharper = np.clip(_finest(crop, mask) / max(_finest(reconstruction, mask), 1e-6), 1, SHARPER)
    octave = after - cv2.GaussianBlur(after, (0, 0), 1)
    after = after + (sharper - 1) * (1 - trust[..., None]) * octave
    return _Layers(reconstruction=before, edited=after, flow=flow, trust=trust, slits=slits)


def _new(unexplained: Crop, error: float) -> Field:
    """Return how far changes that no motion explains are believed: (size, size) from 0 to 1.

    Taken away from its code, a generator draws what is not there: smears and stains, some times as strong as its
    error where nothing was edited. One without error is believed whatever it draws.

    Args:
        unexplained: (size, size, 3), the changes.
        error: of the reconstruction on the photo's crop, the mean strength.
    """
    return np.asarray(smooth((_strength(unexplained) / error - DOUBTED) / (BELIEVED - DOUBTED)), np.float32)


def _strength(difference: Crop) -> Field:
    """Return how strong a difference of crops is around each pixel, in levels of 255."""
    sigma = STAIN * len(difference)
    return np.asarray(cv2.GaussianBlur(np.abs(difference).max(axis=2), (0, 0), sigma), np.float32)


def _finest(picture: Crop, mask: Field) -> float:
    """Return the root mean square of a picture's finest octave where the mask is."""
    octave = picture - cv2.GaussianBlur(picture, (0, 0), 1)
    return float(np.sqrt((np.square(octave).mean(axis=2) * mask).sum() / mask.sum()))


def _crop(photo: Photo, alignment: Alignment) -> Crop:
    """Cut the crop out of the photo."""
    rows, columns = alignment.region(photo.width, photo.height, margin=4 * alignment.scale + 4)
    return cut(photo.to_srgb(photo.pixels[rows, columns]), alignment.moved(-columns.start, -rows.start))


class _Painter:
    """Paints layers into the photo, band by band of its rows."""

    def __init__(self, photo: Photo, alignment: Alignment, layers: _Layers, mask: Field, *, match_grain: bool) -> None:
        self.photo = photo
        self.layers = layers
        self.scale = alignment.scale
        self.mask = mask
        # Where the mask is, and as far around it as detail may come from.
        y, x = np.nonzero(mask)
        box = np.array([[x.min(), y.min()], [x.max(), y.min()], [x.min(), y.max()], [x.max(), y.max()]], float)
        corners = alignment.to_photo(box)
        margin = 2 * self.scale + 2
        self.rows, self.columns = _within(corners, margin, photo)
        carried = float(np.abs(layers.flow).max()) * self.scale if layers.trust.any() else 0.0
        around = _within(corners, margin + carried * 1.5 + 2, photo)
        self.origin = np.array([around[1].start, around[0].start])
        self.alignment = alignment.moved(*-self.origin)
        self.own = photo.pixels[around]
        self.shallow = eight_bit(self.own)
        self.srgb = photo.to_srgb(self.shallow)
        self.grain = measure_grain(self.srgb) if match_grain else None
        self.rng = np.random.default_rng(0)

    def paint(self, patch: Patch, rows: slice) -> None:
        """Paint a band of the photo's rows into the patch."""
        where = np.clip(self._sample(self.mask, rows), 0, 1)
        where[where < LEAST] = 0
        if not where.any():
            return
        height, width = where.shape
        y0, x0 = rows.start - self.origin[1], self.columns.start - self.origin[0]
        inside = slice(y0, y0 + height), slice(x0, x0 + width)
        delta = where[..., None] * (self._made(rows, inside) - self.srgb[inside])
        band = slice(rows.start - self.rows.start, rows.stop - self.rows.start)
        after = deepen(self.own[inside], _add(self.photo, self.shallow[inside], self.srgb[inside], delta))
        patch.pixels[band] = np.where(where[..., None] > 0, after, self.own[inside])
        patch.mask[band] = where

    def _made(self, rows: slice, inside: tuple[slice, slice]) -> Field:
        """Return what an edit makes of a band, in sRGB: the generator's picture and the photo's detail."""
        layers, linear = self.layers, self.alignment.matrix[:, :2].astype(np.float32)
        made = self._sample(layers.edited, rows)
        trust = np.clip(self._sample(layers.trust, rows), 0, 1)[..., None]
        if trust.any():
            y, x = np.mgrid[inside].astype(np.float32)
            x, y = np.moveaxis(np.stack([x, y], axis=2) + self._sample(layers.flow, rows) @ linear.T, 2, 0)
            a, b = self.alignment.inverse.astype(np.float32)
            u, v = a[0] * x + a[1] * y + a[2], b[0] * x + b[1] * y + b[2]
            detail = cv2.remap(self.srgb, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101).astype(np.float32)
            detail -= cv2.remap(self._soft(layers.reconstruction), u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
            made += trust * detail
        for slit in layers.slits:
            self._fill(made, trust, slit, inside)
        if self.grain:
            made += np.sqrt(1 - np.square(trust)) * self.grain.make(made.shape[0], made.shape[1], self.rng)[..., None]
        return made

    def _fill(self, made: Field, trust: Field, slit: Eye | Mouth, inside: tuple[slice, slice]) -> None:
        """Put what is seen of lips or lids into a band, and say in `trust` what of it is the photo's, both in place.

        What the generator drew there and was believed stays, but not in a gap, nor in an eye that closes.
        """
        around = _within(self.alignment.to_photo(slit.outline), 0, self.photo)
        own_rows, own_columns = (_shared(*ways)[1] for ways in zip(around, inside, strict=True))
        part, believed = made[own_rows, own_columns], trust[own_rows, own_columns]
        if not part.size:
            return
        y, x = np.mgrid[inside][:, own_rows, own_columns]
        points = np.stack([x, y], axis=2).astype(np.float64)
        covered, gap, paint = np.zeros_like(believed), np.zeros_like(believed), np.zeros_like(part)
        for offset in WITHIN:
            shown = slit.at(self.alignment.to_crop(points + offset))
            # Edges are antialiased, and what is merely moved is not blurred.
            at = (self.alignment.to_photo(shown.sources) - offset).astype(np.float32)
            seen = cv2.remap(self.srgb, at[..., 0], at[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
            weight = shown.share[..., None] * np.maximum(believed, shown.sure[..., None]) / len(WITHIN)
            covered += weight
            paint += weight * seen
            if shown.deep is not None and shown.tone is not None:
                dark = weight * shown.deep[..., None]
                gap += dark
                paint += dark * (shown.tone - seen)
        part += paint - covered * part
        np.maximum(believed, covered, out=believed)
        believed *= 1 - gap

    def _sample(self, values: Field, rows: slice) -> Field:
        """Resample values of the crop to a band of the photo."""
        matrix = self.alignment.matrix.copy()
        matrix[:, 2] += self.origin - (self.columns.start, rows.start)
        size = (self.columns.stop - self.columns.start, rows.stop - rows.start)
        sampled = cv2.warpAffine(
            self._soft(values), matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(sampled, np.float32)

    def _soft(self, values: Field) -> Field:
        """Blur values of the crop where the photo's pixels are larger than the crop's."""
        return values if self.scale >= 1 else np.asarray(cv2.GaussianBlur(values, (0, 0), 0.5 / self.scale), np.float32)


def _within(corners: NDArray[np.float64], margin: float, photo: Photo) -> tuple[slice, slice]:
    """Return the photo's rows and columns around points, with a margin."""
    x0, y0 = np.floor(corners.min(axis=0) - margin).astype(int)
    x1, y1 = np.ceil(corners.max(axis=0) + margin).astype(int) + 1
    return slice(max(y0, 0), min(y1, photo.height)), slice(max(x0, 0), min(x1, photo.width))


def _add(photo: Photo, own: EightBit, srgb: EightBit, delta: Field) -> EightBit:
    """Add a change in sRGB to pixels of the photo's own colour space, of 8 bits, which are `srgb` there."""
    if photo.grey:
        delta = np.repeat((delta @ LUMA)[..., None], 3, axis=2)
    changed = np.clip(srgb + delta + 0.5, 0, 255).astype(np.uint8)
    if srgb is own or np.shares_memory(srgb, own):
        return changed
    # Through the profile and back, unchanged pixels come out slightly other: only the difference is taken.
    there = photo.from_srgb(changed).astype(np.int16) - photo.from_srgb(np.ascontiguousarray(srgb))
    return np.clip(own + there, 0, 255).astype(np.uint8)
