"""torch's zip files: data.pkl, and a member for each storage. Nothing is ever unpacked to a disk."""

import struct
import zipfile
from typing import IO, Any

from weights.formats import unpickle
from weights.formats.errors import FormatError, shown
from weights.formats.stubs import Storage
from weights.formats.tensors import storage_of

MAX_MEMBERS = 20_000
MAX_DIRECTORY = 8 << 20  # bytes of the list of members


def read_zip(data: memoryview, file: IO[bytes]) -> Any:
    """Read a file of torch.save.

    Args:
        data: the whole file.
        file: the same, open; zipfile reads the list of members through it.

    Raises:
        FormatError: it is damaged, or holds anything that is not allowed.
    """
    members = _members(data, file)
    pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise FormatError(f"it is a zip archive with {len(pickles)} members called data.pkl, where torch writes one")
    prefix = pickles[0].removesuffix("data.pkl")
    order = members.get(f"{prefix}byteorder")
    if order is not None and bytes(_content(data, order)) != b"little":
        raise FormatError("it was written by a big-endian machine")

    def find(key: str, count: int) -> memoryview:
        member = members.get(f"{prefix}data/{key}")
        if member is None:
            raise FormatError(f"its storage {shown(key)} is missing")
        content = _content(data, member)
        if len(content) != count:
            raise FormatError(f"its storage {shown(key)} has {len(content)} bytes instead of {count}")
        return content

    def persistent(pid: Any) -> Storage:
        return storage_of(pid, find)

    value, _ = unpickle.load(_content(data, members[pickles[0]]), persistent=persistent)
    return value


def _members(data: memoryview, file: IO[bytes]) -> dict[str, zipfile.ZipInfo]:
    tail = bytes(data[-(1 << 16) - 22 :])
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        raise FormatError("it is a zip archive that is cut short")
    size = _directory_bytes(data, len(data) - len(tail) + end)
    if size > MAX_DIRECTORY:
        raise FormatError(f"it is a zip archive with a list of members of {size} bytes")
    try:
        with zipfile.ZipFile(file) as archive:
            found = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error, UnicodeError) as error:
        raise FormatError(f"it is a damaged zip archive ({error})") from error
    if len(found) > MAX_MEMBERS or len({info.filename for info in found}) != len(found):
        raise FormatError("it is a zip archive with too many members, or with two of one name")
    return {info.filename: info for info in found}


def _directory_bytes(data: memoryview, end: int) -> int:
    """Return the bytes of the list of members, by the record at `end` and by that of ZIP64.

    zipfile believes the latter wherever there is one, whatever the former says; some versions look for it right
    before its locator, others where the locator says. So the largest of what they say counts.
    """
    (size,) = struct.unpack_from("<I", data, end + 12)
    locator = end - 20
    if locator < 0 or bytes(data[locator : locator + 4]) != b"PK\x06\x07":
        return int(size)
    sizes = [0 if size == 0xFFFFFFFF else size]
    places = (locator - 56, struct.unpack_from("<Q", data, locator + 8)[0])
    found = [at for at in places if 0 <= at <= len(data) - 56 and bytes(data[at : at + 4]) == b"PK\x06\x06"]
    return max(sizes + [struct.unpack_from("<Q", data, at + 40)[0] for at in found])


def _content(data: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """Return a member in place; torch compresses nothing."""
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
        raise FormatError(f"its member {shown(info.filename)} is compressed or encrypted, which torch never does")
    at = info.header_offset
    if not 0 <= at <= len(data) - 30 or bytes(data[at : at + 4]) != b"PK\x03\x04":
        raise FormatError(f"its member {shown(info.filename)} is not where it should be")
    name, extra = struct.unpack("<HH", data[at + 26 : at + 30])
    start = at + 30 + name + extra
    if info.file_size > len(data) - start:
        raise FormatError(f"its member {shown(info.filename)} is cut short")
    return data[start : start + info.file_size]
