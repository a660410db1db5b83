"""TIFF files: every tag is handed on, byte for byte, or named; every kind of pixel is kept, or refused by its name."""

import io
import itertools
import json
import re
import struct
import sys

import numpy as np
import pytest
import tifffile
from cases import each
from PIL import ExifTags, Image, ImageOps

from graddesc import images, tiff

RNG = np.random.default_rng(7)
SCALE, TIEPOINT = (30.123456789012345, 30.0, 0.0), (0.0, 0.0, 0.0, 399960.0, 4500000.0, 1 / 3)
GEO = [
    (33550, "d", 3, SCALE, True),
    (33922, "d", 6, TIEPOINT, True),
    (34735, "H", 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
    (34736, "d", 2, (6378137.0, 298.257223563), True),
    (34737, "s", 0, "WGS 84 / UTM zone 33N|", True),
    (42112, "s", 0, "<GDALMetadata><Item name='a'>b</Item></GDALMetadata>", True),
    (42113, "s", 0, "-9999", True),
    (65000, "B", 5, bytes([1, 2, 3, 0, 5]), True),
    (65001, "f", 2, (0.1, -2.5), True),
    (65002, "i", 2, (-7, 8), True),
]


def written(array, **options):
    buffer = io.BytesIO()
    options = {"photometric": "rgb" if array.shape[-1] == 3 and array.ndim == 3 else "minisblack"} | options
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def raw_tags(data):
    """All tags but the structural ones, as bytes, and those of EXIF and GPS."""
    return [
        ({number: tag for number, tag in page.tags.items() if number not in tiff.STRUCTURAL}, page.below)
        for page in tiff.directories(io.BytesIO(data))
    ]


@pytest.fixture
def through(tmp_path):
    """Read a file and write it again; return the picture and the new file."""

    def pass_through(data, name="out.tif"):
        source, target = tmp_path / "in.tif", tmp_path / name
        source.write_bytes(data)
        picture = images.read(source)
        images.write(target, picture, overwrite=True)
        return picture, target.read_bytes()

    return pass_through


@each("bigtiff", [False, True])
@each("byteorder", ["<", ">"])
@each("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "u8"])
def test_every_tag_and_pixel(through, byteorder, bigtiff, dtype):
    pixels = (RNG.normal(size=(13, 9)) * 50).astype(dtype)
    data = written(pixels, byteorder=byteorder, bigtiff=bigtiff, extratags=GEO, description="height in m", software="x")
    picture, again = through(data)
    assert picture.pixels.dtype == dtype
    assert (picture.nodata, picture.frames) == (-9999, False)
    assert images.left_out("out.tif", picture) == ()
    assert raw_tags(again) == raw_tags(data)
    with tifffile.TiffFile(io.BytesIO(again)) as file:
        page = file.pages[0]
        np.testing.assert_array_equal(page.asarray(), pixels)
        assert page.tags[33550].value == SCALE
        assert page.tags[33922].value == TIEPOINT
        assert page.tags[42113].value == "-9999"
        assert page.tags[65000].value == bytes([1, 2, 3, 0, 5])
        assert page.description == "height in m"


@each(
    "compression, predictor",
    [*itertools.product([None, "zlib", "lzw", "packbits"], [False]), ("zlib", True), ("lzw", True)],
)
@each("tile", [None, (16, 16)])
@each("byteorder", ["<", ">"])
@each("pages", [1, 3])
def test_stored_in_many_ways(through, compression, predictor, tile, byteorder, pages):
    for dtype in ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"):
        pixels = (RNG.normal(size=(pages, 40, 35)) * 50).astype(dtype)
        pixels = pixels if pages > 1 else pixels[0]
        options = {"compression": compression, "predictor": predictor, "tile": tile, "byteorder": byteorder}
        picture, _ = through(written(pixels, metadata=None, **options))
        np.testing.assert_array_equal(picture.pixels, pixels)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "i4"])
def test_colour(through, planar, dtype):
    pixels = (RNG.random((3, 14, 15)) * 200).astype(dtype)
    data = written(np.moveaxis(pixels, 0, -1) if planar == "contig" else pixels, photometric="rgb", planarconfig=planar)
    picture, again = through(data)
    assert picture.channel_axis == -1
    np.testing.assert_array_equal(picture.pixels, np.moveaxis(pixels, 0, -1))
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(again)), np.moveaxis(pixels, 0, -1))


def test_colour_with_alpha(through):
    pixels = RNG.integers(0, 65536, (14, 15, 4), np.uint16)
    picture, again = through(written(pixels, photometric="rgb", extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(picture.alpha, pixels[..., 3])
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(again)), pixels)


@each("shape, extra", [((9, 8, 4), 1), ((9, 8, 5), (2, 0)), ((9, 8, 2), 1)])
@each("dtype", ["u1", "u2", "f4"])
def test_bands_are_not_taken_for_alpha(through, dtype, shape, extra):
    pixels = (RNG.random(shape) * 200).astype(dtype)
    photometric = "rgb" if shape[-1] > 3 else "minisblack"
    with pytest.raises(images.ImageFileError, match="would be lost: only plain alpha is supported"):
        through(written(pixels, photometric=photometric, extrasamples=extra, planarconfig="contig"))


@each("count, meaning", [(2, "minisblack"), (3, "minisblack"), (7, "minisblack"), (4, "rgb"), (6, "rgb")])
@each("planar", ["contig", "separate"])
@each("dtype", ["u1", "i2", "f8"])
def test_bands(through, dtype, planar, count, meaning):
    pixels = (RNG.random((9, 8, count)) * 100).astype(dtype)
    extra = (0,) * (count - (3 if meaning == "rgb" else 1))
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    data = written(stored, photometric=meaning, extrasamples=extra, planarconfig=planar, extratags=GEO, metadata=None)
    picture, again = through(data)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.alpha is None
    with tifffile.TiffFile(io.BytesIO(again)) as file:
        np.testing.assert_array_equal(file.asarray(), pixels)
        assert file.pages[0].photometric.name == meaning.upper()
        assert file.pages[0].extrasamples == extra
    assert raw_tags(data) == raw_tags(again)


def test_bands_need_the_extra(through, monkeypatch):
    data = written(np.zeros((9, 8, 4), "u1"), photometric="rgb", extrasamples=0, planarconfig="contig")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(images.ImageFileError, match=r"TIFF with 8-bit bands is not kept .*graddesc\[deep\]"):
        through(data)


def test_what_nobody_reads_is_not_promised(through, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    for dtype, number in (("c8", "64-bit numbers of the format 6"), ("c16", "128-bit numbers of the format 6")):
        with pytest.raises(images.ImageFileError, match=f"TIFF with {number} is not supported"):
            through(written(np.zeros((9, 8), dtype)))


def test_compressions_that_are_not_read_are_named(through):
    data = bytearray(written(np.zeros((9, 8), "u1")))
    place = data.index(struct.pack("<HHIH", 259, 3, 1, 1)) + 8
    for number, name in ((34712, "JPEG 2000"), (34887, "LERC"), (50001, "WebP"), (40000, "method 40000")):
        data[place : place + 2] = struct.pack("<H", number)
        with pytest.raises(
            images.ImageFileError, match=f"TIFF compressed by {name} is not supported: save it with LZW"
        ):
            through(bytes(data))


def test_grey_of_few_bits_is_told(through):
    for name, bits in (("1", 1), ("L", 8)):
        buffer = io.BytesIO()
        Image.new(name, (9, 8), 1).save(buffer, "TIFF")
        picture, _ = through(buffer.getvalue())
        assert picture.stored_as == (f"{bits}-bit grey" if bits < 8 else None)

    # 9 x 2 pixels of 4 bits, by hand.
    def few(kind, *more):
        entries = [
            (256, 4, 9),
            (257, 4, 2),
            (258, 3, 4),
            (259, 3, 1),
            (262, 3, kind),
            (273, 4, 200),
            (279, 4, 10),
            *more,
        ]
        table = b"".join(struct.pack("<HHII", number, size, 1, value) for number, size, value in entries)
        return (b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table).ljust(200, b"\0") + bytes(range(10))

    picture, _ = through(few(1))
    assert picture.stored_as == "4-bit grey"
    assert picture.pixels[0, :6].tolist() == [0, 0, 0, 17, 0, 34]
    assert through(few(0))[0].stored_as == "4-bit grey of which 0 is white"
    nodata = (tiff.NODATA, 2, int.from_bytes(b"5\0\0\0", "little"))
    with pytest.raises(images.ImageFileError, match="4-bit grey with a nodata value, which would be scaled"):
        through(few(1, nodata))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
def test_pages_are_frames_with_tags_of_their_own(through, dtype):
    pages = (RNG.random((4, 11, 12)) * 100).astype(dtype)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for k, page in enumerate(pages):
            file.write(page, photometric="minisblack", extratags=[(65010, "d", 1, k / 7, True)], metadata=None)
    picture, again = through(buffer.getvalue())
    assert (picture.frames, picture.frame_axis, picture.pixels.shape) == (True, 0, (4, 11, 12))
    np.testing.assert_array_equal(picture.pixels, pages)
    assert raw_tags(again) == raw_tags(buffer.getvalue())
    np.testing.assert_array_equal(through(again)[0].pixels, pages)


def test_the_hyperstack_of_imagej(through):
    pages = RNG.integers(0, 4000, (5, 11, 12), np.uint16)
    data = written(pages, imagej=True, resolution=(2.5, 2.5), metadata={"spacing": 0.3, "unit": "um", "axes": "ZYX"})
    picture, again = through(data)
    np.testing.assert_array_equal(picture.pixels, pages)
    with tifffile.TiffFile(io.BytesIO(again)) as file:
        assert file.imagej_metadata["spacing"] == 0.3
        assert file.imagej_metadata["unit"] == "um"
        assert file.pages[0].tags["XResolution"].value == (5, 2)
        np.testing.assert_array_equal(file.asarray(), pages)


@each(
    "shape, options, told",
    [
        ((5, 11, 12), {"metadata": {"axes": "ZYX"}}, None),
        ((2, 3, 1, 11, 12), {"metadata": {"axes": "TZCYX", "more": 1}}, None),
        ((11, 12, 1), {}, None),
        ((4, 11, 12, 3), {"photometric": "rgb"}, None),
        ((5, 11, 12), {"truncate": True, "metadata": {"axes": "ZYX"}}, {"shape": [5, 11, 12], "axes": "ZYX"}),
        (
            (3, 11, 12),
            {"photometric": "rgb", "planarconfig": "separate", "metadata": {"axes": "SYX", "more": [1]}},
            {"shape": [11, 12, 3], "axes": "YXS", "more": [1]},
        ),
        ((5, 11, 12), {"planarconfig": "separate"}, {"shape": [11, 12, 5]}),
        ((11, 12), {"extratags": [(274, "H", 1, 6, True)]}, {"shape": [12, 11]}),
    ],
)
def test_what_tifffile_says_of_the_shape_is_true_of_the_new_pages(through, shape, options, told):
    array = RNG.integers(0, 4000, shape, np.uint16)
    data = written(array, **options)
    picture, again = through(data)
    with tifffile.TiffFile(io.BytesIO(data)) as before, tifffile.TiffFile(io.BytesIO(again)) as file:
        if told is None:
            assert file.pages[0].description == before.pages[0].description
            assert file.series[0].axes == before.series[0].axes
        else:
            assert json.loads(file.pages[0].description) == told
        assert len(file.series) == 1
        np.testing.assert_array_equal(file.asarray().reshape(picture.pixels.shape), picture.pixels)
        assert [page.description for page in file.pages[1:]] == [""] * (len(file.pages) - 1)
    assert images.left_out("out.tif", picture) == ()
    # Pages that are images of their own keep what is said of each.
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for page in array.reshape(-1, *shape[-2:])[:2]:
            file.write(page, photometric="minisblack")
    assert raw_tags(through(buffer.getvalue())[1]) == raw_tags(buffer.getvalue())


def test_a_described_shape_that_is_none_stays_as_it_is(through):
    for shape in ("[Infinity, 6]", "[null]", "[5, 6"):
        description = f'{{"shape": {shape}}}'
        data = written(RNG.integers(0, 9, (5, 6), np.uint8), description=description, metadata=None)
        ((tags, _),) = raw_tags(through(data)[1])
        assert tags[tiff.DESCRIPTION].text == description


def test_overviews_are_no_frames_and_are_named(through):
    buffer = io.BytesIO()
    large, small = np.arange(400, dtype="f4").reshape(20, 20), np.zeros((10, 10), "f4")
    with tifffile.TiffWriter(buffer) as file:
        file.write(large, photometric="minisblack", extratags=GEO, metadata=None)
        file.write(small, photometric="minisblack", subfiletype=1, metadata=None)
    picture, again = through(buffer.getvalue())
    np.testing.assert_array_equal(picture.pixels, large)
    assert not picture.frames
    assert images.left_out("out.tif", picture) == ("overviews or masks",)
    assert raw_tags(again) == raw_tags(buffer.getvalue())[:1]


def test_frames_that_numpy_would_be_told_are_bands(tmp_path):
    stack = images.Picture(np.zeros((40, 30, 3), "f4"), frames=True)
    with pytest.raises(ValueError, match="frames of 3 columns would be read as bands"):
        images.write(tmp_path / "a.npy", stack)
    for shape in ((30, 20, 4), (30, 20, 2), (30, 20, 5)):
        np.save(tmp_path / "b.npy", np.zeros(shape, "f4"))
        with pytest.raises(images.ImageFileError, match="last ones bands, or the columns of 30 frames"):
            images.read(tmp_path / "b.npy")
        assert images.read(tmp_path / "b.npy", channel_axis=2).channels == shape[-1]
        assert images.read(tmp_path / "b.npy", frame_axis=0).frames
    np.save(tmp_path / "c.npy", np.ones((30, 20, 1), bool))
    assert images.read(tmp_path / "c.npy").pixels.shape == (30, 20)


def test_bands_that_numpy_would_be_told_are_something_else(tmp_path):
    for shape, dtype, frames, other in (
        ((30, 20, 1), "u1", False, "8-bit grey"),
        ((30, 20, 2), "u2", False, "16-bit grey with alpha"),
        ((30, 20, 4), "u1", False, "8-bit colour with alpha"),
        ((3, 30, 20, 4), "u1", True, "a stack of 8-bit colour with alpha"),
        ((10, 20, 5), "f4", False, "a stack of 32-bit floating-point grey"),
        ((30, 20, 40), "f4", False, "a stack of 32-bit floating-point grey"),
    ):
        picture = images.Picture(np.zeros(shape, dtype), frames=frames)
        last = len(shape) - 1
        message = f"would be read as {other} from a .npy file: use .tif, or tell that the channel axis is {last}"
        with pytest.raises(ValueError, match=re.escape(message)):
            images.write(tmp_path / "a.npy", picture)
    for shape, dtype, frames, alpha in (
        ((30, 20), "u1", False, True),
        ((30, 20, 3), "u2", False, True),
        ((30, 20, 3), "f4", False, False),
        ((2, 30, 20), "f4", True, False),
        ((2, 30, 20), "u1", True, True),
        ((2, 30, 20, 3), "u1", True, True),
        ((2, 30, 20, 3), "i4", True, False),
    ):
        opacity = np.full(shape[: 2 + frames], 9, dtype) if alpha else None
        picture = images.Picture(np.ones(shape, dtype), opacity, frames=frames)
        images.write(tmp_path / "a.npy", picture, overwrite=True)
        again = images.read(tmp_path / "a.npy")
        assert (again.kind, again.pixels.shape) == (picture.kind, shape)
    images.write(tmp_path / "asks.npy", images.Picture(np.zeros((30, 20, 5), "f4")))
    with pytest.raises(images.ImageFileError, match="A channel axis of 2 or a frame axis of 0 tells"):
        images.read(tmp_path / "asks.npy")


def test_what_another_format_cannot_hold_is_named(through):
    picture, _ = through(written(RNG.integers(0, 9, (5, 6), np.uint16), extratags=GEO), name="out.png")
    names = images.left_out("out.png", picture)
    for name in ("ModelPixelScale", "ModelTiepoint", "GeoKeyDirectory", "GDAL_NODATA", "TIFF tag 65000"):
        assert name in names
    assert "ImageWidth" not in names
    assert "StripOffsets" not in names


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-9999", -9999),
        ("nan", np.nan),
        ("-3.4028234663852886e+38", -3.4028234663852886e38),
        (" 0 ", 0),
        ("none", None),
    ],
)
def test_nodata(through, text, value):
    picture, _ = through(written(np.zeros((3, 4), "f4"), extratags=[(42113, "s", 0, text, True)]))
    np.testing.assert_equal(picture.nodata, value)


@each("orientation", range(1, 9))
@each("dtype", ["u1", "u2", "f8"])
def test_what_is_turned_is_upright_and_has_no_place(through, orientation, dtype):
    stored = np.arange(12).reshape(3, 4).astype(dtype)
    data = written(stored, extratags=[*GEO, (274, "H", 1, orientation, True)], resolution=(300, 150))
    picture, again = through(data)
    image = Image.fromarray(stored.astype("u1"))
    exif = image.getexif()
    exif[274] = orientation
    np.testing.assert_array_equal(picture.pixels, np.asarray(ImageOps.exif_transpose(image)))
    assert picture.stored_shape == ((3, 4) if orientation > 1 else None)
    names = images.left_out("out.tif", picture)
    assert ("ModelTiepoint" in names) is (orientation > 1)
    assert (33922 in raw_tags(again)[0][0]) is (orientation == 1)
    assert 42113 in raw_tags(again)[0][0]
    before, after = (raw_tags(file)[0][0] for file in (data, again))
    assert before[282] != before[283]
    across, down = (283, 282) if orientation > 4 else (282, 283)  # rows have become columns
    assert (after[282], after[283]) == (before[across], before[down])


def test_exif_and_gps_stay_to_the_byte(through):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "1689:05:16 06:00:00"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = b"\0\1whatever\xff"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 255, (9, 8), np.uint8)).save(buffer, "TIFF", exif=exif.tobytes())
    _, again = through(buffer.getvalue())
    ((_, before),) = raw_tags(buffer.getvalue())
    ((_, after),) = raw_tags(again)
    assert before == after
    assert before[tiff.EXIF][37500].data == b"\0\1whatever\xff"


def test_pages_that_are_no_stack(through):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for shape in ((4, 5), (5, 4)):
            file.write(np.zeros(shape, "u1"), photometric="minisblack", metadata=None)
    with pytest.raises(images.ImageFileError, match="2 pages of different sizes: save the one to work on"):
        through(buffer.getvalue())
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for dtype in ("u1", "u2"):
            file.write(np.zeros((4, 5), dtype), photometric="minisblack", metadata=None)
    with pytest.raises(images.ImageFileError, match="2 pages of different kinds: save the one to work on"):
        through(buffer.getvalue())


def test_complex_numbers_are_refused(through):
    with pytest.raises(images.ImageFileError):
        through(written(np.zeros((4, 5), "c8")))


@pytest.mark.parametrize("dtype", ["f8", "f2", "i8"])
def test_kinds_that_need_the_extra(through, monkeypatch, dtype):
    data = written(np.zeros((4, 5), dtype))
    through(data)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    kind = "signed 64-bit" if dtype == "i8" else f"{8 * int(dtype[1])}-bit floating-point"
    with pytest.raises(images.ImageFileError, match=rf"TIFF with {kind} numbers is not kept .*graddesc\[deep\]"):
        through(data)


@pytest.mark.parametrize("dtype", ["i1", "u2", "i2", "u4", "i4", "f4"])
def test_kinds_that_need_nothing(through, monkeypatch, dtype):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    pixels = (RNG.normal(size=(3, 13, 9)) * 50).astype(dtype)
    for array in (pixels[0], pixels):
        picture, again = through(written(array))
        np.testing.assert_array_equal(picture.pixels, array)
        np.testing.assert_array_equal(tifffile.imread(io.BytesIO(again)), array)


def test_colorimetry_is_handed_on(through):
    tags = [(318, "2I", 2, (31270, 100000, 32900, 100000), True), (301, "H", 6, (0, 1, 2, 3, 4, 5), True)]
    tags = [(318, 5, 2, (31270, 100000, 32900, 100000), True), tags[1]]
    _, again = through(written(RNG.integers(0, 255, (5, 6, 3), np.uint8), extratags=tags))
    tags = tiff.directories(io.BytesIO(again))[0].tags
    assert (tags[318].length, tags[301].length) == (2, 6)


def test_an_offset_of_one_file_is_none_in_another(through):
    picture, again = through(written(np.zeros((5, 6), "u1"), extratags=[(65100, 13, 1, 8, True)]))
    assert images.left_out("out.tif", picture) == ("TIFF tag 65100",)
    assert 65100 not in tiff.directories(io.BytesIO(again))[0].tags


def test_all_planes_of_one_directory(through):
    planes = RNG.random((4, 12, 13))
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, planes, photometric="minisblack", truncate=True)
    np.testing.assert_array_equal(through(buffer.getvalue())[0].pixels, planes)
    buffer = io.BytesIO()
    volume = RNG.integers(0, 9, (4, 32, 32), np.uint8)
    tifffile.imwrite(buffer, volume, photometric="minisblack", volumetric=True, tile=(4, 16, 16))
    with pytest.raises(images.ImageFileError, match="a volume in one page is not supported"):
        through(buffer.getvalue())


def test_pages_that_differ_in_what_counts_for_all(through):
    for number, kind, values in ((42113, "s", ("-1", "-2")), (274, "H", (1, 3))):
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as file:
            for value in values:
                tag = (number, kind, 0 if kind == "s" else 1, value, True)
                file.write(np.zeros((4, 5), "u1"), photometric="minisblack", extratags=[tag], metadata=None)
        with pytest.raises(images.ImageFileError, match=r"pages of different (GDAL_NODATA|Orientation)"):
            through(buffer.getvalue())


@each("which", [0, 1])
def test_nodata_of_one_page_goes_for_all(through, which):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for k in range(3):
            tags = [(42113, "s", 0, " -1", True)] * (k >= which) if which else [(42113, "s", 0, "-1", True)] * (k == 0)
            file.write(np.zeros((4, 5), "i2"), photometric="minisblack", extratags=tags, metadata=None)
    picture, again = through(buffer.getvalue())
    assert picture.nodata == -1
    assert [42113 in page for page, _ in raw_tags(again)] == [42113 in page for page, _ in raw_tags(buffer.getvalue())]


def test_an_orientation_in_xmp_is_not_handed_on(through):
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = written(np.arange(12, dtype="u1").reshape(3, 4), extratags=[(700, "B", len(xmp), xmp, True), *GEO])
    picture, again = through(data)
    assert {"XMP", "ModelTiepoint"} <= set(images.left_out("out.tif", picture))
    assert 700 not in tiff.directories(io.BytesIO(again))[0].tags


def test_a_bomb_of_tags_that_share_their_data(through):
    count = 3000
    blob = bytes(10**5)
    table = b"".join(struct.pack("<HHII", 1000 + k, 1, len(blob), 8) for k in range(count))
    data = b"II*\0" + struct.pack("<I", 8 + len(blob)) + blob + struct.pack("<H", count) + table + bytes(4)
    held = tiff.directories(io.BytesIO(data))[0]
    assert sum(len(tag.data) for tag in held.tags.values()) < 3 * len(data)


def test_four_gigabytes_become_bigtiff():
    page = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (2, 5), (0, 0))
    whole = bytes(tiff.encode([page], [], alpha=False, profile=None))
    assert whole[:4] == b"II*\0"
    long8 = tiff.Directory({65000: tiff.Tag(16, 1, struct.pack("<Q", 2**40))})
    whole = bytes(tiff.encode([page], [long8], alpha=False, profile=b"inks"))
    assert whole[:4] == b"II+\0"
    assert tiff.directories(io.BytesIO(whole))[0].tags[65000].numbers == (2**40,)
    with tifffile.TiffFile(io.BytesIO(whole)) as file:
        np.testing.assert_array_equal(file.asarray(), page)
        assert file.pages[0].tags[34675].value == b"inks"
