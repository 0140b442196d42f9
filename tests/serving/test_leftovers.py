"""What servers leave that are killed with all around them is removed by the next start; what lives is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from server_traces import eventually, session_of, traces

from swinunet.serving import TritonServer, leftovers
from swinunet.serving.leftovers import Belongings, is_launchable, remove_leftovers

SUPERVISOR = """
import sys, time
from pathlib import Path
from swinunet.serving import TritonServer
with TritonServer(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    time.sleep(600)
"""


def kill_at_once(supervisor: subprocess.Popen[str], leader: int) -> None:
    """End the supervisor, the keeper, Triton and its stub so that none of them can clean up."""
    everything = [psutil.Process(supervisor.pid), *session_of(leader)]
    for process in everything:
        process.suspend()
    for process in everything:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    supervisor.wait()
    assert eventually(lambda: session_of(leader) == [], 10)


def test_the_next_start_removes_what_processes_killed_at_once_left(
    tritonserver: object, small_repository: Path
) -> None:
    before = set(Path("/tmp").glob("python_env_*"))
    command = [sys.executable, "-c", SUPERVISOR, str(small_repository)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        leader = int(supervisor.stdout.readline())
        kill_at_once(supervisor, leader)
    assert len(traces(supervisor.pid)) >= 3  # a region, its lock, a private folder
    left_by_triton = set(Path("/tmp").glob("python_env_*")) - before
    with TritonServer(small_repository) as server:
        assert traces(supervisor.pid) == []
        assert traces() != []
        assert server.check()
    # Triton's own folder stays while a server runs that is older than it: it might be that server's.
    oldest = min(leftovers._starts_of_tritonservers(), default=float("inf"))
    younger = {folder for folder in left_by_triton if folder.exists() and folder.stat().st_mtime < oldest - 2}
    remove_leftovers()
    assert not any(folder.exists() for folder in younger)


def test_what_a_living_server_owns_stays(small_triton: TritonServer) -> None:
    before = traces()
    assert len(before) >= 3
    remove_leftovers()
    assert traces() == before
    assert small_triton.check()


def test_what_is_locked_stays_and_what_is_not_goes() -> None:
    owned = Belongings.create()
    region = Path("/dev/shm", f"{owned.shm_prefix}region")
    region.touch()
    remove_leftovers()
    assert owned.folder.is_dir()
    assert region.exists()
    owned.release()
    remove_leftovers()
    assert not owned.folder.exists()
    assert not list(Path("/dev/shm").glob(f"{owned.shm_prefix}*"))


def test_regions_without_a_lock_go_if_their_process_is_gone() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    orphan, ours = (Path("/dev/shm", f"swinunet_{pid}_0123abcd_region") for pid in (ended.pid, os.getpid()))
    orphan.touch()
    ours.touch()
    try:
        remove_leftovers()
        assert (orphan.exists(), ours.exists()) == (False, True)
    finally:
        ours.unlink()


def test_a_link_and_another_users_folder_are_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    link = Path(tempfile.gettempdir(), "swinunet-triton-1-link")
    link.symlink_to(kept)
    try:
        remove_leftovers()
        assert kept.is_dir()
    finally:
        link.unlink()
    if os.geteuid() == 0:
        theirs = Path(tempfile.mkdtemp(prefix="swinunet-triton-1-"))
        os.chown(theirs, 65534, 65534)
        try:
            remove_leftovers()
            assert theirs.is_dir()
        finally:
            theirs.rmdir()


def test_tritons_own_folder_goes_when_no_server_is_old_enough_to_own_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_TRITONS_OWN", (tmp_path, "python_env_*"))
    now = time.time()
    monkeypatch.setattr(leftovers, "_starts_of_tritonservers", lambda: iter([now - 100]))
    for name, age in (("python_env_old", 200), ("python_env_young", 50), ("python_env_full", 200), ("other", 200)):
        folder = tmp_path / name
        folder.mkdir()
        if name == "python_env_full":
            (folder / "file").touch()
        os.utime(folder, (now - age, now - age))
    remove_leftovers()
    assert {path.name for path in tmp_path.iterdir()} == {"python_env_young", "python_env_full", "other"}


def test_a_running_tritonserver_is_seen(small_triton: TritonServer) -> None:
    (server,) = (each for each in session_of(small_triton.pid or 0) if each.name().startswith("tritonserver"))
    assert any(abs(start - server.create_time()) < 2 for start in leftovers._starts_of_tritonservers())


@pytest.mark.parametrize("name", ["with space", "models (1)", "it's", "Modèle", "cost$5", "a;b", "a&b", "a\nb", "~x"])
def test_paths_that_the_launcher_would_trip_over(name: str) -> None:
    assert not is_launchable(Path("/tmp", name))
    assert is_launchable(Path("/tmp", "plain-name_1.x"))


def test_a_server_that_dies_in_the_middle_is_started_again(tritonserver: object, small_repository: Path) -> None:
    lines: list[str] = []
    before = traces()
    with TritonServer(small_repository, log=lines.append) as server, server.started_again_if_it_dies():
        url, first = server.url, server.pid
        (triton,) = (each for each in session_of(first or 0) if each.name().startswith("tritonserver"))
        triton.kill()
        assert eventually(lambda: server.pid not in (None, first) and bool(server.models), 60)
        assert server.url == url
        assert server.check()
        assert server.why_gone() is None
        assert [line for line in lines if "ended unexpectedly; it is started again" in line]
        again = server.pid
    assert session_of(first or 0) == session_of(again or 0) == []
    assert traces() == before


def test_a_server_that_cannot_start_again_says_why(tritonserver: object, small_repository: Path) -> None:
    with TritonServer(small_repository) as server, server.started_again_if_it_dies():
        (small_repository / "small" / "1" / "model.onnx").unlink()
        os.kill(server.pid or 0, signal.SIGKILL)
        assert eventually(lambda: server.why_gone() is not None, 60)
        assert "does not start again" in str(server.why_gone())
        assert "model.onnx is missing" in str(server.why_gone())
