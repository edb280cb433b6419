"""Algorithm 1 as a GPU runs it: the same answers, and nothing that waits for the device but what says so.

Three grounds, two of which every machine has: tensors of no values ("meta"), on which whatever looks at a value
fails; the GPU's path on the CPU; and a GPU.
"""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_pseudo_masks import PRESETS, scene

from point2mask_ot import Diagnostics, MapTerm, PointTargets, PseudoMasker, capacities, checks, edge_costs
from point2mask_ot.graph import edges, pairs
from point2mask_ot.masks.inputs import Maps
from point2mask_ot.masks.ownership import pseudo_masks
from point2mask_ot.masks.scene import Scene, cheapest

NAMES = ("instance", "masks", "boxes", "semantic", "void", "confidence", "target_confidence")


def given(device):
    """Maps with all kinds of terms, of a scene whose features tell nothing."""
    _, semantic, boundary, targets = scene()
    flat = torch.ones(1, 48, 64, device=device)
    wall = torch.zeros(1, 48, 64)
    wall[:, :, 60] = 1
    maps = [torch.from_numpy(m).to(device) for m in (semantic, boundary)]
    walled = MapTerm(wall.to(device), 1.0, lambda k, l: torch.where(torch.maximum(k, l)[:, 0] > 0, torch.inf, 0))
    return *maps, flat, (MapTerm(flat, 0.1, "max"), walled), targets


SETTINGS = {
    **{name: {"preset": name} for name in PRESETS},
    "empty boxes": {"preset": "best", "empty_box": "point", "point_radius": 0},
    "paths": {"preset": "best", "cost": "path"},
    "supply": {"preset": "paper", "stuff": "supply", "empty_box": "centre"},
    "minimum": {"preset": "best", "method": "minimum", "presence": False},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_no_step_of_an_image_looks_at_a_value(name):
    semantic, boundary, features, terms, targets = given("meta")
    settings = dict(SETTINGS[name])
    config = PseudoMasker(settings.pop("preset"), **settings).config
    walk(Scene.of(config, Maps(semantic, boundary, features, terms), targets))


def walk(image):
    """All steps of one image; the searches and the transport, which have tests of their own, are stood in for."""
    device = image.edges.device
    suppliers, size = len(image.chosen), (image.raster.height, image.raster.width)
    distances = torch.ones(suppliers, *image.raster.shape, device=device)
    cost = image.raster.enlarge(distances)
    nearest = cheapest(cost)
    demand = image.demand(nearest)
    image.assigned(cost)
    cost = image.scaled(cost, demand)
    zeros = torch.zeros(size[0] * size[1], dtype=torch.float64, device=device)
    plan = SimpleNamespace(f=zeros[:suppliers], g=zeros, labels=nearest.flatten())
    found = Diagnostics(image.chosen, image.edges, distances, cost, nearest, demand, zeros[:suppliers], plan, {})
    assert pseudo_masks(image, found, if_border=nearest).boxes.shape == (image.targets.num_targets, 4)


@pytest.mark.parametrize("kind", ["l1", "max", "cosine"])
def test_edge_costs_look_at_no_value(kind):
    image = torch.ones(2, 3, 4, 5, device="meta")
    edges.check_values("edge_costs", "semantic", image, kind)
    assert pairs.pair_costs(image, kind).shape == (2, 4, 4, 5)


# A walk's probabilities come from another iterative solver on the CPU than elsewhere, each with an error of its own.
SOLVERS_DIFFER = {"rtol": 0, "atol": 0.03}


WALKS = ("best", "empty boxes", "minimum")


def same_distances(name, found, wanted):
    if name in WALKS:
        torch.testing.assert_close(torch.exp(-found), torch.exp(-wanted), **SOLVERS_DIFFER)
    else:
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_path_of_a_gpu_gives_the_same_answers(name, monkeypatch):
    semantic, boundary, features, terms, targets = given("cpu")
    settings = dict(SETTINGS[name])
    masker = PseudoMasker(settings.pop("preset"), **settings)
    batch = [torch.stack([m, m.flip(2)]) for m in (semantic, boundary, features)]
    doubled = [MapTerm(torch.stack([t.map, t.map]), t.weight, t.kind) for t in terms]
    both = [targets, PointTargets([(15, 51), (3, 3)], category=[1, 3], is_thing=[True, False])]
    expected = masker(batch[0], batch[1], both, batch[2], terms=doubled)
    monkeypatch.setattr(checks, "values_at_hand", lambda tensor: False)
    for found, wanted in zip(masker(batch[0], batch[1], both, batch[2], terms=doubled), expected, strict=True):
        for field in NAMES:
            error = SOLVERS_DIFFER if name in WALKS and field.endswith("confidence") else {}
            torch.testing.assert_close(getattr(found, field), getattr(wanted, field), equal_nan=True, **error)
        same_distances(name, found.diagnostics.distances, wanted.diagnostics.distances)
        torch.testing.assert_close(found.diagnostics.capacities, wanted.diagnostics.capacities, rtol=0, atol=0)


def test_a_bad_value_is_an_assertion_of_the_device(monkeypatch):
    semantic, boundary, _, _, targets = given("cpu")
    monkeypatch.setattr(checks, "values_at_hand", lambda tensor: False)
    with pytest.raises(RuntimeError, match=r"PseudoMasker: argument 'semantic': expected probabilities in \[0, 1\]"):
        PseudoMasker()(semantic * 9, boundary, targets)


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_device_gives_the_answers_of_the_cpu_and_the_same_bits_twice(name, device, deterministic):
    settings = dict(SETTINGS[name])
    masker = PseudoMasker(settings.pop("preset"), **settings)
    semantic, boundary, features, terms, targets = given(device)
    first, again = (masker(semantic, boundary, targets, features, terms=terms) for _ in range(2))
    semantic, boundary, features, terms, targets = given("cpu")
    expected = masker(semantic, boundary, targets, features, terms=terms)
    for field in NAMES:
        assert getattr(first, field).device.type == device.type
        torch.testing.assert_close(getattr(first, field), getattr(again, field), rtol=0, atol=0, equal_nan=True)
    assert (first.instance.cpu() == expected.instance).double().mean() > 0.999
    same_distances(name, first.diagnostics.distances.cpu(), expected.diagnostics.distances)
    torch.testing.assert_close(first.diagnostics.capacities.cpu(), expected.diagnostics.capacities, rtol=0, atol=2)


@pytest.mark.parametrize("method", ["centroid", "nearest", "equal"])
def test_capacities_on_every_device(rng, device, method, deterministic):
    maps = [rng.random((1, 9, 14)).astype(np.float32), rng.random((1, 20, 6)).astype(np.float32)]
    weight = [torch.from_numpy(rng.random(m.shape[1:])).to(device) for m in maps]
    graphs = [edge_costs(boundary=torch.from_numpy(m).to(device), step_cost=0.1) for m in maps]
    targets = [PointTargets([(1, 1), (7, 12), (3, 5)], [0, 1, 1]), PointTargets([(19, 0)])]
    for demand in (None, weight):
        found = capacities(graphs, targets, method=method, demand=demand)
        plain = None if demand is None else [w.cpu() for w in demand]
        expected = capacities([g.cpu() for g in graphs], targets, method=method, demand=plain)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.cpu(), other)


@pytest.fixture
def cuda():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    yield torch.device("cuda")
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("name", SETTINGS)
def test_the_steps_of_an_image_never_wait_for_a_gpu(name, cuda):
    settings = dict(SETTINGS[name])
    config = PseudoMasker(settings.pop("preset"), **settings).config
    semantic, boundary, features, terms, targets = given(cuda)
    torch.cuda.set_sync_debug_mode("error")
    walk(Scene.of(config, Maps(semantic, boundary, features, terms), targets))
    edge_costs(semantic, boundary, features=features, terms=terms)


@pytest.mark.gpu
def test_a_batch_of_the_paper_waits_for_a_gpu_twice(cuda):
    semantic, boundary, _, _, targets = given(cuda)
    batch = torch.stack([semantic] * 3), torch.stack([boundary] * 3), [targets] * 3
    masker = PseudoMasker("paper")
    masker(*batch)  # compiles
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        masker(*batch)
    assert len([w for w in caught if "synchron" in str(w.message)]) <= 2, "centroids, and which images have demand"
