"""`--engine ray` on a real cluster of several nodes on this machine: workers and a node killed, every study once."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
import pytest
from command_line import run_here
from dicom_series import make_series, save
from dicomweb_service import dicomweb_service, study_files
from poisoned_folder import poison
from small_model import SMALL_SPEC

from swinunet.batch.local_engine import LocalPool
from swinunet.batch.manifest import read_manifest
from swinunet.batch.ray_cluster import RayOptions
from swinunet.batch.run import run_batch
from swinunet.batch.settings import BatchSettings
from swinunet.client.results.options import OutputOptions
from swinunet.foundation.errors import ServerError, SwinUNetError
from swinunet.serving import TritonServer

pytest.importorskip("ray", reason="Ray (extra: batch) is not installed")
import ray
from ray.cluster_utils import Cluster

from swinunet.batch import ray_cluster
from swinunet.batch.ray_engine import RayPool, RayWorker

STUDIES = int(os.environ.get("SWINUNET_BATCH_STUDIES", "30"))  # make batch-kills
NODES = 2 if STUDIES < 100 else 4
STARTS = 8
T = TypeVar("T")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head and another node, on loopback."""
    made = patiently(lambda: with_head(Cluster()))
    for number in range(1, NODES):
        patiently(lambda number=number: add_node(made, number))
    yield made
    ray.shutdown()
    made.shutdown()


def with_head(cluster: Cluster) -> Cluster:
    add_node(cluster, 0)
    return cluster


def add_node(cluster: Cluster, number: int) -> None:
    """On an address of its own; Ray would take 127.0.0.1 for the machine's outer one."""
    cluster.add_node(num_cpus=1, node_ip_address=f"127.0.0.{number + 2}", include_dashboard=False)


def patiently(start: Callable[[], T]) -> T:
    """A node dies whose helpers need more than 15 s to start, which nothing can change (ray #65983): once more then."""
    for _ in range(STARTS):
        with contextlib.suppress(Exception):
            return start()
    pytest.skip(f"this machine is too busy for Ray: a node that did not start in 15 s, {STARTS} times")


def make_archive(root: Path, studies: int) -> Path:
    for number in range(studies):
        stored = np.random.default_rng(number).integers(0, 1000, (5, 20, 20)).astype(np.uint16)
        save(root / f"study{number:03}", make_series(stored, pixel_spacing_mm=(1.0, 1.0)))
    return root


def settings_of(archive: Path, out: Path, url: str) -> BatchSettings:
    results = OutputOptions(formats=("nifti", "seg", "json"))
    return BatchSettings(str(archive), out, SMALL_SPEC, url=url, results=results)


def digests(out: Path) -> dict[str, str]:
    """Every result but for the reports, which hold times."""
    files = (path for path in (out / "results").rglob("*") if path.is_file() and path.name != "report.json")
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def workers_of_ray() -> list[psutil.Process]:
    """The actors of this test's own cluster, which Ray calls by their class."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(RayWorker.__name__ in part for part in process.cmdline()):
                found.append(process)
    return found


def test_workers_and_a_node_die_and_every_study_is_there_once(
    cluster: Cluster, small_triton: TritonServer, tmp_path: Path
) -> None:
    archive = make_archive(tmp_path / "archive", STUDIES)
    for _ in run_batch(settings_of(archive, tmp_path / "local", small_triton.url), LocalPool):
        pass
    settings = settings_of(archive, tmp_path / "ray", small_triton.url)
    due = {"node": STUDIES // 2} | {
        f"worker {tenth}": STUDIES * tenth // 10 for tenth in range(1, 9 if NODES > 2 else 2)
    }
    for progress, _ in run_batch(settings, lambda each: RayPool(each, RayOptions(cluster.address))):
        for victim in [each for each, count in due.items() if progress.ended >= count]:
            del due[victim]
            if victim == "node":
                threading.Thread(target=cluster.remove_node, args=(cluster.list_all_nodes()[-1], False)).start()
            elif alive := workers_of_ray():
                os.kill(random.choice(alive).pid, signal.SIGKILL)
    assert not due
    rows = read_manifest(settings.manifest).to_pylist()
    assert sorted(row["entry"] for row in rows) == sorted(path.name for path in archive.iterdir())
    assert {row["state"] for row in rows} == {"done"}
    assert digests(tmp_path / "ray") == digests(tmp_path / "local") != {}


def test_a_study_that_kills_its_worker_is_set_aside(
    cluster: Cluster, small_triton: TritonServer, tmp_path: Path
) -> None:
    """Whoever asks the archive for it is killed at that."""
    archive = make_archive(tmp_path / "archive", 6)
    studies = dict(study_files(folder) for folder in archive.iterdir())
    poison = sorted(studies)[2]
    deaths = []

    def kill(uid: str, port: int) -> None:
        if uid == poison:
            (asking,) = [each.pid for each in psutil.net_connections("tcp") if each.laddr and each.laddr.port == port]
            deaths.append(asking)
            os.kill(asking, signal.SIGKILL)

    with dicomweb_service(studies, kill) as address:
        settings = dataclasses.replace(settings_of(archive, tmp_path / "out", small_triton.url), archive=address)
        for _ in run_batch(settings, lambda each: RayPool(each, RayOptions(cluster.address))):
            pass
    rows = {row["entry"]: row for row in read_manifest(settings.manifest).to_pylist()}
    assert rows.keys() == studies.keys()
    assert [uid for uid, row in rows.items() if row["state"] != "done"] == [poison]
    assert (rows[poison]["state"], rows[poison]["deaths"]) == ("set_aside", 3)
    assert len(set(deaths)) == 3


def test_a_worker_imports_nothing_from_the_working_folder(
    cluster: Cluster, small_triton: TritonServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_archive(tmp_path / "archive", 1)
    ran = poison(archive / "study000")
    monkeypatch.chdir(archive / "study000")
    command = ("batch", "--tree", archive, "-o", tmp_path / "out", "--url", small_triton.url, "--outputs", "nifti,json")
    done = run_here(*command, "--engine", "ray", "--address", cluster.address)
    assert "1 done" in done.stdout, done.stderr
    assert not ran.exists(), ran.read_text()


def test_a_model_that_no_worker_can_have_is_said_once(
    cluster: Cluster, small_triton: TritonServer, tmp_path: Path
) -> None:
    settings = settings_of(make_archive(tmp_path / "archive", 2), tmp_path / "out", small_triton.url)
    settings = dataclasses.replace(settings, spec=dataclasses.replace(SMALL_SPEC, version=2))
    with pytest.raises(ServerError, match="serves small version 1, the run is of small version 2"):
        list(run_batch(settings, lambda each: RayPool(each, RayOptions(cluster.address))))


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("127.0.0.1:9", "no Ray cluster answers at 127.0.0.1:9"),
        ("head", "expected HOST:PORT"),
        ("ray://head:10001", "expected HOST:PORT"),
    ],
)
def test_a_cluster_that_is_not_there(address: str, says: str) -> None:
    with pytest.raises(SwinUNetError, match=says), ray_cluster.connected(RayOptions(address)):
        pass


def test_ray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    done = run_here("batch", "--tree", tmp_path, "-o", tmp_path / "out", "--engine", "ray")
    assert done.returncode == 1
    assert "--engine ray needs Ray, which is not installed; pip install 'swinunet[batch]'" in done.stderr
