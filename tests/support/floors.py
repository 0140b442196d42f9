"""The folders of the project, which of them may import which, and every module by its dotted name."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "swinunet"

# folder -> the folders that it may import
FLOORS: dict[str, set[str]] = {"foundation": set()}
FLOORS["serving"] = {"foundation"}
FLOORS["imaging"] = {"foundation"}
FLOORS["samples"] = {"foundation", "imaging"}
FLOORS["training"] = {"foundation", "imaging"}
FLOORS["client"] = {"foundation", "imaging"}
FLOORS["gateway"] = {"foundation", "imaging", "serving", "client"}
FLOORS["batch"] = {"foundation", "imaging", "client", "serving"}
FLOORS["export"] = {"foundation", "imaging", "training", "serving", "samples"}
FLOORS["evaluation"] = {"foundation", "imaging", "training", "client", "export"}
FLOORS["benchmarks"] = {*FLOORS["export"], "export", "client", "gateway", "batch"}
FLOORS["cli"] = FLOORS.keys() - {"cli"}
FLOORS["demo"] = FLOORS.keys() - {"demo"}
FLOORS[""] = {"cli", "client", "foundation", "imaging", "serving"}  # swinunet/ itself: `python -m`, notebooks
WITHOUT_TORCH = {"foundation", "imaging", "samples", "client", "serving", "gateway", "batch", "cli"}


def sources() -> dict[str, Path]:
    """Every module of the package by its dotted name; a package by its own."""
    found = {}
    for folder in filter(None, FLOORS):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join((PACKAGE, *parts)).removesuffix(".__init__")] = path
    for path in (ROOT / PACKAGE).glob("*.py"):
        found[f"{PACKAGE}.{path.stem}".removesuffix(".__init__")] = path
    return found


MODULES = sources()
