"""Another user of the machine can read nothing of a server's and stop nothing of it."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from another_user import as_nobody
from server_traces import session_of
from small_model import small_images, small_labels
from tritonclient.utils import InferenceServerException

from swinunet.client import ServerOptions, TritonModel
from swinunet.samples.closed_network import free_port
from swinunet.serving import TritonServer

pytestmark = pytest.mark.usefixtures("tritonserver")


@pytest.fixture(scope="module")
def http_triton(tritonserver: object, small_triton: TritonServer) -> Iterator[TritonServer]:
    """A server with HTTP, too."""
    with TritonServer(small_triton.repository, http_port=free_port()) as server:
        yield server


@pytest.fixture(scope="module")
def private_triton(tritonserver: object, small_triton: TritonServer) -> Iterator[TritonServer]:
    """A server that answers its owner only."""
    with TritonServer(small_triton.repository, private=True, http_port=free_port()) as server:
        yield server


READ_ALL_ARGUMENTS = """
from pathlib import Path
for process in Path("/proc").glob("[0-9]*"):
    for name in ("cmdline", "environ", "maps"):
        try:
            print(process.name, (process / name).read_bytes())
        except OSError:
            pass
"""


def test_the_secret_is_in_no_process_listing(http_triton: TritonServer) -> None:
    (secret,) = http_triton.restricted_headers.values()
    seen = as_nobody(READ_ALL_ARGUMENTS)
    assert "--grpc-port=" in seen  # it sees the server's other arguments
    assert secret not in seen
    for process in session_of(http_triton.pid or 0):
        assert secret not in " ".join(process.cmdline())


TRY_ALL = """
import os, sys
from pathlib import Path
folder, *regions = map(Path, sys.argv[1:])
attempts = [lambda: os.listdir(folder), lambda: (folder / "models").stat(), (folder / "own").touch, folder.rmdir]
for path in regions:
    attempts += [lambda: path.open("rb"), lambda: path.open("r+b"), path.unlink]
for attempt in attempts:
    try:
        attempt()
        print("done")
    except PermissionError:
        print("refused")
"""


def test_shared_memory_and_private_folder_are_shut(http_triton: TritonServer) -> None:
    (folder,) = {Path(process.cwd()) for process in session_of(http_triton.pid or 0) if "stub" in process.name()}
    regions = list(Path("/dev/shm").glob(f"swinunet_{os.getpid()}_*"))
    assert len(regions) >= 2  # the backend's region and the lock
    assert {path.stat().st_mode & 0o777 for path in regions} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert as_nobody(TRY_ALL, folder, *regions).split() == ["refused"] * (4 + 3 * len(regions))
    assert http_triton.check()


STOP_ALL = """
import os, signal, sys
for pid in sys.argv[1:]:
    try:
        os.kill(int(pid), signal.SIGKILL)
        print("killed", pid)
    except PermissionError:
        print("refused", pid)
"""


def test_processes_are_not_theirs_to_stop(http_triton: TritonServer) -> None:
    processes = session_of(http_triton.pid or 0)
    assert as_nobody(STOP_ALL, *(each.pid for each in processes)).split()[::2] == ["refused"] * len(processes)


def get(server: TritonServer, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> int:
    """The status with which HTTP answers."""
    host, port = str(server.http_url).split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=600)
    try:
        connection.request("POST" if body is not None else "GET", path, body, headers or {})
        return connection.getresponse().status
    finally:
        connection.close()


DANGEROUS = ["/v2/systemsharedmemory/status", "/v2/cudasharedmemory/status", "/v2/trace/setting", "/v2/logging"]


@pytest.mark.parametrize("path", DANGEROUS)
def test_what_is_shut_on_grpc_is_shut_on_http(http_triton: TritonServer, path: str) -> None:
    (secret,) = http_triton.restricted_headers.values()
    assert get(http_triton, path) == 403
    assert get(http_triton, path, {"swinunet-local": "yes"}) == 403
    assert get(http_triton, path, {"swinunet": "another"}) == 403
    assert get(http_triton, path, {"swinunet": secret}) != 403


@pytest.mark.parametrize("path", ["/v2/systemsharedmemory/region/x/register", "/v2/logging", "/v2/trace/setting"])
def test_nothing_is_set_over_http_without_the_secret(http_triton: TritonServer, path: str) -> None:
    assert get(http_triton, path, {"swinunet-local": "yes"}, b"{}") == 403


@pytest.mark.parametrize(
    "path", ["/v2/models/small/infer", "/v2/models/small/versions/1/infer", "/v2/repository/index"]
)
def test_a_web_page_cannot_make_the_server_work(http_triton: TritonServer, path: str) -> None:
    """A page of another origin may send a plain POST, but no header of its own; Triton answers no preflight."""
    page = {"Origin": "http://elsewhere.example", "Content-Type": "text/plain"}
    assert get(http_triton, path, page, b"{}") == 403
    assert get(http_triton, path, {"swinunet-local": "yes"}, b"{}") != 403


def test_health_is_open(http_triton: TritonServer, private_triton: TritonServer) -> None:
    assert get(http_triton, "/v2/health/ready") == get(private_triton, "/v2/health/ready") == 200


def test_a_private_server_answers_its_owner_only(private_triton: TritonServer) -> None:
    image = small_images(2)
    tensor = grpcclient.InferInput("image", image.shape, "FP16")
    tensor.set_data_from_numpy(image)
    with grpcclient.InferenceServerClient(private_triton.url) as client:
        for refused in (
            lambda: client.infer("small", [tensor]),
            lambda: client.get_model_config("small"),
            lambda: client.get_model_repository_index(),
            lambda: client.get_server_metadata(),
            lambda: client.get_inference_statistics(),
        ):
            with pytest.raises(InferenceServerException, match="This protocol is restricted"):
                refused()
        answer = client.infer("small", [tensor], headers=private_triton.restricted_headers)
    assert np.array_equal(answer.as_numpy("labels"), small_labels(image))
    assert get(private_triton, "/v2/models/small/infer", {"swinunet-local": "yes"}, b"{}") == 403
    with TritonModel(private_triton.url, options=ServerOptions(headers=private_triton.restricted_headers)) as model:
        assert model.name == "small"
