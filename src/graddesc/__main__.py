"""The command: ``python -m graddesc``, and the entry point of ``graddesc``.

Nothing that can fail or take long is imported before main() can tell of it in one line. An interrupt waits while
modules are imported, as some of other packages take it for a failure of their own.
"""

import contextlib
import signal
import sys


def main():
    """Import the command, run it and return its exit code."""
    try:
        with interrupts_held():
            from graddesc.cli import main

        return main()
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        if sys.stderr is not None:
            print("graddesc: error:", *str(error).split(), file=sys.stderr)
        return 1
    finally:
        # What is left is the end of the interpreter, which an interrupt would only make look like a failure.
        with contextlib.suppress(ValueError):  # in another thread than the main one
            signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def interrupts_held():
    """Let an interrupt wait until the end of a block, where the system has a way to."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


if __name__ == "__main__":
    sys.exit(main())
