import struct
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

from pipeline.metadata import DIGITAL_SOURCE_TYPE, IPTC_EXT, RDF, mark_edited, upright

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


def test_entities_are_not_expanded():
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(12)
    )
    packet = mark_edited(bomb + b"]><x>&m;</x>")
    assert len(packet) < 2000
    assert description(packet).get(SOURCE) == DIGITAL_SOURCE_TYPE


def test_a_packet_that_is_no_xml_is_replaced():
    assert description(mark_edited(b"not <xml")).get(SOURCE) == DIGITAL_SOURCE_TYPE
