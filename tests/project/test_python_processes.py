"""No Python that we start imports from the working folder: all are started by one function, and it is tried."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_series import make_series, save
from poisoned_folder import poison
from small_model import write_small_repository

PACKAGE = Path(__file__).resolve().parents[2] / "swinunet"
FOLDERS = [PACKAGE, *(each.resolve() for each in PACKAGE.iterdir() if each.is_dir() and each.is_symlink())]
MODULES = {str(path.relative_to(PACKAGE.parent)): path for folder in FOLDERS for path in folder.rglob("*.py")}
STARTER = "foundation/python_process.py"
STARTER_MODULE = "swinunet.foundation.python_process"
# What starts a Python process, or asks which Python runs: names and attributes that no other module may use.
STARTS = {"executable", "multiprocessing", "ProcessPoolExecutor", "fork", "forkpty", "posix_spawn", "posix_spawnp"}
STARTS |= {
    f"{how}{letters}" for how in ("exec", "spawn") for letters in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")
}


def names_in(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Attribute):
            found |= {f"sys.{node.attr}" if ast.unparse(node.value) == "sys" else node.attr}
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module).partition(".")[0], *(alias.name for alias in node.names)}
    return {name.removeprefix("sys.") for name in found if name != "executable"}


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {STARTER}))
def test_no_module_but_one_starts_a_python(module: str) -> None:
    assert not names_in(MODULES[module]) & STARTS, f"{module}: start Python processes with {STARTER_MODULE}"


def test_the_one_that_does_is_seen_by_the_test_above() -> None:
    assert names_in(MODULES[STARTER]) & STARTS == {"executable"}


def run_in(folder: Path, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A program of ours, itself safe, in a working folder that is not."""
    command = [sys.executable, "-P", "-c", program, *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


WITH_THE_FOLDER = "import sys; sys.path.insert(0, ''); sys.path.insert(0, sys.argv[1]);"
WORKER = """
sys.path[:2] = []
import swinunet.client.dicom.workers as workers
sys.path[:0] = ["", sys.argv[1]]
print(workers.call_in_process(str.upper, "done"))
"""
CHILD = """
sys.path[:2] = []
from swinunet.benchmarks.measure.processes import WorkerError, WorkerProcess
sys.path[:0] = ["", sys.argv[1]]
with WorkerProcess("caller_worker") as worker:
    try:
        worker.ask("nothing", 60)
    except WorkerError as error:
        print("done" if "nothing" in str(error) else error)
"""
PIP = """
sys.path[:2] = []
from swinunet.foundation.python_process import run_module
sys.path[:0] = ["", sys.argv[1]]
print(run_module("json.tool", "--help", check=True, capture_output=True, text=True).returncode or "done")
"""
SERVER = """
sys.path[:2] = []
from pathlib import Path
from swinunet.serving import TritonServer
sys.path[:0] = ["", sys.argv[1]]
with TritonServer(Path(sys.argv[2])) as server:
    server.check()
    print("done")
"""


@pytest.mark.parametrize("program", [WORKER, CHILD, PIP], ids=["client worker", "benchmark worker", "module"])
def test_a_process_of_ours_executes_nothing_of_the_working_folder(tmp_path: Path, program: str) -> None:
    folder = tmp_path / "study"
    ran = poison(folder)
    done = run_in(folder, WITH_THE_FOLDER + program, folder)
    assert done.stdout.strip().lower() == "done", done.stderr
    assert not ran.exists(), ran.read_text()


def test_tritons_stub_and_the_keeper_execute_nothing_of_the_working_folder(
    tritonserver: object, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    ran = poison(folder)
    done = run_in(folder, WITH_THE_FOLDER + SERVER, folder, write_small_repository(tmp_path / "repository"))
    assert done.stdout.strip() == "done", done.stderr
    assert not ran.exists(), ran.read_text()


def test_a_study_with_a_pydicom_in_it_is_read_without_executing_that(tmp_path: Path) -> None:
    """`python -m` puts the working folder first, and what it imports before our first line is not ours to say."""
    ran = tmp_path / "ran"
    study = save(tmp_path / "study", make_series(np.full((12, 16, 16), 100, np.uint16)))
    (study / "pydicom.py").write_text(f"open({str(ran)!r}, 'w')\n")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONSAFEPATH", "PYTHONPATH")}
    command = [sys.executable, "-m", "swinunet", "inspect", "."]
    done = subprocess.run(command, cwd=study, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "12" in done.stdout, done.stderr
    assert not ran.exists()
