"""The whole of `make gpu-check`: prepares the models, measures the roofline, makes a row of each engine and model."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from swinunet.benchmarks.gpu_check.result import EngineRow, GpuCheckResult, PreparedModel
from swinunet.benchmarks.gpu_check.roofline import Roofline
from swinunet.benchmarks.gpu_check.rows import RowOrder, make_row
from swinunet.benchmarks.gpu_check.settings import (
    CHECKED,
    CPU_BATCHES,
    GPU_BATCHES,
    GpuCheckSettings,
    engine_title,
    lacks,
)
from swinunet.benchmarks.measure.machine import CpuWatch
from swinunet.benchmarks.measure.processes import WorkerError, WorkerProcess
from swinunet.foundation.progress import Say, say_nothing
from swinunet.serving.plan import this_host

_LEAST_S = 5.0  # a row is not begun with less time than this


def run_gpu_check(settings: GpuCheckSettings, say: Say = say_nothing) -> GpuCheckResult:
    """Check this machine within `settings.total_s`. Never raises for what is missing or broken: each row says it."""
    began, watch, host = time.monotonic(), CpuWatch(), this_host()
    end = began + settings.total_s
    batches = settings.batches or (CPU_BATCHES if host.gpu is None else GPU_BATCHES)
    result = GpuCheckResult(host.gpu, host.compute_capability, batches)
    say(f"GPU: {host.gpu or 'none that nvidia-smi lists; the CPU rows show that the check works'}")
    with tempfile.TemporaryDirectory(prefix="swinunet-gpu-check-") as scratch:
        sources = _sources(settings)
        for index, (source, recipe) in enumerate(sources):
            say(f"preparing {source.name if source else f'the network of recipe {recipe}, untrained'}")
            target = Path(scratch) / str(index)
            result.models.append(prepare_model(source, recipe, target, max(0.0, end - time.monotonic()) / 2))
        _make_rows(settings, result, end, say)
    order = [model.title for model in result.models]
    result.rows.sort(key=lambda row: order.index(row.model))
    result.run.machine = replace(result.run.machine, others_cpu=watch.others())
    result.run.seconds = time.monotonic() - began
    return result


def _make_rows(settings: GpuCheckSettings, result: GpuCheckResult, end: float, say: Say) -> None:
    """Engine by engine, so that what takes long comes last for every model."""
    roofline = Roofline()
    for model in result.models:
        if not model.error:
            say(f"{model.title}: roofline")
            roofline.measure(model, result.gpu is not None, result.batches, _limit_s(settings, end))
    result.peaks, result.peaks_of, result.roofline_reason = roofline.peaks, roofline.device, roofline.reason
    order = RowOrder(result.gpu, result.compute_capability, result.batches, settings.seconds)
    for engine in CHECKED:
        for model in result.models:
            limit_s = _limit_s(settings, end)
            if limit_s < min(_LEAST_S, settings.row_s):
                over = f"the {settings.total_s:.0f} s of the whole check were over (--minutes gives more)"
                row = EngineRow(model.title, engine, reason=lacks(engine, result.gpu) or over)
            else:
                row = make_row(engine, model, order, roofline, limit_s)
            result.rows.append(row)
            say(f"{model.title}, {engine_title(engine)}: {row.outcome}{f' ({row.reason})' if row.reason else ''}")


def _limit_s(settings: GpuCheckSettings, end: float) -> float:
    return max(0.0, min(settings.row_s, end - time.monotonic()))


def _sources(settings: GpuCheckSettings) -> list[tuple[Path | None, str]]:
    """The model folders of the repository, then the recipe."""
    folder = settings.repository
    models = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    shipped = [path for path in models if any(each.name.isdigit() for each in path.iterdir())]
    return [*((path.resolve(), "") for path in shipped), (None, settings.recipe)]


def prepare_model(source: Path | None, recipe: str, target: Path, limit_s: float) -> PreparedModel:
    """In a process of its own: torch and an exporter that crashes stay out of this one."""
    target.mkdir()
    order = {"source": str(source or ""), "recipe": recipe, "target": str(target)}
    title, folder, origin, reason = source.name if source else recipe, target, "", ""
    with WorkerProcess("gpu_check_worker") as worker:
        try:
            made = worker.ask("prepare", limit_s, **order)
            title, folder, origin = made["title"], Path(made["folder"]), made["slices"]
        except WorkerError as error:
            reason = str(error)
    return PreparedModel(title, folder, target / "slices.npy", target / "expected.npz", origin, reason)
