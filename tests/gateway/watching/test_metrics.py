"""Metrics as Prometheus reads them, of a ledger with a history."""

from __future__ import annotations

from pathlib import Path

import pytest
from gateway_runs import hand_over, make_config, make_study, part10_files, wait_for_jobs
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert

from swinunet.gateway.ledger.clock import Clock
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import deliveries, jobs, results
from swinunet.gateway.process.gateway import Gateway
from swinunet.gateway.watching.metrics import LedgerCollector, exposition, registry_of, verdict_label
from swinunet.serving import TritonServer

JOB = {
    "study_uid": "1.2.3", "revision": 1, "route": "all", "model": "small", "reason": "", "images": 6, "attempts": 1,
    "set_at": 0.0, "due": 0.0, "fence": 1, "created": 100.0,
}  # fmt: skip


def scraped(ledger: Ledger, spool: Path, now: float = 1000.0) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and the values of its labels in the order of their names, by Prometheus' own parser."""
    collector = LedgerCollector(ledger, spool, Clock(wall=lambda: now), lambda: 3)
    text = exposition(registry_of(collector)).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found[sample.name.removeprefix("swinunet_gateway_"), labels] = sample.value
    return found


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


def test_an_empty_ledger(ledger: Ledger, tmp_path: Path) -> None:
    found = scraped(ledger, tmp_path)
    assert found["associations", ()] == 3
    assert 0 < found["disk_free_bytes", ()] <= found["disk_total_bytes", ()]
    assert found["oldest_waiting_seconds", ()] == 0
    assert found["stage_seconds_count", ("waiting",)] == 0


def test_jobs_verdicts_ages_and_stages(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.write() as connection:
        rows = [
            JOB | {"state": "waiting", "due": 940.0, "created": 940.0},
            JOB | {"state": "waiting", "due": 2000.0},  # put off
            JOB | {"state": "refused", "reason": "no model reads CT of the chest, 12 series"},
            JOB | {"state": "refused", "reason": "no model reads CT of the chest, 7 series"},
            JOB | {"state": "done", "started": 110.0, "ended": 150.0},
        ]
        for row in rows:
            connection.execute(insert(jobs).values(row))
        connection.execute(
            insert(results).values(job_id=5, kind="seg", position=0, file="x", twin=False, sop_instance_uid="1.2")
        )
        connection.execute(insert(deliveries).values(
            job_id=5, result_id=1, destination="PACS", position=0, state="delivered", attempts=1, set_at=0.0, due=0.0,
            first_tried=140.0, fence=1, ended=150.0, reason="",
        ))  # fmt: skip
    found = scraped(ledger, tmp_path)
    assert found["jobs", ("small", "waiting")] == 2
    assert found["jobs", ("small", "done")] == 1
    assert found["refused_jobs", ("no model reads CT",)] == 2
    assert found["oldest_waiting_seconds", ()] == 60
    assert found["deliveries", ("PACS", "delivered")] == 1
    seconds = {stage: found["stage_seconds_sum", (stage,)] for stage in ("waiting", "segmenting", "delivering")}
    assert seconds == {"waiting": 10, "segmenting": 30, "delivering": 10}
    assert found["stage_seconds_count", ("segmenting",)] == 1


@pytest.mark.parametrize(
    ("reason", "label"),
    [
        ("tilted: the stack leans 14.0 degrees", "tilted"),
        ("2 slices at one position", "other"),
        ("slices of 3 sizes", "slices of"),
        ("", "other"),
    ],
)
def test_a_verdict_is_a_kind_and_not_a_study(reason: str, label: str) -> None:
    assert verdict_label(reason) == label


def test_no_patient_data_in_the_metrics_of_a_real_run(small_triton: TritonServer, tmp_path: Path) -> None:
    patient = {"PatientName": "Quastenflosser^Latimeria", "PatientID": "QX-77-1901"}
    study = make_study(StudyDescription="Zebrafinkenstudie", **patient)
    config = make_config(tmp_path, models={"url": small_triton.url}, listener=None)
    with Gateway(config) as gateway:
        incoming = next((config.spool / "incoming").iterdir())
        hand_over(gateway.intake, incoming, part10_files(tmp_path / "in", study))
        wait_for_jobs(gateway.ledger, ["done"])
        collector = LedgerCollector(gateway.ledger, config.spool, Clock(), lambda: 0)
        text = exposition(registry_of(collector)).decode()
        found = scraped(gateway.ledger, config.spool)
    assert found["instances", ("image",)] == len(study)
    for secret in ("Quastenflosser", "QX-77-1901", "Zebrafinken", study[0].StudyInstanceUID):
        assert secret not in text
