"""A headless Chromium, driven through the WebDriver protocol with the standard library."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in ("chromium", "chromedriver") if not shutil.which(name)]


class Browser:
    """One window of one session."""

    def __init__(self, session_url: str) -> None:
        self.url = session_url

    def send(self, method: str, path: str, body: Any = None) -> Any:
        return _send(method, self.url + path, body)

    def open(self, url: str) -> None:
        self.send("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a JavaScript function body returns."""
        return self.send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, *arguments: Any, seconds: float = 300) -> Any:
        """The first true value of a function body."""
        end = time.monotonic() + seconds
        while not (value := self.run(script, *arguments)):
            if time.monotonic() > end:
                raise TimeoutError(f"{script} {arguments}; the page: {self.run('return document.body.innerText')}")
            time.sleep(0.05)
        return value

    def pointer(self, *steps: dict[str, Any], key: str | None = None) -> None:
        """Mouse steps, perhaps with a key held down."""
        actions: list[dict[str, Any]] = [{"type": "pointer", "id": "mouse", "actions": list(steps)}]
        if key:
            held = [{"type": "keyDown", "value": key}, *({"type": "pause"} for _ in steps)]
            actions[0]["actions"] = [{"type": "pause"}, *steps]
            actions.append({"type": "key", "id": "keys", "actions": [*held, {"type": "keyUp", "value": key}]})
        self.send("POST", "/actions", {"actions": actions})

    def click(self, x: float, y: float, button: int = 0, key: str | None = None) -> None:
        """At viewport coordinates."""
        self.pointer(
            move(x, y), {"type": "pointerDown", "button": button}, {"type": "pointerUp", "button": button}, key=key
        )

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        middle = [(a + b) / 2 for a, b in zip(start, end, strict=True)]
        down, up = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        self.pointer(move(*start), down, move(*middle), move(*end), up)

    def press(self, selector: str) -> None:
        """Click an element."""
        self.send("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        self.send("POST", f"/element/{self._find(selector)}/value", {"text": text})

    def keys(self, *values: str) -> None:
        """Press keys one after another; the last is held by those before it."""
        strokes = [{"type": "keyDown", "value": v} for v in values] + [
            {"type": "keyUp", "value": v} for v in values[::-1]
        ]
        self.send("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": strokes}]})

    def resize(self, width: int, height: int) -> None:
        """Make the viewport this large."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})

    def screenshot(self) -> bytes:
        """PNG."""
        return base64.b64decode(self.send("GET", "/screenshot"))

    def _find(self, selector: str) -> str:
        return self.send("POST", "/element", {"using": "css selector", "value": selector})[_ELEMENT]


def move(x: float, y: float) -> dict[str, Any]:
    return {"type": "pointerMove", "duration": 20, "x": round(x), "y": round(y)}


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert driver.stdout
        try:
            port = next(found[1] for line in driver.stdout if (found := re.search(r"started.* on port (\d+)", line)))
            options = {"binary": shutil.which("chromium"), "args": [*FLAGS, f"--user-data-dir={profile}"]}
            capabilities = {"browserName": "chrome", "goog:chromeOptions": options}
            root = f"http://127.0.0.1:{port}/session"
            made = _send("POST", root, {"capabilities": {"alwaysMatch": capabilities}})
            window = Browser(f"{root}/{made['sessionId']}")
            try:
                yield window
            finally:
                window.send("DELETE", "")
        finally:
            driver.terminate()
            driver.communicate()


def _send(method: str, url: str, body: Any) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    direct: Callable[..., Any] = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    try:
        with direct(request, timeout=300) as response:
            return json.load(response)["value"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(error.read().decode()) from error
