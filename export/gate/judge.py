"""The gate itself: both halves, for every engine of one version folder and for the version as Triton serves it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from polygraphy.backend.base import BaseRunner
from polygraphy.backend.onnxrt import OnnxrtRunner
from polygraphy.comparator import IterationResult

from swinunet.export.engines import LOADERS, Outputs, load_engine
from swinunet.export.gate.bisect import first_drift
from swinunet.export.gate.clinic import judge_masks
from swinunet.export.gate.contract import require_contract
from swinunet.export.gate.evidence import Evidence
from swinunet.export.gate.report import Report, Verdict
from swinunet.export.gate.rows import ROWS, SERVED, Row, rows_in, tolerance_of
from swinunet.export.gate.tensors import WireRunner, compare, feeds, run, torch_runner
from swinunet.export.graph.onnx_graph import export_onnx, with_logits
from swinunet.export.repository.served_configs import Configs
from swinunet.foundation.errors import InputError, MissingExtraError
from swinunet.foundation.progress import Say, say_nothing
from swinunet.imaging import ModelSpec
from swinunet.imaging.study_slices import Output
from swinunet.training.data.cases import PredictSlices
from swinunet.training.loop.validation import predict_slices
from swinunet.training.network.checkpoint import load_checkpoint
from swinunet.training.network.swin_unet import SwinUNet

Infer = Callable[[np.ndarray], Outputs]


@dataclass(frozen=True)
class Question:
    """What is asked of a version: on what evidence, of which engines (none: all), and how it is to be served.

    serve: False leaves Triton out. bisect: name the first layer that drifts in graphs that fail.
    say: is told each step.
    """

    evidence: Evidence
    configs: Configs
    asked: tuple[Row, ...] = ()
    serve: bool = True
    bisect: bool = False
    say: Say = say_nothing


def judge(folder: Path, spec: ModelSpec, question: Question) -> Report:
    """Both halves for every engine of a version folder, which is only read.

    Raises InputError for evidence that cannot be used, or an asked engine whose artefact is not there. An engine that
    fails, for whatever reason, fails in the report.
    """
    began = time.perf_counter()
    network, _ = load_checkpoint(folder / "checkpoint.safetensors")
    rows = rows_in(folder, question.asked)
    subject = _Subject(folder, spec, network, question)
    with ExitStack() as stack:
        trials = [subject.try_row(row) for row in rows]
        if question.serve:
            trials.append(subject.try_served(stack))
        engines = {trial.verdict.engine: _ask(trial.infer) for trial in trials if trial.infer is not None}
        clinic = judge_masks(engines, subject.ask_checkpoint, question.evidence, question.say)
    verdicts = [_with_clinic(trial.verdict, clinic.get(trial.verdict.engine)) for trial in trials]
    if not question.serve:
        verdicts.append(replace(subject.blank_served(), status="not run", reasons=("left out with --no-serve",)))
    if question.bisect:
        verdicts = [subject.with_drift(verdict) for verdict in verdicts]
    return Report(
        model=spec.name,
        version=spec.version,
        checkpoint_sha256=spec.provenance.checkpoint_sha256,
        served=question.configs.row.name,
        cases=question.evidence.words,
        labelled=question.evidence.labelled,
        verdicts=tuple(verdicts),
        seconds=time.perf_counter() - began,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        software=f"swinunet {version('swinunet')}, polygraphy {version('polygraphy')}",
    )


@dataclass(frozen=True)
class _Trial:
    """A verdict on the tensors, and the engine where it runs, for the clinic."""

    verdict: Verdict
    infer: Infer | None


@dataclass(frozen=True)
class _Opened:
    """An engine ready to run: as Polygraphy runs it, as the clinic asks it, and what it says of itself."""

    runner: BaseRunner
    infer: Infer
    describe: Callable[[], str]


class _NotHereError(Exception):
    """An engine that this machine cannot run; nothing is said against it."""


class _Subject:
    """A version folder before the gate."""

    def __init__(self, folder: Path, spec: ModelSpec, network: SwinUNet, question: Question) -> None:
        self._folder, self._spec, self._network, self._question = folder, spec, network, question
        self._feeds = feeds(question.evidence.slices())
        self._reference = torch_runner(network)
        self._expected: list[IterationResult] = run(self._reference, self._feeds)

    def ask_checkpoint(self, image: np.ndarray, output: Output) -> np.ndarray:
        """What the checkpoint says of slices."""
        return predict_slices(self._network, image, output)

    def blank_served(self) -> Verdict:
        """The verdict on the served version before anything is known."""
        row = self._question.configs.row
        return Verdict(SERVED, row.precision, f"model.py with {row.name}", needed=True, status="passed")

    def try_row(self, row: Row) -> _Trial:
        """An engine in this process."""
        asked = row in self._question.asked
        needed = row.needed or asked or row == self._question.configs.row
        blank = Verdict(row.name, row.precision, row.artefact, needed, "passed")
        trial = self._try(blank, lambda: self._open_row(row))
        if trial.verdict.status == "not run" and (asked or row.needed):
            return _Trial(replace(trial.verdict, status="failed"), None)
        return trial

    def try_served(self, stack: ExitStack) -> _Trial:
        """The version in a real Triton, which runs until `stack` is closed."""
        return self._try(self.blank_served(), lambda: self._open_served(stack))

    def with_drift(self, verdict: Verdict) -> Verdict:
        """The verdict with the first layer that drifts, for an ONNX artefact that failed."""
        row = next((row for row in ROWS if row.name == verdict.engine), None)
        if verdict.status != "failed" or row is None or not row.artefact.endswith(".onnx"):
            return verdict
        image = self._feeds[0]["image"]
        with tempfile.TemporaryDirectory(prefix="swinunet-gate-") as made:
            reference = Path(made) / "reference.onnx"
            export_onnx(self._network, self._spec, reference)
            try:
                drift = first_drift(reference, self._folder / row.artefact, row, image)
            except Exception as error:  # each engine raises its own
                return replace(verdict, drift=f"{verdict.engine}: no layer can be looked at ({_reason(error)})")
        said = str(drift) if drift else f"no layer of {row.artefact} drifts from the checkpoint's graph"
        return replace(verdict, drift=f"{verdict.engine}: {said}")

    def _try(self, blank: Verdict, open_engine: Callable[[], _Opened]) -> _Trial:
        self._question.say(f"gate: tensors of {blank.engine}")
        began = time.perf_counter()
        try:
            opened = open_engine()
            figures = tuple(compare(run(opened.runner, self._feeds), self._expected))
            description = opened.describe()
        except _NotHereError as error:
            return _Trial(replace(blank, status="not run", reasons=(str(error),)), None)
        except Exception as error:  # each engine raises its own
            return _Trial(replace(blank, status="failed", reasons=(_reason(error),)), None)
        allowed = tolerance_of(blank.precision)
        reasons = tuple(reason for each in figures for reason in each.failures(allowed))
        verdict = replace(
            blank,
            status="failed" if reasons else "passed",
            reasons=reasons,
            tensors=figures,
            description=description,
            seconds=time.perf_counter() - began,
        )
        return _Trial(verdict, opened.infer)

    def _open_row(self, row: Row) -> _Opened:
        if row.artefact.endswith(".onnx"):
            require_contract(self._folder / row.artefact, self._spec, row.stored)
        if row.loader not in LOADERS:
            raise _NotHereError(f"this software cannot run {row.loader} yet")
        try:
            loaded = load_engine(row.loader, self._folder, row.precision, torch.get_num_threads())
        except (InputError, MissingExtraError) as error:
            raise _NotHereError(str(error)) from None
        runner: BaseRunner = WireRunner(row.name, lambda image: loaded.run(image)._asdict())
        if row.name == "onnxruntime-fp32":  # the one engine that can show the graph's logits
            runner = OnnxrtRunner(self._session_with_logits(self._folder / row.artefact), name=row.name)
        return _Opened(runner, loaded.run, loaded.describe)

    def _session_with_logits(self, path: Path) -> Any:  # onnxruntime has no types
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        graph = with_logits(path, self._spec.num_classes, self._spec.input_size)
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def _open_served(self, stack: ExitStack) -> _Opened:
        try:
            from swinunet.export.gate.served import served_model
            from swinunet.serving import ServingError, find_tritonserver
        except ModuleNotFoundError as error:
            raise _NotHereError(f"{error.name} is not installed; pip install 'swinunet[server]'") from None
        try:
            find_tritonserver()
        except ServingError as error:
            raise _NotHereError(str(error)) from None
        configs = self._question.configs
        infer = stack.enter_context(served_model(self._folder, self._spec.name, self._spec.version, configs))
        said = f"Triton over gRPC, {configs.row.name}"
        return _Opened(WireRunner(SERVED, lambda image: infer(image)._asdict()), infer, lambda: said)


def _ask(infer: Infer) -> PredictSlices:
    return lambda image, output: np.asarray(getattr(infer(image), output))


def _with_clinic(verdict: Verdict, found: Any) -> Verdict:
    """A verdict with the second half added. found: ClinicFigures, the exception that ended it, or None."""
    if found is None:
        return verdict
    if isinstance(found, Exception):
        return replace(verdict, status="failed", reasons=(*verdict.reasons, _reason(found)))
    reasons = (*verdict.reasons, *found.failures())
    return replace(verdict, status="failed" if reasons else "passed", reasons=reasons, clinic=found)


def _reason(error: Exception) -> str:
    """An exception as one line; engines' own are long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
