"""The documentation: the site builds, asks nobody for anything, and its commands exist; the guides are run."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer.main
from labelled_folders import make_cases, write_msd
from tiny_version import tiny_checkpoint

from swinunet.cli import app
from swinunet.foundation.errors import MissingExtraError
from swinunet.samples.mni152 import write_mni152_series
from swinunet.serving import ServingError, find_tritonserver
from swinunet.serving.ports import choose_port

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GUIDES = [path for path in PAGES if path.name.startswith("guide-")]
LEFT_OUT = "<!-- not run:"
_BLOCK = re.compile(r"(<!-- not run:[^\n]*-->\n)?```sh\n(.*?)```", re.DOTALL)


def commands(page: Path) -> list[str]:
    """Each line of a page's shell blocks that runs `swinunet`, from that word on, continued lines joined."""
    blocks = [block.replace("\\\n", " ") for _, block in _BLOCK.findall(page.read_text())]
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    return [found[0] for line in lines if (found := re.search(r"(?<![\w/.-])swinunet .*", line))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_documentation_exists(page: Path) -> None:
    group: Any = typer.main.get_command(app)
    for line in commands(page):
        words = shlex.split(re.split(r"[;|&)>]", line)[0])[1:]
        if words[0].startswith("-"):
            continue
        verb = group.get_command(None, words[0])
        assert verb is not None, line
        known = {name for parameter in verb.params for name in (*parameter.opts, *parameter.secondary_opts)}
        known |= {"--help", "-h"}
        unknown = {word.partition("=")[0] for word in words if word.startswith("-") and len(word) > 1} - known
        assert not unknown, line


def test_the_check_of_commands_sees_one_that_is_gone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nswinunet segment study/ -o out --no-such-option  # gone\n```\n")
    with pytest.raises(AssertionError, match="no-such-option"):
        test_every_command_of_the_documentation_exists(page)


class _Loads(HTMLParser):
    """What a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Links to follow are left out: only what is fetched by itself counts."""
        named = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.found.append(named.get("src") or "")
        if tag == "link" and named.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.found.append(named.get("href") or "")


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_builds_without_a_warning_and_asks_nobody_for_anything(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-P", "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert {page.stem for page in pages} >= {page.stem for page in PAGES[1:]}
    for page in pages:
        loads = _Loads()
        loads.feed(page.read_text())
        assert [each for each in loads.found if each.startswith(("http:", "https:", "//"))] == [], page.name


@pytest.fixture
def working_folder(tmp_path: Path) -> Path:
    """What the guides begin with: the MNI152 brain as `study/`, a small labelled data set, a checkpoint."""
    try:
        write_mni152_series(tmp_path / "study")
        find_tritonserver()
    except (MissingExtraError, ServingError) as error:
        pytest.skip(str(error))
    write_msd(tmp_path / "Task99_Blob", make_cases(6))
    tiny_checkpoint(tmp_path)
    return tmp_path


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_a_guide_does_what_it_says(guide: Path, working_folder: Path) -> None:
    blocks = [block for left_out, block in _BLOCK.findall(guide.read_text()) if not left_out]
    assert len(blocks) >= 3
    script = "set -euo pipefail\n" + "\n".join(blocks)
    for port in ("8001",):
        script = script.replace(port, str(choose_port("gRPC", None)))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=working_folder,
        env=os.environ | {"PATH": path, "SWINUNET_MODELS": str(ROOT / "model_repository")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
