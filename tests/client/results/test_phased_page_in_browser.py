"""The page of a series in time in a real browser: the slider and the arrow keys change image, mask and curve."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_pages import WatchedPage
from made_up_results import made_up_result
from result_samples import LABELS

from swinunet.client.results.page.preview import phased_previews
from swinunet.client.results.page_writer import Phases, result_page
from swinunet.imaging import Volume

SHAPE = (30, 30, 12)
SIDES = (4, 8, 16)  # of the structure in each phase, in voxels


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey block that holds a growing square of the first structure, and gets brighter."""
    masks, images = [], []
    for phase, side in enumerate(SIDES):
        mask = np.zeros(SHAPE, np.uint8)
        mask[5 : 5 + side, 5 : 5 + side, 2:10] = 1
        masks.append(mask)
        images.append(np.full(SHAPE, 50 + 50 * phase, np.int16))
        images[-1][0, 0, 0], images[-1][-1, -1, -1] = 0, 250
    volume = Volume(images[0], np.diag([2.0, 2.0, 4.0, 1.0]))
    shown = phased_previews(volume, images, masks, "MR")
    phases = Phases(("phase 1, 0 ms", "phase 2, 40 ms", "phase 3, 80 ms"), ((1.0, 2.0, 8.0),), ("Ejection: 50 %.",))
    page = result_page(made_up_result(volume, masks[0]), shown, {1: [-14.0, -14.0, 20.0]}, phases)
    path = tmp_path_factory.mktemp("heart") / "index.html"
    path.write_text(page.render())
    return path


def test_the_phase_changes_the_picture(browser: Any, page_file: Path, tmp_path: Path) -> None:
    opened = WatchedPage(browser, page_file.as_uri(), width=800, height=500)
    page = opened.page
    page.wait_for_selector("body[data-ready=yes]")
    page.get_by_role("button", name="Axial", exact=True).click()
    page.locator("#opacity").fill("1")
    counts = []
    for phase in range(3):
        page.locator("#phase").fill(str(phase))
        colour = opened.picture("canvas", tmp_path / f"{phase}.png").astype(int) - LABELS[0].color
        counts.append(int((np.abs(colour).max(axis=2) < 40).sum()))
        intensity = float(re.findall(r"intensity ([\d.]+)", page.locator("#status").inner_text())[0])
        assert intensity == pytest.approx(50 + 50 * phase, abs=1)
        assert page.locator("#phase-name").inner_text() == f"phase {phase + 1}, {40 * phase} ms"
    assert 0 < counts[0] < counts[1] / 2  # the lines through the place and soft edges hide much of a small square
    assert counts[2] / counts[1] == pytest.approx((SIDES[2] / SIDES[1]) ** 2, rel=0.4)
    page.locator("#phase").evaluate("each => each.blur()")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#phase").input_value() == "1"
    line, curve = page.locator("#now"), page.locator("svg.curve polyline")
    second = re.split(r"[ ,]", str(curve.get_attribute("points")))[2]
    assert float(str(line.get_attribute("x1"))) == pytest.approx(float(second), abs=0.1)
    assert "Ejection: 50 %." in page.locator("aside").inner_text()
    assert opened.accessibility_violations() == []
    assert opened.said == []
