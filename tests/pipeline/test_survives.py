"""The table of docs/formats.md, row by row: what exiftool finds in an edited file."""

import base64
import json
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.photo import read_photo, write_photo
from tests.conftest import smooth_picture
from tests.pipeline.exiftool import exiftool, needs_exiftool

pytestmark = needs_exiftool

DOC = Path(__file__).parents[2] / "docs" / "formats.md"
ENDINGS = {"JPEG": "jpg", "PNG": "png", "TIFF": "tif", "WebP": "webp", "HEIF": "heic"}
VALUES = {
    "EXIF:Model": "A Camera",
    "EXIF:DateTimeOriginal": "2020:01:02 03:04:05",
    "EXIF:LensModel": "A Lens",
    "EXIF:Artist": "An Artist",
    "GPS:GPSLatitude": "48.5",
    "XMP-dc:Title": "A Title",
    "XMP-dc:Rights": "All Rights",
    "IPTC:Keywords": "a keyword",
    "File:Comment": "A comment",
}
PICTURE = smooth_picture(96, 128)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def tags(path):
    (found,) = json.loads(exiftool("-j", "-n", "-G1", "-b", "-a", path))
    names = {re.sub(r"^(IFD0|ExifIFD|IFD1):", "EXIF:", key): value for key, value in found.items()}
    return {re.sub(r"^ICC-header:|^ICC_Profile\w*:", "ICC_Profile:", key): value for key, value in names.items()}


@pytest.fixture(scope="module")
def table():
    """The rows as {tag: {format: kept, new, lost or none}}."""
    rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in DOC.read_text().splitlines()]
    heads = next(row for row in rows if row[0] == "what" and row[-1] == "tag")
    body = [row for row in rows[rows.index(heads) + 2 :] if len(row) == len(heads)]
    return {row[-1]: dict(zip(heads[1:-1], row[1:-1], strict=True)) for row in body}


@pytest.fixture(params=list(ENDINGS), scope="module")
def edited(request, tmp_path_factory):
    """Paths of a file with every tag that its format takes, and of the same edited."""
    tmp_path = tmp_path_factory.mktemp("survives")
    before = tmp_path / f"before.{ENDINGS[request.param]}"
    after = before.with_name(f"after.{ENDINGS[request.param]}")
    if request.param == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    small = BytesIO()
    Image.fromarray(PICTURE).resize((64, 48)).save(small, "JPEG", quality=95)
    (tmp_path / "thumbnail.jpg").write_bytes(small.getvalue())
    Image.fromarray(PICTURE).save(before, icc_profile=PROFILE)
    values = VALUES | {"GPS:GPSLatitudeRef": "N"}
    words = [f"-{tag}={value}" for tag, value in values.items()]
    if request.param == "JPEG":
        words.append(f"-EXIF:ThumbnailImage<={tmp_path / 'thumbnail.jpg'}")
    exiftool("-overwrite_original", "-q", "-q", "-n", "-m", *words, before)
    photo = read_photo(before)
    pixels = photo.pixels.copy()
    pixels[20:60, 30:90] = 255 - pixels[20:60, 30:90]
    write_photo(photo.edited(pixels), after)
    write_photo(photo.edited(pixels).stripped(), before.with_name(f"stripped.{ENDINGS[request.param]}"))
    return request.param, before, after


def test_the_table_is_true(edited, table):
    format_, before, after = edited
    was, now = tags(before), tags(after)
    assert set(VALUES) | {"ICC_Profile:ProfileDescription", "EXIF:ThumbnailImage"} == set(table)
    for tag, row in table.items():
        state = row[format_]
        if state == "none":
            assert tag not in was or tag.startswith("EXIF:Thumb"), tag
            continue
        assert tag in was, tag
        if state == "kept":
            assert now.get(tag) == was[tag], tag
        elif state == "lost":
            assert tag not in now, tag
        else:
            assert state == "new"
            assert now[tag] != was[tag]
    assert "compositeWithTrainedAlgorithmicMedia" in str(now["XMP-iptcExt:DigitalSourceType"])


@pytest.mark.parametrize("edited", ["JPEG"], indirect=True)
def test_the_thumbnail_shows_the_edit(edited):
    _, before, after = edited
    data = base64.b64decode(tags(after)["EXIF:ThumbnailImage"].removeprefix("base64:"))
    shown = np.asarray(Image.open(BytesIO(data)).resize((128, 96))).astype(int)
    assert max(Image.open(BytesIO(data)).size) == 64
    new, old = read_photo(after).pixels.astype(int), read_photo(before).pixels.astype(int)
    assert np.abs(shown - new).mean() < 6
    assert np.abs(shown - old)[25:55, 35:85].mean() > 20


def test_stripped(edited, table):
    _, before, after = edited
    found = tags(after.with_name(f"stripped{after.suffix}"))
    assert not {tag for tag in table if tag != "ICC_Profile:ProfileDescription"} & set(found)
    assert not [tag for tag in found if tag.startswith("GPS")]
    assert found["ICC_Profile:ProfileDescription"] == tags(before)["ICC_Profile:ProfileDescription"]
    assert "compositeWithTrainedAlgorithmicMedia" in str(found["XMP-iptcExt:DigitalSourceType"])


def test_files_are_valid(edited):
    _, before, after = edited
    assert [w for w in exiftool("-validate", "-a", "-warning", after).splitlines() if "offset" in w.lower()] == []
    with Image.open(after) as new, Image.open(before) as old:
        assert new.size == old.size
