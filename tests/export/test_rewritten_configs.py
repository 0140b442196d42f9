"""`swinunet export --configs`: a repository from before gets the configs of today, and nothing else changes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_model import write_small_repository
from tiny_version import tree

from swinunet.export.repository.rewritten_configs import rewrite_configs
from swinunet.foundation.errors import InputError, OutputError, SpecError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A model with the two configs it had before there were others, and what tuning left."""
    made = write_small_repository(tmp_path / "repository")
    (made / "small" / "configs" / "tuned.pbtxt").touch()
    (made / "small" / "configs" / "tuned.json").touch()
    return made


def gate(repository: Path, **statuses: str) -> None:
    verdicts = [{"engine": name.replace("_", "-"), "status": status} for name, status in statuses.items()]
    (repository / "small" / "1" / "gate.json").write_text(json.dumps({"served": "openvino-f32", "verdicts": verdicts}))


def test_all_configs_are_written_and_the_version_stays(repository: Path) -> None:
    before = tree(repository / "small" / "1")
    [done] = rewrite_configs(repository)
    assert (done.model, done.version, done.engine) == ("small", 1, "openvino-f32")
    assert tree(repository / "small" / "1") == before
    names = {path.name for path in (repository / "small" / "configs").iterdir()}
    assert names == {"cpu.pbtxt", "tensorrt.pbtxt", "openvino.pbtxt"}
    again = tree(repository)
    rewrite_configs(repository, "small")
    assert tree(repository) == again


def test_the_engine_of_the_cpu_config_changes_to_one_that_passed(repository: Path) -> None:
    gate(repository, openvino_f32="passed", openvino_bf16="passed", onnxruntime_fp16="failed")
    assert rewrite_configs(repository, serve="openvino-bf16")[0].engine == "openvino-bf16"
    assert '"precision", value { string_value: "bf16"' in (repository / "small/configs/cpu.pbtxt").read_text()
    before = tree(repository)
    for name in ("onnxruntime-fp16", "openvino-int8"):
        with pytest.raises(InputError, match=rf"not passed {name} \(passed: openvino-f32, openvino-bf16\)"):
            rewrite_configs(repository, serve=name)
    assert tree(repository) == before


def test_a_version_without_a_gate_keeps_its_engine(repository: Path) -> None:
    with pytest.raises(InputError, match=r"has not passed openvino-bf16 \(passed: none\)"):
        rewrite_configs(repository, serve="openvino-bf16")


def test_what_cannot_be_read_is_refused_and_nothing_is_written(repository: Path) -> None:
    config = repository / "small" / "config.pbtxt"
    good = config.read_text()
    for text, error in (("name: {", InputError), ('name: "small"', SpecError), (None, InputError)):
        if text is None:
            config.write_text(good)
            (repository / "small" / "1").rename(repository / "small" / "2")
        else:
            config.write_text(text)
        before = tree(repository)
        with pytest.raises(error):
            rewrite_configs(repository)
        assert tree(repository) == before


def test_a_folder_that_cannot_be_written(repository: Path) -> None:
    (repository / "small" / "configs" / "tensorrt.pbtxt").mkdir()
    with pytest.raises(OutputError, match=r"tensorrt\.pbtxt: cannot write"):
        rewrite_configs(repository)


def test_pytorch_is_not_needed(repository: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from swinunet.export.repository.rewritten_configs import rewrite_configs\n"
        f"print(rewrite_configs(Path({str(repository)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=False)
    assert "openvino-f32" in done.stdout, done.stderr
