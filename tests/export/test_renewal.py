"""`swinunet export --renew`: a version from before gets the model.py of today, proven, and its graphs stay."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from floors import ROOT
from tiny_version import a_weight_off_by_five_percent, rewrite, tiny_cases, tiny_checkpoint, tree

from swinunet.export.gate.report import GateError
from swinunet.export.pipeline import GateOptions, export_checkpoint
from swinunet.export.renewal import renew_version
from swinunet.serving.checksums import check_files

OFF_LINE = GateOptions(engines=("onnxruntime-fp32",), serve=False)
SERVED = GateOptions(engines=("onnxruntime-fp32",))
TODAY = ROOT / "export" / "repository" / "python_backend_model.py"
RENEWED = {"small/1/model.py", "small/1/gate.json", "small/1/GATE.md"}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cases(tmp_path_factory.mktemp("cases") / "blob")


@pytest.fixture(scope="module")
def exported(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export_checkpoint(tiny_checkpoint(folder / "run"), folder / "repository", None, cases, OFF_LINE)
    return folder / "repository"


@pytest.fixture
def older(exported: Path, tmp_path: Path) -> Path:
    """A repository whose model.py and CPU config are from before, and whose proof is of that model.py."""
    repository = Path(shutil.copytree(exported, tmp_path / "repository"))
    version = repository / "small" / "1"
    (version / "model.py").write_text((version / "model.py").read_text().replace("streams", "lanes"))
    gate = json.loads((version / "gate.json").read_text())
    del gate["processor"]
    gate["sha256"]["model.py"] = hashlib.sha256((version / "model.py").read_bytes()).hexdigest()
    (version / "gate.json").write_text(json.dumps(gate))
    config = repository / "small" / "configs" / "cpu.pbtxt"
    config.write_text(config.read_text() + "# from before\n")
    assert check_files(version)
    return repository


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


@pytest.mark.usefixtures("nothing_left", "tritonserver")
def test_a_version_from_before_is_proven_with_the_model_py_of_today(older: Path, cases: Path) -> None:
    before, version = tree(older), older / "small" / "1"
    folder, report = renew_version(version, older, cases, SERVED)
    assert folder == version
    assert [each.status for each in report.verdicts if each.engine == "served"] == ["passed"]
    assert changed(before, tree(older)) == {*RENEWED, "small/configs/cpu.pbtxt"}
    assert (version / "model.py").read_bytes() == TODAY.read_bytes()
    assert "from before" not in (older / "small" / "configs" / "cpu.pbtxt").read_text()
    gate = json.loads((version / "gate.json").read_text())
    assert gate["processor"] == sorted(gate["processor"])
    digests = {name: hashlib.sha256((version / name).read_bytes()).hexdigest() for name in gate["sha256"]}
    assert gate["sha256"] == digests
    assert {"model.py", "model.onnx", "canary.npz"} <= digests.keys()
    assert check_files(version)


def test_with_graphs_they_become_those_of_today_and_compute_the_same(older: Path, cases: Path) -> None:
    version = older / "small" / "1"
    of_today = {path.name: path.read_bytes() for path in version.glob("model*.onnx")}
    assert "model.onnx" in of_today
    for name in of_today:
        rewrite(version / name, lambda model: setattr(model, "producer_name", "from before"))
    before = tree(older)
    renew_version(version, older, cases, OFF_LINE, graphs=True)
    graphs = {f"small/1/{name}" for name in of_today}
    assert changed(before, tree(older)) == {*RENEWED, *graphs, "small/configs/cpu.pbtxt"}
    assert {name: (version / name).read_bytes() for name in of_today} == of_today
    assert check_files(version)


def test_a_version_that_fails_stays_as_it_was(older: Path, cases: Path) -> None:
    rewrite(older / "small" / "1" / "model.onnx", a_weight_off_by_five_percent)
    before = tree(older)
    with pytest.raises(GateError, match="nothing was changed"):
        renew_version(older / "small" / "1", older, cases, OFF_LINE)
    assert tree(older) == before


def test_configs_that_serve_another_version_stay(older: Path, cases: Path) -> None:
    shutil.copytree(older / "small" / "1", older / "small" / "2")
    config = older / "small" / "configs" / "cpu.pbtxt"
    config.write_text(config.read_text().replace("versions: [ 1 ]", "versions: [ 2 ]"))
    before = tree(older)
    renew_version(older / "small" / "1", older, cases, OFF_LINE)
    assert changed(before, tree(older)) == RENEWED
