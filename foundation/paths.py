"""Where the models lie."""

from __future__ import annotations

import os
from pathlib import Path

MODELS_VARIABLE = "SWINUNET_MODELS"


def default_repository() -> Path:
    """The model repository where none is named: the folder in SWINUNET_MODELS, else the shipped `model_repository/`.

    The shipped one lies at the top of a checkout, and inside the package where a wheel is installed.
    """
    if named := os.environ.get(MODELS_VARIABLE):
        return Path(named).expanduser().absolute()
    return Path(__file__).resolve().parent.parent / "model_repository"
