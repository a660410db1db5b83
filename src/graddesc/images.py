"""Reading and writing image files with Pillow, without silent losses.

What Pillow would reduce without a word (16-bit colour, all frames but the first) is refused. A path of "-" is standard
input or output.
"""

import io
import math
import os
import struct
import sys
import warnings
from dataclasses import dataclass, field

import numpy as np
from PIL import ExifTags, Image

from graddesc import outputs

__all__ = [
    "MAX_PIXELS",
    "ImageFileError",
    "Picture",
    "check_format",
    "encode",
    "is_lossy",
    "left_out",
    "read",
    "write",
]

MAX_PIXELS = 2**27
"""The most pixels of an image that is decoded: 134 million. Pillow itself refuses above 179 million."""

_MAX_STREAM = 2**30  # bytes of a pipe, which is held in memory

# Pillow's names of the formats that are read. Some others reduce deep pixels unnoticed, some run other programs.
_READABLE = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")

_MODES = {  # Pillow's name of each kind of picture, and ours
    "L": "8-bit grey",
    "LA": "8-bit grey with alpha",
    "RGB": "8-bit colour",
    "RGBA": "8-bit colour with alpha",
    "I;16": "16-bit grey",
    "F": "floating-point grey",
}

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
    "F": "F",
}

# Descriptive tags of EXIF. Others tell how the old file stored its pixels, or hold its orientation or its thumbnail.
_KEPT_TAGS = tuple(
    ExifTags.Base[name]
    for name in ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "HostComputer", "Copyright")
)
_STALE_TAGS = tuple(ExifTags.Base[name] for name in ("ExifImageWidth", "ExifImageHeight", "ExifInteroperabilityOffset"))
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_METADATA = {"icc_profile": "colour profile", "dpi": "resolution", "exif": "EXIF"}


@dataclass(frozen=True)
class _Format:
    name: str
    modes: tuple
    metadata: dict = field(default_factory=dict)  # what it holds, and the greatest length
    options: dict = field(default_factory=dict)
    max_side: int = 2**31 - 1
    lossy: bool = False


_PNG = _Format(
    "PNG",
    ("L", "LA", "RGB", "RGBA", "I;16"),
    {"icc_profile": 2**20, "dpi": math.inf, "exif": math.inf},  # Pillow opens no PNG file with a longer profile
)
_TIFF = _Format("TIFF", tuple(_MODES), dict.fromkeys(_METADATA, math.inf))
_JPEG = _Format(
    "JPEG",
    ("L", "RGB"),
    {"icc_profile": 255 * 65519, "dpi": math.inf, "exif": 65533},  # 255 segments, one segment
    options={"quality": 95, "subsampling": 0},
    max_side=65535,
    lossy=True,
)
_WEBP = _Format(
    "WEBP",
    ("RGB", "RGBA"),
    {"icc_profile": math.inf, "exif": math.inf},
    options={"lossless": True, "exact": True},
    max_side=16383,
)
_FORMATS = {
    ".png": _PNG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": _WEBP,
    ".bmp": _Format("BMP", ("L", "RGB"), {"dpi": math.inf}),
    ".pgm": _Format("PPM", ("L", "I;16")),
    ".ppm": _Format("PPM", ("RGB",)),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
}


class ImageFileError(OSError):
    """An image file that cannot be read, or not without loss; the message is one sentence that says why."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image and what belongs to its file.

    Parameters
    ----------
    pixels : numpy.ndarray, shape (rows, cols) or (rows, cols, 3)
        Grey of uint8, uint16 or float32, or RGB of uint8.
    alpha : numpy.ndarray of uint8, shape (rows, cols), optional
        The opacity, for uint8 pixels only.
    metadata : dict, optional
        ``icc_profile`` and ``exif`` (bytes) and ``dpi`` (pair of numbers), as far as the file has them.
    lossy : bool, default False
        Whether the pixels come from a JPEG or a lossy WebP file, or a TIFF file compressed so, and what were extremes
        may be so no more.

    Raises
    ------
    TypeError
        If the pixels or the alpha have another dtype.
    ValueError
        If they have another shape.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: dict = field(default_factory=dict)
    lossy: bool = False

    def __post_init__(self):
        dtype, shape = np.asarray(self.pixels).dtype, np.shape(self.pixels)
        if dtype not in (np.uint8, np.uint16, np.float32):
            raise TypeError(f"pixels must be uint8, uint16 (grey) or float32 (grey), got {dtype}")
        wanted = "(rows, cols) or (rows, cols, 3)" if dtype == np.uint8 else "(rows, cols)"
        if not (len(shape) == 2 or (dtype == np.uint8 and shape[2:] == (3,))):
            raise ValueError(f"pixels of {dtype} must have shape {wanted}, got {shape}")
        if self.alpha is None:
            return
        if dtype != np.uint8:
            raise TypeError(f"alpha must be None with pixels of {dtype}")
        if (found := np.asarray(self.alpha).dtype) != np.uint8:
            raise TypeError(f"alpha must be uint8, got {found}")
        if np.shape(self.alpha) != shape[:2]:
            raise ValueError(f"alpha must have shape {shape[:2]}, got {np.shape(self.alpha)}")

    @property
    def channel_axis(self):
        """-1 for colour, None for grey."""
        return None if self.pixels.ndim == 2 else -1

    @property
    def mode(self):
        """Pillow's name of this kind of picture."""
        if self.pixels.dtype == np.uint16:
            return "I;16"
        if self.pixels.dtype == np.float32:
            return "F"
        return ("L" if self.pixels.ndim == 2 else "RGB") + ("A" if self.alpha is not None else "")


def read(source):
    """Read an image file.

    Parameters
    ----------
    source : str or os.PathLike
        A PNG, JPEG, TIFF, BMP, GIF, WebP or PNM file, or "-".

    Returns
    -------
    Picture
        Upright, as EXIF says; 1-bit pixels as 8-bit grey, palettes, CMYK and YCbCr as RGB; alpha by itself; 16-bit and
        floating-point grey as they are. Of an MPO file (a JPEG with previews) the main image.

    Raises
    ------
    ImageFileError
        If the file is missing, unreadable, no image, damaged, truncated, of more than ``MAX_PIXELS`` pixels or several
        frames, endless, or of a kind that cannot be kept: 16-bit colour, 16-bit grey with transparency,
        16-bit or floating-point grey of which 0 is white, 32-bit integers, Lab.
    """
    name = "standard input" if source == "-" else os.fspath(source)
    try:
        # Pillow warns of large images (there is a limit of our own) and of damaged metadata, which are left out.
        with _open(source) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_READABLE) as image:
                _check_header(image)
                return _decode(image, _is_lossy_file(image, file))
    except ImageFileError as error:
        raise ImageFileError(f"{name}: {error}") from None
    except Image.UnidentifiedImageError:
        kinds = "PNG, JPEG, TIFF, BMP, GIF, WebP and PNM"
        raise ImageFileError(f"{name}: not an image, or not one of {kinds} that Pillow reads") from None
    except Image.DecompressionBombError:
        raise ImageFileError(f"{name}: more than {MAX_PIXELS} pixels") from None
    except MemoryError:
        raise ImageFileError(f"{name}: not enough memory") from None
    except Exception as error:  # a damaged file can make Pillow raise nearly anything
        reason = getattr(error, "strerror", None) or f"damaged or truncated ({str(error) or type(error).__name__})"
        raise ImageFileError(f"{name}: {reason}") from None


def _open(source):
    if source == "-":
        if sys.stdin is None:
            raise ImageFileError("closed")
        return _whole(sys.stdin.buffer)
    file = open(source, "rb")  # noqa: SIM115 - the caller closes it
    if file.seekable():
        return file
    with file:
        return _whole(file)


def _whole(stream):
    """All of a stream, such as a pipe, in memory, because Pillow goes to and fro in a file."""
    data = io.BytesIO()
    while piece := stream.read(2**20):
        data.write(piece)
        if data.tell() > _MAX_STREAM:
            raise ImageFileError(f"more than {_MAX_STREAM} bytes")
    data.seek(0)
    return data


def _check_header(image):
    """Refuse by the header alone, before anything is decoded."""
    if image.width * image.height > MAX_PIXELS:
        raise ImageFileError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS}")
    if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
        raise ImageFileError(f"{frames} frames or pages: save the one to work on as a file of its own")
    if image.mode not in _DECODED and not _is_deep_pnm(image):
        raise ImageFileError(f"pixels of the kind {image.mode} are not supported")
    if _is_reduced(image):
        raise ImageFileError("colour or alpha of more than 8 bits, which would be reduced to 8; 16-bit grey is kept")
    if image.mode.startswith("I;16") and "transparency" in image.info:
        raise ImageFileError("16-bit grey with transparency is not supported")
    if _is_negative(image):
        raise ImageFileError("16-bit or floating-point grey of which 0 is white is not supported: make 0 black")


def _is_deep_pnm(image):
    """Whether the image is 16-bit grey in 32-bit integers, which Pillow makes of this format alone."""
    return image.format == "PPM" and image.mode == "I"


def _is_negative(image):
    """Whether the greatest value is black, as Pillow minds for 8 bits only."""
    deep = image.mode.startswith(("I", "F"))
    return deep and image.format == "TIFF" and image.tag_v2.get(ExifTags.Base.PhotometricInterpretation) == 0


def _is_reduced(image):
    """Whether Pillow decodes pixels of more than 8 bits to 8."""
    if image.mode.startswith(("I", "F")):
        return False
    if image.format == "TIFF":
        return max(image.tag_v2.get(ExifTags.Base.BitsPerSample, (1,))) > 8
    if image.format == "PNG":
        return any(";16" in str(tile[3]) for tile in image.tile)
    if image.format == "PPM":
        arguments = image.tile[0][3]  # (raw mode, greatest value), or others of the decoder for 8 bits
        return isinstance(arguments, tuple) and any(isinstance(value, int) and value > 255 for value in arguments)
    return False


def _is_lossy_file(image, file):
    if image.format == "WEBP":
        return _is_lossy_webp(file)
    if image.format == "TIFF":
        return image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    return image.format in ("JPEG", "MPO")


def _is_lossy_webp(file):
    """Whether the pixels of a WebP file, which Pillow has read, are of the kind VP8 and not VP8L."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        kind, size = struct.unpack("<4sI", header)
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8 "
        file.seek(size + size % 2, os.SEEK_CUR)
    return False


def _decode(image, lossy):
    metadata = _metadata(image)
    if _is_deep_pnm(image):
        return Picture(np.asarray(image).astype(np.uint16))
    mode = _DECODED[image.mode]
    if mode in ("L", "RGB") and image.has_transparency_data:
        mode += "A"
    image = _upright(image)
    if mode in ("I;16", "F"):
        return Picture(np.array(image).astype(np.uint16 if mode == "I;16" else np.float32, copy=False), None, metadata)
    pixels = np.array(image if image.mode == mode else image.convert(mode))
    if not mode.endswith("A"):
        return Picture(pixels, None, metadata, lossy)
    colour = pixels[..., 0] if mode == "LA" else pixels[..., :3]
    return Picture(np.ascontiguousarray(colour), pixels[..., -1].copy(), metadata, lossy)


def _upright(image):
    """Apply the orientation of EXIF, as ImageOps.exif_transpose does, which gives up if any other tag is damaged."""
    image.load()  # which applies that of TIFF
    try:
        method = _TRANSPOSITIONS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # damaged metadata must not cost the picture
        return image
    return image if method is None else image.transpose(method)


def _metadata(image):
    """What can be handed to another file, as keywords of Pillow's save."""
    metadata = {}
    profile = image.info.get("icc_profile")
    if profile and image.mode != "CMYK":  # the profile of CMYK says nothing about the RGB it is converted to
        metadata["icc_profile"] = profile
    for key, extract in (("dpi", _dpi), ("exif", _descriptive_exif)):
        try:
            value = extract(image)
        except Exception:  # damaged metadata must not cost the picture
            continue
        if value:
            metadata[key] = value
    return metadata


def _dpi(image):
    across, down = (float(value) for value in image.info["dpi"])
    return (across, down) if all(1 <= value <= 65535 for value in (across, down)) else None


def _descriptive_exif(image):
    old, new = image.getexif(), Image.Exif()
    for tag in _KEPT_TAGS:
        if tag in old:
            new[tag] = old[tag]
    found = len(new)
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        entries = {tag: value for tag, value in old.get_ifd(directory).items() if tag not in _STALE_TAGS}
        new.get_ifd(directory).update(entries)
        found += len(entries)
    data = new.tobytes()
    return data if found else None


def _format_of(target):
    """The format that a path's extension names; standard output gets PNG."""
    extension = ".png" if target == "-" else outputs.extension(target)
    try:
        return _FORMATS[extension]
    except KeyError:
        known = ", ".join(_FORMATS)
        raise ValueError(f"{target}: the extension must be one of {known}, got {extension!r}") from None


def is_lossy(target):
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


def check_format(target, picture):
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
    if picture.mode not in chosen.modes:
        able = ", ".join(extension for extension, other in _FORMATS.items() if picture.mode in other.modes)
        raise ValueError(f"{target}: {chosen.name} cannot hold {_MODES[picture.mode]}; these can: {able}")
    rows, cols = picture.pixels.shape[:2]
    if max(rows, cols) > chosen.max_side:
        raise ValueError(f"{target}: {chosen.name} holds at most {chosen.max_side} pixels a side, got {cols} x {rows}")


def _holds(chosen, key, value):
    return len(value) <= chosen.metadata.get(key, -1)


def left_out(target, picture):
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
        Some of "colour profile", "resolution" and "EXIF": the format knows no such thing, or not of that length.

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
    return tuple(
        name
        for key, name in _METADATA.items()
        if key in picture.metadata and not _holds(chosen, key, picture.metadata[key])
    )


def encode(target, picture):
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
    pixels = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
    metadata = {key: value for key, value in picture.metadata.items() if _holds(chosen, key, value)}
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, chosen.name, **chosen.options, **metadata)
    return buffer.getvalue()


def write(target, picture, *, overwrite=False):
    """Write an image file, whole or not at all.

    Parameters
    ----------
    target : str or os.PathLike
        The file; its extension chooses the format: .png, .tif, .tiff, .webp (lossless), .bmp, .pgm, .ppm, or .jpg and
        .jpeg, which alone change pixels. "-" is a PNG on standard output.
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
