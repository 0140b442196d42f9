"""The parts of the gateway's demo: its configuration, and the PACS that needs nothing installed."""

from __future__ import annotations

import tomllib
from pathlib import Path

from gateway_runs import make_study, part10_files
from pydicom.uid import MRImageStorage

from swinunet.demo import pacs
from swinunet.demo.gateway import configuration_for
from swinunet.gateway.config.reading import parse_config
from swinunet.gateway.network.dimse.association import DimseAddress, DimseTimeouts
from swinunet.gateway.network.dimse.sender import send_by_dimse
from swinunet.samples.closed_network import LOOPBACK


def test_the_configuration_is_one(tmp_path: Path) -> None:
    node = pacs.DemoPacs("Orthanc", "ORTHANC", 4242, list, commits=True)
    config = parse_config(tomllib.loads(configuration_for(node, 11112, tmp_path)), "gateway.toml")
    assert config.peer("pacs").kind == "dimse"
    assert config.listener is not None
    assert config.listener.host == LOOPBACK


def test_the_pacs_that_needs_nothing_installed_keeps_what_it_gets(tmp_path: Path) -> None:
    files = part10_files(tmp_path, make_study(slices=2))
    with pacs._pynetdicom() as node:
        address = DimseAddress(node.ae_title, LOOPBACK, node.port)
        outcomes = send_by_dimse(address, "SCANNER", DimseTimeouts(), files)
        assert [each.accepted for each in outcomes] == [True, True]
        assert node.held() == [MRImageStorage] * 2
