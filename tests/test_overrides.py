"""Settings by name: what an editor completes is what the functions take (FAULTS C14)."""

from __future__ import annotations

from typing import get_type_hints

import numpy as np
import pytest

from point2mask_ot import PointTargets, PseudoMaskConfig, PseudoMasker, label_dataset, label_picture
from point2mask_ot.annotate.overrides import PageOverrides
from point2mask_ot.annotate.session import Session
from point2mask_ot.annotate.settings import AnnotateSettings
from point2mask_ot.labelling import DatasetSettings
from point2mask_ot.labelling.overrides import DatasetOverrides
from point2mask_ot.masks.overrides import ConfigOverrides


@pytest.mark.parametrize(
    ("overrides", "records"),
    [
        (ConfigOverrides, [PseudoMaskConfig]),
        (DatasetOverrides, [PseudoMaskConfig, DatasetSettings]),
        (PageOverrides, [PseudoMaskConfig, AnnotateSettings]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_fault_c14_overrides_are_the_fields_and_their_types(overrides, records):
    fields = [hints for record in records for hints in get_type_hints(record).items()]
    assert get_type_hints(overrides) == dict(fields)
    assert len(fields) == len(dict(fields))
    assert not overrides.__required_keys__


def test_the_name_of_a_preset_is_no_setting():
    for call in (lambda: label_picture(PICTURE, TARGETS, preset="paper"), lambda: PseudoMasker(preset="paper")):
        with pytest.raises(TypeError, match=r"'preset'.*named by `config`"):
            call()
    with pytest.raises(TypeError, match=r"'preset'.*named by `config`"):
        label_dataset("in", "points.csv", "out", preset="paper")


PICTURE, TARGETS = np.zeros((8, 8, 3), np.uint8), PointTargets([(2, 2)])


@pytest.mark.parametrize(
    "call",
    [
        lambda: PseudoMaskConfig.preset("paper", strid=8),
        lambda: PseudoMaskConfig().changed(strid=8),
        lambda: PseudoMasker("best", strid=8),
        lambda: label_picture(PICTURE, TARGETS, strid=8),
        lambda: label_dataset("in", "points.csv", "out", strid=8),
        lambda: Session("photo.jpg", strid=8),
    ],
)
def test_fault_c14_an_unknown_setting_is_a_type_error_with_a_hint(call):
    with pytest.raises(TypeError, match=r"'strid'.*did you mean 'stride'"):
        call()
