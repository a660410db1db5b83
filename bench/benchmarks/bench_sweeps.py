"""One iteration."""

import numpy as np

from graddesc.losses import LineSmoothness, by_name
from graddesc.restore import _Momentum

from .bench_base import corrupted, known_pixels, photograph


def trial(size, dtype):
    """An image and, as uint8, which of its pixels are free."""
    known = known_pixels((size, size))
    return corrupted(photograph(size, size), known).astype(dtype), (~known).view(np.uint8)


class Sweep:
    params = ([128, 256, 512, 1024, 2048, 4096], ["float32", "float64"], [1, 2])
    param_names = ("size", "dtype", "threads")

    def setup(self, size, dtype, threads):
        self.sweeps = LineSmoothness().sweeps(*trial(size, dtype), 0.0, 1.0, threads)

    def time_descend(self, *_):
        self.sweeps.descend(0.015)

    def time_accelerate(self, *_):
        self.sweeps.accelerate(0.5)


class StencilSweep:
    """The weights, renewed every twelfth iteration, are timed by themselves."""

    params = (["harmonic", "biharmonic", "tv", "hessian-tv", "edge"], *Sweep.params)
    param_names = ("loss", *Sweep.param_names)

    def setup(self, loss, size, dtype, threads):
        image, free = trial(size, dtype)
        self.sweeps = by_name(loss).sweeps_of(image[np.newaxis], free[np.newaxis], 0.0, 1.0, threads)
        self.momentum = _Momentum()
        self.sweeps.refresh()

    def time_refresh(self, *_):
        self.sweeps.refresh()

    def time_accelerate(self, *_):
        self.sweeps.accelerate(self.momentum)
