"""`swinunet tune`: the fastest way of serving a model on this machine, measured under load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swinunet.cli.options import with_options

if TYPE_CHECKING:
    from swinunet.benchmarks.inference.model_version import ModelVersion
    from swinunet.benchmarks.tuning.goal import Goal


@dataclass(frozen=True)
class TuneOptions:
    """Which model, and what for."""

    model: Annotated[str | None, typer.Argument(metavar="MODEL", show_default="the only one")] = None
    """Model name, or a version folder."""
    repository: Annotated[Path | None, typer.Option(show_default="model_repository/ of the checkout")] = None
    """Model repository."""
    latency_ms: float | None = None
    """Highest throughput at which 95 of 100 requests of one slice are answered in this time."""
    throughput: Annotated[bool, typer.Option("--throughput")] = False
    """Highest throughput, however long a request takes."""
    memory_mb: float | None = None
    """Highest throughput with no more memory than this (10^6 bytes, peak of the server)."""
    seconds: Annotated[float, typer.Option(min=0.05, max=60)] = 1.0
    """Time for each way of serving at each number of callers."""
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("tune_output")
    """Folder for the report."""
    dry_run: Annotated[bool, typer.Option("--dry-run")] = False
    """Only say what would be tried."""
    write: Annotated[bool, typer.Option("--write/--no-write")] = True
    """Write configs/tuned.pbtxt, which `swinunet serve` then takes on this kind of machine."""

    def goal(self) -> Goal:
        """What it is tuned for. Raises InputError where nothing is said, or what contradicts itself."""
        from swinunet.benchmarks.tuning.goal import Goal
        from swinunet.foundation.errors import InputError

        if self.latency_ms is None and self.memory_mb is None and not self.throughput:
            raise InputError("nothing says what to tune for; give --latency-ms N, --memory-mb N or --throughput")
        if self.throughput and self.latency_ms is not None:
            raise InputError("--throughput is without a limit of latency; leave it or --latency-ms out")
        return Goal(self.latency_ms, self.memory_mb)


_COMMON = ("--latency-ms", "--throughput", "--memory-mb", "--seconds", "--output", "--dry-run")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("tune", no_args_is_help=True)(with_options(tune, common=_COMMON))


def tune(options: TuneOptions) -> None:
    """Find the fastest way of serving a model on this machine.

    A real Triton is put under load. Tried are the engines that are exported and passed the gate, processes, streams
    that share one copy of the weights, batches and queue delays. Every answer is compared with ONNX Runtime's float32.
    The winner becomes configs/tuned.pbtxt, which `swinunet serve` takes by itself on a machine of the same kind. Takes
    some minutes; leave the machine alone meanwhile.

    Examples: `swinunet tune swin_unet_hippocampus --latency-ms 100`, `swinunet tune --throughput --dry-run`
    """
    goal = options.goal()
    from swinunet.benchmarks.inference.model_version import find_version
    from swinunet.foundation.paths import default_repository

    version = find_version(options.repository or default_repository(), options.model)
    if options.dry_run:
        _say_what_would_be_tried(version, goal)
        return
    _tune(version, goal, options)


def _say_what_would_be_tried(version: ModelVersion, goal: Goal) -> None:
    from swinunet.benchmarks.tuning.measuring import CALLERS
    from swinunet.benchmarks.tuning.search import planned
    from swinunet.foundation.terminal import print_line

    candidates, left_out = planned(version)
    print_line(f"{version.title}, {goal.text}: up to {len(candidates)} ways, at {', '.join(map(str, CALLERS))} callers")
    for candidate in candidates:
        print_line(f"- {candidate.title}")
    print_line("the last of them of whichever engine is the best, and none that a bound shows to lose")
    for each in left_out:
        print_line(f"not tried: {each.title}: {each.reason}")


def _tune(version: ModelVersion, goal: Goal, options: TuneOptions) -> None:
    from swinunet.benchmarks.inference.model_version import gflop
    from swinunet.benchmarks.tuning.report import tuning_report
    from swinunet.benchmarks.tuning.search import tune_model
    from swinunet.benchmarks.tuning.tuned_config import write_tuned_config
    from swinunet.cli.benchmark_progress import benchmark_progress, publish
    from swinunet.cli.signals import interrupted_by_sigterm
    from swinunet.foundation.files import prepare_folder
    from swinunet.foundation.terminal import print_line

    prepare_folder(options.output)
    if options.write:
        prepare_folder(version.folder.parent / "configs")
    with interrupted_by_sigterm(), benchmark_progress() as progress:
        result = tune_model(version, goal, gflop(version), options.seconds, progress)
    publish(tuning_report(result), options.output)
    if options.write:
        print_line(f"{write_tuned_config(result)}: `swinunet serve` takes it by itself on this kind of machine")
