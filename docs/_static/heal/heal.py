"""What the page "Heal your photograph" asks of graddesc; its worker runs this in Pyodide."""

import time

import numpy as np

import graddesc

SHOWN = 120  # iterations of the run that is shown
GROWTH = 1.12  # of the iteration from picture to picture


class _Shown:
    """A callback that hands on pictures ever farther apart, as an image heals ever more slowly."""

    def __init__(self, show):
        self._show, self.next_iteration = show, 1

    def __call__(self, intermediate_result):
        nit = intermediate_result.nit
        if nit >= self.next_iteration:
            self._show(nit, np.ascontiguousarray(intermediate_result.x))
            self.next_iteration = max(round(nit * GROWTH), nit + 1)


def heal(pixels, missing, rows, cols, loss, show):
    """Restore a picture twice: from the noise itself, to be looked at, and as fast and as well as it goes.

    Parameters
    ----------
    pixels : bytes-like
        The corrupt picture: rows x cols x 3 values of 8 bits.
    missing : bytes-like
        1 where a pixel is corrupt: rows x cols.
    rows, cols : int
        The size of the picture.
    loss : str
        The name of the loss.
    show : callable
        Called as ``show(iteration, picture)`` while the picture heals.

    Returns
    -------
    restored : numpy.ndarray of uint8, shape (rows, cols, 3)
        The restored picture.
    seconds : float
        The time that the second run took.
    message : str
        What the run says of itself.
    """
    image = np.frombuffer(pixels, np.uint8).reshape(rows, cols, 3)
    mask = np.frombuffer(missing, np.uint8).reshape(rows, cols).astype(bool)
    if mask.all():
        raise ValueError("No pixel is left to restore the others from.")
    shown = (
        "edge" if loss == "texture" else loss
    )  # whose steps are too few to be looked at
    graddesc.restore(
        image,
        mask,
        loss=shown,
        channel_axis=-1,
        init="image",
        max_iter=SHOWN,
        callback=_Shown(show),
    )
    start = time.perf_counter()
    restored, info = graddesc.restore(
        image, mask, loss=loss, channel_axis=-1, full_output=True
    )
    return restored, time.perf_counter() - start, info.message
