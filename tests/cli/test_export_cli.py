"""`swinunet export` as it is typed: what cannot be done is one clear line, and nothing is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_line import run_swinunet
from small_model import write_small_repository
from tiny_version import tiny_checkpoint, tree

RESTART = (
    "a server that runs already serves what it did before until it is started again (swinunet serve --poll does so)"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("CHECKPOINT --engine tensorflow", "no engine is named 'tensorflow'; choose from onnxruntime, openvino"),
        ("CHECKPOINT --serve-with pytorch", "the CPU config cannot serve 'pytorch'; choose one of onnxruntime-fp32"),
        ("CHECKPOINT --repository PLACE/file", "file: cannot write (File exists); choose another one"),
        ("CHECKPOINT --repository PLACE/new --data PLACE/none", "none: no such file or folder"),
        ("CHECKPOINT --repository PLACE/new --report PLACE/file", "file"),
        ("PLACE/file --repository PLACE/new", "file: "),
        ("--no-serve", "no checkpoint was given"),
        ("--check --rollback", "--check and --rollback are jobs of their own; give one of them"),
        ("--configs --renew", "--renew and --configs are jobs of their own; give one of them"),
        ("CHECKPOINT --check --version 2", "--version is of a new version; leave it out with --check"),
        ("--configs --version 2", "--version is of a new version"),
        ("--rollback --serve-with openvino-f32", "--serve-with is of a config; leave it out with --rollback"),
        ("--configs --repository PLACE/models", "models has no model with a config.pbtxt; export one first"),
        ("--configs large --repository PLACE/models", "models has no model 'large' with a config.pbtxt"),
        ("CHECKPOINT --check --spec spec.json", "--spec is of a new version; leave it out with --check"),
        ("CHECKPOINT --check --repository PLACE/models", "was exported from this checkpoint; export it first"),
        ("CHECKPOINT --renew --serve-with openvino-f32", "--serve-with is of a config; leave it out with --renew"),
        ("PLACE/models/small --renew", "models/small: no model version; expected a folder with model.onnx"),
        ("PLACE/models/small --check", "models/small: no model version; expected a folder with model.onnx"),
        ("--rollback --repository PLACE/file", "file: no model repository"),
        ("--rollback --repository PLACE/models", "models: no model repository; expected <model>/configs/cpu.pbtxt"),
    ],
)
def test_bad_input_is_one_clear_line(
    typed: str,
    says: str,
    checkpoint: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("junk")
    (tmp_path / "models" / "small" / "notes").mkdir(parents=True)
    before = tree(tmp_path)
    words = [word.replace("PLACE", str(tmp_path)).replace("CHECKPOINT", str(checkpoint)) for word in typed.split()]
    status, out, err = run_swinunet(capfd, monkeypatch, "export", *words)
    assert (status, out) == (1, "")
    assert says in err
    assert err.count("\n") == 1
    assert tree(tmp_path) == before


@pytest.mark.parametrize("job", ["--configs", "--rollback"])
def test_what_changes_a_repository_says_that_a_running_server_must_be_started_again(
    job: str, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_small_repository(tmp_path) / "small"
    (model / "1" / "checkpoint.safetensors").write_bytes(checkpoint.read_bytes())
    if job == "--rollback":
        shutil.copytree(model / "1", model / "2")
    status, out, _ = run_swinunet(capfd, monkeypatch, "export", job, "small", "--repository", tmp_path)
    assert (status, " ".join(out.split()).endswith(RESTART)) == (0, True), out
