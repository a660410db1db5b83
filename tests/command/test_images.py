"""Image files: what is kept, what is converted, what is refused."""

import io
import os
import re
import struct
import sys
import types
import zlib

import numpy as np
import pytest
from cases import each
from PIL import ExifTags, Image, PngImagePlugin
from raw_png import png, png_rows

from graddesc import images

RNG = np.random.default_rng(4)
GREY = RNG.integers(0, 256, (12, 17), np.uint8)
COLOUR = RNG.integers(0, 256, (12, 17, 3), np.uint8)
ALPHA = RNG.integers(0, 256, (12, 17), np.uint8)
ALPHA[0] = 0  # colour that nobody sees is kept too
DEEP = RNG.integers(0, 65536, (12, 17), np.uint16)
FLOAT = RNG.normal(size=(12, 17)).astype(np.float32)

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def values(dtype, shape):
    """Random values over all of a dtype's range."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return RNG.normal(size=shape).astype(dtype)
    return RNG.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)


PICTURES = [
    images.Picture(GREY),
    images.Picture(GREY, ALPHA),
    images.Picture(COLOUR),
    images.Picture(COLOUR, ALPHA),
    *(images.Picture(values(dtype, shape)) for dtype in DTYPES[1:] for shape in ((12, 17), (12, 17, 3))),
    images.Picture(DEEP, DEEP[::-1].copy()),
    images.Picture(values("u2", (12, 17, 3)), DEEP),
    images.Picture(values("u1", (4, 12, 17)), frames=True),
    images.Picture(values("i2", (3, 12, 17)), frames=True),
    images.Picture(values("f8", (3, 12, 17, 3)), frames=True),
    images.Picture(values("u2", (3, 12, 17, 3)), values("u2", (3, 12, 17)), frames=True),
]
EIGHT = {"8-bit grey", "8-bit colour"}
ALL = {picture.kind for picture in PICTURES}
HOLDS = {
    ".png": {kind for kind in ALL if kind.startswith(("8-bit", "16-bit")) and "floating" not in kind},
    ".tif": ALL,
    ".tiff": ALL,
    ".npy": ALL,
    ".webp": {"8-bit colour", "8-bit colour with alpha"},
    ".bmp": EIGHT,
    ".pgm": {"8-bit grey", "16-bit grey"},
    ".ppm": {"8-bit colour"},
    ".jpg": EIGHT,
    ".jpeg": EIGHT,
}


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def reads(tmp_path):
    """Write bytes to a file and read it as an image."""

    def read(data, name="image"):
        path = tmp_path / name
        path.write_bytes(data)
        return images.read(path)

    return read


class TestRoundTrip:
    @each("extension", HOLDS)
    @each("picture", PICTURES)
    def test_each_kind_in_each_format(self, tmp_path, extension, picture):
        path = tmp_path / f"image{extension}"
        if picture.kind not in HOLDS[extension]:
            with pytest.raises(ValueError, match=rf"cannot hold {picture.kind}; these can: \."):
                images.write(path, picture)
            assert not any(tmp_path.iterdir())
            return
        images.write(path, picture)
        back = images.read(path)
        path.unlink()
        assert back.kind == picture.kind
        assert back.pixels.dtype == picture.pixels.dtype
        if images.is_lossy(path):
            assert back.lossy
            assert np.abs(back.pixels.astype(int) - picture.pixels).mean() < 16
        else:
            assert not back.lossy
            np.testing.assert_array_equal(back.pixels, picture.pixels)
            if picture.alpha is not None:
                np.testing.assert_array_equal(back.alpha, picture.alpha)

    @pytest.mark.parametrize("array", [COLOUR, np.dstack([COLOUR, ALPHA])], ids=["colour", "alpha"])
    @pytest.mark.parametrize("lossless", [False, True])
    def test_lossy_webp(self, reads, array, lossless):
        options = {"lossless": lossless, "icc_profile": b"colours"}
        assert reads(saved(Image.fromarray(array), "WEBP", **options)).lossy is not lossless

    @pytest.mark.parametrize(("compression", "lossy"), [("jpeg", True), ("tiff_lzw", False), ("raw", False)])
    def test_lossy_tiff(self, reads, compression, lossy):
        assert reads(saved(Image.fromarray(COLOUR), "TIFF", compression=compression)).lossy is lossy

    def test_only_jpeg_is_lossy(self):
        assert {extension for extension in HOLDS if images.is_lossy(f"a{extension}")} == {".jpg", ".jpeg"}

    @pytest.mark.parametrize("name", ["image.xyz", "image", "png", "image.gif"])
    def test_unknown_extension(self, tmp_path, name):
        with pytest.raises(ValueError, match=r"the extension must be one of \.png, "):
            images.write(tmp_path / name, PICTURES[0])

    def test_extension_in_capitals(self, tmp_path):
        images.write(tmp_path / "IMAGE.PNG", PICTURES[0])
        with Image.open(tmp_path / "IMAGE.PNG") as image:
            assert image.format == "PNG"

    @pytest.mark.parametrize(("extension", "side"), [(".webp", 16384), (".jpg", 65536)])
    def test_too_long_for_the_format(self, extension, side):
        picture = images.Picture(np.zeros((1, side, 3), np.uint8))
        with pytest.raises(ValueError, match=f"holds at most {side - 1} pixels a side, got {side} x 1"):
            images.check_format(f"image{extension}", picture)
        images.check_format(f"image{extension}", images.Picture(picture.pixels[:, 1:]))


class TestPicture:
    @pytest.mark.parametrize("dtype", [complex, bool, np.longdouble, object])
    def test_other_dtypes(self, dtype):
        wanted = f"pixels must be of integers or of floats of at most 64 bits, got {np.dtype(dtype)}"
        with pytest.raises(TypeError, match=re.escape(wanted)):
            images.Picture(np.zeros((3, 4), dtype))

    @pytest.mark.parametrize("shape", [(5,), (2, 4, 5, 3)])
    def test_other_shapes(self, shape):
        wanted = f"shape (rows, cols) or (rows, cols, channels), got {shape}"
        with pytest.raises(ValueError, match=re.escape(wanted)):
            images.Picture(np.zeros(shape))
        wanted = "shape (frames, rows, cols) or (frames, rows, cols, channels), got (4, 5)"
        with pytest.raises(ValueError, match=re.escape(wanted)):
            images.Picture(np.zeros((4, 5)), frames=True)
        with pytest.raises(ValueError, match=r"axes must be an order of the 3 axes of pixels, got \(0, 1, 1\)"):
            images.Picture(np.zeros((4, 5, 6)), axes=(0, 1, 1))

    def test_other_alpha(self):
        with pytest.raises(TypeError, match="alpha must be None with pixels of float32"):
            images.Picture(FLOAT, ALPHA)
        with pytest.raises(TypeError, match="alpha must be uint8, got float64"):
            images.Picture(COLOUR, ALPHA / 255)
        with pytest.raises(ValueError, match=r"alpha must have shape \(12, 17\), got \(17, 12\)"):
            images.Picture(COLOUR, ALPHA.T)

    def test_axes(self):
        stack = PICTURES[-1]
        assert (stack.channel_axis, stack.frame_axis, stack.size) == (-1, 0, (12, 17))
        assert (PICTURES[0].channel_axis, PICTURES[0].frame_axis, PICTURES[0].size) == (None, None, (12, 17))


class TestConversions:
    def test_one_bit(self, reads):
        image = Image.fromarray(GREY).convert("1")
        picture = reads(saved(image, "PNG"))
        np.testing.assert_array_equal(picture.pixels, np.asarray(image) * np.uint8(255))
        assert picture.channel_axis is None

    def test_palette(self, reads):
        image = Image.fromarray(COLOUR).quantize(16)
        picture = reads(saved(image, "PNG"))
        np.testing.assert_array_equal(picture.pixels, np.asarray(image.convert("RGB")))
        assert picture.channel_axis == -1
        assert picture.alpha is None

    def test_palette_with_transparency(self, reads):
        image = Image.fromarray(COLOUR).quantize(16)
        picture = reads(saved(image, "PNG", transparency=3))
        np.testing.assert_array_equal(picture.pixels, np.asarray(image.convert("RGB")))
        np.testing.assert_array_equal(picture.alpha, np.where(np.asarray(image) == 3, 0, 255))

    def test_grey_with_a_transparent_value(self, reads):
        clear = int(GREY[0, 0])
        picture = reads(saved(Image.fromarray(GREY), "PNG", transparency=clear))
        np.testing.assert_array_equal(picture.pixels, GREY)
        np.testing.assert_array_equal(picture.alpha, np.where(picture.pixels == clear, 0, 255))

    def test_one_bit_with_a_transparent_value(self, reads):
        image = Image.fromarray(GREY).convert("1")
        picture = reads(saved(image, "PNG", transparency=0))
        np.testing.assert_array_equal(picture.pixels, np.asarray(image) * np.uint8(255))
        np.testing.assert_array_equal(picture.alpha, picture.pixels)

    def test_a_transparent_colour(self, reads):
        clear = tuple(map(int, COLOUR[2, 3]))
        picture = reads(saved(Image.fromarray(COLOUR), "PNG", transparency=clear))
        np.testing.assert_array_equal(picture.pixels, COLOUR)
        np.testing.assert_array_equal(picture.alpha, np.where((picture.pixels == clear).all(axis=-1), 0, 255))

    @pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
    def test_cmyk(self, reads, kind):
        image = Image.new("CMYK", (17, 12), (0, 255, 255, 0))
        picture = reads(saved(image, kind, icc_profile=b"made for inks"))
        assert picture.pixels.shape == (12, 17, 3)
        assert np.abs(picture.pixels.astype(int) - (255, 0, 0)).max() <= 3
        assert "icc_profile" not in picture.metadata

    @pytest.mark.parametrize("byte_order", ["<", ">"])
    def test_sixteen_bits_of_either_byte_order(self, reads, byte_order):
        data = saved(Image.fromarray(DEEP), "TIFF")
        if byte_order == ">":
            data = png(12, 17, 16, 0, png_rows(DEEP.astype(">u2")))
        picture = reads(data)
        assert picture.pixels.dtype == np.dtype(np.uint16)
        np.testing.assert_array_equal(picture.pixels, DEEP)

    def test_sixteen_bits_of_a_big_endian_tiff(self, reads):
        data = saved(Image.fromarray(DEEP.astype(">u2")), "TIFF")
        assert data.startswith(b"MM")
        np.testing.assert_array_equal(reads(data).pixels, DEEP)

    @pytest.mark.parametrize(("mode", "kind"), [("PA", "RGBA"), ("YCbCr", "RGB")])
    def test_rare_kinds_of_tiff(self, reads, mode, kind):
        image = Image.fromarray(np.dstack([COLOUR, ALPHA])).convert("RGBA" if mode == "PA" else "RGB").convert(mode)
        picture = reads(saved(image, "TIFF"))
        assert (picture.alpha is not None) is (kind == "RGBA")
        expected = np.asarray(image.convert(kind))
        np.testing.assert_array_equal(picture.pixels, expected[..., :3])
        if kind == "RGBA":
            np.testing.assert_array_equal(picture.alpha, expected[..., 3])

    def test_a_band_of_padding_is_not_dropped(self, reads):
        image = Image.fromarray(np.dstack([COLOUR, ALPHA])).convert("RGB").convert("RGBX")
        picture = reads(saved(image, "TIFF"))
        np.testing.assert_array_equal(picture.pixels, np.asarray(image))
        assert picture.alpha is None

    @pytest.mark.parametrize("maximum", [100, 1023])
    def test_values_that_would_be_scaled(self, reads, maximum):
        small = RNG.integers(0, maximum + 1, (12, 17)).astype("u1" if maximum < 256 else ">u2")
        with pytest.raises(images.ImageFileError, match=f"values of 0 to {maximum}, which would be scaled"):
            reads(b"P5 17 12 %d\n" % maximum + small.tobytes())

    def test_what_is_not_handed_on_is_named(self, reads):
        info = PngImagePlugin.PngInfo()
        info.add_text("Title", "a leaf")
        picture = reads(saved(Image.fromarray(GREY), "PNG", pnginfo=info))
        assert images.left_out("out.png", picture) == ("text",)
        info = PngImagePlugin.PngInfo()
        info.add(b"sRGB", b"\1")
        info.add(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
        picture = reads(saved(Image.fromarray(GREY), "PNG", pnginfo=info))
        assert images.left_out("out.png", picture) == ("sRGB", "chromaticities")
        picture = reads(saved(Image.fromarray(COLOUR), "JPEG", comment=b"by hand"))
        assert images.left_out("out.png", picture) == ("comment",)
        inks = reads(saved(Image.new("CMYK", (9, 9)), "JPEG", icc_profile=b"made for inks"))
        assert images.left_out("out.png", inks) == ("the colour profile of the inks",)

    def test_sixteen_bit_pnm(self, reads):
        picture = reads(b"P5 17 12 65535\n" + DEEP.astype(">u2").tobytes())
        assert picture.pixels.dtype == np.uint16
        np.testing.assert_array_equal(picture.pixels, DEEP)

    def test_float_keeps_nan(self, tmp_path):
        pixels = FLOAT.copy()
        pixels[3, 4] = np.nan
        images.write(tmp_path / "a.tif", images.Picture(pixels))
        np.testing.assert_array_equal(images.read(tmp_path / "a.tif").pixels, pixels)

    def test_the_main_image_of_an_mpo(self, reads):
        image = Image.fromarray(COLOUR)
        picture = reads(saved(image, "MPO", save_all=True, append_images=[image]))
        assert picture.pixels.shape == COLOUR.shape
        assert picture.lossy


class TestMetadata:
    @staticmethod
    def exif(orientation):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        exif[ExifTags.Base.Artist] = "Basho"
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "1689:05:16 06:00:00"
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] = 17
        exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
        return exif

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
    def test_orientation_is_applied_once(self, reads, tmp_path, kind, orientation):
        stored = np.zeros((16, 32, 3), np.uint8)
        stored[:8, :8] = 250  # a light corner at the upper left of the stored rows
        upright = {
            1: stored,
            2: stored[:, ::-1],
            3: stored[::-1, ::-1],
            4: stored[::-1],
            5: stored.transpose(1, 0, 2),
            6: stored[::-1].transpose(1, 0, 2),
            7: stored[::-1, ::-1].transpose(1, 0, 2),
            8: stored[:, ::-1].transpose(1, 0, 2),
        }[orientation]
        picture = reads(saved(Image.fromarray(stored), kind, exif=self.exif(orientation).tobytes()))
        assert picture.pixels.shape == upright.shape
        assert np.abs(picture.pixels.astype(int) - upright).max() < 30
        images.write(tmp_path / "out.png", picture)
        again = images.read(tmp_path / "out.png")
        np.testing.assert_array_equal(again.pixels, picture.pixels)

    @pytest.mark.parametrize("source", ["PNG", "TIFF", "JPEG"])
    @pytest.mark.parametrize("extension", [".png", ".tif", ".jpg"])
    def test_profile_resolution_and_exif_are_handed_on(self, reads, tmp_path, source, extension):
        picture = reads(
            saved(
                Image.fromarray(COLOUR),
                source,
                icc_profile=b"colours" * 30,
                dpi=(300, 300),
                exif=self.exif(6).tobytes(),
            )
        )
        path = tmp_path / f"out{extension}"
        images.write(path, picture)
        with Image.open(path) as image:
            assert image.info["icc_profile"] == b"colours" * 30
            assert tuple(round(float(value)) for value in image.info["dpi"]) == (300, 300)
            exif = image.getexif()
            assert exif[ExifTags.Base.Artist] == "Basho"
            assert ExifTags.Base.Orientation not in exif
            assert ExifTags.Base.ExifImageWidth not in exif.get_ifd(ExifTags.IFD.Exif)  # of the old file
            assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "1689:05:16 06:00:00"
            assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"

    @pytest.mark.parametrize("source", ["PNG", "JPEG", "WEBP", "TIFF"])
    def test_all_tags_of_exif_are_handed_on_or_named(self, reads, tmp_path, source):
        exif = self.exif(6)
        exif[ExifTags.Base.Rating] = 4
        exif[ExifTags.Base.XPTitle] = "oku".encode("utf-16-le")
        exif[0xC7A1] = 7  # which has no name
        exif[700] = b"<x/>"  # XMP
        exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YCbCrPositioning] = 300, 1  # of how pixels are stored
        picture = reads(saved(Image.fromarray(COLOUR), source, exif=exif.tobytes()))
        told = images.left_out(tmp_path / "out.jpg", picture)
        if source == "TIFF":  # by TIFF's names, where they do not go to TIFF again
            assert not images.left_out(tmp_path / "out.tif", picture)
        else:
            assert told == images.left_out(tmp_path / "out.tif", picture) == ("XMLPacket",)
            for name in ("out.png", "out.jpg", "out.webp", "out.tif"):
                images.write(tmp_path / name, picture)
                with Image.open(tmp_path / name) as image:
                    found = image.getexif()
                    for tag in (ExifTags.Base.Rating, ExifTags.Base.XPTitle, 0xC7A1):
                        assert found[tag] == exif[tag]
                    assert 700 not in found
                    assert found.get(ExifTags.Base.YCbCrPositioning, 1) == 1
        plain = reads(saved(Image.fromarray(COLOUR), source, exif=self.exif(6).tobytes()))
        assert images.left_out(tmp_path / "out.jpg", plain) == ()

    def test_formats_without_metadata_are_written_all_the_same(self, reads, tmp_path):
        picture = reads(saved(Image.fromarray(COLOUR), "PNG", icc_profile=b"colours", dpi=(300, 300)))
        for name in ("out.ppm", "out.bmp", "out.webp"):
            images.write(tmp_path / name, picture)
            np.testing.assert_array_equal(images.read(tmp_path / name).pixels, COLOUR)

    @pytest.mark.parametrize("extension", HOLDS)
    def test_metadata_too_long_for_the_format_are_left_out(self, tmp_path, extension):
        exif = Image.Exif()
        exif[ExifTags.Base.Artist] = "Basho" * 20_000
        noise = RNG.integers(0, 256, 3_000_000, np.uint8).tobytes()
        metadata = {"icc_profile": noise, "dpi": (300.0, 300.0), "exif": exif.tobytes()}
        pixels = GREY if extension == ".pgm" else COLOUR
        path = tmp_path / f"out{extension}"
        picture = images.Picture(pixels, metadata=metadata)
        images.write(path, picture)
        back = images.read(path)
        assert back.pixels.shape == pixels.shape
        lost = {".png": {"colour profile"}, ".tif": set(), ".webp": {"resolution"}, ".jpg": {"EXIF"}}
        lost = {**lost, ".tiff": set(), ".jpeg": {"EXIF"}, ".bmp": {"colour profile", "EXIF"}}
        assert set(images.left_out(path, picture)) == lost.get(extension, {"colour profile", "resolution", "EXIF"})
        names = {"icc_profile": "colour profile", "dpi": "resolution", "exif": "EXIF"}
        assert {names[key] for key in back.metadata if key in names} == set(names.values()) - set(
            images.left_out(path, picture)
        )
        if "icc_profile" in back.metadata:
            assert back.metadata["icc_profile"] == noise
        if "exif" in back.metadata:
            again = Image.Exif()
            again.load(back.metadata["exif"])
            assert again[ExifTags.Base.Artist] == exif[ExifTags.Base.Artist]

    @pytest.mark.parametrize(("extension", "limit"), [(".png", 2**20), (".jpg", 255 * 65519)])
    def test_the_longest_profile(self, tmp_path, extension, limit):
        noise = RNG.integers(0, 256, limit + 1, np.uint8).tobytes()
        path = tmp_path / f"out{extension}"
        for length in (limit, limit + 1):
            picture = images.Picture(COLOUR, metadata={"icc_profile": noise[:length]})
            images.write(path, picture, overwrite=True)
            assert ("icc_profile" in images.read(path).metadata) is (length == limit)

    def test_an_image_without_metadata_gets_none(self, reads):
        assert reads(saved(Image.fromarray(GREY), "PNG")).metadata == {}

    @pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x32", b"Exif\0\0"])
    def test_damaged_exif_does_not_cost_the_picture(self, reads, tmp_path, exif):
        picture = reads(saved(Image.fromarray(COLOUR), "JPEG", exif=exif))
        assert picture.pixels.shape == COLOUR.shape
        images.write(tmp_path / "out.jpg", picture)

    def test_damage_elsewhere_in_exif_costs_nothing_either(self, reads):
        rng = np.random.default_rng(0)
        whole = np.frombuffer(self.exif(1).tobytes(), np.uint8)
        for _ in range(300):
            exif = whole.copy()
            exif[rng.integers(6, len(exif), 3)] = rng.integers(0, 256, 3)
            data = saved(Image.fromarray(COLOUR), "JPEG", exif=exif.tobytes())
            assert reads(data).pixels.size == COLOUR.size

    @pytest.mark.parametrize("dpi", [10_000_000, 0.1])
    def test_an_absurd_resolution_is_left_out(self, reads, dpi):
        assert "dpi" not in reads(saved(Image.fromarray(GREY), "PNG", dpi=(dpi, dpi))).metadata


class TestRefused:
    @pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
    def test_sixteen_bit_colour_or_alpha_png_needs_the_extra(self, reads, monkeypatch, tmp_path, colour_type, channels):
        array = RNG.integers(0, 65536, (12, 17, channels)).astype(">u2")
        data = png(12, 17, 16, colour_type, png_rows(array))
        picture = reads(data)
        np.testing.assert_array_equal(picture.pixels, array[..., 0] if channels == 2 else array[..., :3])
        if channels != 3:
            np.testing.assert_array_equal(picture.alpha, array[..., -1])
        monkeypatch.setitem(sys.modules, "imagecodecs", None)
        with pytest.raises(images.ImageFileError, match=r"in PNG is not kept .*pip install 'graddesc\[deep\]'"):
            reads(data)
        with pytest.raises(ValueError, match=r"in PNG is not kept .*pip install 'graddesc\[deep\]'"):
            images.write(tmp_path / "out.png", picture)
        assert not (tmp_path / "out.png").exists()

    @pytest.mark.parametrize("maximum", [256, 1023, 65535])
    def test_deep_colour_pnm(self, reads, maximum):
        array = RNG.integers(0, maximum, (12, 17, 3)).astype(">u2")
        with pytest.raises(images.ImageFileError, match="colour of more than 8 bits, which would be reduced to 8"):
            reads(b"P6 17 12 %d\n" % maximum + array.tobytes())

    def test_shallow_colour_pnm_is_read(self, reads):
        array = RNG.integers(0, 256, (12, 17, 3), np.uint8)
        np.testing.assert_array_equal(reads(b"P6 17 12 255\n" + array.tobytes()).pixels, array)

    @pytest.mark.parametrize("planar", [1, 2])
    def test_sixteen_bit_colour_tiff(self, reads, monkeypatch, planar):
        body = RNG.integers(0, 65536, (12, 17, 3)).astype("<u2")
        entries = [
            (256, 3, 1, 17), (257, 3, 1, 12), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 300),
            (277, 3, 1, 3), (278, 3, 1, 12), (279, 4, 1, body.nbytes), (284, 3, 1, planar),
        ]  # fmt: skip
        directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
        data = (b"II*\0\x08\0\0\0" + directory + bytes(4)).ljust(200, b"\0") + struct.pack("<HHH", 16, 16, 16)
        data = data.ljust(300, b"\0") + body.tobytes()
        expected = body if planar == 1 else np.moveaxis(body.reshape(3, 12, 17), 0, -1)
        if planar == 1:
            np.testing.assert_array_equal(reads(data).pixels, expected)
        monkeypatch.setitem(sys.modules, "tifffile", None)
        with pytest.raises(images.ImageFileError, match=r"TIFF with 16-bit colour is not kept .*graddesc\[deep\]"):
            reads(data)

    def test_sixteen_bit_grey_with_transparency(self, reads):
        transparent = struct.pack(">I", 2) + b"tRNS" + b"\0\7"
        transparent += struct.pack(">I", zlib.crc32(transparent[4:]))
        with pytest.raises(images.ImageFileError, match="16-bit grey with a transparent value is not supported"):
            reads(png(12, 17, 16, 0, png_rows(DEEP.astype(">u2")), before=transparent))

    @pytest.mark.parametrize("array", [DEEP, FLOAT], ids=["deep", "float"])
    def test_deep_grey_of_which_zero_is_white(self, reads, array):
        whole = bytearray(saved(Image.fromarray(array), "TIFF"))
        start = whole.index(struct.pack("<HHII", 262, 3, 1, 1))
        assert reads(bytes(whole)).pixels.dtype == array.dtype
        whole[start : start + 12] = struct.pack("<HHII", 262, 3, 1, 0)
        with pytest.raises(images.ImageFileError, match="of which 0 is white is not supported"):
            reads(bytes(whole))

    def test_grey_of_eight_bits_of_which_zero_is_white(self, reads):
        whole = bytearray(saved(Image.fromarray(GREY), "TIFF"))
        start = whole.index(struct.pack("<HHII", 262, 3, 1, 1))
        whole[start : start + 12] = struct.pack("<HHII", 262, 3, 1, 0)
        np.testing.assert_array_equal(reads(bytes(whole)).pixels, 255 - GREY)

    def test_other_pixels(self, reads):
        with pytest.raises(images.ImageFileError, match="pixels of the kind LAB are not supported"):
            reads(saved(Image.new("LAB", (5, 5)), "TIFF"))

    @pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
    def test_several_frames(self, reads, kind):
        frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR), Image.fromarray(COLOUR[::-1].copy())]
        with pytest.raises(images.ImageFileError, match="3 frames: save the one to work on as a file of its own"):
            reads(saved(frames[0], kind, save_all=True, append_images=frames[1:]))

    def test_other_formats_even_if_pillow_reads_them(self, reads):
        for kind in ("TGA", "PCX", "ICO", "EPS"):
            with pytest.raises(images.ImageFileError, match="not an image, or not one of PNG"):
                reads(saved(Image.fromarray(COLOUR), kind))

    @pytest.mark.parametrize("side", [100_000, 12_000, 2**31 - 1])
    def test_absurd_sizes_by_the_header_alone(self, reads, side):
        with pytest.raises(images.ImageFileError, match=f"more than {images.MAX_PIXELS}"):
            reads(png(side, side, 8, 0))

    def test_large_but_sensible_sizes_pass_without_a_warning(self, reads):
        rows, cols = 2**13, 2**14  # Pillow warns above 89 million pixels
        assert rows * cols == images.MAX_PIXELS
        with pytest.raises(images.ImageFileError, match="damaged or truncated"):
            reads(png(rows, cols, 8, 0, bytes(100)))
        with pytest.raises(images.ImageFileError, match="more than"):
            reads(png(rows, cols + 1, 8, 0, bytes(100)))

    @pytest.mark.parametrize("data", [b"", b"a text, renamed\n" * 20, bytes(1000), b"\x89PNG\r\n\x1a\n", b"\xff\xd8"])
    def test_no_image(self, reads, data):
        with pytest.raises(images.ImageFileError, match="not an image, or not one of PNG"):
            reads(data, "image.png")

    @each("kind", ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM"])
    def test_truncated_anywhere(self, reads, kind):
        image = Image.fromarray(RNG.integers(0, 256, (40, 50), np.uint8))
        whole = saved(image.convert("RGB") if kind == "WEBP" else image, kind)
        reads(whole)
        for end in np.linspace(0, 0.95 * len(whole), 60).astype(int):
            with pytest.raises(images.ImageFileError, match=r"image: "):
                reads(whole[:end])

    @each("kind", ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM"])
    def test_damage_gives_an_image_or_the_one_error(self, reads, kind):
        image = Image.fromarray(COLOUR)
        whole = saved(
            image, kind, **({"exif": TestMetadata.exif(6).tobytes()} if kind in ("PNG", "JPEG", "TIFF") else {})
        )
        rng = np.random.default_rng(9)
        for _ in range(150):
            data = np.frombuffer(whole, np.uint8).copy()
            data[rng.integers(0, min(len(data), 400), 4)] = rng.integers(0, 256, 4)
            try:
                picture = reads(data.tobytes())
            except images.ImageFileError:
                continue
            assert picture.pixels.size <= 3 * images.MAX_PIXELS

    def test_out_of_memory(self, reads, monkeypatch):
        data = saved(Image.fromarray(GREY), "PNG")
        monkeypatch.setattr(images, "_decode", lambda *_: bytes(2**62))
        with pytest.raises(images.ImageFileError, match="image: not enough memory"):
            reads(data)

    def test_missing_file(self, tmp_path):
        with pytest.raises(images.ImageFileError, match=r"absent\.png: No such file or directory"):
            images.read(tmp_path / "absent.png")

    def test_directory(self, tmp_path):
        with pytest.raises(images.ImageFileError, match="Is a directory"):
            images.read(tmp_path)


class TestStandardInput:
    def test_read(self, monkeypatch):
        data = io.BytesIO(saved(Image.fromarray(GREY), "PNG"))
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=data))
        np.testing.assert_array_equal(images.read("-").pixels, GREY)

    def test_empty(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO()))
        with pytest.raises(images.ImageFileError, match="standard input: not an image"):
            images.read("-")

    def test_closed(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", None)
        with pytest.raises(images.ImageFileError, match="standard input: closed"):
            images.read("-")

    def test_more_than_memory_should_hold(self, monkeypatch):
        endless = types.SimpleNamespace(buffer=types.SimpleNamespace(read=lambda size: bytes(size)))
        monkeypatch.setattr(sys, "stdin", endless)
        monkeypatch.setattr(images, "_MAX_STREAM", 10**7)
        with pytest.raises(images.ImageFileError, match="standard input: more than 10000000 bytes"):
            images.read("-")

    @pytest.mark.posix
    def test_a_pipe_by_name(self):
        reader, writer = os.pipe()
        os.write(writer, saved(Image.fromarray(GREY), "PNG"))
        os.close(writer)
        np.testing.assert_array_equal(images.read(f"/dev/fd/{reader}").pixels, GREY)
        os.close(reader)
