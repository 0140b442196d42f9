"""Work that is interrupted is done all the same, once: Triton dies, the gateway is told to end, or one of two dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import pydicom
import pytest
from breakable_triton import slow_down
from command_line import run_here
from dicom_nodes import wait_until
from gateway_process import gateway_process, kill, stop
from gateway_runs import hand_over, jobs_of, make_config, make_study, part10_files, wait_for, wait_for_jobs
from killed_gateways import KilledGateway, new_study, require_nothing_lost
from ledgers import new_database
from small_model import write_small_repository

from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.network.dimse.association import DimseAddress, DimseTimeouts
from swinunet.gateway.network.dimse.sender import send_by_dimse
from swinunet.gateway.process.gateway import Gateway
from swinunet.samples.closed_network import LOOPBACK, free_port
from swinunet.serving import TritonServer

SLOW_S = 3.0  # of each execution: long enough that what happens to a job happens while it runs


@pytest.fixture(scope="module")
def slow_triton(tritonserver: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = write_small_repository(tmp_path_factory.mktemp("slow") / "repository")
    with TritonServer(slow_down(repository, SLOW_S)) as server:
        yield server


def tritonservers() -> set[int]:
    """Those that this process, or one that it started, has started."""
    return {each.pid for each in psutil.Process().children(recursive=True) if each.name() == "tritonserver"}


def test_triton_killed_in_mid_job_is_started_again_and_the_job_done(tritonserver: object, tmp_path: Path) -> None:
    """Once, by the requests that wait for the next Triton or, if it is long in coming, by a second attempt."""
    repository = slow_down(write_small_repository(tmp_path / "repository"), SLOW_S)
    config = make_config(tmp_path, models={"repository": str(repository)}, listener=None)
    files, others = part10_files(tmp_path / "in", make_study()), tritonservers()
    with Gateway(config) as gateway:
        hand_over(gateway.intake, next((config.spool / "incoming").iterdir()), files)
        wait_for(lambda: [job.state for job in jobs_of(gateway.ledger)] == ["running"], "the job to run")
        for pid in tritonservers() - others:
            os.kill(pid, signal.SIGKILL)
        (job,) = wait_for_jobs(gateway.ledger, ["done"])
        assert job.attempts in (1, 2)
    (delivered,) = (tmp_path / "out").iterdir()
    assert pydicom.dcmread(delivered / "segmentation.dcm").Modality == "SEG"


@pytest.mark.parametrize(
    ("stop_s", "left"), [(60.0, {"delivering", "done"}), (0.2, {"waiting"})], ids=["finished", "given back"]
)
def test_sigterm_in_mid_job_loses_nothing(
    slow_triton: TritonServer, tmp_path: Path, stop_s: float, left: set[str]
) -> None:
    """Within `stop_s` a job is finished, after it it is given back; the next start carries on."""
    gateway = KilledGateway(tmp_path, slow_triton.url, stop_s=stop_s)
    try:
        gateway.start()
        gateway.send_until_told(new_study(1))
        gateway.wait_for_state("running")
        assert gateway.terminate() == 0
        assert set(gateway.states()) <= left
        gateway.start()
        (job,) = require_nothing_lost(gateway)
        assert job.attempts == 1, "a stop is no attempt"
        assert "Traceback" not in gateway.said()
    finally:
        gateway.close()


def test_drain_takes_nothing_more_finishes_and_ends(small_triton: TritonServer, tmp_path: Path) -> None:
    gateway = KilledGateway(tmp_path, small_triton.url)
    try:
        gateway.start()
        first, second = new_study(1), new_study(2)
        gateway.send_until_told(first)
        with ThreadPoolExecutor() as pool:
            draining = pool.submit(run_here, "gateway", "drain", "--config", gateway.config)
            wait_until(lambda: "nothing more is received" in gateway.said(), "the gateway to drain")
            assert len(gateway.send(second)) == len(second)
            done = draining.result()
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "drained: nothing is under way"
        assert gateway.process is not None
        assert gateway.process.wait(600) == 0
        assert gateway.told.keys() == {first[0].StudyInstanceUID}
        require_nothing_lost(gateway)
    finally:
        gateway.close()


def test_two_gateways_share_a_ledger_and_one_takes_over(
    slow_triton: TritonServer, postgres: str, tmp_path: Path
) -> None:
    """On one PostgreSQL and one spool: of what both received each study is segmented once, though one is killed."""
    url, studies = new_database(postgres), [new_study(1), new_study(2)]
    ports = [free_port(), free_port()]
    configs = [
        make_config(
            tmp_path, models={"url": slow_triton.url}, listener={"port": port}, ledger={"url": url},
            working={"retry_s": 0.2, "lease_s": 3.0},
        )
        for port in ports
    ]  # fmt: skip
    ledger = Ledger(url)
    with ExitStack() as stack:
        stack.callback(ledger.close)
        one, two = (
            stack.enter_context(gateway_process(config, tmp_path / f"log{number}"))
            for number, config in enumerate(configs)
        )
        for number, (port, study) in enumerate(zip(ports, studies, strict=True)):
            files = part10_files(tmp_path / f"in{number}", study)
            sent = send_by_dimse(DimseAddress("SWINUNET", LOOPBACK, port), "SCANNER", DimseTimeouts(), files)
            assert all(each.accepted for each in sent)
        wait_for(lambda: "running" in [job.state for job in jobs_of(ledger)], "a job to run")
        kill(one)
        jobs = wait_for_jobs(ledger, ["done", "done"])
        assert stop(two) == 0
    assert len({job.study for job in jobs}) == 2
    delivered = [pydicom.dcmread(path) for path in (tmp_path / "out").glob("*/segmentation.dcm")]
    assert sorted(each.StudyInstanceUID for each in delivered) == sorted(each[0].StudyInstanceUID for each in studies)
    assert len({each.SOPInstanceUID for each in delivered}) == 2
