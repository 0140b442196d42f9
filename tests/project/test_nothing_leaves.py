"""Nothing leaves the machine: no packet, no look-up of a name, and no file of a library that reports on its users."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from breakable_triton import small_study
from network_guard import Guarded, run_guarded
from small_model import write_small_repository
from tiny_version import tiny_checkpoint

from swinunet.imaging import write_nifti

pytestmark = [
    pytest.mark.usefixtures("tritonserver"),
    pytest.mark.skipif(not shutil.which("unshare") or not shutil.which("ip"), reason="needs util-linux and iproute2"),
]

SWINUNET = (sys.executable, "-P", "-m", "swinunet")
# What drawing a picture leaves: caches of fonts, by Matplotlib and fontconfig.
_HARMLESS = re.compile(r"\.(cache|config)/(matplotlib|fontconfig)/.*|\.cache/torch.*")


def nothing_left_the_machine(done: Guarded) -> None:
    assert done.status == 0, done.errors
    assert done.packets == []
    assert [name for name in done.home if not _HARMLESS.fullmatch(name)] == []


def test_the_guard_sees_a_look_up_and_a_connection(tmp_path: Path) -> None:
    program = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'hello', ('192.0.2.1', 53))"
    done = run_guarded(tmp_path, sys.executable, "-c", program)
    assert {packet[:13] for packet in done.packets} == {"to 192.0.2.1:"}


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_the_guard_sees_what_a_library_does_by_itself(tmp_path: Path, library: str) -> None:
    """If this fails because a release reports nothing any more, the measure against it can go."""
    done = run_guarded(tmp_path, sys.executable, "-c", f"import {library}, time; time.sleep(1)")
    if not done.packets and not done.home:
        pytest.skip(f"this release of {library} leaves nothing")
    assert done.packets or done.home


LIBRARIES = ["openvino", "openvino.tools.ovc", "onnxruntime", "nncf", "torch", "polygraphy.backend.onnxrt"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_that_is_imported_after_us_reports_nothing(tmp_path: Path, library: str) -> None:
    pytest.importorskip(library.partition(".")[0])
    program = f"import swinunet, {library}, time; time.sleep(1)"
    nothing_left_the_machine(run_guarded(tmp_path, sys.executable, "-P", "-c", program))


def test_segment_reports_nothing(tmp_path: Path) -> None:
    """With the model in Triton, on OpenVINO; the client, the keeper and the stub are all in it."""
    repository = write_small_repository(tmp_path / "repository")
    write_nifti(small_study(8), tmp_path / "study.nii.gz")
    command = ("segment", tmp_path / "study.nii.gz", "-o", tmp_path / "out", "--repository", repository)
    nothing_left_the_machine(run_guarded(tmp_path / "run", *SWINUNET, *command))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_serve_reports_nothing(tmp_path: Path, engine: str) -> None:
    repository = write_small_repository(tmp_path / "repository", engine)  # type: ignore[arg-type]
    command = ("serve", "--repository", repository)
    done = run_guarded(tmp_path / "run", *SWINUNET, *command, stop_after_a_line=True)
    assert done.said.startswith("serving small version 1")
    nothing_left_the_machine(done)


def test_export_reports_nothing(tmp_path: Path) -> None:
    """With the gate: PyTorch, ONNX Runtime, OpenVINO, Polygraphy, and Triton."""
    command = ("export", tiny_checkpoint(tmp_path / "run"), "--repository", tmp_path / "repository")
    nothing_left_the_machine(run_guarded(tmp_path / "guarded", *SWINUNET, *command))
