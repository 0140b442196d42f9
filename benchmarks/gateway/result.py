"""What a run of the gateway's benchmark found."""

from __future__ import annotations

from dataclasses import dataclass, field

from swinunet.benchmarks.gateway.receivers import PROGRAMS, PROTOCOLS
from swinunet.benchmarks.gateway.settings import GatewayBenchmarkSettings
from swinunet.benchmarks.measure.measurements import Measurements
from swinunet.benchmarks.measure.rounds import Run


@dataclass(frozen=True)
class ReceivingSample:
    """seconds: from the start of the senders to their end. cpu_s: of all processes of the receiver meanwhile."""

    instances: int
    seconds: float
    cpu_s: float

    @property
    def per_second(self) -> float:
        """Instances a second."""
        return self.instances / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU time of an instance."""
        return 1000 * self.cpu_s / self.instances


@dataclass
class MeasuredReceiving(Measurements[ReceivingSample]):
    """A program, a protocol, and how many associations or connections at once; the names are those of `receivers`."""

    program: str
    protocol: str
    associations: int

    @property
    def title(self) -> str:
        """The row in words."""
        return f"{PROGRAMS[self.program]}, {PROTOCOLS[self.protocol]}, {self.associations} at once"


@dataclass(frozen=True)
class DeliverySample:
    """total_s: from before the last instance is sent until the PACS has the SEG. rule_s: of silence that the route's
    rule wants. segmentation_s: as the job's report has it."""

    total_s: float
    rule_s: float
    segmentation_s: float

    @property
    def beyond_s(self) -> float:
        """What the gateway adds to the rule and the segmentation."""
        return self.total_s - self.rule_s - self.segmentation_s


@dataclass(frozen=True)
class MemorySample:
    """After so many instances, in MiB: of the process that receives, and of it with its worker."""

    instances: int
    receiver_mib: float
    all_mib: float


@dataclass
class GatewayBenchmarkResult:
    """All rows. memory: one sample, which is the whole course."""

    settings: GatewayBenchmarkSettings
    receiving: list[MeasuredReceiving]
    delivery: Measurements[DeliverySample] = field(default_factory=Measurements)
    memory: Measurements[list[MemorySample]] = field(default_factory=Measurements)
    run: Run = field(default_factory=Run)
