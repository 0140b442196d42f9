"""TensorRT for RTX takes what we export, and says in one line what it cannot take. No GPU is needed to build."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from shipped_model import shipped_version
from small_model import SMALL_SPEC, write_small_repository

from swinunet.export.engines.tensorrt_rtx import build_ahead
from swinunet.export.graph.fp16 import write_fp16
from swinunet.export.graph.onnx_graph import export_onnx
from swinunet.foundation.errors import EngineError, InputError, MissingExtraError
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph of a few nodes: plain arithmetic behind the wire contract."""
    return write_small_repository(tmp_path_factory.mktemp("small")) / "small" / "1" / "model.onnx"


@pytest.fixture(scope="module")
def standard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's network, freshly exported."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("standard") / "model.onnx"
    export_onnx(SwinUNet(recipe("swin-unet").build(1, 9)), SMALL_SPEC, path)
    return path


def contract(channels: int, classes: int, *size: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Types and shapes of the wire contract; -1 is the batch."""
    return {
        "image": ("HALF", (-1, channels, *size)),
        "labels": ("UINT8", (-1, *size)),
        "probabilities": ("HALF", (-1, classes, *size)),
    }


def test_the_shipped_model_builds(repository: Path) -> None:
    built = build_ahead(shipped_version(repository) / "model.onnx")
    assert built.tensors == contract(7, 3, 64, 64)
    assert len(built.plan) > 1e6


def test_the_standard_network_builds_in_fp16(standard: Path, tmp_path: Path) -> None:
    write_fp16(standard, tmp_path / "model_fp16.onnx")
    built = build_ahead(tmp_path / "model_fp16.onnx", max_batch=16)
    assert built.tensors == contract(1, 9, 224, 224)
    assert 27.17e6 * 2 < len(built.plan) < standard.stat().st_size  # its weights, in two bytes each


def test_an_operator_that_tensorrt_lacks_is_named(small: Path, tmp_path: Path) -> None:
    model = onnx.load(str(small))
    node = next(node for node in model.graph.node if node.op_type == "Softmax")
    node.op_type, node.name = "Det", "the_bad_one"
    del node.attribute[:]
    onnx.save(model, str(tmp_path / "sabotaged.onnx"))
    with pytest.raises(EngineError) as refused:
        build_ahead(tmp_path / "sabotaged.onnx")
    assert str(refused.value) == (
        "sabotaged.onnx: TensorRT's parser refuses node 'the_bad_one', a Det; export the graph without it"
    )


def test_a_file_that_is_no_graph_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph at all")
    with pytest.raises(EngineError, match=r"^broken\.onnx: TensorRT's parser refuses the file: \S[^\n]*$"):
        build_ahead(tmp_path / "broken.onnx")


def test_a_graph_that_cannot_be_built_says_why(small: Path, tmp_path: Path) -> None:
    """It parses, as the batch is not known yet; no batch fills maps of 31 x 31 with the numbers of 32 x 32."""
    model = onnx.load(str(small))
    node = next(node for node in model.graph.node if node.op_type == "Softmax")
    node.op_type = "Reshape"
    del node.attribute[:]
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 3, 31, 31]), "shape"))
    node.input.append("shape")
    onnx.save(model, str(tmp_path / "bad.onnx"))
    with pytest.raises(EngineError, match=r"^bad\.onnx: TensorRT cannot build it: .*reshaping failed[^\n]*$"):
        build_ahead(tmp_path / "bad.onnx")


def test_a_batch_below_one_is_refused(small: Path) -> None:
    with pytest.raises(InputError, match="largest batch must be at least 1, found 0"):
        build_ahead(small, max_batch=0)


def test_an_unknown_compute_capability_lists_the_known(small: Path) -> None:
    with pytest.raises(InputError, match=r"'9\.0'; choose one of 7\.5, 8\.0, 8\.6, 8\.9, 12\.0"):
        build_ahead(small, compute_capability="9.0")


def test_without_the_package_it_says_what_to_install(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        build_ahead(small)
