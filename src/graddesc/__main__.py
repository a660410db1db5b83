"""``python -m graddesc`` is the command ``graddesc``."""

import sys

from graddesc.cli import main

if __name__ == "__main__":
    sys.exit(main())
