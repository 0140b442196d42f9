"""What docstrings and comments refer to is there: dotted names of ours, and paths of files of the repository."""

from __future__ import annotations

import io
import pkgutil
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from floors import FLOORS, MODULES, PACKAGE, ROOT

FOLDERS = "|".join(sorted({*filter(None, FLOORS), "tests", "docs", "deploy"}))
DOTTED = re.compile(rf"(?<![\w./-]){PACKAGE}(?:\.[A-Za-z_]\w*)+")
PATHS = re.compile(rf"(?<![\w./<>*-])(?:{FOLDERS})/[\w./*-]*\w")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each comment and string of a file."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            yield token.start[0], token.string


def resolves(name: str) -> bool:
    """Whether a dotted name is a module of ours, or something in one."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("module", sorted(MODULES))
def test_what_a_module_refers_to_is_there(module: str) -> None:
    lost = []
    for line, text in texts(MODULES[module]):
        lost += [f"line {line}: {name}" for name in DOTTED.findall(text) if not resolves(name)]
        lost += [f"line {line}: {path}" for path in PATHS.findall(text) if not any(ROOT.glob(path))]
    assert not lost, f"{MODULES[module].relative_to(ROOT)} refers to what is not there: {'; '.join(lost)}"


def test_a_reference_that_is_lost_is_noticed() -> None:
    assert resolves(f"{PACKAGE}.foundation.errors.InputError")
    assert not resolves(f"{PACKAGE}.foundation.errors.NoSuchError")
    assert not resolves(f"{PACKAGE}.no_such_room")
    assert DOTTED.findall(f"see `{PACKAGE}.cli.main`.") == [f"{PACKAGE}.cli.main"]
    assert PATHS.findall("as training/specs/hippocampus.json, or client/none.py.") == [
        "training/specs/hippocampus.json",
        "client/none.py",
    ]
