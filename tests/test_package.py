"""What the package promises before any function is called: names, import cost, no CUDA context."""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib
import inspect
import pkgutil
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import point2mask_ot

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipe" / "recipe.yaml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

PUBLIC = {
    "__version__",
    "ArgumentError",
    "ArgumentTypeError",
    "BackgroundWarning",
    "CapacityRule",
    "Category",
    "ConvergenceWarning",
    "Diagnostics",
    "FileError",
    "InputWarning",
    "MapTerm",
    "NearestCosts",
    "PanopticImage",
    "PointTargets",
    "PseudoMaskConfig",
    "PseudoMasker",
    "PseudoMasks",
    "Segment",
    "TransportResult",
    "VOC_CATEGORIES",
    "boundary_affinity_loss",
    "capacities",
    "edge_costs",
    "export_masks",
    "fill_sizes",
    "geodesic_distances",
    "import_points",
    "lab_affinity_loss",
    "lab_gradient",
    "label_dataset",
    "label_picture",
    "manifold_contrastive_loss",
    "minimum_spanning_tree",
    "nearest_partition",
    "nearest_targets",
    "panoptic_quality",
    "partial_cross_entropy",
    "random_walk_costs",
    "read_coco_panoptic",
    "read_picture",
    "read_points",
    "read_voc",
    "sample_points",
    "semantic_loss",
    "shortest_path",
    "sinkhorn",
    "smooth_lab",
    "solve",
    "structured_edges",
    "tree_affinity_loss",
    "tree_filter",
    "typical_sizes",
    "write_coco_panoptic",
    "write_points",
    "write_voc",
}


def test_public_names():
    assert set(point2mask_ot.__all__) == PUBLIC
    for name in PUBLIC:
        value = getattr(point2mask_ot, name)
        assert name in ("__version__", "CapacityRule", "VOC_CATEGORIES") or value.__doc__
        assert name in dir(point2mask_ot) or name == "__version__"


def documented() -> list[tuple[str, str]]:
    """Each public name and method that has examples, and their code."""
    found = []
    for name in sorted(PUBLIC):
        value = getattr(point2mask_ot, name)
        members = {f"{name}.{key}": member for key, member in vars(value).items()} if inspect.isclass(value) else {}
        for place, each in {name: value, **members}.items():
            text = inspect.getdoc(getattr(each, "__func__", each)) if callable(each) or members else ""
            if examples := doctest.DocTestParser().get_examples(text or ""):
                found.append((place, "".join(example.source for example in examples)))
    return found


def test_each_example_imports_what_it_uses():
    """Typed after the import of nothing but the name that it documents; doctests themselves see the whole module."""
    for place, code in documented():
        tree, known = ast.parse(code), {place.split(".")[0], *dir(builtins)}
        for node in ast.walk(tree):
            match node:
                case ast.alias():
                    known.add(node.asname or node.name.split(".")[0])
                case ast.Name(ctx=ast.Store()):
                    known.add(node.id)
                case ast.arg():
                    known.add(node.arg)
                case ast.FunctionDef():
                    known.add(node.name)
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not used - known, f"{place}: {used - known}"


def test_no_module_hides_a_function():
    modules = {module.name for module in pkgutil.iter_modules(point2mask_ot.__path__)}
    assert not modules & PUBLIC
    importlib.import_module("point2mask_ot.masks.masker")
    assert not any(inspect.ismodule(getattr(point2mask_ot, name)) for name in PUBLIC)


def test_unknown_name():
    with pytest.raises(AttributeError, match="edge_cost"):
        point2mask_ot.edge_cost  # noqa: B018


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_pulls_nothing_heavy():
    heavy = run_python(
        "import sys, point2mask_ot, point2mask_ot.cli, point2mask_ot.types, point2mask_ot.checks\n"
        "print(*({'torch', 'numba', 'skimage', 'cv2', 'ot', 'scipy'} & set(sys.modules)))"
    )
    assert heavy == ""


def test_a_picture_is_labelled_without_what_it_does_not_need():
    """OpenCV, POT and the compiler of torch, whose import takes a second; no CUDA context either."""
    code = (
        "import sys, numpy, torch, point2mask_ot as p\n"
        "m = p.label_picture(numpy.zeros((8, 8, 3), 'u1'), p.PointTargets([(1, 1), (5, 5)]))\n"
        "print(*({'cv2', 'ot', 'skimage', 'torch._dynamo'} & set(sys.modules)), torch.cuda.is_initialized())"
    )
    assert run_python(code) == "False"


def test_a_loss_and_its_gradient_do_without_the_compiler_of_torch():
    code = (
        "import sys, torch, point2mask_ot as p\n"
        "z, image = torch.zeros(1, 2, 6, 6, requires_grad=True), torch.rand(1, 3, 6, 6)\n"
        "p.semantic_loss(z, torch.zeros(1, 6, 6, dtype=torch.int64), image).backward()\n"
        "print('torch._dynamo' in sys.modules)"
    )
    assert run_python(code) == "False"


def test_what_needs_no_lock_of_posix_works_without_it():
    """As on Windows, where a job of ``label_dataset`` alone does not start."""
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "import numpy, point2mask_ot as p, point2mask_ot.annotate, point2mask_ot.cli\n"
        "m = p.label_picture(numpy.zeros((8, 8, 3), 'u1'), p.PointTargets([(1, 1), (5, 5)]))\n"
        "print(m.masks.shape, p.solve.__name__, p.read_points.__name__, point2mask_ot.annotate.serve.__name__)"
    )
    assert run_python(code) == "(2, 8, 8) solve read_points serve"


def test_version_is_the_same_everywhere():
    declared = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared
    assert declared[1] == point2mask_ot.__version__
    assert f"version: {declared[1]}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {declared[1]}" in (ROOT / "CHANGELOG.md").read_text()
    assert f'version: "{declared[1]}"\n' in RECIPE.read_text()


def test_the_recipe_asks_for_what_the_package_asks_for():
    names = {"torch": "pytorch", "opencv-contrib-python": "py-opencv"}
    asked = [re.fullmatch(r"([\w-]+)(.*)", words).groups() for words in PROJECT["project"]["dependencies"]]
    run = RECIPE.read_text().partition("  run:\n")[2].partition("\ntests:")[0]
    wanted = {f"{names.get(name, name)} {bound}" for name, bound in asked} | {"python >=${{ python_min }}"}
    assert set(re.findall(r"    - (.*)", run)) == wanted


def test_the_lowest_versions_are_those_that_were_run(capsys):
    """Who changes a bound runs it, and says so in the table."""
    runpy.run_path(str(ROOT / ".ci" / "oldest.py"))
    rows = re.findall(r"^\| ([\w-]+) \| ([\d.]+) \|", (ROOT / "docs" / "versions.md").read_text(), re.MULTILINE)
    assert {f"{name}=={lowest}" for name, lowest in rows} == set(capsys.readouterr().out.split())


def test_the_hosted_workflow_runs_every_python_that_is_named():
    named = [words.rpartition(" ")[2] for words in PROJECT["project"]["classifiers"] if "Python :: 3." in words]
    (run,) = re.findall(r"python: \[(.*)\]", (ROOT / ".github" / "workflows" / "test.yml").read_text())
    assert run.replace('"', "").split(", ") == named
