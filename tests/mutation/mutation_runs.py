"""Running tests on a mutant: in a forked process, only those tests that reach the changed line, until one fails."""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from mutants import Mutant
from mutation_targets import Target

_MOST_BYTES = 16 * 2**30  # of address space: a mutant may ask for absurd arrays
_PYTEST = ["-q", "-x", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--no-header"]


@dataclass
class Baseline:
    """The tests of a target on the code as it is. reached: which tests run a line of a file (path, line)."""

    seconds: dict[str, float] = field(default_factory=dict)
    reached: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    total: float = 0.0

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Tests that may notice, the fastest first; all of them where the line runs on import."""
        on_import = any(
            (mutant.path, line) in self.reached and "" in self.reached[mutant.path, line] for line in mutant.lines
        )
        found = set(self.seconds) if on_import else set()
        for line in mutant.lines:
            found |= self.reached.get((mutant.path, line), set()) - {""}
        return sorted(found, key=lambda test: self.seconds.get(test, 0))


def preload(libraries: Sequence[str]) -> None:
    """Import what the tests import, but nothing of ours: a fork then has it at once."""
    for name in (*libraries, "_pytest.assertion.rewrite", "hypothesis.extra.numpy"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutation",
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutation")


def measure_baseline(target: Target) -> Baseline:
    """Run the target's tests as they are. Raises SystemExit if one fails."""
    with tempfile.NamedTemporaryFile() as file:
        tracer = _Tracer({str(Path(path).resolve()): path for path in target.files()})
        started = time.monotonic()

        def body() -> int:
            sys.settrace(tracer)
            tests = [str(path) for path in target.test_files()]
            code = pytest.main([*_PYTEST, *tests, *_base()], plugins=[_Fast(), tracer])
            sys.settrace(None)
            Path(file.name).write_bytes(pickle.dumps((tracer.seconds, dict(tracer.reached))))
            return int(code)

        status = _wait(_fork(body, Path(tempfile.gettempdir()) / f"mutation_baseline_{target.name}.txt"), 3600)
        if status != 0:
            raise SystemExit(
                f"{target.name}: the tests fail without a mutant, see /tmp/mutation_baseline_{target.name}.txt"
            )
        seconds, reached = pickle.loads(Path(file.name).read_bytes())  # noqa: S301 - we wrote it
    return Baseline(seconds, reached, time.monotonic() - started)


def run_mutant(mutant: Mutant, target: Target, baseline: Baseline) -> str:
    """killed, survived or timeout."""
    tests = baseline.tests_of(mutant)
    if not tests:
        return "survived"
    chosen = _Chosen(tests)
    files = sorted({test.split("::")[0] for test in tests})

    def body() -> int:
        _install(mutant)
        return int(pytest.main([*_PYTEST, *files, *_base()], plugins=[chosen]))

    bound_s = 30 + 10 * sum(baseline.seconds.get(test, 0) for test in tests)
    status = _wait(_fork(body, Path(os.devnull)), bound_s)
    return "timeout" if status is None else "survived" if status == 0 else "killed"


def _base() -> list[str]:
    return [f"--basetemp={tempfile.gettempdir()}/mutation_{os.getpid()}"]


class _Chosen:
    """Keeps the tests named, in that order."""

    def __init__(self, tests: list[str]) -> None:
        self._rank = {test: rank for rank, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self._rank), key=lambda i: self._rank[i.nodeid])


class _Fast:
    """Leaves out tests that start servers or processes or measure memory: minutes, and others notice the same."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        slow = {"triton", "tritonserver", "small_triton", "nothing_left"}
        items[:] = [item for item in items if not slow & set(getattr(item, "fixturenames", ()))]
        lengthy = ("peak_memory", "matplotlib_state", "processes_that_start")
        items[:] = [item for item in items if not any(each in item.nodeid for each in lengthy)]


class _Tracer:
    """Notes which test runs which line; what fixtures run counts for every test of the file ("" on import)."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files, self._known = files, dict[str, str | None]()
        self._test, self._in_setup = "", False
        self.seconds: dict[str, float] = {}
        self.reached: dict[tuple[str, int], set[str]] = defaultdict(set)
        self._by_setup: dict[str, set[tuple[str, int]]] = defaultdict(set)

    def __call__(self, frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if name not in self._known:
            self._known[name] = self._files.get(os.path.realpath(name))
        path = self._known[name]
        if path is None:
            return None

        def on_line(frame: FrameType, event: str, arg: object) -> Any:
            at = (path, frame.f_lineno)
            if self._in_setup:
                self._by_setup[self._test.split("::")[0]].add(at)
            self.reached[at].add(self._test)
            return on_line

        return on_line(frame, event, arg)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self._test, started = item.nodeid, time.process_time()
        found = yield
        self.seconds[item.nodeid] = time.process_time() - started
        self._test = ""
        return found

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Any:
        self._in_setup = True
        found = yield
        self._in_setup = False
        sys.settrace(self)
        return found

    def pytest_sessionfinish(self) -> None:
        for test in self.seconds:
            for at in self._by_setup[test.split("::")[0]]:
                self.reached[at].add(test)


def _install(mutant: Mutant) -> None:
    """Import the mutant in the file's place."""
    path, original = str(Path(mutant.path).resolve()), importlib.machinery.SourceFileLoader.get_code

    def get_code(self: importlib.machinery.SourceFileLoader, fullname: str) -> CodeType | None:
        if os.path.realpath(self.path) == path:
            return compile(mutant.code, self.path, "exec", dont_inherit=True)
        return original(self, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]


def _fork(body: Callable[[], int], output: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
        written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(written, 1)
        os.dup2(written, 2)
        status = body()
    finally:
        shutil.rmtree(f"{tempfile.gettempdir()}/mutation_{os.getpid()}", ignore_errors=True)
        os._exit(status)


def _wait(pid: int, most_s: float) -> int | None:
    """The exit status; None if it took longer and was ended with all that it started."""
    stop = time.monotonic() + most_s
    while time.monotonic() < stop:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None
