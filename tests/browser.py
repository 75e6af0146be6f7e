"""A Chromium without a window, driven through its DevTools over a pipe: it needs no package and opens no port."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
TO_BROWSER, FROM_BROWSER = 3, 4  # the file descriptors of --remote-debugging-pipe
SPARE = 100  # above any descriptor that is open when the browser starts


def browser() -> str:
    """The browser of this machine; the test is skipped where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser here (one of {', '.join(BROWSERS)})")
    return path


class Page:
    """A page of a browser that has never run before: its profile is the empty folder `profile`."""

    def __init__(self, profile: Path, *, width: int = 1440, height: int = 1000) -> None:
        read_commands, self._commands = os.pipe()
        self._answers, write_answers = os.pipe()

        def connect() -> None:  # in the browser's process, before it starts
            os.dup2(read_commands, SPARE)
            os.dup2(write_answers, SPARE + 1)
            os.dup2(SPARE, TO_BROWSER)
            os.dup2(SPARE + 1, FROM_BROWSER)

        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        options += ["--remote-debugging-pipe", f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        self.process = subprocess.Popen(
            [browser(), *options, "about:blank"],
            preexec_fn=connect,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_commands)
        os.close(write_answers)
        self._received, self._number, self._session = b"", 0, ""
        pages = self.call("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._received:
                self._received += os.read(self._answers, 1 << 20) or _ended(method)
            text, _, self._received = self._received.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self) -> str:
        return str(self.value("document.body ? document.body.innerText : ''"))

    def wait(self, seen: Callable[[Page], bool], *, seconds: float, picture: Path | None = None) -> None:
        """Wait until `seen` holds of the page; fails with its text, and with a screenshot at `picture`."""
        ends = time.monotonic() + seconds
        while not seen(self):
            if time.monotonic() > ends:
                if picture:
                    self.screenshot(picture)
                pytest.fail(f"not seen after {seconds} s; the page says:\n{self.text()[:3000]}")
            time.sleep(0.5)

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        os.close(self._commands)
        os.close(self._answers)


def _ended(method: str) -> bytes:
    raise AssertionError(f"the browser ended during {method}")
