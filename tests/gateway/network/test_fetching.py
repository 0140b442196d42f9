"""`swinunet gateway fetch`: from a real Orthanc, and from a DICOMweb service, to a listener, each way in the audit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from dicom_nodes import Orthanc
from dicomweb_service import dicomweb_service
from gateway_intakes import KeepingIntake
from gateway_runs import make_config
from sqlalchemy import select

from swinunet.foundation.errors import InputError, PeerError
from swinunet.gateway.config.settings import GatewayConfig
from swinunet.gateway.contract import Answer
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import audit
from swinunet.gateway.process.fetching import fetch_study
from swinunet.samples.closed_network import LOOPBACK

from .conftest import StartListener

NO_STUDY = "1.2.3.4.5"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def config(tmp_path: Path, start_listener: StartListener, intake: KeepingIntake) -> GatewayConfig:
    (tmp_path / "spool").mkdir()
    return make_config(tmp_path, listener={"ae_title": "GATEWAY", "port": start_listener(intake).port})


def asking(config: GatewayConfig, tmp_path: Path, **peer: object) -> GatewayConfig:
    assert config.listener
    listener = {"ae_title": config.listener.ae_title, "port": config.listener.port}
    return make_config(tmp_path, listener=listener, peers=[{"name": "pacs", **peer}])


def uids(files: list[Path]) -> tuple[str, set[str]]:
    """Study UID and instance UIDs."""
    read = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    return str(read[0].StudyInstanceUID), {str(each.SOPInstanceUID) for each in read}


def noted(ledger: Ledger) -> list[tuple[str, bool, dict[str, object]]]:
    with ledger.read() as connection:
        rows = connection.execute(select(audit).order_by(audit.c.id)).all()
    return [(row.event, row.success, json.loads(row.details)) for row in rows]


def test_a_study_comes_by_wado_and_the_audit_says_so(
    config: GatewayConfig, ledger: Ledger, intake: KeepingIntake, instances: list[Path], tmp_path: Path
) -> None:
    study, held = uids(instances)
    with dicomweb_service({study: [file.read_bytes() for file in instances]}) as address:
        said = fetch_study(
            asking(config, tmp_path, kind="dicomweb", url=address.removeprefix("dicomweb+")), ledger, "pacs", study
        )
    assert said == f"pacs gave {len(held)} instances"
    assert set(intake.uids) == held
    assert noted(ledger) == [("fetch", True, {"peer": "pacs", "study": study, "instances": len(held)})]
    assert not list(config.spool.iterdir())


@pytest.mark.parametrize("knows_us", [True, False], ids=["C-MOVE", "C-GET"])
def test_a_study_comes_from_orthanc(
    config: GatewayConfig, ledger: Ledger, intake: KeepingIntake, orthanc: Orthanc, instances: list[Path],
    tmp_path: Path, knows_us: bool,
) -> None:  # fmt: skip
    study, held = uids(instances)
    orthanc.upload(instances)
    assert config.listener
    if "us" in orthanc.rest("GET", "modalities"):
        orthanc.rest("DELETE", "modalities/us")
    if knows_us:
        orthanc.know_modality("us", "GATEWAY", config.listener.port)
    peer = {"kind": "dimse", "called_ae": "ORTHANC", "host": LOOPBACK, "port": orthanc.dicom.port}
    said = fetch_study(asking(config, tmp_path, **peer), ledger, "pacs", study)
    assert said == (f"pacs has sent {len(held)} instances" if knows_us else f"pacs gave {len(held)} instances")
    assert set(intake.uids) == held
    assert [(event, success) for event, success, _ in noted(ledger)] == [("fetch", True)]


def test_what_was_not_got_is_one_line_and_in_the_audit(
    config: GatewayConfig, ledger: Ledger, intake: KeepingIntake, instances: list[Path], tmp_path: Path
) -> None:
    study, held = uids(instances)
    intake.answer = Answer.OUT_OF_SPACE
    with dicomweb_service({study: [file.read_bytes() for file in instances]}) as address:
        asked = asking(config, tmp_path, kind="dicomweb", url=address.removeprefix("dicomweb+"))
        with pytest.raises(PeerError, match=f"our gateway took 0 of {len(held)} instances"):
            fetch_study(asked, ledger, "pacs", study)
        with pytest.raises(PeerError):
            fetch_study(asked, ledger, "pacs", NO_STUDY)
    (_, full, why), (_, missing, _) = noted(ledger)
    assert not full
    assert not missing
    assert "took 0" in str(why["reason"])
    assert not list(config.spool.iterdir())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", "there is no peer 'nobody'; the peers that can be asked are: none"),
        ("out", "peer 'out' is a folder; the peers that can be asked are: none"),
    ],
)
def test_who_cannot_be_asked_is_one_line(config: GatewayConfig, ledger: Ledger, name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        fetch_study(config, ledger, name, NO_STUDY)
    assert str(caught.value) == said
    assert noted(ledger) == []
