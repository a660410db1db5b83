"""One iteration."""

import numpy as np

from graddesc.losses import LineSmoothness, by_name
from graddesc.restoration import solver

from .bench_base import corrupted, known_pixels, photograph


def trial(size, dtype):
    """An image of one channel and, as uint8, which of its pixels are free."""
    known = known_pixels((size, size))
    image = corrupted(photograph(size, size), known).astype(dtype)
    return image[np.newaxis], (~known).view(np.uint8)[np.newaxis]


class Sweep:
    params = ([128, 256, 512, 1024, 2048, 4096], ["float32", "float64"], [1, 2])
    param_names = ("size", "dtype", "threads")

    def setup(self, size, dtype, threads):
        self.sweeps = LineSmoothness().sweeps(*trial(size, dtype), 0.0, 1.0, threads)

    def time_descend(self, *_):
        self.sweeps.descend(0.015)

    def time_accelerate(self, *_):
        self.sweeps.accelerate()


class StencilSweep:
    """The weights, renewed every twelfth iteration, are timed by themselves."""

    params = (["harmonic", "biharmonic", "tv", "hessian-tv", "edge"], *Sweep.params)
    param_names = ("loss", *Sweep.param_names)

    def setup(self, loss, size, dtype, threads):
        self.sweeps = solver._Level(by_name(loss), *trial(size, dtype), 0.0, 1.0, threads)
        self.sweeps.refresh()
        self.sweeps._due = np.inf  # when an iteration would renew the weights

    def time_refresh(self, *_):
        self.sweeps.refresh()

    def time_accelerate(self, *_):
        self.sweeps.accelerate()
