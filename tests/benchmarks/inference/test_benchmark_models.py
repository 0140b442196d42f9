"""What `swinunet benchmark` measures: the model version, its slices, the engines chosen, a GPU, the load generator."""

from __future__ import annotations

import pytest

from swinunet.benchmarks.inference.model_version import ModelVersion
from swinunet.benchmarks.inference.untrained import export_untrained


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    return export_untrained("tiny", tmp_path_factory.mktemp("untrained") / "repository")
