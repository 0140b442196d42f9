"""`swinunet evaluate`: every kind of model on the same cases, the report, and comparing two results."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from evaluated_cases import (
    Run,
    barely_shifted,
    failing,
    judged,
    predictions,
    shifted,
    shipped,
    verb_runner,
    write_blocks,
    write_msd,
)
from shipped_model import SHIPPED

from swinunet.client import TritonModel, load_input, output_folders, run_job
from swinunet.evaluation.compare import compare
from swinunet.evaluation.predictors import checkpoint_predictor, open_predictor
from swinunet.evaluation.report import summary_table
from swinunet.evaluation.result import Evaluation, read_evaluation
from swinunet.evaluation.selection import select_cases
from swinunet.foundation.errors import ServerError
from swinunet.imaging import Volume, read_nifti_labels
from swinunet.samples.mni152 import HIPPOCAMPUS_BOXES, read_mni152
from swinunet.serving import TritonServer
from swinunet.training.data.cases import CasePaths
from swinunet.training.metrics.statistics import as_estimate, estimate_means, holm, wilcoxon_p

KINDS = ("checkpoint", "onnx", "served", "predictions")


@pytest.fixture(scope="module")
def msd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve labelled cases."""
    return write_blocks(tmp_path_factory.mktemp("msd"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`swinunet evaluate ...`: exit status, output, errors."""
    return verb_runner(monkeypatch, capsys)


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


def dice_of(evaluation: Evaluation) -> np.ndarray:
    return np.array([[score.dice for score in case.classes] for case in evaluation.cases], float)


def test_checkpoint_onnx_and_triton_agree(triton: TritonServer, repository: Path, brains: Path, run: Run) -> None:
    """The same model, four ways: PyTorch, ONNX Runtime, Triton, and the masks that `swinunet segment` writes."""
    files = [shipped(repository, name) for name in ("checkpoint.safetensors", "model.onnx")]
    out = brains / "out"
    with TritonModel(triton.url, SHIPPED) as model:
        for case in select_cases(brains).cases:
            run_job(load_input(case.image, model.spec), output_folders([case.image], brains / "masks", True)[0], model)
    sources = (files[0], files[1], f"{triton.url}/{SHIPPED}", brains / "masks")
    for name, source in zip(KINDS, sources, strict=True):
        status, said, errors = run(source, brains, "-o", out / name)
        assert status == 0, errors
        assert "evaluation.json, evaluation.md, evaluation.png, evaluation.html" in said
        assert ("No split was given" in said) == (name != "predictions")
    results = {kind: read_evaluation(out / kind / "evaluation.json") for kind in KINDS}
    reference = dice_of(results["checkpoint"])
    assert ((reference > 0.5) & (reference < 1)).all()
    np.testing.assert_allclose(dice_of(results["onnx"]), reference, atol=2e-3)
    np.testing.assert_allclose(dice_of(results["served"]), reference, atol=2e-2)  # OpenVINO may compute in bf16
    np.testing.assert_array_equal(dice_of(results["predictions"]), dice_of(results["served"]))
    for kind, result in results.items():
        assert result.model.kind == kind
        assert len(result.model.sha256) == 64
        assert result.model.name == (result.model.spec["name"] if result.model.spec else "masks")


def test_a_model_by_name_and_one_that_is_not_there(triton: TritonServer, brains: Path) -> None:
    cases = select_cases(brains).cases
    with open_predictor(f"{triton.url}/{SHIPPED}", cases) as named:
        assert named.identity.name == SHIPPED
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
        status, said, errors = run(masks, msd, "-o", tmp_path / "out", "--split", split, "--overwrite", *arguments)
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


def test_the_result_reads_back_whole(msd: Path, tmp_path: Path) -> None:
    result = judged(msd, predictions(tmp_path / "p", failing))
    (tmp_path / "a.json").write_text(result.to_json())
    assert read_evaluation(tmp_path / "a.json") == result


def test_labels_of_the_native_grid_come_back(repository: Path, brains: Path) -> None:
    """The predictor's map is what the reference was made of: the way back is exact."""
    case: CasePaths = select_cases(brains).cases[0]
    found = checkpoint_predictor(shipped(repository, "checkpoint.safetensors"))(case)
    np.testing.assert_array_equal(np.roll(found.voxels, 1, axis=2), read_nifti_labels(case.labels).voxels)
