"""The run of the gateway's benchmark: receiving, then delivery, then memory."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from swinunet.benchmarks.gateway.delivery import DeliveryBench
from swinunet.benchmarks.gateway.instances import write_study
from swinunet.benchmarks.gateway.memory import remember
from swinunet.benchmarks.gateway.receivers import WAYS
from swinunet.benchmarks.gateway.receiving import receive
from swinunet.benchmarks.gateway.result import GatewayBenchmarkResult, MeasuredReceiving
from swinunet.benchmarks.gateway.settings import GatewayBenchmarkSettings
from swinunet.benchmarks.measure.rounds import Group, Progress, Task, no_progress, run_interleaved, sampling

_STUDIES = 8  # that the instances of a round belong to


def run_gateway_benchmark(
    settings: GatewayBenchmarkSettings, progress: Progress = no_progress
) -> GatewayBenchmarkResult:
    """Measure as set. What fails, or is not installed, has its reason in its row. Nothing is left on the disk."""
    rows = [MeasuredReceiving(*way, associations) for way in WAYS for associations in settings.associations]
    result = GatewayBenchmarkResult(settings, rows)
    with TemporaryDirectory(prefix="swinunet-gateway-benchmark-") as made, ExitStack() as resources:
        folder = Path(made)
        groups = [
            _receiving(result, folder),
            _delivery(result, folder, resources),
            _memory(result, folder),
        ]
        result.run = run_interleaved(groups, settings.rounds, progress)
    return result


def _receiving(result: GatewayBenchmarkResult, folder: Path) -> Group:
    settings, files = result.settings, list[Path]()

    def write() -> None:
        for number in range(_STUDIES):
            files.extend(
                write_study(folder / "sent", f"study{number}", settings.instances // _STUDIES, settings.pixels)
            )

    turns = [sampling(row.title, row, partial(receive, row, files, folder)) for row in result.receiving]
    return Group([Task("writing instances", write)], turns, "receiving, ")


def _delivery(result: GatewayBenchmarkResult, folder: Path, resources: ExitStack) -> Group:
    bench = DeliveryBench(result.settings, folder, resources)
    load = Task("exporting a network, starting Triton and a gateway", lambda: result.delivery.attempt(bench.start))
    turn = sampling("a study, until its SEG is delivered", result.delivery, bench.sample)
    return Group([load], [turn], "delivery, ", resources)


def _memory(result: GatewayBenchmarkResult, folder: Path) -> Group:
    settings, row = result.settings, result.memory
    turn = Task(
        f"{settings.remembered:,} instances to one gateway",
        lambda: row.take(lambda: remember(settings, folder)),
        lambda: not row.samples and row.error is None,
    )
    return Group([], [turn], "memory, ")
