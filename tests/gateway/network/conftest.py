"""What the tests of the gateway's network share: a listener for each test, one Orthanc for each module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_nodes import Orthanc, running_orthanc
from dicom_series import make_series, save
from gateway_intakes import KeepingIntake

from swinunet.gateway.config.peers import ListenerConfig
from swinunet.gateway.contract import Commitments, Intake
from swinunet.gateway.network.dimse.association import DimseAddress, DimseTimeouts
from swinunet.gateway.network.dimse.listener import DicomListener
from swinunet.samples.closed_network import LOOPBACK

TIMEOUTS = DimseTimeouts(connect=20, association=60, answer=120, silence=120)

StartListener = Callable[..., DicomListener]


@pytest.fixture
def intake() -> KeepingIntake:
    return KeepingIntake()


@pytest.fixture
def start_listener(tmp_path: Path) -> Iterator[StartListener]:
    """Starts listeners on ports of loopback; options are those of `ListenerConfig`."""
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    with ExitStack() as stack:

        def start(intake: Intake, commitments: Commitments | None = None, **options: Any) -> DicomListener:
            config = ListenerConfig(**{"host": LOOPBACK, "port": 1, "ae_title": "GATEWAY", **options})
            object.__setattr__(config, "port", options.get("port", 0))  # 0: any free port, which no config may say
            listener = DicomListener(config, intake, commitments, incoming=incoming)
            listener.start()
            stack.callback(listener.stop)
            return listener

        yield start


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """A real Orthanc with its DICOMweb plugin, one for the module."""
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(scope="session")
def instances(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve MR slices of 64 x 64 as files."""
    stored = np.random.default_rng(7).integers(0, 4000, (12, 64, 64)).astype(np.uint16)
    return sorted(save(tmp_path_factory.mktemp("series"), make_series(stored)).iterdir())


def address_of(listener: DicomListener) -> DimseAddress:
    return DimseAddress("GATEWAY", LOOPBACK, listener.port)
