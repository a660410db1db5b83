"""What the kernels run on: the compiled level, chosen once at import as the highest that build and processor share, and
the number of threads.
"""

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
    if forced in available:
        return forced
    message = f"GRADDESC_ISA must be one of {', '.join(_build.LEVELS)}, got {forced!r}"
    if forced in _build.LEVELS:
        message = f"GRADDESC_ISA is {forced}, but this processor runs only {', '.join(available)}"
    raise ImportError(message, name="graddesc")  # by this name `python -m graddesc` ends in one line, no traceback


AVAILABLE = _available()
LEVEL = _choose(AVAILABLE)


def kernels(family):
    """The module of a kernel family, such as "line", compiled for the chosen level."""
    return importlib.import_module(f"graddesc._kernels.{family}_{LEVEL}")


class _Team:
    """What to know of the threads, which do not survive a fork: a child that calls for them waits forever."""

    used = False
    lost = False

    @classmethod
    def after_fork(cls):
        cls.lost = cls.used


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Team.after_fork)


def team_size(threads):
    """How many threads a kernel may start where the caller allows so many.

    Parameters
    ----------
    threads : int
        The number allowed, positive.

    Returns
    -------
    int
        At most the number of processors; 1 in a process forked from one that has used more.
    """
    if threads == 1:
        return 1  # without a question to the system, which takes microseconds
    size = 1 if _Team.lost else min(threads, os.cpu_count() or 1)
    _Team.used = _Team.used or size > 1
    return size


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
