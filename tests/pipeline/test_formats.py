"""Formats and depths: 16 bits, HEIF, CMYK, grey, palettes, animations; see docs/formats.md."""

import struct
from dataclasses import replace
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from pipeline import png, tiff
from pipeline.photo import Photo, check_output, decode_photo, eight_bit, encode_photo
from tests.conftest import smooth_picture
from tests.pipeline.test_jpeg import MORE
from tests.pipeline.test_photo import ICC, XMP, exif, file_of, wide_gamut
from weights.errors import InvalidFile, InvalidInput

PICTURE = smooth_picture(48, 64)
DEEP = np.random.default_rng(0).integers(0, 65536, (48, 64, 4), dtype=np.uint16)
SHAPES = {"RGB": DEEP[..., :3], "RGBA": DEEP, "grey": DEEP[..., 0]}


def deep_file(samples, format_):
    """Write samples (H, W), or (H, W, C) in RGB order, with OpenCV, as others would."""
    order = samples if samples.ndim == 2 else samples[..., [2, 1, 0, 3][: samples.shape[2]]]
    return cv2.imencode(f".{format_.lower()}", np.ascontiguousarray(order))[1].tobytes()


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
@pytest.mark.parametrize("kind", SHAPES)
def test_16_bits_stay_and_unchanged_pixels_are_equal(kind, format_):
    photo = decode_photo(deep_file(SHAPES[kind], format_), name="it")
    wanted = SHAPES[kind] if kind == "grey" else SHAPES[kind][..., :3]
    assert photo.pixels.dtype == np.uint16
    assert np.array_equal(photo.pixels[..., 0] if kind == "grey" else photo.pixels, wanted)
    assert photo.grey == (kind == "grey")
    pixels = photo.pixels.copy()
    pixels[10:20, 10:20] = 65535 - pixels[10:20, 10:20]
    edited = replace(photo.edited(pixels), exif=exif(), icc=ICC)
    again = decode_photo(encode_photo(edited, format_), name="it")
    assert np.array_equal(again.pixels, pixels)
    far = np.ones((48, 64), bool)
    far[10:20, 10:20] = False
    assert np.array_equal(again.pixels[far], photo.pixels[far])
    if kind == "RGBA":
        assert np.array_equal(again.alpha, DEEP[..., 3])
    assert again.icc == ICC
    assert b"compositeWithTrainedAlgorithmicMedia" in again.xmp
    tags = Image.Exif()
    tags.load(again.exif)
    assert tags[0x010E] == "a description"
    assert tags.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bits_are_turned_as_8_are(orientation, format_):
    photos = [Photo(pixels=pixels, exif=exif(orientation)) for pixels in (PICTURE.astype(np.uint16) * 257, PICTURE)]
    deep, shallow = (decode_photo(encode_photo(photo, format_), name="it").pixels for photo in photos)
    assert deep.dtype == np.uint16
    assert np.array_equal(deep, shallow.astype(np.uint16) * 257)


def test_networks_see_8_bits():
    values = np.array([[[0, 128, 129], [257, 65406, 65535]]], np.uint16)
    assert eight_bit(values).tolist() == [[[0, 0, 1], [1, 254, 255]]]
    photo = Photo(pixels=PICTURE.astype(np.uint16) * 257, icc=wide_gamut())
    assert photo.to_srgb(photo.pixels).dtype == np.uint8
    assert np.array_equal(photo.to_srgb(photo.pixels), Photo(pixels=PICTURE, icc=wide_gamut()).to_srgb(PICTURE))


@pytest.mark.parametrize("format_", ["JPEG", "WEBP"])
def test_16_bits_become_8_where_the_format_has_no_more(format_):
    photo = Photo(pixels=PICTURE.astype(np.uint16) * 257, alpha=np.full((48, 64), 65535, np.uint16))
    again = decode_photo(encode_photo(photo, format_), name="it").pixels
    assert np.abs(again.astype(int) - PICTURE).mean() < 2


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_is_read_by_others(compressed, order, dtype):
    tags = Image.Exif()
    tags.endian = order
    tags[0x010E] = "a description"
    tags.get_ifd(0x8825)[1] = "N"
    samples = (PICTURE.astype(dtype) * (257 if dtype == np.uint16 else 1)).astype(dtype)
    data = tiff.write(samples, compressed=compressed, exif=tags.tobytes(), xmp=XMP, icc=ICC)
    assert data[:2] == (b"II" if order == "<" else b"MM")
    assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1], samples)
    image = Image.open(BytesIO(data))
    assert np.array_equal(np.asarray(image.convert("RGB")), PICTURE)
    assert image.getexif()[0x010E] == "a description"
    assert image.getexif().get_ifd(0x8825)[1] == "N"
    assert (image.info["icc_profile"], image.getexif()[700]) == (ICC, XMP)
    assert image.info["compression"] == ("tiff_adobe_deflate" if compressed else "raw")


def with_field(data, tag, value):
    """Return a little-endian TIFF that says another number of itself."""
    (start,) = np.frombuffer(data[4:8], "<u4")
    places = range(int(start) + 2, len(data) - 4, 12)
    at = next(at for at in places if int.from_bytes(data[at : at + 2], "little") == tag)
    return data[: at + 8] + value.to_bytes(2, "little") + data[at + 10 :]


def test_tiffs_that_would_be_misread_are_refused():
    image = Image.fromarray(DEEP[..., 0].astype(np.int32), "I")
    with pytest.raises(InvalidFile, match=r"16-bit TIFF|neither RGB nor grey"):
        decode_photo(file_of(Image.fromarray(PICTURE[..., 0].astype(np.float32)), "TIFF"), name="it")
    with pytest.raises(InvalidFile):
        decode_photo(file_of(image, "TIFF"), name="it")
    data = with_field(tiff.write(DEEP[..., :3], compressed=False), tiff.PLANAR, 2)
    with pytest.raises(InvalidFile, match="interleaved"):
        decode_photo(data, name="it")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_sample_that_a_tiff_says_nothing_of_is_no_alpha(dtype):
    samples = (DEEP >> (8 if dtype == np.uint8 else 0)).astype(dtype)
    data = with_field(tiff.write(samples, compressed=False), tiff.EXTRA_SAMPLES, tiff.UNSPECIFIED)
    photo = decode_photo(data, name="it")
    assert photo.alpha is None
    assert np.array_equal(photo.pixels, samples[..., :3])
    assert photo.notices == ("it has a channel beside its colours that it says nothing of: it is left out.",)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_that_a_tiff_multiplied_by_alpha_are_divided_by_it(dtype):
    most = np.iinfo(dtype).max
    samples = (DEEP >> (8 if dtype == np.uint8 else 0)).astype(dtype)
    samples[..., 3] |= most // 2 + 1  # at least half, for colours that come back to a level or two
    samples[0, 0], samples[1] = 0, samples[1] | [0, 0, 0, most]
    multiplied = samples.copy()
    multiplied[..., :3] = np.round(samples[..., :3] * (samples[..., 3:] / most))
    data = with_field(tiff.write(multiplied, compressed=False), tiff.EXTRA_SAMPLES, tiff.PREMULTIPLIED)
    photo = decode_photo(data, name="it")
    assert np.array_equal(photo.alpha, samples[..., 3])
    assert np.abs(photo.pixels.astype(int) - samples[..., :3]).max() <= 2
    assert np.array_equal(photo.pixels[1], samples[1, :, :3])
    assert photo.pixels[0, 0].tolist() == [0, 0, 0]


def test_the_transparent_grey_of_a_16_bit_png():
    data = deep_file(SHAPES["grey"], "PNG")
    key = int(DEEP[0, 0, 0])
    header = len(png.SIGNATURE) + 12 + 13
    data = data[:header] + png._chunk(b"tRNS", key.to_bytes(2, "big")) + data[header:]
    photo = decode_photo(data, name="it")
    assert photo.grey
    assert np.array_equal(photo.pixels[..., 0], DEEP[..., 0])
    assert np.array_equal(photo.alpha, np.where(DEEP[..., 0] == key, 0, 65535))
    assert np.array_equal(decode_photo(encode_photo(photo, "PNG"), name="it").alpha, photo.alpha)


@pytest.mark.parametrize("data", [b"", b"II*\0", b"MM\0*\0\0\xff\xff", b"II+\0" + bytes(20)])
def test_tags_that_cannot_be_read(data):
    assert tiff.descriptive_tags(data) is None


@pytest.mark.parametrize("kind", [1, 7])
@pytest.mark.parametrize("written", ["TIFF", "PNG", "JPEG"])
def test_what_photoshop_keeps_in_a_tiff_shows_the_photo_before_and_goes(kind, written):
    thumbnail = b"8BIM" + struct.pack(">HHI", 1036, 0, 8) + b"OLDTHUMB"
    iptc = b"8BIM" + struct.pack(">HHI", 1028, 0, 4) + b"kept"
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in ((34377, thumbnail + iptc), (37724, b"OLDLAYERS"), (0x010E, "a description")):
        info[tag] = value
        info.tagtype[tag] = 2 if isinstance(value, str) else kind
    data = file_of(PICTURE, "TIFF", tiffinfo=info)
    assert (b"OLDTHUMB" in data, b"OLDLAYERS" in data) == (True, True)
    photo = decode_photo(data, name="it")
    edited = encode_photo(photo.edited(photo.pixels), written)
    assert (b"OLDTHUMB" in edited, b"OLDLAYERS" in edited) == (False, False)
    tags = Image.open(BytesIO(edited)).getexif()
    assert (tags[0x010E], tags[34377]) == ("a description", iptc)


def test_heif():
    pytest.importorskip("pillow_heif").register_heif_opener()
    source = file_of(PICTURE, "HEIF", quality=95, exif=exif(), icc_profile=ICC, xmp=XMP)
    photo = decode_photo(source, name="it")
    assert photo.format == "HEIF"
    assert np.abs(photo.pixels.astype(int) - PICTURE).mean() < 4
    again = decode_photo(encode_photo(photo.edited(photo.pixels), "HEIF"), name="it")
    assert np.abs(again.pixels.astype(int) - photo.pixels).mean() < 4
    assert (again.icc, b"kept" in again.xmp) == (ICC, True)
    tags = Image.Exif()
    tags.load(again.exif)
    assert tags[0x010E] == "a description"


def test_turned_heif_is_turned_once():
    pytest.importorskip("pillow_heif").register_heif_opener()
    upright = np.rot90(PICTURE, -1)
    photo = decode_photo(file_of(PICTURE, "HEIF", quality=95, exif=exif(6)), name="it")
    assert photo.pixels.shape == upright.shape
    assert np.abs(photo.pixels.astype(int) - upright).mean() < 4
    again = decode_photo(encode_photo(photo, "HEIF"), name="it")
    assert again.pixels.shape == upright.shape


@pytest.mark.parametrize("info", [{"aux": {"urn:com:apple:photo:2020:aux:hdrgainmap": [5]}}, {"depth_images": [1]}, {}])
@pytest.mark.parametrize("film", [True, False])
def test_what_a_heif_holds_beside_its_picture_is_said(info, film, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    read = pillow_heif.HeifImageFile._init_from_heif_file

    def read_more(image, index):
        read(image, index)
        image.info.update(info)

    monkeypatch.setattr(pillow_heif.HeifImageFile, "_init_from_heif_file", read_more)
    boxes = b"\0\0\0\x01free" + (24).to_bytes(8, "big") + bytes(8) + b"\0\0\0\x18mpvd" + b"a film" + bytes(10)
    photo = decode_photo(file_of(PICTURE, "HEIF") + boxes * film, name="it")
    assert photo.notices == ((MORE,) if info or film else ())


def test_heif_without_its_reader(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InvalidFile, match="pip install pillow-heif"):
        decode_photo(b"\0\0\0\x18ftypheic" + bytes(20), name="it")


def test_heif_that_cannot_be_written_is_said_before_the_work(monkeypatch, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    check_output(tmp_path / "a.heic", overwrite=False)
    monkeypatch.setattr(pillow_heif, "libheif_info", lambda: {"HEIF": ""})
    with pytest.raises(InvalidInput, match="choose another format"):
        check_output(tmp_path / "a.heic", overwrite=False)


@pytest.mark.parametrize(("format_", "most"), [("WEBP", 16383), ("JPEG", 65500)])
def test_a_photo_larger_than_its_format_holds(format_, most):
    assert decode_photo(encode_photo(Photo(pixels=np.zeros((1, most, 3), np.uint8)), format_), name="it").width == most
    for shape in ((1, most + 1, 3), (most + 1, 1, 3)):
        with pytest.raises(InvalidInput, match=rf"more than {format_} holds, which is {most} a side: choose another"):
            encode_photo(Photo(pixels=np.zeros(shape, np.uint8)), format_)
    encode_photo(Photo(pixels=np.zeros((1, most + 1, 3), np.uint8)), "PNG")


@pytest.mark.parametrize("error", [RuntimeError("Encoder plugin error"), ValueError("too large"), OSError("broken")])
def test_a_writer_that_gives_up_is_said_in_a_sentence(error, monkeypatch):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(InvalidInput, match=rf"cannot be written as PNG \({error}\): choose another format"):
        encode_photo(Photo(pixels=PICTURE), "PNG")


def test_damaged_heif():
    pytest.importorskip("pillow_heif")
    with pytest.raises(InvalidFile, match=r"damaged|no JPEG"):
        decode_photo(b"\0\0\0\x18ftypheic" + bytes(20), name="it")


def test_cmyk_becomes_rgb_and_says_so():
    data = file_of(Image.fromarray(PICTURE).convert("CMYK"), "JPEG", quality=95)
    photo = decode_photo(data, name="it")
    assert photo.notices == ("it is CMYK: it is edited and written as RGB.",)
    assert np.abs(photo.pixels.astype(int) - PICTURE).mean() < 4
    written = Image.open(BytesIO(encode_photo(photo, "JPEG")))
    assert (written.mode, written.info.get("icc_profile")) == ("RGB", None)


@pytest.mark.parametrize(("format_", "written"), [("GIF", "PNG"), ("WEBP", "WEBP"), ("PNG", "PNG"), ("TIFF", "TIFF")])
def test_the_first_frame_is_taken_and_said(format_, written):
    frames = [Image.fromarray(np.full((20, 30, 3), value, np.uint8)) for value in (40, 200, 90)]
    data = file_of(frames[0], format_, save_all=True, append_images=frames[1:])
    photo = decode_photo(data, name="it")
    assert np.abs(photo.pixels.astype(int) - 40).max() <= 2
    (notice,) = photo.notices
    assert "(3 frames)" in notice or "3 pictures" in notice
    assert getattr(Image.open(BytesIO(encode_photo(photo, written))), "n_frames", 1) == 1


def test_a_palette_is_written_as_rgb():
    photo = decode_photo(file_of(Image.fromarray(PICTURE).convert("P"), "PNG"), name="it")
    assert Image.open(BytesIO(encode_photo(photo, "PNG"))).mode == "RGB"
    assert photo.notices == ()


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_profile_of_a_wide_gamut_stays(format_):
    photo = decode_photo(file_of(PICTURE, format_, icc_profile=wide_gamut()), name="it")
    assert np.abs(photo.to_srgb(photo.pixels).astype(int) - photo.pixels[..., [1, 0, 2]]).mean() < 3
    assert decode_photo(encode_photo(photo, format_), name="it").icc == wide_gamut()
    assert ImageCms.ImageCmsProfile(BytesIO(photo.icc)).profile.xcolor_space == "RGB "


@pytest.mark.parametrize(("resolution", "wanted"), [((0, 0), None), ((2**32 - 1, 1), None), ((300, 1), 300)])
def test_a_resolution_that_makes_no_sense_is_left_out_of_a_png(resolution, wanted):
    tags = struct.pack("<2sHIH", b"II", 42, 8, 3)
    tags += struct.pack("<HHIIHHIIHHII", *(282, 5, 1, 50), *(283, 5, 1, 50), *(296, 3, 1, 2)) + bytes(4)
    deep = Photo(pixels=DEEP[..., :3], exif=tags + struct.pack("<II", *resolution))
    photo = decode_photo(encode_photo(deep, "TIFF"), name="it")
    written = Image.open(BytesIO(encode_photo(photo, "PNG")))
    assert written.info.get("dpi") == (wanted and pytest.approx((wanted, wanted), abs=0.1))


def test_sizes_in_exif_follow_a_turn():
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x0100], tags[0x0101] = 64, 48
    tags.get_ifd(0x8769)[0xA002] = 64
    tags.get_ifd(0x8769)[0xA003] = 48
    photo = decode_photo(file_of(PICTURE, "PNG", exif=tags.tobytes()), name="it")
    written = Image.open(BytesIO(encode_photo(photo, "PNG"))).getexif()
    found = written.get_ifd(0x8769)
    assert (found[0xA002], found[0xA003]) == (48, 64) == (photo.width, photo.height)
    assert (written[0x0100], written[0x0101]) == (48, 64)


PNG_COLOURS = {
    "cICP": bytes([9, 16, 0, 1]),
    "gAMA": (100000).to_bytes(4, "big"),
    "cHRM": struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
}
TAKEN_FOR_SRGB = (
    "it says without a profile what its colours are: they are taken for sRGB's, "
    "and only written as {} the edited photo says it again."
)


def with_chunks(data, chunks):
    header = len(png.SIGNATURE) + 12 + 13
    return data[:header] + b"".join(png._chunk(k.encode(), v) for k, v in chunks.items()) + data[header:]


@pytest.mark.parametrize("samples", [PICTURE, PICTURE[..., 0], DEEP[..., :3], DEEP[..., 0]])
@pytest.mark.parametrize("kinds", [["cICP"], ["gAMA", "cHRM"], ["cICP", "gAMA", "cHRM"]])
def test_what_a_png_says_of_its_colours_is_said_again(samples, kinds):
    chunks = {kind: PNG_COLOURS[kind] for kind in kinds}
    photo = decode_photo(with_chunks(deep_file(samples, "PNG"), chunks), name="it")
    assert np.array_equal(photo.pixels[..., 0], samples if samples.ndim == 2 else samples[..., 0])
    assert photo.notices == (TAKEN_FOR_SRGB.format("PNG"),)
    written = encode_photo(photo.edited(photo.pixels).stripped(), "PNG")
    assert png.colour_chunks(written) == chunks
    assert np.array_equal(decode_photo(written, name="it").pixels, photo.pixels)
    assert b"gAMA" not in encode_photo(photo, "WEBP")


@pytest.mark.parametrize("samples", [PICTURE, DEEP[..., :3]])
def test_nothing_is_said_where_a_pngs_chunks_say_srgb_or_it_has_a_profile(samples):
    numbers = struct.pack(">8I", 31269, 32899, 63999, 33001, 30000, 60000, 15000, 5999)
    bare = deep_file(samples, "PNG")
    for chunks in ({"gAMA": (45454).to_bytes(4, "big"), "cHRM": numbers}, {"cICP": bytes([1, 13, 0, 1])}):
        photo = decode_photo(with_chunks(bare, chunks), name="it")
        assert photo.notices == ()
        assert png.colour_chunks(encode_photo(photo, "PNG")) == chunks
    photo = decode_photo(with_chunks(bare, {"sRGB": b"\0"}), name="it")
    assert png.colour_chunks(encode_photo(photo, "PNG")) == {"sRGB": b"\0"}
    assert png.colour_chunks(encode_photo(replace(photo, icc=ICC), "PNG")) == {}  # one or the other
    profiled = encode_photo(replace(photo, icc=ICC, colours=PNG_COLOURS), "PNG")
    assert png.colour_chunks(profiled) == PNG_COLOURS
    assert decode_photo(profiled, name="it").notices == ()


@pytest.mark.parametrize("chunk", [{"cHRM": bytes(33)}, {"gAMA": bytes(7)}, {"cICP": b""}])
def test_odd_chunks_of_colours_damage_nothing(chunk):
    photo = decode_photo(with_chunks(deep_file(DEEP[..., :3], "PNG"), chunk), name="it")
    assert np.array_equal(decode_photo(encode_photo(photo, "PNG"), name="it").pixels, DEEP[..., :3])


@pytest.mark.parametrize(
    ("primaries", "transfer", "matrix", "said"),
    [(12, 13, 6, True), (9, 16, 9, True), (1, 13, 6, False), (1, 1, 1, False), (2, 2, 2, False), (1, 8, 0, True)],
)
def test_the_colours_of_a_heif_are_said_again(primaries, transfer, matrix, said):
    pytest.importorskip("pillow_heif").register_heif_opener()
    numbers = {"color_primaries": primaries, "transfer_characteristics": transfer}
    options = {"matrix_coefficients": matrix, "full_range_flag": 0, "chroma": 444}
    photo = decode_photo(file_of(PICTURE, "HEIF", quality=95, **numbers, **options), name="it")
    assert photo.notices == ((TAKEN_FOR_SRGB.format("HEIF"),) if said else ())
    written = encode_photo(photo.edited(photo.pixels), "HEIF")
    again = Image.open(BytesIO(written)).info["nclx_profile"]
    assert {name: again[name] for name in numbers} == numbers
    assert np.abs(decode_photo(written, name="it").pixels.astype(int) - photo.pixels).mean() < 4
