import importlib
import inspect
import os
import sys

import hypothesis
import numpy as np
import pytest
from graddesc._kernels._build import FAMILIES

from graddesc import _kernels

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


# Who uses kernels imports them by name, and all who do are there before a test changes what the names stand for.
for user in ("losses", "restoration.api"):
    importlib.import_module(f"graddesc.{user}")


def use_level(name, monkeypatch):
    """Let the package use the kernels of a compiled level."""
    levels = {}
    for family in FAMILIES:
        for level in _kernels.AVAILABLE:
            module = sys.modules.get(f"graddesc._kernels.{family}_{level}")
            levels[module] = importlib.import_module(f"graddesc._kernels.{family}_{name}")
    levels.pop(None, None)
    for module in [module for path, module in sys.modules.items() if path.startswith("graddesc")]:
        for attribute, value in list(vars(module).items()):
            if inspect.ismodule(value) and value in levels and not attribute.endswith(_kernels.AVAILABLE):
                monkeypatch.setattr(module, attribute, levels[value])


@pytest.fixture(params=_kernels.AVAILABLE)
def level(request, monkeypatch):
    """Every compiled level in turn; the package uses it for the length of the test."""
    use_level(request.param, monkeypatch)
    return request.param


@pytest.fixture
def every_thread(monkeypatch):
    """restore() uses as many threads as it may, however small the image and the machine are."""
    module = importlib.import_module("graddesc.restoration.plan")
    monkeypatch.setattr(module, "team_size", lambda threads, pixels=None: threads)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param
