"""Two hundred pictures in one sitting: a scripted person annotates a folder in a browser, then the job labels it.

Points on every picture, rough circles and boxes on some, strokes of brush and eraser on others, a few are skipped; the
server is killed with -9 three times on the way. Then every file must say what the person did, `label-dataset` must
make masks that keep the paint, and its report must be there. `make sitting` runs it, with some two minutes too long for
every change.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

sys.path.append(str(Path(__file__).parents[1] / "tests" / "annotate"))
from chromium import Browser, browser, missing
from page_process import page_process

SIZE = WIDTH, HEIGHT = 120, 90
SHIFT = "\ue008"
CATEGORIES = "disc,box,ground:stuff"
NAME = "return document.getElementById('name').textContent;"
SHOWS = "return document.getElementById('name').textContent === arguments[0];"
SAVED = "return document.getElementById('saved').textContent === 'Saved';"
SAYS = "return document.getElementById('status').textContent.includes(arguments[0]);"
COUNT = "return document.querySelectorAll('.point').length;"
PROGRESS = "return document.getElementById('count').textContent;"
FRAME = """const box = document.getElementById('photo').getBoundingClientRect();
return [box.left, box.top, box.width / document.getElementById('photo').naturalWidth];"""


@dataclass
class Shot:
    """A picture, what is drawn on it, and what the person does to it."""

    name: str
    disc: tuple[int, int, int]  # x, y, radius
    box: tuple[int, int, int, int]  # left, top, right, bottom
    ground: tuple[int, int]
    sized: bool
    painted: bool
    skipped: bool
    strokes: list[Any] = field(default_factory=list)

    @property
    def points(self) -> list[tuple[str, int, int]]:
        x, y, _ = self.disc
        left, top, right, bottom = self.box
        return [("disc", x, y), ("box", (left + right) // 2, (top + bottom) // 2), ("ground", *self.ground)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--keep", type=Path, help="folder for the pictures and results, which stay")
    asked = parser.parse_args()
    if missing():
        sys.exit(f"not installed: {', '.join(missing())}")
    with tempfile.TemporaryDirectory() as folder:
        home = asked.keep or Path(folder)
        shots = draw(home / "photos", asked.pictures)
        kills = {len(shots) * part // 4 for part in (1, 2, 3)}
        start = time.perf_counter()
        with browser() as window:
            window.resize(1280, 800)
            memory = sitting(window, shots, kills, home)
        print(f"{len(shots)} pictures in {time.perf_counter() - start:.0f} s; the server's memory at most {memory} MB")
        files_say_what_was_done(shots, home / "clicks")
        start = time.perf_counter()
        labels_keep_it(shots, home)
        print(f"labelled and checked in {time.perf_counter() - start:.0f} s: nothing is lost")


def draw(folder: Path, count: int) -> list[Shot]:
    """Discs and boxes on the ground, in uneven colours; some pictures of a name in several sub folders."""
    rng = np.random.default_rng(7)
    shots = []
    for number in range(count):
        name = f"day_{number // 20 + 1}/shot_{number % 20 + 1}.png"
        disc = (int(rng.integers(25, 40)), int(rng.integers(35, 55)), int(rng.integers(12, 18)))
        left, top = int(rng.integers(65, 80)), int(rng.integers(25, 40))
        box = (left, top, left + int(rng.integers(20, 30)), top + int(rng.integers(20, 30)))
        every = {"sized": number % 4 == 1, "painted": number % 10 == 2, "skipped": number % 25 == 24}
        shot = Shot(name, disc, box, (int(rng.integers(5, 115)), 5), **every)
        image = Image.new("RGB", SIZE, tuple(rng.integers(60, 110, 3).tolist()))
        pen = ImageDraw.Draw(image)
        x, y, r = disc
        pen.ellipse((x - r, y - r, x + r, y + r), tuple(rng.integers(180, 240, 3).tolist()))
        pen.rectangle(box, tuple(rng.integers(0, 40, 3).tolist()))
        noisy = np.asarray(image) + rng.normal(0, 4, (HEIGHT, WIDTH, 3))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(folder / name)
        shots.append(shot)
    return shots


# ------------------------------------------------------------------------------------------------------- the sitting


def sitting(window: Browser, shots: list[Shot], kills: set[int], home: Path) -> int:
    """Annotate all pictures in their order, with a new server after each kill; the largest memory seen, in MB."""
    at, largest = 0, 0
    words = [home / "photos", "--categories", CATEGORIES, "--out", home / "clicks"]
    while at < len(shots):
        with page_process([sys.executable, "-m", "point2mask_ot"], *words) as (url, process):
            window.open(url)
            window.wait(SHOWS, shots[at].name)  # the page finds the place by itself
            while at < len(shots):
                shot = shots[at]
                window.wait(SHOWS, shot.name)
                annotate(window, shot, already=window.run(COUNT))
                if at in kills:
                    kills.remove(at)
                    window.wait(SAVED)
                    process.kill()
                    break
                window.keys("s" if shot.skipped else "d")
                at += 1
            else:
                window.wait(SAYS, "All pictures are done or skipped")
                largest = max(largest, memory_of(process.pid))
                print(window.run(PROGRESS), flush=True)
    return largest


def annotate(window: Browser, shot: Shot, already: int) -> None:
    """Points, sizes and paint; what was there before a kill is not done again."""
    if already:
        assert already == len(shot.points), f"{shot.name}: {already} points are left of {len(shot.points)}"
        return
    left, top, scale = window.run(FRAME)

    def on_page(x: float, y: float) -> tuple[float, float]:
        return left + (x + 0.5) * scale, top + (y + 0.5) * scale

    (_, *disc), (_, *middle), (_, *ground) = shot.points
    if shot.skipped:
        return
    window.keys("1")
    if shot.sized:
        window.drag(on_page(*disc), on_page(disc[0] + shot.disc[2], disc[1]))
    else:
        window.click(*on_page(*disc))
    window.keys("2")
    if shot.sized:
        window.drag(on_page(*shot.box[:2]), on_page(*shot.box[2:]), key=SHIFT)
    else:
        window.click(*on_page(*middle))
    window.keys("3")
    window.click(*on_page(*ground))
    if shot.painted:
        window.press("#pick-0")
        window.keys("f")
        window.drag(on_page(5, 85), on_page(60, 85))
        window.keys("e")
        window.drag(on_page(disc[0] - 4, disc[1]), on_page(disc[0] + 4, disc[1]))
        window.keys("v")
    assert window.run(COUNT) == len(shot.points), shot.name


def memory_of(pid: int) -> int:
    """The resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) // 1024 if found else 0


# -------------------------------------------------------------------------------------------------------- the results


def files_say_what_was_done(shots: list[Shot], clicks: Path) -> None:
    for shot in shots:
        document = json.loads((clicks / shot.name).with_name(f"{Path(shot.name).stem}_points.json").read_text())
        (entry,) = document["images"]
        assert entry["file_name"] == shot.name
        assert document["info"]["state"] == ("skipped" if shot.skipped else "done"), (shot.name, document["info"])
        found = [(point["category"], point["x"], point["y"]) for point in entry["points"]]
        wanted = [] if shot.skipped else shot.points
        assert len(found) == len(wanted), (shot.name, found)
        for (name, x, y), (category, *where) in zip(found, wanted, strict=True):
            assert name == category, (shot.name, found)
            assert np.abs(np.subtract((x, y), where)).max() <= 1, (shot.name, found, wanted)
        if shot.sized and not shot.skipped:
            size = {point["category"]: point.get("size") for point in entry["points"]}
            left, top, right, bottom = shot.box
            expected = {"disc": np.pi * shot.disc[2] ** 2, "box": 0.8 * (right - left) * (bottom - top)}
            for name, pixels in expected.items():
                assert 0.7 < size[name] / pixels < 1.4, (shot.name, size, expected)
            assert size["ground"] is None
        assert ("paint" in entry) == (shot.painted and not shot.skipped), shot.name


def labels_keep_it(shots: list[Shot], home: Path) -> None:
    words = ["--images", home / "photos", "--points", home / "clicks", "--out", home / "labels", "--quiet"]
    command = [sys.executable, "-m", "point2mask_ot", "label-dataset", *map(str, words)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    asked = [shot for shot in shots if not shot.skipped]
    assert f"{len(asked)} of {len(asked)} pictures labelled, 0 set aside" in said, said
    assert (home / "labels" / "report.html").stat().st_size > 0
    document = json.loads((home / "labels" / "panoptic.json").read_text())
    names = {category["id"]: category["name"] for category in document["categories"]}
    made = {entry["image_id"]: entry for entry in document["annotations"]}
    by_name = {image["file_name"]: made[image["id"]] for image in document["images"]}
    assert set(by_name) == {shot.name for shot in asked}
    for shot in asked:
        found = by_name[shot.name]
        ids = np.asarray(Image.open(home / "labels" / "panoptic" / found["file_name"])).astype(int) @ [1, 256, 256**2]
        name = {one["id"]: names[one["category_id"]] for one in found["segments_info"]}
        disc, box, ground = (ids[y, x] for _, x, y in shot.points)
        if shot.painted:
            assert {name[number] for number in ids[85, 5:61]} == {"disc"}, f"{shot.name}: the brush does not hold"
            x, y, _ = shot.disc
            assert "disc" not in {name[number] for number in ids[y, x - 4 : x + 5]}, f"{shot.name}: nor the eraser"
        else:
            assert (name[disc], name[box], name[ground]) == ("disc", "box", "ground"), shot.name


if __name__ == "__main__":
    main()
