"""Photos: read with all that belongs to them, written back with nothing lost.

Convention: pixels are upright (the EXIF orientation is applied on reading and reset), in the photo's own
colour space and depth, (H, W, C) uint8 or uint16 with C = 3, alpha apart.
"""

import errno
import os
import struct
import warnings
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

from pipeline import heif, jpeg, png, tiff
from pipeline.metadata import ORIENTATION, mark_edited, refresh, upright
from weights.errors import InvalidFile, InvalidInput, PhotodragError
from weights.files import replacing

EightBit = NDArray[np.uint8]
Pixels = NDArray[np.uint8 | np.uint16]

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".heic": "HEIF",
    ".heif": "HEIF",
}
"""What is written, by a file's ending; it is read, too."""
READ_ONLY = {".gif": "GIF"}
KINDS = "JPEG, PNG, WebP, TIFF, HEIF or GIF"
MAX_PIXELS = 178_956_970  # where Pillow, too, stops believing in a photo


@dataclass(frozen=True, kw_only=True, eq=False)
class Photo:
    """A photo.

    Attributes:
        pixels: (H, W, 3) uint8 or uint16, upright, in the photo's own colour space.
        alpha: (H, W) of the same type, or None.
        grey: the photo has one channel; the three of `pixels` are alike.
        format: what it was read from: JPEG, PNG, WEBP, TIFF, HEIF, GIF.
        icc: its ICC profile, or None for sRGB.
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
        return replace(self, pixels=pixels, xmp=mark_edited(self.xmp))

    def shallow(self) -> "Photo":
        """Return the photo with 8 bits a colour; one that has them is returned as it is."""
        return self if self.pixels.dtype == np.uint8 else replace(self, pixels=eight_bit(self.pixels))

    def deepen(self, before: Pixels, after: Pixels) -> Pixels:
        """Bring a change of the 8-bit photo into the photo's own depth.

        Args:
            before: (H, W, 3) uint8, the pixels of `shallow`.
            after: likewise, edited.

        Returns:
            (H, W, 3) of the photo's type; pixels that did not change are the photo's, bit for bit.
        """
        if self.pixels.dtype == np.uint8:
            return after
        change = (after.astype(np.int32) - before) * 257
        return np.clip(self.pixels + change, 0, 65535).astype(np.uint16)

    def stripped(self) -> "Photo":
        """Return the photo without what its file tells beside the picture: EXIF with GPS, IPTC, XMP, comments.

        The colour profile stays, which the pixels need; so does the statement that the photo was edited.
        """
        edited = self.xmp is not None and b"compositeWithTrainedAlgorithmicMedia" in self.xmp
        return replace(self, exif=None, xmp=mark_edited(None) if edited else None, segments=())

    def to_srgb(self, pixels: Pixels) -> EightBit:
        """Convert pixels (H, W, 3) of this photo's colour space, uint8 or uint16, to sRGB of 8 bits."""
        return self._convert(eight_bit(pixels), to_srgb=True)

    def from_srgb(self, pixels: EightBit) -> EightBit:
        """Convert sRGB pixels (H, W, 3) uint8 to this photo's colour space, of 8 bits whatever the photo has."""
        return self._convert(pixels, to_srgb=False)

    def _convert(self, pixels: EightBit, *, to_srgb: bool) -> EightBit:
        profile = self._profile()
        if profile is None:
            return pixels
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        ends = (profile, srgb) if to_srgb else (srgb, profile)
        image = ImageCms.profileToProfile(Image.fromarray(pixels), *ends, outputMode="RGB")
        return np.asarray(image)

    def _profile(self) -> ImageCms.ImageCmsProfile | None:
        """Return the profile where it is one of RGB other than sRGB."""
        if self.icc is None or self.grey:
            return None
        try:
            profile = ImageCms.ImageCmsProfile(BytesIO(self.icc))
        except (OSError, ImageCms.PyCMSError):
            return None  # a damaged profile is kept, and its pixels are taken for sRGB, as viewers do
        if profile.profile.xcolor_space != "RGB ":
            return None
        description = (profile.profile.profile_description or "").lower()
        return None if description.startswith("srgb") else profile


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


def eight_bit(pixels: Pixels) -> EightBit:
    """Return pixels of 8 bits; those that have them are returned as they are."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def read_photo(path: Path) -> Photo:
    """Read a photo.

    Raises:
        InvalidInput: there is no such file.
        InvalidFile: it is no picture of a format that is read, is damaged, or claims to be enormous.
    """
    if not path.is_file():
        raise InvalidInput(f"There is no photo at {path}: check the path.")
    return decode_photo(path.read_bytes(), name=str(path))


def read_mask(path: Path) -> NDArray[np.float32]:
    """Read a painted mask: (H, W) float32 from 0 (black, stays) to 1 (white, may move).

    Raises:
        InvalidInput, InvalidFile: as in `read_photo`.
    """
    mask: NDArray[np.float32] = eight_bit(read_photo(path).pixels).mean(axis=2, dtype=np.float32) / 255
    return mask


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
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise InvalidFile(f"{name} is damaged: {error}.") from error


def _has_chunk(data: bytes, chunk: bytes) -> bool:
    """Tell whether a RIFF file, as WebP is one, has a chunk of that name."""
    at = 12
    while at + 8 <= len(data):
        if data[at : at + 4] == chunk:
            return True
        (length,) = struct.unpack_from("<I", data, at + 4)
        at += 8 + length + length % 2
    return False


def _too_large(name: str) -> str:
    return f"{name} claims more than {MAX_PIXELS // 1_000_000} megapixels, which is refused: shrink it first."


def _from_image(image: Image.Image, data: bytes, name: str) -> Photo:
    """Take pixels and metadata out of a picture that Pillow opened; `data` is its file."""
    format_ = "JPEG" if image.format == "MPO" else image.format or "PNG"
    orientation = image.getexif().get(ORIENTATION, 1)
    orientation = orientation if orientation in jpeg.TURNS else 1
    notices = _notices(image, format_, name)
    encoding = _encoding(image, turned=orientation >= 5, lossless_webp=_has_chunk(data, b"VP8L"))
    mode, deep = image.mode, _read_deep(image, data, name)
    if deep is None:
        image.load()
    exif = image.info.get("exif")
    if format_ == "TIFF":
        exif = tiff.descriptive_tags(data)
    xmp = image.info.get("xmp")
    icc = image.info.get("icc_profile")
    alpha: Pixels | None = None
    if deep is not None:
        pixels, alpha, grey = _split(_turn(deep, orientation))
    else:
        if format_ != "HEIF":
            image = ImageOps.exif_transpose(image)
        grey = mode in ("1", "L", "LA")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            alpha = np.asarray(image.getchannel("A"))
        if mode == "CMYK":
            image, icc, encoding = _from_cmyk(image, icc), None, {}
        pixels = np.array(image.convert("RGB"))
    can_keep = format_ == "JPEG" and (mode == "L" or (mode == "RGB" and encoding.get("subsampling") in (0, 1, 2)))
    return Photo(
        pixels=pixels,
        alpha=alpha,
        grey=grey,
        format=format_,
        icc=icc,
        exif=upright(exif) if exif else None,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        encoding=encoding,
        segments=jpeg.kept_segments(data) if format_ == "JPEG" else (),
        origin=Origin(data, pixels, orientation) if can_keep else None,
        notices=tuple(notices),
    )


def _notices(image: Image.Image, format_: str, name: str) -> list[str]:
    """Return what to tell the user of a file that holds more than what is edited."""
    frames = getattr(image, "n_frames", 1)
    notices = []
    if image.format == "MPO" or (format_ in ("TIFF", "HEIF") and frames > 1):
        notices.append(f"{name} holds {frames} pictures: the first is edited, and the others are left out.")
    elif frames > 1:
        notices.append(f"{name} is animated ({frames} frames): the first is edited, and written as a still picture.")
    if image.mode == "CMYK":
        notices.append(f"{name} is CMYK: it is edited and written as RGB.")
    if format_ == "HEIF" and image.info.get("bit_depth", 8) > 8:
        notices.append(f"{name} has {image.info['bit_depth']} bits a colour: it is edited and written at 8.")
    return notices


def _read_deep(image: Image.Image, data: bytes, name: str) -> NDArray[np.uint16] | None:
    """Return the samples of a PNG or TIFF of 16 bits, as they lie in the file; None for others."""
    if image.format == "PNG" and png.bits(data) == 16:
        pixels = tiff.decode_16_bit(data)
        if pixels is None:
            raise InvalidFile(f"{name} is damaged: its 16-bit samples cannot be read.")
        image.load()  # metadata may stand behind the pixels, and what is cut off is found
        if image.mode.startswith("I") and pixels.ndim == 3:
            pixels = np.ascontiguousarray(pixels[..., 0])
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


def _encoding(image: Image.Image, *, turned: bool, lossless_webp: bool) -> dict[str, Any]:
    """Return how a file was compressed, so that it can be written alike.

    Where uprighting it turns it by a quarter, so are the tables of JPEG.
    """
    options: dict[str, Any] = {}
    if "dpi" in image.info:
        options["dpi"] = image.info["dpi"]
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        tables = {k: np.reshape(table, (8, 8)) for k, table in image.quantization.items()}
        options["qtables"] = {k: (t.T if turned else t).ravel().tolist() for k, t in tables.items()}
        sampling = JpegImagePlugin.get_sampling(image)
        # 4:2:2 turned is 4:4:0, which Pillow does not write: keep all of the colour instead.
        options["subsampling"] = 0 if turned and sampling == 1 else sampling
        options["progressive"] = bool(image.info.get("progressive"))
    elif image.format == "TIFF":
        compression = image.info.get("compression", "raw")
        # Whatever a TIFF was compressed with, Deflate loses nothing more.
        options["compressed"] = compression != "raw"
    elif image.format == "WEBP":
        options |= {"lossless": True} if lossless_webp else {"lossless": False, "quality": 95, "method": 6}
    return options


def write_photo(photo: Photo, path: Path, *, overwrite: bool = False, format_: str | None = None) -> None:
    """Write a photo; the file is there whole or not at all.

    Args:
        photo: to write.
        path: its ending chooses the format, unless `format_` does.
        overwrite: replace a file that exists.
        format_: JPEG, PNG, WEBP, TIFF or HEIF; None for that of the ending.

    Raises:
        InvalidInput: the ending is none that is written, or the file exists and `overwrite` is false.
    """
    check_output(path, overwrite=overwrite, format_=format_)
    data = encode_photo(photo, format_ or FORMATS[path.suffix.lower()])
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def check_output(path: Path, *, overwrite: bool, format_: str | None = None, source: Path | None = None) -> None:
    """Make sure, before any work, that a photo can be written to `path`.

    Args:
        path: where to.
        overwrite: a file there may be replaced.
        format_: where the ending does not choose it.
        source: the photo that is edited, which is never written over.

    Raises:
        InvalidInput: as in `write_photo`; or the path is that of the source, or lies where nothing may be written.
    """
    if format_ is None and path.suffix.lower() not in FORMATS:
        raise InvalidInput(f"{path} ends in none of {', '.join(FORMATS)}: choose a format by the ending.")
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder: give the path of a file.")
    if path.exists() and not overwrite:
        raise InvalidInput(f"{path} exists: give another path, or --overwrite.")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise InvalidInput(f"{path} is the photo itself, which is never written over: give another path.")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not os.access(folder, os.W_OK):
        raise InvalidInput(f"{folder} may not be written to ({os.strerror(errno.EACCES)}): give another path.")


def encode_photo(photo: Photo, format_: str) -> bytes:
    """Return the bytes of a photo's file.

    In the format that it was read from, a photo is compressed as it was. A JPEG keeps the blocks that the edit
    left alone as they are in its file, where jpegtran is installed; else all is compressed by the same tables, so
    that what was not edited changes as little as a second compression can.

    Args:
        photo: to write; JPEG and HEIF of 16 bits become 8, and JPEG has no alpha, which is then laid on white.
        format_: JPEG, PNG, WEBP, TIFF or HEIF.
    """
    if photo.exif:
        photo = replace(photo, exif=refresh(photo.exif, photo.width, photo.height, _thumbnailer(photo)))
    if format_ == "JPEG":
        return _encode_jpeg(photo)
    # Pillow, as others, reads no grey of 16 bits with alpha: that is written as RGB.
    shaped = replace(photo, grey=photo.grey and (photo.alpha is None or photo.pixels.dtype == np.uint8))
    if format_ == "TIFF":
        compressed = photo.format == "TIFF" and bool(photo.encoding.get("compressed"))
        return tiff.write(_samples(shaped), compressed=compressed, exif=photo.exif, xmp=photo.xmp, icc=photo.icc)
    if format_ == "PNG" and photo.pixels.dtype == np.uint16:
        samples = np.asarray(_samples(shaped), np.uint16)
        dpi = photo.encoding.get("dpi")
        return png.write_16_bit(samples, exif=photo.exif, xmp=photo.xmp, icc=photo.icc, dpi=dpi)
    options = dict(photo.encoding) if format_ == photo.format else {}
    if format_ == "WEBP":
        options = {"lossless": True} | options | {"exact": True}
    if format_ == "HEIF":
        heif.enable("the photo to write")
        options |= {"quality": 95}
    if photo.icc:
        options["icc_profile"] = photo.icc
    if photo.exif:
        options["exif"] = photo.exif
    if photo.xmp and format_ == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", photo.xmp.decode("utf-8", "replace"))
    elif photo.xmp:
        options["xmp"] = photo.xmp
    return _save(_to_image(photo, alpha=True), format_, options)


def _save(image: Image.Image, format_: str, options: dict[str, Any]) -> bytes:
    out = BytesIO()
    image.save(out, format_, **{k: v for k, v in options.items() if v is not None})
    return out.getvalue()


def _samples(photo: Photo) -> Pixels:
    """Return a photo's samples, (H, W) or (H, W, C), alpha last."""
    colour = photo.pixels[..., :1] if photo.grey else photo.pixels
    samples = colour if photo.alpha is None else np.concatenate([colour, photo.alpha[..., None]], axis=2)
    return samples[..., 0] if samples.shape[2] == 1 else samples


def _encode_jpeg(photo: Photo) -> bytes:
    """Return a JPEG: the source's blocks and new ones where the edit is, or else all anew."""
    image = _to_image(photo, alpha=False)
    options = {k: v for k, v in photo.encoding.items() if k != "compressed"} if photo.format == "JPEG" else {}
    if "qtables" not in options:
        options |= {"quality": 95, "subsampling": 0}
    if photo.grey:
        options |= {"qtables": options.get("qtables") and {0: options["qtables"][0]}, "subsampling": -1}
    bare = _keep_blocks(photo, image, options) or _save(image, "JPEG", options)
    return jpeg.with_metadata(bare, exif=photo.exif, xmp=photo.xmp, icc=photo.icc, others=photo.segments)


def _keep_blocks(photo: Photo, image: Image.Image, options: dict[str, Any]) -> bytes | None:
    """Return the source's JPEG with new blocks where the photo differs; None where that cannot be."""
    origin = photo.origin
    if origin is None or origin.pixels.shape != photo.pixels.shape:
        return None
    changed = (photo.pixels != origin.pixels).any(axis=2)
    patch_options = {k: v for k, v in options.items() if k in ("qtables", "subsampling")}

    def encode(rows: slice, columns: slice) -> bytes:
        return _save(image.crop((columns.start, rows.start, columns.stop, rows.stop)), "JPEG", patch_options)

    data = jpeg.replace_blocks(
        origin.data,
        changed,
        encode,
        sampling=photo.encoding["subsampling"],
        grey=photo.grey,
        orientation=origin.orientation,
        progressive=bool(options.get("progressive")),
    )
    if data is None:
        return None
    # A file of odd colours, RGB without a word of it for one, would come out wrong: then all is compressed anew.
    again = np.asarray(Image.open(BytesIO(data)).convert("RGB"), np.int16)
    if again.shape != photo.pixels.shape or (changed.any() and np.abs(again - photo.pixels)[changed].mean() > 16):
        return None
    return data


def _thumbnailer(photo: Photo) -> Any:
    """Return what makes a thumbnail of a photo: a JPEG of a longer side and of at most so many bytes."""

    def make(side: int, room: int) -> bytes:
        image = _to_image(photo, alpha=False)
        image.thumbnail((side, side))
        for quality in (85, 70, 50, 30):
            data = _save(image, "JPEG", {"quality": quality})
            if len(data) <= room:
                return data
        return b""

    return make


def _to_image(photo: Photo, *, alpha: bool) -> Image.Image:
    """Return a photo as a picture of Pillow's, of 8 bits."""
    image = Image.fromarray(eight_bit(photo.pixels))
    mask = None if photo.alpha is None else Image.fromarray(eight_bit(photo.alpha))
    if mask is not None and alpha:
        image.putalpha(mask)
        return image.convert("LA") if photo.grey else image
    if mask is not None:
        image = Image.composite(image, Image.new("RGB", image.size, "white"), mask)
    return image.getchannel(0) if photo.grey else image
