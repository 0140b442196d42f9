"""The model that most tests of the shipped repository mean; others may be served beside it."""

from __future__ import annotations

from pathlib import Path

SHIPPED = "swin_unet_hippocampus"


def shipped_version(repository: Path) -> Path:
    """Its newest version's folder."""
    versions = [path for path in (repository / SHIPPED).iterdir() if path.name.isdecimal()]
    return max(versions, key=lambda path: int(path.name))
