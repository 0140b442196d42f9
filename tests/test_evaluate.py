"""`swinunet evaluate`: every kind of model on the same cases, the report, comparing two results, and every refusal."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import swinunet.cli
from benchmarks.predictors import checkpoint_predictor, onnx_predictor, open_predictor
from demo.mni152 import HIPPOCAMPUS_BOXES, read_mni152
from imaging import Volume, read_nifti_labels, write_nifti
from serving import TritonServer
from swinunet.errors import InputError, ServerError
from training.dataset import CasePaths
from training.evaluation.compare import compare
from training.evaluation.predictions import FolderPredictor
from training.evaluation.report import summary_table
from training.evaluation.result import Evaluation, read_evaluation
from training.evaluation.run import evaluate
from training.evaluation.selection import select_cases
from training.evaluation.statistics import as_estimate, estimate_means, holm, wilcoxon_p

Run = Callable[..., tuple[int, str, str]]
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
CASES = 12


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`swinunet evaluate ...` as a user runs it, without the price of a process: exit status, output, errors."""

    def evaluate_verb(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["swinunet", "evaluate", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            swinunet.cli.main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return evaluate_verb


def refused(done: tuple[int, str, str], says: str) -> None:
    """One clear line on standard error and status 1."""
    status, _, errors = done
    assert status == 1
    assert says in errors
    assert len(errors.strip().splitlines()) == 1, errors


def write_msd(root: Path, images: list[Volume], labels: list[Volume], names: list[str]) -> Path:
    """A folder in the Decathlon's layout with two classes."""
    for folder, volumes in (("imagesTr", images), ("labelsTr", labels)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name, volume in zip(names, volumes, strict=True):
            write_nifti(volume, root / folder / f"{name}.nii.gz")
    listed = [{part[:5]: f"./{part}Tr/{name}.nii.gz" for part in ("images", "labels")} for name in names]
    listed = [{"image": each["image"], "label": each["label"]} for each in listed]
    said = {"name": "Blocks", "modality": {"0": "MRI"}, "labels": {"0": "background", "1": "left", "2": "right"}}
    (root / "dataset.json").write_text(json.dumps({**said, "training": listed}))
    return root


def blocks(case: int) -> np.ndarray:
    """Reference of a case: two blocks; from case 10 on the second is absent."""
    labels = np.zeros((16, 14, 10), np.uint8)
    labels[2:6, 3 : 8 + case % 3, 2:7] = 1
    if case < 10:
        labels[9 : 12 + case % 2, 3:10, 2:7] = 2
    return labels


@pytest.fixture(scope="module")
def msd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve cases whose images nobody reads."""
    labels = [Volume(blocks(case), AFFINE) for case in range(CASES)]
    images = [Volume(each.voxels.astype(np.float32), AFFINE) for each in labels]
    return write_msd(tmp_path_factory.mktemp("msd"), images, labels, [f"c{case:02}" for case in range(CASES)])


def predictions(folder: Path, change: Callable[[int, np.ndarray], np.ndarray]) -> Path:
    """A folder of label maps: the references, changed. Every other one as `swinunet segment` writes it."""
    for case in range(CASES):
        path = folder / (f"c{case:02}/mask.nii.gz" if case % 2 else f"c{case:02}.nii.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(Volume(change(case, blocks(case)), AFFINE), path)
    return folder


def shifted(case: int, labels: np.ndarray) -> np.ndarray:
    return np.roll(labels, 1 + (case % 4 == 0), axis=1)


def barely_shifted(case: int, labels: np.ndarray) -> np.ndarray:
    return np.roll(labels, case % 2, axis=1)


def failing(case: int, labels: np.ndarray) -> np.ndarray:
    """Case 0 misses class 1; case 11, where class 2 is absent, has some of it."""
    labels = labels.copy()
    if case == 0:
        labels[labels == 1] = 0
    if case == 11:
        labels[10:12, 10:12, 5:7] = 2
    return labels


def judged(msd: Path, folder: Path) -> Evaluation:
    selection = select_cases(msd)
    return evaluate(FolderPredictor(folder, selection.cases), selection, resamples=500)


@pytest.fixture(scope="module")
def brains(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both hippocampi of the MNI152 brain; the reference is what the shipped checkpoint finds, moved by a voxel."""
    root, whole = tmp_path_factory.mktemp("brains"), read_mni152()
    boxes = [np.reshape(HIPPOCAMPUS_BOXES[side], (3, 2)) for side in ("left", "right")]
    images = [whole.crop(whole.box_slices(box[:, 0], box[:, 1])) for box in boxes]
    empty = [Volume(np.zeros(image.shape, np.uint8), image.affine) for image in images]
    write_msd(root, images, empty, ["left", "right"])
    predict = checkpoint_predictor(shipped(repository, "checkpoint.safetensors"))
    found = [predict(case) for case in select_cases(root).cases]
    moved = [Volume(np.roll(each.voxels, 1, axis=2), each.affine) for each in found]
    return write_msd(root, images, moved, ["left", "right"])


def shipped(repository: Path, file: str) -> Path:
    """A file of the newest version of the shipped model."""
    return max(repository.glob(f"*/[0-9]*/{file}"), key=lambda path: int(path.parent.name))


def dice_of(evaluation: Evaluation) -> np.ndarray:
    return np.array([[score.dice for score in case.classes] for case in evaluation.cases], float)


def test_checkpoint_onnx_and_triton_agree(triton: TritonServer, repository: Path, brains: Path, run: Run) -> None:
    """The same model, four ways: PyTorch, ONNX Runtime, Triton, and the masks written to a folder."""
    files = [shipped(repository, name) for name in ("checkpoint.safetensors", "model.onnx")]
    out = brains / "out"
    for name, model in (("checkpoint", files[0]), ("onnx", files[1]), ("served", triton.url)):
        status, said, errors = run(model, brains, "-o", out / name)
        assert status == 0, errors
        assert "evaluation.json, evaluation.md, evaluation.png" in said
        assert "No split was given" in said
    results = {kind: read_evaluation(out / kind / "evaluation.json") for kind in ("checkpoint", "onnx", "served")}
    reference = dice_of(results["checkpoint"])
    assert ((reference > 0.5) & (reference < 1)).all()
    np.testing.assert_allclose(dice_of(results["onnx"]), reference, atol=2e-3)
    np.testing.assert_allclose(dice_of(results["served"]), reference, atol=2e-2)  # OpenVINO may compute in bf16
    for kind, result in results.items():
        assert result.model.kind == kind
        assert result.model.spec is not None
        assert result.model.name == result.model.spec["name"]
        assert len(result.model.sha256) == 64


def test_a_model_by_name_and_one_that_is_not_there(triton: TritonServer, brains: Path) -> None:
    cases = select_cases(brains).cases
    with open_predictor(triton.url, cases) as plain, open_predictor(f"{triton.url}/{plain.identity.name}", cases) as it:
        assert it.identity.name == plain.identity.name
    with (
        pytest.raises(ServerError, match="has no model liver that is ready"),
        open_predictor(f"{triton.url}/liver", ()),
    ):
        pass


def test_the_report_counts_misses_and_leaves_out_what_is_absent(msd: Path, tmp_path: Path, run: Run) -> None:
    status, said, errors = run(predictions(tmp_path / "p", failing), msd, "-o", tmp_path / "out", "--seed", 3)
    assert status == 0, errors
    assert "left" in said
    found = read_evaluation(tmp_path / "out" / "evaluation.json")
    left, right = found.classes
    assert (left.scored, left.absent, left.missed, left.false_positives) == (12, 0, 1, 0)
    assert (right.scored, right.absent, right.missed, right.false_positives) == (11, 1, 0, 1)
    diagonal = float(np.hypot(np.hypot(16, 14), 20))
    for each, scored in ((left, 12), (right, 11)):
        assert each.metrics["dice"].mean == pytest.approx((scored - 1) / scored)
        assert each.metrics["hd95_mm"].mean == pytest.approx(diagonal / scored)
        low, high = each.metrics["dice"].low, each.metrics["dice"].high
        assert low is not None
        assert high is not None
        assert low < (scored - 1) / scored < high <= 1
    assert found.mean["dice"].mean == pytest.approx((11 / 12 + 10 / 11) / 2)
    assert (found.seed, found.model.kind, found.software.split()[0]) == (3, "predictions", "swinunet")
    markdown = (tmp_path / "out" / "evaluation.md").read_text()
    assert "| left | 0.917 (" in markdown
    assert (tmp_path / "out" / "evaluation.png").read_bytes().startswith(b"\x89PNG")


def test_perfect_predictions_are_perfect(msd: Path, tmp_path: Path) -> None:
    found = judged(msd, predictions(tmp_path, lambda case, labels: labels))
    assert summary_table(found).rows[-1][:4] == (
        "mean",
        "1.000 (1.000 to 1.000)",
        "0.00 (0.00 to 0.00)",
        "1.000 (1.000 to 1.000)",
    )


def test_split_part_and_cases(msd: Path, tmp_path: Path, run: Run) -> None:
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"training": ["c00", "c01", "c02"], "validation": ["c05", "c07"]}))
    masks = predictions(tmp_path / "p", shifted)
    for arguments, expected in (
        ((), ["c05", "c07"]),
        (("--part", "training"), ["c00", "c01", "c02"]),
        (("--part", "training", "--cases", "c02,c00"), ["c00", "c02"]),
        (("--cases", "c07"), ["c07"]),
    ):
        status, said, errors = run(masks, msd, "-o", tmp_path / "out", "--split", split, *arguments)
        assert status == 0, errors
        found = read_evaluation(tmp_path / "out" / "evaluation.json")
        assert [case.case for case in found.cases] == expected
        assert found.split is not None
        assert ("was trained on" in said) == (found.split.part == "training")
    single = found.classes[0].metrics["dice"]
    assert single.mean is not None
    assert single.low is None  # one case has no interval


def test_a_real_difference_is_told_from_none(msd: Path, tmp_path: Path, run: Run) -> None:
    paths = {}
    for name, change in (("far", shifted), ("near", barely_shifted)):
        paths[name] = tmp_path / f"{name}.json"
        paths[name].write_text(judged(msd, predictions(tmp_path / name, change)).to_json())
    status, said, _ = run("--compare", paths["far"], paths["near"], "-o", tmp_path / "out")
    assert status == 0
    assert "B is better than A, and the difference is real: mean Dice +" in said
    assert "12 common cases" in said
    assert "B is better" in (tmp_path / "out" / "comparison.md").read_text()
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["rows"][0]["real"] is True
    assert "B is worse than A" in run("--compare", paths["near"], paths["far"])[1]
    assert "the same Dice on every one of the 12 common cases" in run("--compare", paths["near"], paths["near"])[1]


def test_chance_is_not_called_a_difference(msd: Path, tmp_path: Path) -> None:
    """Half the cases a little better, half a little worse."""
    one = judged(msd, predictions(tmp_path / "a", lambda case, x: np.roll(x, case % 2, axis=1)))
    other = judged(msd, predictions(tmp_path / "b", lambda case, x: np.roll(x, (case + 1) % 2, axis=1)))
    found = compare(one, other)
    assert found.sentence.startswith("No real difference can be shown")
    assert not any(row.real for row in found.rows)
    few = dataclasses.replace(one, cases=one.cases[:4])
    assert compare(few, other).sentence.startswith("Too few common cases (4)")
    assert compare(few, other).left_out == 8


def test_a_false_positive_counts_against_the_one_who_made_it(msd: Path, tmp_path: Path) -> None:
    """Case 11 has no class 2: A sees none, B invents some; A's correct silence counts as perfect."""
    good = judged(msd, predictions(tmp_path / "a", lambda case, labels: labels))
    bad = judged(msd, predictions(tmp_path / "b", failing))
    row = next(row for row in compare(good, bad).rows if (row.metric, row.structure) == ("dice", "right"))
    assert row.difference.mean == pytest.approx(-1 / 11)


def test_bootstrap_covers_the_mean_as_often_as_it_says() -> None:
    """Of 200 samples of 40, about 95 % of the intervals hold the true mean."""
    random = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        by_column, _ = estimate_means(random.normal(0.8, 0.1, (40, 1, 1)), seed, resamples=400)
        estimate = as_estimate(by_column[0, 0])
        assert estimate.low is not None
        assert estimate.high is not None
        held += estimate.low <= 0.8 <= estimate.high
    assert 180 <= held <= 198


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).random((20, 2, 3))
    np.testing.assert_array_equal(estimate_means(values, 1, 100)[0], estimate_means(values, 1, 100)[0])
    assert not np.array_equal(estimate_means(values, 1, 100)[0], estimate_means(values, 2, 100)[0])


def test_paired_tests_by_hand() -> None:
    assert wilcoxon_p(np.arange(1.0, 7.0)) == pytest.approx(2 / 2**6)  # all of one sign: 2 of the 2**6 sign patterns
    assert wilcoxon_p(np.array([0.0, np.nan, 0.0])) == 1.0
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def changed(msd: Path, root: Path, **said: object) -> Path:
    """A copy of the folder whose dataset.json says something else."""
    shutil.copytree(msd, root)
    index = root / "dataset.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | said))
    return root


def test_data_that_cannot_be_judged_on(msd: Path, tmp_path: Path, run: Run) -> None:
    masks, out = predictions(tmp_path / "p", shifted), tmp_path / "out"
    refused(run(masks, changed(msd, tmp_path / "a", training=[]), "-o", out), "no labelled case in it")
    refused(run(masks, tmp_path / "nowhere", "-o", out), "no dataset.json")
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
    refused(run("localhost:1", msd, "-o", out), "no Triton answers at localhost:1")


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


def test_the_result_reads_back_whole(msd: Path, tmp_path: Path) -> None:
    result = judged(msd, predictions(tmp_path / "p", failing))
    (tmp_path / "a.json").write_text(result.to_json())
    assert read_evaluation(tmp_path / "a.json") == result


def test_labels_of_the_native_grid_come_back(repository: Path, brains: Path) -> None:
    """The predictor's map is what the reference was made of: the way back is exact."""
    case: CasePaths = select_cases(brains).cases[0]
    found = checkpoint_predictor(shipped(repository, "checkpoint.safetensors"))(case)
    np.testing.assert_array_equal(np.roll(found.voxels, 1, axis=2), read_nifti_labels(case.labels).voxels)
