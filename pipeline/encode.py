"""From a photo to the bytes of a file."""

import logging
import warnings
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from pipeline import heif, jpeg, png, tiff
from pipeline.metadata import refresh
from pipeline.picture import Photo, Pixels, eight_bit
from weights.errors import InvalidInput

_log = logging.getLogger(__name__)

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

LIMITS = {"JPEG": 65500, "WEBP": 16383, "HEIF": 65535}
"""Pixels that a side of a picture has at most, by the format that sets a limit."""


def check_size(width: int, height: int, format_: str) -> None:
    """Make sure that a picture of so many pixels can be written.

    Raises:
        InvalidInput: it is larger than the format holds.
    """
    limit = LIMITS.get(format_)
    if limit and max(width, height) > limit:
        raise InvalidInput(
            f"{width} x {height} pixels are more than {format_} holds, which is {limit} a side: "
            "choose another format, or shrink the photo."
        )


def encode_photo(photo: Photo, format_: str) -> bytes:
    """Return the bytes of a photo's file.

    In the format that it was read from, a photo is compressed as it was. A JPEG keeps the blocks that the edit
    left alone as they are in its file, where jpegtran is installed; else all is compressed by the same tables, so
    that what was not edited changes as little as a second compression can.

    Args:
        photo: to write; JPEG and HEIF of 16 bits become 8, and JPEG has no alpha, which is then laid on white.
        format_: JPEG, PNG, WEBP, TIFF or HEIF.

    Raises:
        InvalidInput: the photo is larger than the format holds, or its writer gives up.
    """
    check_size(photo.width, photo.height, format_)
    if photo.exif:
        photo = replace(photo, exif=refresh(photo.exif, photo.width, photo.height, _thumbnailer(photo)))
    if format_ == "JPEG":
        return _encode_jpeg(photo)
    # Pillow, as others, reads no grey of 16 bits with alpha: that is written as RGB.
    shaped = replace(photo, grey=photo.grey and (photo.alpha is None or photo.pixels.dtype == np.uint8))
    colours = photo.colours if format_ == photo.format else {}
    if photo.grey and (format_ == "WEBP" or not shaped.grey):  # written in colours, of which its profile says nothing
        if photo.icc:
            _log.warning("the photo's profile of grey does not fit a file of colours, as this one is, and is left out")
        photo = replace(photo, icc=None)
    if format_ == "TIFF":
        compressed = photo.format == "TIFF" and bool(photo.encoding.get("compressed"))
        return tiff.write(_samples(shaped), compressed=compressed, exif=photo.exif, xmp=photo.xmp, icc=photo.icc)
    if format_ == "PNG" and photo.pixels.dtype == np.uint16:
        samples = np.asarray(_samples(shaped), np.uint16)
        dpi = photo.encoding.get("dpi")
        return png.write_16_bit(samples, exif=photo.exif, xmp=photo.xmp, icc=photo.icc, dpi=dpi, colours=colours)
    options = dict(photo.encoding) if format_ == photo.format else {}
    if format_ == "WEBP":
        options = {"lossless": True} | options | {"exact": True}
    if format_ == "HEIF":
        heif.enable("the photo to write")
        options |= {"quality": 95} | colours
    if photo.icc:
        options["icc_profile"] = photo.icc
    if photo.exif:
        options["exif"] = photo.exif
    if format_ == "PNG":
        options["pnginfo"] = _png_chunks(photo.xmp, colours)
    elif photo.xmp:
        options["xmp"] = photo.xmp
    return _save(_to_image(photo, alpha=True), format_, options)


def _png_chunks(xmp: bytes | None, colours: dict[str, bytes]) -> PngImagePlugin.PngInfo:
    """Return the chunks of a PNG of 8 bits that hold XMP and say its colours."""
    chunks = PngImagePlugin.PngInfo()
    for kind, content in colours.items():
        chunks.add(kind.encode(), content)
    if xmp:
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    return chunks


def _save(image: Image.Image, format_: str, options: dict[str, Any]) -> bytes:
    out = BytesIO()
    try:
        image.save(out, format_, **{k: v for k, v in options.items() if v is not None})
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidInput(f"The photo cannot be written as {format_} ({error}): choose another format.") from error
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
        options["subsampling"] = -1
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large pictures
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
