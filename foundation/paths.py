"""Where the shipped models lie."""

from __future__ import annotations

from pathlib import Path


def default_repository() -> Path:
    """The shipped `model_repository/`: at the top of a checkout, inside the package where a wheel is installed."""
    return Path(__file__).resolve().parent.parent / "model_repository"
