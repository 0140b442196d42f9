"""Every engine by name: it runs and says what it is, at batches it was not traced at, or says in one line why not."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from small_model import SMALL_SPEC, small_images
from torch.utils._python_dispatch import TorchDispatchMode

from swinunet.export import file_names
from swinunet.export.engines.registry import ENGINES, engine_named, load_engine, register
from swinunet.export.graph.onnx_graph import export_onnx
from swinunet.export.tolerances import TOLERANCES
from swinunet.foundation.errors import InputError, MissingExtraError
from swinunet.serving.canary import CANARY_FILE
from swinunet.serving.plan import PLAN_FILE
from swinunet.training.loop.run_folder import BEST_FILE
from swinunet.training.network.checkpoint import load_checkpoint, save_checkpoint
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet

GPU = torch.cuda.is_available()
HERE = ("pytorch-fp32", "pytorch-bf16", "torchscript-fp32", "torchscript-bf16", "onnxruntime-fp32", "openvino-f32")
CPU_ONLY = pytest.mark.skipif(GPU, reason="a machine with a GPU")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version of a tiny network: model.onnx and checkpoint.safetensors."""
    torch.manual_seed(0)
    network = SwinUNet(recipe("tiny").build(1, SMALL_SPEC.num_classes)).eval()
    folder = tmp_path_factory.mktemp("version")
    save_checkpoint(folder / "checkpoint.safetensors", network, SMALL_SPEC)
    export_onnx(network, SMALL_SPEC, folder / "model.onnx")
    return folder


@pytest.mark.parametrize("name", HERE)
def test_it_computes_what_the_checkpoint_computes(folder: Path, name: str) -> None:
    loaded, reference = load_engine(name, folder, 1), load_engine("pytorch-fp32", folder, 1)
    for batch in (1, 3):
        image = small_images(batch, seed=batch)
        labels, probabilities = (array.copy() for array in loaded.run(image))
        expected = reference.run(image)
        assert (labels.dtype, labels.shape) == (np.uint8, (batch, 32, 32))
        assert (probabilities.dtype, probabilities.shape) == (np.float16, (batch, 3, 32, 32))
        tolerance, agreement = (0.05, 0.95) if ENGINES[name].arithmetic == "bf16" else (2e-3, 0.999)
        np.testing.assert_allclose(probabilities, expected.probabilities, atol=tolerance)
        assert (labels == expected.labels).mean() >= agreement
    assert loaded.import_s >= 0
    assert name.split("-")[0] in loaded.describe().lower().replace("torch ", "pytorch torchscript ")


class OperandTypes(TorchDispatchMode):
    """Records the element types of what goes into matrix products and convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, set[torch.dtype]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        dtypes = {each.dtype for each in arguments if isinstance(each, torch.Tensor)}
        self.found.setdefault(function.overloadpacket.__name__, set()).update(dtypes)
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize(("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_matrix_products_are_in_the_precision_asked_for(folder: Path, precision: str, expected: torch.dtype) -> None:
    loaded = load_engine(f"pytorch-{precision}", folder, 1)
    with OperandTypes() as operands:
        loaded.run(small_images(2))
    products = {name: operands.found[name] for name in ("linear", "matmul", "conv2d")}
    assert products["linear"] == products["matmul"] == {expected}
    assert expected in products["conv2d"] | products["linear"]


@pytest.mark.parametrize("library", ["pytorch", "torchscript"])
def test_bf16_errs_as_eight_bits_do(folder: Path, library: str) -> None:
    """Its error is that of the network under autocast, within a factor of 3: float16 would err an eighth as much."""
    image = small_images(2)
    network, _ = load_checkpoint(folder / "checkpoint.safetensors")
    network.eval()
    with torch.inference_mode():
        exact = network(torch.from_numpy(image).float()).softmax(dim=1)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = network(torch.from_numpy(image).float()).float().softmax(dim=1)
    wanted = float((rounded - exact).abs().mean())
    found = load_engine(f"{library}-bf16", folder, 1).run(image).probabilities
    error = float(np.abs(found.astype(np.float32) - exact.numpy()).mean())
    assert wanted / 3 < error < wanted * 3
    same = load_engine(f"{library}-fp32", folder, 1).run(image).probabilities
    assert np.abs(same.astype(np.float32) - exact.numpy()).mean() < wanted / 3


def test_openvino_maps_its_weights_and_lets_them_go(folder: Path, tmp_path: Path, monkeypatch) -> None:
    image = small_images(3)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mapped = load_engine("openvino-f32", folder, 1)
    resident = weight_pages(tmp_path)
    assert set(resident) == {0}
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    in_heap = load_engine("openvino-f32", folder, 1)
    assert len(weight_pages(tmp_path)) == len(resident)
    for found, expected in zip(mapped.run(image), in_heap.run(image), strict=True):
        np.testing.assert_array_equal(found, expected)


def weight_pages(folder: Path) -> list[int]:
    """KiB in memory of each file of `folder` that this process maps."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    starts = [index for index, line in enumerate(lines) if f"{folder}/" in line]
    return [int(next(line for line in lines[start:] if line.startswith("Rss:")).split()[1]) for start in starts]


def test_torch_compile_is_inductor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of it, without the minute that compiling takes."""
    asked: dict[str, object] = {}

    def compile_(network: torch.nn.Module, **options: object) -> torch.nn.Module:
        asked.update(options)
        return network

    monkeypatch.setattr(torch, "compile", compile_)
    loaded = load_engine("torch-compile-fp32", folder, 1)
    assert loaded.run(small_images(3)).labels.shape == (3, 32, 32)
    assert asked.get("mode") == "reduce-overhead" if GPU else asked.get("dynamic") is True


@CPU_ONLY
def test_torch_compile_needs_a_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    from torch._inductor import cpp_builder

    cpp_builder.cpp_compiler_search.cache_clear()
    refuse(folder, "torch-compile-fp32", r"needs a C\+\+ compiler.*torchscript-\* needs none")


def test_every_engine_is_found_by_its_name() -> None:
    found = engine_named("openvino-bf16")
    assert (found.library.name, found.precision, found.artefact) == ("openvino", "bf16", "model.onnx")
    assert all(engine_named(name).name == name for name in ENGINES)
    wanted = "pytorch-fp32 torch-compile-bf16 torchscript-bf16 onnxruntime-int8 openvino-int8 tensorrt-fp16"
    assert set(wanted.split()) <= set(ENGINES)


def test_a_name_is_taken_once_and_a_precision_needs_a_tolerance() -> None:
    openvino = engine_named("openvino-f32")
    before = dict(ENGINES)
    with pytest.raises(ValueError, match="openvino-f32 is registered twice"):
        register(openvino)
    with pytest.raises(ValueError, match="openvino-fp4: no tolerance for fp4, only for fp32, fp16, bf16, int8"):
        register(dataclasses.replace(openvino, precision="fp4"))
    assert before == ENGINES


def test_float32_has_two_spellings_and_one_tolerance() -> None:
    torch_, openvino = engine_named("onnxruntime-fp32"), engine_named("openvino-f32")
    assert torch_.arithmetic == openvino.arithmetic == "fp32"
    assert torch_.served_precision == openvino.served_precision == "f32"
    assert torch_.tolerance == openvino.tolerance == TOLERANCES["fp32"]
    assert engine_named("onnxruntime-fp16").tolerance == TOLERANCES["fp16"]


def test_what_serving_reads_has_the_name_that_export_writes() -> None:
    assert (file_names.PLAN_FILE, file_names.CANARY_FILE) == (PLAN_FILE, CANARY_FILE)
    assert file_names.CHECKPOINT_FILE == BEST_FILE


@pytest.mark.parametrize("name", ["openvino", "openvino-fp8", "tensorflow-fp32", ""])
def test_an_unknown_name_is_refused_with_all_that_there_are(name: str) -> None:
    with pytest.raises(InputError, match=r"choose one of pytorch-fp32, .*tensorrt-fp16") as caught:
        engine_named(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("pytorch-fp16", "fp16 needs a GPU", marks=CPU_ONLY),
        pytest.param("torch-compile-fp16", "fp16 needs a GPU", marks=CPU_ONLY),
        ("onnxruntime-fp16", r"model_fp16.onnx is missing; export .* --engine onnxruntime-fp16"),
        ("onnxruntime-int8", r"model_int8.onnx is missing; export .* --engine onnxruntime-int8"),
        ("openvino-int8", r"openvino_int8.xml is missing; export .* --engine openvino-int8"),
        ("tensorrt-fp16", r"model.plan is missing; build it anew .*make engine.* CPU engines"),
    ],
)
def test_what_cannot_run_says_why_and_what_would(folder: Path, name: str, reason: str) -> None:
    refuse(folder, name, reason)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_there_is_refused(folder: Path, provider: str) -> None:
    if len(onnxruntime.get_available_providers()) > 2:
        pytest.skip("onnxruntime-gpu is installed")
    refuse(folder, f"onnxruntime-{provider}-fp16", r"has no (CUDA|Tensorrt)ExecutionProvider .*make gpu")


def test_tensorrt_in_onnxruntime_gets_the_profile_of_the_served_config(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a profile of its own it builds an engine for each batch it meets. Nothing runs: there is no such GPU."""
    asked: list[tuple[str, dict[str, str]]] = []

    def session(
        path: Path, options: object, providers: list[tuple[str, dict[str, str]]]
    ) -> onnxruntime.InferenceSession:
        asked.extend(providers)
        return real(path, options, providers=["CPUExecutionProvider"])

    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["TensorrtExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    refuse(folder, "onnxruntime-tensorrt-fp32", "TensorrtExecutionProvider did not start")
    expected = {"trt_profile_min_shapes": 1, "trt_profile_opt_shapes": 8, "trt_profile_max_shapes": 16}
    assert asked == [
        ("TensorrtExecutionProvider", {name: f"image:{batch}x1x32x32" for name, batch in expected.items()})
    ]


def test_bf16_needs_a_cpu_that_has_it(folder: Path) -> None:
    import openvino

    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert "bf16" in load_engine("openvino-bf16", folder, 1).describe()
    else:
        refuse(folder, "openvino-bf16", "no bf16 instructions.*openvino-f32")


def test_a_folder_without_the_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "model.onnx", tmp_path)
    with pytest.raises(Exception, match=r"checkpoint.safetensors: no such file"):
        load_engine("pytorch-fp32", tmp_path, 1)


def test_a_library_that_is_not_installed_names_its_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "swinunet.export.engines.open_vino", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"openvino is not installed; pip install 'swinunet\[server\]'"):
        load_engine("openvino-f32", folder, 1)


def refuse(folder: Path, name: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        load_engine(name, folder, 1)
    assert "\n" not in str(caught.value)
