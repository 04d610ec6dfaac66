"""EXIF, XMP and Photoshop's data of an edited photo: kept as they were, but for what the edit makes untrue.

EXIF is patched in place instead of written anew: maker notes hold offsets that a new layout would break.
"""

import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

IMAGE_WIDTH, IMAGE_LENGTH, ORIENTATION = 0x0100, 0x0101, 0x0112
EXIF_IFD, PIXEL_WIDTH, PIXEL_HEIGHT = 0x8769, 0xA002, 0xA003
THUMBNAIL_OFFSET, THUMBNAIL_LENGTH = 0x0201, 0x0202
PHOTOSHOP_THUMBNAILS = (1033, 1036)

SHORT, LONG = 3, 4
_CODES = {SHORT: "H", LONG: "I"}

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META = "adobe:ns:meta/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
IPTC_EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
PREFIXES = {"rdf": RDF, "x": META, "tiff": TIFF, "Iptc4xmpExt": IPTC_EXT}

NOTE = "http://ns.adobe.com/xmp/note/"
XMP_THUMBNAIL = "http://ns.adobe.com/xap/1.0/g/img/"
PICTURES = ("http://ns.google.com/photos/1.0/image/", "http://ns.google.com/photos/1.0/depthmap/")
"""Name spaces of XMP whose properties hold pictures: the one before an effect, and depth."""
UNTRUE = (
    *(f"{{{uri}}}" for uri in PICTURES),
    f"{{{XMP_THUMBNAIL}}}",
    "{http://ns.adobe.com/xap/1.0/}Thumbnails",
    "{http://ns.adobe.com/hdr-gain-map/1.0/}",
    "{http://ns.apple.com/HDRGainMap/1.0/}",
    "{http://ns.google.com/photos/1.0/container/}",
    "{http://ns.google.com/photos/dd/1.0/",
    "{http://ns.google.com/photos/1.0/camera/}MicroVideo",
    "{http://ns.google.com/photos/1.0/camera/}MotionPhoto",
)
"""How the names of properties begin that tell of gain maps, films, depth and thumbnails: what an edit leaves out."""

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

_PACKET_BEGIN = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_PACKET_END = b'\n<?xpacket end="w"?>'


@dataclass(frozen=True)
class _Entry:
    """An entry of an EXIF directory: its tag, type, count, and where its value or the value's offset stands."""

    tag: int
    kind: int
    count: int
    at: int


class _Exif:
    """EXIF as bytes that can be changed in place."""

    def __init__(self, data: bytes) -> None:
        """Take EXIF, with or without its six bytes of head.

        Raises:
            ValueError: it does not begin as EXIF does.
        """
        self.head = 6 if data.startswith(b"Exif\0\0") else 0
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[self.head : self.head + 4])
        if order is None:
            raise ValueError("no EXIF")
        self.order, self.data = order, bytearray(data)

    def integer(self, at: int, kind: int = LONG) -> int:
        """Return the number of a type at a place, seen from the head."""
        (value,) = struct.unpack_from(self.order + _CODES[kind], self.data, self.head + at)
        return int(value)

    def put(self, at: int, value: int, kind: int = LONG) -> None:
        """Write a number of a type to a place."""
        struct.pack_into(self.order + _CODES[kind], self.data, self.head + at, value)

    def entries(self, start: int) -> list[_Entry]:
        """Return a directory's entries."""
        places = [start + 2 + 12 * i for i in range(self.integer(start, SHORT))]
        return [_Entry(self.integer(p, SHORT), self.integer(p + 2, SHORT), self.integer(p + 4), p + 8) for p in places]

    def find(self, start: int, tag: int) -> _Entry | None:
        """Return a directory's entry of one number, of that tag."""
        found = (e for e in self.entries(start) if e.tag == tag and e.count == 1 and e.kind in _CODES)
        return next(found, None)

    def value(self, entry: _Entry) -> int:
        """Return an entry's number."""
        return self.integer(entry.at, entry.kind)

    def set(self, start: int, tag: int, value: int) -> None:
        """Change the number of a directory's entry, where there is one that can hold it."""
        entry = self.find(start, tag)
        if entry and value < 1 << 8 * struct.calcsize(_CODES[entry.kind]):
            self.put(entry.at, value, entry.kind)


def upright(exif: bytes) -> bytes:
    """Return EXIF whose orientation is 1, with every other byte as it was.

    EXIF that cannot be read is returned as it is.
    """
    try:
        tags = _Exif(exif)
        tags.set(tags.integer(4), ORIENTATION, 1)
    except (struct.error, ValueError):
        return exif
    return bytes(tags.data)


def refresh(exif: bytes, width: int, height: int, thumbnail: Callable[[int, int], bytes]) -> bytes:
    """Return EXIF that fits an edited picture: its width and height, and a new thumbnail in the old one's place.

    A thumbnail that does not fit where the old one was is taken out of the directory, and its bytes zeroed; one that
    cannot be read is taken out as well. Every other byte stays, and so does what cannot be read.

    Args:
        exif: with or without its head.
        width: of the picture in pixels.
        height: likewise.
        thumbnail: makes a JPEG of the edited picture, of a longer side of so many pixels and at most so many
            bytes; an empty one where it cannot.
    """
    try:
        tags = _Exif(exif)
        first = tags.integer(4)
        tags.set(first, IMAGE_WIDTH, width)
        tags.set(first, IMAGE_LENGTH, height)
        link = first + 2 + 12 * len(tags.entries(first))
        second = tags.integer(link)
    except (struct.error, ValueError):
        return exif
    with suppress(struct.error):
        pointer = tags.find(first, EXIF_IFD)
        if pointer:
            tags.set(tags.value(pointer), PIXEL_WIDTH, width)
            tags.set(tags.value(pointer), PIXEL_HEIGHT, height)
    if second:
        try:
            _refresh_thumbnail(tags, link, second, thumbnail)
        except struct.error:
            tags.put(link, 0)
    return bytes(tags.data)


def _refresh_thumbnail(tags: _Exif, link: int, second: int, thumbnail: Callable[[int, int], bytes]) -> None:
    """Put a new thumbnail into the second directory, to whose offset `link` points; or take the directory out."""
    offset, length = tags.find(second, THUMBNAIL_OFFSET), tags.find(second, THUMBNAIL_LENGTH)
    if offset is None or length is None:
        tags.put(link, 0)  # a thumbnail that is no JPEG would show the picture before the edit
        return
    at, room = tags.head + tags.value(offset), tags.value(length)
    if at + room > len(tags.data):
        tags.put(link, 0)
        return
    new = thumbnail(_jpeg_side(bytes(tags.data[at : at + room])), room)
    tags.data[at : at + room] = new.ljust(room, b"\0")
    tags.set(second, ORIENTATION, 1)
    if new:
        tags.put(length.at, len(new), length.kind)
    else:
        tags.put(link, 0)


def _jpeg_side(data: bytes) -> int:
    """Return the longer side of a JPEG in pixels; EXIF's usual 160 where it cannot be read."""
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xC2:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return max(1, height, width)
        at += 2 + size
    return 160


def without_thumbnails(resources: bytes) -> bytes:
    """Return Photoshop's image resources without its thumbnails; what cannot be read stays."""
    out, at = b"", 0
    while resources[at : at + 4] == b"8BIM":
        name = resources[at + 6] + 1 if at + 6 < len(resources) else 1
        start = at + 6 + name + name % 2
        size = int.from_bytes(resources[start : start + 4], "big")
        end = start + 4 + size + size % 2
        if int.from_bytes(resources[at + 4 : at + 6], "big") not in PHOTOSHOP_THUMBNAILS:
            out += resources[at:end]
        at = end
    return out + resources[at:]


def mark_edited(xmp: bytes | None, *, extended: bool = True) -> bytes:
    """Return an XMP packet that says the picture is a composite with trained algorithmic media.

    What the packet said before is kept, but for an orientation, which becomes 1, and for what it says of pictures and
    films beside the picture, which show it before the edit. A packet that is no XML, or nested too deeply to be
    written again, is replaced. The vocabulary is IPTC's Digital Source Type.

    Args:
        xmp: the packet before.
        extended: the extended XMP stays to which the packet may point.
    """
    root = _parse(xmp) if xmp else None
    rdf = root if root is not None and root.tag == f"{{{RDF}}}RDF" else None
    if root is not None and rdf is None:
        rdf = root.find(f"{{{RDF}}}RDF")
    if root is None or rdf is None:
        root = ET.Element(f"{{{META}}}xmpmeta")
        rdf = ET.SubElement(root, f"{{{RDF}}}RDF")
    descriptions = rdf.findall(f"{{{RDF}}}Description")
    if not descriptions:
        descriptions = [ET.SubElement(rdf, f"{{{RDF}}}Description", {f"{{{RDF}}}about": ""})]
    source_type = f"{{{IPTC_EXT}}}DigitalSourceType"
    orientation = f"{{{TIFF}}}Orientation"
    for description in descriptions:
        _remove(description, (source_type, *UNTRUE, *(() if extended else (f"{{{NOTE}}}HasExtendedXMP",))))
        if orientation in description.attrib:
            description.set(orientation, "1")
        for child in description.findall(orientation):
            child.text = "1"
    descriptions[0].set(source_type, DIGITAL_SOURCE_TYPE)
    try:
        packet = ET.tostring(root, encoding="utf-8")
    except RecursionError:
        return mark_edited(None)
    return _PACKET_BEGIN + packet + _PACKET_END


def _remove(description: ET.Element, names: tuple[str, ...]) -> None:
    """Remove the properties of a description whose names begin so."""
    for name in [name for name in description.attrib if name.startswith(names)]:
        del description.attrib[name]
    for child in [child for child in description if child.tag.startswith(names)]:
        description.remove(child)


def holds_picture(xmp: bytes) -> bool:
    """Tell whether XMP has the name space of a picture or of depth, which show the photo before an edit."""
    return any(uri.encode() in xmp for uri in PICTURES)


def mark_alone(xmp: bytes | None) -> bytes | None:
    """Return a packet with nothing but the statement that the picture was edited; None where `xmp` has none."""
    edited = xmp is not None and b"compositeWithTrainedAlgorithmicMedia" in xmp
    return mark_edited(None) if edited else None


def _parse(xmp: bytes) -> ET.Element | None:
    """Parse a packet, keeping its name-space prefixes; None where it is no XML."""
    text = xmp.strip(b"\0 \n\r\t")
    try:
        for prefix, uri in PREFIXES.items():
            ET.register_namespace(prefix, uri)
        for _, (prefix, uri) in ET.iterparse(BytesIO(text), events=["start-ns"]):
            if prefix and not prefix.startswith("ns"):
                ET.register_namespace(prefix, uri)
        return ET.fromstring(text)
    except (ET.ParseError, ValueError):
        return None
