"""Podman and the images that the tests of containers share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers import Podman, build_cpu_image, build_services_image


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    kept = os.environ.get("SWINUNET_CONTAINER_STORAGE")
    made = Podman(Path(kept) if kept else tmp_path_factory.mktemp("podman"))
    yield made
    if not kept:
        made.remove_everything()


@pytest.fixture(scope="session")
def cpu_image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_cpu_image(podman, tmp_path_factory.mktemp)


@pytest.fixture(scope="session")
def services_image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_services_image(podman, tmp_path_factory.mktemp)
