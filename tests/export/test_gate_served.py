"""The gate's served half: a real Triton on the very version, asked over gRPC."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from answering_server import answering_server
from small_model import small_images
from tiny_version import tiny_cases, tiny_checkpoint, tree

from swinunet import serving
from swinunet.export.gate.report import GateError
from swinunet.export.gate.served import infer
from swinunet.export.pipeline import GateOptions, check_version, export_checkpoint
from swinunet.foundation.errors import ParityError
from swinunet.serving.canary import connect

OPTIONS = GateOptions(engines=("onnxruntime-fp32",))
SWAPPED_LABELS = "np.array([0, 2, 1], np.uint8)[array] if name == 'labels' else array"
SWAPPED_PROBABILITIES = "np.ascontiguousarray(array[:, ::-1]) if name == 'probabilities' else array"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cases(tmp_path_factory.mktemp("cases") / "blob")


@pytest.fixture(scope="module")
def proven(tritonserver: object, cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a version that passed the whole gate, to be copied."""
    folder = tmp_path_factory.mktemp("proven")
    done = export_checkpoint(tiny_checkpoint(folder / "run"), folder / "repository", None, cases, OPTIONS)
    (verdict,) = [verdict for verdict in done.report.verdicts if verdict.engine == "served"]
    assert verdict.status == "passed"
    assert done.report.summary()[0] == "All that were judged passed: onnxruntime-fp32, served."
    assert [each.batch for each in verdict.tensors] == [1, 3, 8, 16]
    rows = {name: figures for name, *figures in done.report.overview().rows}
    assert rows["served"][0] == "passed"
    assert rows["served"][2:] == ["+0.0000", "0.000", "0.0000"]
    assert verdict.masks is not None
    assert verdict.masks.flipped == 0
    assert not list(done.folder.rglob("__pycache__"))
    return folder / "repository"


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("sabotage", "says"),
    [
        (SWAPPED_LABELS, r"served: model small version 1 fails its canary: .*of all labels"),
        (SWAPPED_PROBABILITIES, r"served: largest probability error \S+ at batch 1 \(allowed 0.001\)"),
    ],
    ids=["labels", "probabilities"],
)
def test_a_sabotaged_model_py_is_caught(proven: Path, cases: Path, tmp_path: Path, sabotage: str, says: str) -> None:
    """The graph is right; what Triton sends is not. The canary knows labels only."""
    repository = Path(shutil.copytree(proven, tmp_path / "repository"))
    model = repository / "small" / "1" / "model.py"
    swap = f"\n_right = _to_tensor\n\n\ndef _to_tensor(name, array):\n    return _right(name, {sabotage})\n"
    model.write_text(model.read_text() + swap)
    before = tree(repository)
    with pytest.raises(GateError, match=says):
        check_version(model.parent, repository, cases, OPTIONS)
    assert tree(repository) == before


def test_an_answer_of_another_version_is_refused() -> None:
    image, labels = small_images(3), np.ones((3, 32, 32), np.uint8)
    with answering_server(labels, "2") as url, connect(url) as client:
        with pytest.raises(ParityError, match="version 2 of small answered for version 1"):
            infer(client, "small", 1, image)
        found = infer(client, "small", 2, image)
    np.testing.assert_array_equal(found.labels, labels)
    assert (found.probabilities.dtype, found.probabilities.shape) == (np.float16, (3, 1, 32, 32))


def test_without_triton_the_report_says_what_is_not_proven(
    proven: Path, cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> None:
        raise serving.ServingError("tritonserver is not installed")

    monkeypatch.setattr(serving, "find_tritonserver", nowhere)
    report = check_version(proven / "small" / "1", proven, cases, OPTIONS)
    assert report.passes
    assert "not proven: served (tritonserver is not installed)" in report.summary()
    assert "passed:" not in report.markdown()
