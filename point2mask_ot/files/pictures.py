"""Pictures and label maps: decoded within a pixel limit, or refused."""

from __future__ import annotations

import io
import os
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..checks import check_choice, check_integer
from .io import Origin, origin_of, read_bytes

Exif = Literal["refuse", "apply"]
MAX_PIXELS = 2**26
"""Default pixel limit: 67 million, about 200 MB decoded."""

_PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_PICTURE_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
_ORIENTATION = 0x0112
_PNG_BIT_DEPTH = 24  # offset in the file: signature 8, chunk length and name 8, width and height 8
_PNG_END = b"IEND\xaeB`\x82"


def read_picture(
    path: str | os.PathLike[str],
    *,
    max_pixels: int = MAX_PIXELS,
    exif: str = "refuse",
    function: str = "read_picture",
    argument: str = "path",
) -> np.ndarray:
    """Read a photograph as (H, W, 3) uint8 sRGB.

    PNG, JPEG, WebP and BMP are read. Greyscale and palette pictures become RGB. An alpha channel that is opaque
    everywhere is dropped; a transparent pixel is refused, since no colour is right for it. Colour profiles are
    ignored.

    Args:
        path: the file.
        max_pixels: largest H x W, checked before anything is decoded. Pillow's own limit holds as well.
        exif: what to do with a camera's orientation tag that turns or flips the picture: ``"refuse"``, because
            points and masks may have been made on the unturned pixels, or ``"apply"``.
        function: public function named in the error.
        argument: its argument.

    Raises:
        FileError: the file is missing, empty, truncated, damaged, too large, animated, of another format, 16 bits
            deep, CMYK, transparent, or turned.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "grey.png"
        >>> Image.new("L", (4, 3), 7).save(path)
        >>> picture = read_picture(path)
        >>> picture.shape, picture[0, 0].tolist()
        ((3, 4, 3), [7, 7, 7])
    """
    check_choice(function, "exif", exif, get_args(Exif))
    origin = origin_of(function, argument, path)
    image, orientation = _decode(origin, _PICTURE_FORMATS, _PICTURE_MODES, max_pixels)
    if orientation in range(2, 9):
        if exif == "refuse":
            origin.fail(f"EXIF orientation {orientation}", 'an upright picture (exif="apply" turns it)')
        image = ImageOps.exif_transpose(image)
    if "A" in image.mode or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        if (rgba[..., 3] < 255).any():
            origin.fail("transparent pixels", "an opaque picture")
        return rgba[..., :3].copy()
    return np.array(image.convert("RGB"))


def read_label_png(origin: Origin, mode: str, max_pixels: int) -> np.ndarray:
    """An 8-bit PNG of exactly one mode: "RGB" (H, W, 3) ids or "P" (H, W) palette indices, uint8."""
    image, orientation = _decode(origin, ("PNG",), (mode,), max_pixels)
    if orientation in range(2, 9):
        origin.fail(f"EXIF orientation {orientation}", "a label map without orientation")
    if mode == "RGB" and "transparency" in image.info:
        origin.fail("a transparent colour", "an RGB PNG without transparency")
    return np.array(image)


def _decode(
    origin: Origin, formats: tuple[str, ...], modes: tuple[str, ...], max_pixels: int
) -> tuple[Image.Image, object]:
    """A loaded picture in one of ``modes`` and its EXIF orientation."""
    limit = check_integer(origin.function, "max_pixels", max_pixels, minimum=1)
    limit = min(limit, Image.MAX_IMAGE_PIXELS or limit)  # above it Pillow only warns
    data = read_bytes(origin, 8 * limit + 2**24)  # room for metadata
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        origin.fail(error, f"at most {limit} pixels", error)
    except UnidentifiedImageError as error:
        origin.fail("no readable picture", f"one of {', '.join(formats)}", error)
    except Exception as error:  # decoders of hostile bytes raise anything
        origin.fail(f"no readable picture ({error})", f"one of {', '.join(formats)}", error)
    if image.width * image.height > limit:
        origin.fail(f"{image.width}x{image.height} pixels", f"at most {limit} pixels")
    if image.format == "PNG":
        # Pillow scales 16-bit RGB down without a word, and does not miss the end of a file.
        depth = data[_PNG_BIT_DEPTH]
        if depth > 8:
            origin.fail(f"{depth}-bit PNG", "8 bits per channel")
        if _PNG_END not in data:
            origin.fail("a truncated PNG", "a whole file")
    if image.mode not in modes:
        origin.fail(f"{image.format} of mode {image.mode}", f"mode {' or '.join(modes)}, 8 bits per channel")
    if image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False):
        origin.fail(f"an animation of {getattr(image, 'n_frames', '?')} frames", "one picture")
    try:
        image.load()
        return image, image.getexif().get(_ORIENTATION)
    except Exception as error:
        origin.fail(f"a damaged picture ({error})", "a whole, decodable file", error)


def encode_png(pixels: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """PNG bytes of (H, W, 3) uint8 RGB, or of (H, W) uint8 indices into a (256, 3) palette."""
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette.astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
