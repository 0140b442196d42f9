"""A running gateway as those see it who watch it: health, metrics, the status page, the audit trail, the webhook."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import requests
from gateway_runs import hand_over, make_config, make_study, part10_files, wait_for, wait_for_jobs
from recording_server import Recorder

from swinunet.gateway.names import shown_uid
from swinunet.gateway.process.gateway import Gateway
from swinunet.serving import TritonServer
from swinunet.serving.ports import choose_port

PATIENT = {"PatientName": "Quastenflosser^Latimeria", "PatientID": "QX-77-1901", "StudyDescription": "Zebrafinken"}


@pytest.fixture
def webhook() -> Iterator[Recorder]:
    recorder = Recorder(204)
    yield recorder
    recorder.close()


def test_a_study_is_seen_everywhere_and_its_patient_nowhere(
    small_triton: TritonServer, webhook: Recorder, tmp_path: Path
) -> None:
    study = make_study(**PATIENT)
    secret = tmp_path / "token"
    secret.write_text("open sesame\n")
    secret.chmod(0o600)
    port = choose_port("HTTP", None)
    config = make_config(
        tmp_path, models={"url": small_triton.url}, listener=None, web={"port": port, "token_file": str(secret)},
        webhook={"url": f"{webhook.url}/jobs", "secret_file": str(secret)},
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with Gateway(config) as gateway:
        hand_over(gateway.intake, next((config.spool / "incoming").iterdir()), part10_files(tmp_path / "in", study))
        (job,) = wait_for_jobs(gateway.ledger, ["done"])
        assert requests.get(f"{address}/healthz").status_code == 200
        ready = requests.get(f"{address}/readyz").json()
        assert ready == {"ready": True, "checks": {"ledger": "ok", "intake": "ok", "models": "ok"}}
        assert requests.get(f"{address}/metrics").status_code == 401
        metrics = requests.get(f"{address}/metrics", headers={"Authorization": "Bearer open sesame"}).text
        session = requests.Session()
        session.post(f"{address}/status/login", data={"token": "open sesame"})
        pages = [session.get(f"{address}/status").text, session.get(f"{address}/status/jobs/{job.id}").text]
        audit = config.spool / "audit.xml"
        wait_for(lambda: audit.read_text().count("\n") >= 4, "the audit trail")
        wait_for(lambda: webhook.requests, "the webhook")
    ((method, path, headers, told),) = webhook.requests
    assert (method, path) == ("POST", "/jobs")
    signed = hmac.digest(b"open sesame", headers["Swinunet-Time"].encode() + b"." + told, hashlib.sha256).hex()
    assert headers["Swinunet-Signature"] == f"sha256={signed}"
    message = json.loads(told)
    assert (message["job"], message["state"], message["model"], message["images"]) == (
        job.id, "done", "small", len(study),
    )  # fmt: skip
    assert message["study"] == shown_uid(study[0].StudyInstanceUID)
    assert 'swinunet_gateway_jobs{model="small",state="done"} 1.0' in metrics
    assert all(shown_uid(study[0].StudyInstanceUID) in page for page in pages)
    trail = audit.read_text()
    events = [ElementTree.fromstring(line).find("EventIdentification/EventID") for line in trail.splitlines()]
    kinds = [event.get("csd-code") for event in events if event is not None]
    assert kinds[0] == kinds[-1] == "110100"  # it started, it stopped
    assert {"110104", "110103"} <= set(kinds)  # received and sent, segmented
    assert study[0].StudyInstanceUID not in told.decode()
    for text in (metrics, *pages, trail, told.decode()):
        for words in ("Quastenflosser", "QX-77-1901", "Zebrafinken"):
            assert words not in text
