"""One way of serving under load: a real Triton, its callers, every answer compared with ONNX Runtime's float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from swinunet.benchmarks.inference.model_version import ModelVersion
from swinunet.benchmarks.inference.served_model import ServerWithCallers
from swinunet.benchmarks.inference.settings import CallerLoad
from swinunet.benchmarks.measure.processes import WorkerError, WorkerProcess
from swinunet.benchmarks.measure.samples import LabelComparison, LatencySample
from swinunet.benchmarks.tuning.candidates import Candidate
from swinunet.export.engines.registry import engine_named
from swinunet.foundation.errors import ServingError
from swinunet.serving.canary import MIN_FOREGROUND_AGREEMENT

CALLERS = (1, 2, 4, 8, 16)  # at once, each waiting for its answer before it asks again
_REFERENCE = "onnxruntime-fp32"
_TIMEOUT_S = 300.0


@dataclass
class Trial:
    """A candidate and what was found. samples: by number of callers. stopped: why no more callers were tried."""

    candidate: Candidate
    samples: dict[int, LatencySample] = field(default_factory=dict)
    comparison: LabelComparison = field(default_factory=LabelComparison)
    error: str = ""
    stopped: str = ""

    @property
    def usable(self) -> list[LatencySample]:
        """The measurements, unless its labels are wrong."""
        agreement = self.comparison.foreground_agreement
        wrong = agreement is not None and agreement < MIN_FOREGROUND_AGREEMENT
        return [] if self.error or wrong else list(self.samples.values())

    def callers_of(self, sample: LatencySample) -> int:
        """How many callers a measurement had."""
        return next(callers for callers, each in self.samples.items() if each is sample)


class Bench:
    """Where candidates are measured. seconds: for each number of callers."""

    def __init__(self, version: ModelVersion, slices: Path, reference: str, seconds: float) -> None:
        self.version, self._slices, self._reference, self._seconds = version, slices, reference, seconds

    def measure(self, candidate: Candidate, callers: Sequence[int], enough: Callable[[Trial, int], str]) -> Trial:
        """Measure at each number of callers, ascending, until `enough` says why not at the next.

        A server that does not start, or fails, has its reason in the trial.
        """
        trial = Trial(candidate)
        try:
            with self.serving(candidate, max(callers)) as server:
                for number in callers:
                    if stopped := enough(trial, number):
                        trial.stopped = stopped
                        break
                    self.add(trial, server, number)
        except (ServingError, WorkerError) as error:
            trial.error = str(error)
        return trial

    def add(self, trial: Trial, server: ServerWithCallers, callers: int) -> None:
        """Measure once more at so many callers. Raises ServingError, WorkerError."""
        load = CallerLoad(callers)
        trial.samples[callers], comparison = server.measure(load, self._seconds, self._reference)
        trial.comparison.merge(comparison)

    @contextmanager
    def serving(self, candidate: Candidate, callers: int) -> Iterator[ServerWithCallers]:
        """A server of the candidate with its callers. Raises ServingError, WorkerError."""
        with TemporaryDirectory(prefix="swinunet-tune-") as made:
            repository = write_repository(Path(made), self.version, candidate)
            with ServerWithCallers(self.version, callers, self._slices, repository) as server:
                yield server


def write_repository(folder: Path, version: ModelVersion, candidate: Candidate) -> Path:
    """A repository in `folder`, which is returned, that serves the version as the candidate says."""
    model = folder / version.spec.name
    (model / "configs").mkdir(parents=True)
    (model / version.folder.name).symlink_to(version.folder.resolve())
    for name in ("config.pbtxt", "configs/cpu.pbtxt"):
        (model / name).write_text(candidate.config(version.spec))
    return folder


def write_reference(version: ModelVersion, slices: Path, path: Path, threads: int) -> None:
    """ONNX Runtime's float32 labels of the slices, uint8 [N, H, W], .npy. Raises WorkerError."""
    engine = engine_named(_REFERENCE)
    how = {"loader": engine.library.name, "precision": engine.precision, "threads": threads}
    with WorkerProcess("engine_worker") as worker:
        worker.ask("load", _TIMEOUT_S, folder=str(version.folder.resolve()), slices=str(slices), **how)
        worker.ask("labels", _TIMEOUT_S, path=str(path))
