"""Photos: read with all that belongs to them, written back with nothing lost.

Convention: pixels are upright (the EXIF orientation is applied on reading and reset), in the photo's own
colour space, (H, W, C) uint8 with C = 3, alpha apart.
"""

import struct
import warnings
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import (
    Image,
    ImageCms,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    UnidentifiedImageError,
)

from pipeline.metadata import ORIENTATION, mark_edited, upright
from weights.errors import InvalidFile, InvalidInput, PhotodragError
from weights.files import replacing

Pixels = NDArray[np.uint8]

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
MAX_PIXELS = 178_956_970  # where Pillow, too, stops believing in a photo
TIFF_XMP = 700
SUB_IFDS = (0x8769, 0x8825)  # EXIF, GPS
LAYOUT_TAGS = {  # of TIFF: sizes, strips, tiles, compression, colour model, and what is kept apart
    *(
        254,
        255,
        256,
        257,
        258,
        259,
        262,
        266,
        273,
        277,
        278,
        279,
        284,
        292,
        293,
        301,
        317,
        320,
        322,
        323,
        324,
    ),
    *(
        325,
        330,
        332,
        333,
        334,
        336,
        338,
        339,
        340,
        341,
        347,
        512,
        513,
        514,
        529,
        530,
        531,
        532,
        TIFF_XMP,
        34675,
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Photo:
    """A photo.

    Attributes:
        pixels: (H, W, 3) uint8, upright, in the photo's own colour space.
        alpha: (H, W) uint8, or None.
        grey: the photo has one channel; the three of `pixels` are alike.
        format: what it was read from: JPEG, PNG, WEBP, TIFF.
        icc: its ICC profile, or None for sRGB.
        exif: raw EXIF with the orientation reset, or None.
        xmp: raw XMP packet, or None.
        encoding: how the file was compressed, as Pillow's save takes it.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    format: str = "PNG"
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    encoding: dict[str, Any] = field(default_factory=dict)

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

    def to_srgb(self, pixels: Pixels) -> Pixels:
        """Convert pixels (H, W, 3) of this photo's colour space to sRGB."""
        return self._convert(pixels, to_srgb=True)

    def from_srgb(self, pixels: Pixels) -> Pixels:
        """Convert sRGB pixels (H, W, 3) to this photo's colour space."""
        return self._convert(pixels, to_srgb=False)

    def _convert(self, pixels: Pixels, *, to_srgb: bool) -> Pixels:
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
    mask: NDArray[np.float32] = read_photo(path).pixels.mean(axis=2, dtype=np.float32) / 255
    return mask


def decode_photo(data: bytes, *, name: str) -> Photo:
    """Read a photo from the bytes of its file; `name` is what errors call it.

    Raises:
        InvalidFile: as in `read_photo`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data), formats=sorted(set(FORMATS.values()))) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise InvalidFile(_too_large(name))
                return _from_image(image, lossless_webp=_has_chunk(data, b"VP8L"))
    except Image.DecompressionBombError as error:
        raise InvalidFile(_too_large(name)) from error
    except UnidentifiedImageError as error:
        raise InvalidFile(f"{name} is no JPEG, PNG, WebP or TIFF picture: convert it to one of these.") from error
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


def _from_image(image: Image.Image, *, lossless_webp: bool) -> Photo:
    """Take pixels and metadata out of a picture that Pillow opened."""
    format_ = image.format or "PNG"
    turned = image.getexif().get(ORIENTATION, 1) >= 5
    encoding = _encoding(image, turned=turned, lossless_webp=lossless_webp)
    exif = image.info.get("exif")
    if format_ == "TIFF":
        exif = _descriptive_tags(image.getexif())
    xmp = image.info.get("xmp")
    icc = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    grey = image.mode in ("1", "L", "LA", "I;16", "I", "F")
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
    return Photo(
        pixels=np.array(image.convert("RGB")),
        alpha=alpha,
        grey=grey,
        format=format_,
        icc=icc,
        exif=upright(exif) if exif else None,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        encoding=encoding,
    )


def _descriptive_tags(tags: Image.Exif) -> bytes | None:
    """Return a TIFF's tags that describe the picture, without those that lay out the file, as EXIF."""
    kept = Image.Exif()
    for tag, value in tags.items():
        if tag not in LAYOUT_TAGS and tag not in SUB_IFDS:
            kept[tag] = value
    for tag in SUB_IFDS:
        kept.get_ifd(tag).update(tags.get_ifd(tag))
    return kept.tobytes() if len(kept) or any(kept.get_ifd(tag) for tag in SUB_IFDS) else None


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
        # A JPEG inside a TIFF cannot be written by the source's tables: Deflate loses nothing more.
        options["compression"] = "tiff_adobe_deflate" if compression == "jpeg" else compression
    elif image.format == "WEBP":
        options |= {"lossless": True} if lossless_webp else {"lossless": False, "quality": 95, "method": 6}
    return options


def write_photo(photo: Photo, path: Path, *, overwrite: bool = False) -> None:
    """Write a photo in the format of the path's ending; the file is there whole or not at all.

    Raises:
        InvalidInput: the ending is none that is written, or the file exists and `overwrite` is false.
    """
    check_output(path, overwrite=overwrite)
    data = encode_photo(photo, FORMATS[path.suffix.lower()])
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def check_output(path: Path, *, overwrite: bool) -> None:
    """Make sure, before any work, that a photo can be written to `path`.

    Raises:
        InvalidInput: as in `write_photo`.
    """
    if path.suffix.lower() not in FORMATS:
        raise InvalidInput(f"{path} ends in none of {', '.join(FORMATS)}: choose a format by the ending.")
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder: give the path of a file.")
    if path.exists() and not overwrite:
        raise InvalidInput(f"{path} exists: give another path, or --overwrite.")


def encode_photo(photo: Photo, format_: str) -> bytes:
    """Return the bytes of a photo's file.

    In the format that it was read from, a photo is compressed as it was; JPEG by the same tables, so that
    what was not edited changes as little as a second compression can.

    Args:
        photo: to write; JPEG has no alpha, which is then laid on white.
        format_: JPEG, PNG, WEBP or TIFF.
    """
    image = _to_image(photo, alpha=format_ != "JPEG")
    options = dict(photo.encoding) if format_ == photo.format else {}
    if format_ == "JPEG" and "qtables" not in options:
        options |= {"quality": 95, "subsampling": 0}
    if format_ == "JPEG" and photo.grey:
        options |= {"qtables": options.get("qtables") and {0: options["qtables"][0]}, "subsampling": -1}
    if format_ == "WEBP" and "lossless" not in options:
        options["lossless"] = True
    if photo.icc:
        options["icc_profile"] = photo.icc
    options |= _metadata_options(photo, format_)
    out = BytesIO()
    image.save(out, format_, **{k: v for k, v in options.items() if v is not None})
    return out.getvalue()


def _to_image(photo: Photo, *, alpha: bool) -> Image.Image:
    image = Image.fromarray(photo.pixels)
    if photo.alpha is not None and alpha:
        image.putalpha(Image.fromarray(photo.alpha))
        return image.convert("LA") if photo.grey else image
    if photo.alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, "white"), Image.fromarray(photo.alpha))
    return image.getchannel(0) if photo.grey else image


def _metadata_options(photo: Photo, format_: str) -> dict[str, Any]:
    """Return Pillow's arguments for EXIF and XMP."""
    options: dict[str, Any] = {"exif": photo.exif} if photo.exif else {}
    if format_ == "TIFF":
        tags = Image.Exif()
        if photo.exif:
            tags.load(photo.exif)
            options["compression"] = "raw"  # Pillow's compressed TIFFs cannot hold EXIF
        if photo.xmp:
            tags[TIFF_XMP] = photo.xmp
        options["exif"] = tags
    elif photo.xmp and format_ == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", photo.xmp.decode("utf-8", "replace"))
    elif photo.xmp:
        options["xmp"] = photo.xmp
    return options
