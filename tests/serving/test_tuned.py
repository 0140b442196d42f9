"""A tuned config is taken on the kind of machine that it was measured on, and refused elsewhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from small_model import SMALL_SPEC, write_small_repository

from swinunet import serving
from swinunet.export.repository.triton_config import cpu_config
from swinunet.foundation.errors import ServingError
from swinunet.foundation.files import sha256_of_file
from swinunet.serving import TritonServer
from swinunet.serving.tuned import MachineKind, TunedRecord, check_tuned, chosen_by_itself, this_machine

HERE = this_machine()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The small model with a config that was tuned here."""
    made = write_small_repository(tmp_path / "repository")
    config = made / "small" / "configs" / "tuned.pbtxt"
    config.write_text(cpu_config(SMALL_SPEC, "onnxruntime", max_batch_size=4))
    record(made, HERE)
    return made


def record(repository: Path, machine: MachineKind) -> None:
    configs = repository / "small" / "configs"
    said = TunedRecord(machine, sha256_of_file(configs / "tuned.pbtxt"), "2026-11-29", "highest throughput", {})
    (configs / "tuned.json").write_text(said.to_json())


def test_it_is_taken_by_itself_here(repository: Path) -> None:
    check_tuned(repository)
    assert chosen_by_itself(repository) == ("tuned", "")


@pytest.mark.parametrize(
    "change", [{"processor": "Another CPU"}, {"cpus": HERE.cpus + 1}, {"instruction_sets": "avx2 and no more"}]
)
def test_it_is_refused_on_another_kind_of_machine(repository: Path, change: dict[str, object]) -> None:
    other = dataclasses.replace(HERE, **change)  # type: ignore[arg-type]
    record(repository, other)
    with pytest.raises(ServingError, match="was measured on") as refused:
        check_tuned(repository)
    assert other.text in str(refused.value)
    assert HERE.text in str(refused.value)
    assert "swinunet tune small" in str(refused.value)
    config, why = chosen_by_itself(repository)
    assert config == "cpu"
    assert why.startswith("not tuned: ")
    server = TritonServer(repository, config_name="tuned")
    with pytest.raises(ServingError, match="was measured on"):
        server.start()
    assert server.pid is None


def test_a_config_that_was_changed_or_has_no_record_is_refused(repository: Path) -> None:
    configs = repository / "small" / "configs"
    configs.joinpath("tuned.pbtxt").write_text(cpu_config(SMALL_SPEC))
    with pytest.raises(ServingError, match="was changed after it was measured"):
        check_tuned(repository)
    for text in ("{", "{}", json.dumps({"machine": {}}), None):
        if text is None:
            (configs / "tuned.json").unlink()
        else:
            (configs / "tuned.json").write_text(text)
        with pytest.raises(ServingError, match=r"tuned\.json cannot be read"):
            check_tuned(repository)


def test_without_one_the_cpu_config_is_taken(tmp_path: Path) -> None:
    assert chosen_by_itself(write_small_repository(tmp_path)) == ("cpu", "")


def test_a_kernel_that_does_not_tell_is_a_kind_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.tuned, "_CPUINFO", tmp_path / "none")
    assert this_machine().processor == "an unknown processor"


@pytest.mark.usefixtures("tritonserver", "nothing_left")
def test_models_beside_it_are_served_as_on_any_cpu(repository: Path) -> None:
    """Triton would fall back to config.pbtxt, whose backend is not in the bundled server."""
    other = dataclasses.replace(SMALL_SPEC, name="other")
    (repository / "other" / "configs").mkdir(parents=True)
    (repository / "other" / "1").symlink_to(repository / "small" / "1")
    (repository / "other" / "configs" / "cpu.pbtxt").write_text(cpu_config(other))
    (repository / "other" / "config.pbtxt").write_text((repository / "small" / "config.pbtxt").read_text())
    lines: list[str] = []
    with TritonServer(repository, config_name="tuned", log=lines.append) as server:
        assert {model.name: model.state for model in server.models} == {"small": "READY", "other": "READY"}
    text = "\n".join(lines)
    assert "small 1: onnxruntime" in text
    assert "other 1: openvino" in text
