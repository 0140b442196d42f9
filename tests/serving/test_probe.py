"""The probe of containers: a wrong answer is noticed, whatever `ready` says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_model import write_small_repository

from swinunet.serving import TritonServer


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "swinunet.serving.probe", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def test_a_server_that_answers_passes(small_triton: TritonServer) -> None:
    done = run(small_triton.url, small_triton.repository)
    assert (done.returncode, done.stdout) == (0, "1 answered\n"), done.stderr


def test_a_wrong_answer_fails(small_triton: TritonServer, tmp_path: Path) -> None:
    """By a canary that expects other labels, which to the probe is the same as other labels."""
    repository = tmp_path / "repository"
    shutil.copytree(small_triton.repository, repository)
    path = repository / "small" / "1" / "canary.npz"
    with np.load(path) as canary:
        np.savez(path, image=canary["image"], labels=2 - canary["labels"])
    done = run(small_triton.url, repository)
    assert done.returncode == 1
    assert "fails its canary" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_server_at_all_is_one_line(tmp_path: Path) -> None:
    done = run("127.0.0.1:9", write_small_repository(tmp_path / "repository"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Triton at 127.0.0.1:9" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("only-one",)])
def test_how_it_is_called(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("usage: ")
