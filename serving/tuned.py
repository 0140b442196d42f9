"""May a tuned config be served here? `swinunet tune` measured it on one machine, and on another it would be a guess.

configs/tuned.pbtxt   the config
configs/tuned.json    the machine that it was measured on, the SHA-256 of the config, and what was found
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from swinunet.foundation.errors import ServingError
from swinunet.foundation.files import sha256_of_file
from swinunet.serving.processor import in_words, this_processor

TUNED = "tuned"
TUNED_CONFIG, TUNED_RECORD = "configs/tuned.pbtxt", "configs/tuned.json"
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class MachineKind:
    """What makes two machines of one kind. cpus: that a process may use. instruction_sets: those that matter."""

    processor: str
    cpus: int
    instruction_sets: str

    @property
    def text(self) -> str:
        """In words."""
        return f"{self.processor}, {self.cpus} CPUs ({self.instruction_sets})"


@dataclass(frozen=True)
class TunedRecord:
    """What lies beside a tuned config. goal: what it was tuned for. figures: what was measured, for people."""

    machine: MachineKind
    config_sha256: str
    created: str
    goal: str
    figures: dict[str, Any]

    def to_json(self) -> str:
        """As it is written."""
        return json.dumps(asdict(self), indent=1) + "\n"


def this_machine() -> MachineKind:
    """The machine that this runs on."""
    try:
        text = _CPUINFO.read_text(errors="replace")
    except OSError:
        text = ""
    name = re.search(r"^(?:model name|Hardware|CPU part)\s*:\s*(.+)$", text, re.MULTILINE)
    processor = name[1].strip() if name else "an unknown processor"
    return MachineKind(processor, len(os.sched_getaffinity(0)), in_words(this_processor()))


def read_record(model: Path) -> TunedRecord:
    """The record in a model's folder. Raises ServingError if it is missing or cannot be read."""
    path = model / TUNED_RECORD
    try:
        said = json.loads(path.read_text())
        machine = MachineKind(**{field.name: said["machine"][field.name] for field in fields(MachineKind)})
        rest = {field.name: said[field.name] for field in fields(TunedRecord) if field.name != "machine"}
        return TunedRecord(machine, **rest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServingError(
            f"{path} cannot be read ({type(error).__name__}), so nobody knows where {TUNED_CONFIG} was measured; "
            f"{_instead(model)}"
        ) from None


def check_tuned(repository: Path, machine: MachineKind | None = None) -> None:
    """Check that each tuned config of a repository was measured on this kind of machine, and is as it was written.

    machine: None asks this one. Raises ServingError, saying what to do.
    """
    here = machine or this_machine()
    for model in _tuned_models(repository):
        record = read_record(model)
        if record.machine != here:
            raise ServingError(
                f"{model / TUNED_CONFIG} was measured on {record.machine.text}, this is {here.text}; {_instead(model)}"
            )
        if sha256_of_file(model / TUNED_CONFIG) != record.config_sha256:
            raise ServingError(f"{model / TUNED_CONFIG} was changed after it was measured; {_instead(model)}")


def chosen_by_itself(repository: Path) -> tuple[str, str]:
    """The config to serve where none is asked for, and why it is not the tuned one, or an empty text.

    `tuned` where a model has been tuned on this kind of machine, else `cpu`.
    """
    if not _tuned_models(repository):
        return "cpu", ""
    try:
        check_tuned(repository)
    except ServingError as error:
        return "cpu", f"not tuned: {error}"
    return TUNED, ""


def _tuned_models(repository: Path) -> list[Path]:
    return sorted(path.parents[1] for path in repository.glob(f"*/{TUNED_CONFIG}"))


def _instead(model: Path) -> str:
    return f"tune it here (swinunet tune {model.name}), or serve it with --config cpu"
