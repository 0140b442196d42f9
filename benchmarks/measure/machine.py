"""The machine: what a report says of it, memory of processes, and who else used the CPU meanwhile. Linux's /proc."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# As in /proc/cpuinfo (x86, then Arm), and as people write them. Ordered from old to new.
_INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "fma": "FMA",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX512-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "avx512_fp16": "AVX512-FP16",
    "amx_int8": "AMX-INT8",
    "amx_bf16": "AMX-BF16",
    "asimd": "NEON",
    "i8mm": "I8MM",
    "bf16": "Arm BF16",
    "sve": "SVE",
}
_PACKAGES = (
    *("torch", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx"),
    *("nvidia-pytriton", "tritonclient", "numpy"),
)


@dataclass(frozen=True)
class Machine:
    """cores: physical ones that this process may use. load_average: of the minute before the run.

    others_cpu: share of these cores' time that went to processes not of this run, or to other virtual machines.
    """

    cpu: str
    cores: int
    logical_cpus: int
    instruction_sets: tuple[str, ...]
    memory_gib: float
    system: str
    python: str
    packages: dict[str, str]
    started: str
    load_average: float
    others_cpu: float | None = None


def describe_machine() -> Machine:
    """This machine, now."""
    information = _read("/proc/cpuinfo")
    return Machine(
        cpu=_cpu_name(information),
        cores=physical_cores(),
        logical_cpus=len(os.sched_getaffinity(0)),
        instruction_sets=instruction_sets(),
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        system=f"{_distribution()}, Linux {platform.release()}",
        python=platform.python_version(),
        packages=_versions(),
        started=datetime.now().astimezone().isoformat(timespec="seconds"),
        load_average=os.getloadavg()[0],
    )


def instruction_sets() -> tuple[str, ...]:
    """The vector and matrix instruction sets of this CPU that matter for inference."""
    flags = set(re.findall(r"\S+", _field(_read("/proc/cpuinfo"), "flags", "Features")))
    return tuple(name for flag, name in _INSTRUCTION_SETS.items() if flag in flags)


def physical_cores() -> int:
    """Cores that this process may use, each counted once however many threads it runs at once."""
    cores = set()
    for cpu in os.sched_getaffinity(0):
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        ids = [_read(topology / name).strip() for name in ("physical_package_id", "core_id")]
        cores.add(tuple(ids) if all(ids) else (cpu,))
    return len(cores)


def peak_mib(processes: Iterable[int | str] = ("self",)) -> float:
    """Peak resident memory of each process (VmHWM), summed, in MiB; pages that two share count twice."""
    return sum(_peak_kib(pid) for pid in processes) / 1024


class CpuWatch:
    """Who else uses the CPU: `others` after the run, when all of its processes have ended and been waited for."""

    def __init__(self) -> None:
        self._busy, self._total = _cpu_seconds()
        self._ours = _our_seconds()

    def others(self) -> float | None:
        """Share of our cores' time since the start that was neither idle nor ours; None if it cannot be known."""
        busy, total = _cpu_seconds()
        if total <= self._total:
            return None
        return max(0.0, (busy - self._busy) - (_our_seconds() - self._ours)) / (total - self._total)


def _peak_kib(pid: int | str) -> float:
    """VmHWM in KiB; 0 for a process that has gone."""
    return float((_field(_read(f"/proc/{pid}/status"), "VmHWM").split() or ["0"])[0])


def _cpu_seconds() -> tuple[float, float]:
    """Busy (stolen by other virtual machines included) and total seconds of the cores we may use, since boot."""
    ours = {f"cpu{cpu}" for cpu in os.sched_getaffinity(0)}
    busy = total = 0.0
    for line in _read("/proc/stat").splitlines():
        name, *ticks = line.split()
        if name in ours:  # user nice system idle iowait irq softirq steal; guest is within user
            spent = [int(tick) / os.sysconf("SC_CLK_TCK") for tick in ticks[:8]]
            total += sum(spent)
            busy += sum(spent) - spent[3] - spent[4]
    return busy, total


def _our_seconds() -> float:
    """CPU seconds of this process and of those that it has waited for, with theirs."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _cpu_name(information: str) -> str:
    name = _field(information, "model name", "CPU part").strip() or platform.machine()
    words = ("cpu family", "model", "stepping")
    details = [f"{word} {found}" for word in words if (found := _field(information, word))]
    virtual = ["virtual machine"] if "hypervisor" in _field(information, "flags").split() else []
    known = ", ".join([*details, *virtual])
    return f"{name} ({known})" if known else name


def _field(text: str, *names: str) -> str:
    """The value of the first `name : value` line in /proc text that has one of `names`; "" if none."""
    for name in names:
        if match := re.search(rf"^{re.escape(name)}[ \t]*:[ \t]*(.*)$", text, re.MULTILINE):
            return match[1]
    return ""


def _distribution() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return platform.system()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _read(path: str | Path) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(errors="replace")
    return ""
