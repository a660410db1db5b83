"""Reading and writing image files without silent losses.

Pillow reads what it reads without a loss, tifffile and imagecodecs (the extra ``deep``) the rest, such as 16-bit
colour; what nobody here reads whole is refused. TIFF files are written by ``graddesc.tiff``, which hands on all tags. A
path of "-" is standard input or output.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import io
import logging
import math
import os
import re
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from graddesc import outputs, tiff
from graddesc.tiff import Directory

if TYPE_CHECKING:
    from _typeshed import StrPath
    from PIL.ImageFile import ImageFile

__all__ = [
    "MAX_PIXELS",
    "ImageFileError",
    "Picture",
    "check_format",
    "encode",
    "is_lossy",
    "left_out",
    "read",
    "without_places",
    "write",
]

_Array: TypeAlias = NDArray[Any]
_Convert: TypeAlias = Callable[[_Array], _Array]

MAX_PIXELS = 2**27
"""The most pixels of an image that is decoded: 134 million. Pillow itself refuses above 179 million."""

_MAX_STREAM = 2**30  # bytes of a pipe, which is held in memory

# Formats that are read: Pillow's names, its plugins, and how files of them start. Some others reduce deep pixels
# unnoticed, some run other programs.
_READABLE = (
    ("PNG", "PngImagePlugin", b"\x89PNG\r\n\x1a\n"),
    ("JPEG", "JpegImagePlugin", b"\xff\xd8\xff"),
    ("TIFF", "TiffImagePlugin", (b"II", b"MM")),
    ("BMP", "BmpImagePlugin", b"BM"),
    ("GIF", "GifImagePlugin", (b"GIF87a", b"GIF89a")),
    ("WEBP", "WebPImagePlugin", b"RIFF"),
    ("PPM", "PpmImagePlugin", b"P"),
)

_DEEP = "with the extra graddesc[deep] it is kept: pip install 'graddesc[deep]'"

# What a file's mode is decoded to; transparency adds an alpha channel.
_DECODED = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "P": "RGB",
    "PA": "RGBA",
    "RGB": "RGB",
    "RGBX": "RGB",
    "RGBA": "RGBA",
    "YCbCr": "RGB",
    "CMYK": "RGB",
    "I;16": "I;16",
    "I;16B": "I;16",
    "I;16L": "I;16",
    "I;16N": "I;16",
    "I": "I",
    "F": "F",
}

# The pixels of TIFF files that Pillow decodes as they are, by bits and by the code of their format (1 unsigned, 2
# signed, 3 floating-point): how Pillow's own pixels become them.
_TIFF_KINDS: dict[tuple[int, int], _Convert] = {
    (8, 2): lambda array: array.view(np.int8),
    (16, 1): lambda array: array,
    (16, 2): lambda array: array.astype(np.int16),
    (32, 1): lambda array: array.view(np.uint32),
    (32, 2): lambda array: array,
    (32, 3): lambda array: array,
}
# Formats and bits of TIFF's numbers that arrays can hold, and tifffile reads.
_TIFF_NUMBERS = {(1, 32), (1, 64), (2, 8), (2, 16), (2, 32), (2, 64), (3, 16), (3, 32), (3, 64)}
_MOST_BANDS = 16  # as which a short last axis may be meant
# Of TIFF: none, LZW, JPEG, deflate, PackBits, LZMA, zstd, and those of fax; others hold images with sizes of their own.
_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000)
_UNSUPPORTED = {
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_AT_ONCE = 2**18  # pixels that are taken out of Pillow's image

# Descriptive tags of EXIF that TIFF has as well. Of the others those go with them that do not tell how the old file
# stored its pixels, or hold its orientation or its thumbnail.
_KEPT_TAGS = tuple(
    ExifTags.Base[name]
    for name in ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "HostComputer", "Copyright")
)
_STALE_TAGS = tuple(ExifTags.Base[name] for name in ("ExifImageWidth", "ExifImageHeight", "ExifInteroperabilityOffset"))
_LOST = {
    "xmp": "XMP",
    "comment": "comment",
    "gamma": "gamma",
    "srgb": "sRGB",
    "chromaticity": "chromaticities",
    "photoshop": "IPTC",
}  # by Pillow's names for them
_METADATA = {"icc_profile": "colour profile", "dpi": "resolution", "exif": "EXIF"}


@dataclass(frozen=True, eq=False)
class _Format:
    name: str
    dtypes: tuple[str, ...]  # of grey pixels
    colour_dtypes: tuple[str, ...] = ()
    alpha: bool = False
    grey: bool = True
    frames: bool = False
    bands: bool = False  # of any number, as well as grey and RGB
    metadata: dict[str, float] = field(default_factory=dict)  # what it holds, and the greatest length
    options: dict[str, Any] = field(default_factory=dict)
    max_side: int = 2**31 - 1
    lossy: bool = False


_INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
_ALL = (*_INTEGERS, "float16", "float32", "float64")
_PNG = _Format(
    "PNG",
    ("uint8", "uint16"),
    ("uint8", "uint16"),
    alpha=True,
    metadata={
        "icc_profile": 2**20,
        "dpi": math.inf,
        "exif": math.inf,
    },  # Pillow opens no PNG file with a longer profile
    options={"compress_level": 3},  # a third of the time of 6, its default, for files that are 5 % larger
)
_TIFF = _Format("TIFF", _ALL, _ALL, alpha=True, frames=True, bands=True, metadata=dict.fromkeys(_METADATA, math.inf))
_JPEG = _Format(
    "JPEG",
    ("uint8",),
    ("uint8",),
    metadata={"icc_profile": 255 * 65519, "dpi": math.inf, "exif": 65533},  # 255 segments, one segment
    options={"quality": 95, "subsampling": 0},
    max_side=65535,
    lossy=True,
)
_WEBP = _Format(
    "WEBP",
    (),
    ("uint8",),
    alpha=True,
    metadata={"icc_profile": math.inf, "exif": math.inf},
    options={"lossless": True, "exact": True},
    max_side=16383,
)
_FORMATS = {
    ".png": _PNG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": _WEBP,
    ".bmp": _Format("BMP", ("uint8",), ("uint8",), metadata={"dpi": math.inf}),
    ".pgm": _Format("PPM", ("uint8", "uint16")),
    ".ppm": _Format("PPM", (), ("uint8",)),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".npy": _Format("NPY", _ALL, _ALL, alpha=True, frames=True, bands=True),
}


class _Metadata(TypedDict, total=False):
    icc_profile: bytes
    exif: bytes
    dpi: tuple[float, float]
    tiff: list[Directory]
    lost: tuple[str, ...]


class _Told(NamedTuple):
    """What `read` is told of the axes of a file."""

    channel: int | None
    frame: int | None
    stack: bool
    like: Picture | None

    def of(self, ndim: int) -> tuple[int | None, int | None, bool]:
        """What that says of a file of so many axes."""
        if self.like is None:
            return self.channel, self.frame, self.stack
        axes = self.like.axes
        if axes is None and self.like.is_cube:
            axes = tuple(range(self.like.pixels.ndim))  # which the file tells itself
        if axes is None or len(axes) != ndim:
            return None, None, self.like.frames
        channel = None if self.like.channel_axis is None else axes[-1]
        return channel, axes[0] if self.like.frames else None, self.like.frames


class ImageFileError(OSError):
    """An image file that cannot be read, or not without loss; the message is one sentence that says why."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image and what belongs to its file.

    Parameters
    ----------
    pixels : numpy.ndarray, shape (rows, cols) or (rows, cols, channels), with a first axis of frames if there are
        Grey, RGB or any number of bands, of integers or of floats of at most 64 bits.
    alpha : numpy.ndarray, shape of the pixels but for the colours, optional
        The opacity, for pixels of uint8 or uint16 and of their dtype.
    metadata : dict, optional
        ``icc_profile`` and ``exif`` (bytes) and ``dpi`` (pair of numbers), as far as the file has them; ``tiff``, all
        tags of a TIFF file, a ``graddesc.tiff.Directory`` for each page; ``lost``, the names of what the file held and
        no other can be given.
    lossy : bool, default False
        Whether the pixels come from a JPEG or a lossy WebP file, or a TIFF file compressed so, and what were extremes
        may be so no more.
    nodata : int or float, optional
        The value that marks what is missing, as the tag GDAL_NODATA of a TIFF file tells.
    frames : bool, default False
        Whether the first axis counts frames or pages.
    stored_shape : tuple of int, optional
        The rows and columns of the file, where EXIF has turned or mirrored the pixels.
    axes : tuple of int, optional
        Which axis of the file each axis of the pixels is, where `read` was told of its channels or frames: they are
        written so again.
    stored_as : str, optional
        How the file holds the pixels, where that is another kind than theirs, such as "a palette".

    Raises
    ------
    TypeError
        If the pixels or the alpha have another dtype.
    ValueError
        If they have another shape.
    """

    pixels: NDArray[np.integer[Any] | np.floating[Any]]
    alpha: NDArray[np.uint8 | np.uint16] | None = None
    metadata: _Metadata = field(default_factory=_Metadata)
    lossy: bool = False
    nodata: float | None = None
    frames: bool = False
    stored_shape: tuple[int, int] | None = None
    axes: tuple[int, ...] | None = None
    stored_as: str | None = None

    def __post_init__(self) -> None:
        dtype, shape = np.asarray(self.pixels).dtype, np.shape(self.pixels)
        if dtype.kind not in "iuf" or dtype.itemsize > 8:
            raise TypeError(f"pixels must be of integers or of floats of at most 64 bits, got {dtype}")
        ndim = 2 + self.frames
        if len(shape) not in (ndim, ndim + 1):
            plane = "frames, rows, cols" if self.frames else "rows, cols"
            raise ValueError(f"pixels must have shape ({plane}) or ({plane}, channels), got {shape}")
        if self.axes is not None and sorted(self.axes) != list(range(len(shape))):
            raise ValueError(f"axes must be an order of the {len(shape)} axes of pixels, got {self.axes}")
        if self.alpha is None:
            return
        if dtype not in (np.uint8, np.uint16):
            raise TypeError(f"alpha must be None with pixels of {dtype}")
        if (found := np.asarray(self.alpha).dtype) != dtype:
            raise TypeError(f"alpha must be {dtype}, got {found}")
        if np.shape(self.alpha) != shape[:ndim]:
            raise ValueError(f"alpha must have shape {shape[:ndim]}, got {np.shape(self.alpha)}")

    @property
    def channel_axis(self) -> Literal[-1] | None:
        """-1 for colour and bands, None for grey."""
        return None if self.pixels.ndim == 2 + self.frames else -1

    @property
    def channels(self) -> int:
        """How many channels there are: 1 for grey."""
        return 1 if self.channel_axis is None else int(self.pixels.shape[-1])

    @property
    def is_cube(self) -> bool:
        """Whether there are bands, which are neither grey nor RGB."""
        return self.channel_axis is not None and self.channels != 3

    def as_stored(self, array: _Array) -> _Array:
        """Return an array of the shape of the pixels with its axes in the order of the file."""
        return array if self.axes is None else array.transpose(np.argsort(self.axes))

    @property
    def frame_axis(self) -> Literal[0] | None:
        """0 for a stack of frames, None for one image."""
        return 0 if self.frames else None

    @property
    def size(self) -> tuple[int, int]:
        """The rows and columns."""
        rows, cols = self.pixels.shape[self.frames : self.frames + 2]
        return rows, cols

    @property
    def kind(self) -> str:
        """What kind of pixels these are, such as "signed 16-bit grey"."""
        return ("a stack of " if self.frames else "") + _kind(
            self.pixels.dtype,
            f"bands, {self.channels} of them" if self.is_cube else "grey" if self.channel_axis is None else "colour",
            self.alpha is not None,
        )


def _kind(dtype: np.dtype[Any], what: str, alpha: bool) -> str:
    bits = f"{8 * dtype.itemsize}-bit"
    words = {"u": bits, "i": f"signed {bits}", "f": f"{bits} floating-point"}[dtype.kind]
    return f"{words} {what}" + (" with alpha" if alpha else "")


def read(
    source: StrPath,
    *,
    channel_axis: int | None = None,
    frame_axis: int | None = None,
    stack: bool = False,
    like: Picture | None = None,
) -> Picture:
    """Read an image file.

    Parameters
    ----------
    source : str or os.PathLike
        A PNG, JPEG, TIFF, BMP, GIF, WebP, PNM or NumPy (.npy) file, or "-".
    channel_axis : int, optional
        Which axis of a .npy file has the channels, bands of any number. Of a TIFF file of grey pages 0 says that these
        are bands, of other files of colours only their last axis has channels.
    frame_axis : int, optional
        Which axis of a .npy file counts frames, or the planes of a volume. Of a TIFF file of pages it is 0.
    stack : bool, default False
        Whether a .npy file of three axes, or of four with channels, has frames though its last axis might be one of
        colours; the first axis that is none of channels counts them, unless `frame_axis` says otherwise.
    like : Picture, optional
        The image that the file is a mask of: what was told of its axes goes for a file of as many as well.

    Returns
    -------
    Picture
        Upright, as EXIF says; 1-bit pixels as 8-bit grey, palettes, CMYK and YCbCr as RGB; alpha by itself; grey of
        more than 8 bits as it is. Of an MPO file (a JPEG with previews) the main image; of a TIFF file all pages of
        full size, as frames if there are several, and samples that are said to be neither colour nor alpha as bands. A
        .npy file holds (rows, cols), or (frames, rows, cols), unless it is told otherwise; a last axis of length 3 is
        colour, and of 2 or 4, of uint8 and uint16, has an alpha.

    Raises
    ------
    ImageFileError
        If the file is missing, unreadable, no image, damaged, truncated, of more than ``MAX_PIXELS`` pixels, endless,
        an animation, or of a kind that cannot be kept: 16-bit colour, bands and floating-point numbers other than of 32
        bits without the extra ``deep``, grey of more than 8 bits with a transparent value or of which 0 is white, Lab;
        or if it has no such axes.

    Notes
    -----
    libtiff, by which Pillow reads compressed TIFF files, tells of damage in lines of its own on the process's standard
    error, besides the exception. They are left alone here, as standard error belongs to all threads; the command, which
    has one, keeps them from it.
    """
    name = "standard input" if source == "-" else os.fspath(source)
    try:
        # Pillow warns of large images (there is a limit of our own) and of damaged metadata, which are left out.
        with _open(source) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            head = file.read(8)
            file.seek(0)
            told = _Told(channel_axis, frame_axis, stack, like)
            if head.startswith(b"\x93NUMPY"):
                return _read_npy(file, told)
            if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                return _with_axes(_read_tiff(file), told)
            with _opened(file) as image:
                _check_header(image)
                return _with_axes(_decode(image, file), told)
    except ImageFileError as error:
        raise ImageFileError(f"{name}: {error}") from None
    except UnidentifiedImageError:
        kinds = "PNG, JPEG, TIFF, BMP, GIF, WebP, PNM and NPY"
        raise ImageFileError(f"{name}: not an image, or not one of {kinds} that can be read") from None
    except Image.DecompressionBombError:
        raise ImageFileError(f"{name}: more than {MAX_PIXELS} pixels") from None
    except MemoryError:
        raise ImageFileError(f"{name}: not enough memory") from None
    except Exception as error:  # a damaged file can make a reader raise nearly anything
        reason = getattr(error, "strerror", None) or f"damaged or truncated ({str(error) or type(error).__name__})"
        raise ImageFileError(f"{name}: {reason}") from None


def _open(source: StrPath) -> BinaryIO:
    if source == "-":
        if sys.stdin is None:
            raise ImageFileError("closed")
        return _whole(sys.stdin.buffer)
    file = open(source, "rb")  # noqa: SIM115 - the caller closes it
    if file.seekable():
        return file
    with file:
        return _whole(file)


def _whole(stream: BinaryIO) -> io.BytesIO:
    """All of a stream, such as a pipe, in memory, because Pillow goes to and fro in a file."""
    data = io.BytesIO()
    while piece := stream.read(2**20):
        data.write(piece)
        if data.tell() > _MAX_STREAM:
            raise ImageFileError(f"more than {_MAX_STREAM} bytes")
    data.seek(0)
    return data


def _check_size(rows: int, cols: int, frames: int = 1) -> None:
    if rows < 1 or cols < 1:
        raise ImageFileError("no pixels")
    if rows * cols * frames > MAX_PIXELS:
        raise ImageFileError(f"{cols} x {rows} pixels{f' x {frames}' * (frames > 1)} are more than {MAX_PIXELS}")


def _opened(file: BinaryIO) -> ImageFile:
    """Open an image by the one plugin of Pillow that its start asks for: Image.open loads some, and all for TIFF."""
    start = file.read(16)
    file.seek(0)
    for name, plugin, signatures in _READABLE:
        if not start.startswith(signatures):
            continue
        importlib.import_module(f"PIL.{plugin}")
        make, accepts = Image.OPEN[name]
        if accepts is not None and accepts(start) is True:
            try:
                return make(file, "")
            except (SyntaxError, IndexError, TypeError, struct.error):  # by which plugins say that it is not theirs
                break
    raise UnidentifiedImageError


def _check_header(image: ImageFile) -> None:
    """Refuse by the header alone, before anything is decoded."""
    _check_size(image.height, image.width)
    if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
        raise ImageFileError(f"{frames} frames: save the one to work on as a file of its own, or a stack as TIFF")
    if image.mode not in _DECODED or (image.mode == "I" and image.format != "PPM"):
        raise ImageFileError(f"pixels of the kind {image.mode} are not supported")
    if image.format == "PPM" and isinstance(maximum := image.tile[0][3], tuple) and not {65535, 255} & {*maximum}:
        numbers = [value for value in maximum if isinstance(value, int)]
        if numbers and not _is_reduced(image):
            raise ImageFileError(f"values of 0 to {numbers[-1]}, which would be scaled: save it with 255 or 65535")
    if image.mode.startswith("I;16") and "transparency" in image.info:
        raise ImageFileError("16-bit grey with a transparent value is not supported")


def _is_reduced(image: ImageFile) -> bool:
    """Whether Pillow decodes pixels of more than 8 bits to 8."""
    if image.mode.startswith(("I", "F")):
        return False
    if image.format == "PNG":
        return any(";16" in str(tile[3]) for tile in image.tile)
    if image.format == "PPM":
        arguments = image.tile[0][3]  # (raw mode, greatest value), or others of the decoder for 8 bits
        return isinstance(arguments, tuple) and any(isinstance(value, int) and value > 255 for value in arguments)
    return False


def _is_lossy_file(image: ImageFile, file: BinaryIO) -> bool:
    if image.format == "WEBP":
        return _is_lossy_webp(file)
    return image.format in ("JPEG", "MPO")


def _is_lossy_webp(file: BinaryIO) -> bool:
    """Whether the pixels of a WebP file, which Pillow has read, are of the kind VP8 and not VP8L."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        kind, size = struct.unpack("<4sI", header)
        if kind in (b"VP8 ", b"VP8L"):
            return bytes(kind) == b"VP8 "
        file.seek(size + size % 2, os.SEEK_CUR)
    return False


def _decode(image: ImageFile, file: BinaryIO) -> Picture:
    lossy = _is_lossy_file(image, file)
    if _is_reduced(image):
        return _decode_deep(image, file)
    kind = _other_kind(image)  # as long as the image knows it
    metadata = _metadata(image)
    stored = (image.height, image.width) if _orientation(image) in range(2, 9) else None
    pixels, alpha = _pixels(image)
    if image.format == "PPM" and pixels.dtype == np.int32:
        pixels = pixels.astype(np.uint16)
    return Picture(pixels, alpha, metadata, lossy, stored_shape=stored, stored_as=kind)


def _other_kind(image: ImageFile) -> str | None:
    """How a file holds its pixels, where they are read as another kind."""
    if image.mode == "1":
        return "1-bit grey"
    if image.format == "PNG" and image.mode == "L" and (match := re.fullmatch("L;([24])", str(image.tile[0][3]))):
        return f"{match[1]}-bit grey"
    return {"P": "a palette", "PA": "a palette", "CMYK": "inks (CMYK)"}.get(image.mode)


def _pixels(image: ImageFile, convert: _Convert | None = None) -> tuple[_Array, _Array | None]:
    """The pixels of an image, upright, and its alpha or None.

    They are taken out of Pillow's image some rows at a time: all at once that would hold eight copies of them.
    """
    mode = _DECODED[image.mode]
    if mode in ("L", "RGB") and image.has_transparency_data:
        mode += "A"
    image.load()  # which applies the orientation of TIFF
    pixels = np.empty(0)
    alpha = None
    for start in range(0, image.height, rows := max(_AT_ONCE // image.width, 1)):
        stop = min(start + rows, image.height)
        part = image.crop((0, start, image.width, stop))
        piece = np.asarray(part if part.mode == mode or mode == "I;16" else part.convert(mode))
        if mode == "I;16":
            piece = piece.astype(np.uint16, copy=False)
        if convert is not None:
            piece = convert(piece)
        colour = piece[..., 0] if mode == "LA" else piece[..., :3] if mode == "RGBA" else piece
        if start == 0:
            pixels = np.empty((image.height, *colour.shape[1:]), colour.dtype)
            alpha = np.empty((image.height, image.width), colour.dtype) if mode.endswith("A") else None
        pixels[start:stop] = colour
        if alpha is not None:
            alpha[start:stop] = piece[..., -1]
    orientation = _orientation(image)
    return _turned(pixels, orientation), None if alpha is None else _turned(alpha, orientation)


def _decode_deep(image: ImageFile, file: BinaryIO) -> Picture:
    """Decode colour or alpha of 16 bits, which Pillow would reduce to 8."""
    if image.format != "PNG" or "transparency" in image.info:
        raise ImageFileError("colour of more than 8 bits, which would be reduced to 8: save it as PNG or TIFF")
    imagecodecs = _require_deep("imagecodecs", "16-bit colour or alpha in PNG")
    metadata, orientation = _metadata(image), _orientation(image)
    file.seek(0)
    array = imagecodecs.png_decode(file.read())
    stored = array.shape[:2] if orientation in range(2, 9) else None
    array = _turned(array, orientation)
    pixels, alpha = _apart(array, array.shape[-1] in (2, 4))
    return Picture(pixels, alpha, metadata, stored_shape=stored)


def _require_deep(module: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImageFileError(f"{what} is not kept without more packages; {_DEEP}") from None


def _apart(array: _Array, alpha: bool) -> tuple[_Array, _Array | None]:
    """The colours of an array and its last sample, the alpha, if it has one."""
    if not alpha:
        return (array[..., 0] if array.ndim > 2 and array.shape[-1] == 1 else array), None
    colour = array[..., 0] if array.shape[-1] == 2 else array[..., :-1]
    return np.ascontiguousarray(colour), array[..., -1].copy()


def _turned(array: _Array, orientation: int) -> _Array:
    """Turn an array as EXIF's orientation says."""
    if orientation in (2, 3, 7, 8):
        array = array[:, ::-1]
    if orientation in (3, 4, 6, 7):
        array = array[::-1]
    return np.ascontiguousarray(array.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else array)


def _read_npy(file: BinaryIO, told_axes: _Told) -> Picture:
    version = np.lib.format.read_magic(file)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if header is None:
        raise ImageFileError(f"version {version[0]}.{version[1]} of the format is not supported")
    shape, _, dtype = header(file)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ImageFileError(f"an array of {dtype}, not of integers or of floats of at most 64 bits")
    channel_axis, frame_axis, stack = told_axes.of(len(shape))
    channel, frame = _axes_told(shape, dtype, channel_axis, frame_axis, stack)
    told = channel_axis is not None or frame_axis is not None or (stack and frame is not None)
    space = [axis for axis in range(len(shape)) if axis not in (channel, frame)]
    if len(space) != 2 or 0 in shape:
        hint = "; the channel axis and the frame axis may be told" if len(shape) > 2 else ""
        raise ImageFileError(f"an array of shape {shape}, not of rows and columns, with channels or frames{hint}")
    _check_size(shape[space[0]], shape[space[1]], 1 if frame is None else shape[frame])
    start = file.tell()
    file.seek(0, os.SEEK_END)
    if file.tell() - start < math.prod(shape) * dtype.itemsize:
        raise ImageFileError("damaged or truncated (fewer bytes than its shape asks for)")
    file.seek(0)
    array = np.lib.format.read_array(file, allow_pickle=False)
    axes = tuple(axis for axis in (frame, *space, channel) if axis is not None)
    array = np.ascontiguousarray(array.transpose(axes), array.dtype.newbyteorder("="))
    array = array.view(np.uint8) if dtype.kind == "b" else array
    kind = "bool" if dtype.kind == "b" else None
    if channel_axis is not None or channel is None:
        return Picture(array, frames=frame is not None, axes=axes if told else None, stored_as=kind)
    pixels, alpha = _apart(array, array.shape[-1] in (2, 4))
    if pixels.ndim < array.ndim:  # one channel, or one beside the alpha
        if axes != tuple(range(len(shape))):
            raise ImageFileError(f"an array of shape {shape}: which axis has the channels must be told, too")
        told = False
        kind = kind or ("a last axis of length 1" if alpha is None else None)
    return Picture(pixels, alpha, frames=frame is not None, axes=axes if told else None, stored_as=kind)


def _axes_told(
    shape: tuple[int, ...], dtype: np.dtype[Any], channel_axis: int | None, frame_axis: int | None, stack: bool
) -> tuple[int | None, int | None]:
    """Which axes of an array have its channels and its frames: those that are told, or else those that must be."""
    ndim = len(shape)
    channel, frame = _axis("channel", channel_axis, shape), _axis("frame", frame_axis, shape)
    if channel is not None and channel == frame:
        raise ImageFileError(f"the channel axis and the frame axis of an array of shape {shape} are both {channel}")
    lasts = (1, 3) + (2, 4) * (dtype in ("u1", "u2"))
    more = ndim > 3 if frame is not None or stack else ndim > 2
    if channel is None and more and frame != ndim - 1 and shape[-1] in lasts:
        channel = ndim - 1
    rest = [axis for axis in range(ndim) if axis not in (channel, frame)]
    if frame is None and len(rest) == 3:
        if channel_axis is None and not stack and channel is None and shape[-1] <= _MOST_BANDS < shape[0]:
            raise ImageFileError(
                f"an array of shape {shape}: are its {shape[-1]} last ones bands, or the columns of {shape[0]} frames?"
                " A channel axis of 2 or a frame axis of 0 tells"
            )
        frame = rest[0]
    elif frame is not None and channel is None and len(rest) == 3:
        raise ImageFileError(f"an array of shape {shape}: which axis beside axis {frame} has the channels must be told")
    elif (channel_axis, frame_axis) != (None, None) and len(rest) < 2:
        raise ImageFileError(f"an array of shape {shape} has no rows and columns beside the axes that are told")
    return channel, frame


def _axis(name: str, axis: int | None, shape: tuple[int, ...]) -> int | None:
    """An axis of an array, counted from the first."""
    if axis is None:
        return None
    if not -len(shape) <= axis < len(shape):
        raise ImageFileError(f"the {name} axis must be one of the {len(shape)} axes of shape {shape}, got {axis}")
    return axis % len(shape)


def _with_axes(picture: Picture, told_axes: _Told) -> Picture:
    """A picture of a file that knows its axes itself, but whose pages may be bands."""
    shape = picture.pixels.shape
    channel_axis, frame_axis, _ = told_axes.of(len(shape))
    if told_axes.like is not None and not (channel_axis == 0 and picture.frames):
        return picture
    channel, frame = _axis("channel", channel_axis, shape), _axis("frame", frame_axis, shape)
    own = None if picture.channel_axis is None else len(shape) - 1
    if channel in (None, own) and frame in (None, picture.frame_axis):
        return dataclasses.replace(picture, axes=tuple(range(len(shape)))) if channel and picture.is_cube else picture
    if channel == 0 and frame is None and picture.frames and own is None and picture.alpha is None:
        return dataclasses.replace(
            picture, pixels=np.ascontiguousarray(np.moveaxis(picture.pixels, 0, -1)), frames=False, axes=(1, 2, 0)
        )
    told = " and ".join(
        f"a {name} axis of {axis}"
        for name, axis in (("channel", channel_axis), ("frame", frame_axis))
        if axis is not None
    )
    raise ImageFileError(f"{picture.kind} of shape {shape} has no {told.removeprefix('a ')}")


# ---- TIFF ----


def _read_tiff(file: BinaryIO) -> Picture:
    """Read all pages of full size of a TIFF file, with its tags."""
    held = tiff.directories(file)
    numbers = [k for k, page in enumerate(held) if not page.first(254, 0) & 5]  # 1 is an overview, 4 a mask
    lost = ["overviews or masks"] * (len(numbers) < len(held))
    pages = [held[k] for k in numbers]
    if not pages:
        raise ImageFileError("no page of full size")
    first = pages[0]
    count = max(len(pages), _hidden_frames(first))
    _check_size(first.first(257, 0), first.first(256, 0), count * max(first.first(277, 1) // 4, 1))
    if (compression := first.first(259, 1)) not in _COMPRESSIONS:
        method = _UNSUPPORTED.get(compression, f"method {compression}")
        raise ImageFileError(f"TIFF compressed by {method} is not supported: save it with LZW, deflate or zstd")
    if first.first(tiff.DEPTH, 1) > 1:
        raise ImageFileError("a volume in one page is not supported: save its planes as pages")
    with_nodata = [page for page in pages if tiff.NODATA in page.tags]  # often the first alone, for all
    orientations = {page.first(tiff.ORIENTATION, 1) for page in pages}
    for number, told in ((tiff.ORIENTATION, orientations), (tiff.NODATA, {*map(_nodata_text, with_nodata)})):
        if len(told) > 1:
            raise ImageFileError(f"pages of different {tiff.tag_name(number)}: save them as files of their own")
    if len({(page.first(257, 0), page.first(256, 0)) for page in pages}) > 1:
        raise ImageFileError(f"{len(pages)} pages of different sizes: save the one to work on as a file of its own")
    orientation = first.first(tiff.ORIENTATION, 1)
    plain = {_is_plain(page) for page in pages} == {True} and count == len(pages)
    try:
        if not plain:
            raise UnidentifiedImageError
        pixels, alpha, lossy, metadata = _pages_by_pillow(file, numbers, pages)
    except UnidentifiedImageError:  # as Pillow says of BigTIFF and of 32 bits where the high byte comes first
        pixels, alpha, lossy = _pages_by_tifffile(file, numbers, first, count)
        metadata = {"icc_profile": first.tags[tiff.PROFILE].data} if tiff.PROFILE in first.tags else {}
    if pixels.size == 0:
        raise ImageFileError("no pixels")
    xmp = first.tags[tiff.XMP].data if tiff.XMP in first.tags else b""
    turned = orientation in range(2, 9) or re.search(rb"tiff:Orientation\W{1,3}[2-8]", xmp) is not None
    left = [
        *dict.fromkeys(number for page in pages for number in page.unread),
        *(number for number in (tiff.SUBDIRECTORIES,) if number in first.tags),
    ]
    if turned:
        left += [number for number in tiff.GEOGRAPHIC if number in first.tags]
    if turned:
        gone = {*tiff.GEOGRAPHIC, *([tiff.XMP] if b"tiff:Orientation" in xmp else [])}
        left += [tiff.XMP] if tiff.XMP in gone else []
        for page in pages:
            page.tags = {number: tag for number, tag in page.tags.items() if number not in gone}
            if orientation > 4:  # rows have become columns
                across, down = (page.tags.get(number) for number in tiff.RESOLUTIONS[:2])
                page.tags |= {282: down, 283: across} if across and down else {}
    lost += [tiff.tag_name(number) for number in left]
    lost = [*metadata.pop("lost", ()), *lost] if "lost" in metadata and first.first(262, 1) == 5 else lost
    metadata.pop("lost", None)
    metadata["tiff"] = pages if len(pages) == count else pages * count
    if lost:
        metadata["lost"] = tuple(lost)
    frames = count > 1
    if not frames:
        pixels, alpha = pixels[0], None if alpha is None else alpha[0]
    stored = (first.first(257, 0), first.first(256, 0)) if turned else None
    nodata = _nodata(with_nodata[0]) if with_nodata else None
    return Picture(pixels, alpha, metadata, lossy, nodata, frames, stored, stored_as=_stored_as(first))


def _hidden_frames(page: Directory) -> int:
    """How many images ImageJ or tifffile says that it has put behind a single directory."""
    text = page.tags[tiff.DESCRIPTION].text if tiff.DESCRIPTION in page.tags else ""
    if text.startswith("ImageJ=") and (match := re.search(r"^images=(\d{1,9})$", text, re.MULTILINE)):
        return int(match[1])
    if match := re.match(r'\{"shape": \[([\d, ]{1,200})\]', text):
        sides = [int(side) for side in match[1].split(",") if side.strip()]
        plane = page.first(257, 1) * page.first(256, 1) * page.first(277, 1)
        return math.prod(sides) // max(plane, 1) if math.prod(sides) % max(plane, 1) == 0 else 1
    return 1


def _tiff_kind(page: Directory) -> tuple[int, int]:
    """The bits and the format of a page's samples."""
    bits = page.tags[258].numbers if 258 in page.tags else (1,)
    return max(bits, default=1), page.first(339, 1)


def _bands(page: Directory) -> int:
    """How many bands the samples of a page are, as which all beside grey or RGB are meant; 0 for others."""
    extras = page.tags[338].numbers if 338 in page.tags else ()
    return page.first(277, 1) if extras and not any(extras) and page.first(262, 1) in (1, 2) else 0


def _is_plain(page: Directory) -> bool:
    """Whether Pillow decodes the pixels of a page as they are; raise if nobody should."""
    bits, code = _tiff_kind(page)
    if (code, bits) not in _TIFF_NUMBERS and not (code == 1 and bits <= 16):
        raise ImageFileError(f"TIFF with {bits}-bit numbers of the format {code} is not supported")
    extras = page.tags[338].numbers if 338 in page.tags else ()
    bands = _bands(page)
    if not bands and extras not in ((), (2,)):  # 2 is an alpha that is not multiplied into the colours
        what = "an alpha that is multiplied into the colours" if extras == (1,) else "bands beside an alpha"
        raise ImageFileError(f"{what} would be lost: only plain alpha is supported (ExtraSamples is {extras})")
    if page.first(262, 1) in (0, 1, 2) and page.first(277, 1) - len(extras) != (3 if page.first(262, 1) == 2 else 1):
        raise ImageFileError(f"{page.first(277, 1)} samples a pixel, which are neither grey nor RGB, are not supported")
    if (bits < 8 or page.first(262, 1) == 0) and _nodata(page) is not None:
        raise ImageFileError(f"{_stored_as(page)} with a nodata value, which would be scaled: save it with 8 bits")
    if bands:
        return False
    deep = bits > 8 or code != 1
    if deep and page.first(262, 1) not in (0, 1, 2):
        raise ImageFileError("palettes and inks of more than 8 bits are not supported: save it as grey or RGB")
    if deep and page.first(262, 1) == 0:
        raise ImageFileError("grey of more than 8 bits, or signed, of which 0 is white is not supported: make 0 black")
    return not deep or (page.first(277, 1) == 1 and (bits, code) in _TIFF_KINDS)


def _stored_as(page: Directory) -> str | None:
    """What kind the pixels of a page are, where they are read as another."""
    bits, _ = _tiff_kind(page)
    kind = page.first(262, 1)
    if kind in (0, 1) and bits <= 8:
        return f"{bits}-bit grey{' of which 0 is white' * (kind == 0)}" if bits < 8 or kind == 0 else None
    return {3: "a palette", 5: "inks (CMYK)", 6: "YCbCr"}.get(kind)


def _swapped(convert: _Convert, array: _Array) -> _Array:
    return convert(array).byteswap()


def _pages_by_pillow(
    file: BinaryIO, numbers: list[int], pages: list[Directory]
) -> tuple[_Array, _Array | None, bool, _Metadata]:
    file.seek(0)
    big_endian = file.read(2) == b"MM"
    file.seek(0)
    all_pixels, all_alpha = [], []
    with _opened(file) as image:
        lossy = image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
        metadata = _metadata(image)
        # What libtiff has decompressed is in the machine's order already, and Pillow changes it once more.
        swapped = big_endian and pages[0].first(259, 1) != 1
        for number, page in zip(numbers, pages, strict=True):
            image.seek(number)
            if image.mode not in _DECODED:
                raise ImageFileError(f"pixels of the kind {image.mode} are not supported")
            bits, code = _tiff_kind(page)
            convert = _TIFF_KINDS[bits, code] if bits > 8 or code != 1 else None
            if convert is not None and swapped and (bits, code) in ((16, 2), (32, 2), (32, 3)):
                convert = functools.partial(_swapped, convert)
            pixels, alpha = _pixels(image, convert)
            all_pixels.append(pixels)
            all_alpha.append(alpha)
    return *_stacked(all_pixels, all_alpha), lossy, metadata


def _stacked(pixels: Sequence[_Array], alpha: Sequence[_Array | None]) -> tuple[_Array, _Array | None]:
    """The pages as one array, and their alpha or None; raise if they are of different kinds."""
    kinds = {(page.dtype, page.shape, its is None) for page, its in zip(pixels, alpha, strict=True)}
    if len(kinds) > 1:
        raise ImageFileError(f"{len(pixels)} pages of different kinds: save the one to work on as a file of its own")
    planes = [page for page in alpha if page is not None]
    if len(pixels) == 1:
        return pixels[0][np.newaxis], planes[0][np.newaxis] if planes else None
    return np.stack(pixels), np.stack(planes) if planes else None


def _pages_by_tifffile(
    file: BinaryIO, numbers: list[int], first: Directory, count: int
) -> tuple[_Array, _Array | None, bool]:
    bits, code = _tiff_kind(first)
    bands = _bands(first)
    what = {
        1: f"{bits}-bit {'bands' if bands else 'colour'}",
        2: f"signed {bits}-bit numbers",
        3: f"{bits}-bit floating-point numbers",
    }
    tifffile = _require_deep("tifffile", f"TIFF with {what.get(code, 'such numbers')}")
    log = logging.getLogger("tifffile")
    was, log.disabled = log.disabled, True  # it tells there of damage
    file.seek(0)
    try:
        with tifffile.TiffFile(file) as whole:
            page = whole.pages[numbers[0]]
            if count > len(numbers):
                arrays = whole.series[0].asarray()
                arrays = list(arrays.reshape(count, *page.shape))
            else:
                arrays = [whole.pages[number].asarray() for number in numbers]
            axes, extras = page.axes, page.extrasamples
            lossy = page.compression.name in ("JPEG", "OJPEG", "WEBP", "JPEGXR_NDPI")
    finally:
        log.disabled = was
    orientation = first.first(tiff.ORIENTATION, 1)
    samples = 1
    if axes in ("SYX", "YXS"):
        samples = page.shape[axes.index("S")]
        arrays = [np.moveaxis(array, axes.index("S"), -1) for array in arrays]
    elif axes != "YX":
        raise ImageFileError(f"pages with the axes {axes} are not supported")
    colour = samples in (3, 4) and first.first(262, 1) == 2
    if samples != bands and ((samples > 2 and not colour) or len(extras) != samples - (3 if colour else 1)):
        raise ImageFileError(f"{samples} samples a pixel, which are neither grey nor RGB, are not supported")
    has_alpha = bool(extras) and not bands
    pixels, alpha = zip(*(_apart(_turned(array, orientation), has_alpha) for array in arrays), strict=True)
    return *_stacked(pixels, alpha), lossy


def _nodata_text(page: Directory) -> str:
    """What GDAL's tag for what is missing says."""
    return page.tags[tiff.NODATA].text.strip() if tiff.NODATA in page.tags else ""


def _nodata(page: Directory) -> float | None:
    """The number of GDAL's tag for what is missing, or None."""
    text = _nodata_text(page)
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return None


# ---- metadata ----


def _orientation(image: ImageFile) -> int:
    try:
        orientation: int = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata must not cost the picture
        return 1
    return orientation


def _metadata(image: ImageFile) -> _Metadata:
    """What can be handed to another file, as keywords of Pillow's save."""
    metadata = _Metadata()
    profile = image.info.get("icc_profile")
    if profile and image.mode != "CMYK":  # the profile of CMYK says nothing about the RGB it is converted to
        metadata["icc_profile"] = profile
    with contextlib.suppress(Exception):  # damaged metadata must not cost the picture
        if dpi := _dpi(image):
            metadata["dpi"] = dpi
    with contextlib.suppress(Exception):
        if exif := _descriptive_exif(image):
            metadata["exif"] = exif
    lost = [name for key, name in _LOST.items() if key in image.info]
    with contextlib.suppress(Exception):  # damaged metadata
        lost += [ExifTags.TAGS.get(tag, f"EXIF tag {tag}") for tag in _other_tags(image) if not _stays(image, tag)]
    if profile and image.mode == "CMYK":
        lost.append("the colour profile of the inks")
    if getattr(image, "text", None):
        lost.append("text")
    if lost:
        metadata["lost"] = tuple(lost)
    return metadata


def _dpi(image: ImageFile) -> tuple[float, float] | None:
    across, down = (float(value) for value in image.info["dpi"])
    return (across, down) if all(1 <= value <= 65535 for value in (across, down)) else None


def _other_tags(image: ImageFile) -> list[int]:
    """The tags of EXIF that are neither descriptive nor about how the old file stored its pixels."""
    if image.format == "TIFF":  # which hands on all tags
        return []
    return sorted({*image.getexif()} - {*_KEPT_TAGS, *tiff.STRUCTURAL, *tiff.RESOLUTIONS})


def _stays(image: ImageFile, tag: int) -> bool:
    """Whether a tag is written as it was read.

    XMP may say of the pixels what is no longer true, and in a TIFF file the tags of GDAL and GeoTIFF would say it.
    """
    if tag in (tiff.XMP, tiff.SUBDIRECTORIES, tiff.NODATA, *tiff.GEOGRAPHIC):
        return False
    one, again = Image.Exif(), Image.Exif()
    one[tag] = image.getexif()[tag]
    again.load(one.tobytes())
    return bool(again.get(tag) == one[tag])


def _descriptive_exif(image: ImageFile) -> bytes | None:
    old = image.getexif()
    if not old:
        return None
    new = Image.Exif()
    for tag in (*_KEPT_TAGS, *_other_tags(image)):
        if tag in old and (tag in _KEPT_TAGS or _stays(image, tag)):
            new[tag] = old[tag]
    found = len(new)
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        entries = {tag: value for tag, value in old.get_ifd(directory).items() if tag not in _STALE_TAGS}
        if entries:
            new.get_ifd(directory).update(entries)
        found += len(entries)
    data = new.tobytes()
    return data if found else None


def _format_of(target: StrPath) -> _Format:
    """The format that a path's extension names; standard output gets PNG."""
    extension = ".png" if target == "-" else outputs.extension(target)
    try:
        return _FORMATS[extension]
    except KeyError:
        known = ", ".join(_FORMATS)
        raise ValueError(f"{target}: the extension must be one of {known}, got {extension!r}") from None


def without_places(picture: Picture) -> Picture:
    """Return a picture without the tags that say where its pixels lie, which other rows and columns make untrue.

    Parameters
    ----------
    picture : Picture
        As it was read.

    Returns
    -------
    Picture
        The same with those tags named by :func:`left_out`.
    """
    held = picture.metadata.get("tiff", [])
    lost = [tiff.tag_name(number) for number in tiff.GEOGRAPHIC if any(number in page.tags for page in held)]
    if not lost:
        return picture
    fewer = [
        dataclasses.replace(page, tags={n: tag for n, tag in page.tags.items() if n not in tiff.GEOGRAPHIC})
        for page in held
    ]
    metadata = picture.metadata.copy()
    metadata["tiff"], metadata["lost"] = fewer, (*metadata.get("lost", ()), *lost)
    return dataclasses.replace(picture, metadata=metadata)


def is_lossy(target: StrPath) -> bool:
    """Tell whether the format of an output file changes pixels, as JPEG alone does.

    Parameters
    ----------
    target : str or os.PathLike
        The file; its extension chooses the format. "-" is PNG.

    Returns
    -------
    bool
        Whether pixels may change.

    Raises
    ------
    ValueError
        If the extension is unknown.

    Examples
    --------
    >>> from graddesc import images
    >>> images.is_lossy("a.jpg"), images.is_lossy("a.png")
    (True, False)
    """
    return _format_of(target).lossy


def check_format(target: StrPath, picture: Picture) -> None:
    """Raise unless the format of an output file can hold a picture.

    Parameters
    ----------
    target : str or os.PathLike
        The file; its extension chooses the format. "-" is PNG.
    picture : Picture
        What to write, or what has the same size and kind of pixels.

    Raises
    ------
    ValueError
        If the extension is unknown, or its format does not hold such pixels, transparency or so long a side.
    """
    chosen = _format_of(target)
    if not _holds_kind(chosen, picture):
        able = ", ".join(extension for extension, other in _FORMATS.items() if _holds_kind(other, picture))
        raise ValueError(f"{target}: {chosen.name} cannot hold {picture.kind}; these can: {able}")
    rows, cols = picture.size
    if chosen.name == "NPY" and picture.axes is None:
        if picture.frames and picture.channel_axis is None and cols <= _MOST_BANDS:
            raise ValueError(f"{target}: frames of {cols} columns would be read as bands from a .npy file: use .tif")
        if (other := _mistaken(picture)) is not None:
            raise ValueError(
                f"{target}: {picture.kind} of shape {picture.pixels.shape} would be read as {other} from a .npy file:"
                f" use .tif, or tell that the channel axis is {picture.pixels.ndim - 1}"
            )
    if max(rows, cols) > chosen.max_side:
        raise ValueError(f"{target}: {chosen.name} holds at most {chosen.max_side} pixels a side, got {cols} x {rows}")
    if chosen is _PNG and _is_deep_colour(picture):
        try:
            _require_deep("imagecodecs", "16-bit colour or alpha in PNG")
        except ImageFileError as error:
            raise ValueError(f"{target}: {error}") from None


def _mistaken(picture: Picture) -> str | None:
    """As what a picture would be read from a .npy file if nothing is told of its axes; None if as what it is."""
    shape, dtype = picture.pixels.shape, picture.pixels.dtype
    samples = picture.channels + (picture.alpha is not None)
    if picture.alpha is not None:
        shape = (*shape[: 2 + picture.frames], samples)
    try:
        channel, frame = _axes_told(shape, dtype, None, None, False)
    except ImageFileError:  # which asks
        return None
    if len(shape) - (channel is not None) - (frame is not None) != 2:
        return None  # which is refused
    has_alpha = channel is not None and samples in (2, 4)
    colours = 0 if channel is None or samples < 3 else samples - has_alpha
    own = 0 if picture.channel_axis is None else picture.channels
    if (frame is not None, has_alpha, colours) == (picture.frames, picture.alpha is not None, own):
        return None
    return ("a stack of " if frame is not None else "") + _kind(dtype, "colour" if colours else "grey", has_alpha)


def _holds_kind(chosen: _Format, picture: Picture) -> bool:
    held = chosen.dtypes if picture.channel_axis is None else chosen.colour_dtypes
    fits = picture.pixels.dtype.name in held and (chosen.alpha or picture.alpha is None)
    return fits and (chosen.frames or not picture.frames) and (chosen.bands or not picture.is_cube)


def _is_deep_colour(picture: Picture) -> bool:
    return picture.pixels.dtype == np.uint16 and (picture.channel_axis is not None or picture.alpha is not None)


def _holds(chosen: _Format, key: str, value: Any) -> bool:
    return key in _METADATA and len(value) <= chosen.metadata.get(key, -1)


def left_out(target: StrPath, picture: Picture) -> tuple[str, ...]:
    """Tell which metadata of a picture an output file cannot hold.

    Parameters
    ----------
    target : str or os.PathLike
        The file; its extension chooses the format. "-" is PNG.
    picture : Picture
        What to write.

    Returns
    -------
    tuple of str
        Some of "colour profile", "resolution" and "EXIF" and the names of TIFF tags: the format knows no such thing, or
        not of that length.

    Raises
    ------
    ValueError
        If the extension is unknown.

    Examples
    --------
    >>> from graddesc import images, samples
    >>> images.left_out("a.ppm", images.Picture(samples.ginkgo(64), metadata={"dpi": (300, 300)}))
    ('resolution',)
    """
    chosen = _format_of(target)
    known: dict[str, Any] = {**picture.metadata}
    names = [name for key, name in _METADATA.items() if key in known and not _holds(chosen, key, known[key])]
    names += picture.metadata.get("lost", ())
    if chosen is not _TIFF and "tiff" in picture.metadata:
        told = {*tiff.STRUCTURAL, tiff.SUBDIRECTORIES}
        told |= {*tiff.RESOLUTIONS} if "dpi" in picture.metadata else set()
        told |= {*_KEPT_TAGS} if "exif" in picture.metadata else set()
        held = {number for page in picture.metadata["tiff"] for number in page.tags}
        names += [tiff.tag_name(number) for number in sorted(held - told)]
    return tuple(names)


def encode(target: StrPath, picture: Picture) -> bytes | memoryview:
    """Return the bytes of an image file.

    Parameters
    ----------
    target : str or os.PathLike
        The file; its extension chooses the format. "-" is PNG. Nothing is written.
    picture : Picture
        What the file shall hold.

    Returns
    -------
    bytes-like
        What :func:`write` would write.

    Raises
    ------
    ValueError
        As :func:`check_format`.
    """
    check_format(target, picture)
    chosen = _format_of(target)
    pixels = picture.pixels
    if picture.alpha is not None:
        samples = pixels if picture.channel_axis is not None else pixels[..., np.newaxis]
        pixels = np.concatenate([samples, picture.alpha[..., np.newaxis]], axis=-1)
    metadata: dict[str, Any] = {key: value for key, value in picture.metadata.items() if _holds(chosen, key, value)}
    buffer = _Named()
    if chosen is _TIFF:
        apart = picture.axes is not None and not picture.frames and picture.axes[-1] == 0  # bands that were pages
        pages = list(picture.as_stored(pixels)) if apart else list(pixels) if picture.frames else [pixels]
        held = picture.metadata.get("tiff") or _as_directories(metadata)
        held = held if len(held) in (0, len(pages)) else [held[0]] * len(pages)
        return tiff.encode(pages, held, alpha=picture.alpha is not None, profile=metadata.get("icc_profile"))
    if chosen.name == "NPY":
        np.lib.format.write_array(buffer, np.ascontiguousarray(picture.as_stored(pixels)), allow_pickle=False)
    elif chosen is _PNG and _is_deep_colour(picture):
        return _deep_png(pixels, metadata)
    else:
        buffer.name = f"image{outputs.extension(target)}" if target != "-" else "image.png"
        Image.fromarray(pixels).save(buffer, **chosen.options, **metadata)
    return buffer.getbuffer()


class _Named(io.BytesIO):
    """Bytes with the name of a file, by which Pillow finds a format; by that of the format it loads all usual ones."""


def _as_directories(metadata: dict[str, Any]) -> list[Directory]:
    """What is known beside the pixels as TIFF says it."""
    directory = tiff.Directory()
    if "exif" in metadata:
        block = metadata["exif"]
        with contextlib.suppress(ValueError, KeyError, struct.error):  # damaged
            directory = tiff.directories(io.BytesIO(block.removeprefix(b"Exif\0\0")))[0]
    if "dpi" in metadata:
        directory.tags |= tiff.resolution(metadata["dpi"])
    return [directory] if directory.tags or directory.below else []


def _deep_png(pixels: _Array, metadata: dict[str, Any]) -> bytes:
    """A PNG file of 16-bit samples, with what belongs to it, which goes after the header."""
    whole = bytes(importlib.import_module("imagecodecs").png_encode(np.ascontiguousarray(pixels)))
    chunks = b""
    if "icc_profile" in metadata:
        chunks += _chunk(b"iCCP", b"profile\0\0" + zlib.compress(metadata["icc_profile"]))
    if "dpi" in metadata:
        chunks += _chunk(b"pHYs", struct.pack(">IIB", *(round(dpi / 0.0254) for dpi in metadata["dpi"]), 1))
    if "exif" in metadata:
        chunks += _chunk(b"eXIf", metadata["exif"].removeprefix(b"Exif\0\0"))
    header = 8 + 25  # the signature and the chunk IHDR
    return whole[:header] + chunks + whole[header:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write(target: StrPath, picture: Picture, *, overwrite: bool = False) -> None:
    """Write an image file, whole or not at all.

    Parameters
    ----------
    target : str or os.PathLike
        The file; its extension chooses the format: .png, .tif, .tiff, .npy, .webp (lossless), .bmp, .pgm, .ppm, or .jpg
        and .jpeg, which alone change pixels. "-" is a PNG on standard output.
    picture : Picture
        What to write. Metadata that the format cannot hold are left out; :func:`left_out` tells which.
    overwrite : bool, default False
        Whether a file that exists may be replaced.

    Raises
    ------
    ValueError
        If the extension is unknown or its format cannot hold the picture.
    OSError
        If the file cannot be written, or exists and ``overwrite`` is false.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from graddesc import images, samples
    >>> path = pathlib.Path(tempfile.mkdtemp(), "ginkgo.png")
    >>> images.write(path, images.Picture(samples.ginkgo(64)))
    >>> images.read(path).pixels.shape
    (64, 64, 3)
    """
    outputs.write(target, encode(target, picture), overwrite=overwrite)
