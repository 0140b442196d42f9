"""Hostile files are read in processes under limits; whatever is not a clean refusal is a failure, named by its case.

PYTHONPATH=tests/support python tests/fuzz/fuzz_reading.py --seconds 600      # many cases, on all cores
PYTHONPATH=tests/support python tests/fuzz/fuzz_reading.py --case rle/nested/3  # one, with its traceback
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fuzz_mutations import case_names, mutated
from fuzz_seeds import SENTINELS, Seed, seeds

from swinunet.client.dicom import ALLOWANCES, read_volume, scan_folder, select_series
from swinunet.foundation.errors import SwinUNetError
from swinunet.imaging.nifti import read_nifti, read_nifti_labels, read_nifti_modalities

SECONDS_A_CASE = 20  # then the kernel ends the process; cases take some milliseconds
ADDRESS_SPACE_BYTES = 3 << 30
PEAK_BYTES = 512 << 20  # of resident memory, of which 250 MB are Python and its libraries
_ROUND = 8  # cases of each mutation in one call of a process
_MOST_DEATHS = 20
_LONGEST_TEXT = 2000  # characters of one message


@dataclass(frozen=True)
class Case:
    """What came of one case. outcome: read, refused, or failed; what: why it failed."""

    name: str
    outcome: str
    seconds: float
    peak_bytes: int
    what: str = ""


@dataclass
class Reading:
    """One attempt. texts: all that was said, without the input's own path. refusals: how often it was refused."""

    texts: list[str] = field(default_factory=list)
    refusals: int = 0
    digest: str = ""


def peak_bytes() -> int:
    """Peak resident memory of this process; `ru_maxrss` would be that of the process which started it, too."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def fuzz(first: int, last: int, folder: Path, processes: int) -> list[Case]:
    """Every case numbered `first` to `last`, in that many processes. folder: empty, for their files."""
    with ThreadPoolExecutor(processes) as pool:
        parts = [pool.submit(_run_part, first, last, folder / str(i), i, processes) for i in range(processes)]
        return [case for part in parts for case in part.result()]


def summary(cases: Sequence[Case], seconds: float) -> str:
    """One line for a person."""
    counts = Counter(case.outcome for case in cases)
    slowest = max(cases, key=lambda case: case.seconds)
    return (
        f"{len(cases)} files in {seconds:.0f} s: {counts['refused']} refused, {counts['read']} read, "
        f"{counts['failed']} failed; slowest {slowest.seconds:.2f} s ({slowest.name}), "
        f"peak memory {max(case.peak_bytes for case in cases) / 2**20:.0f} MiB"
    )


def _run_part(first: int, last: int, folder: Path, part: int, parts: int) -> list[Case]:
    """The cases of one process; one that dies is started anew behind the case of which it died."""
    cases: list[Case] = []
    for life in range(_MOST_DEATHS):
        own = folder / str(life)
        own.mkdir(parents=True)
        command = [sys.executable, __file__, "--work", *map(str, (own, first, last, part, parts, len(cases)))]
        here = Path(__file__).parent
        path = os.pathsep.join((str(here), str(here.parent / "support"), str(here.parents[1])))
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        cases += [Case(**line) for line in lines if isinstance(line, dict)]
        if done.returncode == 0:
            break
        name = lines[-1] if lines and isinstance(lines[-1], str) else "before the first case"
        what = f"its process died with status {done.returncode}; {done.stderr[-2000:]}"
        cases.append(Case(name, "failed", 0, 0, what))
    return cases


def _work(folder: Path, names: Sequence[str]) -> None:
    """Read the cases under limits, with nothing but their reports on standard output."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    noise = folder / "noise"
    heard = os.open(noise, os.O_CREAT | os.O_RDWR | os.O_APPEND)
    os.dup2(heard, 1)
    os.dup2(heard, 2)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    seeds()
    (folder / "tmp").mkdir(exist_ok=True)
    tempfile.tempdir = str(folder / "tmp")
    os.chdir(folder / "tmp")
    for name in names:
        print(json.dumps(name), file=answers)
        signal.setitimer(signal.ITIMER_REAL, SECONDS_A_CASE)
        began = time.perf_counter()
        outcome, what = run_case(name, folder)
        seconds = time.perf_counter() - began
        signal.setitimer(signal.ITIMER_REAL, 0)
        peak = peak_bytes()
        os.lseek(heard, 0, os.SEEK_SET)
        if said := os.read(heard, 2000):
            what = f"{what}; it said {said!r}"
            os.ftruncate(heard, 0)
        if peak > PEAK_BYTES:
            what = f"{what}; resident memory has come to {peak} bytes"
        left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        if left != ["noise", "tmp"]:
            what = f"{what}; it left {left}"
        case = Case(name, "failed" if what else outcome, round(seconds, 4), peak, what)
        print(json.dumps(vars(case)), file=answers)


def run_case(name: str, folder: Path) -> tuple[str, str]:
    """Read one hostile file in a folder of its own: the outcome, and what is wrong with it, empty if nothing is."""
    seed, content = mutated(name)
    try:
        reading = read_input(seed, content, folder)
    except Exception:
        return "failed", traceback.format_exc()
    if (
        "/truncate/" in name
        and not reading.refusals
        and reading.digest != read_input(seed, seed.content, folder).digest
    ):
        return "failed", "a truncated file was read as if it were whole"
    for text in reading.texts:
        if any(sentinel in text for sentinel in SENTINELS):
            return "failed", f"it shows patient data: {text}"
        if not text.isprintable() or "MemoryError" in text or len(text) > _LONGEST_TEXT:
            return "failed", f"this is nothing for a person: {text[:_LONGEST_TEXT]!r}"
    return "refused" if reading.refusals else "read", ""


def read_input(seed: Seed, content: bytes, folder: Path) -> Reading:
    """Read a seed with this content instead of its own, in every way that there is."""
    reading, digest = Reading(), hashlib.sha1()
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        path = write_input(seed, content, Path(inner))
        for attempt in (_attempt_nifti if seed.kind == "nifti" else _attempt_dicom)(path, reading):
            try:
                for voxels in attempt():
                    digest.update(voxels.tobytes())
            except SwinUNetError as error:
                reading.refusals += 1
                reading.texts.append(str(error).replace(str(path), "PATH"))
        kept = {str(one.relative_to(inner)) for one in Path(inner).rglob("*") if one.is_file()}
        assert kept == {seed.name, *seed.others}, f"files appeared or went: {kept}"
    reading.digest = digest.hexdigest()
    return reading


def write_input(seed: Seed, content: bytes, folder: Path) -> Path:
    """Write a seed with this content instead of its own, and return what is to be read: the folder or the file."""
    for name, each in (seed.others | {seed.name: content}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(each)
    return folder if seed.kind == "dicom" else folder / seed.name


def _attempt_nifti(path: Path, reading: Reading) -> Iterator[Callable[[], list[np.ndarray]]]:
    yield lambda: [read_nifti(path).voxels]
    yield lambda: [volume.voxels for volume in read_nifti_modalities(path)]
    yield lambda: [read_nifti_labels(path).voxels]


def _attempt_dicom(path: Path, reading: Reading) -> Iterator[Callable[[], list[np.ndarray]]]:
    scans = []
    yield lambda: scans.append(scan_folder(path)) or []
    for scan in scans:
        reading.texts += [text for one in scan.unreadable for text in (one.name, one.fault)]
        reading.texts += [text for one in scan.series for text in (one.summary(), one.verdict.sentence)]
        reading.texts += scan.objects
        yield lambda scan=scan: select_series(scan, allow=ALLOWANCES) and []
        for series in scan.series:
            yield lambda series=series: [_finite(read_volume(series, ALLOWANCES).volume.voxels)]


def _finite(voxels: np.ndarray) -> np.ndarray:
    assert np.isfinite(voxels).all(), "voxels that are no numbers"
    return voxels


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="go on with new cases for so long")
    parser.add_argument("--case", help="SEED/MUTATION/NUMBER: read this one only, here")
    parser.add_argument("--work", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        first, last, part, parts, done = map(int, options.work[1:])
        _work(Path(options.work[0]), list(case_names(first, last))[part::parts][done:])
        return
    if options.case:
        with tempfile.TemporaryDirectory() as folder:
            print(*run_case(options.case, Path(folder)), sep="\n")
        return
    began, first, cases = time.monotonic(), 0, list[Case]()
    while not cases or time.monotonic() - began < options.seconds:
        with tempfile.TemporaryDirectory() as folder:
            found = fuzz(first, first + _ROUND, Path(folder), len(os.sched_getaffinity(0)))
        for case in found:
            if case.outcome == "failed":
                print(f"{case.name}: {case.what}", file=sys.stderr)
        cases, first = cases + found, first + _ROUND
        print(summary(cases, time.monotonic() - began), flush=True)
    sys.exit(any(case.outcome == "failed" for case in cases))


if __name__ == "__main__":
    _main()
