"""Label pictures of 16 bits, as Cellpose, QuPath and ImageJ read them: 0 for background, then 1, 2, 3, ..."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ..checks import fail
from ..panoptic import PanopticImage
from .segments import cuts

_MOST = 2**16 - 1


def tiff(image: PanopticImage, *, stuff: bool) -> bytes:
    """The file of a picture."""
    import tifffile  # slow to import

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, _numbers(image, stuff=stuff), compression="zlib", metadata=None)
    return buffer.getvalue()


def png(image: PanopticImage, *, stuff: bool) -> bytes:
    """The file of a picture."""
    buffer = io.BytesIO()
    Image.fromarray(_numbers(image, stuff=stuff)).save(buffer, "PNG")
    return buffer.getvalue()


def _numbers(image: PanopticImage, *, stuff: bool) -> np.ndarray:
    """(H, W) uint16: objects in the order of their segment ids."""
    found = list(cuts(image, stuff=stuff))
    if len(found) > _MOST:
        fail("export_masks", "dataset", f"{len(found)} objects in {image.file_name!r:.80}", f"at most {_MOST}")
    numbers = np.zeros(image.size, np.uint16)
    for number, cut in enumerate(found, start=1):
        height, width = cut.mask.shape
        numbers[cut.top : cut.top + height, cut.left : cut.left + width][cut.mask] = number
    return numbers
