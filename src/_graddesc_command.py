"""The entry point of the command. It lies outside the package, whose import can fail or be interrupted too."""

import sys


def main():
    """Import the command, run it and return its exit code."""
    try:
        from graddesc.cli import main

        return main()
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        if sys.stderr is not None:
            print("graddesc: error:", *str(error).split(), file=sys.stderr)
        return 1
