"""Run the command: ``python -m graddesc``."""

import sys

from _graddesc_command import main

if __name__ == "__main__":
    sys.exit(main())
