"""From the bytes of a file to a photo."""

import struct
import warnings
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, JpegImagePlugin, UnidentifiedImageError

from pipeline import heif, jpeg, png, tiff
from pipeline.encode import FORMATS
from pipeline.metadata import ORIENTATION, holds_picture, mark_edited, upright
from pipeline.picture import Origin, Photo, Pixels, usable_profile
from weights.errors import InvalidFile, PhotodragError

READ_ONLY = {".gif": "GIF"}
KINDS = "JPEG, PNG, WebP, TIFF, HEIF or GIF"
MAX_PIXELS = 178_956_970  # where Pillow, too, stops believing in a photo
TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What of Pillow brings a picture of an EXIF orientation upright."""
UNREADABLE = (
    *(OSError, ValueError, SyntaxError, EOFError, struct.error, RuntimeError),
    *(AttributeError, IndexError, TypeError),
)
"""What Pillow and its plugins raise for a damaged file: their own errors, and those of the code that stumbles."""


def decode_photo(data: bytes, *, name: str) -> Photo:
    """Read a photo from the bytes of its file; `name` is what errors and notices call it.

    Raises:
        InvalidFile: as in `read_photo`.
    """
    formats = sorted({*FORMATS.values(), *READ_ONLY.values()} - {"HEIF"})
    if heif.is_heif(data):
        heif.enable(name)
        formats = ["HEIF"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that Pillow finds odd, and of large pictures
            with Image.open(BytesIO(data), formats=formats) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise InvalidFile(_too_large(name))
                return _from_image(image, data, name)
    except Image.DecompressionBombError as error:
        raise InvalidFile(_too_large(name)) from error
    except UnidentifiedImageError as error:
        raise InvalidFile(f"{name} is no {KINDS} picture: convert it to one of these.") from error
    except PhotodragError:
        raise
    except UNREADABLE as error:
        raise InvalidFile(f"{name} is damaged: {str(error).strip()}.") from error


def _is_lossless_webp(data: bytes) -> bool:
    """Tell whether the first picture of a WebP is compressed without loss."""
    at = 12
    while at + 8 <= len(data):
        chunk = data[at : at + 4]
        if chunk in (b"VP8L", b"VP8 "):
            return chunk == b"VP8L"
        (length,) = struct.unpack_from("<I", data, at + 4)
        # A frame of an animation is 16 bytes of its place and time, and then the chunks of a picture.
        at += 8 + (16 if chunk == b"ANMF" else length + length % 2)
    return False


def _too_large(name: str) -> str:
    return f"{name} claims more than {MAX_PIXELS // 1_000_000} megapixels, which is refused: shrink it first."


def _from_image(image: Image.Image, data: bytes, name: str) -> Photo:
    """Take pixels and metadata out of a picture that Pillow opened; `data` is its file."""
    format_ = "JPEG" if image.format == "MPO" else image.format or "PNG"
    orientation = _orientation(image)
    notices = _notices(image, format_, data, name)
    encoding = _encoding(image, data, turned=orientation >= 5)
    can_keep = image.mode == "L" or (image.mode == "RGB" and _sampling(image, turned=orientation >= 5) is not None)
    mode, deep = image.mode, _read_deep(image, data, name)
    if deep is None:
        image.load()
    exif = image.info.get("exif")
    if format_ == "TIFF":
        exif = tiff.descriptive_tags(data)
    xmp = image.info.get("xmp")
    icc = image.info.get("icc_profile")
    colours = _colours(image, data)
    alpha: Pixels | None = None
    if deep is not None:
        pixels, alpha, grey = _split(_turn(deep, orientation))
    else:
        left = _orientation(image)  # of a TIFF none is: Pillow turns those itself
        if left in TRANSPOSES and format_ != "HEIF":
            image = image.transpose(TRANSPOSES[left])
        grey = mode in ("1", "L", "LA")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            alpha = np.asarray(image.getchannel("A"))
        if mode == "CMYK":
            image, icc, encoding = _from_cmyk(image, icc), None, {}
        pixels = np.array(image.convert("RGB"))
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    notices += [
        f"{name} has more {kind} than a JPEG holds: written as JPEG, the edited photo is without it."
        for kind in jpeg.too_large(exif=exif, xmp=xmp and mark_edited(xmp), icc=icc)
    ]
    notices += _colour_notices(colours, icc, format_, grey=grey, name=name)
    return Photo(
        pixels=pixels,
        alpha=alpha,
        grey=grey,
        format=format_,
        icc=icc,
        colours=colours,
        exif=upright(exif) if exif else None,
        xmp=xmp,
        encoding=encoding,
        segments=jpeg.kept_segments(data) if format_ == "JPEG" else (),
        origin=Origin(data, pixels, orientation) if format_ == "JPEG" and can_keep else None,
        notices=tuple(notices),
    )


def _colours(image: Image.Image, data: bytes) -> dict[str, Any]:
    """Return what a file says of its colours beside a profile, as `Photo.colours` has it."""
    if image.format == "PNG":
        return dict(png.colour_chunks(data))
    return dict(heif.colours(image.info.get("nclx_profile") or {})) if image.format == "HEIF" else {}


def _colour_notices(colours: dict[str, Any], icc: bytes | None, format_: str, *, grey: bool, name: str) -> list[str]:
    """Return what to tell the user of colours that are taken for others than they are."""
    if icc and not grey and usable_profile(icc) is None:
        return [f"{name} has a colour profile that cannot be used: its colours are taken for sRGB's."]
    if icc or (heif.are_srgb(colours) if format_ == "HEIF" else png.are_srgb(colours)):
        return []
    taken = f"{name} says without a profile what its colours are: they are taken for sRGB's"
    return [f"{taken}, and only written as {format_} the edited photo says it again."]


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation of a picture; 1 where EXIF has none, or cannot be read."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except UNREADABLE:
        return 1
    return int(orientation) if orientation in jpeg.TURNS else 1


def _notices(image: Image.Image, format_: str, data: bytes, name: str) -> list[str]:
    """Return what to tell the user of a file that holds more than what is edited."""
    frames = getattr(image, "n_frames", 1)
    notices = []
    if image.format == "MPO" or (format_ in ("TIFF", "HEIF") and frames > 1):
        notices.append(f"{name} holds {frames} pictures: the first is edited, and the others are left out.")
    elif frames > 1:
        notices.append(f"{name} is animated ({frames} frames): the first is edited, and written as a still picture.")
    if _holds_more(image, data):
        notices.append(
            f"{name} holds more than its picture (a gain map, depth, a film or a picture before an effect): "
            "that is left out."
        )
    if format_ == "TIFF" and tiff.extra_sample(image) == tiff.UNSPECIFIED:
        notices.append(f"{name} has a channel beside its colours that it says nothing of: it is left out.")
    if image.mode == "CMYK":
        notices.append(f"{name} is CMYK: it is edited and written as RGB.")
    if format_ == "HEIF" and image.info.get("bit_depth", 8) > 8:
        notices.append(f"{name} has {image.info['bit_depth']} bits a colour: it is edited and written at 8.")
    return notices


def _holds_more(image: Image.Image, data: bytes) -> bool:
    """Tell whether a file holds something beside its picture that is no other frame or page."""
    xmp = image.info.get("xmp", b"")
    if isinstance(xmp, bytes) and holds_picture(xmp):
        return True
    if image.format == "HEIF":
        return bool(image.info.get("aux") or image.info.get("depth_images")) or heif.holds_film(data)
    return image.format == "JPEG" and jpeg.holds_more(data)


def _read_deep(image: Image.Image, data: bytes, name: str) -> NDArray[np.uint16] | None:
    """Return the samples of a PNG or TIFF of 16 bits, as they lie in the file; None for others."""
    if image.format == "PNG" and png.bits(data) == 16:
        pixels = tiff.decode_16_bit(data)
        if pixels is None:
            raise InvalidFile(f"{name} is damaged: its 16-bit samples cannot be read.")
        image.load()  # metadata may stand behind the pixels, and what is cut off is found
        if image.mode.startswith("I") and pixels.ndim == 3:
            pixels = np.ascontiguousarray(pixels[..., 0])
        if pixels.ndim == 2 and "transparency" in image.info:  # which OpenCV minds in colours only
            seen = pixels != image.info["transparency"]
            pixels = np.stack([pixels, seen * np.uint16(65535)], axis=2)
        return pixels
    if image.format == "TIFF" and (tiff.bits(image) == 16 or image.mode in ("F", "I")):
        return tiff.read_16_bit(data, image, name=name)
    return None


def _turn(pixels: NDArray[np.uint16], orientation: int) -> NDArray[np.uint16]:
    """Bring samples (H, W, ...) of an EXIF orientation upright."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _split(samples: NDArray[np.uint16]) -> tuple[Pixels, Pixels | None, bool]:
    """Return colour (H, W, 3), alpha where there is one, and whether the samples are grey."""
    if samples.ndim == 2:
        samples = samples[..., None]
    channels = samples.shape[2]
    alpha = np.ascontiguousarray(samples[..., -1]) if channels in (2, 4) else None
    colour = samples[..., : channels - (alpha is not None)]
    # OpenCV gives grey with alpha as RGB with alpha.
    grey = colour.shape[2] == 1 or (channels == 4 and bool((colour == colour[..., :1]).all()))
    return np.ascontiguousarray(np.repeat(colour, 3 // colour.shape[2], axis=2)), alpha, grey


def _from_cmyk(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert CMYK to sRGB, by its profile where it has one."""
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc or b""))
        if profile.profile.xcolor_space == "CMYK":
            converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
            return converted or image
    except (OSError, ImageCms.PyCMSError):
        pass
    return image.convert("RGB")


def _sampling(image: Image.Image, *, turned: bool) -> int | None:
    """Return Pillow's number of a JPEG's chroma subsampling once it is upright; None where Pillow has none for it."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    sampling = JpegImagePlugin.get_sampling(image)
    # 4:2:2 turned by a quarter is 4:4:0.
    return None if sampling == -1 or (turned and sampling == 1) else sampling


def _encoding(image: Image.Image, data: bytes, *, turned: bool) -> dict[str, Any]:
    """Return how a file, `data`, was compressed, so that it can be written alike.

    Where uprighting it turns it by a quarter, so are the tables of JPEG.
    """
    options: dict[str, Any] = {}
    if "dpi" in image.info:
        options["dpi"] = image.info["dpi"]
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        # As they are written: brightness by the first, colour by the second, whatever their numbers were.
        numbers = [number for *_, number in image.layer[:2] if number in image.quantization]
        tables = [np.reshape(image.quantization[number], (8, 8)) for number in numbers]
        options["qtables"] = {k: (t.T if turned else t).ravel().tolist() for k, t in enumerate(tables)}
        sampling = _sampling(image, turned=turned)
        # What Pillow does not write, as 4:4:0, keeps all of its colour instead.
        options["subsampling"] = 0 if sampling is None else sampling
        options["progressive"] = bool(image.info.get("progressive"))
    elif image.format == "TIFF":
        compression = image.info.get("compression", "raw")
        # Whatever a TIFF was compressed with, Deflate loses nothing more.
        options["compressed"] = compression != "raw"
    elif image.format == "WEBP":
        options |= {"lossless": True} if _is_lossless_webp(data) else {"lossless": False, "quality": 95, "method": 6}
    return options
