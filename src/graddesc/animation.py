"""The image healing step by step, as an animated GIF."""

import io
import math

import numpy as np
from PIL import Image

__all__ = ["Recorder"]

_MAX_SIDE = 640  # pixels; frames of larger images are reduced, which bounds the memory
_GROWTH = 1.12  # of the iteration from frame to frame: 500 iterations make about 50 frames
_FIRST, _EACH, _LAST = 1200, 90, 3000  # milliseconds


class Recorder:
    """Collect frames of a restoration: pass it to ``restore`` as ``callback``.

    The frames lie ever farther apart, at iterations 1, 2, 3, ... and later at a constant ratio, because that is how an
    image heals. A recorder belongs to one run.

    Parameters
    ----------
    image : array_like, shape (rows, cols) or (rows, cols, 3)
        The corrupt image, which is the first frame.
    """

    def __init__(self, image):
        image = np.asarray(image)
        if image.dtype.kind == "f":
            finite = image[np.isfinite(image)]
            self._low, self._high = finite.min(initial=0), finite.max(initial=1)
        else:
            self._low, self._high = 0, np.iinfo(image.dtype).max
        self._next = 1
        self.frames = [self._frame(np.nan_to_num(image, nan=self._low))]

    def __call__(self, intermediate_result):
        """Keep a frame if one is due at this iteration."""
        if intermediate_result.nit >= self._next:
            self.frames.append(self._frame(intermediate_result.x))
            self._next = max(intermediate_result.nit + 1, math.ceil(intermediate_result.nit * _GROWTH))

    def encode(self, restored):
        """Return the bytes of the GIF, with the restored image as its last frame."""
        last = self._frame(restored)
        frames = [*self.frames, last]
        if last.mode == "RGB":
            frames = _with_one_palette(frames)
        buffer = io.BytesIO()
        duration = [_FIRST, *[_EACH] * (len(frames) - 2), _LAST]
        frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
        return buffer.getbuffer()

    def _frame(self, image):
        scaled = (image.astype(np.float32) - self._low) * (255 / (self._high - self._low))
        frame = Image.fromarray(np.round(np.clip(scaled, 0, 255)).astype(np.uint8))
        return frame.reduce(math.ceil(max(frame.size) / _MAX_SIDE)) if max(frame.size) > _MAX_SIDE else frame


def _with_one_palette(frames):
    """Reduce colour to the 256 of a GIF: one palette for all frames, so that nothing flickers."""
    noisy, last = frames[0], frames[-1]
    both = Image.new("RGB", (last.width, 2 * last.height))
    both.paste(noisy, (0, 0))
    both.paste(last, (0, last.height))
    palette = both.quantize(256)
    return [frame.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]
