"""split.json of a run: the names of the cases that were trained on, and of those that were validated on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from swinunet.foundation.errors import InputError

SPLIT_FILE = "split.json"
Part = Literal["training", "validation"]


def read_part(split: Path, part: Part) -> list[str]:
    """Names of the cases in one part of a split, which may be none. Raises InputError for a file without that list."""
    try:
        names = json.loads(split.read_bytes())[part]
    except OSError as error:
        raise InputError(f"{split}: cannot read ({error.strerror}); expected the split.json of a run") from None
    except (ValueError, KeyError, TypeError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{split}: no list of {part} cases in it; expected the split.json of a run")
    return names
