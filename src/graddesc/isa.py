"""What the kernels run on: the compiled level that `graddesc._kernels` has chosen, and the number of threads."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

from graddesc import processors
from graddesc._build import BUILDTYPE, COMPILER, VERSION
from graddesc._kernels import AVAILABLE, LEVEL

_Level: TypeAlias = Literal["baseline", "v3", "v4"]

_PIXELS_OF_A_THREAD = 2**15  # fewer are done before another thread has come


class _BuildConfig(TypedDict):
    version: str
    compiler: str
    buildtype: str
    isa: _Level
    isa_available: tuple[_Level, ...]


def team_size(threads: int, pixels: int | None = None) -> int:
    """How many threads kernels are to use where the caller allows so many.

    Parameters
    ----------
    threads : int
        The number allowed, positive.
    pixels : int, optional
        How many pixels there are, if the work for each is small.

    Returns
    -------
    int
        At most the number of processors that the process may use, and one for each 2^15 pixels.
    """
    if pixels is not None:
        threads = min(threads, max(1, pixels // _PIXELS_OF_A_THREAD))
    if threads == 1:
        return 1  # without a question to the system, which takes microseconds
    return min(threads, processors.available())


def build_config() -> _BuildConfig:
    """Tell how this installation was built and which instruction set its kernels use.

    Returns
    -------
    dict
        ``version``, ``compiler``, ``buildtype``, ``isa`` (the level in use) and ``isa_available`` (tuple, the levels
        that both this build and this processor know).

    Examples
    --------
    >>> sorted(graddesc.build_config())
    ['buildtype', 'compiler', 'isa', 'isa_available', 'version']
    """
    return {
        "version": VERSION,
        "compiler": COMPILER,
        "buildtype": BUILDTYPE,
        "isa": LEVEL,
        "isa_available": AVAILABLE,
    }
