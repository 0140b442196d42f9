"""The Triton that `segment` starts for itself: if it dies, the job goes on with another or ends at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from breakable_triton import slow_down, small_study
from server_traces import eventually
from small_model import write_small_repository

from swinunet.imaging import write_nifti

pytestmark = pytest.mark.usefixtures("tritonserver")


def tritonserver_of(pid: int) -> psutil.Process | None:
    """The tritonserver below the process, once its stub runs."""
    below = psutil.Process(pid).children(recursive=True)
    if not any("python_backend_stub" in each.name() for each in below):
        return None
    return next((each for each in below if each.name().startswith("tritonserver")), None)


def segment_and_kill(tmp_path: Path, and_break: bool) -> tuple[int, str, float, float]:
    """Exit status, standard error, seconds from the server's death to the command's end, and those that it took to
    start, which tell how busy the machine is."""
    repository = slow_down(write_small_repository(tmp_path / "repository"), 0.2)
    write_nifti(small_study(200), tmp_path / "study.nii.gz")
    command = ["segment", "study.nii.gz", "-o", "out", "--repository", "repository"]
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "swinunet", *command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as running:
        regions = f"swinunet_client_{running.pid}_*"
        assert eventually(lambda: any(Path("/dev/shm").glob(regions)), 90)
        to_start = time.monotonic() - began
        time.sleep(0.5)  # the first batches are under way
        triton = tritonserver_of(running.pid)
        assert triton is not None
        if and_break:
            (repository / "small" / "1" / "model.onnx").unlink()
        os.kill(triton.pid, signal.SIGKILL)
        died = time.monotonic()
        _, said = running.communicate(timeout=600)
    return running.returncode, said.strip(), time.monotonic() - died, to_start


def test_a_job_whose_own_triton_is_killed_goes_on(tmp_path: Path) -> None:
    status, said, _, _ = segment_and_kill(tmp_path, and_break=False)
    assert (status, said) == (0, "")
    assert (tmp_path / "out").is_dir()


def test_a_job_whose_own_triton_does_not_start_again_says_so_at_once(tmp_path: Path) -> None:
    status, said, seconds, to_start = segment_and_kill(tmp_path, and_break=True)
    assert status == 1
    assert "ended, and does not start again" in said
    assert "model.onnx is missing" in said
    assert "--url" not in said
    assert seconds < 30 + to_start  # an outage of another server is waited for for 60
