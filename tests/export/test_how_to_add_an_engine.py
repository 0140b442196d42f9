"""docs/how-to-add-an-engine.md is true: an engine added as it says is judged, measured and named by the help."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from command_line import run_swinunet
from tiny_version import tiny_cases, tiny_checkpoint, tiny_network

from swinunet.benchmarks.inference.settings import BenchmarkSettings, choose_engines
from swinunet.export import engines
from swinunet.export.engines import registry
from swinunet.export.graph.onnx_graph import export_onnx
from swinunet.export.pipeline import GateOptions, check_version
from swinunet.export.repository.version_files import read_checkpoint

PAGE = Path(__file__).parents[2] / "docs" / "how-to-add-an-engine.md"
NAME = "onnx-reference-fp32"


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Follows the page, with a folder of its own where the page says export/engines/."""
    page = PAGE.read_text()
    (file,) = re.findall(r"Write `export/engines/(\w+\.py)`", page)
    source, entry = (textwrap.dedent(block) for block in re.findall(r"(?ms)^   ```python\n(.*?)^   ```$", page))
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / file).write_text(source)
    monkeypatch.setattr(engines, "__path__", [*engines.__path__, str(tmp_path / "engines")])
    monkeypatch.setattr(registry, "ENGINES", dict(registry.ENGINES))
    exec(entry, vars(registry))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one version that has a graph and its checkpoint, and no proof."""
    repository = tmp_path_factory.mktemp("repository")
    folder = repository / "small" / "1"
    checkpoint = tiny_checkpoint(folder)
    _, spec = read_checkpoint(checkpoint, 1)
    export_onnx(tiny_network(), spec, folder / "model.onnx")
    return repository


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cases(tmp_path_factory.mktemp("cases") / "blob", 1)


@pytest.mark.usefixtures("added")
def test_the_gate_judges_it(repository: Path, cases: Path) -> None:
    options = GateOptions(engines=(NAME,), serve=False)
    report = check_version(repository / "small" / "1", repository, cases, options)
    (verdict,) = [each for each in report.verdicts if each.engine == NAME]
    assert (verdict.status, verdict.precision, verdict.artefact, verdict.needed) == (
        "passed",
        "fp32",
        "model.onnx",
        True,
    )
    assert re.fullmatch(r"onnx \S+, reference implementation", verdict.description)
    assert [each.batch for each in verdict.tensors] == [1, 3, 8, 16]
    assert f"| {NAME} | passed |" in report.markdown()


@pytest.mark.usefixtures("added")
def test_the_benchmark_measures_it_and_the_help_names_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [each.title for each in choose_engines(NAME)] == ["PyTorch eager fp32", "ONNX reference fp32"]
    assert BenchmarkSettings().engines[-1].key == NAME
    monkeypatch.setenv("COLUMNS", "200")
    status, out, _ = run_swinunet(capfd, monkeypatch, "export", "--help-all")
    assert status == 0
    assert NAME in out


def test_without_the_entry_nobody_knows_it(
    repository: Path, cases: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Exception, match=f"no engine is named '{NAME}'"):
        check_version(repository / "small" / "1", repository, cases, GateOptions(engines=(NAME,), serve=False))
    with pytest.raises(Exception, match=f"there is no engine '{NAME}'"):
        choose_engines(NAME)
    monkeypatch.setenv("COLUMNS", "200")
    _, out, _ = run_swinunet(capfd, monkeypatch, "export", "--help-all")
    assert NAME not in out
    assert "openvino-bf16" in out
