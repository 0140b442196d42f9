"""What a benchmark measures. A new engine, batch or number of callers is one more entry here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Engine:
    """One engine in one precision.

    name: as people write it. loader: key in `export.engines.LOADERS`. precision: what the loader is asked for.
    """

    name: str
    loader: str
    precision: str

    @property
    def title(self) -> str:
        """Name and precision, as a row is headed."""
        return f"{self.name} {self.precision}"


BASELINE = Engine("PyTorch eager", "pytorch", "fp32")  # ratios and label agreement are against it
ENGINES = (
    BASELINE,
    Engine("ONNX Runtime", "onnxruntime", "fp32"),
    Engine("OpenVINO", "openvino", "f32"),
    Engine("OpenVINO", "openvino", "bf16"),
)
BATCHES = (1, 8)  # slices; ascending, because the peak memory of a process never falls
CALLERS = (1, 8)  # at once on Triton, each waiting for its answer before it asks again; ascending too


@dataclass(frozen=True)
class Plan:
    """One run: `rounds` times through all rows, each row for `seconds` s at a time.

    threads: of each engine; None is the physical cores that this process may use.
    """

    engines: tuple[Engine, ...] = ENGINES
    batches: tuple[int, ...] = BATCHES
    callers: tuple[int, ...] = CALLERS
    rounds: int = 5
    seconds: float = 2.0
    threads: int | None = None
    quick: bool = False

    @staticmethod
    def short(seconds: float = 0.2) -> Plan:
        """Two short rounds: shows that everything runs and computes the same, not how fast it is."""
        return Plan(rounds=2, seconds=seconds, quick=True)
