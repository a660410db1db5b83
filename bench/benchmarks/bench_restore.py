"""One restoration."""

import numpy as np

import graddesc

from .bench_base import TWELVE_MEGAPIXELS, colour_photograph, corrupted, known_pixels, photograph

CLASSIC = {"loss": "line", "step": graddesc.InverseTime(1.5, floor=0.015), "init": "image"}
JOBS = {
    "edge": (lambda: photograph(512, 512), {}),
    "edge, confidence": (lambda: photograph(512, 512), {"full_output": True, "confidence": True}),
    "harmonic": (lambda: photograph(512, 512), {"loss": "harmonic"}),
    "biharmonic": (lambda: photograph(512, 512), {"loss": "biharmonic"}),
    "tv": (lambda: photograph(512, 512), {"loss": "tv"}),
    "hessian-tv": (lambda: photograph(512, 512), {"loss": "hessian-tv"}),
    "texture": (lambda: photograph(512, 512), {"loss": "texture"}),
    "line": (lambda: photograph(512, 512), {"loss": "line"}),
    "classic recipe": (lambda: photograph(512, 512), CLASSIC),
    "colour": (colour_photograph, {"channel_axis": -1}),
    "12 megapixels": (lambda: photograph(*TWELVE_MEGAPIXELS), {}),
}


class Restore:
    timeout = 600  # seconds, on a busy machine: "texture" and 12 megapixels take their time
    params = tuple(JOBS)
    param_names = ("job",)

    def setup(self, job):
        make, self.options = JOBS[job]
        self.truth = make().astype(np.float32)
        known = known_pixels(self.truth.shape[:2])
        self.image = corrupted(self.truth, known).astype(np.float32)
        self.mask = ~known

    def restore(self, **options):
        return graddesc.restore(self.image, self.mask, **self.options | options)

    def time_restore(self, job):
        self.restore()

    def peakmem_restore(self, job):
        self.restore()

    def track_iterations(self, job):
        return self.restore(full_output=True)[1].nit

    def track_error(self, job):
        restored, _ = self.restore(full_output=True)
        return float(np.sqrt(np.mean((restored - self.truth) ** 2, dtype=np.float64)))

    track_iterations.unit = "iterations"
    track_error.unit = "rms"
