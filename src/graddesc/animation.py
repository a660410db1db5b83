"""Animations as WebP, GIF or PNG: an image that heals step by step, a figure of which some parts move."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from graddesc.arguments import as_image
from graddesc.shades import eight_bits, shown_range

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    from graddesc.result import Result

__all__ = ["Animation", "Recorder", "film", "spaced"]

_MAX_SIDE = 480  # pixels; frames of larger images are reduced, which bounds the memory and the file
_GROWTH = 1.15  # of the iteration from frame to frame: 500 iterations make 35 frames
_FILM_GROWTH = 1.2  # of what a film counts
_FIRST, _EACH, _LAST = 1200, 90, 3000  # milliseconds
_FILM, _SLOWEST = 6000, 600  # milliseconds: of the frames between first and last, and of each at most
_LEAST_WIDTH = 160  # pixels that a caption needs
_COLOURS = 256
_FORMATS: dict[str, dict[str, int]] = {
    "gif": {},
    "webp": {"quality": 80, "method": 0},
    "png": {"compress_level": 1},
}


@dataclass(frozen=True, eq=False)
class Animation:
    """Frames and how long each is shown, again and again. Notebooks show it.

    Parameters
    ----------
    frames : sequence of PIL.Image.Image
        The frames, all of one size.
    durations : sequence of int
        For how many milliseconds each is shown.

    Examples
    --------
    >>> from PIL import Image
    >>> from graddesc.animation import Animation
    >>> blink = Animation([Image.new("L", (8, 8), shade) for shade in (0, 255)], [500, 500])
    >>> bytes(blink.encode("gif")[:6])
    b'GIF89a'
    """

    frames: Sequence[Image.Image]
    durations: Sequence[int]

    def encode(self, kind: Literal["gif", "webp", "png"] = "gif") -> bytes:
        """Return the bytes of a file.

        Parameters
        ----------
        kind : {"gif", "webp", "png"}, default "gif"
            The format. WebP is a third of a GIF, in as much time, and in all colours; an animated PNG is exact.

        Returns
        -------
        bytes
            The file's contents.

        Raises
        ------
        ValueError
            If the format is another.
        """
        if kind not in _FORMATS:
            raise ValueError(f"kind must be one of {', '.join(_FORMATS)}, got {kind!r}")
        frames = list(self.frames)
        if kind == "gif" and frames[0].mode == "RGB":
            frames = _with_one_palette(frames)
        buffer = io.BytesIO()
        options = {"append_images": frames[1:], "duration": list(self.durations), "loop": 0, **_FORMATS[kind]}
        frames[0].save(buffer, kind, save_all=True, **options)
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        return self.encode("png")


def spaced(first: int, last: int) -> Iterator[int]:
    """Yield whole numbers from first to last, ever farther apart: at a constant ratio, once they are large.

    Parameters
    ----------
    first, last : int
        The first number, not negative, and the last.

    Yields
    ------
    int
        The numbers, `first` and `last` among them.

    Examples
    --------
    >>> from graddesc.animation import spaced
    >>> list(spaced(0, 16))
    [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16]
    """
    while first < last:
        yield first
        first = max(math.ceil(first * _FILM_GROWTH), first + 1)
    yield last


def film(figure: Figure, moving: Sequence[Artist], moments: Sequence[int], show: Callable[[int], object]) -> Animation:
    """Draw a figure of matplotlib once, and what moves in it for each moment.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure, whose layout is that of the last moment.
    moving : sequence of matplotlib.artist.Artist
        What is drawn anew in each frame, over all else, in this order.
    moments : sequence of int
        When to draw.
    show : callable
        ``show(moment)`` sets what moves.

    Returns
    -------
    Animation
        One frame for each moment. First and last are held.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from graddesc.animation import film
    >>> figure = Figure((2, 2))
    >>> (dot,) = figure.add_subplot(xlim=(0, 3)).plot([0], [0], "o")
    >>> len(film(figure, [dot], [0, 1, 2, 3], lambda moment: dot.set_xdata([moment])).frames)
    4
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)  # of whose methods few have types
    show(moments[-1])
    for _ in range(2):  # the layout needs the axes' sizes, which the first gives them
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for artist in moving:
        artist.set_animated(True)  # then it is left out of the figure
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)
    frames = []
    for moment in moments:
        show(moment)
        canvas.restore_region(still)
        for artist in moving:
            artist.draw(canvas.get_renderer())
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]))
    each = min(max(_FILM // len(frames), _EACH), _SLOWEST)
    return Animation(frames, [_FIRST, *[each] * (len(frames) - 2), _LAST][-len(frames) :])


class Recorder:
    """Collect frames of a restoration: pass it to ``restore`` as ``callback``.

    The frames lie ever farther apart, at iterations 1, 2, 3, ... and later at a constant ratio, because that is how an
    image heals; `restore` is told by `next_iteration` which it need not show. In the corner of frames that are wide
    enough stand the iteration and the loss. A recorder belongs to one run.

    Parameters
    ----------
    image : array_like, shape (rows, cols) or (rows, cols, 3)
        The corrupt image, which is the first frame, of integers or floats. 8 bits are shown as they are, integers of 16
        over their dtype's range; floats over [0, 1] or what they need beyond it, other integers over what they need.
    mask : array_like of bool, shape (rows, cols) or the image's, optional
        True where a pixel is corrupt: then all but 8 bits are shown over the range of most of the known pixels.

    Attributes
    ----------
    next_iteration : int
        The iteration of the next frame.

    Raises
    ------
    TypeError
        If the image has another dtype.
    ValueError
        If it has no pixels or another shape.

    Examples
    --------
    >>> import graddesc
    >>> from graddesc.animation import Recorder
    >>> corrupt, mask = graddesc.masks.corrupt(graddesc.samples.ginkgo(32), rng=0, channel_axis=-1)
    >>> recorder = Recorder(corrupt)
    >>> restored = graddesc.restore(corrupt, mask, channel_axis=-1, callback=recorder)
    >>> gif = recorder.encode(restored)
    >>> bytes(gif[:6])
    b'GIF89a'
    """

    def __init__(self, image: ArrayLike, mask: ArrayLike | None = None) -> None:
        pixels = as_image(image)
        if pixels.shape[2:] not in ((), (3,)) or pixels.ndim < 2:
            raise ValueError(f"image must have shape (rows, cols) or (rows, cols, 3), got {pixels.shape}")
        if mask is not None:
            flags = np.asarray(mask)
            self._low, self._high = shown_range(pixels, flags)
        elif pixels.dtype in (np.uint8, np.uint16):
            self._low, self._high = 0.0, float(np.iinfo(pixels.dtype).max)
        else:
            finite = pixels[np.isfinite(pixels)]
            ends = (0, 1) if pixels.dtype.kind == "f" else (finite[0], finite[0])
            self._low, self._high = float(finite.min(initial=ends[0])), float(finite.max(initial=ends[1]))
        self.next_iteration = 1
        self.frames = [self._frame(pixels, "corrupt")]

    def __call__(self, intermediate_result: Result) -> None:
        """Keep a frame if one is due at this iteration.

        Parameters
        ----------
        intermediate_result : graddesc.result.Result
            What ``restore`` hands to its callback; ``x``, ``nit`` and ``fun`` are read.
        """
        nit = intermediate_result.nit
        if nit >= self.next_iteration:
            loss = getattr(intermediate_result, "fun", None)
            caption = f"iteration {nit}" + ("" if loss is None else f"   loss {loss:.4g}")
            self.frames.append(self._frame(intermediate_result.x, caption))
            self.next_iteration = math.ceil(nit * _GROWTH)

    def encode(self, restored: NDArray[Any], kind: Literal["gif", "webp", "png"] = "gif") -> bytes:
        """Return the bytes of the animation.

        Parameters
        ----------
        restored : numpy.ndarray
            The restored image, which is the last frame.
        kind : {"gif", "webp", "png"}, default "gif"
            The format, as in `Animation.encode`.

        Returns
        -------
        bytes
            The file's contents.

        Raises
        ------
        ValueError
            If the format is another.
        """
        frames = [*self.frames, self._frame(restored, "restored")]
        return Animation(frames, [_FIRST, *[_EACH] * (len(frames) - 2), _LAST]).encode(kind)

    def _frame(self, image: NDArray[Any], caption: str) -> Image.Image:
        image = eight_bits(np.asarray(image), self._low, self._high if self._high > self._low else self._low + 1)
        frame = Image.fromarray(image)
        frame.thumbnail((_MAX_SIDE, _MAX_SIDE))
        if frame.width >= _LEAST_WIDTH:
            _write(frame, caption)
        return frame


def _write(frame: Image.Image, text: str) -> None:
    """Write text into the lower left corner of a frame, white on black."""
    draw = ImageDraw.Draw(frame)
    left, top, right, bottom = draw.textbbox((0, 0), text)
    height = bottom - top + 6
    draw.rectangle((0, frame.height - height, right - left + 9, frame.height), fill=0)
    draw.text((5 - left, frame.height - height + 3 - top), text, fill="white")


def _with_one_palette(frames: list[Image.Image]) -> list[Image.Image]:
    """The frames in the colours of all together, which a palette for each would take twenty times as long to find."""
    some = [frames[0], frames[len(frames) // 2], frames[-1]]
    width, height = frames[0].size
    together = Image.new("RGB", (width, 3 * height))
    for k, frame in enumerate(some):
        together.paste(frame, (0, k * height))
    palette = together.quantize(_COLOURS)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
