"""`serve` while the repository changes: a new version, or one that is taken out, is said, and with --poll served."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from server_traces import traces
from small_model import SMALL_SPEC

from swinunet.cli.verbs.serve import _take_up
from swinunet.export.repository.triton_config import cpu_config
from swinunet.export.repository.versions import roll_back
from swinunet.serving import ServingError, TritonServer
from swinunet.training.network.checkpoint import save_checkpoint
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet

COMMAND = [sys.executable, "-c", "from swinunet.cli import main; main()", "serve", "--check-every", "0.2"]


def add_version(repository: Path, number: int) -> None:
    """What export does last: the version's folder, then the config that names it."""
    model = repository / "small"
    shutil.copytree(model / "1", model / str(number))
    write_config(repository, number)


def write_config(repository: Path, number: int) -> None:
    text = cpu_config(dataclasses.replace(SMALL_SPEC, version=number))
    (repository / "small" / "configs" / "cpu.pbtxt").write_text(text)


def take_out(repository: Path, number: int, before: int) -> None:
    """What --rollback does."""
    write_config(repository, before)
    (repository / "small" / str(number)).rename(repository / "small" / f".withdrawn-{number}")


def test_a_server_is_started_again_with_what_the_repository_has(
    tritonserver: object, small_repository: Path, nothing_left: None
) -> None:
    with TritonServer(small_repository) as server:
        url = server.url
        assert server.changed() == []
        add_version(small_repository, 2)
        assert server.changed() == [small_repository.resolve() / "small" / "2"]
        assert [model.version for model in server.check()] == ["1"]
        server.restart()
        assert server.url == url
        assert server.changed() == []
        assert [model.version for model in server.models] == ["2"]
        take_out(small_repository, 2, before=1)
        assert server.changed() == [small_repository.resolve() / "small" / "1"]


def test_what_cannot_be_served_does_not_end_what_is(
    tritonserver: object, small_repository: Path, nothing_left: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with TritonServer(small_repository) as server:
        add_version(small_repository, 2)
        (small_repository / "small" / "2" / "gate.json").write_text("{")
        assert _take_up(server, server.changed(), poll=True) == server.changed()
        said = " ".join(capsys.readouterr().err.split())
        assert "small version 2 is not served, what was served before still is" in said
        assert "gate.json cannot be read" in said
        assert [model.version for model in server.check()] == ["1"]


def test_a_repository_that_is_gone_for_a_moment_is_no_change(small_repository: Path) -> None:
    server = TritonServer(small_repository)
    small_repository.rename(small_repository.with_name("elsewhere"))
    assert server.changed() == []


def test_without_poll_a_new_version_is_said_and_nothing_is_started(
    small_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = TritonServer(small_repository)
    assert _take_up(server, [small_repository / "small" / "2"], poll=False) == [small_repository / "small" / "2"]
    said = " ".join(capsys.readouterr().err.split())
    assert said == "the repository now has small version 2; serve it by starting again (or use --poll)"
    assert server.pid is None


def test_a_version_that_does_not_start_ends_the_server(small_repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = TritonServer(small_repository)

    def fails() -> None:
        raise ServingError("fails its canary")

    monkeypatch.setattr(server, "restart", fails)
    with pytest.raises(ServingError, match="fails its canary"):
        _take_up(server, [small_repository / "small" / "2"], poll=True)


def test_serve_with_poll_serves_a_new_version_and_the_one_before_after_its_rollback(
    tritonserver: object, small_repository: Path
) -> None:
    network = SwinUNet(recipe("tiny").build(SMALL_SPEC.context_slices, SMALL_SPEC.num_classes))
    save_checkpoint(small_repository / "small" / "1" / "checkpoint.safetensors", network, SMALL_SPEC)
    command = [*COMMAND, "--poll", "--repository", str(small_repository)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        first = process.stdout.readline()
        add_version(small_repository, 2)
        second = process.stdout.readline()
        roll_back(small_repository, "small")  # reads the spec in the checkpoint of the version before
        third = process.stdout.readline()
        process.terminate()
        process.communicate(timeout=600)
    assert first.startswith("serving small version 1: gRPC 127.0.0.1:")
    assert second == first.replace("version 1", "version 2")
    assert third == first
    assert process.returncode == 0
    assert traces(process.pid) == []
