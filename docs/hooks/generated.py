"""Parts of pages that are made of what is said elsewhere, so that it is said once.

<!-- model cards -->           the cards that lie beside the served models
<!-- public names of PACKAGE -->    the documentation of what `from PACKAGE import ...` offers

Links to files of the project, which readers of the repository can follow, are their text alone on the site.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2] / "model_repository"


def on_page_markdown(markdown: str, **_others: Any) -> str:
    """Fill in what a page asks for."""
    markdown = re.sub(r"<!-- public names of (\S+) -->", lambda found: public_names(found[1]), markdown)
    markdown = re.sub(r"<!-- model cards -->", lambda _found: cards(), markdown)
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", markdown)


def cards() -> str:
    """The newest card of each model, headings a level lower."""
    newest = {path.parents[1].name: path for path in sorted(REPOSITORY.glob("*/*/MODEL_CARD.md"), key=_version)}
    return "\n\n".join(re.sub(r"^#", "##", newest[name].read_text(), flags=re.MULTILINE) for name in sorted(newest))


def public_names(package: str) -> str:
    """A directive for each class and function that the package offers, where it is defined."""
    module = importlib.import_module(package)
    offered = [getattr(module, name) for name in module.__all__]
    defined = [each for each in offered if inspect.isclass(each) or inspect.isfunction(each)]
    return "\n\n".join(f"::: {each.__module__}.{each.__qualname__}" for each in defined)


def _version(path: Path) -> int:
    return int(path.parent.name)
