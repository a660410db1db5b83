"""One call of one kernel."""

import numpy as np
from graddesc._kernels import direct, pyramid

from graddesc.losses import LineSmoothness, by_name

from .bench_base import known_pixels, photograph


class Line:
    params = ([128, 512, 1024, 4096], ["float32", "float64"])
    param_names = ("size", "dtype")

    def setup(self, size, dtype):
        self.image = photograph(size, size).astype(dtype)
        self.out = np.empty_like(self.image)
        self.loss = LineSmoothness()

    def time_value(self, size, dtype):
        self.loss.value(self.image)

    def time_gradient(self, size, dtype):
        self.loss.gradient(self.image, out=self.out)

    def time_value_and_gradient(self, size, dtype):
        self.loss.value_and_gradient(self.image, out=self.out)


class Stencil:
    """The energy; the weights and the gradient with them; of "edge" both with the structure tensor."""

    params = (["harmonic", "biharmonic", "tv", "hessian-tv", "edge"], *Line.params)
    param_names = ("loss", *Line.param_names)

    def setup(self, loss, size, dtype):
        self.image = photograph(size, size).astype(dtype)
        self.out = np.empty_like(self.image)
        self.loss = by_name(loss)

    def time_value(self, *_):
        self.loss.value(self.image)

    def time_gradient(self, *_):
        self.loss.gradient(self.image, out=self.out)


class Direct:
    """Small regions factorised, and an image restored with the factors; at random, or lines of three pixels."""

    params = (["first", "second"], ["0.1 %", "5 %", "lines"], [512, 4096])
    param_names = ("differences", "missing", "size")

    def setup(self, differences, missing, size):
        rng = np.random.default_rng(0)
        rows, cols = np.indices((size, size), np.int32)
        self.free = {
            "0.1 %": rng.random((size, size)) < 0.001,
            "5 %": rng.random((size, size)) < 0.05,
            "lines": ((rows + cols) % 131 < 3) | ((2 * rows - cols) % 257 < 3),
        }[missing].view(np.uint8)
        self.kind = ["first", "second"].index(differences)
        self.time_factorise()
        self.known = photograph(size, size).ravel()[np.asarray(self.factors.sources)][np.newaxis]
        self.out = np.empty((1, np.asarray(self.factors.pixels).size))

    def time_factorise(self, *_):
        self.factors = direct.factorise(self.kind, self.free, 100, 1)

    def time_solve(self, *_):
        self.factors.solve(self.known, self.out, 1)


class Pyramid:
    params = Line.params
    param_names = Line.param_names

    def setup(self, size, dtype):
        self.fine = photograph(size, size).astype(dtype)
        self.free = (~known_pixels(self.fine.shape)).view(np.uint8)
        self.coarse = np.empty((size // 2, size // 2), dtype)
        self.coarse_free = np.empty(self.coarse.shape, np.uint8)
        self.time_pull()

    def time_pull(self, *_):
        pyramid.pull(self.fine, self.free, 1, self.coarse, self.coarse_free)

    def time_push(self, *_):
        pyramid.push(self.coarse, self.free, 1, self.fine)
