"""int8 by NNCF and by ONNX Runtime: it runs at any batch, its labels are float32's, and bad calibration is refused."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import openvino
import pytest
import torch
from onnx import TensorProto, numpy_helper
from small_model import SMALL_SPEC, small_images

from swinunet.export.engines.artefacts import make_artefacts
from swinunet.export.engines.registry import choose_judged, load_engine
from swinunet.export.graph import quantisation
from swinunet.export.graph.onnx_graph import export_onnx
from swinunet.export.graph.quantisation import (
    QuantisationLimits,
    dice,
    quantise_onnxruntime,
    quantise_openvino,
    split_slices,
)
from swinunet.export.sample_slices import sample_slices
from swinunet.foundation.errors import InputError, ParityError
from swinunet.foundation.progress import Say, say_nothing
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet

HASWELL, ZEN_4 = frozenset({"avx2"}), frozenset({"avx2", "avx512f", "avx512_vnni", "avx512_bf16"})
QUANTISE = {"openvino": quantise_openvino, "onnxruntime": quantise_onnxruntime}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of a tiny network."""
    torch.manual_seed(0)
    network = SwinUNet(recipe("tiny").build(1, SMALL_SPEC.num_classes)).eval()
    folder = tmp_path_factory.mktemp("quantised")
    export_onnx(network, SMALL_SPEC, folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def halves() -> tuple[np.ndarray, np.ndarray]:
    """Real slices: to calibrate on, and to judge by."""
    return split_slices(sample_slices(SMALL_SPEC, None))


@pytest.mark.parametrize("library", QUANTISE)
def test_int8_segments_like_float32(folder: Path, halves: tuple[np.ndarray, np.ndarray], library: str) -> None:
    calibration, judged = halves
    assert (
        QUANTISE[library](folder, calibration, QuantisationLimits(dice_drop=0.1)) >= 0.9
    )  # a network that never learned is no sharper
    int8, float32 = load_engine(f"{library}-int8", folder, 1), load_engine("onnxruntime-fp32", folder, 1)
    for batch in (1, 3):
        image = judged[4 : 4 + batch]
        expected, found = float32.run(image), int8.run(image)
        assert (found.labels == expected.labels).mean() > 0.95
        difference = np.abs(found.probabilities.astype(np.float32) - expected.probabilities.astype(np.float32))
        assert 0 < difference.max() < 0.5  # another computation, of the same thing


def test_the_onnx_is_what_tensorrt_reads(folder: Path, halves: tuple[np.ndarray, np.ndarray]) -> None:
    """Explicit Q/DQ, symmetric (zero points 0) and signed; weights per channel."""
    if not (folder / "model_int8.onnx").is_file():
        quantise_onnxruntime(folder, halves[0], QuantisationLimits(dice_drop=0.1))
    graph = onnx.load(folder / "model_int8.onnx").graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["QuantizeLinear"] > 10
    assert kinds["DequantizeLinear"] > kinds["QuantizeLinear"]  # weights are stored as int8
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    scales = [node.input for node in graph.node if node.op_type == "DequantizeLinear"]
    zero_points = [constants[names[2]] for names in scales]
    assert {array.dtype for array in zero_points} == {np.dtype(np.int8)}
    assert not any(array.any() for array in zero_points)
    assert max(constants[names[1]].size for names in scales) > 1


@pytest.mark.parametrize("library", QUANTISE)
@pytest.mark.parametrize("shape", [(32, 7, 32, 32), (32, 1, 64, 32)])
def test_slices_of_another_shape_are_refused(
    folder: Path, tmp_path: Path, library: str, shape: tuple[int, ...]
) -> None:
    shutil.copyfile(folder / "model.onnx", tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"calibration slices are float16 \[32, .*takes float16 \[N, 1, 32, 32\]"):
        QUANTISE[library](tmp_path, np.zeros(shape, np.float16))
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("library", QUANTISE)
def test_int8_that_does_not_segment_alike_is_not_written(
    folder: Path, halves: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    shutil.copyfile(folder / "model.onnx", tmp_path / "model.onnx")
    monkeypatch.setattr(quantisation, "dice", lambda labels, expected: 0.9)
    with pytest.raises(ParityError, match=r"agrees with float32 to a Dice of 0\.9000 .*expected at least 0\.995"):
        QUANTISE[library](tmp_path, halves[0], QuantisationLimits(tries=1))
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("library", QUANTISE)
def test_no_weight_can_saturate_on_a_processor_without_vnni(
    folder: Path, halves: tuple[np.ndarray, np.ndarray], tmp_path: Path, library: str
) -> None:
    """Two products of an 8-bit activation, 255 at most, must fit into 16 bits: so weights are 64 at most."""
    shutil.copyfile(folder / "model.onnx", tmp_path / "model.onnx")
    limits = QuantisationLimits(dice_drop=0.1)
    QUANTISE[library](tmp_path, halves[0], limits)
    assert 32 < largest_int8(tmp_path, library) <= 64
    int8, float32 = load_engine(f"{library}-int8", tmp_path, 1), load_engine("onnxruntime-fp32", tmp_path, 1)
    image = halves[1][4:8]
    assert (int8.run(image).labels == float32.run(image).labels).mean() > 0.95


def largest_int8(folder: Path, library: str) -> int:
    """The largest weight of an int8 graph, by its absolute value."""
    if library == "openvino":
        graph = openvino.Core().read_model(folder / "openvino_int8.xml")
        constants = [op for op in graph.get_ordered_ops() if op.get_type_name() == "Constant"]
        arrays = [op.data for op in constants if op.get_element_type() == openvino.Type.i8]
    else:
        initialisers = onnx.load(folder / "model_int8.onnx").graph.initializer
        arrays = [numpy_helper.to_array(each) for each in initialisers if each.data_type == TensorProto.INT8]
    return max(int(np.abs(array.astype(np.int32)).max()) for array in arrays)


def test_the_search_ends_at_the_first_graph_that_is_close_enough() -> None:
    said: list[str] = []
    assert search([0.4, 0.996, 1.0], QuantisationLimits(), say=said.append) == 0.996
    assert said == [
        "onnxruntime-int8: try 1 of at most 4, 16 of 16 products in int8",
        "onnxruntime-int8: Dice 0.4000 with float32 on slices held back (wanted 0.995)",
        "onnxruntime-int8: try 2 of at most 4, 14 of 16 products in int8",
        "onnxruntime-int8: Dice 0.9960 with float32 on slices held back (wanted 0.995)",
    ]


def test_the_search_reports_its_best_graph_not_its_last() -> None:
    with pytest.raises(ParityError, match=r"Dice of 0\.7800 .*at least 0\.995, and no more tries are allowed"):
        search([0.4, 0.78, 0.2, 0.0144], QuantisationLimits())


def test_the_search_is_bounded_in_tries() -> None:
    tried: list[int] = []
    with pytest.raises(ParityError, match="no more tries"):
        search([0.1, 0.2, 1.0], QuantisationLimits(tries=2), tried=tried)
    assert tried == [0, 2]


def test_the_search_is_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 100.0, 601.0, 1e9])
    monkeypatch.setattr(quantisation, "time", SimpleNamespace(monotonic=lambda: next(now)))
    tried: list[int] = []
    with pytest.raises(ParityError, match=r"Dice of 0\.2000 .*and 10 minutes are over"):
        search([0.1, 0.2, 1.0], QuantisationLimits(seconds=600), tried=tried)
    assert tried == [0, 2]


@pytest.mark.parametrize(("processor", "advice"), [(HASWELL, "openvino-f32"), (ZEN_4, "openvino-bf16")])
def test_the_advice_fits_the_processor(monkeypatch: pytest.MonkeyPatch, processor: frozenset[str], advice: str) -> None:
    monkeypatch.setattr(quantisation, "this_processor", lambda: processor)
    with pytest.raises(ParityError, match=f"or serve {advice}$"):
        search([0.1], QuantisationLimits(tries=1))


def search(
    scores: list[float],
    limits: QuantisationLimits,
    *,
    say: Say = say_nothing,
    tried: list[int] | None = None,
) -> float:
    """The search over graphs of 16 products whose Dice is known. tried: is given how many are in float32 each time."""
    counts = [] if tried is None else tried
    pixels = np.ones((1, 1, 10000), np.uint8)

    def attempt(in_float: list[str]) -> np.ndarray:
        counts.append(len(in_float))
        assert in_float == [f"product {at}" for at in range(16 - len(in_float), 16)]
        labels = np.zeros_like(pixels)
        labels[..., : round(10000 * scores[len(counts) - 1] / (2 - scores[len(counts) - 1]))] = 1  # Dice = 2n / (n + N)
        return labels

    names = [f"product {at}" for at in range(16)]
    return round(quantisation._search("onnxruntime-int8", names, attempt, pixels, limits, say), 4)


def test_calibration_slices_are_read_once_and_only_for_int8(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, np.ndarray] = {}
    for library in QUANTISE:
        monkeypatch.setattr(
            quantisation, f"quantise_{library}", lambda _, slices, say, library=library: given.update({library: slices})
        )
    monkeypatch.setattr("swinunet.export.engines.artefacts.write_fp16", lambda source, target: None)
    read: list[np.ndarray] = []

    def calibration() -> np.ndarray:
        read.append(small_images(1))
        return read[-1]

    make_artefacts(tmp_path, choose_judged(["openvino-bf16", "onnxruntime-fp16"]), calibration)
    assert not read
    make_artefacts(tmp_path, choose_judged(["openvino", "onnxruntime"]), calibration)
    assert len(read) == 1
    assert set(given) == set(QUANTISE)
    assert all(slices is read[0] for slices in given.values())


@pytest.mark.parametrize("count", [9, 64, 197])
def test_halves_are_disjoint_whole_and_the_same_again(count: int) -> None:
    slices = np.arange(count, dtype=np.float16).reshape(-1, 1, 1, 1)
    first, second = (half.ravel().astype(int) for half in split_slices(slices, seed=3))
    assert sorted([*first, *second]) == list(range(count))
    assert len(first)
    np.testing.assert_array_equal(first, split_slices(slices, seed=3)[0].ravel())


def test_too_few_slices_are_refused() -> None:
    with pytest.raises(InputError, match="8 slices are too few for int8"):
        split_slices(small_images(8))


def test_dice_is_over_the_classes_that_there_are() -> None:
    labels = np.array([[0, 1, 1, 2]], np.uint8)
    assert dice(labels, labels) == 1
    assert dice(labels, np.array([[0, 1, 0, 3]], np.uint8)) == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert dice(labels * 0, labels * 0) == 1
