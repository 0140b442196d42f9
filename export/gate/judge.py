"""The gate itself: both halves, for every engine of one version folder and for the version as Triton serves it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
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

from swinunet.export.engines.loaded_engine import Outputs
from swinunet.export.engines.registry import ENGINES, Engine, judged_engines, load_engine
from swinunet.export.gate.bisect import first_drift
from swinunet.export.gate.evidence import Evidence
from swinunet.export.gate.masks import MaskFigures, compare_masks
from swinunet.export.gate.options import GateOptions
from swinunet.export.gate.report import Report, Verdict
from swinunet.export.gate.tensors import WireRunner, compare, feeds, run, torch_runner
from swinunet.export.gate.wire_contract import require_wire_contract
from swinunet.export.graph.onnx_graph import export_onnx, with_logits
from swinunet.export.repository.served_configs import Configs
from swinunet.foundation.errors import InputError, MissingExtraError
from swinunet.imaging import ModelSpec
from swinunet.imaging.study_slices import Output
from swinunet.training.data.cases import PredictSlices
from swinunet.training.loop.validation import predict_slices
from swinunet.training.network.swin_unet import SwinUNet

Infer = Callable[[np.ndarray], Outputs]


SERVED = "served"  # names the verdict on the version in a real Triton


def judge(
    folder: Path, network: SwinUNet, spec: ModelSpec, evidence: Evidence, configs: Configs, options: GateOptions
) -> Report:
    """Both halves for every engine of a version folder, which is only read.

    network: of the folder's checkpoint. configs: how the version is served, or is going to be.
    Raises InputError for evidence that cannot be used, or a required engine whose artefact is not there. An engine that
    fails, for whatever reason, fails in the report.
    """
    began = time.perf_counter()
    engines = engines_in(folder, options.required_engines())
    judging = _Judging(folder, network, spec, evidence, configs, options)
    with ExitStack() as stack:
        compared = [judging.compare_engine(engine) for engine in engines]
        if options.serve:
            compared.append(judging.compare_served(stack))
        running = {each.verdict.engine: _ask(each.infer) for each in compared if each.infer is not None}
        masks = compare_masks(running, judging.ask_checkpoint, evidence, options.say)
    verdicts = [_with_masks(each.verdict, masks.get(each.verdict.engine)) for each in compared]
    if not options.serve:
        verdicts.append(replace(judging.blank_served(), status="not run", reasons=("left out with --no-serve",)))
    if options.bisect:
        verdicts = [judging.with_drift(verdict) for verdict in verdicts]
    return Report(
        model=spec.name,
        version=spec.version,
        checkpoint_sha256=spec.provenance.checkpoint_sha256,
        served=configs.engine.name,
        cases=evidence.description,
        labelled=evidence.labelled,
        verdicts=tuple(verdicts),
        seconds=time.perf_counter() - began,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        software=f"swinunet {version('swinunet')}, polygraphy {version('polygraphy')}",
    )


@dataclass(frozen=True)
class _Compared:
    """The verdict after the tensors, and the engine, where it runs, for the masks."""

    verdict: Verdict
    infer: Infer | None


@dataclass(frozen=True)
class _Opened:
    """An engine ready to run: for Polygraphy, for the masks, and its description."""

    runner: BaseRunner
    infer: Infer
    describe: Callable[[], str]


class _CannotRunError(Exception):
    """An engine that this machine cannot run, which is no fault of the engine."""


class _Judging:
    """The judging of one version folder: what all its engines are compared with. Arguments are those of `judge`."""

    def __init__(
        self,
        folder: Path,
        network: SwinUNet,
        spec: ModelSpec,
        evidence: Evidence,
        configs: Configs,
        options: GateOptions,
    ) -> None:
        self._folder, self._network, self._spec = folder, network, spec
        self._configs, self._options, self._required = configs, options, options.required_engines()
        self._feeds = feeds(evidence.slices())
        self._reference = torch_runner(network)
        self._expected: list[IterationResult] = run(self._reference, self._feeds)

    def ask_checkpoint(self, image: np.ndarray, output: Output) -> np.ndarray:
        """The checkpoint's output for slices."""
        return predict_slices(self._network, image, output)

    def blank_served(self) -> Verdict:
        """The verdict on the served version before anything is known."""
        engine = self._configs.engine
        return Verdict(SERVED, engine.precision, f"model.py with {engine.name}", needed=True, status="passed")

    def compare_engine(self, engine: Engine) -> _Compared:
        """The tensors of an engine in this process."""
        required = engine.needed or engine in self._required
        needed = required or engine == self._configs.engine
        blank = Verdict(engine.name, engine.precision, engine.artefact, needed, "passed")
        compared = self._compare(blank, engine, lambda: self._open_engine(engine))
        if compared.verdict.status == "not run" and required:
            return _Compared(replace(compared.verdict, status="failed"), None)
        return compared

    def compare_served(self, stack: ExitStack) -> _Compared:
        """The tensors of the version in a real Triton, which runs until `stack` is closed."""
        return self._compare(self.blank_served(), self._configs.engine, lambda: self._open_served(stack))

    def with_drift(self, verdict: Verdict) -> Verdict:
        """The verdict with the first layer that drifts, for an ONNX artefact that failed."""
        engine = ENGINES.get(verdict.engine)
        if verdict.status != "failed" or engine is None or not engine.artefact.endswith(".onnx"):
            return verdict
        image = self._feeds[0]["image"]
        with tempfile.TemporaryDirectory(prefix="swinunet-gate-") as made:
            reference = Path(made) / "reference.onnx"
            export_onnx(self._network, self._spec, reference)
            try:
                drift = first_drift(reference, self._folder / engine.artefact, engine, image)
            except Exception as error:  # each engine raises its own
                return replace(verdict, drift=f"{verdict.engine}: no layer can be looked at ({_reason(error)})")
        found = str(drift) if drift else f"no layer of {engine.artefact} drifts from the checkpoint's graph"
        return replace(verdict, drift=f"{verdict.engine}: {found}")

    def _compare(self, blank: Verdict, engine: Engine, open_engine: Callable[[], _Opened]) -> _Compared:
        self._options.say(f"gate: tensors of {blank.engine}")
        began = time.perf_counter()
        try:
            opened = open_engine()
            figures = tuple(compare(run(opened.runner, self._feeds), self._expected))
            description = opened.describe()
        except _CannotRunError as error:
            return _Compared(replace(blank, status="not run", reasons=(str(error),)), None)
        except Exception as error:  # each engine raises its own
            return _Compared(replace(blank, status="failed", reasons=(_reason(error),)), None)
        reasons = tuple(reason for each in figures for reason in each.failures(engine.tolerance))
        verdict = replace(
            blank,
            status="failed" if reasons else "passed",
            reasons=reasons,
            tensors=figures,
            description=description,
            seconds=time.perf_counter() - began,
        )
        return _Compared(verdict, opened.infer)

    def _open_engine(self, engine: Engine) -> _Opened:
        artefact = self._folder / engine.artefact
        if artefact.suffix == ".onnx":
            require_wire_contract(artefact, self._spec, engine.stored)
        try:
            loaded = load_engine(engine.name, self._folder, torch.get_num_threads())
        except (InputError, MissingExtraError) as error:
            raise _CannotRunError(str(error)) from None
        runner: BaseRunner = WireRunner(engine.name, lambda image: loaded.run(image)._asdict())
        if engine.name == "onnxruntime-fp32":  # the one engine that can show the graph's logits
            runner = OnnxrtRunner(self._session_with_logits(artefact), name=engine.name)
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
            raise _CannotRunError(f"{error.name} is not installed; pip install 'swinunet[server]'") from None
        try:
            find_tritonserver()
        except ServingError as error:
            raise _CannotRunError(str(error)) from None
        served = served_model(self._folder, self._spec.name, self._spec.version, self._configs)
        infer = stack.enter_context(served)
        description = f"Triton over gRPC, {self._configs.engine.name}"
        return _Opened(WireRunner(SERVED, lambda image: infer(image)._asdict()), infer, lambda: description)


def engines_in(folder: Path, required: Sequence[Engine]) -> tuple[Engine, ...]:
    """The engines to judge in a version folder: those whose artefact is there; of these only required and needed ones,
    if any are required.

    Raises InputError if the artefact of none of a required library's precisions is there.
    """
    there = [engine for engine in judged_engines() if (folder / engine.artefact).is_file()]
    for library in dict.fromkeys(engine.library for engine in required):
        of_library = [engine for engine in required if engine.library == library]
        if not any(engine in there for engine in of_library):
            missing = " and ".join(engine.artefact for engine in of_library)
            options = " --engine ".join(engine.name for engine in of_library)
            raise InputError(
                f"{library.name} was asked for, but {missing} is not in this version; export one that has it "
                f"(--engine {options})"
            )
    return tuple(engine for engine in there if not required or engine in required or engine.needed)


def _ask(infer: Infer) -> PredictSlices:
    return lambda image, output: np.asarray(getattr(infer(image), output))


def _with_masks(verdict: Verdict, found: MaskFigures | Exception | None) -> Verdict:
    """A verdict with the second half added. found: the figures, the exception that ended it, or None."""
    if found is None:
        return verdict
    if isinstance(found, Exception):
        return replace(verdict, status="failed", reasons=(*verdict.reasons, _reason(found)))
    reasons = (*verdict.reasons, *found.failures())
    return replace(verdict, status="failed" if reasons else "passed", reasons=reasons, masks=found)


def _reason(error: Exception) -> str:
    """An exception as one line; engines' own are long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
