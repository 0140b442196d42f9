"""What a model in a repository says it takes, in its Triton config, before any server runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swinunet.imaging import ModelSpec


def spec_in_repository(repository: Path, model: str | None = None) -> ModelSpec | None:
    """The spec of a model, or of the only one; None where there is none, or no single one.

    Raises InputError for a config that is broken, SpecError for one without a spec.
    """
    from swinunet.export.repository.config_spec import spec_of_config

    configs = list(repository.glob(f"{model or '*'}/config.pbtxt"))
    return spec_of_config(configs[0]) if len(configs) == 1 else None
