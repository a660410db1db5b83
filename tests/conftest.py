import importlib
import os

import hypothesis
import numpy as np
import pytest

from graddesc import isa

# On CI the same examples every time; at a desk new ones, which may find something. A busy machine fails no test.
hypothesis.settings.register_profile(
    "graddesc",
    derandomize="CI" in os.environ,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("graddesc")

SHAPES = [(1, 1), (1, 2), (2, 1), (2, 2), (1, 7), (7, 1), (3, 3), (4, 5), (5, 4), (2, 33), (33, 2), (19, 64), (70, 17)]
# Around the widths at which an image is cut into one strip more, and the height of a block of sums.
WIDE_SHAPES = [(3, 767), (3, 768), (4, 769), (2, 1279), (2, 1280), (130, 1300), (65, 2100)]


HOLDERS = [
    ("losses.differences", "stencil"),
    ("losses.line", "line"),
    ("restoration.problem", "pyramid"),
    ("restoration.solver", "pyramid"),
    ("restoration.solver", "stencil"),
    ("restoration.texture", "kriging"),
    ("restoration.texture", "patches"),
]


def use_level(name, monkeypatch):
    """Let the package use the kernels of a compiled level."""
    for module, family in HOLDERS:
        kernels = importlib.import_module(f"graddesc._kernels.{family}_{name}")
        monkeypatch.setattr(importlib.import_module(f"graddesc.{module}"), f"_{family}", kernels)


@pytest.fixture(params=isa.AVAILABLE)
def level(request, monkeypatch):
    """Every compiled level in turn; the package uses it for the length of the test."""
    use_level(request.param, monkeypatch)
    return request.param


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param
