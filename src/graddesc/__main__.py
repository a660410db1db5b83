"""The command: ``python -m graddesc``, and the entry point of ``graddesc``.

Nothing that can fail or take long is imported before main() can tell of it in one line.
"""

import os
import sys


def main() -> int:
    """Import the command, run it and return its exit code."""
    try:
        from graddesc import signals

        # Starting NumPy's own threads, which find no work here, would take as long as restoring a small image.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        with signals.interruptible():
            from graddesc.cli import main

            return main()
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        if sys.stderr is not None:
            print("graddesc: error:", *str(error).split(), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
