"""A change of form changes no bit: see :mod:`same_bits`, whose digests hold for the machine that recorded them."""

from __future__ import annotations

import json
import warnings

import pytest
import same_bits


def test_same_bits():
    recorded = json.loads(same_bits.RECORD.read_text())
    if recorded["machine"] != same_bits.machine():
        pytest.skip(f"the digests were recorded on another machine: {recorded['machine']}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fixed numbers of rounds stop short of a tolerance
        assert same_bits.digests() == recorded["digests"]
