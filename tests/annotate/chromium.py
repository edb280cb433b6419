"""A headless Chromium, driven through Selenium: what the tests of the page, and the scripts of .ci, do in a window."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing() -> list[str]:
    """What is not installed."""
    programs = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    return programs + [name for name in ("selenium",) if not importlib.util.find_spec(name)]


class Browser:
    """One window.

    Args:
        driver: Selenium's.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def reload(self) -> None:
        self.driver.refresh()

    def run(self, script: str, *arguments: Any) -> Any:
        """What a JavaScript function body returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, *arguments: Any, seconds: float = 120) -> Any:
        """The first true value of a function body."""
        end = time.monotonic() + seconds
        while not (value := self.run(script, *arguments)):
            if time.monotonic() > end:
                raise TimeoutError(f"{script} {arguments}; the page: {self.run('return document.body.innerText')}")
            time.sleep(0.02)
        return value

    def _chain(self) -> Any:
        from selenium.webdriver import ActionChains

        return ActionChains(self.driver, duration=5)

    def click(self, x: float, y: float, button: int = 0, key: str | None = None) -> None:
        """At viewport coordinates, perhaps with a key held down."""
        self.drag((x, y), button=button, key=key)

    def drag(self, *stops: tuple[float, float], button: int = 0, key: str | None = None) -> None:
        """From the first stop to the last through all others, perhaps with a key held down."""
        chain = self._chain()
        mouse, keys = chain.w3c_actions.pointer_action, chain.w3c_actions.key_action
        steps = [lambda: mouse.pointer_down(button)]
        for here, there in pairwise(stops):
            steps.append(
                lambda a=here, b=there: mouse.move_to_location(round((a[0] + b[0]) / 2), round((a[1] + b[1]) / 2))
            )
            steps.append(lambda b=there: mouse.move_to_location(round(b[0]), round(b[1])))
        if key:
            chain.key_down(key)
        x, y = stops[0]
        for step in (lambda: mouse.move_to_location(round(x), round(y)), *steps, lambda: mouse.pointer_up(button)):
            step()
            keys.pause()  # or the key would be let go meanwhile
        if key:
            chain.key_up(key)
        chain.perform()

    def press(self, selector: str) -> None:
        """Click an element."""
        self._find(selector).click()

    def type(self, selector: str, text: str) -> None:
        self._find(selector).send_keys(text)

    def keys(self, *values: str) -> None:
        """Press keys one after another; the last is held by those before it."""
        chain = self._chain()
        for value in values:
            chain.key_down(value)
        for value in values[::-1]:
            chain.key_up(value)
        chain.perform()

    def resize(self, width: int, height: int) -> None:
        """Make the viewport this large."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def screenshot(self) -> bytes:
        """PNG."""
        shot: bytes = self.driver.get_screenshot_as_png()
        return shot

    def new_tab(self) -> str:
        """Open a tab and go on in it; the tab before."""
        before: str = self.driver.current_window_handle
        self.driver.switch_to.new_window("tab")
        return before

    def close_tab(self, then: str) -> None:
        """Close this tab, as a person does, and go on in another."""
        self.driver.close()
        self.driver.switch_to.window(then)

    def _find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own; a page that would not be left is left."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    os.environ.setdefault("SE_OFFLINE", "true")  # Selenium would look for a newer driver
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        options.unhandled_prompt_behavior = "accept"
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = Chrome(options, ChromeService(shutil.which("chromedriver")))
        try:
            yield Browser(driver)
        finally:
            driver.quit()
