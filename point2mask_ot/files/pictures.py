"""Pictures and label maps: decoded within a pixel limit, or refused."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..checks import ArgumentError, FileError, check_choice, check_integer
from ..pixels import check_levels, to_8_bits, without_alpha
from .io import Origin, origin_of, read_bytes

Exif = Literal["apply", "ignore", "refuse"]
MAX_PIXELS = 2**26
"""Default pixel limit: 67 million, about 200 MB decoded."""

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class PictureSettings:
    """How picture files are read"""

    exif: Exif | None = None
    """What to do with pictures that a camera's tag turns (default: apply, and refuse where masks give the points).

    Points are those of the turned picture, as viewers and annotation tools show it; ``"ignore"`` gives the pixels as
    they are stored. Masks may be of either, so that where points are drawn from them one has to say which.
    """
    levels: tuple[float, float] | None = None
    """Values that become black and white in pictures deeper than 8 bits (default: percentiles 1 and 99.8 of each)."""

    def check_pictures(self, function: str) -> None:
        """Refuse what is no choice, and levels that do not rise, in the name of a public function.

        Raises:
            ArgumentError: naming the field.
        """
        if self.exif is not None:
            check_choice(function, "exif", self.exif, get_args(Exif))
        if self.levels is not None:
            check_levels(function, self.levels)

    def reading(self, *, from_masks: bool = False) -> dict[str, Any]:
        """The arguments ``exif`` and ``levels`` of :func:`read_picture`; points may be drawn ``from_masks``."""
        return {"exif": self.exif or ("refuse" if from_masks else "apply"), "levels": self.levels}


_PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
_PICTURE_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "I", "I;16", "I;16B", "I;16L", "F")
_ORIENTATION = 0x0112
_PNG_BIT_DEPTH = 24  # offset in the file: signature 8, chunk length and name 8, width and height 8
_PNG_END = b"IEND\xaeB`\x82"
_BITS_PER_SAMPLE = 258  # TIFF's tag


def read_picture(
    path: str | os.PathLike[str],
    *,
    max_pixels: int = MAX_PIXELS,
    exif: Exif = "apply",
    levels: tuple[float, float] | None = None,
) -> np.ndarray:
    """Read a photograph or a micrograph as (H, W, 3) uint8 sRGB.

    PNG, JPEG, WebP, BMP and TIFF are read. Greyscale and palette pictures become RGB. What is deeper than 8 bits (grey
    of 16 or 32 bits or floats, colours of 16 bits) is scaled between two levels of its own; colours as floats are
    refused. An alpha channel that is opaque everywhere is dropped; a transparent pixel is refused, since no colour is
    right for it. Colour profiles are ignored.

    Args:
        path: the file.
        max_pixels: largest H x W, checked before anything is decoded. Pillow's own limit holds as well.
        exif: what to do where a camera's orientation tag turns or flips the picture: ``"apply"`` it, as every viewer
            and annotation tool does; ``"ignore"`` it, and give the pixels as they are stored; or ``"refuse"``.
        levels: of a picture deeper than 8 bits, the values that become black and white; default its percentiles 1 and
            99.8, over all channels.

    Returns:
        (H, W, 3) uint8, a new array, upright unless ``exif="ignore"``.

    Raises:
        FileError: the file is missing, empty, truncated, damaged, too large, animated, of several pages, of another
            format, CMYK, transparent, or turned where that is refused.
        ArgumentError: an unknown ``exif``, or levels that are not two rising numbers.

    Example:
        >>> import tempfile, pathlib
        >>> from PIL import Image
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "grey.png"
        >>> Image.new("L", (4, 3), 7).save(path)
        >>> picture = read_picture(path)
        >>> picture.shape, picture[0, 0].tolist()
        ((3, 4, 3), [7, 7, 7])
    """
    return picture_of(origin_of("read_picture", "path", path), max_pixels=max_pixels, exif=exif, levels=levels)


def picture_of(
    origin: Origin,
    *,
    max_pixels: int = MAX_PIXELS,
    exif: Exif = "apply",
    levels: tuple[float, float] | None = None,
) -> np.ndarray:
    """The same for another function, which errors name."""
    function, argument = origin.function, origin.argument
    check_choice(function, "exif", exif, get_args(Exif))
    if levels is not None:
        levels = check_levels(function, levels)
    image, data, orientation = _decode(origin, _PICTURE_FORMATS, _PICTURE_MODES, max_pixels, deep=True)
    if orientation != 1 and exif == "refuse":
        got = f"EXIF orientation {orientation}"
        origin.fail(got, "an upright picture (exif='apply' turns it, exif='ignore' leaves it as it is stored)")
    try:
        pixels = without_alpha(function, argument, _pixels(origin, image, data, orientation))
        if pixels.dtype != np.uint8:
            pixels = to_8_bits(function, argument, pixels, levels)
    except FileError:
        raise
    except ArgumentError as error:
        got, _, expected = str(error).partition("': got ")[2].partition("; expected ")
        origin.fail(got, expected, error)
    return np.array(upright(pixels, orientation) if exif == "apply" else pixels)


@contextmanager
def explaining_turns(path: str | os.PathLike[str], exif: Exif) -> Iterator[None]:
    """Point at ``exif`` where points seem to have x and y swapped, but the picture has its sides swapped.

    Args:
        path: the picture file that the points are of.
        exif: how it was read.

    Raises:
        ArgumentError: the one that was raised within, with the other hint.
    """
    try:
        yield
    except ArgumentError as error:
        got, _, expected = str(error).partition("': got ")[2].rpartition("; expected ")
        expected, _, hint = expected.partition(" (x ")
        if "swapped" not in hint:
            raise
        orientation = read_orientation(path)
        if orientation < 5:  # the sides stay
            raise
        other = "ignore" if exif == "apply" else "apply"
        expected += f" (EXIF orientation {orientation}: of the picture that exif={other!r} gives, it is inside)"
        raise type(error)(error.function, error.argument, got, expected) from error


def _pixels(origin: Origin, image: Image.Image, data: bytes, orientation: int) -> np.ndarray:
    """(H, W) or (H, W, C) pixels as they are stored, in their own depth."""
    if _depth(image, data) > 8 or image.mode[0] in "IF":
        pixels = _deep_pixels(origin, image, data)
    else:
        alpha = "A" in image.mode or "transparency" in image.info
        pixels = np.asarray(image.convert("RGBA" if alpha else "RGB"))
    if image.format == "TIFF":  # which both decoders turn, asked or not
        pixels = upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))
    return pixels


def _deep_pixels(origin: Origin, image: Image.Image, data: bytes) -> np.ndarray:
    import cv2  # Pillow cuts colours of 16 bits to 8

    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    pixels: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None or pixels.shape[:2] != (image.height, image.width):
        origin.fail(f"a {image.format} of mode {image.mode} that cannot be decoded", "a picture of a common kind")
    return pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


def _depth(image: Image.Image, data: bytes) -> int:
    """Bits of a channel; 8 for formats that have no more."""
    if image.format == "PNG":
        return data[_PNG_BIT_DEPTH]
    if image.format == "TIFF":
        return max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,)))  # type: ignore[attr-defined]
    return 8


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels as a camera's orientation tag, 1 to 8, says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def read_label_png(origin: Origin, mode: str, max_pixels: int) -> np.ndarray:
    """An 8-bit PNG of exactly one mode: "RGB" (H, W, 3) ids or "P" (H, W) palette indices, uint8."""
    image, _, orientation = _decode(origin, ("PNG",), (mode,), max_pixels, deep=False)
    if orientation != 1:
        origin.fail(f"EXIF orientation {orientation}", "a label map without orientation")
    if mode == "RGB" and "transparency" in image.info:
        origin.fail("a transparent colour", "an RGB PNG without transparency")
    return np.array(image)


def _decode(
    origin: Origin, formats: tuple[str, ...], modes: tuple[str, ...], max_pixels: int, *, deep: bool
) -> tuple[Image.Image, bytes, int]:
    """A loaded picture in one of ``modes``, its file, and its orientation; of more than 8 bits only if ``deep``."""
    limit = check_integer(origin.function, "max_pixels", max_pixels, minimum=1)
    theirs = Image.MAX_IMAGE_PIXELS or limit  # above it Pillow only warns
    wanted = f"at most {min(limit, theirs)} pixels"
    if theirs < limit:
        wanted += f" (Pillow's limit, PIL.Image.MAX_IMAGE_PIXELS, which is below the {limit} of max_pixels)"
        limit = theirs
    data = read_bytes(origin, 8 * limit + 2**24)  # room for metadata
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        origin.fail(error, wanted, error)
    except UnidentifiedImageError as error:
        if "TIFF" in formats and data.startswith((b"II*\0", b"MM\0*")):
            kinds = "colours of 8 or 16 bits, or grey of up to 32 bits or as floats"
            origin.fail("a TIFF that is damaged, or of another kind than are read", kinds, error)
        origin.fail("no readable picture", f"one of {', '.join(formats)}", error)
    except Exception as error:  # decoders of hostile bytes raise anything
        origin.fail(f"no readable picture ({error})", f"one of {', '.join(formats)}", error)
    if image.width * image.height > limit:
        origin.fail(f"{image.width}x{image.height} pixels", wanted)
    if image.format == "PNG":
        # Pillow scales 16-bit RGB down without a word, and does not miss the end of a file.
        depth = data[_PNG_BIT_DEPTH]
        if depth > 8 and not deep:
            origin.fail(f"{depth}-bit PNG", "8 bits per channel")
        if _PNG_END not in data:
            origin.fail("a truncated PNG", "a whole file")
    if image.mode not in modes:
        wanted = "a grey, palette or RGB picture" if deep else f"mode {' or '.join(modes)}, 8 bits per channel"
        origin.fail(f"{image.format} of mode {image.mode}", wanted)
    try:
        frames, orientation = getattr(image, "n_frames", 1), _orientation(image)
        image.load()
    except Exception as error:
        origin.fail(f"a damaged picture ({error})", "a whole, decodable file", error)
    if frames > 1 and image.format in ("PNG", "WEBP", "TIFF"):  # a phone's JPEG may hold others beside its own
        many = "a TIFF of {} pages" if image.format == "TIFF" else "an animation of {} frames"
        origin.fail(many.format(frames), "one picture: save the one that you mean as a file of its own")
    return image, data, orientation


def read_orientation(path: str | os.PathLike[str]) -> int:
    """The orientation tag, 1 to 8, of a file that is known to be a picture."""
    with Image.open(path) as image:
        return _orientation(image)


def read_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(H, W) that :func:`read_picture` gives of a picture that its tag turns, without decoding it."""
    with Image.open(path) as image:
        size = image.height, image.width
        # Of a TIFF Pillow says the size that it will have.
        on_side = _orientation(image) >= 5 and image.format != "TIFF"
    return size[::-1] if on_side else size


def _orientation(image: Image.Image) -> int:
    tag = image.getexif().get(_ORIENTATION)
    return tag if isinstance(tag, int) and 1 <= tag <= 8 else 1


def encode_png(pixels: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """PNG bytes of (H, W, 3) uint8 RGB, or of (H, W) uint8 indices into a (256, 3) palette."""
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette.astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
