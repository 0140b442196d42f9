"""What travels between parts of the program cannot be changed on the way: STYLE, "frozen dataclasses"."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("imaging", "client/results", "training/metrics", "export/gate")


@pytest.mark.parametrize("folder", FOLDERS)
def test_dataclasses_are_frozen(folder: str) -> None:
    found = []
    for path in (ROOT / folder).glob("[!_]*.py"):
        module = importlib.import_module(f"swinunet.{folder.replace('/', '.')}.{path.stem}")
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__ and dataclasses.is_dataclass(kind):
                found.append(kind)
    assert found
    assert [kind.__name__ for kind in found if not kind.__dataclass_params__.frozen] == []
