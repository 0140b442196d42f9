"""The mutants of a file, by cosmic-ray's operators."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import cosmic_ray.ast
import cosmic_ray.mutating
from cosmic_ray.plugins import get_operator

# One opposite of each arithmetic operator and, of comparisons, the negation and the next boundary: the further ones
# (a float shifted left) mostly raise TypeError, and would only embellish the figure.
_BINARY = (
    "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul FloorDiv_Div Mod_Mul Pow_Mul BitAnd_BitOr BitOr_BitAnd BitXor_BitAnd"
)
_COMPARISON = "Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Is_IsNot IsNot_Is"
_UNARY = "USub_UAdd Delete_USub Invert_Not Delete_Invert Delete_Not"
OPERATORS = (
    *(f"core/ReplaceBinaryOperator_{each}" for each in _BINARY.split()),
    *(f"core/ReplaceComparisonOperator_{each}" for each in _COMPARISON.split()),
    *(f"core/ReplaceUnaryOperator_{each}" for each in _UNARY.split()),
    "core/AddNot",
    "core/ReplaceTrueWithFalse",
    "core/ReplaceFalseWithTrue",
    "core/ReplaceAndWithOr",
    "core/ReplaceOrWithAnd",
    "core/ReplaceBreakWithContinue",
    "core/ReplaceContinueWithBreak",
    "core/ExceptionReplacer",
    "core/NumberReplacer",
    "core/RemoveDecorator",
    "core/ZeroIterationForLoop",
)

_APPEARANCE = re.compile(r"(size|lw|linewidth)s?(=|\": )$")  # how large letters and how thick lines are


@dataclass(frozen=True)
class Mutant:
    """One change of one line. before, after: that line, stripped. lines: of the statement that it belongs to."""

    path: str
    operator: str
    occurrence: int
    line: int
    lines: range
    before: str
    after: str
    code: str
    source_sha256: str

    @property
    def name(self) -> str:
        """What it is called in the record of verdicts."""
        return f"{self.path} {self.operator.removeprefix('core/')} {self.occurrence}"


def draw_mutants(path: str, most: int, seed: str) -> tuple[list[Mutant], int]:
    """At most `most` mutants of a file, in the order of their lines, and how many changes the operators make in all.

    Left out are code that does not compile, changes of annotations, sizes of letters and lines in pictures, and those
    of `strict=True` in `zip`, which is for mistakes in the code and not in what it is given. The same seed and file
    give the same mutants.
    """
    source = Path(path).read_text()
    tree = ast.parse(source)
    annotations, statements = list(_annotations(tree)), list(_statements(tree))
    digest, found, seen = sha256(source.encode()).hexdigest(), [], {source}
    changes = [(operator, at) for operator in OPERATORS for at in range(_count(source, operator))]
    for operator, occurrence in random.Random(seed).sample(changes, len(changes)):
        if len(found) == most:
            break
        code = cosmic_ray.mutating.mutate_code(source, get_operator(operator)(), occurrence)
        if code in seen or not _compiles(code):
            continue
        seen.add(code)
        line, column, before, after = _first_change(source, code)
        if any(_within(line, column, each) for each in annotations):
            continue
        if operator == "core/NumberReplacer" and _APPEARANCE.search(source.splitlines()[line - 1][:column]):
            continue
        if operator == "core/ReplaceTrueWithFalse" and before.count("strict=True") > after.count("strict=True"):
            continue
        lines = min((each for each in statements if line in each), key=len, default=None)
        if lines is None:  # a decorator goes with the empty lines before it
            lines = min((each for each in statements if each.start > line), key=lambda each: each.start)
            before = source.splitlines()[lines.start - 1].strip()
        found.append(Mutant(path, operator, occurrence, line, lines, before, after, code, digest))
    return sorted(found, key=lambda each: (each.line, each.name)), len(changes)


def _count(source: str, name: str) -> int:
    """How often an operator applies."""
    operator, count = get_operator(name)(), 0

    class Counter(cosmic_ray.ast.Visitor):
        def visit(self, node: Any) -> Any:
            nonlocal count
            count += sum(1 for _ in operator.mutation_positions(node))
            return node

    Counter().walk(cosmic_ray.ast.get_ast(source))
    return count


def _first_change(source: str, code: str) -> tuple[int, int, str, str]:
    """Line (from 1) and column of the first change, and that line before and after, stripped."""
    before, after = source.splitlines(), code.splitlines()
    number = next(at for at, old in enumerate(before) if at >= len(after) or old != after[at])
    old, new = before[number], after[number] if number < len(after) else ""
    column = next((at for at, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), len(new))
    # A decorator that is removed leaves the next line in its place.
    return number + 1, column, old.strip(), "" if len(after) < len(before) else new.strip()


def _compiles(code: str) -> bool:
    try:
        compile(code, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _within(line: int, column: int, node: ast.expr) -> bool:
    end = node.end_lineno or node.lineno
    return (node.lineno, node.col_offset) <= (line, column) <= (end, node.end_col_offset or 0)


def _annotations(tree: ast.Module) -> Iterator[ast.expr]:
    """Annotations, which `from __future__ import annotations` leaves unread; but not those of pydantic's fields."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.arg | ast.AnnAssign)
            and node.annotation
            and "Field(" not in ast.unparse(node.annotation)
        ):
            yield node.annotation
        elif isinstance(node, ast.FunctionDef) and node.returns:
            yield node.returns


def _statements(tree: ast.Module) -> Iterator[range]:
    """Lines of each statement; of compound ones those of the head."""
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
            yield range(first, max(last, node.lineno) + 1)
