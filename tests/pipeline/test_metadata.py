import re
import struct
import xml.etree.ElementTree as ET
from io import BytesIO

import pytest
from PIL import Image

from pipeline.metadata import DIGITAL_SOURCE_TYPE, IPTC_EXT, META, RDF, mark_edited, refresh, upright

SOURCE = f"{{{IPTC_EXT}}}DigitalSourceType"


def description(packet):
    return ET.fromstring(packet).find(f"{{{RDF}}}RDF/{{{RDF}}}Description")


def exif(orientation, order):
    tags = Image.Exif()
    tags.endian = order
    tags[0x0112] = orientation
    tags[0x010E] = "a description"
    tags.get_ifd(0x8769)[0x927C] = b"maker note with offsets"
    return tags.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_reset_and_no_other_byte_changes(order):
    before = exif(6, order)
    after = upright(before)
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert len(changed) == 1
    tags = Image.Exif()
    tags.load(after)
    assert tags[0x0112] == 1
    assert tags.get_ifd(0x8769)[0x927C] == b"maker note with offsets"
    assert upright(before[6:]) == after[6:]


@pytest.mark.parametrize("data", [b"", b"Exif\0\0", b"nonsense", b"II*\0" + struct.pack("<I", 9999), exif(6, "<")[:20]])
def test_unreadable_exif_is_left_alone(data):
    assert upright(data) == data


def test_a_new_packet_says_how_the_picture_was_made():
    packet = mark_edited(None)
    assert packet.startswith(b"<?xpacket begin=")
    assert description(packet).get(SOURCE) == DIGITAL_SOURCE_TYPE
    assert DIGITAL_SOURCE_TYPE.endswith("/compositeWithTrainedAlgorithmicMedia")


OLD = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:odd="http://example.com/odd/"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="8" odd:key="kept"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType="old">
<dc:title>kept too</dc:title></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def test_what_a_packet_said_is_kept():
    packet = mark_edited(OLD + b"\0" * 20)
    found = description(packet)
    assert found.get(SOURCE) == DIGITAL_SOURCE_TYPE
    assert found.get("{http://example.com/odd/}key") == "kept"
    assert found.find("{http://purl.org/dc/elements/1.1/}title").text == "kept too"
    assert found.get("{http://ns.adobe.com/tiff/1.0/}Orientation") == "1"
    assert b"odd:key" in packet
    assert mark_edited(packet) == packet


GOOGLE = "http://ns.google.com/photos/1.0"
BESIDE = f"""<x:xmpmeta xmlns:x="{META}"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about=""
 xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"
 xmlns:GCamera="{GOOGLE}/camera/" GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" GCamera:MicroVideoOffset="9"
 GCamera:SpecialTypeID="kept" xmlns:GDepth="{GOOGLE}/depthmap/" GDepth:Near="1" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="0123456789ABCDEF0123456789ABCDEF">
 <GImage:Data xmlns:GImage="{GOOGLE}/image/">OLD</GImage:Data><xmp:Rating>5</xmp:Rating>
 <xmp:Thumbnails><rdf:Alt><rdf:li>OLD</rdf:li></rdf:Alt></xmp:Thumbnails>
 <Container:Directory xmlns:Container="{GOOGLE}/container/">
 <rdf:Seq><rdf:li>OLD</rdf:li></rdf:Seq></Container:Directory>
</rdf:Description></rdf:RDF></x:xmpmeta>""".encode()


@pytest.mark.parametrize("extended", [True, False])
def test_what_a_packet_said_of_pictures_and_films_beside_the_picture_goes(extended):
    packet = mark_edited(BESIDE, extended=extended)
    found = description(packet)
    names = {re.sub(r".*\}", "", name) for name in [*found.attrib, *(child.tag for child in found)]}
    kept = {"about", "DigitalSourceType", "SpecialTypeID", "Rating"}
    assert names == kept | ({"HasExtendedXMP"} if extended else set())
    assert b"OLD" not in packet


def test_entities_are_not_expanded():
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(12)
    )
    packet = mark_edited(bomb + b"]><x>&m;</x>")
    assert len(packet) < 2000
    assert description(packet).get(SOURCE) == DIGITAL_SOURCE_TYPE


def test_a_packet_that_is_no_xml_is_replaced():
    assert description(mark_edited(b"not <xml")).get(SOURCE) == DIGITAL_SOURCE_TYPE


def test_a_packet_that_is_nested_too_deeply_is_replaced():
    deep = b"<a>" * 3000 + b"</a>" * 3000
    packet = f'<x:xmpmeta xmlns:x="{META}"><rdf:RDF xmlns:rdf="{RDF}">'.encode() + deep + b"</rdf:RDF></x:xmpmeta>"
    assert mark_edited(packet) == mark_edited(None)


def with_thumbnail(order, *, room=900):
    """EXIF with a maker note, sizes, and a thumbnail of 40 x 30 px in `room` bytes."""
    out = BytesIO()
    Image.new("RGB", (40, 30), "red").save(out, "JPEG", quality=50)
    picture = out.getvalue().ljust(room, b"\0")
    entries = [(0x8769, 4, 1, 38), (0x0112, 3, 1, 6)]
    first = struct.pack(order + "H", 2)
    for tag, kind, count, value in sorted(entries):
        first += struct.pack(order + "HHI", tag, kind, count)
        first += struct.pack(order + ("I" if kind == 4 else "HH"), *([value] if kind == 4 else [value, 0]))
    exif_ifd = struct.pack(order + "H", 3)
    exif_ifd += struct.pack(order + "HHII", 0x927C, 7, 12, 80)
    exif_ifd += struct.pack(order + "HHII", 0xA002, 4, 1, 4000) + struct.pack(order + "HHIHH", 0xA003, 3, 1, 3000, 0)
    second = struct.pack(order + "H", 2)
    second += struct.pack(order + "HHII", 0x0201, 4, 1, 130) + struct.pack(order + "HHII", 0x0202, 4, 1, room)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    data = head + first + struct.pack(order + "I", 92)  # 8 + 30 = 38
    data += exif_ifd + bytes(4)  # 38 + 42 = 80
    data += b"a maker note"  # 92
    data += second + bytes(4)
    return b"Exif\0\0" + data.ljust(130, b"\0") + picture


@pytest.mark.parametrize("order", ["<", ">"])
def test_sizes_and_thumbnail_are_refreshed_and_no_other_byte_changes(order):
    before = with_thumbnail(order)
    asked = []

    def thumbnail(side, room):
        asked.append((side, room))
        return b"\xff\xd8 a new one"

    after = refresh(before, 1000, 2000, thumbnail)
    assert asked == [(40, 900)]
    assert len(after) == len(before)
    assert after[6 + 130 :] == b"\xff\xd8 a new one".ljust(900, b"\0")
    tags = Image.Exif()
    tags.load(after)
    assert tags.get_ifd(0x8769)[0xA002] == 1000
    assert tags.get_ifd(0x8769)[0xA003] == 2000
    assert tags.get_ifd(0x8769)[0x927C] == b"a maker note"
    assert struct.unpack_from(order + "I", after, 6 + 114) == (12,)  # the thumbnail's length
    assert struct.unpack_from(order + "I", after, 6 + 34) == (92,)  # where its directory is
    assert tags[0x0112] == 6  # which is for `upright`
    changed = [i for i, (a, b) in enumerate(zip(before[:136], after[:136], strict=True)) if a != b]
    assert len(changed) <= 2 + 2 + 4


def test_a_thumbnail_that_does_not_fit_is_taken_out():
    after = refresh(with_thumbnail("<"), 1000, 2000, lambda side, room: b"")
    assert after[6 + 130 :] == bytes(900)
    assert struct.unpack_from("<I", after, 6 + 34) == (0,)


def test_what_is_wrong_elsewhere_keeps_no_old_thumbnail():
    astray = bytearray(with_thumbnail("<"))
    at = astray.index(struct.pack("<HHI", 0x8769, 4, 1)) + 8
    astray[at : at + 4] = struct.pack("<I", 10**6)  # beyond the end
    after = refresh(bytes(astray), 1000, 2000, lambda side, room: b"\xff\xd8 a new one")
    assert after[6 + 130 :] == b"\xff\xd8 a new one".ljust(900, b"\0")
    wide = with_thumbnail("<")  # its height is a SHORT
    after = refresh(wide, 1000, 70000, lambda side, room: b"\xff\xd8 a new one")
    assert after[6 + 130 :] == b"\xff\xd8 a new one".ljust(900, b"\0")
    tags = Image.Exif()
    tags.load(after)
    assert (tags.get_ifd(0x8769)[0xA002], tags.get_ifd(0x8769)[0xA003]) == (1000, 3000)
    beyond = bytearray(wide)
    beyond[6 + 34 : 6 + 38] = struct.pack("<I", 10**6)
    after = refresh(bytes(beyond), 1000, 2000, lambda side, room: b"new")
    assert struct.unpack_from("<I", after, 6 + 34) == (0,)


@pytest.mark.parametrize("cut", [0, 5, 20, 60, 110, 400])
def test_cut_exif_is_left_alone_or_loses_its_thumbnail(cut):
    data = with_thumbnail("<")[:cut]
    after = refresh(data, 1000, 2000, lambda side, room: b"new")
    assert len(after) == len(data)
    assert b"new" not in after
