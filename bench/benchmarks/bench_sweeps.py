"""One iteration."""

import itertools

import numpy as np
from graddesc._kernels import multigrid, stencil

from graddesc.losses import LineSmoothness, by_name

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


class Descent:
    """Twelve iterations of "edge" on the finest grid, in which the weights are renewed once or twice."""

    params = Sweep.params
    param_names = Sweep.param_names

    def setup(self, size, dtype, threads):
        x, free = trial(size, dtype)
        self.x = x.reshape(-1)
        self.descent = stencil.prepare(
            by_name("edge").operator,
            np.array([(size, size)], np.intp),
            free.reshape(-1),
            channels=1,
            masks=1,
            single=dtype == "float32",
            most_momentum=0.97,
            least_contrast=1e-12,
            threads=threads,
            allocate=lambda count: np.empty(count, np.uint8),
        )
        self.descent.begin(self.x, 0.0, 1.0, False, np.zeros(1, np.uint8))
        self.until = itertools.count(12, 12)
        self.time_advance()

    def time_advance(self, *_):
        self.descent.advance(next(self.until), 0.0, 1e12)


class Multigrid:
    """Two iterations of conjugate gradients from the same start, with frozen weights or as a sum of squares."""

    params = (["first", "second"], ["squares", "weights"], [128, 512, 2048], [1, 2])
    param_names = ("differences", "form", "size", "threads")

    def setup(self, differences, form, size, threads):
        x, free = trial(size, "float64")
        self.x = x[0]
        self.weights = np.random.default_rng(0).uniform(1, 2, self.x.shape).astype(np.float32)
        self.weights = self.weights if form == "weights" else None
        self.run = multigrid.prepare(["first", "second"].index(differences), free[0], threads)

    def time_begin(self, *_):
        self.run.begin(self.x.copy(), self.weights, False)

    def time_begin_and_advance(self, *_):
        self.run.begin(self.x.copy(), self.weights, False)
        self.run.advance(2, 0.0, 1e-12)
