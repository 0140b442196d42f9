"""NVIDIA's load generator `perf_analyzer`: found, or made ready from wheels, and run.

    python -m swinunet.benchmarks.inference.perf_analyzer          # fetch it into the cache folder, and say where it is

The binary that runs on glibc older than 2.38 is inside the `tritonclient==2.50.0` wheel; the two libraries it wants are
inside the nvidia-pytriton wheel, under other names.
"""

from __future__ import annotations

import csv
import importlib.metadata
import os
import shutil
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swinunet.benchmarks.measure.samples import LatencySample
from swinunet.foundation.errors import SwinUNetError
from swinunet.foundation.python_process import run_module

_WHEEL = "tritonclient==2.50.0"
_BINARY = "perf_analyzer"
_LIBRARIES = {"libb64.so.0d": "libb64", "libcudart.so.12": "libcudart"}  # name wanted: how the wheel's begins
_FETCH_S, _RUN_S = 300.0, 300.0
_WINDOW_S = 0.5


class PerfAnalyzerError(SwinUNetError):
    """perf_analyzer is not there, or did not measure; the message is the reason, in one line."""


@dataclass(frozen=True)
class PerfAnalyzer:
    """The program, and the folder of the libraries it wants beside the system's (None: the system has them)."""

    path: Path
    libraries: Path | None

    def run(self, url: str, model: str, version: str, callers: int, seconds: float, image: np.ndarray) -> LatencySample:
        """`callers` requests of one slice in flight. image: float16 [1, C, H, W]. Raises PerfAnalyzerError.

        It takes the mean of three windows of `seconds` each, half a second at least: of shorter ones it refuses some.
        Its memory is not Triton's, so the sample has none.
        """
        with tempfile.TemporaryDirectory(prefix="swinunet-perf-") as name:
            folder, report = Path(name), Path(name) / "report.csv"
            (folder / "image").write_bytes(image.tobytes())
            options = {
                "-m": model,
                "-x": version,
                "-u": url,
                "-i": "grpc",
                "--concurrency-range": str(callers),
                "--measurement-interval": str(round(1e3 * max(seconds, _WINDOW_S))),
                "--max-trials": "3",
                "--stability-percentage": "999",  # else it goes on until windows agree, or gives up without a figure
                "--input-data": name,
                "--percentile": "95",
                "-f": str(report),
            }
            done = self._call([part for option in options.items() for part in option])
            if not report.is_file():
                window_s = max(seconds, _WINDOW_S)
                raise PerfAnalyzerError(f"perf_analyzer has no figure in windows of {window_s:g} s: {_reason(done)}")
            with report.open() as file:
                return _sample(next(csv.DictReader(file)), 3 * max(seconds, _WINDOW_S))

    def _call(self, arguments: list[str]) -> str:
        paths = [str(self.libraries or ""), os.environ.get("LD_LIBRARY_PATH", "")]
        environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, paths))}
        try:
            done = subprocess.run(
                [str(self.path), *arguments], env=environment, capture_output=True, text=True, timeout=_RUN_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PerfAnalyzerError(f"perf_analyzer did not run ({type(error).__name__})") from None
        return done.stderr + done.stdout


def find_perf_analyzer(fetch: bool) -> PerfAnalyzer:
    """The one on PATH, or the one in the cache folder; where there is neither and `fetch` is set, made ready there.

    Raises PerfAnalyzerError, with what would help.
    """
    if found := shutil.which(_BINARY):
        return PerfAnalyzer(Path(found), None)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "swinunet" / "perf_analyzer"
    if not all((cache / name).exists() for name in (_BINARY, *_LIBRARIES)):  # links die with their environment
        if not fetch:
            raise PerfAnalyzerError("perf_analyzer is not installed; fetch it with --perf-analyzer (13 MiB)")
        _fetch(cache)
    return PerfAnalyzer(cache / _BINARY, cache)


def _fetch(cache: Path) -> None:
    """Fill the cache folder: the binary, and links to the libraries of the nvidia-pytriton wheel."""
    libraries = {name: _library(begin) for name, begin in _LIBRARIES.items()}
    with tempfile.TemporaryDirectory(prefix="swinunet-perf-") as folder:
        options = ("download", "-q", "--no-deps", "--only-binary=:all:", _WHEEL, "-d", folder)
        try:
            run_module("pip", *options, check=True, capture_output=True, timeout=_FETCH_S)
        except (OSError, subprocess.SubprocessError):
            raise PerfAnalyzerError(f"pip could not download {_WHEEL}, which has perf_analyzer in it") from None
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            member = next((name for name in archive.namelist() if name.endswith(f"/bin/{_BINARY}")), None)
            if member is None:
                raise PerfAnalyzerError(f"the wheel of {_WHEEL} for this platform has no perf_analyzer in it")
            program = Path(archive.extract(member, folder))
        cache.mkdir(parents=True, exist_ok=True)
        for name, library in libraries.items():
            (cache / name).unlink(missing_ok=True)
            (cache / name).symlink_to(library)
        program.chmod(0o755)
        shutil.move(program, cache / _BINARY)


def _library(begin: str) -> Path:
    """The library of the nvidia-pytriton wheel whose file name begins so."""
    try:
        files = importlib.metadata.files("nvidia-pytriton") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name.startswith(begin) and ".so" in file.name:
            return Path(str(file.locate())).resolve()
    raise PerfAnalyzerError(f"perf_analyzer wants {begin}, which comes with nvidia-pytriton; install that first")


def _sample(row: dict[str, str], seconds: float) -> LatencySample:
    """A row of its report: latencies are in microseconds there. seconds: measured, together."""
    p50, p95, p99 = (float(row[f"p{percent} latency"]) / 1e3 for percent in (50, 95, 99))
    speed, queue_ms = float(row["Inferences/Second"]), float(row["Server Queue"]) / 1e3
    return LatencySample(p50, p95, p99, speed, round(speed * seconds), peak_mib=0.0, queue_ms=queue_ms)


def _reason(text: str) -> str:
    """The line in which it says what failed, or its last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    failed = [line for line in lines if "fail" in line.lower() or "error" in line.lower()]
    return (failed or lines or ["it wrote nothing"])[-1][:200]


if __name__ == "__main__":
    print(find_perf_analyzer(fetch=True).path)
