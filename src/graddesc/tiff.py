"""TIFF files beside their pixels: tags read and written as they are, byte for byte; and pixels of every kind written.

A directory is read without a look at the meaning of its tags, so that those that nobody here knows are handed on too.
What describes how the old file stored its pixels is left to the new one.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["GEOGRAPHIC", "NODATA", "STRUCTURAL", "Directory", "Tag", "directories", "encode", "resolution", "tag_name"]

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_UNITS = {**_SIZES, 5: 4, 10: 4}  # bytes that change places with the byte order
_BIG_KINDS = (16, 17, 18)  # of BigTIFF alone
_POINTERS = (13, 18)
_ASCII, _SHORT, _LONG, _RATIONAL, _UNDEFINED, _LONG8 = 2, 3, 4, 5, 7, 16

EXIF, GPS = 0x8769, 0x8825
_INTEROPERABILITY = 0xA005
ORIENTATION, DESCRIPTION, NODATA, PROFILE = 274, 270, 42113, 34675
RESOLUTIONS = (282, 283, 296)
_MEANING, _SAMPLES, _PLANAR, _GREY, _RGB = 262, 277, 284, 1, 2
SUBDIRECTORIES, XMP, DEPTH = 330, 700, 32997
GEOGRAPHIC = (33550, 33922, 34264, 34735, 34736, 34737)
"""The tags of GeoTIFF that say where pixels lie, which another number or order of pixels makes untrue."""

STRUCTURAL = frozenset(
    (
        *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, ORIENTATION, 277, 278, 279, 284),
        *(288, 289, 292, 293, 317, 320, 321, 322, 323, 324, 325, 332, 333, 334, 336, 338, 339),
        *(342, 347, DEPTH, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, EXIF, GPS, PROFILE, 40965),
    )
)
"""Tags that tell how the pixels of a file are stored, or where another directory is."""

_NAMES = {
    33550: "ModelPixelScale",
    33922: "ModelTiepoint",
    34264: "ModelTransformation",
    34735: "GeoKeyDirectory",
    34736: "GeoDoubleParams",
    34737: "GeoAsciiParams",
    42112: "GDAL_METADATA",
    NODATA: "GDAL_NODATA",
    50838: "IJMetadataByteCounts",
    50839: "IJMetadata",
    SUBDIRECTORIES: "SubIFDs",
}
_STALE = (40962, 40963, _INTEROPERABILITY)  # of EXIF: the old file's width and height, and what is elsewhere

_MOST_DIRECTORIES = 100_000
_LONGEST = 2**28  # bytes of a tag


class Tag(NamedTuple):
    """An entry of a directory: its kind is a number of TIFF's, its data are so many values, little-endian."""

    kind: int
    length: int
    data: bytes

    @property
    def numbers(self) -> tuple[int, ...]:
        """The values of a tag of integers."""
        return tuple(np.frombuffer(self.data, f"<u{_SIZES[self.kind]}").tolist()) if self.kind in _SIZES else ()

    @property
    def text(self) -> str:
        """The text of a tag, without what ends it."""
        return self.data.split(b"\0")[0].decode("utf-8", "replace")


@dataclass
class Directory:
    """The tags of a page by their numbers, those of its EXIF and GPS directories, and what could not be read."""

    tags: dict[int, Tag] = field(default_factory=dict)
    below: dict[int, dict[int, Tag]] = field(default_factory=dict)
    unread: tuple[int, ...] = ()

    def first(self, number: int, default: int) -> int:
        """The first value of a tag of integers."""
        tag = self.tags.get(number)
        return tag.numbers[0] if tag is not None and tag.numbers else default


def tag_name(number: int) -> str:
    """Return the name of a tag, or its number."""
    from PIL import TiffTags

    known = TiffTags.TAGS_V2.get(number)
    return _NAMES.get(number) or (known.name if known is not None else f"TIFF tag {number}")


class _Reader:
    """A TIFF file's way of writing numbers and directories."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0, io.SEEK_END)
        self._size = file.tell()
        self._most = 2 * self._size + 2**16  # bytes of all tags: many may share their data, but not all
        head = self._bytes(0, 16)
        self.order = {b"II": "<", b"MM": ">"}[head[:2]]
        version, self.first = struct.unpack(self.order + "HI", head[2:8])
        self._big = version == 43
        if self._big:
            (self.first,) = struct.unpack(self.order + "Q", head[8:16])
        elif version != 42:
            raise ValueError("no TIFF file")

    def _bytes(self, start: int, count: int) -> bytes:
        if start > 0 and start + count > self._size:
            raise ValueError("beyond the end of the file")
        self._file.seek(start)
        return self._file.read(count)

    def directory(self, start: int) -> tuple[dict[int, Tag], list[int], int]:
        """The tags of a directory, the numbers of those that cannot be read, and where the next directory is."""
        counter, entry, word = ("Q", 20, 8) if self._big else ("H", 12, 4)
        (count,) = struct.unpack(self.order + counter, self._bytes(start, struct.calcsize(counter)))
        if count > 65536:
            raise ValueError("more tags than there may be")
        start += struct.calcsize(counter)
        table = self._bytes(start, count * entry + word)
        tags: dict[int, Tag] = {}
        unread: list[int] = []
        for k in range(count):
            number, kind, length = struct.unpack_from(self.order + ("HHQ" if self._big else "HHI"), table, k * entry)
            size = length * _SIZES.get(kind, 0)
            try:
                if not 0 < size <= _LONGEST:
                    raise ValueError("no such kind, or no such length")
                where = k * entry + entry - word
                if size <= word:
                    data = table[where : where + size]
                else:
                    (offset,) = struct.unpack_from(self.order + ("Q" if self._big else "I"), table, where)
                    self._most -= size
                    if offset == 0 or self._most < 0:
                        raise ValueError("no place, or more tags than a file can hold")
                    data = self._bytes(offset, size)
            except ValueError:
                unread.append(number)
                continue
            if kind in _POINTERS and number not in (EXIF, GPS, SUBDIRECTORIES, _INTEROPERABILITY):
                unread.append(number)  # where something is in this file, it is not in another
                continue
            if self.order == ">" and _UNITS[kind] > 1:
                data = np.frombuffer(data, f">u{_UNITS[kind]}").astype(f"<u{_UNITS[kind]}").tobytes()
            tags.setdefault(number, Tag(kind, length, data))
        (following,) = struct.unpack_from(self.order + ("Q" if self._big else "I"), table, count * entry)
        return tags, unread, following


def directories(file: BinaryIO) -> list[Directory]:
    """Read all directories of a TIFF file, or of the block of EXIF in another.

    Raises
    ------
    ValueError, KeyError, struct.error
        If it is none, or damaged.
    """
    reader, seen = _Reader(file), set()
    found: list[Directory] = []
    start = reader.first
    while start and start not in seen and len(found) < _MOST_DIRECTORIES:
        seen.add(start)
        try:
            tags, unread, start = reader.directory(start)
        except (ValueError, struct.error):
            if not found:
                raise
            break  # what damages the end of a chain leaves its beginning
        below = {}
        for pointer in (EXIF, GPS):
            if pointer in tags and len(tags[pointer].data) >= 4:
                try:
                    inner, others, _ = reader.directory(tags[pointer].numbers[0])
                except (ValueError, struct.error):
                    others = [pointer]
                else:
                    below[pointer] = {number: tag for number, tag in inner.items() if number not in _STALE}
                unread += [number for number in others if number not in _STALE]
        found.append(Directory(tags, below, tuple(n for n in unread if n not in STRUCTURAL)))
    return found


# ---- writing ----


def _tag(kind: int, *values: int) -> Tag:
    return Tag(kind, len(values), np.array(values, f"<u{_SIZES[kind]}").tobytes())


def resolution(dpi: tuple[float, float]) -> dict[int, Tag]:
    """Return the tags of a resolution in pixels for each inch."""
    from fractions import Fraction  # with decimal, for the few files that have a resolution and are none of TIFF

    ratios = [Fraction(value).limit_denominator(2**16) for value in dpi]
    tags = [Tag(_RATIONAL, 1, struct.pack("<II", ratio.numerator, ratio.denominator)) for ratio in ratios]
    return dict(zip(RESOLUTIONS, [*tags, _tag(_SHORT, 2)], strict=True))


def _layout(
    shape: tuple[int, ...], dtype: np.dtype[Any], alpha: bool, profile: bytes | None, held: Directory
) -> dict[int, Tag]:
    """The tags that tell how the pixels of a page are stored; bands are meant as they were."""
    rows, cols = shape[:2]
    samples = shape[2] if len(shape) == 3 else 1
    meaning = _RGB if samples - alpha == 3 else _GREY
    if samples - alpha >= 3 and held.first(_SAMPLES, 1) == samples and held.first(_MEANING, 0) in (_GREY, _RGB):
        meaning = held.first(_MEANING, _GREY)
    others = samples - alpha - (3 if meaning == _RGB else 1)  # beside grey or RGB, and alpha
    tags = {
        256: _tag(_LONG, cols),
        257: _tag(_LONG, rows),
        258: _tag(_SHORT, *[8 * dtype.itemsize] * samples),
        259: _tag(_SHORT, 1),
        _MEANING: _tag(_SHORT, meaning),
        _SAMPLES: _tag(_SHORT, samples),
        278: _tag(_LONG, rows),
        339: _tag(_SHORT, *[{"u": 1, "i": 2, "f": 3}[dtype.kind]] * samples),
    }
    if alpha or others:
        tags[338] = _tag(_SHORT, *[2] * alpha, *[0] * others)  # 2: not multiplied into the colours, 0: nothing is said
    if profile:
        tags[PROFILE] = Tag(_UNDEFINED, len(profile), profile)
    return tags


class _Writer:
    """Directories and their data, one after the other, little-endian."""

    def __init__(self, buffer: io.BytesIO, big: bool) -> None:
        self._buffer, self.big = buffer, big
        self._word = "<Q" if big else "<I"
        buffer.write(b"II+\0\x08\0\0\0" + bytes(8) if big else b"II*\0" + bytes(4))
        self._link = 8 if big else 4  # where the place of the next directory is to be written

    def data(self, data: bytes | memoryview) -> int:
        """Write data at an even place, and return it."""
        self._buffer.seek(0, io.SEEK_END)
        if self._buffer.tell() % 2:
            self._buffer.write(b"\0")
        place = self._buffer.tell()
        self._buffer.write(data)
        return place

    def directory(self, tags: dict[int, Tag], linked: bool) -> int:
        """Write a directory, and return its place."""
        width = 8 if self.big else 4
        table = struct.pack("<Q" if self.big else "<H", len(tags))
        for number, tag in sorted(tags.items()):
            table += struct.pack("<HHQ" if self.big else "<HHI", number, tag.kind, tag.length)
            if len(tag.data) <= width:
                table += tag.data.ljust(width, b"\0")
            else:
                table += struct.pack(self._word, self.data(tag.data))
        place = self.data(table + bytes(width))
        if linked:
            self._buffer.seek(self._link)
            self._buffer.write(struct.pack(self._word, place))
            self._link = place + len(table)
        return place


def encode(
    pages: Sequence[NDArray[Any]], held: Sequence[Directory], *, alpha: bool, profile: bytes | None
) -> memoryview:
    """Return the bytes of a TIFF file, uncompressed; as BigTIFF where it is long, or what is held needs it.

    Parameters
    ----------
    pages : sequence of ndarray, shape (rows, cols) or (rows, cols, samples), of integers or floats
        The pixels.
    held : sequence of Directory
        What each page says beside them; as many as pages, or none.
    alpha : bool
        Whether the last sample is the opacity.
    profile : bytes or None
        The colour profile.
    """
    size = sum(page.nbytes for page in pages) + sum(len(tag.data) for one in held for tag in one.tags.values())
    big = size > 2**32 - 2**24 or any(tag.kind in _BIG_KINDS for one in held for tag in one.tags.values())
    buffer = io.BytesIO()
    writer = _Writer(buffer, big)
    described = 0  # pages of which tifffile's description of one tells
    for k, page in enumerate(pages):
        stored = np.ascontiguousarray(page, page.dtype.newbyteorder("<"))
        tags = dict(_kept(held[k])) if held else {}
        if k < described:
            tags.pop(DESCRIPTION, None)  # what the first of these pages says goes for it
        elif (shaped := _shaped(held[k] if held else Directory(), page.shape, len(pages) - k)) is not None:
            tags[DESCRIPTION], count = shaped
            described = k + count
        if held:
            for pointer, inner in held[k].below.items():
                tags[pointer] = _tag(_LONG8 if big else _LONG, writer.directory(inner, linked=False))
        tags |= _layout(page.shape, page.dtype, alpha, profile, held[k] if held else Directory())
        tags[273] = _tag(_LONG8 if big else _LONG, writer.data(stored.data.cast("B")))
        tags[279] = _tag(_LONG8 if big else _LONG, page.nbytes)
        writer.directory(tags, linked=True)
    return buffer.getbuffer()


def _shaped(held: Directory, page: tuple[int, ...], left: int) -> tuple[Tag, int] | None:
    """What tifffile says in a page's description of the shape of some pages, made true, and of how many.

    page is the shape of those that are written, of which so many are left; None if tifffile says nothing.
    """
    tag = held.tags.get(DESCRIPTION)
    text = "" if tag is None else tag.text
    if tag is None or not text.startswith('{"shape": ['):
        return None
    import json

    try:
        told = json.loads(text)
        shape = [int(side) for side in told["shape"]]
    except (ValueError, TypeError, OverflowError):
        return None
    rows, cols, samples = held.first(257, 0), held.first(256, 0), held.first(_SAMPLES, 1)
    was = [rows, cols, samples] if held.first(_PLANAR, 1) == 1 else [samples, rows, cols]
    if samples == 1:
        single = shape[-2:] != [rows, cols] and len(page) == 2 and shape[-1:] == [1]
        was, page = ([rows, cols, 1], (*page, 1)) if single else ([rows, cols], page)
    outer = shape[: -len(was)]
    known = shape[len(outer) :] == was and math.prod(outer) <= left
    outer = outer if known else []
    new = {name: value for name, value in told.items() if name != "truncated"}  # that all pages are behind the first
    new["shape"] = [*outer, *page]
    if "axes" in told and new["shape"] != shape:
        axes = told["axes"]
        if known and isinstance(axes, str) and len(axes) == len(shape):
            new["axes"] = axes[: len(outer)] + ("YX" if len(page) == 2 else "YXS")
        else:
            del new["axes"]
    if new != told:
        data = json.dumps(new).encode() + b"\0"
        tag = Tag(_ASCII, len(data), data)
    return tag, math.prod(outer)


def _kept(directory: Directory) -> Iterator[tuple[int, Tag]]:
    """The tags of a page that another file can say of its own."""
    for number, tag in directory.tags.items():
        if number not in STRUCTURAL and number != SUBDIRECTORIES:
            yield number, tag
