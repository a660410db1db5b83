"""Compiled kernels, each family once for every instruction set.

The level is chosen at import: the highest that build and processor share, or the one that the environment variable
GRADDESC_ISA forces. ``from graddesc._kernels import stencil`` is the family's module for that level, loaded on first
use.
"""

import contextlib
import importlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from graddesc._kernels import processor
from graddesc._kernels._build import FAMILIES, LEVELS


def _choose(available: tuple[str, ...]) -> str:
    forced = os.environ.get("GRADDESC_ISA")
    if not forced:
        return available[-1]
    if forced in available:
        return forced
    message = f"GRADDESC_ISA must be one of {', '.join(LEVELS)}, got {forced!r}"
    if forced in LEVELS:
        message = f"GRADDESC_ISA is {forced}, but this processor runs only {', '.join(available)}"
    raise ImportError(message, name="graddesc")


AVAILABLE: tuple[str, ...] = tuple(level for level in LEVELS if level in processor.supported_levels())
LEVEL = _choose(AVAILABLE)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keep an interrupt back and tell it afterwards, where an exception would be lost."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    held: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if held:
            signal.raise_signal(signal.SIGINT)


def __getattr__(name: str) -> Any:
    if name not in FAMILIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _interrupts_held():  # which the start of a compiled module would lose
        module = importlib.import_module(f"{__name__}.{name}_{LEVEL}")
    globals()[name] = module
    return module
