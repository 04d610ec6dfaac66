"""How a face moved between two pictures of the generator, and where the photo's detail can go along.

Small crops are enlarged for it, so that they, too, give the flow pixels to work on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drag.landmarks import Landmarks
from drag.limits import in_order
from pipeline.tensors import Crop

Field = NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
WORK = 1024  # px; small crops are enlarged to it
SMOOTHNESS = (1 / 16, 1 / 40)  # of the crop's size: how far a pixel's motion is its neighbourhood's
STANDING = 0.93  # of its error is counted of the simpler motion: rest is likelier than motion, and smooth than rough
NOISE = 4.0  # squared levels of 255; slopes fainter than this say nothing of where they went
FLOOR = 1.0  # squared levels of 255; detail fainter than this is noise
LEAST = 1e-4  # that any pixel counts
CONTRAST = 60.0  # levels of 255; pictures that differ by it show different things
# Of landmarks: how far around one its motion is that of the face, and that of its part, of the crop's size; how much a
# detector jitters, likewise, and how much of it is smoothed away: all would also smooth away how lids and lips part.
FACE, PART = 1 / 5, 1 / 10
JITTER, SMOOTHED = 1 / 1280, 1 / 3840
COARSE = 128  # px on which that is computed


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceMotion:
    """Landmarks before and after an edit, each (68, 2) in pixels of the crop.

    Attributes:
        drawn: in the generator's pictures.
        photo: in the photo's crop, where they are, and where they are to be.
    """

    drawn: tuple[Landmarks, Landmarks]
    photo: tuple[Landmarks, Landmarks]

    @classmethod
    def of(cls, before: Landmarks, after: Landmarks, photo: Landmarks) -> "FaceMotion":
        """Let a photo's landmarks go as far as those that the generator drew, lips and eyelids in order."""
        return cls(drawn=(before, after), photo=(photo, in_order(photo, photo + after - before)))


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a motion beforehand, as of landmarks.

    Attributes:
        flow: (size, size, 2) in pixels.
        doubt: (size, size) from 0 to 1, how little it says of a place.
    """

    flow: Field
    doubt: Field


def motion(reconstruction: Crop, edited: Crop, *, known: Known | None = None) -> tuple[Field, Field]:
    """Find how the face moved, and how far to trust that.

    Motions are tried for each pixel from the simplest on: the known one, and then what dense inverse search (Kroeger
    et al. 2016, OpenCV's DIS) finds beside it, averaged over a wide neighbourhood and over a narrower one; a simpler
    one stays unless the next explains the surroundings better. Averages count a pixel by how much its slopes stand
    out of noise and of what its motion leaves unexplained: a generator's pictures are soft, and where nothing is to be
    seen the search makes up islands of motion that would knead the photo.

    Trust is measured in the finest octave that the crops have: over a window, the share g of the moved
    reconstruction's octave that least squares finds in the edited one. What is finer has no witness but the photo
    and is taken to fare alike; the fourth root of g, not g, since a face whose detail all moved by a hair is a
    face, and one without is a blur. Where the pictures differ plainly even in the moved state (teeth in the place of
    lips), trust ends.

    Args:
        reconstruction: (size, size, 3) from 0 to 255.
        edited: likewise.
        known: a flow that is known beforehand, and is gone on from as far as it is in doubt; None for none.

    Returns:
        The flow (size, size, 2) in pixels: edited(p) shows what the reconstruction shows at p + flow(p); and the
        trust (size, size) from 0 to 1, the share of the photo's detail that belongs there still.
    """
    size = len(edited)
    work = size if size >= WORK else 2 * size  # it is about the crops' finest octave; twice their pixels show all of it
    fine = work / size
    before, after = (_resize(picture, work) for picture in (reconstruction, edited))
    known = known or Known(np.zeros((size, size, 2), np.float32), np.ones((size, size), np.float32))
    start, doubt = _resize(known.flow, work) * fine, np.clip(_resize(known.doubt, work), 0, 1)
    search = max(WORK, size)
    flow = _dense_inverse_search(*(_resize(picture, search) for picture in (after, warp(before, start))))
    flow = _resize(flow, work) * (work / search)
    light = 4 * fine  # may change, and the skin be the same
    wanted = _high_pass(after, light)

    def unexplained(beside: Field) -> Field:
        moved = warp(before, joined(beside))
        return np.asarray(np.abs(wanted - _high_pass(moved, light)), np.float32)

    def misfit(beside: Field) -> Field:
        return _blur(unexplained(beside).sum(axis=2), 2 * fine)

    def joined(beside: Field) -> Field:
        return beside + warp(start, beside)

    slopes = _blur(_slopes(after), fine) * fine**2
    missed = _blur(np.square(unexplained(flow)).mean(axis=2), fine)
    counts = np.asarray(slopes / (slopes + NOISE + missed) + LEAST, np.float32)
    likely = np.zeros_like(flow)
    for share in SMOOTHNESS:
        smoother = _averaged(flow, counts, share * work)
        better = misfit(smoother) < STANDING * misfit(likely)
        likely += (smoother - likely) * (_blur(better.astype(np.float32), fine) * doubt)[..., None]
    flow = joined(_blur(likely, fine))
    moved = warp(before, flow)
    octaves = _high_pass(after, fine), _high_pass(moved, fine)
    window = 6 * fine
    shared = _blur((octaves[0] * octaves[1]).sum(axis=2), window)
    whole = _blur(np.square(octaves[1]).sum(axis=2), window)
    trust = np.sqrt(np.sqrt(np.clip(shared / (whole + FLOOR), 0, 1)))
    trust *= np.exp(-np.square(_blur(np.abs(after - moved).mean(axis=2), fine) / CONTRAST))
    return _resize(flow / fine, size), np.clip(_resize(trust, size), 0, 1)


def landmark_motion(before: Landmarks, after: Landmarks, size: int) -> Field:
    """Spread the motion of landmarks over a crop, nothing far from them: Gaussian process regression.

    Args:
        before: (n, 2), in pixels of the crop; NaN where one is not known.
        after: likewise.
        size: of the crop.

    Returns:
        The flow (size, size, 2) from `after` to `before`, as `motion` returns it.

    Source: Rasmussen and Williams, Gaussian processes for machine learning, 2006, equation 2.25; the covariance is the
    mean of a squared exponential and an exponential, its scale that of the ways themselves, so that landmarks which
    only jitter say nothing. The exponential's paths have kinks: lips that met, and come from either side, say nothing
    of what is beyond them. A smooth covariance goes on in their direction, and draws a second mouth.
    """
    return _Spread(before, after, size).flow()


def known_motion(before: Landmarks, after: Landmarks, size: int) -> Known:
    """Return what `landmark_motion` does, and its variance beside what it would be without any landmark (eq. 2.26)."""
    spread = _Spread(before, after, size)
    return Known(spread.flow(), spread.doubt())


class _Spread:
    """The regression of landmarks' ways on a coarse grid, as it is smooth."""

    def __init__(self, before: Landmarks, after: Landmarks, size: int) -> None:
        known = np.isfinite(before + after).all(axis=1)
        self.places, self.ways, self.size = after[known], (before - after)[known], size
        variance = float(np.square(self.ways).mean()) - (JITTER * size) ** 2  # without jitter's own
        noise = (SMOOTHED * size) ** 2 / max(variance, 1e-12)
        apart = np.square(self.places[:, None] - self.places).sum(axis=2)
        self.inverse = np.linalg.inv(self._covariance(apart) + noise * np.eye(len(apart)))

    def flow(self) -> Field:
        """Return the mean (size, size, 2)."""
        weights = self.inverse @ self.ways
        flow = np.array([near @ weights for near in self._rows()], np.float32)
        least, most = np.minimum(self.ways.min(axis=0), 0), np.maximum(self.ways.max(axis=0), 0)
        return np.clip(_resize(flow, self.size), least, most).astype(np.float32)  # nothing goes farther than landmarks

    def doubt(self) -> Field:
        """Return the variance (size, size), from 0 to 1."""
        doubt = np.array([1 - ((near @ self.inverse) * near).sum(axis=1) for near in self._rows()], np.float32)
        return np.clip(_resize(doubt, self.size), 0, 1)

    def _rows(self) -> Iterator[NDArray[np.float64]]:
        """Yield the covariances (columns, n) of each row of the grid with the landmarks."""
        coarse = min(self.size, COARSE)
        at = (np.arange(coarse) + 0.5) * (self.size / coarse) - 0.5
        across = np.square(at[:, None] - self.places[:, 0])
        for y in at:
            yield self._covariance(across + np.square(y - self.places[:, 1]))

    def _covariance(self, apart: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return that of places which are so far apart, squared."""
        near = np.exp(apart / (-2 * (FACE * self.size) ** 2)) + np.exp(np.sqrt(apart) / (-PART * self.size))
        return np.asarray(near) / 2


def smooth(rise: NDArray[Any]) -> NDArray[Any]:
    """Return a rise from 0 to 1, cut off beyond, with smooth ends."""
    rise = np.clip(rise, 0, 1)
    return np.asarray(rise * rise * (3 - 2 * rise))


def warp(picture: Field, flow: Field) -> Field:
    """Return picture(p + flow(p)) for each pixel p; beyond the border is its reflection.

    Args:
        picture: (H, W) or (H, W, C) float32.
        flow: (H, W, 2), (x, y) in pixels.
    """
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    moved = cv2.remap(picture, x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, np.float32)


def _dense_inverse_search(after: Field, before: Field) -> Field:
    """Return the flow from `after` to `before`, in pixels."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    search.setGradientDescentIterations(16)
    search.setPatchStride(4)
    search.setVariationalRefinementIterations(10)
    greys = [cv2.cvtColor(np.clip(p, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY) for p in (after, before)]
    return np.asarray(search.calc(*greys, None), np.float32)  # type: ignore[call-overload]


def _averaged(flow: Field, counts: Field, sigma: float) -> Field:
    """Average a flow over a Gaussian, each pixel as far as it counts."""
    return np.asarray(_blur(flow * counts[..., None], sigma) / _blur(counts, sigma)[..., None], np.float32)


def _slopes(picture: Field) -> Field:
    """Return the squared slope of a picture's grey, in levels of 255 a pixel."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    slopes = (cv2.Sobel(grey, -1, *way, scale=1 / 8) for way in ((1, 0), (0, 1)))
    return np.asarray(sum(np.square(slope) for slope in slopes), np.float32)


def _resize(picture: Field, size: int) -> Field:
    way = cv2.INTER_CUBIC if size > len(picture) else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, (size, size), interpolation=way), np.float32)


def _blur(picture: Field, sigma: float) -> Field:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


def _high_pass(picture: Field, sigma: float) -> Field:
    return picture - _blur(picture, sigma)
