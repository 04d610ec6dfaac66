"""EXIF and XMP of an edited photo: kept as they were, but for the orientation and the statement that it was edited.

EXIF is patched in place instead of written anew: maker notes hold offsets that a new layout would break.
"""

import struct
import xml.etree.ElementTree as ET
from io import BytesIO

ORIENTATION = 0x0112

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META = "adobe:ns:meta/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
IPTC_EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
PREFIXES = {"rdf": RDF, "x": META, "tiff": TIFF, "Iptc4xmpExt": IPTC_EXT}

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

_PACKET_BEGIN = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_PACKET_END = b'\n<?xpacket end="w"?>'


def upright(exif: bytes) -> bytes:
    """Return EXIF whose orientation is 1, with every other byte as it was.

    EXIF that cannot be read is returned as it is.
    """
    head = 6 if exif.startswith(b"Exif\0\0") else 0
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[head : head + 4])
    if order is None:
        return exif
    out = bytearray(exif)
    try:
        (start,) = struct.unpack_from(order + "I", out, head + 4)
        (count,) = struct.unpack_from(order + "H", out, head + start)
        for i in range(count):
            at = head + start + 2 + 12 * i
            tag, kind, n = struct.unpack_from(order + "HHI", out, at)
            if tag == ORIENTATION and kind == 3 and n == 1:
                struct.pack_into(order + "H", out, at + 8, 1)
    except struct.error:
        return exif
    return bytes(out)


def mark_edited(xmp: bytes | None) -> bytes:
    """Return an XMP packet that says the picture is a composite with trained algorithmic media.

    What the packet said before is kept, but for an orientation, which becomes 1. A packet that is no XML is
    replaced. The vocabulary is IPTC's Digital Source Type.
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
        description.attrib.pop(source_type, None)
        for child in description.findall(source_type):
            description.remove(child)
        if orientation in description.attrib:
            description.set(orientation, "1")
        for child in description.findall(orientation):
            child.text = "1"
    descriptions[0].set(source_type, DIGITAL_SOURCE_TYPE)
    return _PACKET_BEGIN + ET.tostring(root, encoding="utf-8") + _PACKET_END


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
