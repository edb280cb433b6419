"""The window that the tests of the page share."""

from __future__ import annotations

import pytest
from chromium import browser, missing


@pytest.fixture(scope="session")
def chromium_window():
    if missing():
        pytest.skip(f"not installed: {', '.join(missing())}")
    with browser() as opened:
        yield opened


@pytest.fixture
def window(chromium_window):
    """As wide as a desk's, whatever a test before has made of it."""
    chromium_window.resize(1280, 800)
    return chromium_window
