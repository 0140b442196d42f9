"""The house stands: each folder imports only folders below it, and no files import each other in a circle."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from floors import FLOORS, MODULES, PACKAGE, ROOT, WITHOUT_TORCH


def imports(path: Path, at_load: bool) -> Iterator[str]:
    """Names that a file imports, dotted; at_load: without those that functions import when they run."""
    pending: list[ast.AST] = [ast.parse(path.read_bytes())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        if at_load and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_load and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        pending.extend(ast.iter_child_nodes(node))


def ours(name: str) -> str | None:
    """The module of ours that an imported name is, or is in."""
    while name.startswith(PACKAGE):
        if name in MODULES:
            return name
        name = name.rpartition(".")[0]
    return None


def folder_of(module: str) -> str:
    """The folder on whose floor a module lies."""
    part = module.split(".")[1] if "." in module else ""
    return part if part in FLOORS else ""


def room_of(module: str) -> str:
    """The room within its folder; empty for the face of the folder."""
    return [*module.split("."), "", ""][2]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_lies_below(module: str) -> None:
    allowed = FLOORS[folder_of(module)] | {folder_of(module)}
    for name in imports(MODULES[module], at_load=False):
        target = ours(name)
        assert target is None or folder_of(target) in allowed, f"{module} imports {name}"
        if folder_of(module) in WITHOUT_TORCH - {"cli"}:
            assert name.split(".")[0] != "torch", f"{module} imports torch: its folder installs without it"


@pytest.mark.parametrize("at_load", [True, False])
def test_no_files_import_each_other_in_a_circle(at_load: bool) -> None:
    """Neither when they are loaded nor when their functions run; a package's own face is a name, not a file."""
    graph = {}
    for module, path in MODULES.items():
        if at_load or path.name != "__init__.py":
            graph[module] = {ours(name) for name in imports(path, at_load)} - {None, module}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("folder", sorted(filter(None, FLOORS)))
def test_no_rooms_of_a_folder_import_each_other_in_a_circle(folder: str) -> None:
    """A room is a folder within the folder, or a file at its top; whatever is imported, and whenever."""
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        if folder_of(module) == folder and path.name != "__init__.py":
            targets = filter(None, (ours(name) for name in imports(path, at_load=False)))
            rooms = {room_of(each) for each in targets if folder_of(each) == folder}
            graph.setdefault(room_of(module), set()).update(rooms - {room_of(module), ""})
    list(graphlib.TopologicalSorter(graph).static_order())


def test_every_folder_is_linked_and_stands_on_a_floor() -> None:
    linked = {path.name for path in (ROOT / PACKAGE).iterdir() if path.is_symlink()}
    assert linked == FLOORS.keys() - {""} | {"model_repository"}
    assert all((ROOT / PACKAGE / name).resolve() == ROOT / name for name in linked)
