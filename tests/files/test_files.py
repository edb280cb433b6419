"""Files from outside: what is refused, and what survives an interrupted writing."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from point2mask_ot.checks import ArgumentError, FileError
from point2mask_ot.panoptic import atomic_write, read_json, read_picture, safe_join

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals, limits and links")


def encoded(mode: str = "RGB", size: tuple[int, int] = (5, 4), format: str = "PNG", **options) -> bytes:
    """A small picture with content."""
    channels = {"L": 1, "1": 1, "P": 1, "I;16": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    values = np.random.default_rng(0).integers(0, 250, (size[1], size[0], channels))
    if mode == "I;16":
        image = Image.fromarray(values[..., 0].astype(np.uint16) * 200)
    else:
        bands = [Image.fromarray(values[..., c].astype(np.uint8)) for c in range(channels)]
        image = bands[0] if channels == 1 else Image.merge(mode, bands)
        if mode == "P":
            image.putpalette(np.arange(768).astype(np.uint8)[::-1].tobytes())
        elif mode == "1":
            image = image.convert("1")
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(format="JPEG", exif=exif)


def png_chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def png_of(width: int, height: int, depth: int = 8, colour_type: int = 2, data: bytes = b"") -> bytes:
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, colour_type, 0, 0, 0])
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(data)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def animation(format: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save(buffer, format, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


PICTURES_REFUSED = {
    "zero bytes": (b"", "empty"),
    "no picture": (b"hello, I am a text", "no readable picture"),
    "GIF": (encoded("P", format="GIF"), "no readable picture"),
    "truncated JPEG": (encoded(format="JPEG", size=(64, 64))[:-300], "damaged"),
    "truncated PNG": (encoded(size=(64, 64))[:-300], "truncated"),
    "PNG without its end": (encoded()[:-12], "truncated"),
    "PNG with a flipped bit": (png_of(4, 4, data=b"\x00" * 52).replace(b"x", b"y"), "damaged"),
    "stack": (animation("TIFF"), "a TIFF of 2 pages"),
    "CMYK": (encoded("CMYK", format="JPEG"), "CMYK"),
    "alpha": (encoded("RGBA"), "transparent"),
    "grey with alpha": (encoded("LA"), "transparent"),
    "palette with a transparent entry": (encoded("P", transparency=bytes(256)), "transparent"),
    "animated PNG": (animation("PNG"), "animation"),
    "animated WebP": (animation("WEBP"), "animation"),
    "colours as floats": (
        cv2.imencode(".tiff", np.ones((4, 4, 3), np.float32))[1].tobytes(),
        "a TIFF that is damaged, or",
    ),
    "over the pixel limit": (png_of(8193, 8192), "at most 67108864 pixels"),
    "decompression bomb, warned of": (png_of(10_000, 10_000), "at most 67108864 pixels"),
    "decompression bomb, raised": (png_of(50_000, 50_000), "at most 67108864 pixels"),
}


@pytest.mark.parametrize("case", PICTURES_REFUSED)
def test_pictures_refused(case, tmp_path):
    data, reason = PICTURES_REFUSED[case]
    (tmp_path / "picture").write_bytes(data)
    with pytest.raises(FileError, match=r"^read_picture: argument 'path': got .*picture: ") as refusal:
        read_picture(tmp_path / "picture")
    assert reason in str(refusal.value)
    assert "; expected " in str(refusal.value)


@pytest.mark.parametrize("max_pixels", [19, 20])
def test_own_pixel_limit(max_pixels, tmp_path):
    (tmp_path / "p.png").write_bytes(encoded(size=(5, 4)))
    if max_pixels < 20:
        with pytest.raises(FileError, match="5x4 pixels; expected at most 19"):
            read_picture(tmp_path / "p.png", max_pixels=max_pixels)
    else:
        assert read_picture(tmp_path / "p.png", max_pixels=max_pixels).shape == (4, 5, 3)


@pytest.mark.parametrize("warnings_are", ["ignore", "error"])
def test_pillows_own_limit_cannot_be_raised_over(warnings_are, tmp_path):
    (tmp_path / "p.png").write_bytes(png_of(10_000, 10_000))
    with warnings.catch_warnings():
        warnings.simplefilter(warnings_are)
        with pytest.raises(FileError, match=f"at most {Image.MAX_IMAGE_PIXELS} pixels"):
            read_picture(tmp_path / "p.png", max_pixels=2**40)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_no_truncated_picture_is_read_as_another(format, tmp_path):
    data = encoded(size=(20, 11), format=format)
    whole, path = tmp_path / "whole", tmp_path / "part"
    whole.write_bytes(data)
    expected = read_picture(whole)
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        try:
            assert np.array_equal(read_picture(path), expected)
        except FileError:
            continue


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_hostile_bytes_give_a_picture_or_a_file_error(format, data, tmp_path):
    content = bytearray(encoded(size=(20, 11), format=format))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "p").write_bytes(content)
    try:
        picture = read_picture(tmp_path / "p", max_pixels=10_000)
    except FileError:
        return
    assert picture.dtype == np.uint8
    assert picture.ndim == 3


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded("RGB"), "RGB"),
        (encoded("L"), "RGB"),
        (encoded("1"), "RGB"),
        (encoded("P"), "RGB"),
        (encoded("RGB", format="BMP"), "RGB"),
        (encoded("RGB", format="WEBP", lossless=True), "RGB"),
        (encoded("L", format="JPEG"), "RGB"),
    ],
)
def test_pictures_read_as_rgb(data, expected, tmp_path):
    (tmp_path / "p").write_bytes(data)
    with Image.open(io.BytesIO(data)) as image:
        oracle = np.asarray(image.convert(expected))
    picture = read_picture(str(tmp_path / "p"))
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, oracle)
    assert picture.flags.writeable


def test_opaque_alpha_is_dropped(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 4, 4)).astype(np.uint8)
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "p.png")
    assert np.array_equal(read_picture(tmp_path / "p.png"), pixels[..., :3])


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_fault_c2_turned_pictures_are_turned(orientation, format, depth, tmp_path):
    """By default as every viewer shows them; the oracle is Pillow. Tags outside 1..8 mean nothing."""
    if depth == 16 and format in ("JPEG", "WEBP"):
        return
    pixels = np.random.default_rng(2).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    source = Image.fromarray(pixels if depth == 8 else pixels[..., 0].astype(np.uint16) * 257)
    options = {"lossless": True} if format == "WEBP" else {}
    source.save(tmp_path / "p", format, exif=exif, **options)
    stored = read_picture(tmp_path / "p", exif="ignore", levels=(0, 65535))
    if format != "JPEG":
        assert np.array_equal(stored, pixels if depth == 8 else pixels[..., :1].repeat(3, 2))
    tagged = Image.fromarray(stored)
    tagged.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(tagged))
    assert np.array_equal(read_picture(tmp_path / "p", levels=(0, 65535)), expected)
    if orientation in range(2, 9):
        with pytest.raises(FileError, match=f"EXIF orientation {orientation}; expected an upright"):
            read_picture(tmp_path / "p", exif="refuse")


def test_unknown_exif_choice(tmp_path):
    with pytest.raises(ArgumentError, match="did you mean 'apply'"):
        read_picture(tmp_path / "p.jpg", exif="aply")


DEEP = {
    "16-bit grey PNG": ("png", np.uint16, 1), "16-bit RGB PNG": ("png", np.uint16, 3),
    "16-bit grey TIFF": ("tif", np.uint16, 1), "16-bit RGB TIFF": ("tif", np.uint16, 3),
    "float TIFF": ("tif", np.float32, 1), "32-bit TIFF": ("tif", np.uint32, 1),
}  # fmt: skip


@pytest.mark.parametrize("case", DEEP)
def test_fault_c1_deep_pictures_are_scaled(case, tmp_path):
    suffix, dtype, channels = DEEP[case]
    rng = np.random.default_rng(3)
    values = rng.normal(900, 120, (40, 50, channels)).clip(0, None)
    values[3, 4] = 60_000  # a hot pixel, which must not darken all others
    deep = values.astype(dtype)
    path = tmp_path / f"p.{suffix}"
    imwrite(path, deep)
    if dtype is np.uint32 and int(cv2.__version__[0]) < 5:
        with pytest.raises(FileError, match="a TIFF of mode I that cannot be decoded"):
            read_picture(path)
        return
    low, high = np.percentile(deep.astype(np.float64), (1, 99.8))
    expected = np.rint(((deep.astype(np.float64) - low) / (high - low) * 255).clip(0, 255)).astype(np.uint8)
    picture = read_picture(path)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, np.broadcast_to(expected, (40, 50, 3)))
    given = read_picture(path, levels=(0, 51_000))
    np.testing.assert_array_equal(given, np.broadcast_to(np.rint((deep / 200).clip(0, 255)), (40, 50, 3)))


def imwrite(path, pixels):
    if pixels.dtype == np.uint32:
        return tifffile.imwrite(path, pixels[..., 0])
    assert cv2.imwrite(str(path), pixels[..., ::-1])


@pytest.mark.parametrize(
    ("levels", "expected"), [((5, 5), "the first smaller"), ((1,), "two numbers"), (3, "two numbers")]
)
def test_levels_that_do_not_rise_are_refused(levels, expected, tmp_path):
    with pytest.raises(ArgumentError, match=expected):
        read_picture(tmp_path / "p.tif", levels=levels)


def test_a_picture_of_one_value_is_black(tmp_path):
    imwrite(tmp_path / "p.png", np.full((4, 5, 1), 700, np.uint16))
    assert (read_picture(tmp_path / "p.png") == 0).all()


@posix
def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing", "a\0b"):
        with pytest.raises(FileError, match=r"^read_picture: argument 'path': got .*; expected"):
            read_picture(path)
    with pytest.raises(ArgumentError, match="expected a path"):
        read_picture(7)


JSON_REFUSED = {
    "zero bytes": (b"", "empty"),
    "NaN": (b'{"a": NaN}', "NaN"),
    "Infinity": (b"[Infinity]", "Infinity"),
    "-Infinity": (b"[-Infinity]", "-Infinity"),
    "overflow": (b"[1e999]", "overflows"),
    "an integer of too many digits": (b"[" + b"9" * 10_000 + b"]", "JSON"),
    "cut off": (b'{"a": [1, 2', "line 1"),
    "not UTF-8": (b'["\xff"]', "utf-8"),
    "too deep": (b"[" * 65 + b"]" * 65, "65 deep"),
    "far too deep": (b'{"a":' * 200_000, "200000 deep"),
    "deep after a quoted bracket": (b'["\\\\\\"]]]]"' + b",[" * 70, "71 deep"),
    "too large": (b"[" + b"1," * 1000 + b"1]", "1 to 1000 bytes"),
}


@pytest.mark.parametrize("case", JSON_REFUSED)
def test_json_refused(case, tmp_path):
    data, reason = JSON_REFUSED[case]
    (tmp_path / "f.json").write_bytes(data)
    limit = 1000 if case == "too large" else 10**7
    with pytest.raises(FileError, match=r"^f: argument 'x': got .*f\.json: ") as refusal:
        read_json(tmp_path / "f.json", max_bytes=limit, function="f", argument="x")
    assert reason in str(refusal.value)


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


def depth_of(tree) -> int:
    if not isinstance(tree, (list, dict)):
        return 0
    children = tree.values() if isinstance(tree, dict) else tree
    return 1 + max(map(depth_of, children), default=0)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees, ascii_only=st.booleans())
def test_json_depth_is_measured_exactly(tree, ascii_only, tmp_path):
    text = json.dumps(tree, ensure_ascii=ascii_only)
    (tmp_path / "f.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert read_json(tmp_path / "f.json", max_depth=depth_of(tree)) == tree
    if depth_of(tree):
        with pytest.raises(FileError, match=f"nested {depth_of(tree)} deep"):
            read_json(tmp_path / "f.json", max_depth=depth_of(tree) - 1)


def test_json_depth_across_chunks(tmp_path):
    text = json.dumps([["[" * 3_000_000], [[[]]], "}" * 10])
    (tmp_path / "f.json").write_text(text)
    assert len(read_json(tmp_path / "f.json", max_depth=4)) == 3
    with pytest.raises(FileError, match="nested 4 deep"):
        read_json(tmp_path / "f.json", max_depth=3)


@posix
def test_paths_stay_in_their_root(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "root-beside"
    for folder in (root / "sub", outside):
        folder.mkdir(parents=True)
    (outside / "secret.png").write_bytes(b"x")
    (root / "file").symlink_to(outside / "secret.png")
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    (root / "inner").symlink_to(root / "sub")
    (tmp_path / "alias").symlink_to(root)
    leaving = ["../root-beside/secret.png", "..", ".", "", "/etc/passwd", str(outside / "secret.png"), "file"]
    leaving += ["folder/secret.png", "folder/new.png", "sub/../../x", "a\0b", "\ud800"]
    for relative in leaving:
        with pytest.raises(FileError, match=r"^f: argument 'x': got .*; expected a path that stays inside"):
            safe_join(root, relative, function="f", argument="x")
    assert safe_join(root, "sub/a.png") == root / "sub" / "a.png"
    assert safe_join(root, "inner/a.png") == root / "sub" / "a.png"
    assert safe_join(root, "sub/../a.png") == root / "a.png"
    assert safe_join(tmp_path / "alias", "a.png") == root / "a.png"
    assert safe_join(os.path.relpath(root), "a..png") == root / "a..png"


def test_write_replaces_whole_files_only(tmp_path):
    path = tmp_path / ("n" * 240)
    atomic_write(path, b"old")
    atomic_write(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(FileError, match=r"^atomic_write: argument 'path': got .*; expected a file that can be written"):
        atomic_write(tmp_path / "missing" / "file", b"")


def run_child(code: str, *arguments: object) -> subprocess.CompletedProcess:
    program = "import sys\nfrom point2mask_ot.panoptic import atomic_write\n" + code
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )


@posix
@pytest.mark.parametrize("victim", ["fsync", "replace"])
def test_killed_before_the_name_is_taken_leaves_the_old_file(victim, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    code = f"import os, signal\nos.{victim} = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
    child = run_child(code + "atomic_write(sys.argv[1], b'new')", path)
    assert child.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


@posix
def test_full_disk_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    code = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\natomic_write(sys.argv[1], bytes(10**6))"
    child = run_child(code, path)
    assert child.returncode == 1
    assert "FileError: atomic_write: argument 'path': got" in child.stderr
    assert "File too large" in child.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_written_file_has_the_usual_permissions(tmp_path):
    Path(tmp_path / "plain").write_bytes(b"")
    atomic_write(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode
