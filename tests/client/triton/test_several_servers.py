"""Three real Tritons under one name: requests are shared out, and one that is killed or drained harms no study."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from breakable_triton import signal_server, slow_down, small_study
from name_server import Forwarder, name_server
from small_model import write_small_repository
from tritonclient.grpc import InferenceServerClient

from swinunet.client import ServerOptions, Timeouts, TritonModel, segment_volume
from swinunet.client.triton.connection import stands_for_several
from swinunet.foundation.errors import ServerError
from swinunet.serving import TritonServer

ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
OPTIONS = ServerOptions(Timeouts(connect=60, request=60, outage=120), in_flight=6)


@dataclass
class Several:
    """Tritons, and the address that stands for all of them."""

    servers: list[TritonServer]
    forwarders: list[Forwarder]
    url: str

    def counts(self) -> list[int]:
        """Requests that each living server has answered."""
        found = []
        for server in self.servers:
            if server.alive():
                client = InferenceServerClient(server.url)
                statistics = client.get_inference_statistics("small", headers=server.restricted_headers)
                found.append(int(statistics.model_stats[0].inference_stats.success.count))
                client.close()
        return found


class StopOnce:
    """Sends a signal to a server at the first answer."""

    def __init__(self, server: TritonServer, how: signal.Signals) -> None:
        self._server, self._how, self.done = server, how, False

    def __call__(self, slices: int) -> None:
        if not self.done:
            self.done = True
            signal_server(self._server, self._how)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture
def several(tritonserver: object, tmp_path: Path) -> Iterator[Several]:
    repository = slow_down(write_small_repository(tmp_path / "repository"), 0.2)
    with ExitStack() as stack:
        servers = [stack.enter_context(TritonServer(repository)) for _ in ADDRESSES]
        port = free_port()
        targets = [int(server.url.rpartition(":")[2]) for server in servers]
        forwarders = [Forwarder(each, port, target) for each, target in zip(ADDRESSES, targets, strict=True)]
        for forwarder in forwarders:
            stack.callback(forwarder.close)
        names = stack.enter_context(name_server(ADDRESSES))
        yield Several(servers, forwarders, f"dns://{names}/triton.test:{port}")


def test_a_study_is_shared_out_and_survives_the_death_and_the_drain_of_servers(several: Several) -> None:
    study = small_study(160)
    with TritonModel(several.servers[0].url, options=OPTIONS) as alone:
        expected = segment_volume(study, alone).mask
    before = several.counts()
    with TritonModel(several.url, options=OPTIONS) as model:
        assert np.array_equal(segment_volume(study, model).mask, expected)
        answered = [after - earlier for after, earlier in zip(several.counts(), before, strict=True)]
        assert min(answered) >= 4, f"20 requests went to three servers as {answered}"
        connected = [forwarder.connections for forwarder in several.forwarders]

        for server, how in ((several.servers[0], signal.SIGKILL), (several.servers[1], signal.SIGTERM)):
            stop = StopOnce(server, how)
            found = segment_volume(study, model, tick=stop)
            assert stop.done
            assert np.array_equal(found.mask, expected), f"{how.name} changed the result"
            assert found.exchange.retries >= (how is signal.SIGKILL)
    again = [forwarder.connections - earlier for forwarder, earlier in zip(several.forwarders, connected, strict=True)]
    assert again[2] <= 1, "the server that was well was connected to anew"


def test_with_all_of_them_gone_there_is_one_line(several: Several) -> None:
    hasty = ServerOptions(Timeouts(connect=5, request=5, outage=1))
    with TritonModel(several.url, options=hasty) as model:
        for server in several.servers:
            server.close()
        with pytest.raises(ServerError, match=r"no Triton answers at dns://"):
            segment_volume(small_study(8), model)


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("dns:///triton:8001", True),
        ("dns:///triton.ns.svc.cluster.local:8001", True),
        ("dns://10.0.0.1:53/triton:8001", True),
        ("ipv4:10.0.0.1:8001,10.0.0.2:8001", True),
        ("triton:8001", False),
        ("dns:///triton", False),
        ("dns:///:8001", False),
        ("dns:triton:8001", False),
        ("ipv4:10.0.0.1", False),
        ("ipv4:triton:8001", False),
        ("unix:///tmp/triton", False),
    ],
)
def test_what_stands_for_several(url: str, is_one: bool) -> None:
    assert stands_for_several(url) is is_one
    if not is_one and url != "triton:8001":
        with pytest.raises(ServerError, match="is no gRPC address; expected HOST:PORT"):
            TritonModel(url)
