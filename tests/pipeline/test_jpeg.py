"""JPEG's segments and blocks."""

import shutil
import subprocess
import tempfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin, PngImagePlugin

from pipeline import jpeg
from pipeline.metadata import mark_edited
from pipeline.photo import decode_photo, encode_photo
from tests.conftest import smooth_picture
from tests.pipeline.test_metadata import with_thumbnail
from tests.pipeline.test_photo import ICC, XMP, exif, file_of

needs_jpegtran = pytest.mark.skipif(
    not jpeg.has_jpegtran(), reason="jpegtran with -drop is not installed (Debian: libjpeg-turbo-progs)"
)

PICTURE = np.clip(
    smooth_picture(112, 160) + np.random.default_rng(0).normal(0, 12, (112, 160, 3)), 0, 255
).astype(np.uint8)  # fmt: skip


def edit(photo, rows=slice(33, 50), columns=slice(70, 90)):
    pixels = photo.pixels.copy()
    pixels[rows, columns] = 255 - pixels[rows, columns]
    return photo.edited(pixels)


def pixels_of(data):
    return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)


@needs_jpegtran
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_blocks_outside_the_edit_stay(subsampling, progressive):
    data = file_of(PICTURE, "JPEG", quality=70, subsampling=subsampling, progressive=progressive, exif=exif())
    photo = edit(decode_photo(data, name="it"))
    written = encode_photo(photo, "JPEG")
    before, after = pixels_of(data), pixels_of(written)
    far = np.ones(before.shape[:2], bool)
    far[16:80, 48:112] = False  # the blocks of the edit, and a block around for the smoothed chroma
    assert np.array_equal(after[far], before[far])
    assert np.abs(after - photo.pixels)[33:50, 70:90].mean() < 14
    assert np.abs(after - before)[35:48, 72:88].mean() > 20
    assert bool(Image.open(BytesIO(written)).info.get("progressive")) == progressive
    # Compressed anew by the same tables, some of these would be others.
    anew = pixels_of(encode_photo(decode_photo(data, name="it").edited(photo.pixels), "JPEG"))
    assert np.array_equal(anew, after)


@needs_jpegtran
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_no_edit_changes_no_block(mode):
    data = file_of(Image.fromarray(PICTURE[:101, :155]).convert(mode), "JPEG", quality=60)
    photo = decode_photo(data, name="it")
    assert np.array_equal(pixels_of(encode_photo(photo.edited(photo.pixels.copy()), "JPEG")), pixels_of(data))


@needs_jpegtran
def test_nothing_is_said_of_a_large_photo_but_in_its_notices(monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 112 * 160 - 1)
    photo = decode_photo(file_of(PICTURE, "JPEG", quality=70, subsampling=0), name="it")
    assert np.array_equal(decode_photo(encode_photo(edit(photo), "JPEG"), name="it").pixels[:32], photo.pixels[:32])
    assert [str(warning.message) for warning in recwarn] == []


@needs_jpegtran
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photos_keep_their_blocks(orientation):
    data = file_of(PICTURE, "JPEG", quality=70, subsampling=0, exif=exif(orientation))
    photo = decode_photo(data, name="it")
    written = pixels_of(encode_photo(edit(photo), "JPEG"))
    assert written.shape == photo.pixels.shape
    far = np.ones(written.shape[:2], bool)
    far[24:56, 56:104] = False
    # Turned blocks are the same numbers; their decoding may round to the next one.
    assert np.abs(written - photo.pixels)[far].max() <= 3
    assert np.abs(written - edit(photo).pixels)[33:50, 70:90].mean() < 14


@needs_jpegtran
def test_what_cannot_be_turned_without_loss_is_compressed_anew():
    data = file_of(PICTURE[:101], "JPEG", quality=80, subsampling=2, exif=exif(6))
    photo = decode_photo(data, name="it")
    assert np.abs(pixels_of(encode_photo(edit(photo), "JPEG")) - edit(photo).pixels).mean() < 6


def sampled(data, factors):
    """Return a JPEG that says another subsampling; `factors` are brightness's, 16 x across + down."""
    frame = data.index(b"\xff\xc0")
    return data[: frame + 11] + bytes([factors]) + data[frame + 12 :]


@needs_jpegtran
def test_a_subsampling_that_pillow_does_not_name_keeps_all_of_its_colour(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (56, 80, 3), np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    (tmp_path / "422.jpg").write_bytes(file_of(picture, "JPEG", quality=95, subsampling=1))
    turn = ["jpegtran", "-rotate", "90", "-outfile", tmp_path / "440.jpg", tmp_path / "422.jpg"]
    subprocess.run(turn, check=True)
    photo = decode_photo((tmp_path / "440.jpg").read_bytes(), name="it")
    assert (photo.encoding["subsampling"], photo.origin) == (0, None)
    written = encode_photo(edit(photo), "JPEG")
    assert JpegImagePlugin.get_sampling(Image.open(BytesIO(written))) == 0
    assert np.abs(pixels_of(written) - edit(photo).pixels).mean() < 3


@pytest.mark.parametrize("factors", [0x41, 0x14])
def test_blocks_of_a_subsampling_that_pillow_does_not_name_are_not_kept(factors):
    photo = decode_photo(sampled(file_of(PICTURE, "JPEG", subsampling=1), factors), name="it")
    assert (photo.encoding["subsampling"], photo.origin) == (0, None)


def test_422_turned_is_not_kept():
    photo = decode_photo(file_of(PICTURE, "JPEG", subsampling=1, exif=exif(6)), name="it")
    assert (photo.encoding["subsampling"], photo.origin) == (0, None)


def test_without_jpegtran_the_tables_stay(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    data = file_of(PICTURE, "JPEG", quality=70, subsampling=2)
    written = encode_photo(edit(decode_photo(data, name="it")), "JPEG")
    assert Image.open(BytesIO(written)).quantization == Image.open(BytesIO(data)).quantization


LAYOUTS = {
    "4:2:0": {"subsampling": 2},
    "4:4:4": {"subsampling": 0},
    "restarts": {"subsampling": 1, "restart_marker_blocks": 3},
    "grey": {},
}


@needs_jpegtran
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("edited", [False, True])
def test_only_the_last_pass_packs_the_blocks_and_the_file_is_the_same(
    layout, progressive, orientation, edited, monkeypatch
):
    picture = Image.fromarray(PICTURE).convert("L" if layout == "grey" else "RGB")
    options = {"quality": 70, "progressive": progressive, "exif": exif(orientation)} | LAYOUTS[layout]
    photo = decode_photo(file_of(picture, "JPEG", **options), name="it")
    photo = edit(photo) if edited else photo
    run, packing, passes = jpeg._jpegtran, "-progressive" if progressive else "-optimize", []

    def record(arguments, source, target):
        passes.append(arguments)
        return run(arguments, source, target)

    def pack_always(arguments, source, target):
        return run(arguments if packing in arguments else [*arguments, packing], source, target)

    monkeypatch.setattr(jpeg, "_jpegtran", record)
    written = encode_photo(photo, "JPEG")
    assert [packing in arguments for arguments in passes] == [False] * (len(passes) - 1) + [True] * bool(passes)
    if not (layout == "restarts" and orientation == 6):  # which is compressed anew
        drops = sum("-drop" in arguments for arguments in passes)
        assert len(passes) == max(1, drops + (orientation > 1))
        assert bool(drops) == edited
    monkeypatch.setattr(jpeg, "_jpegtran", pack_always)
    assert encode_photo(photo, "JPEG") == written


def full(path, data):
    raise OSError(28, "No space left on device")


@needs_jpegtran
@pytest.mark.parametrize("fault", ["missing", "full", "no program"])
def test_a_temporary_folder_that_fails_costs_the_blocks_and_not_the_edit(fault, monkeypatch, tmp_path, caplog):
    photo = edit(decode_photo(file_of(PICTURE, "JPEG", quality=70, subsampling=2), name="it"))
    anew = encode_photo(replace(photo, origin=None), "JPEG")
    if fault == "missing":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    elif fault == "full":
        monkeypatch.setattr(Path, "write_bytes", full)
    else:
        monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path))
    caplog.set_level("INFO")
    assert encode_photo(photo, "JPEG") == anew
    assert ("does not start" if fault == "no program" else "all is compressed anew") in caplog.text


def test_rgb_jpegs_are_not_taken_for_ycbcr():
    data = file_of(PICTURE, "JPEG", quality=90, keep_rgb=True)
    photo = edit(decode_photo(data, name="it"))
    assert np.abs(pixels_of(encode_photo(photo, "JPEG")) - photo.pixels).mean() < 8


def test_rectangles_hold_all_that_changed():
    changed = np.zeros((100, 203), bool)
    y, x = np.mgrid[:100, :203]
    changed[np.hypot(x - 60, y - 50) < 30] = True
    changed[90:, 190:] = True
    held = np.zeros_like(changed)
    for rows, columns in jpeg.rectangles(changed, (16, 8)):
        assert (rows.start % 8, columns.start % 16) == (0, 0)
        held[rows, columns] = True
    assert held[changed].all()
    assert held.sum() < 1.8 * changed.sum()
    assert jpeg.rectangles(np.zeros((8, 8), bool), (8, 8)) == []


def test_segments_survive_and_thumbnails_of_photoshop_do_not():
    thumbnail = b"8BIM" + (1036).to_bytes(2, "big") + b"\0\0" + (5).to_bytes(4, "big") + b"olden\0"
    iptc = b"8BIM" + (1028).to_bytes(2, "big") + b"\0\0" + (4).to_bytes(4, "big") + b"kept"
    bare = file_of(PICTURE, "JPEG", comment=b"a comment")
    data = jpeg.with_metadata(
        bare, exif=exif(), xmp=XMP, icc=ICC * 40, others=[(jpeg.APP13, jpeg.PHOTOSHOP_HEAD + thumbnail + iptc)]
    )
    photo = decode_photo(data, name="it")
    assert photo.icc == ICC * 40  # more than a segment holds
    again = decode_photo(encode_photo(edit(photo), "JPEG"), name="it")
    assert again.icc == photo.icc
    assert again.exif == photo.exif
    assert dict(again.segments) == {jpeg.APP13: jpeg.PHOTOSHOP_HEAD + iptc, jpeg.COM: b"a comment"}


def test_metadata_that_does_not_fit_is_left_out(caplog):
    caplog.set_level("INFO")
    written = jpeg.with_metadata(file_of(PICTURE, "JPEG"), exif=b"x" * 70000, xmp=None, icc=None, others=())
    assert len(written) < 70000
    assert "does not fit" in caplog.text
    most = b"x" * (jpeg.ICC_PARTS * (jpeg.MOST - 14))
    for icc, kept in ((most, True), (most + b"x", False)):
        written = jpeg.with_metadata(file_of(PICTURE, "JPEG"), exif=None, xmp=None, icc=icc, others=())
        assert (jpeg.ICC_HEAD in written) == kept
        assert jpeg.too_large(exif=None, xmp=None, icc=icc) == [] if kept else ["ICC profile"]


def large_xmp(size):
    return XMP.replace(b'dc:format="kept"', b'dc:format="' + b"x" * size + b'"')


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_the_mark_of_an_edit_stays_where_xmp_does_not_fit(format_):
    large = large_xmp(65502 - len(XMP) if format_ == "JPEG" else 70000)  # of a JPEG: until it is marked
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", large.decode())
    data = file_of(PICTURE, format_, **({"xmp": large} if format_ == "JPEG" else {"pnginfo": text}))
    photo = decode_photo(data, name="it")
    assert photo.notices == ("it has more XMP than a JPEG holds: written as JPEG, the edited photo is without it.",)
    again = decode_photo(encode_photo(edit(photo), "JPEG"), name="it")
    assert again.xmp == mark_edited(None)
    assert b"xxxx" in decode_photo(encode_photo(edit(photo), "PNG"), name="it").xmp
    assert decode_photo(encode_photo(replace(photo, xmp=large_xmp(70000)), "JPEG"), name="it").xmp is None


def test_exif_that_does_not_fit_is_said():
    tags = Image.Exif()
    tags[0x010E] = "x" * 70000
    photo = decode_photo(file_of(PICTURE, "PNG", exif=tags.tobytes()), name="it")
    assert photo.notices == ("it has more EXIF than a JPEG holds: written as JPEG, the edited photo is without it.",)
    assert decode_photo(encode_photo(photo, "JPEG"), name="it").exif is None
    assert decode_photo(encode_photo(photo, "PNG"), name="it").exif == photo.exif


def test_the_second_picture_of_a_file_is_left_out():
    out = BytesIO()
    first, second = Image.fromarray(PICTURE), Image.fromarray(PICTURE[::-1].copy())
    first.save(out, "MPO", save_all=True, append_images=[second])
    photo = decode_photo(out.getvalue(), name="it")
    assert photo.format == "JPEG"
    assert photo.notices == ("it holds 2 pictures: the first is edited, and the others are left out.",)
    written = encode_photo(edit(photo), "JPEG")
    assert Image.open(BytesIO(written)).format == "JPEG"
    assert written.count(b"\xff\xd8\xff") == 1


MORE = "it holds more than its picture (a gain map, depth, a film or a picture before an effect): that is left out."
FILM = b"\0\0\0\x18ftypmp42" + b"OLDFILM" * 100


def xmp_with(namespace, properties):
    return XMP.replace(b'dc:format="kept"', f'dc:format="kept" xmlns:it="{namespace}" {properties}'.encode())


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("behind", [FILM, b"\0" * 64 + b"MotionPhoto_Data" + FILM, file_of(PICTURE[:16], "JPEG")])
def test_what_stands_behind_the_picture_is_left_out_and_said(behind, progressive):
    xmp = xmp_with("http://ns.google.com/photos/1.0/camera/", 'it:MotionPhoto="1" it:MicroVideoOffset="712"')
    photo = decode_photo(file_of(PICTURE, "JPEG", xmp=xmp, progressive=progressive) + behind, name="it")
    assert photo.notices == (MORE,)
    written = encode_photo(edit(photo), "JPEG")
    assert (b"OLDFILM" in written, b"MotionPhoto" in written, b"MicroVideo" in written) == (False, False, False)
    assert b'dc:format="kept"' in written
    assert decode_photo(written, name="it").notices == ()


@pytest.mark.parametrize("behind", [b"", bytes(4096), b"SEFH" + bytes(20) + b"SEFT"])
def test_nothing_is_said_of_what_is_no_picture_behind_the_picture(behind):
    data = file_of(PICTURE, "JPEG", exif=with_thumbnail("<"), xmp=XMP, comment=b"\xff\xd9\xff\xd8\xffftyp") + behind
    assert decode_photo(data, name="it").notices == ()


def test_a_gain_map_is_left_out_and_said():
    out = BytesIO()
    Image.fromarray(PICTURE).save(out, "MPO", save_all=True, append_images=[Image.fromarray(PICTURE[::4, ::4])])
    gain = XMP.replace(b'dc:format="kept"', b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"')
    segment = jpeg.XMP_HEAD + gain
    head = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment
    photo = decode_photo(out.getvalue()[:2] + head + out.getvalue()[2:], name="it")
    assert photo.notices == (MORE,)
    written = encode_photo(edit(photo), "JPEG")
    assert (b"hdrgm" in written, b"MPF" in written, written.count(b"\xff\xd8\xff")) == (False, False, 1)


def extended_xmp(packet, size=20):
    """Return the segments of extended XMP, in parts of so many bytes."""
    parts = [(at, packet[at : at + size]) for at in range(0, len(packet), size)]
    head = jpeg.EXTENDED_XMP_HEAD + b"A" * 32 + len(packet).to_bytes(4, "big")
    return [(jpeg.APP1, head + at.to_bytes(4, "big") + part) for at, part in parts]


@pytest.mark.parametrize(
    ("namespace", "said", "stays"),
    [
        ("http://ns.google.com/photos/1.0/image/", (MORE,), False),
        ("http://ns.google.com/photos/1.0/depthmap/", (MORE,), False),
        ("http://ns.adobe.com/xap/1.0/g/img/", (), False),
        ("http://ns.adobe.com/photoshop/1.0/", (), True),
    ],
)
def test_extended_xmp_stays_unless_it_holds_a_picture(namespace, said, stays):
    main = xmp_with("http://ns.adobe.com/xmp/note/", f'it:HasExtendedXMP="{"A" * 32}"')
    others = extended_xmp(xmp_with(namespace, 'it:Data="OLDDATA"'))
    data = jpeg.with_metadata(file_of(PICTURE, "JPEG"), exif=None, xmp=main, icc=None, others=others)
    photo = decode_photo(data, name="it")
    assert photo.notices == said
    again = decode_photo(encode_photo(edit(photo), "JPEG"), name="it")
    assert again.segments == (tuple(others) if stays else ())
    assert (b"HasExtendedXMP" in again.xmp) == stays
    assert b'dc:format="kept"' in again.xmp
