"""The result page in a real browser: the picture shows what it should, the keyboard works, nothing is asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_pages import WatchedPage
from made_up_results import made_up_result
from result_samples import LABELS

from swinunet.client.results import page_writer
from swinunet.imaging import Volume

SHAPE = (40, 40, 40)
COLOURS = [np.array(label.color) for label in LABELS]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey cube of 80 mm with two structures: one at the patient's left and front, one at the right."""
    voxels = np.full(SHAPE, 100, np.int16)
    voxels[0, 0, 0], voxels[-1, -1, -1] = 0, 250
    mask = np.zeros(SHAPE, np.uint8)
    mask[26:36, 5:15, 10:30] = 1  # LPS: high x is left, low y is front
    mask[4:14, 15:25, 10:30] = 2
    volume = Volume(voxels, np.diag([2.0, 2.0, 2.0, 1.0]))
    path = tmp_path_factory.mktemp("results") / "case 7"
    path.mkdir()
    page_writer.write(made_up_result(volume, mask), path / "index.html")
    return path / "index.html"


@pytest.fixture(scope="module")
def opened(browser: Any, page_file: Path) -> WatchedPage:
    """The page, loaded; tests leave the view as they like."""
    found = WatchedPage(browser, page_file.as_uri())
    found.page.wait_for_selector("body[data-ready=yes]")
    return found


def coloured(picture: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Where a picture has about this colour: bool [H, W]."""
    return (np.abs(picture.astype(int) - colour).max(axis=2) < 40).astype(bool)


def set_window(opened: WatchedPage, level: float, width: float) -> None:
    """Type a window, as a user does."""
    for name, value in (("level", level), ("width", width)):
        opened.page.locator(f"#{name}").fill(str(value))
        opened.page.locator(f"#{name}").press("Enter")


def alone(opened: WatchedPage, view: str) -> None:
    """Show one view, the mask opaque, the place in the middle of the first structure."""
    opened.page.get_by_role("button", name=view, exact=True).click()
    opened.page.locator("#opacity").fill("1")
    set_window(opened, level=100, width=200)
    opened.page.get_by_role("button", name=re.compile("nterior", re.IGNORECASE)).first.click()


def test_it_is_called_as_its_folder(opened: WatchedPage) -> None:
    assert opened.page.locator("h1").inner_text() == "case 7"
    assert opened.page.title() == "case 7: segmentation"


def test_structures_are_where_they_are_in_the_patient(opened: WatchedPage, tmp_path: Path) -> None:
    alone(opened, "Axial")
    picture = opened.picture("canvas", tmp_path / "axial.png")
    first, second = (coloured(picture, colour) for colour in COLOURS)
    grey = (np.ptp(picture.astype(int), axis=2) < 12) & (picture.max(axis=2) > 60)
    cube = (grey | first | second).sum()
    for found in (first, second):
        assert found.sum() / cube == pytest.approx(10 * 10 / (40 * 40), rel=0.2)
    (rows_1, columns_1), (rows_2, columns_2) = (np.argwhere(found).mean(axis=0) for found in (first, second))
    assert columns_1 > columns_2  # the patient's left is at the right of the picture
    assert rows_1 < rows_2  # the front is above


def test_a_click_on_a_structure_goes_there(opened: WatchedPage) -> None:
    for row, name in enumerate(("Anterior hippocampus", "Posterior hippocampus")):
        opened.page.locator(".go").nth(row).click()
        said = opened.page.locator("#status").inner_text()
        assert said.endswith(name)
        assert "intensity 100" in said
    assert re.match(r"R -?\d+|L -?\d+", said)


def test_a_structure_can_be_hidden(opened: WatchedPage, tmp_path: Path) -> None:
    alone(opened, "Axial")
    opened.page.locator(".shown").first.uncheck()
    picture = opened.picture("canvas", tmp_path / "hidden.png")
    assert not coloured(picture, COLOURS[0]).any()
    assert coloured(picture, COLOURS[1]).any()
    opened.page.locator(".shown").first.check()
    assert coloured(opened.picture("canvas", tmp_path / "shown.png"), COLOURS[0]).any()


def test_it_works_from_the_keyboard(opened: WatchedPage, tmp_path: Path) -> None:
    alone(opened, "Planes and 3D")
    keyboard, status = opened.page.keyboard, opened.page.locator("#status")

    def height_mm() -> float:
        return float(re.findall(r"S (\d+\.\d)", status.inner_text())[0])

    before = height_mm()
    keyboard.press("ArrowUp")
    assert height_mm() == pytest.approx(before + 2.0)
    keyboard.press("ArrowDown")
    assert height_mm() == pytest.approx(before)
    keyboard.press("2")
    assert opened.page.get_by_role("button", name="Axial", exact=True).get_attribute("aria-pressed") == "true"
    keyboard.press("m")
    assert not coloured(opened.picture("canvas", tmp_path / "without.png"), COLOURS[0]).any()
    keyboard.press("m")
    assert coloured(opened.picture("canvas", tmp_path / "with.png"), COLOURS[0]).any()
    width = float(opened.page.locator("#width").input_value())
    keyboard.press("w")
    assert float(opened.page.locator("#width").input_value()) != width
    keyboard.press("1")


def test_the_window_changes_the_picture(opened: WatchedPage, tmp_path: Path) -> None:
    alone(opened, "Sagittal")
    brightness = []
    for level in (50, 150):
        set_window(opened, level, 200)
        picture = opened.picture("canvas", tmp_path / f"{level}.png")
        grey = (np.ptp(picture.astype(int), axis=2) < 12) & (picture.max(axis=2) > 30)
        brightness.append(float(np.median(picture[grey])))
    assert brightness == pytest.approx([255 * 0.75, 255 * 0.25], abs=12)  # (100 - low) / width


def test_people_who_do_not_see_well_can_use_it(opened: WatchedPage) -> None:
    assert opened.accessibility_violations() == []


def test_nothing_is_asked_for_and_nothing_goes_wrong(opened: WatchedPage, page_file: Path) -> None:
    assert opened.requests == [page_file.as_uri()]
    assert opened.said == []


def test_a_request_would_be_refused(browser: Any, page_file: Path) -> None:
    """The policy holds for scripts that the page lets in, too."""
    fresh = WatchedPage(browser, page_file.as_uri())
    ask = "() => fetch('http://127.0.0.1:9/').then(() => 'answered', error => error.message)"
    assert "Failed to fetch" in fresh.page.evaluate(ask)
    assert any("Content Security Policy" in said for said in fresh.said)


def test_without_graphics_it_says_where_to_look(browser: Any, page_file: Path) -> None:
    broken = WatchedPage(browser, page_file.as_uri(), before="HTMLCanvasElement.prototype.getContext = () => null;")
    broken.page.wait_for_selector("body[data-ready=failed]")
    assert "overlay.png" in broken.page.locator("#status").inner_text()
    assert broken.page.locator("table.structures tbody tr").count() == 2
