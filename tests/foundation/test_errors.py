"""The exception tree that the docstring draws is the one there is, and every public error of the project is on it."""

from __future__ import annotations

import ast
import inspect
import re

from floors import MODULES

from swinunet.foundation import errors

CAUGHT = {"FaultError", "MultipartError"}  # within their folders, and turned into an error of the tree or an answer


def drawn() -> dict[str, str]:
    """Each exception of the drawing, and the one it hangs on."""
    found, above = {}, list[str]()
    for line in inspect.getdoc(errors).splitlines():
        if match := re.match(r"^( *(?:\|   )*)(?:\+-- )?([A-Z]\w+Error)\b", line):
            depth = line.index(match[2]) // 4 - 1
            above[depth:] = [match[2]]
            found[match[2]] = above[depth - 1] if depth else "Exception"
    return found


def test_the_drawing_is_the_tree() -> None:
    there = {name: each.__base__.__name__ for name, each in inspect.getmembers(errors, inspect.isclass)}
    assert drawn() == there


def test_every_public_error_of_the_project_hangs_on_the_tree() -> None:
    on_it = set(drawn())
    for module, path in MODULES.items():
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.ClassDef) and re.fullmatch(r"[A-Z]\w*Error", node.name):
                bases = {ast.unparse(base) for base in node.bases}
                assert bases & (on_it | {"Exception"}), f"{module}.{node.name}"
                assert "Exception" not in bases or node.name in {"SwinUNetError", *CAUGHT}, f"{module}.{node.name}"
