"""Labels from one point a target with a distance that was learned from ten, against preset ``best``.

    OMP_NUM_THREADS=1 python benchmarks/learned_distances.py --data ../shared/data --keep ../learned

Each run of ``examples/learn_distances.py`` whose scores are not in the folder yet is made: half an hour of one core
for all of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path

from harness import write_json

EXAMPLE = Path(__file__).parents[1] / "examples" / "learn_distances.py"
EPOCHS = {"photographs": 3, "nuclei": 2}
SOURCES = {"metric": 5, "boundary": 5, "features": 1}


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with voc_layout and coco_panoptic_layout")
    parser.add_argument("--kinds", nargs="+", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--learn", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--power", nargs="+", default=["learned", "held"], choices=["learned", "held"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--limit", type=int, help="pictures of each split (default: all)")
    parser.add_argument("--keep", type=Path, help="folder for weights and scores, of which later runs make use")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        out = options.keep or Path(temporary)
        for kind, learn, power in product(options.kinds, options.learn, options.power):
            if (learn, power) == ("features", "learned") and len(options.power) > 1:
                continue  # points alone lose more with the power learned
            folder = out / f"power-{power}"
            scores = folder / f"{kind}-{learn}.json"
            if not scores.exists():
                words = [sys.executable, EXAMPLE, "--data", options.data, "--out", folder, "--kind", kind]
                words += ["--learn", learn, "--epochs", EPOCHS[kind], "--sources", SOURCES[learn]]
                words += ["--seeds", options.seeds]
                words += ["--power" if power == "learned" else "--no-power"]
                words += [] if options.limit is None else ["--limit", options.limit]
                subprocess.run([str(word) for word in words], check=True)
            content = json.loads(scores.read_text())
            rows += [{**row, "numbers": content["numbers"]} for row in content["scores"]]
    for row in rows:
        print(json.dumps(row))
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
