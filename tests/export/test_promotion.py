"""A version reaches the repository whole or not at all, and leaves it without loss, whatever happens meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_model import SMALL_SPEC, write_small_repository
from tiny_version import tiny_cases, tiny_checkpoint, tree

from swinunet.export.pipeline import GateOptions, export_checkpoint
from swinunet.export.repository.served_configs import make_configs, read_configs
from swinunet.export.repository.version_files import read_checkpoint
from swinunet.export.repository.versions import locked, roll_back, staged_version, version_folder, versions
from swinunet.foundation.errors import InputError, OutputError
from swinunet.serving import TritonServer

OFF_LINE = GateOptions(serve=False)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("run"))


@pytest.fixture
def repository(tmp_path: Path, checkpoint: Path) -> Path:
    """Versions 1 and 2 of a model, promoted in turn; of the files of a version only those that matter here."""
    for version in (1, 2):
        promote(tmp_path / "repository", checkpoint, version)
    return tmp_path / "repository"


def promote(repository: Path, checkpoint: Path, version: int) -> None:
    _, spec = read_checkpoint(checkpoint, version)
    with locked(repository), staged_version(repository, spec, make_configs(spec)) as folder:
        shutil.copyfile(checkpoint, folder / "checkpoint.safetensors")
        (folder / "model.onnx").touch()


def serving(repository: Path) -> list[int]:
    """Versions that the CPU config serves."""
    found = [version for version in (1, 2, 3) if read_configs(repository / "small", version) is not None]
    assert f'\\"version\\":{found[0]}' in (repository / "small" / "configs" / "cpu.pbtxt").read_text()
    return found


def test_the_configs_serve_the_version_that_came_last(repository: Path) -> None:
    assert serving(repository) == [2]
    assert (repository / "small" / "1").is_dir()


def test_rollback_takes_the_last_version_out_and_loses_nothing(repository: Path, checkpoint: Path) -> None:
    taken, first = tree(repository / "small" / "2"), tree(repository / "small" / "1")
    done = roll_back(repository, None)
    assert (done.model, done.version, done.serving) == ("small", 2, 1)
    assert tree(done.kept) == taken
    assert tree(repository / "small" / "1") == first
    assert serving(repository) == [1]
    assert not (repository / "small" / "2").exists()
    promote(repository, checkpoint, 2)
    assert serving(repository) == [2]
    assert roll_back(repository, "small").kept != done.kept
    with pytest.raises(InputError, match="version 1 is its only one, nothing would be left to serve; it stays"):
        roll_back(repository, None)
    assert serving(repository) == [1]


def test_rollback_of_a_model_that_is_not_there(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no model 'large' \(there is: small\)"):
        roll_back(repository, "large")
    with pytest.raises(InputError, match="no model repository; expected"):
        roll_back(tmp_path / "nothing", None)


def test_a_block_that_fails_leaves_what_was_there(repository: Path, checkpoint: Path) -> None:
    before = tree(repository)
    _, spec = read_checkpoint(checkpoint, 3)
    with pytest.raises(FileNotFoundError), staged_version(repository, spec, make_configs(spec)) as folder:
        shutil.copyfile(repository / "none", folder / "model.onnx")
    assert tree(repository) == before
    assert {path.name for path in (repository / "small").iterdir()} == {"1", "2", "config.pbtxt", "configs"}


def test_a_repository_that_is_a_volume_of_its_own(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swinunet.export.repository.versions._can_rename_from_beside", lambda repository: False)
    _, spec = read_checkpoint(checkpoint, None)
    with pytest.raises(FileNotFoundError), staged_version(made(tmp_path), spec, make_configs(spec)):
        shutil.copyfile(tmp_path / "none", tmp_path / "model.onnx")
    assert not list(made(tmp_path).iterdir())
    promote(made(tmp_path), checkpoint, 1)
    assert serving(made(tmp_path)) == [1]


def made(folder: Path) -> Path:
    (folder / "volume").mkdir(exist_ok=True)
    return folder / "volume"


def test_the_first_version_of_a_model_comes_with_its_configs(repository: Path, checkpoint: Path) -> None:
    """Triton stops at a folder without a config, so there must never be one, not even while an export is at work."""
    _, spec = read_checkpoint(checkpoint, None)
    other = SMALL_SPEC.__class__(**{**vars(spec), "name": "other"})
    with staged_version(repository, other, make_configs(other)) as folder:
        assert [path.name for path in repository.iterdir()] == ["small"]
        (folder / "model.onnx").touch()
    assert set(tree(repository / "other")) == {
        "config.pbtxt",
        "1/model.onnx",
        *(f"configs/{name}.pbtxt" for name in ("cpu", "openvino", "tensorrt")),
    }
    assert [path.name for path in repository.parent.iterdir()] == ["repository"]


def test_what_a_killed_run_left_is_cleared_away(repository: Path) -> None:
    before = tree(repository)
    left = [
        repository / "small" / ".3.abcd" / "model.onnx",
        repository / "small" / ".123.config.pbtxt",
        repository / "small" / "configs" / ".123.cpu.pbtxt",
        repository.parent / ".repository.abcd.export" / "1" / "model.onnx",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    kept = repository / "small" / ".withdrawn-3"
    kept.mkdir()
    with locked(repository):
        assert not any(path.exists() for path in left)
    assert tree(repository) == before
    assert kept.is_dir()


def test_a_version_that_git_took_away_is_none(repository: Path, checkpoint: Path) -> None:
    """Python's cache of its model.py stays behind when a checkout removes a version."""
    for name in ("2", "3"):
        (repository / "small" / name / "__pycache__").mkdir(parents=True)
        (repository / "small" / name / "__pycache__" / "model.cpython-311.pyc").touch()
    assert versions(repository / "small") == [1, 2]
    with pytest.raises(OutputError, match=r"--version 3\)"), locked(repository):
        version_folder(repository, read_checkpoint(checkpoint, 2)[1])
    promote(repository, checkpoint, 3)
    assert roll_back(repository, None).version == 3
    for path in (repository / "small" / "2").glob("*.*"):
        path.unlink()
    with pytest.raises(InputError, match="version 1 is its only one"):
        roll_back(repository, None)
    with locked(repository):
        assert not (repository / "small" / "2").exists()


def test_two_exports_at_once_one_is_refused(repository: Path, checkpoint: Path) -> None:
    before = tree(repository)
    with locked(repository), pytest.raises(OutputError, match="another export is at work in it"):
        export_checkpoint(checkpoint, repository, 3, None, OFF_LINE)
    assert tree(repository) == before
    with locked(repository):
        assert version_folder(repository, read_checkpoint(checkpoint, 3)[1]).name == "3"


def test_an_export_that_is_killed_changes_nothing(repository: Path, checkpoint: Path, tmp_path: Path) -> None:
    before, model = tree(repository), repository / "small"
    data = tiny_cases(tmp_path / "blob")
    options = ["--repository", str(repository), "--version", "3", "--data", str(data), "--no-serve"]
    process = subprocess.Popen([sys.executable, "-m", "swinunet", "export", str(checkpoint), *options])
    try:
        wait_for(lambda: any(model.glob(".3.*")) or process.poll() is not None)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.wait()
    left = [path.name for path in model.glob(".3.*")]
    assert len(left) == 1
    assert {name: content for name, content in tree(repository).items() if left[0] not in name} == before
    assert serving(repository) == [2]
    with locked(repository):
        assert tree(repository) == before


def wait_for(condition) -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_repository_that_cannot_be_written(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/swinunet")):
        with pytest.raises(OutputError, match="cannot write"):
            export_checkpoint(checkpoint, place, None, None, OFF_LINE)


@pytest.mark.usefixtures("tritonserver", "nothing_left")
def test_triton_serves_the_named_version_whatever_lies_beside_it(tmp_path: Path) -> None:
    """A newer version whose configs were never written, and what killed and withdrawn versions leave."""
    model = write_small_repository(tmp_path / "repository") / "small"
    for name in ("2", ".3.abcd", ".withdrawn-4"):
        shutil.copytree(model / "1", model / name)
    with TritonServer(model.parent) as server:
        assert [(found.name, found.version, found.state) for found in server.models] == [("small", "1", "READY")]
