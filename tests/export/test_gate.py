"""The promotion gate: a wrong engine is caught, named with its figure, and nothing of it reaches the repository."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_version
from tiny_version import SPEC, Sabotage, rewrite, tiny_cases, tiny_checkpoint, tree

from swinunet.export.engines.artefacts import make_artefacts
from swinunet.export.engines.registry import choose_judged, engine_named
from swinunet.export.gate.bisect import first_drift
from swinunet.export.gate.evidence import Evidence, gather_evidence
from swinunet.export.gate.report import GateError
from swinunet.export.pipeline import Exported, GateOptions, check_version, export_checkpoint, promote
from swinunet.export.repository.served_configs import make_configs
from swinunet.export.repository.version_files import fill_version, read_checkpoint
from swinunet.export.repository.versions import locked
from swinunet.foundation.errors import InputError

OFF_LINE = GateOptions(serve=False)  # Triton has its own tests, in test_gate_served.py
SABOTAGES: list[tuple[Sabotage, str]] = [
    (
        tiny_version.a_weight_off_by_five_percent,
        r"onnxruntime-fp32: largest probability error \S+ at batch 1 \(allowed 0.001\)",
    ),
    (tiny_version.no_shift_mask, r"onnxruntime-fp32: .*error \S+ at batch"),
    (tiny_version.a_swapped_class, r"onnxruntime-fp32: .*error \S+ at batch"),
    (
        tiny_version.weights_kept_in_float16,
        r"onnxruntime-fp32: largest probability error \S+ at batch 1 \(allowed 0.001\)",
    ),
    (tiny_version.right_at_batch_two_only, r"onnxruntime-fp32: .*at batch 1 "),
    (tiny_version.nothing_but_nan, r"100\.0% of the probabilities at batch 1 are not finite"),
    (tiny_version.a_fixed_batch, r"model\.onnx has image FLOAT16 \[2, 3, 32, 32\], its model's spec wants .*batch"),
    (tiny_version.of_another_shape, r"model\.onnx has image FLOAT16 \[batch, 5, 32, 32\]"),
]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cases(tmp_path_factory.mktemp("cases") / "blob")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def graph(proven: Path) -> Path:
    """The right graph; made once, for it takes seconds."""
    return proven / "small" / "1" / "model.onnx"


Fill = Callable[[Path], None]


@pytest.fixture
def promoting(graph: Path, checkpoint: Path, cases: Path):
    """Promotes a version whose graph is the right one after a sabotage. more: what else is done to its folder."""

    def promote_sabotaged(
        repository: Path, version: int, sabotage: Sabotage, options: GateOptions = OFF_LINE, more: Fill | None = None
    ) -> Exported:
        network, spec = read_checkpoint(checkpoint, version)

        def fill(folder: Path, evidence: Evidence) -> None:
            shutil.copyfile(graph, folder / "model.onnx")
            rewrite(folder / "model.onnx", sabotage, spec)
            make_artefacts(folder, (), evidence.calibration)
            fill_version(folder, network, spec, checkpoint)
            if more:
                more(folder)

        evidence = gather_evidence(spec, cases, checkpoint.with_name("split.json"))
        with locked(repository):
            return promote(repository, network, spec, make_configs(spec), evidence, options, fill)

    return promote_sabotaged


@pytest.fixture(scope="module")
def proven(checkpoint: Path, cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a proven version 1, to be copied."""
    repository = tmp_path_factory.mktemp("proven") / "repository"
    export_checkpoint(checkpoint, repository, None, cases, OFF_LINE)
    return repository


@pytest.fixture(scope="module")
def slices(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Two slices of a case."""
    return gather_evidence(SPEC, cases, tmp_path_factory.mktemp("none") / "split.json").slices()[10:12]


@pytest.fixture
def repository(proven: Path, tmp_path: Path) -> Path:
    """A repository with a proven version 1, to be broken."""
    return Path(shutil.copytree(proven, tmp_path / "repository"))


@pytest.mark.parametrize(("sabotage", "says"), SABOTAGES, ids=[each.__name__ for each, _ in SABOTAGES])
def test_a_sabotaged_graph_is_not_promoted(sabotage: Sabotage, says: str, promoting, repository: Path) -> None:
    before = tree(repository)
    with pytest.raises(GateError, match=says) as caught:
        promoting(repository, 2, sabotage)
    assert "small version 2 is not its checkpoint" in str(caught.value)
    assert str(caught.value).endswith("nothing was promoted")
    assert caught.value.report.failed
    assert tree(repository) == before


def test_the_proof_is_kept_with_the_version(repository: Path) -> None:
    version = repository / "small" / "1"
    said = json.loads((version / "gate.json").read_text())
    verdicts = {each["engine"]: each for each in said["verdicts"]}
    for engine in ("onnxruntime-fp32", "openvino-f32"):
        assert verdicts[engine]["status"] == "passed"
        assert [each["batch"] for each in verdicts[engine]["tensors"]] == [1, 3, 8, 16]
        structures = verdicts[engine]["clinic"]["structures"]
        assert [each["name"] for each in structures] == ["above 0.5", "above 1.5"]
        assert all(each["dice_with_checkpoint"] == 1 and each["volume_change_ml"] == 0 for each in structures)
        assert all(each["dice"] is not None and each["dice_change"]["mean"] == 0 for each in structures)
    assert verdicts["served"]["status"] == "not run"
    text = (version / "GATE.md").read_text()
    assert "not proven: served (left out with --no-serve)" in text
    assert "2 labelled cases (no split.json" in text


def test_an_engine_that_need_not_pass_is_left_out_with_its_artefact(promoting, tmp_path: Path) -> None:
    """model_fp16.onnx with float32 weights in it: not what it says. The version itself is right, and is promoted."""

    def with_a_wrong_artefact(folder: Path) -> None:
        shutil.copyfile(folder / "model.onnx", folder / "model_fp16.onnx")

    repository = tmp_path / "repository"
    done = promoting(repository, 1, tiny_version.as_it_is, OFF_LINE, with_a_wrong_artefact)
    assert not (done.folder / "model_fp16.onnx").exists()
    assert (done.folder / "model.onnx").exists()
    said = "onnxruntime-fp16 FAILED: the weights of model_fp16.onnx are FLOAT, expected FLOAT16"
    assert said in done.report.summary()
    asked = GateOptions(engines=("onnxruntime-fp16",), serve=False)
    with pytest.raises(GateError, match="onnxruntime-fp16: the weights of"):
        promoting(repository, 2, tiny_version.as_it_is, asked, with_a_wrong_artefact)
    assert not (done.folder.parent / "2").exists()


def test_check_repeats_the_proof_and_writes_nothing(repository: Path, checkpoint: Path, cases: Path) -> None:
    before = tree(repository)
    assert check_version(repository / "small" / "1", repository, cases, OFF_LINE).passes
    assert check_version(checkpoint, repository, cases, OFF_LINE).passes
    assert tree(repository) == before
    rewrite(repository / "small" / "1" / "model.onnx", tiny_version.of_another_shape)
    with pytest.raises(GateError, match=r"model\.onnx has image FLOAT16 \[batch, 5, 32, 32\].*--rollback"):
        check_version(repository / "small" / "1", repository, cases, OFF_LINE)
    (repository / "small" / "1" / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(GateError, match="not a readable ONNX file"):
        check_version(repository / "small" / "1", repository, cases, OFF_LINE)


def test_a_graph_of_another_checkpoint_is_found_out(repository: Path, cases: Path) -> None:
    rewrite(repository / "small" / "1" / "model.onnx", tiny_version.as_it_is, SPEC)
    with pytest.raises(GateError, match="exported from another checkpoint"):
        check_version(repository / "small" / "1", repository, cases, OFF_LINE)


@pytest.mark.parametrize(
    "wrong", [lambda values: values * np.float32(1.05), lambda values: values * np.float32(np.nan)], ids=["5 %", "NaN"]
)
def test_bisect_names_the_first_layer_that_drifts(graph: Path, slices: np.ndarray, tmp_path: Path, wrong) -> None:
    named: list[str] = []

    def sabotage(model: onnx.ModelProto) -> None:
        weight = tiny_version.deep_weight(model)
        tiny_version.change(weight, wrong)
        named.append(weight.name)
        named.extend(node.name for node in model.graph.node if weight.name in node.input)

    path = Path(shutil.copyfile(graph, tmp_path / "model.onnx"))
    assert first_drift(graph, path, engine_named("onnxruntime-fp32"), slices) is None
    rewrite(path, sabotage)
    weight, node = named
    found = str(first_drift(graph, path, engine_named("onnxruntime-fp32"), slices))
    assert found.startswith(f"first drift in {node} (MatMul")
    assert found.endswith(f"its {weight} differ from the checkpoint's")


def test_check_with_bisect_says_which_layer_is_wrong(repository: Path, cases: Path) -> None:
    """As `--check --bisect` does it, with the graph of the checkpoint exported anew."""
    path = repository / "small" / "1" / "model.onnx"
    rewrite(path, tiny_version.a_weight_off_by_five_percent)
    options = GateOptions(engines=("onnxruntime",), serve=False, bisect=True)
    with pytest.raises(GateError, match=r"fp32: first drift in \S+ \(MatMul, .* differ from the checkpoint"):
        check_version(repository / "small" / "1", repository, cases, options)


def test_engines_that_do_not_exist_are_refused_by_name(checkpoint: Path, repository: Path, cases: Path) -> None:
    with pytest.raises(InputError, match=r"no engine is named 'tensorflow'; choose from onnxruntime, openvino"):
        export_checkpoint(checkpoint, repository, 2, cases, GateOptions(engines=("tensorflow",)))
    with pytest.raises(InputError, match=r"tensorrt was asked for, but model\.plan is not in this version"):
        check_version(checkpoint, repository, cases, GateOptions(engines=("tensorrt",), serve=False))
    with pytest.raises(InputError, match="the CPU config cannot serve 'tensorrt-fp16'"):
        export_checkpoint(checkpoint, repository, 2, cases, OFF_LINE, "tensorrt-fp16")
    assert {row.name for row in choose_judged(["openvino"])} >= {"openvino-f32", "openvino-bf16"}


def test_cases_that_were_trained_on_are_never_judged(tmp_path: Path) -> None:
    data, split = tiny_cases(tmp_path / "blob", 4), tmp_path / "split.json"
    names = [f"case_{index}" for index in range(4)]
    split.write_text(json.dumps({"training": names[:3], "validation": names[3:]}))
    evidence = gather_evidence(SPEC, data, split)
    assert [case.name for case in evidence.cases()] == ["case_3"]
    assert "1 validation cases of split.json" in evidence.description
    split.write_text(json.dumps({"training": names[:2], "validation": ["elsewhere"]}))
    assert [case.name for case in gather_evidence(SPEC, data, split).cases()] == ["case_2", "case_3"]
    split.write_text(json.dumps({"training": names, "validation": ["elsewhere"]}))
    with pytest.raises(InputError, match="all its cases were trained on"):
        gather_evidence(SPEC, data, split)
    split.write_text("{}")
    with pytest.raises(InputError, match=r"no list of training cases in it; expected the split\.json of a run"):
        gather_evidence(SPEC, data, split)
