"""Where things lie beside the source checkout."""

from __future__ import annotations

from pathlib import Path


def default_repository() -> Path:
    """The `model_repository/` beside the source checkout; absent where a wheel is installed."""
    return Path(__file__).resolve().parent.parent / "model_repository"
