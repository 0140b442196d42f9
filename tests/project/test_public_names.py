"""What a package says is public is there, and `dir()` lists it, whether it was imported by then or not."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import swinunet

HOME = Path(swinunet.__file__).parent
PACKAGES = sorted(
    ".".join(("swinunet", *path.parent.relative_to(HOME).parts))
    for folder in HOME.iterdir()
    if folder.is_dir()
    for path in folder.rglob("__init__.py")
    if "__all__" in path.read_text()
)
LISTED = """
import importlib, json, sys
print(json.dumps({name: dir(importlib.import_module(name)) for name in sys.argv[1:]}))
"""


def test_there_are_public_packages() -> None:
    assert {"swinunet.client", "swinunet.imaging"} <= set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_there(name: str) -> None:
    package = importlib.import_module(name)
    for public in package.__all__:
        assert getattr(package, public) is not None, f"{name}.{public}"
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_this_name'"):
        _ = package.nothing_of_this_name


def test_dir_lists_public_names_before_they_are_used() -> None:
    """In a process in which nobody has asked for any of them."""
    command = [sys.executable, "-c", LISTED, *PACKAGES]
    listed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout)
    for name in PACKAGES:
        assert set(importlib.import_module(name).__all__) <= set(listed[name]), name
