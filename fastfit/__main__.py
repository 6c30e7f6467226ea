"""``python -m fastfit`` is the ``fastfit`` command."""

import sys

from fastfit.cli import main

if __name__ == "__main__":
    sys.exit(main())
