"""How the gate judges: engines that are told what to answer, none of them real but ONNX Runtime."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from labelled_folders import make_cases, write_plain
from onnx import numpy_helper
from small_model import SMALL_SPEC, write_small_repository
from torch import Tensor, nn

from swinunet import serving
from swinunet.export.engines import registry
from swinunet.export.engines.loaded_engine import LoadedEngine, Outputs
from swinunet.export.engines.registry import Engine, Library, engine_named
from swinunet.export.gate import judge as judge_module
from swinunet.export.gate import served as served_module
from swinunet.export.gate.bisect import Drift
from swinunet.export.gate.evidence import Evidence, gather_evidence
from swinunet.export.gate.judge import engines_in, judge
from swinunet.export.gate.options import GateOptions
from swinunet.export.gate.report import Report, Verdict
from swinunet.export.repository.served_configs import make_configs
from swinunet.foundation.errors import InputError
from swinunet.imaging import SPEC_KEY
from swinunet.imaging.spec import Provenance

SPEC = dataclasses.replace(SMALL_SPEC, provenance=Provenance(checkpoint_sha256="5e" * 32))
CONFIGS = make_configs(SPEC)
TOLD = Library("told", "Told", "told:load", "export", "CPU")
Answer = Callable[[np.ndarray], Outputs]
Load = Callable[[Path, str, int], LoadedEngine]


class Brightness(nn.Module):
    """What `small` computes: logits 0, x - 0.5 and 2 x - 2."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))  # says on which device the network is

    def forward(self, image: Tensor) -> Tensor:
        """image: float32 [B, 1, H, W]. Returns logits [B, 3, H, W]."""
        return torch.cat([0 * image, image - 0.5, 2 * image - 2], dim=1)


def right(image: np.ndarray) -> Outputs:
    logits = Brightness()(torch.from_numpy(image).float()).detach()
    return Outputs(logits.argmax(dim=1).to(torch.uint8).numpy(), logits.softmax(dim=1).half().numpy())


def wrong(image: np.ndarray) -> Outputs:
    """Where there was the second structure, there is the first one."""
    labels, probabilities = right(image)
    return Outputs(np.minimum(labels, 1), probabilities)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    data = write_plain(tmp_path_factory.mktemp("cases") / "blob", make_cases(2))
    return gather_evidence(SPEC, data, data / "no split.json")


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Engine]:
    """Registers told-int8, which loads as it is told, with its artefact in the version folder."""
    module = types.ModuleType("swinunet.export.engines.told")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "ENGINES", dict(registry.ENGINES))

    def add(load: Load, **changed: object) -> Engine:
        module.load = load  # type: ignore[attr-defined]
        engine = dataclasses.replace(Engine(TOLD, "int8", "told.txt", judged=True), **changed)  # type: ignore[arg-type]
        registry.register(engine)
        (tmp_path / engine.artefact).touch()
        return engine

    return add


def answering(run: Answer) -> Load:
    return lambda path, precision, threads: LoadedEngine(run, lambda: f"{path.name} in {precision}")


def judged(folder: Path, evidence: Evidence, configs=CONFIGS, **options: object) -> Report:
    asked = GateOptions(**{"serve": False, **options})  # type: ignore[arg-type]
    return judge(folder, Brightness(), SPEC, evidence, configs, asked)  # type: ignore[arg-type]


def test_the_report_says_what_was_judged_on_what_and_how(register, tmp_path: Path, evidence: Evidence) -> None:
    register(answering(right))
    said: list[str] = []
    report = judged(tmp_path, evidence, say=said.append)
    assert (report.model, report.version, report.checkpoint_sha256) == ("small", 1, "5e" * 32)
    assert report.served == CONFIGS.engine.name == "openvino-f32"
    assert (report.cases, report.labelled) == (evidence.description, True)
    assert 0 < report.seconds < 600
    assert abs(datetime.fromisoformat(report.created) - datetime.now(UTC)) < timedelta(minutes=10)
    assert len(report.created) == len("2026-11-25T20:00:00+00:00")
    assert report.software == f"swinunet {version('swinunet')}, polygraphy {version('polygraphy')}"
    told, served = report.verdicts
    assert (told.engine, told.precision, told.artefact, told.status) == ("told-int8", "int8", "told.txt", "passed")
    assert told.description == "told.txt in int8"
    assert 0 < told.seconds < 600
    assert [each.batch for each in told.tensors] == [1, 3, 8, 16]
    assert told.masks is not None
    assert told.masks.flipped == 0
    assert served == Verdict(
        "served", "f32", "model.py with openvino-f32", True, "not run", ("left out with --no-serve",)
    )
    assert said[0] == "gate: tensors of told-int8"
    assert said[1:] == [f"gate: masks of 1 engines, case {number} of 2" for number in (1, 2)]


@pytest.mark.parametrize(
    ("engines", "needs", "configured", "needed"),
    [((), False, False, False), (("told",), False, False, True), ((), True, False, True), ((), False, True, True)],
)
def test_an_engine_is_needed_if_asked_for_or_always_or_served(
    register, tmp_path: Path, evidence: Evidence, engines: tuple[str, ...], needs: bool, configured: bool, needed: bool
) -> None:
    engine = register(answering(right), needed=needs)
    configs = dataclasses.replace(CONFIGS, engine=engine) if configured else CONFIGS
    report = judged(tmp_path, evidence, configs, engines=engines)
    assert report.verdicts[0].needed is needed


@pytest.mark.parametrize(
    ("engines", "needs", "status"), [((), False, "not run"), (("told",), False, "failed"), ((), True, "failed")]
)
def test_an_engine_that_cannot_run_here_fails_only_where_it_must_pass(
    register, tmp_path: Path, evidence: Evidence, engines: tuple[str, ...], needs: bool, status: str
) -> None:
    def load(path: Path, precision: str, threads: int) -> LoadedEngine:
        raise InputError("this processor has no int8")

    register(load, needed=needs)
    verdict = judged(tmp_path, evidence, engines=engines).verdicts[0]
    assert (verdict.status, verdict.reasons) == (status, ("this processor has no int8",))
    assert (verdict.tensors, verdict.masks) == ((), None)


def test_a_library_that_is_not_installed_is_named_with_its_extra(register, tmp_path: Path, evidence: Evidence) -> None:
    def load(path: Path, precision: str, threads: int) -> LoadedEngine:
        raise ModuleNotFoundError("no module", name="told_library")

    register(load)
    verdict = judged(tmp_path, evidence).verdicts[0]
    assert verdict.status == "not run"
    assert verdict.reasons == ("told_library is not installed; pip install 'swinunet[export]'",)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("it broke\n  in  two lines"), "it broke in two lines"),
        (MemoryError(), "MemoryError"),
        (RuntimeError("x" * 300), "x" * 300),
        (RuntimeError("x" * 301), "x" * 297 + "..."),
    ],
)
def test_an_engine_that_raises_fails_in_one_line(
    register, tmp_path: Path, evidence: Evidence, error: Exception, reason: str
) -> None:
    def fails(image: np.ndarray) -> Outputs:
        raise error

    register(answering(fails))
    verdict = judged(tmp_path, evidence).verdicts[0]
    assert (verdict.status, verdict.reasons, verdict.masks) == ("failed", (reason,), None)


def test_an_engine_that_fails_on_its_tensors_is_judged_on_masks_as_well(
    register, tmp_path: Path, evidence: Evidence
) -> None:
    register(answering(wrong))
    verdict = judged(tmp_path, evidence).verdicts[0]
    assert verdict.status == "failed"
    assert verdict.reasons[0].startswith("share of labels that differ ")
    assert verdict.reasons[-1] == "volume of above 1.5 changed by 100.00% (allowed 1%)"
    assert verdict.masks is not None
    assert verdict.masks.flipped > 0


def test_an_engine_that_breaks_on_a_whole_mask_fails_with_what_it_said(
    register, tmp_path: Path, evidence: Evidence
) -> None:
    """Tensors are compared at four batches; the fifth call is the first mask's."""
    calls: list[int] = []

    def breaks(image: np.ndarray) -> Outputs:
        calls.append(len(image))
        if len(calls) > 4:
            raise OSError("no more memory")
        return right(image)

    register(answering(breaks))
    verdict = judged(tmp_path, evidence).verdicts[0]
    assert (verdict.status, verdict.reasons, verdict.masks) == ("failed", ("no more memory",), None)
    assert [each.batch for each in verdict.tensors] == [1, 3, 8, 16]
    assert calls == [1, 3, 8, 16, 8]


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    """The version folder of `small`, whose graph is that of `Brightness`."""
    folder = write_small_repository(tmp_path / "repository") / "small" / "1"
    _change(folder, lambda model: onnx.helper.set_model_props(model, {SPEC_KEY: SPEC.to_json()}))
    return folder


def _change(folder: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    model = onnx.load(str(folder / "model.onnx"))
    change(model)
    onnx.save(model, str(folder / "model.onnx"))


def test_onnx_runtime_in_float32_is_judged_on_its_logits_as_well(small_folder: Path, evidence: Evidence) -> None:
    verdict = judged(small_folder, evidence, engines=("onnxruntime-fp32",)).verdicts[0]
    assert (verdict.engine, verdict.status, verdict.needed) == ("onnxruntime-fp32", "passed", True)
    assert all(each.max_logit_error is not None and each.max_logit_error < 1e-5 for each in verdict.tensors)


def test_a_bias_is_found_in_the_logits_by_its_size(small_folder: Path, evidence: Evidence) -> None:
    """0.01 on a background that is nearly certain changes probabilities by less than their limit."""

    def shift(model: onnx.ModelProto) -> None:
        (bias,) = [each for each in model.graph.initializer if each.name == "bias"]
        bias.CopyFrom(numpy_helper.from_array(np.array([0.01, -0.49, -1.99], np.float32), "bias"))

    _change(small_folder, shift)
    verdict = judged(small_folder, evidence, engines=("onnxruntime-fp32",)).verdicts[0]
    assert verdict.status == "failed"
    assert verdict.reasons[0] == "largest logit error 0.01 at batch 1 (allowed 0.001)"
    assert len(verdict.reasons) == 4  # one a batch: the same for all classes, it leaves the probabilities as they were


def test_a_graph_is_held_to_the_wire_contract_before_it_runs(small_folder: Path, evidence: Evidence) -> None:
    _change(small_folder, lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", 64))
    verdict = judged(small_folder, evidence, engines=("onnxruntime-fp32",)).verdicts[0]
    assert verdict.status == "failed"
    assert verdict.reasons == (
        "model.onnx has image FLOAT16 [batch, 1, 64, 32], its model's spec wants FLOAT16 [batch, 1, 32, 32]",
    )


def test_without_triton_the_served_half_is_not_run_and_the_others_are(
    register, tmp_path: Path, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> None:
        raise serving.ServingError("tritonserver is not installed")

    monkeypatch.setattr(serving, "find_tritonserver", nowhere)
    register(answering(right))
    told, served = judged(tmp_path, evidence, serve=True).verdicts
    assert told.status == "passed"
    assert served == Verdict(
        "served", "f32", "model.py with openvino-f32", True, "not run", ("tritonserver is not installed",)
    )


@pytest.mark.parametrize(("answer", "status"), [(right, "passed"), (wrong, "failed")])
def test_the_served_version_is_judged_on_tensors_and_masks_while_it_runs(
    register, tmp_path: Path, evidence: Evidence, monkeypatch: pytest.MonkeyPatch, answer: Answer, status: str
) -> None:
    events: list[object] = []

    @contextmanager
    def served(folder: Path, name: str, number: int, configs: object) -> Iterator[Answer]:
        events.append((folder, name, number, configs))

        def infer(image: np.ndarray) -> Outputs:
            assert "closed" not in events
            return answer(image)

        yield infer
        events.append("closed")

    monkeypatch.setattr(serving, "find_tritonserver", lambda: None)
    monkeypatch.setattr(served_module, "served_model", served)
    register(answering(right))
    told, found = judged(tmp_path, evidence, serve=True).verdicts
    assert told.status == "passed"
    assert (found.engine, found.status, found.needed) == ("served", status, True)
    assert found.description == "Triton over gRPC, openvino-f32"
    assert [each.batch for each in found.tensors] == [1, 3, 8, 16]
    assert found.masks is not None
    assert (found.masks.flipped == 0) is (status == "passed")
    assert events == [(tmp_path, "small", 1, CONFIGS), "closed"]


def test_a_server_extra_that_is_missing_is_named(
    register, tmp_path: Path, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "swinunet.export.gate.served")
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    register(answering(right))
    served = judged(tmp_path, evidence, serve=True).verdicts[-1]
    assert served.status == "not run"
    assert served.reasons == ("tritonclient.grpc is not installed; pip install 'swinunet[server]'",)


@pytest.mark.parametrize(
    ("drift", "says"),
    [
        (Drift("node", "MatMul", "out", (), 0.5, 0.25, 3, 9), "first drift in node (MatMul, layer 3 of 9 compared)"),
        (None, "no layer of model.onnx drifts from the checkpoint's graph"),
        (OSError("no memory"), "no layer can be looked at (no memory)"),
    ],
    ids=["found", "none", "fails"],
)
def test_with_bisect_a_graph_that_fails_is_compared_with_the_checkpoints(
    small_folder: Path, evidence: Evidence, monkeypatch: pytest.MonkeyPatch, drift: object, says: str
) -> None:
    asked: list[tuple[Path, str, int]] = []

    def export(network: object, spec: object, path: Path) -> None:
        path.write_bytes(b"the checkpoint's graph")

    def first_drift(reference: Path, suspect: Path, engine: Engine, image: np.ndarray) -> object:
        assert reference.read_bytes() == b"the checkpoint's graph"
        asked.append((suspect, engine.name, len(image)))
        if isinstance(drift, Exception):
            raise drift
        return drift

    monkeypatch.setattr(judge_module, "export_onnx", export)
    monkeypatch.setattr(judge_module, "first_drift", first_drift)
    _change(small_folder, lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", 64))
    fails, served = judged(small_folder, evidence, engines=("onnxruntime-fp32",), bisect=True).verdicts
    assert fails.drift.startswith(f"onnxruntime-fp32: {says}")
    assert served.drift == ""
    assert asked == [(small_folder / "model.onnx", "onnxruntime-fp32", 1)]
    assert judged(small_folder, evidence, engines=("onnxruntime-fp32",)).verdicts[0].drift == ""
    assert len(asked) == 1


def test_bisect_passes_over_what_is_right_and_what_is_no_graph(
    register, tmp_path: Path, evidence: Evidence, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(*asked: object) -> None:
        pytest.fail("nothing is to be compared")

    monkeypatch.setattr(judge_module, "export_onnx", export)
    assert judged(small_folder, evidence, engines=("onnxruntime-fp32",), bisect=True).verdicts[0].drift == ""
    engine = register(answering(wrong))
    monkeypatch.setattr(judge_module, "ENGINES", {engine.name: engine})
    told = judged(tmp_path, evidence, bisect=True).verdicts[0]
    assert (told.status, told.drift) == ("failed", "")


FILES = ("model.onnx", "model_fp16.onnx", "model_int8.onnx", "openvino_int8.xml", "model.plan")
OF_GRAPH = ["onnxruntime-fp32", "openvino-f32", "openvino-bf16"]


@pytest.mark.parametrize(
    ("there", "required", "judged_names"),
    [
        (FILES[:1], (), OF_GRAPH),
        (FILES[1:2], (), ["onnxruntime-fp16"]),
        (FILES[:2], (), [*OF_GRAPH, "onnxruntime-fp16"]),
        (FILES[:2], ("openvino-bf16",), ["onnxruntime-fp32", "openvino-bf16"]),
        (FILES, ("openvino-int8",), ["onnxruntime-fp32", "openvino-int8"]),
        (FILES, ("tensorrt-fp16", "openvino-f32"), ["onnxruntime-fp32", "openvino-f32", "tensorrt-fp16"]),
        (FILES[:1], ("onnxruntime-fp32", "onnxruntime-int8"), ["onnxruntime-fp32"]),
        ((), (), []),
    ],
)
def test_engines_are_judged_whose_artefact_is_there(
    tmp_path: Path, there: tuple[str, ...], required: tuple[str, ...], judged_names: list[str]
) -> None:
    for name in there:
        (tmp_path / name).touch()
    found = engines_in(tmp_path, [engine_named(name) for name in required])
    assert [engine.name for engine in found] == judged_names


def test_a_library_none_of_whose_artefacts_is_there_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    (tmp_path / "model_int8.onnx").mkdir()  # no file
    required = [engine_named(name) for name in ("onnxruntime-fp16", "onnxruntime-int8")]
    with pytest.raises(InputError) as caught:
        engines_in(tmp_path, [engine_named("openvino-f32"), *required])
    assert str(caught.value) == (
        "onnxruntime was asked for, but model_fp16.onnx and model_int8.onnx is not in this version; export one that "
        "has it (--engine onnxruntime-fp16 --engine onnxruntime-int8)"
    )


def test_by_default_all_engines_and_a_triton_are_judged_and_nothing_is_bisected() -> None:
    options = GateOptions()
    assert (options.engines, options.serve, options.bisect) == ((), True, False)
    assert options.required_engines() == ()
    asked = GateOptions(("openvino", "onnxruntime-fp32")).required_engines()
    assert [engine.name for engine in asked] == ["openvino-f32", "openvino-bf16", "openvino-int8", "onnxruntime-fp32"]
    with pytest.raises(InputError, match="no engine is named 'tensorflow'"):
        GateOptions(("tensorflow",)).required_engines()
