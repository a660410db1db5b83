"""One iteration."""

import numpy as np

from graddesc.losses import LineSmoothness

from .bench_base import corrupted, known_pixels, photograph


class Sweep:
    params = ([128, 256, 512, 1024, 2048, 4096], ["float32", "float64"], [1, 2])
    param_names = ("size", "dtype", "threads")

    def setup(self, size, dtype, threads):
        known = known_pixels((size, size))
        image = corrupted(photograph(size, size), known).astype(dtype)
        self.sweeps = LineSmoothness().sweeps(image, (~known).view(np.uint8), 0.0, 1.0, threads)

    def time_descend(self, *_):
        self.sweeps.descend(0.015)

    def time_accelerate(self, *_):
        self.sweeps.accelerate(0.5)
