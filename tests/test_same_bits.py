"""A change of form changes no bit: see :mod:`same_bits`, whose digests hold for the machines that recorded them."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import same_bits


def test_same_bits():
    recorded = json.loads(same_bits.RECORD.read_text())
    known = same_bits.machine() in recorded["machines"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fixed numbers of rounds stop short of a tolerance
        assert same_bits.digests() == (recorded["digests"] if known else _of_another_process())


def _of_another_process() -> dict[str, str]:
    """Where nothing is on record, a program of its own must get the same bits at least."""
    program = "import json, same_bits; print(json.dumps(same_bits.digests()))"
    command = [sys.executable, "-W", "ignore", "-c", program]
    found = subprocess.run(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(found.stdout.splitlines()[-1])
