"""The CPU model.py in a real Triton: right numbers under this NumPy, one batch of many requests, one bad one alone."""

from __future__ import annotations

import queue
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as grpcclient
from server_traces import eventually
from small_model import small_images, small_labels, small_probabilities, write_small_repository
from tritonclient.utils import InferenceServerException

from swinunet.benchmarks.measure.process_tree import server_processes
from swinunet.serving import TritonServer

WAYS = ["openvino", "onnxruntime", "openvino at once", "openvino at once streams", "onnxruntime at once streams"]


@pytest.fixture(scope="module", params=WAYS)
def client(
    tritonserver: object, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[grpcclient.InferenceServerClient]:
    engine, *ways = request.param.split()
    repository = tmp_path_factory.mktemp(engine) / "repository"
    # A long wait for company, so that requests sent together surely meet in one batch.
    streams = {"streams": 2, "threads": 2} if "streams" in ways else {}
    write_small_repository(repository, engine, max_queue_delay_us=1_000_000, **streams)
    if "once" in ways:  # slices larger than these 32 x 32 are computed a few at a time, here three
        model = repository / "small" / "1" / "model.py"
        text, changed = re.subn(r"(?m)^_PIXELS_AT_ONCE = .*", "_PIXELS_AT_ONCE = 3 * 32 * 32", model.read_text())
        assert changed == 1
        model.write_text(text)
    with TritonServer(repository) as server, grpcclient.InferenceServerClient(server.url) as client:
        yield client


def tensor(image: np.ndarray) -> grpcclient.InferInput:
    wire = grpcclient.InferInput("image", image.shape, "FP32" if image.dtype == np.float32 else "FP16")
    return wire.set_data_from_numpy(image)


def infer(client: grpcclient.InferenceServerClient, image: np.ndarray, *outputs: str) -> grpcclient.InferResult:
    wanted = [grpcclient.InferRequestedOutput(name) for name in outputs]
    return client.infer("small", [tensor(image)], outputs=wanted or None)


@pytest.mark.parametrize("batch", [1, 3, 8, 16])
def test_values_are_right_at_every_batch(client, batch: int) -> None:
    """Triton 24.10's as_numpy() and Tensor() give wrong values and empty tensors under NumPy 2, in silence."""
    image = small_images(batch, seed=batch)
    answer = infer(client, image)
    labels, probabilities = answer.as_numpy("labels"), answer.as_numpy("probabilities")
    assert (labels.dtype, probabilities.dtype) == (np.uint8, np.float16)
    np.testing.assert_array_equal(labels, small_labels(image))
    np.testing.assert_allclose(probabilities.astype(np.float32), small_probabilities(image), atol=1e-3)


def test_only_what_is_asked_for_travels(client) -> None:
    answer = infer(client, small_images(2), "labels")
    assert [output.name for output in answer.get_response().outputs] == ["labels"]
    answer = infer(client, small_images(2), "probabilities")
    assert [output.name for output in answer.get_response().outputs] == ["probabilities"]


TOGETHER = 2 * (1 + 2 + 3)  # slices of the six requests below


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_request_fails_alone_in_its_batch(client, bad: float) -> None:
    images = [small_images(1 + index % 3, seed=index) for index in range(6)]
    images[3] = images[3].copy()
    images[3][0, 0, 5, 5] = bad
    before = batches_of(client, TOGETHER)
    answers: queue.Queue[tuple[int, object, object]] = queue.Queue()
    for index, image in enumerate(images):
        client.async_infer(
            "small", [tensor(image)], lambda result, error, index=index: answers.put((index, result, error))
        )
    for _ in images:
        index, result, error = answers.get(timeout=600)
        if index == 3:
            assert "NaN or infinite" in str(error)
        else:
            assert error is None
            np.testing.assert_array_equal(result.as_numpy("labels"), small_labels(images[index]))
    assert eventually(lambda: batches_of(client, TOGETHER) == before + 1, 10)  # Triton counts after it answers


def batches_of(client, slices: int) -> int:
    """How many batches of so many slices Triton has made."""
    found = client.get_inference_statistics("small").model_stats[0].batch_stats
    return sum(batch.compute_infer.count for batch in found if batch.batch_size == slices)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((1, 1, 32, 32), np.float32), "expected 'TYPE_FP16'|data-type"),
        (np.zeros((1, 2, 32, 32), np.float16), "shape"),
        (np.zeros((1, 1, 64, 32), np.float16), "shape"),
        (np.zeros((17, 1, 32, 32), np.float16), "batch-size must be <= 16"),
    ],
)
def test_what_breaks_the_contract_is_refused_and_the_model_lives_on(client, image: np.ndarray, reason: str) -> None:
    with pytest.raises(InferenceServerException, match=reason):
        infer(client, image)
    good = small_images(1)
    np.testing.assert_array_equal(infer(client, good, "labels").as_numpy("labels"), small_labels(good))


def test_no_output_costs_a_traceback(tritonserver: object, small_repository: Path) -> None:
    """NumPy's capsule destructor does not know the name that Triton leaves on a used DLPack capsule."""
    lines: list[str] = []
    with (
        TritonServer(small_repository, log=lines.append) as server,
        grpcclient.InferenceServerClient(server.url) as client,
    ):
        for _ in range(3):
            infer(client, small_images(2))
    assert not [line for line in lines if "Traceback" in line or "PyCapsule" in line]


def test_openvino_maps_its_weights_and_lets_them_go(triton: TritonServer) -> None:
    """Weights in OpenVINO's heap would stay beside the copies that its kernels compute with."""
    mapped_kib = resident_kib = 0
    for process in server_processes():
        for region in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{process}/smaps").read_text()):
            if "/swinunet_weights_" in region:
                mapped_kib += int(re.search(r"Size: +(\d+)", region)[1])  # type: ignore[index]
                resident_kib += int(re.search(r"Rss: +(\d+)", region)[1])  # type: ignore[index]
    assert mapped_kib > 5000
    assert resident_kib < mapped_kib / 2


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_each_precision_has_its_own_graph(tritonserver: object, tmp_path: Path, precision: str) -> None:
    repository = write_small_repository(tmp_path / "repository", "onnxruntime", precision=precision)
    version = repository / "small" / "1"
    (version / "model.onnx").rename(version / f"model_{precision}.onnx")
    lines: list[str] = []
    with TritonServer(repository, log=lines.append):  # up: its canary was answered
        assert [line for line in lines if f"onnxruntime {onnxruntime.__version__}, precision {precision}" in line]
