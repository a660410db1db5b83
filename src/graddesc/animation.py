"""The image healing step by step, as an animated GIF."""

import io
import math

import numpy as np
from PIL import Image

__all__ = ["Recorder"]

_MAX_SIDE = 480  # pixels; frames of larger images are reduced, which bounds the memory and the file
_GROWTH = 1.15  # of the iteration from frame to frame: 500 iterations make 35 frames
_FIRST, _EACH, _LAST = 1200, 90, 3000  # milliseconds


class Recorder:
    """Collect frames of a restoration: pass it to ``restore`` as ``callback``.

    The frames lie ever farther apart, at iterations 1, 2, 3, ... and later at a constant ratio, because that is how an
    image heals. A recorder belongs to one run.

    Parameters
    ----------
    image : array_like, shape (rows, cols) or (rows, cols, 3)
        The corrupt image, which is the first frame: uint8, uint16, float32 or float64. Integers are shown over their
        dtype's range, floats over [0, 1] or what they need beyond it.

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

    def __init__(self, image):
        image = np.asarray(image)
        if image.dtype.type not in (np.uint8, np.uint16, np.float32, np.float64):
            raise TypeError(f"image must be uint8, uint16, float32 or float64, got {image.dtype}")
        if image.size == 0 or image.shape[2:] not in ((), (3,)) or image.ndim < 2:
            raise ValueError(f"image must have shape (rows, cols) or (rows, cols, 3), got {image.shape}")
        if image.dtype.kind == "f":
            finite = image[np.isfinite(image)]
            self._low, self._high = float(finite.min(initial=0)), float(finite.max(initial=1))
        else:
            self._low, self._high = 0, np.iinfo(image.dtype).max
        self._next = 1
        self.frames = [self._frame(image)]

    def __call__(self, intermediate_result):
        """Keep a frame if one is due at this iteration.

        Parameters
        ----------
        intermediate_result : graddesc.result.Result
            What ``restore`` hands to its callback; ``x`` and ``nit`` are read.
        """
        if intermediate_result.nit >= self._next:
            self.frames.append(self._frame(intermediate_result.x))
            self._next = math.ceil(intermediate_result.nit * _GROWTH)

    def encode(self, restored):
        """Return the bytes of the GIF.

        Parameters
        ----------
        restored : numpy.ndarray
            The restored image, which is the last frame.

        Returns
        -------
        bytes-like
            The file's contents.
        """
        frames = [*self.frames, self._frame(restored)]
        buffer = io.BytesIO()
        duration = [_FIRST, *[_EACH] * (len(frames) - 2), _LAST]
        frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
        return buffer.getvalue()

    def _frame(self, image):
        if image.dtype != np.uint8:
            # Halves, because the range of the greatest floats is more than a float can tell.
            low, half_range = 0.5 * self._low, 0.5 * self._high - 0.5 * self._low
            halves = np.clip(image, self._low, self._high) * np.float32(0.5)
            scaled = np.nan_to_num((halves - low) / half_range)
            image = np.round(255 * scaled).astype(np.uint8)
        frame = Image.fromarray(image)
        frame.thumbnail((_MAX_SIDE, _MAX_SIDE))
        return frame
