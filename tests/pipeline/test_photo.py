import struct
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from pipeline.photo import Photo, decode_photo, encode_photo, read_mask, read_photo, write_photo
from tests.conftest import smooth_picture
from weights.errors import InvalidFile, InvalidInput

PICTURE = smooth_picture(48, 64)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WHITE = struct.pack(">3i", 63189, 65536, 54060)


def exif(orientation=1):
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010E] = "a description"
    tags.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    tags.get_ifd(0x8825)[1] = "N"
    return tags.tobytes()


def file_of(picture, format_, **options):
    out = BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(out, format_, **options)
    return out.getvalue()


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="kept"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_metadata_survives(format_):
    options = {} if format_ == "PNG" else {"xmp": XMP} if format_ != "TIFF" else {}
    source = decode_photo(file_of(PICTURE, format_, exif=exif(), icc_profile=ICC, **options), name="it")
    edited = source.edited(source.pixels)
    image = Image.open(BytesIO(encode_photo(edited, format_)))
    again = decode_photo(encode_photo(edited, format_), name="it")
    assert image.format == source.format == format_
    assert image.info["icc_profile"] == ICC
    tags = image.getexif()
    assert (tags[0x0112], tags[0x010E]) == (1, "a description")
    assert tags.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
    assert tags.get_ifd(0x8825)[1] == "N"
    assert b"compositeWithTrainedAlgorithmicMedia" in again.xmp
    assert (b"kept" in again.xmp) == bool(options)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(orientation):
    upright = decode_photo(file_of(PICTURE, "PNG", exif=exif(orientation)), name="it")
    assert (upright.height, upright.width) == ((48, 64) if orientation < 5 else (64, 48))
    again = decode_photo(encode_photo(upright, "PNG"), name="it")
    assert np.array_equal(again.pixels, upright.pixels)
    turned = Image.fromarray(PICTURE)
    turned.getexif()[0x0112] = orientation
    assert Image.open(BytesIO(encode_photo(upright, "PNG"))).getexif()[0x0112] == 1


def odd_exif(tag, kind, orientation):
    """EXIF of an orientation and of a tag whose type is none that it has; Pillow can read it but not write it."""
    entries = [(0x0112, 3, 1, orientation), (tag, kind, 1, 0x30)]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + directory + bytes(100)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(("tag", "kind"), [(0x010E, 11), (0x0100, 1), (0xA302, 11), (0x011A, 2), (0xA302, 5)])
def test_a_tag_that_cannot_be_written_again_is_kept_and_the_photo_turned(format_, tag, kind):
    data = file_of(PICTURE, format_, exif=odd_exif(tag, kind, 6))
    photo = decode_photo(data, name="it")
    upright = np.rot90(np.asarray(Image.open(BytesIO(data)).convert("RGB")), -1)
    assert np.array_equal(photo.pixels, upright)
    assert odd_exif(tag, kind, 1).endswith(photo.exif)
    assert odd_exif(tag, kind, 1).endswith(decode_photo(encode_photo(photo, format_), name="it").exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_every_format_is_turned_as_pillow_turns_it(format_, orientation):
    data = file_of(PICTURE, format_, exif=exif(orientation))
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB"))
    assert np.array_equal(decode_photo(data, name="it").pixels, wanted)


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_lossless_formats_and_modes(format_, mode):
    image = Image.fromarray(PICTURE).convert(mode)
    if "A" in mode:
        image.putalpha(Image.fromarray(PICTURE[..., 0]))
    options = {"lossless": True, "exact": True} if format_ == "WEBP" else {}
    source = decode_photo(file_of(image, format_, **options), name="it")
    again = decode_photo(encode_photo(source, format_), name="it")
    assert np.array_equal(source.pixels, np.asarray(image.convert("RGB")))
    assert np.array_equal(again.pixels, source.pixels)
    assert (again.alpha is not None) == ("A" in mode)
    if again.alpha is not None:
        assert np.array_equal(again.alpha, PICTURE[..., 0])
    assert source.grey == (mode in ("L", "LA", "1") and format_ != "WEBP")


def test_transparent_palette():
    image = Image.fromarray(PICTURE).convert("P")
    photo = decode_photo(file_of(image, "PNG", transparency=int(np.asarray(image)[0, 0])), name="it")
    assert photo.alpha[0, 0] == 0
    assert photo.alpha.max() == 255


@pytest.mark.parametrize("options", [{"quality": 70, "subsampling": 2}, {"quality": 93, "subsampling": 1}])
@pytest.mark.parametrize("orientation", [1, 6])
def test_jpeg_is_written_by_the_sources_tables(options, orientation):
    data = file_of(PICTURE, "JPEG", exif=exif(orientation), progressive=True, **options)
    source, written = (Image.open(BytesIO(d)) for d in (data, encode_photo(decode_photo(data, name="it"), "JPEG")))
    for key, table in source.quantization.items():
        wanted = np.reshape(table, (8, 8))
        assert np.array_equal(np.reshape(written.quantization[key], (8, 8)), wanted.T if orientation == 6 else wanted)
    assert written.info.get("progressive") == 1
    # A second compression by the same tables changes next to nothing.
    photo = decode_photo(data, name="it")
    again = decode_photo(encode_photo(photo, "JPEG"), name="it")
    assert np.abs(again.pixels.astype(int) - photo.pixels).mean() < 1


def test_grey_jpeg_stays_grey():
    data = file_of(Image.fromarray(PICTURE).convert("L"), "JPEG")
    photo = decode_photo(data, name="it")
    assert photo.grey
    assert Image.open(BytesIO(encode_photo(photo, "JPEG"))).mode == "L"


def profile(kind, tags):
    """A profile of 12 bytes of kind (its class, colours, and what they are brought to) with these tags."""
    tags = tags | {b"wtpt": b"XYZ " + bytes(4) + WHITE}
    table, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI", 128 + len(table + body), b"lcms", 0x02400000) + kind + bytes(12) + b"acsp"
    return (head.ljust(68, b"\0") + WHITE).ljust(128, b"\0") + table + body


def grey_profile():
    """A profile of grey of gamma 2.2."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, int(2.2 * 256)) + bytes(2)
    name = b"desc" + bytes(4) + struct.pack(">I", 5) + b"Gray\0" + bytes(79)
    return profile(b"mntrGRAYXYZ ", {b"desc": name, b"kTRC": curve})


@pytest.mark.parametrize("deep", [False, True])
def test_a_profile_of_grey_goes_into_files_of_grey_alone(deep, caplog):
    grey = np.arange(48 * 64).reshape(48, 64)
    pixels = np.repeat((grey.astype(np.uint16) * 20 if deep else (grey % 256).astype(np.uint8))[..., None], 3, axis=2)
    photo = Photo(pixels=pixels, grey=True, icc=grey_profile())
    clear = replace(photo, alpha=pixels[..., 0])
    for picture, format_ in ((photo, f) for f in ("JPEG", "PNG", "TIFF", "WEBP")):
        image = Image.open(BytesIO(encode_photo(picture, format_)))
        assert ("icc_profile" in image.info) == (image.mode in ("L", "I;16"))
    assert [record.message[:33] for record in caplog.records] == ["the photo's profile of grey does "]
    for format_ in ("PNG", "TIFF"):
        image = Image.open(BytesIO(encode_photo(clear, format_)))
        assert ("icc_profile" in image.info) == (image.mode == "LA") != deep


def test_the_table_of_a_grey_jpeg_may_have_any_number():
    table = list(range(3, 67))
    data = bytearray(file_of(Image.fromarray(PICTURE).convert("L"), "JPEG", qtables={0: table}))
    data[data.index(b"\xff\xdb") + 4] = data[data.index(b"\xff\xc0") + 12] = 1
    assert Image.open(BytesIO(data)).quantization == {1: table}
    photo = decode_photo(bytes(data), name="it")
    for written in (photo, replace(photo, origin=None)):
        again = Image.open(BytesIO(encode_photo(written, "JPEG")))
        assert list(again.quantization.values()) == [table]
        assert np.abs(np.asarray(again, int) - photo.pixels[..., 0]).mean() < 1


def test_alpha_is_laid_on_white_for_jpeg():
    photo = Photo(pixels=np.zeros((8, 8, 3), np.uint8), alpha=np.zeros((8, 8), np.uint8))
    assert decode_photo(encode_photo(photo, "JPEG"), name="it").pixels.min() > 250


def test_webp_keeps_its_kind():
    for lossless in (True, False):
        data = file_of(PICTURE, "WEBP", lossless=lossless, icc_profile=ICC, exif=exif())
        written = encode_photo(decode_photo(data, name="it"), "WEBP")
        assert (b"VP8L" in written) == lossless


@pytest.mark.parametrize("lossless", [True, False])
def test_an_animated_webp_keeps_its_kind(lossless):
    frames = [Image.fromarray(PICTURE), Image.fromarray(PICTURE[::-1].copy())]
    data = file_of(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=lossless)
    assert b"ANMF" in data
    written = encode_photo(decode_photo(data, name="it"), "WEBP")
    assert (b"VP8L" in written, b"VP8 " in written) == (lossless, not lossless)


def wide_gamut():
    """A profile whose primaries are far from sRGB's: sRGB's own with red and green exchanged."""
    data = bytearray(ICC)
    red, green = data.index(b"rXYZ"), data.index(b"gXYZ")
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data).replace(b"s\0R\0G\0B", b"o\0d\0d\0_")


def test_colour_space_and_back():
    photo = Photo(pixels=PICTURE, icc=wide_gamut())
    srgb = photo.to_srgb(PICTURE)
    assert np.abs(srgb.astype(int) - PICTURE[..., [1, 0, 2]]).mean() < 3
    assert np.abs(photo.from_srgb(srgb).astype(int) - PICTURE).mean() < 3
    plain = Photo(pixels=PICTURE, icc=ICC)
    assert plain.to_srgb(PICTURE) is PICTURE
    assert Photo(pixels=PICTURE, icc=b"damaged").to_srgb(PICTURE) is PICTURE


def second_page_without_width():
    page = Image.fromarray(PICTURE)
    head, width, rest = file_of(page, "TIFF", save_all=True, append_images=[page]).rpartition(b"\0\1\4\0")
    return head + b"\0\7" + width[2:] + rest


def cut_animation():
    """A GIF that ends in the head of its second frame."""
    frames = [Image.fromarray(PICTURE), Image.fromarray(PICTURE[::-1].copy())]
    data = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    return data[: data.rindex(b"!\xf9\x04") + 3]


def frame_without_channels():
    """A JPEG whose frame is too short to name a channel."""
    data = file_of(PICTURE, "JPEG")
    at = data.index(b"\xff\xc0") + 2
    return data[:at] + b"\0\x08" + data[at + 2 :]


def enormous_heif():
    """A HEIF that claims more lines than its reader lets in."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    data = file_of(PICTURE, "HEIF")
    at = data.index(b"ispe") + 12
    return data[:at] + b"\xff" + data[at + 1 :]


def linear_srgb():
    """A profile of sRGB's primaries whose values grow with the light; by its name it is sRGB's."""
    number = struct.pack(">i", 1 << 16)
    return ICC.replace(b"para\0\0\0\0\0\3\0\0" + ICC[ICC.index(b"para") + 12 :][:4], b"para" + bytes(8) + number)


def scanner():
    """A profile as scanners have them: a table from RGB to Lab, and none back."""
    ramp = bytes(range(256)) * 3
    unit = struct.pack(">9i", *np.eye(3, dtype=int).ravel() << 16)
    corners = np.uint8([[0, 128, 128], [255, 128, 128]])[[0, 0, 0, 0, 1, 1, 1, 1]]
    table = b"mft1" + bytes(4) + bytes([3, 3, 2, 0]) + unit + ramp + corners.tobytes() + ramp
    name = b"desc" + bytes(4) + struct.pack(">I", 8) + b"scanner\0" + bytes(80)
    return profile(b"scnrRGB Lab ", {b"A2B0": table, b"desc": name})


def test_a_profile_is_read_once_for_all_bands(monkeypatch):
    photo = Photo(pixels=PICTURE, icc=wide_gamut())
    there = photo.to_srgb(PICTURE)
    back = photo.from_srgb(there)
    monkeypatch.setattr("pipeline.picture.ImageCms.ImageCmsProfile", lambda *arguments: pytest.fail("read again"))
    assert np.array_equal(photo.to_srgb(PICTURE[:8]), there[:8])
    assert np.array_equal(photo.from_srgb(there[:8]), back[:8])


def test_srgb_is_told_by_its_colours_not_by_its_name():
    photo = Photo(pixels=PICTURE, icc=linear_srgb())
    assert "srgb" in ImageCms.ImageCmsProfile(BytesIO(photo.icc)).profile.profile_description.lower()
    light = PICTURE / 255
    srgb = 255 * np.where(light < 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(photo.to_srgb(PICTURE) - srgb).mean() < 1
    named_otherwise = ICC.replace(b"s\0R\0G\0B", b"o\0d\0d\0_")
    assert named_otherwise != ICC
    assert Photo(pixels=PICTURE, icc=named_otherwise).to_srgb(PICTURE) is PICTURE


@pytest.mark.parametrize("icc", [scanner(), b"damaged"])
def test_a_profile_that_works_one_way_only_is_kept_and_said(icc):
    photo = decode_photo(file_of(PICTURE, "PNG", icc_profile=icc), name="it")
    assert photo.notices == ("it has a colour profile that cannot be used: its colours are taken for sRGB's.",)
    assert photo.to_srgb(PICTURE) is photo.from_srgb(PICTURE) is PICTURE
    assert decode_photo(encode_photo(photo, "PNG"), name="it").icc == icc


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no JPEG"),
        (b"<html></html>", "no JPEG"),
        (file_of(PICTURE, "BMP"), "no JPEG"),
        (file_of(PICTURE, "PNG")[:200], "damaged"),
        (file_of(PICTURE, "JPEG")[:400], "damaged"),
        (second_page_without_width(), "damaged: Missing dim"),
        (cut_animation(), "damaged: index out of range"),
        (frame_without_channels(), "damaged: list index out of range"),
    ],
)
def test_bad_files(data, message):
    with pytest.raises(InvalidFile, match=message):
        decode_photo(data, name="it")


def test_a_heif_of_an_enormous_size():
    with pytest.raises(InvalidFile, match=r"damaged: .*Security limit.*\d\.$"):
        decode_photo(enormous_heif(), name="it")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF"])
def test_chunks_are_looked_for_in_webp_alone(format_, monkeypatch):
    """A walk through another file may be as long as that."""
    monkeypatch.setattr("pipeline.decode._is_lossless_webp", lambda data: pytest.fail("a walk"))
    assert decode_photo(file_of(PICTURE, format_), name="it").pixels.shape == PICTURE.shape


def test_decompression_bomb():
    import zlib

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    with pytest.raises(InvalidFile, match="megapixels"):
        decode_photo(bomb, name="it")


def test_nothing_is_overwritten_without_being_asked(tmp_path):
    path = tmp_path / "a.png"
    photo = Photo(pixels=PICTURE)
    write_photo(photo, path)
    with pytest.raises(InvalidInput, match="--overwrite"):
        write_photo(Photo(pixels=PICTURE[::-1]), path)
    assert np.array_equal(read_photo(path).pixels, PICTURE)
    write_photo(Photo(pixels=PICTURE[::-1].copy()), path, overwrite=True)
    assert np.array_equal(read_photo(path).pixels, PICTURE[::-1])
    assert list(tmp_path.iterdir()) == [path]


def test_paths_that_cannot_be(tmp_path):
    photo = Photo(pixels=PICTURE)
    with pytest.raises(InvalidInput, match="choose a format"):
        write_photo(photo, tmp_path / "a.bmp")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InvalidInput, match="is a folder"):
        write_photo(photo, tmp_path / "folder.png", overwrite=True)
    with pytest.raises(InvalidInput, match="check the path"):
        read_photo(tmp_path / "missing.jpg")


def test_mask(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(np.tile(np.uint8([0, 255]), (4, 2))).save(path)
    assert read_mask(path).tolist() == [[0, 1, 0, 1]] * 4


def test_what_is_transparent_in_a_mask_stays(tmp_path):
    path = tmp_path / "mask.png"
    painted = np.full((1, 3, 4), 255, np.uint8)
    painted[0, :, 3] = 0, 255, 51
    Image.fromarray(painted).save(path)
    assert read_mask(path)[0] == pytest.approx([0, 1, 0.2])
