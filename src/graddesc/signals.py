"""How a process ends by a signal: with the exit code that shells tell, and never by an exception inside an import."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

# Ends but for the interrupt, for which Python has a handler; Windows knows the first and the last.
_ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK") if hasattr(signal, name)]


def _end(number: int, frame: FrameType | None) -> None:
    """Handle a signal by an exception, so that temporary files are removed; inside an import end the process.

    Compiled modules, ours and others', lose an exception while they start, or crash by it. No temporary file is there
    while a module is imported.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _exit(128 + number)
        frame = frame.f_back
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _exit(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


def _in_main_thread() -> bool:
    """Whether handlers may be set."""
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let an interrupt end the process as a command ends, unless it is ignored, and disturb nothing after that."""
    if not (_in_main_thread() and signal.getsignal(signal.SIGINT) == signal.default_int_handler):
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let the signals that end a process raise SystemExit, but those that are ignored, as nohup does SIGHUP."""
    previous = {}
    try:
        if _in_main_thread():
            for number in _ENDS:
                if signal.getsignal(number) == signal.SIG_DFL:
                    previous[number] = signal.signal(number, _end)
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
