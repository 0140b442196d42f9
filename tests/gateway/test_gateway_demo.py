"""The parts of the gateway's demo: its configuration, what takes the place of Orthanc, its table."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from gateway_runs import make_study, part10_files
from pydicom.uid import ComprehensiveSRStorage, MRImageStorage, SegmentationStorage

from swinunet.demo import pacs
from swinunet.demo.gateway import configuration_for, what_happened
from swinunet.demo.gateway_events import GatewayEvents
from swinunet.foundation.terminal import show_table
from swinunet.gateway.config.reading import parse_config
from swinunet.gateway.network.dimse.association import DimseAddress, DimseTimeouts
from swinunet.gateway.network.dimse.sender import send_by_dimse
from swinunet.samples.closed_network import LOOPBACK
from swinunet.samples.dicom_nodes import why_no_storescp


def test_the_configuration_is_one(tmp_path: Path) -> None:
    node = pacs.DemoPacs("Orthanc", "ORTHANC", 4242, list, commits=True)
    config = parse_config(tomllib.loads(configuration_for(node, 11112, tmp_path)), "gateway.toml")
    assert config.peer("pacs").kind == "dimse"
    assert config.listener is not None
    assert config.listener.host == LOOPBACK


@pytest.mark.parametrize("kind", ["pynetdicom", "storescp"])
def test_a_pacs_without_orthanc_keeps_what_it_gets(tmp_path: Path, kind: str) -> None:
    if kind == "storescp" and (reason := why_no_storescp()):
        pytest.skip(reason)
    files = part10_files(tmp_path / "in", make_study(slices=2))
    with pacs._pynetdicom() if kind == "pynetdicom" else pacs._storescp(tmp_path / "pacs") as node:
        address = DimseAddress(node.ae_title, LOOPBACK, node.port)
        outcomes = send_by_dimse(address, "SCANNER", DimseTimeouts(), files)
        assert [each.accepted for each in outcomes] == [True, True]
        assert node.held() == [MRImageStorage] * 2


def test_the_table_of_what_happened_fits_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    because = "all associations ended, no series got an image for 2 s"
    results = {"SEG": str(SegmentationStorage), "SR": str(ComprehensiveSRStorage)}
    events = GatewayEvents(189, 1.2, 2.1, because, 0.1, 31.4, "swin_unet_hippocampus", 0.2, results, True, 0.1)
    node = pacs.DemoPacs("Orthanc", "ORTHANC", 4242, lambda: list(results.values()), commits=True)
    show_table(what_happened(events, node, "dcmtk's dcmsend"), figures_to_the_right=False)
    said = capsys.readouterr().out
    assert max(len(line) for line in said.splitlines()) <= 80
    for words in ("189 images", "31.4", "1 SEG, 1 SR", "keeps them"):
        assert words in " ".join(said.replace("│", " ").split())
