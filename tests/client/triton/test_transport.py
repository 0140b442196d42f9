"""The client against a Triton that is slow, hung, killed, restarted or replaced in mid-study, for real."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from breakable_triton import add_version, client_regions, signal_server, signal_stubs, slow_down, small_study
from misrouting_proxy import misrouting_proxy
from server_traces import eventually
from small_model import SMALL_SPEC, small_images, small_labels, write_small_repository
from tritonclient.utils import InferenceServerException

from swinunet.client import (
    JobControl,
    LoadedInput,
    Segmentation,
    ServerOptions,
    Timeouts,
    TritonModel,
    run_job,
    segment_volume,
    segment_volume_async,
)
from swinunet.client.triton.failures import can_heal
from swinunet.client.triton.limits import BATCH, RequestSize
from swinunet.foundation.errors import JobCancelledError, ServerError
from swinunet.imaging import StudySlices, Volume
from swinunet.serving import TritonServer

pytestmark = pytest.mark.usefixtures("tritonserver", "nothing_left")

QUICK = Timeouts(connect=5, request=20, outage=15)


def expected_mask(volume: Volume) -> np.ndarray:
    """What the small model must say of a volume, computed here."""
    sampler = StudySlices(volume, SMALL_SPEC)
    for start, image in sampler.batches(8):
        sampler.add(start, small_labels(image))
    return sampler.mask()


class Mischief:
    """A `tick` that does something once, when the first slices are done."""

    def __init__(self, deed: Callable[[], object]) -> None:
        self.deed, self.done = deed, False

    def __call__(self, slices: int) -> None:
        if not self.done:
            self.done = True
            self.deed()


Choose = Callable[[TritonServer], ServerOptions]


def by_grpc(server: TritonServer) -> ServerOptions:
    """Options that send pixels by gRPC."""
    return ServerOptions(timeouts=QUICK, shared_memory="off")


def by_shared_memory(server: TritonServer) -> ServerOptions:
    """Options that send pixels through shared memory, or not at all."""
    return ServerOptions(timeouts=QUICK, shared_memory="on", headers=server.restricted_headers)


both_ways = pytest.mark.parametrize("options", [by_grpc, by_shared_memory])


@pytest.fixture(autouse=True)
def no_region_left() -> Iterator[None]:
    """Fails a test after which shared memory of clients is left."""
    before = client_regions()
    yield
    assert client_regions() == before


@pytest.fixture
def slow_repository(tmp_path: Path) -> Path:
    """The small model, a fifth of a second a batch, to be broken."""
    return slow_down(write_small_repository(tmp_path / "repository", max_queue_delay_us=0), 0.2)


@pytest.fixture(scope="module")
def slow(tritonserver: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server of the small model, a fifth of a second a batch of 8, never more. Do not break it."""
    repository = write_small_repository(tmp_path_factory.mktemp("slow") / "r", max_queue_delay_us=0, max_batch_size=8)
    with TritonServer(slow_down(repository, 0.2)) as server:
        yield server


@pytest.fixture(scope="module")
def steady(tritonserver: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server of the small model. Do not break it."""
    folder = tmp_path_factory.mktemp("steady")
    with TritonServer(
        write_small_repository(folder / "r"), log_file=folder / "triton.log", options=("--log-verbose=1",)
    ) as server:
        yield server


def segment(server: TritonServer, options: ServerOptions, tick: Callable[[int], None], volume: Volume) -> Segmentation:
    with TritonModel(server.url, options=options) as model:
        return segment_volume(volume, model, tick=tick)


@both_ways
def test_a_killed_server_that_comes_back_heals(slow_repository: Path, options: Choose) -> None:
    volume = small_study()
    with TritonServer(slow_repository) as first:
        port, chosen = int(first.url.rpartition(":")[2]), options(first)
        second = TritonServer(slow_repository, grpc_port=port)

        def restart() -> None:
            signal_server(first, signal.SIGKILL)
            first.close()
            second.start()

        try:
            found = segment(first, chosen, Mischief(restart), volume)
        finally:
            second.close()
    np.testing.assert_array_equal(found.mask, expected_mask(volume))
    assert found.exchange.retries > 0


def test_a_killed_server_ends_the_job_with_one_line_and_no_result(slow_repository: Path, tmp_path: Path) -> None:
    with TritonServer(slow_repository) as server:
        hasty = replace(by_shared_memory(server), timeouts=Timeouts(connect=2, request=2, outage=1))
        with TritonModel(server.url, options=hasty) as model:
            loaded = LoadedInput(tmp_path / "study.nii.gz", (small_study(),), None, 0.0)
            kill = Mischief(lambda: signal_server(server, signal.SIGKILL))
            with pytest.raises(ServerError, match="no Triton answers at"):
                run_job(loaded, tmp_path / "out", model, tick=kill)
    assert {path.name for path in tmp_path.iterdir()} == {"repository"}


def test_a_hung_server_is_waited_for_until_the_time_is_over(slow_repository: Path) -> None:
    with TritonServer(slow_repository, grace=1) as server:
        hasty = replace(by_shared_memory(server), timeouts=Timeouts(connect=1, request=1, outage=1))
        stop = Mischief(lambda: signal_server(server, signal.SIGSTOP))
        try:
            with pytest.raises(ServerError, match="did not answer in time"):
                segment(server, hasty, stop, small_study())
        finally:
            signal_server(server, signal.SIGCONT)


def test_a_server_that_hangs_for_a_while_heals(slow_repository: Path) -> None:
    volume = small_study()
    with TritonServer(slow_repository) as server:

        def hang() -> None:
            signal_server(server, signal.SIGSTOP)
            threading.Timer(2, signal_server, (server, signal.SIGCONT)).start()

        hasty = replace(by_shared_memory(server), timeouts=replace(QUICK, request=1))
        found = segment(server, hasty, Mischief(hang), volume)
    np.testing.assert_array_equal(found.mask, expected_mask(volume))
    assert found.exchange.retries > 0


@both_ways
def test_a_model_that_gets_no_processor_time_for_a_while_heals(slow_repository: Path, options: Choose) -> None:
    """Triton fails requests to a process that stood still for a second, and may end over its late answer."""
    volume = small_study()
    with TritonServer(slow_repository) as server, server.started_again_if_it_dies():

        def starve() -> None:
            signal_stubs(server, signal.SIGSTOP)
            threading.Timer(2, signal_stubs, (server, signal.SIGCONT)).start()

        patient = replace(options(server), timeouts=Timeouts(connect=30, request=120, outage=120))
        found = segment(server, patient, Mischief(starve), volume)
    np.testing.assert_array_equal(found.mask, expected_mask(volume))
    assert found.exchange.retries > 0


def test_a_slow_server_is_waited_for_but_not_beyond_the_jobs_time(slow: TritonServer) -> None:
    volume = small_study(16)
    found = segment(slow, by_grpc(slow), lambda slices: None, volume)
    np.testing.assert_array_equal(found.mask, expected_mask(volume))
    hasty = replace(by_grpc(slow), timeouts=replace(QUICK, job=0.3))
    with pytest.raises(ServerError, match=r"did not end within 0\.3 s"):
        segment(slow, hasty, lambda slices: None, small_study(80))


@pytest.mark.parametrize("keeps_old", [True, False])
def test_a_new_version_in_mid_study(tmp_path: Path, keeps_old: bool) -> None:
    """By Triton's own default the old version is unloaded: one line. If the config keeps it, it finishes the study."""
    repository = slow_down(write_small_repository(tmp_path / "repository", max_queue_delay_us=0), 0.2)
    policy = "all { }" if keeps_old else "latest { num_versions: 1 }"
    for config in (repository / "small").rglob("*.pbtxt"):
        text, changed = re.subn(r"version_policy \{.*\}", f"version_policy {{ {policy} }}", config.read_text())
        assert changed == 1
        config.write_text(text)
    poll = ("--model-control-mode=poll", "--repository-poll-secs=1")
    volume = small_study(64)
    with TritonServer(repository, options=poll) as server, grpcclient.InferenceServerClient(server.url) as watch:

        def replace_version() -> None:
            add_version(repository, "2")
            assert eventually(lambda: watch.is_model_ready("small", "2"), 20)

        if keeps_old:
            found = segment(server, by_shared_memory(server), Mischief(replace_version), volume)
            np.testing.assert_array_equal(found.mask, expected_mask(volume))
        else:
            with pytest.raises(ServerError, match="version 1 of model small was replaced by version 2"):
                segment(server, by_grpc(server), Mischief(replace_version), volume)


def test_another_model_under_the_same_version_is_found_out(slow_repository: Path) -> None:
    with TritonServer(slow_repository) as first:
        port, chosen = int(first.url.rpartition(":")[2]), by_grpc(first)
        second = TritonServer(slow_repository, grpc_port=port)

        def swap() -> None:
            first.close()
            config = slow_repository / "small" / "configs" / "cpu.pbtxt"
            assert "BRAIN" in config.read_text()
            config.write_text(config.read_text().replace("BRAIN", "HEART"))
            second.start()

        try:
            with pytest.raises(ServerError, match="not the model that the study began with"):
                segment(first, chosen, Mischief(swap), small_study())
        finally:
            second.close()


@pytest.mark.parametrize("answering", ["1", "2"])
def test_the_version_that_answers_must_be_the_one_that_was_asked(steady: TritonServer, answering: str) -> None:
    """Something between client and server may send a request to another version than it names."""
    with (
        misrouting_proxy(steady.url, answering) as url,
        TritonModel(url, options=ServerOptions(timeouts=QUICK, shared_memory="off")) as model,
    ):
        if answering == "1":
            np.testing.assert_array_equal(segment_volume(small_study(4), model).mask, expected_mask(small_study(4)))
        else:
            with pytest.raises(ServerError, match="version 1 of small was asked, version 2 answered"):
                segment_volume(small_study(4), model)


def executions(server: TritonServer) -> int:
    with grpcclient.InferenceServerClient(server.url) as client:
        return int(client.get_inference_statistics("small", "1").model_stats[0].execution_count)


@both_ways
@pytest.mark.parametrize("how", ["cancel", "error in the caller"])
def test_cancellation_reaches_the_server(slow: TritonServer, options: Choose, how: str) -> None:
    """Of twenty requests under way a few compute; the others leave the queue."""
    with TritonModel(slow.url, options=replace(options(slow), in_flight=20)) as model:
        before = executions(slow)
        control = JobControl()

        def stop() -> None:
            if how == "cancel":
                control.cancel()
            else:
                raise ZeroDivisionError

        with pytest.raises(JobCancelledError if how == "cancel" else ZeroDivisionError):
            segment_volume(small_study(160), model, tick=Mischief(stop), control=control)
        list(model.predict([(0, small_images(8))]))  # is answered after everything that was queued before it
        assert executions(slow) - before <= 14  # of 21


def test_requests_are_named_after_the_job(steady: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = segment(steady, by_grpc(steady), lambda slices: None, small_study(8))
    logs = [path.read_text() for path in tmp_path_factory.getbasetemp().glob("steady*/triton.log")]
    assert any(f"{found.trace}-1" in log for log in logs)


def test_jobs_in_threads_and_in_asyncio_find_what_one_after_another_finds(steady: TritonServer) -> None:
    volumes = [small_study(30, seed) for seed in range(4)]
    with TritonModel(steady.url, options=by_shared_memory(steady)) as model:
        serial = [segment_volume(volume, model).mask for volume in volumes]
        with ThreadPoolExecutor(4) as pool:
            threads = [found.mask for found in pool.map(lambda volume: segment_volume(volume, model), volumes)]

        async def together() -> list[Segmentation]:
            return await asyncio.gather(*(segment_volume_async(volume, model) for volume in volumes))

        tasks = [found.mask for found in asyncio.run(together())]
    for volume, masks in zip(volumes, zip(serial, threads, tasks, strict=True), strict=True):
        for mask in masks:
            np.testing.assert_array_equal(mask, expected_mask(volume))


def test_cancelling_a_task_cancels_its_job_on_the_server(slow: TritonServer) -> None:
    with TritonModel(slow.url, options=replace(by_grpc(slow), in_flight=20)) as model:
        before = executions(slow)

        async def give_up() -> None:
            begun = asyncio.Event()
            loop = asyncio.get_running_loop()
            tick = Mischief(lambda: loop.call_soon_threadsafe(begun.set))
            task = asyncio.create_task(segment_volume_async(small_study(160), model, tick=tick))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(give_up())
        list(model.predict([(0, small_images(8))]))
        assert executions(slow) - before <= 14  # of 21


@pytest.mark.parametrize("budget_slices", [1, 3, 40])
def test_the_byte_budget_bounds_what_is_in_flight(steady: TritonServer, budget_slices: int) -> None:
    size = RequestSize.of(SMALL_SPEC, "labels")
    limits = ServerOptions(budget_bytes=budget_slices * size.slice_bytes, in_flight=100, shared_memory="off")
    drawn = received = most = 0
    images = small_images(60)

    def batches() -> Iterator[tuple[int, np.ndarray]]:
        nonlocal drawn, most
        for start in range(0, len(images), batch):
            most = max(most, drawn - received)
            drawn += batch
            yield start, images[start : start + batch]

    with TritonModel(steady.url, options=limits) as model:
        batch = model.batch_size()
        assert batch == min(budget_slices, BATCH)
        for answer in model.predict(batches()):
            np.testing.assert_array_equal(answer.tensor, small_labels(images[answer.start : answer.start + batch]))
            received += len(answer.tensor)
    assert received == len(images)
    assert most <= budget_slices


def test_batches_are_made_to_fit_the_messages_and_too_large_ones_never_leave(steady: TritonServer) -> None:
    narrow = ServerOptions(max_message_bytes=4096 + 3 * 2048 + 100, shared_memory="off")
    with TritonModel(steady.url, options=narrow) as model:
        assert model.batch_size() == 3
        assert model.batch_size("probabilities") == 1
        with pytest.raises(ServerError, match="a batch of 4 slices is more than one message holds, 3"):
            list(model.predict([(0, small_images(4))]))
        np.testing.assert_array_equal(segment_volume(small_study(), model).mask, expected_mask(small_study()))
    with (
        TritonModel(steady.url, options=replace(narrow, max_message_bytes=5000)) as model,
        pytest.raises(ServerError, match="one slice is a message of 2048 bytes, messages may have 5000"),
    ):
        segment_volume(small_study(), model)


@pytest.mark.parametrize(
    ("status", "message", "heals"),
    [
        ("UNAVAILABLE", "Socket closed", True),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", True),
        ("RESOURCE_EXHAUSTED", "too many requests", True),
        ("RESOURCE_EXHAUSTED", "Sent message larger than max (5000 vs. 4000)", False),
        ("UNAVAILABLE", "This protocol is restricted, expecting header 'x'", False),
        ("UNAVAILABLE", "Ssl handshake failed", False),
        ("INVALID_ARGUMENT", "unexpected shape", False),
        ("NOT_FOUND", "unknown model", False),
        ("INTERNAL", "stub died", False),
        ("INTERNAL", "Stub process 'small_0_0' is not healthy.", True),
        ("INTERNAL", "Failed to obtain the health mutex.", True),
        ("CANCELLED", "", False),
    ],
)
def test_only_what_can_heal_is_tried_again(status: str, message: str, heals: bool) -> None:
    assert can_heal(InferenceServerException(message, f"StatusCode.{status}")) is heals
