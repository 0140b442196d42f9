"""A real tritonserver: up when its canaries are answered, else one line, and nothing left whatever happens."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as grpcclient
from server_traces import eventually, session_of, traces
from small_model import write_small_repository
from tritonclient.utils import InferenceServerException

from swinunet import serving
from swinunet.samples.closed_network import free_port
from swinunet.serving import ServingError, TritonServer
from swinunet.serving.canary import ServedModel

pytestmark = pytest.mark.usefixtures("tritonserver", "nothing_left")


def stub_of(server: TritonServer) -> psutil.Process:
    return next(process for process in session_of(server.pid or 0) if "stub" in process.name())


@pytest.fixture
def running(small_repository: Path):
    """A server on the small model, for tests that break it."""
    with TritonServer(small_repository, grace=6) as server:
        yield server


def test_up_means_a_canary_was_answered_and_closed_means_nothing_is_left(small_repository: Path) -> None:
    with TritonServer(small_repository) as server:
        leader = server.pid
        assert [(model.name, model.version, model.state) for model in server.models] == [("small", "1", "READY")]
        assert server.alive()
        assert {process.name() for process in session_of(leader)} >= {"tritonserver", "triton_python_backend_stub"}
        assert {connection.laddr.ip.removeprefix("::ffff:") for connection in listening(leader)} == {"127.0.0.1"}
    assert not server.alive()
    assert session_of(leader) == []
    with pytest.raises(ServingError, match="not running"):
        server.check()


def listening(leader: int) -> list:
    connections = [c for process in session_of(leader) for c in process.net_connections("tcp")]
    return [connection for connection in connections if connection.status == psutil.CONN_LISTEN]


def test_two_servers_do_not_disturb_each_other(running: TritonServer, tmp_path: Path) -> None:
    with TritonServer(write_small_repository(tmp_path / "other", "onnxruntime")) as other:
        assert other.url != running.url
    assert [model.name for model in running.check()] == ["small"]


def test_a_server_can_be_started_again(small_repository: Path) -> None:
    server = TritonServer(small_repository)
    for _ in range(2):
        with server:
            assert server.check()
    server.close()


def test_asked_for_ports_are_used_and_the_log_is_readable(small_repository: Path, tmp_path: Path) -> None:
    grpc, http, metrics = (free_port() for _ in range(3))
    lines: list[str] = []
    file = tmp_path / "triton.log"
    ports = {"grpc_port": grpc, "http_port": http, "metrics_port": metrics}
    with TritonServer(small_repository, **ports, log=lines.append, log_file=file) as server:
        assert server.url == f"127.0.0.1:{grpc}"
        assert server.http_url == f"127.0.0.1:{http}"
        assert server.metrics_url == f"http://127.0.0.1:{metrics}/metrics"
    assert file.read_text().splitlines() == lines
    assert any("INFO small 1: openvino" in line and "precision f32" in line for line in lines)
    assert not any("cuda" in line.lower() or line.startswith(("+", "|")) for line in lines)


@pytest.mark.parametrize("purpose", ["gRPC", "metrics"])
def test_losing_a_chosen_port_to_another_program_is_tried_again(
    small_repository: Path, monkeypatch: pytest.MonkeyPatch, purpose: str
) -> None:
    choose = serving.server.choose_port
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = [other.getsockname()[1]]

        def choose_a_taken_one_first(asking: str, requested: int | None) -> int:
            return taken.pop() if asking == purpose and taken else choose(asking, requested)

        monkeypatch.setattr(serving.server, "choose_port", choose_a_taken_one_first)
        with TritonServer(small_repository) as server:
            assert not taken
            assert server.check()


def test_a_model_without_canary_is_served_with_a_warning(small_repository: Path) -> None:
    (small_repository / "small" / "1" / "canary.npz").unlink()
    lines: list[str] = []
    with TritonServer(small_repository, log=lines.append) as server:
        assert server.models
    assert [line for line in lines if "WARNING" in line and "no canary" in line]


def test_a_dead_stub_is_alive_to_triton_but_not_to_the_canary(running: TritonServer) -> None:
    leader = running.pid
    stub_of(running).kill()
    with pytest.raises(ServingError):
        running.check(timeout=5)
    running.close()
    assert session_of(leader) == []


def test_a_hung_model_fails_the_canary_and_is_killed(small_repository: Path) -> None:
    model, hang = small_repository / "small" / "1" / "model.py", small_repository / "hang"
    source = model.read_text()
    wait = f"        while Path({str(hang)!r}).exists():\n            time.sleep(0.1)\n"
    model.write_text(source.replace("        images = [", wait + "        images = [", 1))
    with TritonServer(small_repository, grace=3) as server:
        leader = server.pid
        hang.touch()
        with pytest.raises(ServingError, match=r"(?i)deadline"):
            server.check(timeout=1)
    assert session_of(leader) == []


def test_a_killed_server_and_a_killed_keeper_leave_nothing(small_repository: Path) -> None:
    for victim in ("tritonserver", "python"):
        server = TritonServer(small_repository).start()
        leader = server.pid
        next(process for process in session_of(leader) if process.name().startswith(victim)).kill()
        assert eventually(lambda server=server: not server.alive(), 10)
        server.close()
        assert session_of(leader) == []


SUPERVISOR = """
import sys, time
from pathlib import Path
from swinunet.serving import TritonServer
with TritonServer(Path(sys.argv[1]), grace=5) as server:
    print(server.pid, flush=True)
    time.sleep(600)
"""


def test_when_we_are_killed_outright_the_server_goes_too(small_repository: Path) -> None:
    command = [sys.executable, "-c", SUPERVISOR, str(small_repository)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        leader = int(supervisor.stdout.readline())
        assert traces(supervisor.pid)
        supervisor.kill()
    assert eventually(lambda: not session_of(leader), 15)
    assert traces(supervisor.pid) == []


SWINUNET = [sys.executable, "-c", "from swinunet.cli import main; main()"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_prints_one_line_and_stops_cleanly_on_a_signal(small_repository: Path, number: signal.Signals) -> None:
    command = [*SWINUNET, "serve", "--repository", str(small_repository)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        process.send_signal(number)
        rest, log = process.communicate(timeout=600)
    assert process.returncode == 0
    assert line.startswith("serving small version 1: gRPC 127.0.0.1:")
    assert rest == ""
    assert "Traceback" not in log
    assert traces(process.pid) == []


def test_serve_stopped_while_it_starts_leaves_nothing(small_repository: Path) -> None:
    command = [*SWINUNET, "serve", "--repository", str(small_repository)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        process.stderr.readline()  # Triton's first word
        process.terminate()
        process.communicate(timeout=600)
    assert process.returncode == 0
    assert traces(process.pid) == []


def test_serve_ends_with_one_line_when_the_model_dies(small_repository: Path) -> None:
    command = [*SWINUNET, "serve", "--repository", str(small_repository), "--check-every", "0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        stub = next(child for child in psutil.Process(process.pid).children(recursive=True) if "stub" in child.name())
        stub.kill()
        _, log = process.communicate(timeout=600)
    assert process.returncode == 1
    assert log.splitlines()[-1].startswith("swinunet: ")
    assert traces(process.pid) == []


def test_dangerous_protocols_are_shut_and_the_model_index_is_not(running: TritonServer) -> None:
    client = grpcclient.InferenceServerClient(running.url)
    for refused in (client.get_system_shared_memory_status, client.get_trace_settings, client.get_log_settings):
        with pytest.raises(InferenceServerException, match="This protocol is restricted"):
            refused()
    client.get_system_shared_memory_status(headers=running.restricted_headers)
    assert client.get_model_repository_index().models[0].name == "small"
    with pytest.raises(InferenceServerException, match="explicit model load / unload is not allowed"):
        client.unload_model("small")


def test_eight_callers_are_batched(triton: TritonServer) -> None:
    """nv_inference_count / nv_inference_exec_count: how many slices an execution carries on average."""
    model = triton.models[0]
    image = np.load(triton.repository / model.name / model.version / "canary.npz")["image"][:1]

    def call() -> None:
        client = grpcclient.InferenceServerClient(triton.url)
        tensor = grpcclient.InferInput("image", image.shape, "FP16")
        tensor.set_data_from_numpy(image)
        for _ in range(12):
            client.infer(model.name, [tensor], outputs=[grpcclient.InferRequestedOutput("labels")])

    before = counts(triton.metrics_url)
    callers = [threading.Thread(target=call) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    # Triton counts a request a moment after its answer has left, and a late one of an earlier test, too.
    assert eventually(lambda: (counts(triton.metrics_url) - before)[0] >= 96, 5)
    slices, executions = counts(triton.metrics_url) - before
    assert slices / executions > 1.5


def counts(metrics_url: str) -> np.ndarray:
    """(inferences, executions) so far, over all models."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(metrics_url) as answer:
        lines = answer.read().decode().splitlines()
    names = ("nv_inference_count{", "nv_inference_exec_count{")
    return np.array([sum(float(line.split()[-1]) for line in lines if line.startswith(name)) for name in names])


def test_a_start_on_an_overloaded_machine_is_tried_again(small_repository: Path) -> None:
    """The Python backend gives up a model's process that got no processor time for a second."""

    class Starved(TritonServer):
        starts = 0

        def check(self, timeout: float = 60.0) -> list[ServedModel]:
            self.starts += 1
            if self.starts == 1:
                raise ServingError("model small version 1 fails its canary: Stub process 'small_0_0' is not healthy.")
            return super().check(timeout)

    with Starved(small_repository) as server:
        assert [model.name for model in server.models] == ["small"]
        assert server.starts == 2
