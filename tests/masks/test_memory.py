"""Pictures that will not fit are refused before the work begins."""

from __future__ import annotations

import multiprocessing
import sys

import numpy as np
import pytest
import torch

from point2mask_ot import ArgumentError, PointTargets, PseudoMasker, label_picture
from point2mask_ot.masks import memory


def targets(rng, size, count):
    places = rng.choice(size[0] * size[1], count, replace=False)
    return PointTargets(np.stack(np.divmod(places, size[1]), 1), is_thing=np.arange(count) < count - 1)


def test_the_message_says_what_it_takes_and_what_there_is(monkeypatch, rng):
    monkeypatch.setattr(memory, "total_memory", lambda device: 1.4e6)
    picture = np.zeros((80, 100, 3), np.uint8)
    with pytest.raises(
        ArgumentError, match=r"40 suppliers on 80 x 100 pixels, .* about 0.0015 GB; .* the 0.0014 GB of this machine"
    ):
        label_picture(picture, targets(rng, (80, 100), 40))


def test_the_message_names_the_setting_that_needs_all_maps(monkeypatch, rng):
    """A batch is refused as a whole; without the setting it fits."""
    monkeypatch.setattr(memory, "total_memory", lambda device: 20e6)
    boundary, everyone = rng.random((2, 1, 80, 100), np.float32), [targets(rng, (80, 100), 300)] * 2
    settings = {"stuff": "supply", "step_cost": 1e-3}
    PseudoMasker("best", **settings)(None, boundary, everyone)
    semantic = rng.dirichlet(np.ones(2), (2, 80, 100)).transpose(0, 3, 1, 2).astype(np.float32)
    masker = PseudoMasker("best", **settings, unary_weight=1)
    with pytest.raises(ArgumentError, match=r"in a batch of 2, .* with unary_weight=1 every supplier has a map"):
        masker(semantic, boundary, everyone)


def test_the_memory_of_this_machine(monkeypatch, tmp_path):
    assert memory.total_memory(torch.device("cpu")) > 1e8
    limit = tmp_path / "memory.max"
    for text, told in (("12345\n", 12345.0), ("max\n", None)):
        limit.write_text(text)
        monkeypatch.setattr(memory, "_CGROUPS", (str(limit),))
        found = memory.total_memory(torch.device("cpu"))
        assert found == told if told else found > 1e8


def peak(cost, count):
    """(bytes told, bytes taken) in a process of its own."""
    from point2mask_ot.masks import stages

    told = []
    stages.refuse_what_does_not_fit = lambda scenes: told.append(sum(map(memory.bytes_needed, scenes)))
    rng = np.random.default_rng(0)
    label_picture(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8), targets(rng, (64, 64), count), cost=cost)
    picture, own = rng.integers(0, 255, (640, 640, 3), dtype=np.uint8), targets(rng, (640, 640), count)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = resident("VmRSS")
    label_picture(picture, own, cost=cost)
    return told[-1], resident("VmHWM") - before


def resident(name):
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith(name))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("cost", ["path", "walk"])
@pytest.mark.parametrize("count", [20, 200])
def test_the_estimate_is_about_true(cost, count):
    context = multiprocessing.get_context("forkserver")  # whose server imports once, and runs nothing
    context.set_forkserver_preload(["numba", "point2mask_ot.masks.crowd"])
    with context.Pool(1) as pool:
        told, taken = pool.apply(peak, (cost, count))
    assert 0.5 * told < taken < 1.5 * told
