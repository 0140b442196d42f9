"""What a dataclass says of its fields: the string literal under each, from which help and documentation are made."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from itertools import pairwise
from textwrap import dedent


@cache
def field_docs(cls: type) -> dict[str, str]:
    """The docstring under each annotated field of `cls`, by the field's name, on one line.

    A field without one is left out; those of base classes come first. Read from the source (Python keeps no docstring
    of a field at run time), so it raises OSError for a class that has no source file.
    """
    body = ast.parse(dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    inherited = [field_docs(base) for base in cls.__bases__ if base is not object]
    return {name: text for docs in inherited for name, text in docs.items()} | {
        field.target.id: " ".join(inspect.cleandoc(below.value.value).split())
        for field, below in pairwise(body.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }
