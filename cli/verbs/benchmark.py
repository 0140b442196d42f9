"""`swinunet benchmark`: one of several subjects measured in interleaved rounds on this machine, and reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swinunet.cli.benchmark_progress import benchmark_progress as _progress
from swinunet.cli.benchmark_progress import publish as _publish
from swinunet.cli.options import with_options
from swinunet.cli.signals import interrupted_by_sigterm

if TYPE_CHECKING:
    from swinunet.benchmarks.inference.model_version import ModelVersion
    from swinunet.benchmarks.inference.settings import BenchmarkSettings
    from swinunet.benchmarks.reports.report import Report

_SUBJECTS = {
    "serving": "every engine and Triton",
    "training": "steps of each recipe against a plain PyTorch loop",
    "reading": "DICOM folders against a plain pydicom loop",
    "graph": "what each change that export makes to the graph saves",
    "batch": "what `swinunet batch` adds to segmenting an archive",
    "gateway": "receiving beside storescp and Orthanc, the time to the result, memory",
}
_OPTIONS_OF = {  # beside --output and --quick, which all understand
    "serving": ("repository", "model", "recipe", "data", "engines", "batches", "seconds", "perf_analyzer", "tune"),
    "training": ("recipes", "seconds"),
    "reading": (),
    "graph": ("repository", "model", "recipe", "seconds"),
    "batch": (),
    "gateway": (),
}


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is measured, how long, and where the report goes."""

    what: Annotated[str, typer.Argument(metavar="WHAT")] = "serving"
    """serving, training, reading, graph, batch or gateway."""
    repository: Annotated[Path | None, typer.Option(show_default="model_repository/ of the checkout")] = None
    """Model repository."""
    model: str | None = None
    """Model name, if the repository has several; or a version folder."""
    recipe: str | None = None
    """Measure the untrained network of this recipe, such as swin-unet, instead of a model."""
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("benchmark_output")
    """Folder for the report."""
    data: Path | None = None
    """Labelled cases: measure each engine's Dice on the first ten."""
    engines: Annotated[str | None, typer.Option(show_default="all")] = None
    """Engines to measure, as openvino-f32,openvino-bf16."""
    batches: Annotated[str | None, typer.Option(show_default="1,2,4,8,16,32")] = None
    """Batch sizes to measure."""
    seconds: Annotated[float | None, typer.Option(show_default="0.5, or 0.1 with --quick")] = None
    """Time for each row in each round."""
    perf_analyzer: Annotated[bool, typer.Option("--perf-analyzer")] = False
    """Download NVIDIA's load generator if it is not installed (13 MiB)."""
    tune: Annotated[str | None, typer.Option(metavar="MODEL")] = None
    """At the end tune this model of the repository for throughput; the gain goes into the report."""
    recipes: Annotated[str | None, typer.Option(show_default="all")] = None
    """Of `benchmark training`: recipes to measure, as small,tiny."""
    quick: Annotated[bool, typer.Option("--quick")] = False
    """Two short rounds, to see that everything works."""

    def require_consistent(self) -> None:
        """Raise InputError for options that contradict each other, or that would be ignored, and unknown recipes."""
        from swinunet.foundation.errors import InputError
        from swinunet.foundation.nearest import did_you_mean
        from swinunet.training.network.recipe_sizes import require_recipe

        if self.what not in _SUBJECTS:
            listed = ", ".join(f"{name} ({meaning})" for name, meaning in _SUBJECTS.items())
            raise InputError(
                f"there is no benchmark of {self.what!r}; choose one of {listed}{did_you_mean(self.what, _SUBJECTS)}"
            )
        if self.seconds is not None and not 0 < self.seconds <= 600:
            raise InputError(f"--seconds is {self.seconds:g}; expected more than 0 and at most 600")
        for name in dict.fromkeys(name for names in _OPTIONS_OF.values() for name in names):
            if getattr(self, name) not in (None, False) and name not in _OPTIONS_OF[self.what]:
                of = ", ".join(what for what, names in _OPTIONS_OF.items() if name in names)
                option = "--" + name.replace("_", "-")
                raise InputError(f"{option} is not of `swinunet benchmark {self.what}` (of {of} only); leave it out")
        if self.recipe is not None and (self.repository or self.model or self.data):
            raise InputError("--recipe makes its own model; leave out --repository, --model and --data")
        for name in filter(None, [self.recipe, *(self.recipes or "").split(",")]):
            require_recipe(name.strip())

    def settings(self) -> BenchmarkSettings:
        """Of `benchmark serving`. Raises InputError for unknown engines or batches."""
        from dataclasses import replace

        from swinunet.benchmarks.inference.settings import BenchmarkSettings, choose_engines, choose_sizes

        settings = BenchmarkSettings.short() if self.quick else BenchmarkSettings()
        if self.engines is not None:
            settings = replace(settings, engines=choose_engines(self.engines))
        if self.batches is not None:
            settings = replace(settings, batches=choose_sizes(self.batches, "--batches"))
        return replace(settings, seconds=self.seconds or settings.seconds, perf_analyzer=self.perf_analyzer)


_COMMON = ("--model", "--recipe", "--output", "--data", "--engines", "--batches", "--quick")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("benchmark")(with_options(benchmark, common=_COMMON))


def benchmark(options: BenchmarkOptions) -> None:
    """Measure every engine, Triton, and the chain from DICOM to SEG.

    All in one run, interleaved. It writes report.md, report.json, engines.png, triton.png and chain.png: latency,
    throughput, memory, labels, the share of this machine's matrix-multiply peak, and which goals were reached. Takes
    about a quarter of an hour, two minutes with --quick; leave the machine alone meanwhile. With --tune it also says
    what `swinunet tune` gains, and writes tune.md, tune.json and tune.png; the repository stays as it is.

    `swinunet benchmark training` measures training steps on the CPU instead, and writes training.md and training.json.
    A step of a large recipe takes about half a minute on one core; choose with --recipes.

    `swinunet benchmark reading` measures how DICOM is read: a CT of 1,000 slices, compressed and not, and a folder of
    10,000 files. It writes reading.md, reading.json and reading.png, and 0.8 GB of files that it removes again.

    `swinunet benchmark graph` counts nodes and measures a slice before and after each change that export makes to the
    graph, and writes graph.md and graph.json.

    `swinunet benchmark batch` measures what the driver of a batch costs an entry, what a batch adds to segmenting, and
    how Ray's workers scale, and writes batch.md and batch.json.

    `swinunet benchmark gateway` measures how fast the gateway receives, beside dcmtk's storescp and Orthanc where they
    are installed, how soon a result goes out, and its memory after 10,000 instances. It writes gateway.md,
    gateway.json and gateway.png.

    Examples: `swinunet benchmark --recipe swin-unet`, `swinunet benchmark --quick --engines openvino-f32`,
    `swinunet benchmark training --recipes small,tiny`
    """
    options.require_consistent()
    measure: dict[str, Callable[[BenchmarkOptions], None]] = {
        "serving": _serving,
        "training": _training,
        "reading": _reading,
        "graph": _graph,
        "batch": _batch,
        "gateway": _gateway,
    }
    measure[options.what](options)


def _serving(options: BenchmarkOptions) -> None:
    from tempfile import TemporaryDirectory

    settings = options.settings()  # refuses unknown engines before PyTorch is imported
    from swinunet.benchmarks.inference.benchmark import run_benchmark
    from swinunet.benchmarks.inference.model_version import find_version
    from swinunet.benchmarks.inference.report import benchmark_report
    from swinunet.foundation.files import prepare_folder
    from swinunet.foundation.paths import default_repository
    from swinunet.foundation.terminal import print_line
    from swinunet.training.data.folders import DataFolder

    if options.data is not None:
        DataFolder.open(options.data)  # refuse it now, not in every engine
    tuned = _require_tunable(options)
    with TemporaryDirectory(prefix="swinunet-benchmark-") as made, interrupted_by_sigterm():
        if options.recipe is not None:
            from swinunet.benchmarks.inference.untrained import export_untrained

            version = export_untrained(options.recipe, Path(made), () if settings.quick else settings.engines)
        else:
            version = find_version(options.repository or default_repository(), options.model)
        prepare_folder(options.output)
        print_line(f"{version.title}: {settings.summary}")
        with _progress() as progress:
            result = run_benchmark(version, settings, progress, data=options.data, trained=options.recipe is None)
        report = benchmark_report(result)
        _publish(_with_gain(report, tuned, options) if tuned else report, options.output)


def _require_tunable(options: BenchmarkOptions) -> ModelVersion | None:
    """The version to tune, None for none. Raises InputError, before anything is measured, for one that cannot be."""
    if options.tune is None:
        return None
    from swinunet.benchmarks.inference.model_version import find_version
    from swinunet.benchmarks.tuning.search import planned
    from swinunet.foundation.paths import default_repository

    version = find_version(options.repository or default_repository(), options.tune)
    planned(version)
    return version


def _with_gain(report: Report, version: ModelVersion, options: BenchmarkOptions) -> Report:
    """Tune a version, publish what was found, and return the report with the gain."""
    from swinunet.benchmarks.inference.model_version import gflop
    from swinunet.benchmarks.tuning.goal import Goal
    from swinunet.benchmarks.tuning.report import tuning_report, with_gain, without_gain
    from swinunet.benchmarks.tuning.search import tune_model
    from swinunet.foundation.errors import SwinUNetError

    try:
        with _progress() as progress:
            result = tune_model(
                version, Goal(), gflop(version), options.seconds or (0.1 if options.quick else 1.0), progress
            )
    except SwinUNetError as error:  # what was measured before is published all the same
        return without_gain(report, str(error))
    _publish(tuning_report(result), options.output)
    return with_gain(report, result)


def _training(options: BenchmarkOptions) -> None:
    from swinunet.benchmarks.training import TrainingSettings, parse_recipes, run_training_benchmark, training_report
    from swinunet.benchmarks.training_memory import measure_memory
    from swinunet.foundation.files import prepare_folder

    names = parse_recipes(options.recipes)
    prepare_folder(options.output)
    rounds, default_s = (2, 0.2) if options.quick else (5, 2.0)
    settings = TrainingSettings(names, rounds, options.seconds or default_s, options.quick)
    with interrupted_by_sigterm(), _progress() as progress:
        result = run_training_benchmark(settings, progress)
        result.memory = [] if settings.quick else measure_memory()
    _publish(training_report(result), options.output)


def _reading(options: BenchmarkOptions) -> None:
    from swinunet.benchmarks.reading import ReadingSettings, reading_report, run_reading_benchmark
    from swinunet.foundation.files import prepare_folder

    prepare_folder(options.output)
    with interrupted_by_sigterm(), _progress() as progress:
        result = run_reading_benchmark(ReadingSettings.short() if options.quick else ReadingSettings(), progress)
    _publish(reading_report(result), options.output)


def _batch(options: BenchmarkOptions) -> None:
    from swinunet.benchmarks.batch import BatchBenchmarkSettings, batch_report, run_batch_benchmark
    from swinunet.foundation.files import prepare_folder

    prepare_folder(options.output)
    settings = BatchBenchmarkSettings.short() if options.quick else BatchBenchmarkSettings()
    with interrupted_by_sigterm(), _progress() as progress:
        result = run_batch_benchmark(settings, progress)
    _publish(batch_report(result), options.output)


def _gateway(options: BenchmarkOptions) -> None:
    from swinunet.benchmarks.gateway.benchmark import run_gateway_benchmark
    from swinunet.benchmarks.gateway.report import gateway_report
    from swinunet.benchmarks.gateway.settings import GatewayBenchmarkSettings
    from swinunet.foundation.files import prepare_folder

    prepare_folder(options.output)
    settings = GatewayBenchmarkSettings.short() if options.quick else GatewayBenchmarkSettings()
    with interrupted_by_sigterm(), _progress() as progress:
        result = run_gateway_benchmark(settings, progress)
    _publish(gateway_report(result), options.output)


def _graph(options: BenchmarkOptions) -> None:
    from swinunet.benchmarks.graph import GraphSettings, graph_report, run_graph_benchmark
    from swinunet.benchmarks.inference.model_version import find_version, real_slices
    from swinunet.benchmarks.inference.untrained import untrained_network
    from swinunet.export.file_names import CHECKPOINT_FILE
    from swinunet.export.repository.version_files import read_checkpoint
    from swinunet.foundation.files import prepare_folder
    from swinunet.foundation.paths import default_repository

    if options.recipe is not None:
        title = f"{options.recipe}, untrained"
        network, spec, slices = untrained_network(options.recipe)
    else:
        version = find_version(options.repository or default_repository(), options.model)
        title = version.title
        network, spec = read_checkpoint(version.folder / CHECKPOINT_FILE, None)
        slices, _ = real_slices(version)
    prepare_folder(options.output)
    rounds, default_s = (2, 0.1) if options.quick else (5, 1.0)
    settings = GraphSettings(rounds, options.seconds or default_s, options.quick)
    with interrupted_by_sigterm(), _progress() as progress:
        result = run_graph_benchmark(title, network, spec, slices, settings, progress)
    _publish(graph_report(result), options.output)
