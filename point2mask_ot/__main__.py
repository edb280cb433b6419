"""``python -m point2mask_ot`` is the command ``point2mask``."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
