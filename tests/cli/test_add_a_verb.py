"""docs/how-to-add-a-verb.md is true: a verb is added to a copy of the project by following it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from floors import FLOORS, PACKAGE, ROOT

PAGE = ROOT / "docs" / "how-to-add-a-verb.md"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the module that the page shows, in the file that the page names."""
    copy = tmp_path_factory.mktemp("project")
    for name in (PACKAGE, *filter(None, FLOORS)):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    ((file, module),) = re.findall(
        r"^1\. Write `(.*)`:\n\n```python\n(.*?)```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    assert not (copy / file).exists()
    (copy / file).write_text(module)
    return copy


def run(project: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The copy's own command."""
    command = [sys.executable, "-m", PACKAGE, *map(str, arguments)]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=600, check=False)


def test_the_verb_is_listed_and_explains_itself(project: Path) -> None:
    assert re.search(r"│ voxels +Print how many voxels", run(project, "--help").stdout)
    assert "voxels" not in subprocess.run(
        [sys.executable, "-m", PACKAGE, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.replace("voxels a NIfTI", "")
    shown = run(project, "voxels", "--help").stdout
    assert "NIfTI file." in shown
    assert "Print the voxel spacing in mm as well." in " ".join(shown.replace("│", " ").split())


def test_the_verb_does_what_the_page_says(project: Path, tmp_path: Path) -> None:
    image = tmp_path / "brain.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.diag([1, 2, 3, 1])), image)
    done = run(project, "voxels", image, "--spacing")
    assert (done.returncode, done.stdout) == (0, f"{image}: 3 x 4 x 5 voxels, 1 x 2 x 3 mm\n")
    assert run(project, "voxels", image).stdout == f"{image}: 3 x 4 x 5 voxels\n"


def test_what_it_refuses_is_one_line(project: Path, tmp_path: Path) -> None:
    done = run(project, "voxels", tmp_path / "none.nii")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert run(project, "voxels").returncode == 2 or "Usage" in run(project, "voxels").stdout


def test_what_the_page_names_is_there() -> None:
    text = PAGE.read_text()
    for path in re.findall(r"`((?:cli|foundation)/[\w/]+\.py)`", text):
        assert (ROOT / path).is_file() or path == "cli/verbs/voxels.py", path
    for name in re.findall(r"`(_EXTRA_OF|OptionGroup|print_line|show_table)`", text):
        assert any(re.search(rf"\b{name}\b", path.read_text()) for path in (ROOT / "cli").rglob("*.py")), name
