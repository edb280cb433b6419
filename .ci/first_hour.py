"""A person's first hour with the installed command, run by `make wheel` with the interpreter of an empty environment.

Three pictures that people bring: a photograph, a 16-bit TIFF of nuclei, and a JPEG that its camera turned. Of each, a
CSV written by hand goes into `label`, and the same points are clicked on the page of `annotate`. The clicks on all of
them then go into `label-dataset`, which must make the same masks, and a report. Without Chromium and its driver the
page is asked over HTTP for what the clicks would make it ask for.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "tests" / "annotate"))  # after what is installed
from chromium import Browser, browser, missing
from page_process import page_process

COMMAND = shutil.which("point2mask", path=str(Path(sys.executable).parent))
GAP = 4  # pixels between the panels of a thumbnail
MIN_IOU = 0.9  # of the drawn shapes, whose colours differ clearly


@dataclass(frozen=True)
class Shot:
    """A picture file, and what is drawn in it.

    Attributes:
        path: the file.
        truth: (H, W) target of each pixel, as a viewer shows the picture.
        categories: of each target, ``:stuff`` behind those of stuff.
        points: (x, y).
    """

    path: Path
    truth: np.ndarray
    categories: list[str]
    points: list[tuple[int, int]]

    def target(self, x: int, y: int) -> int:
        return int(self.truth[y, x])

    def name(self, x: int, y: int) -> str:
        """The category of what is drawn there, alone."""
        return self.categories[self.target(x, y)].removesuffix(":stuff")

    @property
    def clicks(self) -> list[tuple[str, int, int]]:
        """What a points file and the page say: (category, x, y)."""
        return [(self.name(x, y), x, y) for x, y in self.points]


def main() -> None:
    # A shell that starts `make` in the background has it ignore Ctrl-C, and what it starts would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each command would compile all that it imports
    start = time.perf_counter()
    if missing():
        print(f"no {' and no '.join(missing())}: the page is asked over HTTP, nobody clicks on it", flush=True)
    with tempfile.TemporaryDirectory() as folder, nullcontext() if missing() else browser() as window:
        home = Path(folder)
        (home / "photos").mkdir()
        shots = [photograph(home / "photos"), nuclei(home / "photos"), turned(home / "photos")]
        swapped_coordinates_are_refused(shots[0], home)
        for shot in shots:
            points_by_hand_into_label(shot, home)
            points_by_clicks(shot, home, window)
            print(f"{shot.path.name}: labelled, clicked and saved", flush=True)
        clicks_into_label_dataset(shots, home)
    print(f"a first hour of {time.perf_counter() - start:.0f} seconds, {'over HTTP' if missing() else 'in a browser'}")


# ---------------------------------------------------------------------------------------------------------- pictures


def photograph(folder: Path) -> Shot:
    """A plate and a cup on a table before a wall, in uneven light."""
    truth = np.zeros((120, 160), np.uint8)
    truth[70:] = 1
    cv2.ellipse(truth, (45, 84), (32, 20), 0, 0, 360, 2, -1)
    cv2.rectangle(truth, (98, 45), (132, 95), 3, -1)
    pixels = painted(truth, [(150, 170, 190), (130, 85, 45), (235, 230, 220), (185, 45, 40)])
    Image.fromarray(pixels).save(folder / "kitchen.png")
    points = [(20, 30), (140, 20), (15, 112), (85, 80), (150, 110), (45, 84), (115, 70)]
    return Shot(folder / "kitchen.png", truth, ["wall:stuff", "table:stuff", "plate", "cup"], points)


def nuclei(folder: Path) -> Shot:
    """Bright nuclei, two of which touch, as a camera of 12 bits counts them into 16."""
    truth = np.zeros((128, 128), np.uint8)
    centres = [(30, 30), (52, 36), (95, 28), (34, 92), (88, 84), (112, 104)]
    for target, centre in enumerate(centres, start=1):
        cv2.ellipse(truth, centre, (12, 10), 20 * target, 0, 360, target, -1)
    rng = np.random.default_rng(0)
    counts = rng.poisson(np.array([140, 1500, 2100, 1700, 1900, 1400, 1800])[truth])
    cv2.imwrite(str(folder / "nuclei.tif"), counts.astype(np.uint16))
    points = [(8, 8), (70, 60), (120, 60), (62, 120), *centres]
    return Shot(folder / "nuclei.tif", truth, ["background:stuff", *["nucleus"] * len(centres)], points)


def turned(folder: Path) -> Shot:
    """A ball and a box on grass, upright on every screen, lying on its side in the file."""
    truth = np.zeros((150, 100), np.uint8)
    truth[60:] = 1
    cv2.circle(truth, (35, 100), 20, 2, -1)
    cv2.rectangle(truth, (65, 40), (92, 84), 3, -1)
    pixels = painted(truth, [(120, 170, 230), (70, 130, 50), (240, 140, 30), (110, 60, 120)])
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: a viewer turns it by a quarter, clockwise
    Image.fromarray(np.rot90(pixels)).save(folder / "ball.jpg", exif=exif, quality=95)
    points = [(20, 20), (80, 12), (10, 72), (85, 140), (35, 100), (78, 62)]
    return Shot(folder / "ball.jpg", truth, ["sky:stuff", "grass:stuff", "ball", "box"], points)


def painted(truth: np.ndarray, colors: list[tuple[int, int, int]]) -> np.ndarray:
    """Shapes in their colours, in light that falls from the left, with a camera's noise."""
    light = np.linspace(1.05, 0.9, truth.shape[1])[:, None]
    noise = np.random.default_rng(0).normal(0, 4, (*truth.shape, 3))
    return np.clip(np.array(colors)[truth] * light + noise, 0, 255).astype(np.uint8)


# --------------------------------------------------------------------------------------------- points in a CSV, `label`


def swapped_coordinates_are_refused(shot: Shot, home: Path) -> None:
    """The first mistake: exit 2, a hint, and no half-made results."""
    csv = write_csv(home / "swapped.csv", [(y, x, shot.name(x, y)) for x, y in shot.points])
    said = point2mask("label", shot.path, "--points", csv, "--out", home / "nothing", status=2)
    assert "swapped?" in said, said
    assert not (home / "nothing").exists()


def points_by_hand_into_label(shot: Shot, home: Path) -> None:
    """The masks are those that were drawn, in the frame that a viewer shows."""
    csv = write_csv(home / "points.csv", [(x, y, shot.categories[shot.target(x, y)]) for x, y in shot.points])
    said = point2mask("label", shot.path, "--points", csv, "--out", home / "masks")
    made = home / "masks" / f"{shot.path.stem}.json"
    assert f"wrote {made}" in said, said
    check_masks(shot, made)
    assert Image.open(home / "masks" / f"{shot.path.stem}_stages.png").width > shot.truth.shape[1]


def write_csv(path: Path, rows: list[tuple[int, int, str]]) -> Path:
    path.write_text("x,y,category\n" + "".join(f"{x},{y},{category}\n" for x, y, category in rows))
    return path


def check_masks(shot: Shot, path: Path) -> None:
    """Every click lies in a segment of its category, and every segment is the shape that was drawn."""
    segment, category = panoptic(path, shot.path.name)
    assert segment.shape == shot.truth.shape, f"{shot.path.name}: masks of {segment.shape}, shown as {shot.truth.shape}"
    assert len(category) == len(shot.categories), category
    for x, y in shot.points:
        assert category[segment[y, x]] == shot.name(x, y), f"{shot.path.name}: {category[segment[y, x]]} at {x, y}"
        made, true = segment == segment[y, x], shot.truth == shot.target(x, y)
        iou = (made & true).sum() / (made | true).sum()
        assert iou > MIN_IOU, f"{shot.path.name}: IoU {iou:.3f} of the {shot.name(x, y)} at {x, y}"


def panoptic(path: Path, picture: str) -> tuple[np.ndarray, dict[int, str]]:
    """(H, W) segment of each pixel, and category of each segment, out of COCO panoptic files."""
    document = json.loads(path.read_text())
    names = {category["id"]: category["name"] for category in document["categories"]}
    image = next(image["id"] for image in document["images"] if image["file_name"] == picture)
    found = next(one for one in document["annotations"] if one["image_id"] == image)
    rgb = np.asarray(Image.open(path.parent / "panoptic" / found["file_name"])).astype(int)
    return rgb @ [1, 256, 256**2], {one["id"]: names[one["category_id"]] for one in found["segments_info"]}


# ----------------------------------------------------------------------------------------- points by clicks, `annotate`


def points_by_clicks(shot: Shot, home: Path, window: Browser | None) -> None:
    """Clicked, saved, and there again after a reload; then Ctrl-C."""
    with annotate(shot, home / "clicks") as url:
        page = AskedPage(url) if window is None else ClickedPage(url, window)
        page.click(shot)
        page.save()
        page.load(len(shot.points))
        assert page.shown() == shot.clicks, (page.shown(), shot.clicks)
    document = json.loads((home / "clicks" / f"{shot.path.stem}_points.json").read_text())
    (entry,) = document["images"]
    saved = [(point["category"], point["x"], point["y"]) for point in entry["points"]]
    assert (entry["file_name"], sorted(saved)) == (shot.path.name, sorted(shot.clicks))
    assert len({point["target"] for point in entry["points"]}) == len(shot.categories)
    check_masks(shot, home / "clicks" / f"{shot.path.stem}.json")


@contextmanager
def annotate(shot: Shot, out: Path) -> Iterator[str]:
    """The address of the page, until Ctrl-C."""
    words = ["--categories", ",".join(dict.fromkeys(shot.categories)), "--out", out]
    with page_process([COMMAND], shot.path, *words) as (url, process):
        yield url
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


class ClickedPage:
    """The page in a browser."""

    def __init__(self, url: str, window: Browser) -> None:
        self.window = window
        window.resize(1280, 800)
        window.open(url)
        window.wait(SAYS, "Click on the picture")

    def click(self, shot: Shot) -> None:
        height, width = shot.truth.shape
        for name, x, y in shot.clicks:
            self.window.press(f"#categories input[value={name}]")
            self.window.click(*self.window.run(PLACE, (x + 0.5) / width, (y + 0.5) / height))
        self.window.wait(SAYS, f"{len(shot.categories)} targets labelled")

    def save(self) -> None:
        self.window.press("#save")
        self.window.wait(SAYS, "Saved ")

    def load(self, points: int) -> None:
        """Load the page again, which shows so many points."""
        self.window.reload()
        self.window.wait(LOADED, points)

    def shown(self) -> list[tuple[str, int, int]]:
        found = [re.fullmatch(r"(.+) \d+, point at x (\d+), y (\d+)", label) for label in self.window.run(MARKERS)]
        return [(match[1], int(match[2]), int(match[3])) for match in found]


SAYS = "return document.getElementById('status').textContent.includes(arguments[0]);"
MARKERS = "return [...document.querySelectorAll('.point')].map(marker => marker.getAttribute('aria-label'));"
LOADED = "return document.querySelectorAll('.point').length === arguments[0];"
PLACE = """const box = document.getElementById('photo').getBoundingClientRect();
return [box.left + arguments[0] * box.width, box.top + arguments[1] * box.height];"""


class AskedPage:
    """What the page asks its server for, without the page."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.load(0)

    def click(self, shot: Shot) -> None:
        assert Image.open(io.BytesIO(self._ask("view"))).size == shot.truth.shape[::-1]
        for name, x, y in shot.clicks:
            self.state["points"].append({"x": x, "y": y, "category": name, "target": shot.target(x, y)})
            labels = json.loads(self._ask("label", self.state))
        assert len(labels["targets"]) == len(shot.categories)

    def save(self) -> None:
        assert "masks_error" not in json.loads(self._ask("masks", self.state))

    def load(self, points: int) -> None:
        (name,) = json.loads(self._ask("folder"))["pictures"]
        self.picture = f"?picture={quote(name)}"
        self.state = json.loads(self._ask("state"))
        assert len(self.state["points"]) == points

    def shown(self) -> list[tuple[str, int, int]]:
        return [(point["category"], point["x"], point["y"]) for point in self.state["points"]]

    def _ask(self, name: str, body: Any = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        where = self.url + name + ("" if name == "folder" else self.picture)
        request = urllib.request.Request(where, data, {"Content-Type": "application/json"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=300) as answer:
            return answer.read()


# ----------------------------------------------------------------------------------- the clicks into `label-dataset`


def clicks_into_label_dataset(shots: list[Shot], home: Path) -> None:
    """The masks of `label`, from the folder that the page has filled; the report shows every picture upright."""
    out = home / "labels"
    words = ["--images", home / "photos", "--points", home / "clicks", "--out", out, "--workers", "0", "--quiet"]
    said = point2mask("label-dataset", *words)
    assert f"{len(shots)} of {len(shots)} pictures labelled, 0 set aside" in said, said
    assert (out / "set_aside.csv").read_text().splitlines() == ["picture,reason"]
    for shot in shots:
        alone = segments(home / "masks" / f"{shot.path.stem}.json", shot.path.name)
        assert segments(out / "panoptic.json", shot.path.name) == alone, f"{shot.path.name}: not the masks of `label`"
    panels = re.findall(r'<img src="(report/[^"]+)" alt="([^"]+)"', (out / "report.html").read_text())
    for shot in shots:
        height, width = shot.truth.shape
        (name,) = (name for name, alt in panels if unescape(alt) == f"points and pseudo-masks of {shot.path.name}")
        shown = Image.open(out / name)
        ratio = (shown.width - GAP) / 2 / shown.height  # two panels side by side
        assert abs(ratio - width / height) < 0.02, (shot.path.name, shown.size)


def segments(path: Path, picture: str) -> list[tuple[str, bytes]]:
    """Category and mask of each segment, in an order of their own: ids may differ between files."""
    id_map, category = panoptic(path, picture)
    return sorted((name, (id_map == segment).tobytes()) for segment, name in category.items())


def point2mask(*words: object, status: int = 0) -> str:
    """What the command says, when it ends with ``status``."""
    done = subprocess.run([COMMAND, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == status, f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


main()
