"""Other tools' files: points from where people click, and masks to where they look at them.

One file a tool. What lies in it becomes clicks (:mod:`.marks`), as the points files of this package have them;
:mod:`.imports` and :mod:`.exports` are the two doors.
"""

from __future__ import annotations

from .exports import EXPORTS, export_masks
from .imports import IMPORTS, import_points

__all__ = ["EXPORTS", "IMPORTS", "export_masks", "import_points"]
