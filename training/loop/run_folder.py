"""The folder of a run: the files in it, and how those in text are written and read.

settings.json            the data's path, the settings and the options of the data; read by `--resume`
spec.json                the ModelSpec without provenance, as `--spec` reads it
fingerprint.json         what was found in the data, and why the spec is what it is
split.json               names of the training and of the validation cases
state.safetensors        where the run stands; what `--resume` goes on from
checkpoint.safetensors   the best average of the weights so far, by validation Dice, with the spec inside
last.safetensors         the average of the weights at the last validation
log.jsonl                a line per epoch; events/ has the same for TensorBoard
curves.png, overlays.png at the end, and run.md and run.html, which show them with the figures
"""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch.utils.tensorboard import SummaryWriter

from swinunet.foundation.errors import InputError, OutputError
from swinunet.foundation.files import write_whole
from swinunet.imaging import ModelSpec
from swinunet.training.data.prepare_data import Prepared
from swinunet.training.data.split_file import SPLIT_FILE
from swinunet.training.loop.settings import TrainSettings
from swinunet.training.network.swin_unet import SwinUNetConfig

BEST_FILE, LAST_FILE, LOG_FILE = "checkpoint.safetensors", "last.safetensors", "log.jsonl"


@dataclass(frozen=True)
class Started:
    """What a run was started with. options: of the command line, those that made the spec and chose the cases.

    network: its configuration but for channels and classes; None in folders of older versions, whose recipe says it.
    """

    data: Path
    spec: ModelSpec
    settings: TrainSettings
    options: tuple[str, ...] = ()
    network: SwinUNetConfig | None = None


def make_run_folder(
    run: Path, started: Started, prepared: Prepared, training: list[str], validation: list[str]
) -> None:
    """Write what is known before the first step; settings.json comes last, and makes the folder a run.

    training, validation: names of the cases. Raises OutputError if `run` holds anything or cannot be written.
    """
    try:
        if run.exists() and any(run.iterdir()):
            raise OutputError(f"{run}: exists and is not empty; choose another run folder, or go on with --resume")
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{run}: cannot write ({error.strerror}); choose another run folder") from None
    prepared.write(run)
    _write_json(run / SPLIT_FILE, {"training": training, "validation": validation})
    network = dataclasses.asdict(started.network) if started.network else None
    origin = {"data": str(started.data.resolve()), "options": started.options, "network": network}
    _write_json(run / "settings.json", origin | {"settings": dataclasses.asdict(started.settings)})


def read_run_folder(run: Path) -> Started:
    """What `run` was started with. Raises InputError if it is no run folder, SpecError if its spec is broken."""
    path = run / "settings.json"
    try:
        stored = json.loads(path.read_text())
        settings = TypeAdapter(TrainSettings).validate_python(stored["settings"])
        spec = ModelSpec.from_json((run / "spec.json").read_text(), str(run / "spec.json"))
        options = TypeAdapter(tuple[str, ...]).validate_python(tuple(stored.get("options", ())))
        network = TypeAdapter(SwinUNetConfig | None).validate_python(stored.get("network"))
        return Started(Path(stored["data"]), spec, settings, options, network)
    except FileNotFoundError as error:
        raise InputError(f"{run}: no {Path(error.filename).name}; expected the folder of a run to resume") from None
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise InputError(
            f"{path}: not the settings of a run ({' '.join(str(error).split())}); start a new run"
        ) from None


def clear_leftovers(run: Path, epoch: int) -> None:
    """Remove what a killed run wrote after its last state: halves of files, and log lines after `epoch`."""
    for aside in run.glob(".[0-9]*.*"):
        aside.unlink(missing_ok=True)
    log = run / LOG_FILE
    if log.exists():
        lines = [json.dumps(record) for record in read_log(run) if record["epoch"] <= epoch]
        write_whole(log, "".join(f"{line}\n" for line in lines).encode())


def read_log(run: Path) -> list[dict[str, Any]]:
    """The records of `log.jsonl`, a half-written last line left out."""
    records = []
    for line in (run / LOG_FILE).read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            records.append(json.loads(line))
    return records


class Journal:
    """Where the figures of an epoch go: a line of JSON, and TensorBoard's event files.

    epoch: after which the journal goes on; events of later ones are taken back.
    """

    def __init__(self, run: Path, epoch: int) -> None:
        self._run = run
        self._events = SummaryWriter(str(run / "events"), purge_step=epoch + 1 if epoch else None)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._events.close()

    def write(self, record: dict[str, Any]) -> None:
        """record: `epoch` and figures by name. Raises OutputError if it cannot be written."""
        try:
            with (self._run / LOG_FILE).open("a") as log:
                log.write(json.dumps(record) + "\n")
            for name, value in record.items():
                if isinstance(value, int | float) and name != "epoch":
                    self._events.add_scalar(name, value, record["epoch"])
            self._events.flush()
        except OSError as error:
            raise OutputError(f"{self._run / LOG_FILE}: cannot write ({error.strerror}); free some space") from None


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())
