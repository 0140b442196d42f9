"""Pages in a real browser: Debian's Chromium, without a window, drawing in software."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PATIENCE_MS = 300_000  # software drawing on a loaded machine
_SOFTWARE = (
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
)  # fmt: skip
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def open_browser() -> Iterator[Any]:
    """A browser; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright (extra: dev) is not installed")
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("there is no Chromium; on Debian: make debian")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(_SOFTWARE), timeout=PATIENCE_MS)
        yield browser
        browser.close()


class WatchedPage:
    """A page, what it said on the console, and what it asked for."""

    def __init__(self, browser: Any, url: str, *, width: int = 900, height: int = 600, before: str = "") -> None:
        """before: JavaScript that runs before the page's own."""
        context = browser.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(PATIENCE_MS)
        self.page = context.new_page()
        if before:
            self.page.add_init_script(before)
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)

    def picture(self, selector: str, path: Path) -> np.ndarray:
        """A screenshot of an element: uint8 [H, W, 3]."""
        self.page.locator(selector).screenshot(path=path)
        return np.asarray(read_png_colours(path))

    def accessibility_violations(self) -> list[str]:
        """What axe-core finds against WCAG 2.1 AA, a line each."""
        axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python (extra: dev) is not installed")
        script = next(Path(axe.__file__).parent.rglob("axe.min.js")).read_text(encoding="utf-8")
        self.page.evaluate(f"() => {{ {script} }}")
        rules = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}"
        found = self.page.evaluate(f"() => axe.run(document, {rules}).then(result => result.violations)")
        return [f"{each['id']}: {node['html']}: {node['failureSummary']}" for each in found for node in each["nodes"]]


def read_png_colours(path: Path) -> np.ndarray:
    """An RGB picture: uint8 [H, W, 3]."""
    from matplotlib.image import imread

    return np.rint(imread(path)[..., :3] * 255).astype(np.uint8)
