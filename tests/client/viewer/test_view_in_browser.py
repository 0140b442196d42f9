"""`swinunet view` in a real browser: rows are sorted, searched and marked by keyboard, and open their pages."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from browser_pages import WatchedPage
from made_up_tree import write_tree

from swinunet.client.viewer.reviews import REVIEW_NAME


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("view") / "results")


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    """Of the command itself, as it prints it."""
    command = [sys.executable, "-P", "-m", "swinunet", "view", str(root), "--no-browser"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    ) as view:
        assert view.stdout
        assert "results: 3, to look at: 1" in view.stdout.readline()
        yield view.stdout.readline().split()[0]
        view.send_signal(signal.SIGINT)
        assert view.wait(300) == 0


@pytest.fixture
def opened(browser: Any, address: str) -> WatchedPage:
    found = WatchedPage(browser, address, width=700, height=450)
    found.page.wait_for_selector("body[data-ready=yes]")
    return found


def names(opened: WatchedPage) -> list[str]:
    """The visible rows, from above."""
    return opened.page.locator("tbody tr:visible .name").all_inner_texts()


def test_rows_are_sorted_and_searched(opened: WatchedPage) -> None:
    assert names(opened) == ["ward 3/carl", "<b>bert", "anna"]
    opened.page.get_by_role("button", name="Result", exact=True).click()
    assert names(opened) == ["<b>bert", "anna", "ward 3/carl"]
    opened.page.get_by_role("button", name="Result", exact=True).click()
    assert names(opened) == ["ward 3/carl", "anna", "<b>bert"]
    opened.page.keyboard.press("/")
    opened.page.keyboard.type("cut ward")
    assert names(opened) == ["ward 3/carl"]
    assert opened.page.locator("#count").inner_text() == "1 of 3 shown"
    opened.page.locator("#search").fill("")
    opened.page.get_by_label("only those to look at").check()
    assert names(opened) == ["ward 3/carl"]


def test_a_reviewer_needs_no_mouse(opened: WatchedPage, root: Path, browser: Any, address: str) -> None:
    keyboard = opened.page.keyboard
    for keys in ("a", "j", "r", "c"):
        with opened.page.expect_response("**/review") if keys in "ar" else nullcontext():
            keyboard.press(keys)
    with opened.page.expect_response("**/review"):
        keyboard.type("not the heart")
        keyboard.press("Enter")
    with (root / REVIEW_NAME).open(newline="") as file:
        rows = {row["result"]: (row["decision"], row["comment"]) for row in csv.DictReader(file)}
    assert rows == {"ward 3/carl": ("accepted", ""), "<b>bert": ("rejected", "not the heart")}
    again = WatchedPage(browser, address)
    again.page.wait_for_selector("body[data-ready=yes]")
    assert again.page.locator("[aria-pressed=true]").all_inner_texts() == ["Accept", "Reject"]
    again.page.get_by_label("only those without a mark").check()
    assert names(again) == ["anna"]


def test_a_row_opens_its_page_and_nothing_leaves(opened: WatchedPage, tmp_path: Path) -> None:
    assert opened.accessibility_violations() == []
    opened.page.screenshot(path=tmp_path / "tree.png")
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_selector("body[data-ready=yes] canvas")
    assert opened.page.locator("h1").inner_text() == "ward 3/carl"
    assert opened.said == []
    assert {re.match(r"\w+://[\d.]+", url)[0] for url in opened.requests} == {"http://127.0.0.1"}  # type: ignore[index]
