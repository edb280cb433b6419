"""What Algorithm 1 and its configuration refuse, and in which words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pseudo_mask_cases import PRESETS, scene

from point2mask_ot import ArgumentError, MapTerm, PointTargets, PseudoMaskConfig, PseudoMasker

_, SEMANTIC, BOUNDARY, TARGETS = scene()

REFUSALS = {
    "NaN that a coarse grid would miss": (
        (np.where(np.arange(64) == 0, np.nan, SEMANTIC).astype("f"), None, TARGETS),
        {"preset": "paper"},
        "NaN",
    ),
    "boundary that a coarse grid would miss": (
        (SEMANTIC, np.where(np.arange(64) == 0, 7, BOUNDARY).astype("f"), TARGETS),
        {"preset": "paper"},
        "'boundary'",
    ),
    "NaN under a point": ((np.where(np.arange(64) == 12, np.nan, SEMANTIC).astype("f"), None, TARGETS), {}, "NaN"),
    "features of any length": ((SEMANTIC, None, TARGETS, SEMANTIC * 9), {}, "unit vectors"),
    "one size for all": ((SEMANTIC, None, TARGETS), {"sizes": [48, 64]}, "pairs"),
    "a fractional size": ((SEMANTIC, None, TARGETS), {"sizes": [(10.5, 20)]}, "an integer"),
    "a single term": ((SEMANTIC, None, TARGETS), {"terms": MapTerm(SEMANTIC)}, "a list of MapTerm"),
    "logits": ((SEMANTIC * 9, BOUNDARY, TARGETS), {}, "look like logits"),
    "NaN in a class without a point": (
        (np.where(np.arange(5)[:, None, None] == 0, np.nan, SEMANTIC), None, TARGETS),
        {},
        "NaN",
    ),
    "integers": ((SEMANTIC.astype(int), BOUNDARY, TARGETS), {}, "floating-point"),
    "2-D": ((SEMANTIC[0], BOUNDARY, TARGETS), {}, "(C, H, W)"),
    "no map": ((None, None, TARGETS), {}, "no map at all"),
    "too few channels": ((SEMANTIC[:3], BOUNDARY, TARGETS), {}, "category 3"),
    "empty image": ((SEMANTIC[:, :0], None, TARGETS), {}, "non-empty"),
    "point outside": ((SEMANTIC[:, :46], BOUNDARY[:, :46], TARGETS), {}, "inside the 46x64 image"),
    "sizes differ": ((SEMANTIC, BOUNDARY[:, 1:], TARGETS), {}, "(1, 47, 64)"),
    "stuff without a semantic map": ((None, BOUNDARY, TARGETS), {}, "stuff='supply'"),
    "two targets on a pixel": ((SEMANTIC, None, PointTargets([(1, 2), (1, 2)])), {}, "targets 0 and 1 both at"),
    "mixed families": ((SEMANTIC, torch.from_numpy(BOUNDARY), TARGETS), {}, "no mixing"),
    "bare points": ((SEMANTIC, BOUNDARY, [(1, 2)]), {}, "PointTargets"),
    "a batch with one target set": ((SEMANTIC[None], None, TARGETS), {}, "a sequence of 1"),
    "a batch with too many target sets": ((SEMANTIC[None], None, [TARGETS] * 2), {}, "2 entries"),
    "size outside": ((SEMANTIC, None, TARGETS), {"sizes": [(49, 64)]}, "within the maps' 48x64"),
    "too many sizes": ((SEMANTIC, None, TARGETS), {"sizes": [(48, 64)] * 2}, "1 pairs"),
    "a negative weight": ((SEMANTIC, None, TARGETS), {"terms": [MapTerm(SEMANTIC, -1.0)]}, "terms[0].weight"),
    "terms of another size": ((SEMANTIC, None, TARGETS), {"terms": [MapTerm(SEMANTIC[:, 1:])]}, "terms[0]"),
    "terms that are arrays": ((SEMANTIC, None, TARGETS), {"terms": [SEMANTIC]}, "MapTerm"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refuses(case):
    arguments, keywords, words = REFUSALS[case]
    keywords = dict(keywords)
    masker = PseudoMasker(keywords.pop("preset", "best"))
    with pytest.raises(ArgumentError) as caught:
        masker(*arguments, **keywords)
    assert words in str(caught.value)
    assert "expected" in str(caught.value)


CONFIG_REFUSALS = {
    "unknown preset": ("besst", {}, "did you mean 'best'"),
    "unknown key": ("best", {"strid": 2}, "did you mean 'stride'"),
    "number as a string": ("best", {"reg": "1e-3"}, "a number"),
    "bool as a number": ("best", {"beta": True}, "a number"),
    "number as a bool": ("best", {"presence": 1}, "a bool"),
    "stride 0": ("best", {"stride": 0}, ">= 1"),
    "stride 1.5": ("best", {"stride": 1.5}, "an integer"),
    "unknown choice": ("best", {"stuff": "supplies"}, "did you mean 'supply'"),
    "unknown rule": ("best", {"capacity": "centroids"}, "did you mean 'centroid'"),
    "reg 0 with newton": ("best", {"reg": 0}, "method='exact'"),
    "tau without entropy": ("best", {"method": "exact", "tau": 1.0}, "None for method 'exact'"),
    "a floor without rounds": ("best", {"marginal_floor": 1e-8}, "0 for method 'newton'"),
    "likelihood by cell": ("paper", {"assign": "likelihood"}, "'target'"),
    "negative tau": ("best", {"tau": -1}, "> 0"),
    "NaN reg": ("best", {"reg": float("nan")}, "finite"),
}


@pytest.mark.parametrize("case", CONFIG_REFUSALS)
def test_configuration_refuses(case):
    preset, overrides, words = CONFIG_REFUSALS[case]
    with pytest.raises(ArgumentError) as caught:
        PseudoMasker(preset, **overrides)
    assert words in str(caught.value)
    with pytest.raises(ArgumentError):
        PseudoMaskConfig.preset(preset, **overrides)
    if preset in PRESETS:
        with pytest.raises(ArgumentError):
            PseudoMasker(PseudoMaskConfig.preset(preset), **overrides)


def test_stride_larger_than_the_image():
    with pytest.raises(ArgumentError, match="no larger than the image"):
        PseudoMasker("paper", stride=65)(SEMANTIC, BOUNDARY, TARGETS)
