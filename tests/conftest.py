import importlib
import os

import hypothesis
import numpy as np
import pytest
from levels import use_level
from loops import LOOPS

from graddesc import _kernels

# On CI the same examples every time; at a desk new ones, which may find something. A busy machine fails no test.
hypothesis.settings.register_profile(
    "graddesc",
    derandomize="CI" in os.environ,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("graddesc")


def pytest_collection_modifyitems(items):
    """Skip what is marked `posix` on other systems."""
    if not hasattr(os, "fork"):
        for item in items:
            if item.get_closest_marker("posix"):
                item.add_marker(pytest.mark.skip(reason="this system is not POSIX"))


@pytest.fixture(params=LOOPS)
def loop(request, monkeypatch):
    """Each loop of `minimize` in turn; the test's module uses it by this name."""
    monkeypatch.setattr(request.module, "minimize", LOOPS[request.param])
    return request.param


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
