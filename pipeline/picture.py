"""A photo in memory, and its colours.

Convention: pixels are upright (the EXIF orientation is applied on reading and reset), in the photo's own
colour space and depth, (H, W, C) uint8 or uint16 with C = 3, alpha apart.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pipeline import jpeg
from pipeline.metadata import mark_alone, mark_edited

EightBit = NDArray[np.uint8]
Pixels = NDArray[np.uint8 | np.uint16]

SRGB_ERROR = 2  # levels of 255, by which sRGB's curve may be rounded in a profile


@dataclass(frozen=True, kw_only=True, eq=False)
class Photo:
    """A photo.

    Attributes:
        pixels: (H, W, 3) uint8 or uint16, upright, in the photo's own colour space.
        alpha: (H, W) of the same type, or None.
        grey: the photo has one channel; the three of `pixels` are alike.
        format: what it was read from: JPEG, PNG, WEBP, TIFF, HEIF, GIF.
        icc: its ICC profile, or None for sRGB.
        colours: what says its colours beside a profile, for a file of the same format: the chunks of a PNG by their
            names, or of a HEIF what its writer takes.
        exif: raw EXIF with the orientation reset, or None.
        xmp: raw XMP packet, or None.
        encoding: how the file was compressed, as Pillow's save takes it.
        segments: of a JPEG's metadata, those that no other field holds and that stay true after an edit.
        origin: the file and its pixels, where blocks of it can be kept.
        notices: what to tell the user about the file, in sentences.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    format: str = "PNG"
    icc: bytes | None = None
    colours: dict[str, Any] = field(default_factory=dict)
    exif: bytes | None = None
    xmp: bytes | None = None
    encoding: dict[str, Any] = field(default_factory=dict)
    segments: tuple[jpeg.Segment, ...] = ()
    origin: "Origin | None" = None
    notices: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """In pixels."""
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """In pixels."""
        return self.pixels.shape[0]

    def edited(self, pixels: Pixels) -> "Photo":
        """Return the photo with other pixels, and with the statement in its XMP that it was edited."""
        extended = any(jpeg.is_extended_xmp(segment) for segment in self.segments)
        return replace(self, pixels=pixels, xmp=mark_edited(self.xmp, extended=extended))

    def stripped(self) -> "Photo":
        """Return the photo without what its file tells beside the picture: EXIF with GPS, IPTC, XMP, comments.

        The colour profile stays, which the pixels need; so does the statement that the photo was edited.
        """
        return replace(self, exif=None, xmp=mark_alone(self.xmp), segments=())

    def to_srgb(self, pixels: Pixels) -> EightBit:
        """Convert pixels (H, W, 3) of this photo's colour space, uint8 or uint16, to sRGB of 8 bits."""
        return self._convert(eight_bit(pixels), to_srgb=True)

    def from_srgb(self, pixels: EightBit) -> EightBit:
        """Convert sRGB pixels (H, W, 3) uint8 to this photo's colour space, of 8 bits whatever the photo has."""
        return self._convert(pixels, to_srgb=False)

    def _convert(self, pixels: EightBit, *, to_srgb: bool) -> EightBit:
        transform = None if self.icc is None or self.grey else _transform(self.icc, to_srgb=to_srgb)
        return pixels if transform is None else np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), transform))


@dataclass(frozen=True, eq=False)
class Origin:
    """The JPEG that a photo was read from.

    Attributes:
        data: the file.
        pixels: (H, W, 3) uint8, upright, as they were read.
        orientation: EXIF's.
    """

    data: bytes
    pixels: Pixels
    orientation: int


@lru_cache(maxsize=4)  # a photo is converted in many bands, both ways
def _transform(icc: bytes, *, to_srgb: bool) -> ImageCms.ImageCmsTransform | None:
    """Return what converts from a profile's colours to sRGB, or back; None where they are sRGB, or taken for it."""
    profile = usable_profile(icc)  # another is kept, and its pixels are taken for sRGB, as viewers do
    if profile is None or _is_srgb(profile):
        return None
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.buildTransform(*((profile, srgb) if to_srgb else (srgb, profile)), "RGB", "RGB")


def usable_profile(icc: bytes) -> ImageCms.ImageCmsProfile | None:
    """Return an ICC profile of RGB that colours are converted from and back to; None where it is none.

    A profile of a scanner or a camera may know the way to other colours alone.
    """
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        if profile.profile.xcolor_space != "RGB ":
            return None
        for source, target in ((profile, srgb), (srgb, profile)):
            ImageCms.buildTransform(source, target, "RGB", "RGB")
    except (OSError, ImageCms.PyCMSError):
        return None
    return profile


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    """Tell whether a profile's colours are sRGB's: by what they become, as names are given to others, too."""
    levels = np.arange(0, 256, 15).astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    converted = ImageCms.profileToProfile(Image.fromarray(colours), profile, ImageCms.createProfile("sRGB"))
    return int(np.abs(np.asarray(converted, np.int16) - colours).max()) <= SRGB_ERROR


def eight_bit(pixels: Pixels) -> EightBit:
    """Return pixels of 8 bits; those that have them are returned as they are."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    # The bound keeps the sum in 16 bits, for the memory of large photos; what is above it is 255 all the same.
    return ((np.minimum(pixels, 65535 - 128) + np.uint16(128)) // np.uint16(257)).astype(np.uint8)


def deepen(own: Pixels, after: Pixels) -> Pixels:
    """Bring a change that was made in 8 bits into a photo's own depth.

    Args:
        own: (H, W, 3) of a photo, uint8 or uint16.
        after: (H, W, 3) uint8, `eight_bit(own)` with a change.

    Returns:
        (H, W, 3) of the type of `own`; pixels that did not change are its, bit for bit.
    """
    if own.dtype == np.uint8:
        return after
    change = (after.astype(np.int32) - eight_bit(own)) * 257
    return np.clip(own + change, 0, 65535).astype(np.uint16)
