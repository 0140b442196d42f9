"""What `swinunet evaluate` refuses: one clear line for each."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from evaluated_cases import (
    AFFINE,
    Run,
    blocks,
    judged,
    predictions,
    refused,
    shifted,
    shipped,
    verb_runner,
    write_blocks,
)

from swinunet.evaluation.predictors import onnx_predictor
from swinunet.evaluation.run import evaluate
from swinunet.evaluation.selection import select_cases
from swinunet.foundation.errors import InputError, ServerError
from swinunet.imaging import Volume, write_nifti


@pytest.fixture(scope="module")
def msd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve labelled cases."""
    return write_blocks(tmp_path_factory.mktemp("msd"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`swinunet evaluate ...`: exit status, output, errors."""
    return verb_runner(monkeypatch, capsys)


def changed(msd: Path, root: Path, **said: object) -> Path:
    """A copy of the folder whose dataset.json says something else."""
    shutil.copytree(msd, root)
    index = root / "dataset.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | said))
    return root


def test_data_that_cannot_be_judged_on(msd: Path, tmp_path: Path, run: Run) -> None:
    masks, out = predictions(tmp_path / "p", shifted), tmp_path / "out"
    refused(run(masks, changed(msd, tmp_path / "a", training=[]), "-o", out), "no labelled case in it")
    refused(run(masks, tmp_path / "nowhere", "-o", out), "nowhere: no such folder; expected one with dataset.json")
    fewer = changed(msd, tmp_path / "b", labels={"0": "background", "1": "left"})
    refused(run(masks, fewer, "-o", out), "c00: the reference has label 2, the model knows 0..1")
    halves = changed(msd, tmp_path / "c")
    write_nifti(Volume(blocks(0) + np.float32(0.5), AFFINE), halves / "labelsTr" / "c00.nii.gz")
    refused(run(masks, halves, "-o", out), "c00.nii.gz: labels must be whole numbers")
    assert not list(out.glob("*"))


def test_predictions_that_cannot_be_judged(msd: Path, tmp_path: Path, run: Run) -> None:
    masks, out = predictions(tmp_path / "p", shifted), tmp_path / "out"
    alien = predictions(tmp_path / "alien", lambda case, x: np.where((x == 1) & (case == 3), 8, x).astype(np.uint8))
    refused(run(alien, msd, "-o", out), "c03: the prediction has label 8, the model knows 0..2")
    write_nifti(Volume(blocks(2), AFFINE * 1.5), masks / "c02.nii.gz")
    refused(run(masks, msd, "-o", out), "c02: the prediction's grid")
    (masks / "c02.nii.gz").write_text("no NIfTI")
    refused(run(masks, msd, "-o", out), "c02.nii.gz: not a readable NIfTI")
    (masks / "c02.nii.gz").unlink()
    refused(run(masks, msd, "-o", out), "no prediction for 1 of 12 cases, the first is c02; expected c02.nii.gz or")


def test_choices_that_are_not_there(msd: Path, tmp_path: Path, run: Run) -> None:
    masks, out, split = predictions(tmp_path / "p", shifted), tmp_path / "out", tmp_path / "split.json"
    refused(run(masks, msd, "-o", out, "--cases", "c01,c99"), f"--cases names 'c99'; {msd} has c00, c01")
    refused(run(masks, msd, "-o", out, "--cases", ","), "--cases names no case")
    refused(run(masks, msd, "-o", out, "--split", split), "cannot read (No such file or directory)")
    for text in ("{", "[]", '{"training": ["c00"]}', '{"validation": []}', '{"validation": [1]}'):
        split.write_text(text)
        refused(run(masks, msd, "-o", out, "--split", split), "no list of validation cases in it")
    split.write_text('{"validation": ["c00", "other"]}')
    refused(run(masks, msd, "-o", out, "--split", split), "split.json names 'other'")
    split.write_text('{"validation": ["c00"]}')
    refused(run(masks, msd, "-o", out, "--split", split, "--cases", "c01"), "--cases names 'c01'; the 1 validation")
    refused(run(masks, msd), "add -o FOLDER")
    (tmp_path / "file").touch()
    refused(run(masks, msd, "-o", tmp_path / "file" / "out"), "cannot write (Not a directory)")


def test_models_that_are_none(msd: Path, repository: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    refused(run(tmp_path / "model.pt", msd, "-o", out), "expected a checkpoint (.safetensors), an ONNX file (.onnx)")
    refused(run(tmp_path / "no.safetensors", msd, "-o", out), "no.safetensors: no such file")
    refused(run(tmp_path / "no.onnx", msd, "-o", out), "no.onnx: no such file")
    (tmp_path / "text.onnx").write_text("hello")
    refused(run(tmp_path / "text.onnx", msd, "-o", out), "not a readable ONNX file")
    version = shipped(repository, "model.onnx").parent
    refused(run(version, msd, "-o", out), f"not with predictions; give {version / 'checkpoint.safetensors'}")
    refused(run("localhost:1", msd, "-o", out), "no Triton answers at localhost:1; start one with `swinunet serve`\n")


def test_advice_names_what_evaluate_has(monkeypatch: pytest.MonkeyPatch, msd: Path, tmp_path: Path, run: Run) -> None:
    """Every option that a message of the client or of ours names is one of this verb's."""
    for failure in (
        "Triton at localhost:1 has several models of ours (a, b); choose one with --model",
        "no Triton answers at localhost:1; start one with `swinunet serve`, or omit --url to start one here "
        "(and give --tls if, and only if, the server speaks TLS)",
    ):

        def refuse(*_: object, said: str = failure) -> None:
            raise ServerError(said)

        monkeypatch.setattr("swinunet.client.TritonModel", refuse)
        status, _, errors = run("localhost:1", msd, "-o", tmp_path / "out")
        assert status == 1
        assert "--" not in errors
        assert "HOST:PORT/MODEL" in errors or "swinunet serve" in errors


def test_a_report_is_written_over_only_when_asked(msd: Path, tmp_path: Path, run: Run) -> None:
    masks, out = predictions(tmp_path / "p", shifted), tmp_path / "out"
    assert run(masks, msd, "-o", out)[0] == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    refused(
        run(masks, msd, "-o", out, "--cases", "c00"),
        "evaluation.json, evaluation.md, evaluation.png, evaluation.html there already",
    )
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert run(masks, msd, "-o", out, "--cases", "c00", "--overwrite")[0] == 0
    assert (out / "evaluation.json").read_bytes() != before["evaluation.json"]
    result = out / "evaluation.json"
    assert run("--compare", result, result, "-o", out)[0] == 0
    refused(run("--compare", result, result, "-o", out), "comparison.json, comparison.md there already")
    assert run("--compare", result, result, "-o", out, "--overwrite")[0] == 0


def test_a_model_of_other_labels(msd: Path, repository: Path, tmp_path: Path) -> None:
    three = {"0": "background", "1": "left", "2": "right", "3": "both"}
    selection = select_cases(changed(msd, tmp_path / "data", labels=three))
    with pytest.raises(InputError, match=r"knows 2 labels .* Blocks has 3 \(left, right, both\)"):
        evaluate(onnx_predictor(shipped(repository, "model.onnx")), selection)


def test_a_case_that_cannot_be_preprocessed_is_named(msd: Path, repository: Path, tmp_path: Path) -> None:
    data = changed(msd, tmp_path / "data")
    write_nifti(Volume(np.ones((16, 14, 10), np.float32), AFFINE), data / "imagesTr" / "c00.nii.gz")
    with pytest.raises(InputError, match="c00: the image is constant"):
        evaluate(onnx_predictor(shipped(repository, "model.onnx")), select_cases(data))


def test_results_that_cannot_be_compared(msd: Path, tmp_path: Path, run: Run) -> None:
    result = judged(msd, predictions(tmp_path / "p", shifted))
    path, other = tmp_path / "a.json", tmp_path / "b.json"
    path.write_text(result.to_json())
    refused(run("--compare", path, other), "b.json: cannot read (No such file or directory)")
    for text in ("hello", "{}", json.dumps({"format": "other"}), result.to_json()[:300]):
        other.write_text(text)
        refused(run("--compare", path, other), "b.json: no result of `swinunet evaluate`")
    renamed = [dataclasses.replace(case, case=f"d{case.case}") for case in result.cases]
    other.write_text(dataclasses.replace(result, cases=tuple(renamed)).to_json())
    refused(run("--compare", path, other), "the two results have no case in common (A has c00, ...; B has dc00, ...)")
    fewer = [dataclasses.replace(case, classes=case.classes[:1]) for case in result.cases]
    other.write_text(dataclasses.replace(result, cases=tuple(fewer), classes=result.classes[:1]).to_json())
    refused(run("--compare", path, other), "A has 2 structures, B 1")
    regrown = dataclasses.replace(result.cases[0].classes[0], reference_ml=9.0)
    first = dataclasses.replace(result.cases[0], classes=(regrown, result.cases[0].classes[1]))
    other.write_text(dataclasses.replace(result, cases=(first, *result.cases[1:])).to_json())
    refused(run("--compare", path, other), "c00: A and B were judged against different references")
    refused(run("--compare", path, path, "--cases", "c00"), "--compare takes two evaluation.json")
