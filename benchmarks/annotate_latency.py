"""From a click to masks on the screen, through the browser, on the page of ``annotate``.

    python benchmarks/annotate_latency.py [--quick] [--json results.json]

A photograph of 1000 x 1500 pixels with 5, 10, 20, 50 targets, of which the last one is clicked in headless Chromium:
wall seconds from the release of the button until masks of that state are drawn, the first ones (coarse where the fine
ones take long) and the final ones. The server labels on one thread. Things alone, and with a point on a background.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from harness import Timing, write_json
from PIL import Image

from point2mask_ot.annotate.session import Session
from point2mask_ot.cli.annotate import parse_categories

sys.path.append(str(Path(__file__).parents[1] / "tests" / "annotate"))
from annotate_cases import serving
from chromium import Browser, browser, missing

HEIGHT, WIDTH = 1000, 1500
COUNTS = (5, 10, 20, 50)
WATCH = """window.watch = {};
addEventListener('pointerup', () => { window.watch = {start: performance.now()}; }, true);
new MutationObserver(() => {
  const words = document.getElementById('status').textContent, watch = window.watch;
  if (!/^\\d+ targets? /.test(words) || !('start' in watch)) return;
  watch.first ??= performance.now() - watch.start;
  if (words.includes('labelled')) watch.last ??= performance.now() - watch.start;
}).observe(document.getElementById('status'), {childList: true, characterData: true, subtree: true});"""
PLACE = """const box = document.getElementById('photo').getBoundingClientRect();
return [box.left + arguments[0] * box.width / 1500, box.top + arguments[1] * box.height / 1000];"""
OPENED = "return document.querySelectorAll('.point').length === arguments[0];"
SAYS = "return document.getElementById('status').textContent.includes(arguments[0]);"


def latency(window: Browser, photo: Path, count: int, background: bool, runs: int) -> dict[str, Any]:
    """Seconds until the first and until the final masks of ``count`` targets, the last of which is clicked."""
    rng = np.random.default_rng(count)
    cells = rng.permutation(10 * 6)[:count]  # no point lies under another's marker
    columns = (cells % 10) * WIDTH // 10 + rng.integers(50, WIDTH // 10 - 50, count)
    rows = (cells // 10) * HEIGHT // 6 + rng.integers(50, HEIGHT // 6 - 50, count)
    names = ["background" if background and k == 0 else "object" for k in range(count)]
    places = zip(columns.tolist(), rows.tolist(), names, strict=True)
    points = [{"x": x, "y": y, "category": name, "target": k} for k, (x, y, name) in enumerate(places)]
    categories = [{"id": 1, "name": "object", "isthing": 1}, {"id": 2, "name": "background", "isthing": 0}]
    found: dict[str, list[float]] = {"first": [], "last": []}
    with tempfile.TemporaryDirectory() as folder:
        session = Session(photo, out=folder, categories=parse_categories("object,background:stuff"))
        session.save(photo.name, json.dumps({"categories": categories, "points": points[:-1]}).encode())
        with serving(session) as server:
            window.open(server.url)
            window.wait(OPENED, count - 1)
            window.wait(SAYS, "labelled")
            window.run(WATCH)
            for run in range(runs + 1):
                window.click(*window.run(PLACE, points[-1]["x"], points[-1]["y"]))
                seen = window.wait("return 'last' in window.watch && window.watch;")
                if run:  # the first compiles
                    for name, values in found.items():
                        values.append(seen[name] / 1000)
                window.run("window.watch = {};")
                window.keys("\ue017")
                window.wait(SAYS, f"{count - 1} target")
                window.wait(SAYS, "labelled")
    return {
        "targets": count,
        "background": background,
        "first": vars(Timing.of(found["first"])),
        "final": vars(Timing.of(found["last"])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 and 50 targets, two clicks each")
    parser.add_argument("--json", help="write the results here")
    asked = parser.parse_args()
    if missing():
        sys.exit(f"not installed: {', '.join(missing())}")
    torch.set_num_threads(1)
    counts, runs = ((5, 50), 2) if asked.quick else (COUNTS, 7)
    results = []
    with tempfile.TemporaryDirectory() as folder, browser() as window:
        photo = Path(folder) / "coffee.png"
        Image.fromarray(skimage.data.coffee()).resize((WIDTH, HEIGHT)).save(photo)
        window.resize(1280, 800)
        for background in (False, True):
            for count in counts:
                row = latency(window, photo, count, background, runs)
                results.append(row)
                kind = "with a background" if background else "things alone"
                seconds = f"first {row['first']['median']:.2f} s, final {row['final']['median']:.2f} s"
                print(f"{count:>3} targets, {kind:<17}: {seconds}", flush=True)
    if asked.json:
        write_json(asked.json, results, quick=asked.quick, height=HEIGHT, width=WIDTH)


if __name__ == "__main__":
    main()
