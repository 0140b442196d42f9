"""The wheel, built from a copy of the checkout and installed where nothing else of ours is."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from floors import FLOORS, PACKAGE, ROOT

FOLDERS = sorted(filter(None, FLOORS))
DATA = {
    "client/results/report.schema.json",
    *(f"client/results/page/{name}" for name in ("niivue.js", "niivue.LICENSE", "page.js", "page.css")),
    *(f"gateway/watching/templates/{name}.html" for name in ("base", "job", "login", "message", "queue")),
    "gateway/watching/templates/style.css",
    *(f"client/viewer/tree.{kind}" for kind in ("js", "css")),
    "foundation/report.css",
    "foundation/report.js",
    *(f"training/specs/{name}.json" for name in ("cardiac", "head_locator", "hippocampus")),
}


def _why_not() -> str | None:
    if importlib.util.find_spec("pip") is None:
        return "pip is not installed"
    try:
        found = importlib.metadata.version("setuptools")
    except importlib.metadata.PackageNotFoundError:
        return "setuptools is not installed"
    return None if int(found.split(".")[0]) >= 77 else f"setuptools is {found}; pyproject.toml asks for 77 or later"


pytestmark = pytest.mark.skipif(_why_not() is not None, reason=str(_why_not()))


def run(*command: object, cwd: Path) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `pip wheel . --no-deps` does, but offline; with compiled files lying about in the sources."""
    source = tmp_path_factory.mktemp("checkout")
    for name in (PACKAGE, "model_repository", "tests", "docs", *FOLDERS):
        shutil.copytree(ROOT / name, source / name, symlinks=True)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for place in ("client", "model_repository/swin_unet_hippocampus"):
        (source / place / "__pycache__").mkdir(exist_ok=True)
        (source / place / "__pycache__" / "left.cpython-311.pyc").write_bytes(b"")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", ".", *options, "--wheel-dir", source / "dist", cwd=source)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with the wheel in it, which borrows other people's packages and sees no checkout."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=environment)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (site_packages / "borrowed.pth").write_text("\n".join(borrowed))
    found = environment / "bin" / "python"
    options = ("--no-deps", "--no-index", "--ignore-installed", "--no-compile", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", found, "install", *options, wheel, cwd=environment)
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's own folder, whose modules are called as parts of ours are."""
    for name in FOLDERS:
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('this is not the package')\n")
    return tmp_path


def test_it_holds_what_it_needs_and_nothing_else(wheel: Path) -> None:
    modules = {path.relative_to(ROOT) for name in FOLDERS for path in (ROOT / name).rglob("*.py")}
    repository = ROOT / "model_repository"
    served = {
        path.relative_to(ROOT) for path in repository.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    own = {"__init__.py", "__main__.py", "notebook.py", "py.typed"}
    names = zipfile.ZipFile(wheel).namelist()
    held = {name.removeprefix(f"{PACKAGE}/") for name in names if ".dist-info/" not in name}
    assert held == {str(path) for path in modules | served} | DATA | own
    assert {name.split("/")[0].partition("-")[0] for name in names} == {PACKAGE}
    assert {"export/repository/python_backend_model.py", "model_repository/swin_unet_hippocampus/config.pbtxt"} <= held


def test_a_users_own_modules_do_not_break_it(python: Path, project: Path) -> None:
    pytest.importorskip("tritonclient", reason="tritonclient (extra: client) is not installed")
    said = run(
        python, "-c", "import swinunet.client; print(swinunet.client.TritonModel, swinunet.__file__)", cwd=project
    )
    assert "swinunet.client.triton.model.TritonModel" in said
    assert said.split()[-1].startswith(str(python.parent.parent))


def test_none_of_its_folders_is_a_package_of_its_own(python: Path, tmp_path: Path) -> None:
    ask = f"import importlib.util; print([name for name in {FOLDERS} if importlib.util.find_spec(name)])"
    assert run(python, "-P", "-c", ask, cwd=tmp_path).strip() == "[]"


def test_the_command_runs_from_anywhere(python: Path, project: Path) -> None:
    command = python.with_name("swinunet")
    assert "Usage: swinunet" in run(command, "--help", cwd=project)
    assert run(command, "--version", cwd=project).strip() == f"swinunet {importlib.metadata.version('swinunet')}"
    assert "27.17 M parameters" in " ".join(run(command, "train", "--help-all", cwd=project).split())


def test_it_finds_the_shipped_model(python: Path, project: Path) -> None:
    ask = "from swinunet.foundation.paths import default_repository; print(default_repository())"
    found = Path(run(python, "-c", ask, cwd=project).strip())
    assert found.is_relative_to(python.parent.parent)
    shipped = ROOT / "model_repository" / "swin_unet_hippocampus" / "config.pbtxt"
    assert (found / "swin_unet_hippocampus" / "config.pbtxt").read_bytes() == shipped.read_bytes()


def test_it_is_typed(python: Path, project: Path) -> None:
    ask = "import importlib.resources as r; print((r.files('swinunet') / 'py.typed').is_file())"
    assert run(python, "-c", ask, cwd=project).strip() == "True"
