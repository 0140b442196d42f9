"""Shared memory with the server: used where it can be, and never left behind, however the client ends."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from breakable_triton import client_regions, slow_down, small_study
from server_traces import eventually
from small_model import write_small_repository

from swinunet.client import ServerOptions, TritonModel, segment_volume
from swinunet.client.triton import shared_memory
from swinunet.client.triton.shared_memory import SharedSlots
from swinunet.foundation.errors import ServerError
from swinunet.imaging import write_nifti
from swinunet.serving import TritonServer

pytestmark = pytest.mark.usefixtures("tritonserver")


@pytest.fixture(scope="module")
def slow(tritonserver: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server of the small model, 0.2 s a batch."""
    repository = write_small_repository(tmp_path_factory.mktemp("slow") / "r", max_queue_delay_us=0)
    with TritonServer(slow_down(repository, 0.2)) as server:
        yield server


def registered(server: TritonServer) -> list[str]:
    """Client regions that the server has mapped."""
    with grpcclient.InferenceServerClient(server.url) as client:
        status = client.get_system_shared_memory_status(headers=server.restricted_headers)
    return [name for name in status.regions if name.startswith("swinunet_client_")]


def test_pixels_travel_through_it_and_nothing_is_left(slow: TritonServer) -> None:
    volume, found = small_study(20), {}
    for choice in ("auto", "on", "off"):
        options = ServerOptions(shared_memory=choice, headers=slow.restricted_headers)
        with TritonModel(slow.url, options=options) as model:
            found[choice] = segment_volume(volume, model)
    assert [found[choice].exchange.shared_memory for choice in ("auto", "on", "off")] == [True, True, False]
    for choice in ("auto", "on"):
        np.testing.assert_array_equal(found[choice].mask, found["off"].mask)
    assert (client_regions(), registered(slow)) == ([], [])


def test_a_server_that_does_not_allow_it_gets_grpc_or_a_refusal(slow: TritonServer) -> None:
    with TritonModel(slow.url) as model:
        assert not segment_volume(small_study(2), model).exchange.shared_memory
    with (
        TritonModel(slow.url, options=ServerOptions(shared_memory="on")) as model,
        pytest.raises(ServerError, match="no shared memory with"),
    ):
        segment_volume(small_study(2), model)
    assert client_regions() == []


SEGMENT = """
import sys
from pathlib import Path
from swinunet.client import ServerOptions, TritonModel, load_input, segment_volume
header, url, study = sys.argv[1:]
options = ServerOptions(shared_memory="on", headers={"triton-grpc-protocol-swinunet": header})
with TritonModel(url, options=options) as model:
    segment_volume(load_input(Path(study), model.spec).study, model)
"""


def test_what_a_killed_client_leaves_the_next_one_removes(slow: TritonServer, tmp_path: Path) -> None:
    write_nifti(small_study(200), tmp_path / "study.nii.gz")
    (header,) = slow.restricted_headers.values()
    client = subprocess.Popen([sys.executable, "-c", SEGMENT, header, slow.url, str(tmp_path / "study.nii.gz")])
    assert eventually(lambda: bool(registered(slow)), 30)
    client.kill()
    client.wait()
    (orphan,) = client_regions()
    assert f"_{client.pid}_" in orphan
    options = ServerOptions(shared_memory="on", headers=slow.restricted_headers)
    with TritonModel(slow.url, options=options) as model:
        segment_volume(small_study(20), model)  # waits behind what the dead client had queued
        segment_volume(small_study(2), model)
    assert (client_regions(), registered(slow)) == ([], [])


def test_a_living_clients_region_is_left_alone(slow: TritonServer) -> None:
    with grpcclient.InferenceServerClient(slow.url) as client:
        client.register_plugin(lambda request: setattr(request, "headers", slow.restricted_headers))
        slots = SharedSlots(client, 2048, 1024, 2)
        with TritonModel(slow.url, options=ServerOptions(shared_memory="on", headers=slow.restricted_headers)) as model:
            segment_volume(small_study(2), model)
        assert (client_regions(), registered(slow)) == ([slots.path.name], [slots.name])
        assert slots.name != slots.path.name  # who can list /dev/shm cannot name the region to the server
        slots.close()
    assert (client_regions(), registered(slow)) == ([], [])


def test_a_region_that_another_job_cleared_away_in_its_making_is_made_again(
    slow: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between creation and lock a region looks like an orphan."""
    lock, cleared = fcntl.flock, []

    def clear_first(file: int, operation: int) -> None:
        if not cleared:
            cleared.extend(client_regions())
            shared_memory.remove_orphans(client)
        lock(file, operation)

    with grpcclient.InferenceServerClient(slow.url) as client:
        client.register_plugin(lambda request: setattr(request, "headers", slow.restricted_headers))
        monkeypatch.setattr(fcntl, "flock", clear_first)
        slots = SharedSlots(client, 2048, 1024, 2)
        assert len(cleared) == 1
        assert (client_regions(), registered(slow)) == ([slots.path.name], [slots.name])
        assert client_regions() != cleared
        slots.close()
    assert (client_regions(), registered(slow)) == ([], [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_that_is_interrupted_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """A server of its own, so that shared memory is used: gone are its region, the server and half results."""
    slow_down(write_small_repository(tmp_path / "repository"), 3)  # so that no busy machine lets it end before
    write_nifti(small_study(400), tmp_path / "study.nii.gz")
    command = ["segment", "study.nii.gz", "-o", "out", "--repository", "repository", "--shared-memory", "on"]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(
        [sys.executable, "-m", "swinunet", *command],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as running:
        assert eventually(lambda: any(f"_{running.pid}_" in name for name in client_regions()), 60)
        running.send_signal(number)
        _, said = running.communicate(timeout=600)
    assert (running.returncode, said.strip()) == (
        130,
        "swinunet: interrupted with 1 of 1 inputs to do; go on with --resume",
    )
    assert not (tmp_path / "out").exists()
    assert client_regions() == []
    assert not list(Path("/dev/shm").glob(f"swinunet_{running.pid}_*"))
