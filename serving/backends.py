"""Does the installed Triton have the backends that the chosen configs name? The bundled one has Python's only."""

from __future__ import annotations

import re
from pathlib import Path

from swinunet.foundation.errors import ServingError
from swinunet.serving.checksums import chosen_config
from swinunet.serving.locate import Installation

_BACKEND = re.compile(r'^backend:\s*"([^"]*)"', re.MULTILINE)


def check_backends(repository: Path, config_name: str | None, installation: Installation) -> None:
    """Raise ServingError for a config whose backend the pytriton wheel lacks; a server on PATH finds its own."""
    if installation.root is None:
        return
    there = sorted(path.name for path in (installation.root / "backends").iterdir())
    for model in sorted(entry for entry in repository.iterdir() if entry.is_dir()):
        config = chosen_config(model, config_name)
        found = _BACKEND.search(config.read_text(errors="replace")) if config.is_file() else None
        if found and found[1] not in there:
            raise ServingError(
                f"{config} wants Triton's {found[1]} backend, and the Triton installed here has {', '.join(there)} "
                "only; NVIDIA's container has it, or choose --config cpu"
            )
