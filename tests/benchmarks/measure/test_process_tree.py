"""Processes, what they started, and what all of them use."""

from __future__ import annotations

import os
import subprocess
import sys

from server_traces import eventually

from swinunet.benchmarks.measure.process_tree import cpu_seconds, processes_under, resident_mib, wait_until_idle

# A child that computes for a third of a second of CPU time and is waited for; then one that holds 64 MiB and waits.
_PARENT = """
import subprocess, sys
busy = "import time\\nwhile time.process_time() < 0.33: pass"
subprocess.run([sys.executable, "-I", "-c", busy], check=True)
held = subprocess.Popen([sys.executable, "-I", "-c", "b = bytearray(1 << 26); print(len(b), flush=True); input()"],
                        stdout=subprocess.PIPE, stdin=subprocess.PIPE)
held.stdout.readline()
print(held.pid, flush=True)
input()
"""


def test_children_count_and_those_that_were_waited_for() -> None:
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _PARENT], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        child = int(process.stdout.readline())
        assert processes_under({process.pid}) == {process.pid, child}
        assert process.pid in processes_under({os.getpid()})
        assert cpu_seconds(process.pid) >= 0.3
        assert resident_mib([child]) > 64
        assert resident_mib([process.pid, child]) > resident_mib([child])
        wait_until_idle(process.pid)
    finally:
        process.kill()
        process.communicate()
    assert eventually(lambda: resident_mib([process.pid, child]) == 0, 10), "its child ends when its input does"
    assert cpu_seconds(process.pid) == 0
