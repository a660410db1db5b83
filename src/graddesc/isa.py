"""Which compiled level of the kernels runs: chosen once at import, the highest that build and processor share."""

import importlib
import os

from graddesc import _build
from graddesc._kernels import processor


def _available():
    supported = processor.supported_levels()
    return tuple(level for level in _build.LEVELS if level in supported)


def _choose(available):
    """The highest level, or the one that the environment variable GRADDESC_ISA forces."""
    forced = os.environ.get("GRADDESC_ISA")
    if not forced:
        return available[-1]
    if forced not in _build.LEVELS:
        raise ImportError(f"GRADDESC_ISA must be one of {', '.join(_build.LEVELS)}, got {forced!r}")
    if forced not in available:
        raise ImportError(f"GRADDESC_ISA is {forced}, but this processor runs only {', '.join(available)}")
    return forced


AVAILABLE = _available()
LEVEL = _choose(AVAILABLE)


def kernels(family):
    """The module of a kernel family, such as "line", compiled for the chosen level."""
    return importlib.import_module(f"graddesc._kernels.{family}_{LEVEL}")


def build_config():
    """Tell how this installation was built and which instruction set its kernels use.

    Returns
    -------
    dict
        ``version``, ``compiler``, ``buildtype``, ``openmp`` (bool: whether ``threads`` has an effect), ``isa`` (the
        level in use) and ``isa_available`` (tuple, the levels that both this build and this processor know).

    Examples
    --------
    >>> sorted(graddesc.build_config())
    ['buildtype', 'compiler', 'isa', 'isa_available', 'openmp', 'version']
    """
    return {
        "version": _build.VERSION,
        "compiler": _build.COMPILER,
        "buildtype": _build.BUILDTYPE,
        "openmp": _build.OPENMP,
        "isa": LEVEL,
        "isa_available": AVAILABLE,
    }
