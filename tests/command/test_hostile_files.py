"""Thousands of damaged and forged files: an image or the one error, in good time, with nothing said beside it."""

import io
import struct
import time
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from raw_png import png

from graddesc import images

RNG = np.random.default_rng(11)
GREY = RNG.integers(0, 256, (19, 23), np.uint8)


def saved(array, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def as_tiff(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **{"photometric": "minisblack"} | options)
    return buffer.getvalue()


def as_npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


EXIF = Image.Exif()
EXIF[0x013B] = "Basho"
EXIF.get_ifd(0x8769)[0x9003] = "1689:05:16 06:00:00"
COLOUR = RNG.integers(0, 256, (19, 23, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (19, 23, 3), np.uint16)
WHOLE = {
    "png": saved(GREY, "PNG", exif=EXIF.tobytes(), dpi=(300, 300)),
    "deep png": png(19, 23, 16, 2, b"".join(b"\0" + row.tobytes() for row in DEEP.astype(">u2"))),
    "jpeg": saved(COLOUR, "JPEG", exif=EXIF.tobytes(), icc_profile=b"colours"),
    "bmp": saved(COLOUR, "BMP"),
    "gif": saved(GREY, "GIF"),
    "webp": saved(COLOUR, "WEBP", lossless=True),
    "pnm": saved(COLOUR, "PPM"),
    "tiff": saved(COLOUR, "TIFF", exif=EXIF.tobytes()),
    "float tiff": as_tiff(RNG.random((19, 23)), extratags=[(33550, "d", 3, (1.0, 2.0, 3.0), True)], compression="zlib"),
    "deep tiff": as_tiff(DEEP, photometric="rgb", compression="zlib"),
    "stack": as_tiff(RNG.integers(0, 9, (5, 19, 23), np.int16), byteorder=">"),
    "bigtiff": as_tiff(RNG.random((19, 23), np.float32), bigtiff=True, tile=(16, 16)),
    "imagej": as_tiff(RNG.integers(0, 9, (3, 19, 23), np.uint16), imagej=True),
    "npy": as_npy(DEEP),
}


@pytest.fixture
def hostile(tmp_path, capfd):
    """Read bytes: an image, or None for the one error; nothing is warned of or printed."""
    path, told = tmp_path / "hostile", []

    def read(data):
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                picture = images.read(path)
            except images.ImageFileError as error:
                told.append(str(error))
                return None
        assert picture.pixels.size <= 4 * images.MAX_PIXELS
        images.encode("out.tif", picture)  # what was read can be written
        return picture

    yield read
    assert all(message.startswith(f"{path}: ") and message.isprintable() for message in told)
    assert capfd.readouterr().out == ""


@pytest.mark.once
@pytest.mark.parametrize("kind", WHOLE)
def test_damaged_anywhere(hostile, kind):
    whole = WHOLE[kind]
    assert hostile(whole) is not None
    rng = np.random.default_rng(zlib.crc32(kind.encode()))
    extremes = np.frombuffer(struct.pack("<IIHHBBBB", 2**32 - 1, 2**31, 2**16 - 1, 2**15, 0, 1, 127, 255), np.uint8)
    for k in range(250):
        data = np.frombuffer(whole, np.uint8).copy()
        if k % 5 == 0:
            data = data[: rng.integers(0, len(data))]
        if len(data) > 12 and k % 5 in (1, 2):  # near the head, where sizes and offsets are
            at = rng.integers(4, min(len(data), 300) - 4, 2)
            for place in at:
                start = rng.integers(0, len(extremes) - 4)
                data[place : place + 4] = extremes[start : start + 4]
        if len(data) > 12 and k % 5 in (3, 4):
            data[rng.integers(0, min(len(data), 400 if k % 2 else len(data)), 3)] = rng.integers(0, 256, 3)
        hostile(data.tobytes())


@pytest.mark.parametrize("kind", ["tiff", "float tiff", "deep tiff", "stack", "bigtiff", "imagej"])
@pytest.mark.once
def test_every_entry_of_a_directory_forged(hostile, kind):
    whole = WHOLE[kind]
    order = "<" if whole[:2] == b"II" else ">"
    big = whole[2:4] in (b"+\0", b"\0+")
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), whole, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), whole, start)
    width, head = (20, 8) if big else (12, 2)
    for k in range(count):
        place = start + head + k * width
        for offset, code, values in [
            (0, "H", (0, 273, 33550, 34665, 65535)),
            (2, "H", (0, 1, 5, 12, 99)),
            (4, "Q" if big else "I", (0, 1, 2**16, 2**31, 2**32 - 1)),
            (12 if big else 8, "Q" if big else "I", (0, 1, start, len(whole), 2**32 - 1)),
        ]:
            for value in values:
                data = bytearray(whole)
                struct.pack_into(order + code, data, place + offset, value)
                hostile(bytes(data))


def test_directories_in_a_circle_end(hostile):
    data = bytearray(WHOLE["stack"])
    (start,) = struct.unpack_from(">I", data, 4)
    (count,) = struct.unpack_from(">H", data, start)
    struct.pack_into(">I", data, start + 2 + 12 * count, start)
    began = time.process_time()
    hostile(bytes(data))
    assert time.process_time() - began < 20


def forged_npy(header, data=b""):
    header = header.encode("latin1").ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000, 4000000000)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000, 1000)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3, 3)}",
        "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (3, 3)}",
        "{'descr': '<c16', 'fortran_order': False, 'shape': (3, 3)}",
        "{'descr': '<U9', 'fortran_order': False, 'shape': (3, 3)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-3, 3)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 3)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}",
        "{'descr': '<f8', 'shape': (3, 3)}",
        "__import__('os').system('false')",
        "{" * 100,
        "",
    ],
)
def test_forged_headers_of_numpy(hostile, header):
    assert hostile(forged_npy(header, bytes(200))) is None


def test_a_pickle_is_not_opened(hostile):
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}]), allow_pickle=True)
    assert hostile(buffer.getvalue()) is None


def test_what_unpacks_to_much_is_not_unpacked(hostile):
    bombs = [
        png(60_000, 60_000, 8, 0, bytes(10**6)),
        png(60_000, 60_000, 16, 2, bytes(10**6)),
        as_tiff(np.zeros((4096, 4096), np.uint8), compression="zlib").replace(
            struct.pack("<HHII", 256, 4, 1, 4096), struct.pack("<HHII", 256, 4, 1, 2**30)
        ),
        forged_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (65536, 65536)}"),
    ]
    tracemalloc.start()
    try:
        for bomb in bombs:
            assert hostile(bomb) is None
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()
