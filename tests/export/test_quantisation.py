"""int8 by NNCF and by ONNX Runtime: it runs at any batch, its labels are float32's, and bad calibration is refused."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from small_model import SMALL_SPEC, small_images

from swinunet.export.engines.artefacts import make_artefacts
from swinunet.export.engines.registry import choose_judged, load_engine
from swinunet.export.graph import quantisation
from swinunet.export.graph.onnx_graph import export_onnx
from swinunet.export.graph.quantisation import dice, quantise_onnxruntime, quantise_openvino, split_slices
from swinunet.export.sample_slices import sample_slices
from swinunet.foundation.errors import InputError, ParityError
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet

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
        QUANTISE[library](folder, calibration, max_dice_drop=0.1) >= 0.9
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
        quantise_onnxruntime(folder, halves[0], max_dice_drop=0.1)
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


def test_int8_that_does_not_segment_alike_is_not_written(
    folder: Path, halves: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(folder / "model.onnx", tmp_path / "model.onnx")
    monkeypatch.setattr(quantisation, "_FLOAT_SHARES", (0,))
    with pytest.raises(ParityError, match=r"agrees with float32 to a Dice of 0\.9\d+ .*expected at least 1"):
        quantise_onnxruntime(tmp_path, halves[0], max_dice_drop=0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


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
