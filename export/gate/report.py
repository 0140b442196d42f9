"""What the gate found: gate.json with every figure, GATE.md for people, and the tables of the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from swinunet.export.file_names import GATE_JSON_FILE, GATE_MARKDOWN_FILE
from swinunet.export.gate.boxes import BoxFigures
from swinunet.export.gate.masks import MaskFigures
from swinunet.export.gate.tensors import BatchFigures
from swinunet.export.tolerances import MAX_DICE_DROP, MAX_LOGIT_ERROR, MAX_VOLUME_CHANGE, TOLERANCES
from swinunet.foundation.errors import ParityError
from swinunet.foundation.files import write_whole
from swinunet.foundation.tables import Table
from swinunet.serving.checksums import sha256_of_served_files
from swinunet.serving.processor import this_processor

_JSON_KEYS = {"masks": "clinic"}
_TOLD = 3  # failing figures of an engine in a summary; gate.json has them all
Status = Literal["passed", "failed", "not run"]


@dataclass(frozen=True)
class Verdict:
    """What was found of one engine.

    reasons: the figures that failed, or why it did not run. drift: what `--bisect` found.
    needed: the version is not promoted if this engine fails.
    """

    engine: str
    precision: str
    artefact: str
    needed: bool
    status: Status
    reasons: tuple[str, ...] = ()
    description: str = ""
    seconds: float = 0.0
    tensors: tuple[BatchFigures, ...] = ()
    masks: MaskFigures | None = None
    drift: str = ""


@dataclass(frozen=True)
class Report:
    """The whole proof. served: the engine that the CPU config runs. cases: what the masks were judged on, in words.

    boxes: whether the boxes of a model trained on crops are found, for every pair that the version is part of.
    """

    model: str
    version: int
    checkpoint_sha256: str
    served: str
    cases: str
    labelled: bool
    verdicts: tuple[Verdict, ...]
    seconds: float
    created: str
    software: str
    boxes: tuple[BoxFigures, ...] = ()
    limits: dict[str, Any] = field(
        default_factory=lambda: {
            "tensors": {name: asdict(limit) for name, limit in TOLERANCES.items()},
            "logit_error_fp32": MAX_LOGIT_ERROR,
            "dice_drop": MAX_DICE_DROP,
            "volume_change": MAX_VOLUME_CHANGE,
        }
    )

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """Engines that failed, needed or not."""
        return tuple(verdict for verdict in self.verdicts if verdict.status == "failed")

    @property
    def passes(self) -> bool:
        """Whether the version may be served: no needed engine failed, and every box is found."""
        return not any(verdict.needed for verdict in self.failed) and not self.box_faults

    @property
    def box_faults(self) -> tuple[str, ...]:
        """What is wrong with boxes."""
        return tuple(
            f"boxes of {each.model} by {each.locator}: {reason}" for each in self.boxes for reason in each.reasons
        )

    @property
    def unproven(self) -> tuple[Verdict, ...]:
        """Engines that could not run here."""
        return tuple(verdict for verdict in self.verdicts if verdict.status == "not run")

    def require(self, consequence: str) -> None:
        """Raises GateError, naming each needed engine's first failing figure, if the version must not be served."""
        if self.box_faults and not any(verdict.needed for verdict in self.failed):
            told = _first_few(self.box_faults)
            raise GateError(f"{self.model} version {self.version} would not get its boxes: {told}; {consequence}", self)
        if not self.passes:
            told = "; ".join(f"{each.engine}: {each.reasons[0]}" for each in self.failed if each.needed)
            drifts = [each.drift for each in self.failed if each.needed and each.drift]
            parts = (f"{self.model} version {self.version} is not its checkpoint: {told}", *drifts[:1], consequence)
            raise GateError("; ".join(parts), self)

    def write(self, folder: Path) -> None:
        """Write both files into `folder`, the version's, which is complete by now. Raises OutputError.

        gate.json also has the SHA-256 of every file that can be served, and this processor's instruction sets, which
        `serving` checks.
        """
        checked = {"processor": sorted(this_processor()), "sha256": sha256_of_served_files(folder)}
        write_whole(folder / GATE_JSON_FILE, (json.dumps({**self.to_json(), **checked}, indent=1) + "\n").encode())
        write_whole(folder / GATE_MARKDOWN_FILE, self.markdown().encode())

    def to_json(self) -> dict[str, Any]:
        """The content of gate.json, whose key for the figures of masks is `clinic`."""
        found = asdict(self)
        verdicts = [{_JSON_KEYS.get(key, key): value for key, value in each.items()} for each in found["verdicts"]]
        return found | {"verdicts": verdicts}

    def markdown(self) -> str:
        """The report as Markdown."""
        parts = [
            f"# Proof of {self.model}, version {self.version}",
            f"Checkpoint SHA-256 `{self.checkpoint_sha256}`. Every engine against PyTorch in float32. {self.created}, "
            f"{self.software}, {self.seconds:.0f} s.",
            "\n".join(f"- {line}" for line in self.summary()),
            *(f"## {table.title}\n\n{table.markdown()}" for table in self.tables()),
        ]
        return "\n\n".join(parts) + "\n"

    def summary(self) -> list[str]:
        """A line for every engine that is not proven."""
        lines = [f"{each.engine} FAILED: {_first_few(each.reasons)}" for each in self.failed]
        lines += [each.drift for each in self.failed if each.drift]
        lines += [f"FAILED: {_first_few(self.box_faults)}"] if self.box_faults else []
        lines += [f"not proven: {each.engine} ({'; '.join(each.reasons)})" for each in self.unproven]
        if not self.labelled:
            lines.append("not judged: Dice against labels (give a labelled folder with --data)")
        absent = {
            each.name
            for verdict in self.verdicts
            if verdict.masks
            for each in verdict.masks.structures
            if each.volume_change is None
        }
        if absent:
            lines.append(f"not judged: {', '.join(sorted(absent))}, which the checkpoint finds in none of the cases")
        judged = ", ".join(verdict.engine for verdict in self.verdicts)
        return (
            lines
            if self.failed or self.unproven or self.box_faults
            else [f"All that were judged passed: {judged}.", *lines]
        )

    def tables(self) -> tuple[Table, ...]:
        """Tensors; masks with a row for each engine and structure; and boxes, where a locator finds them."""
        halves = _tensor_table(self.verdicts), _mask_table(self.verdicts, self.cases, self.labelled)
        return (*halves, _box_table(self.boxes)) if self.boxes else halves

    def overview(self) -> Table:
        """A row for each engine with its worst figures, for a terminal that is too narrow for the two halves."""
        heads = ("engine", "verdict", "error", "Dice", "volume, %", "flipped, %")
        return Table(f"Worst change of each engine: {self.cases}", heads, tuple(map(_worst, self.verdicts)))


class GateError(ParityError):
    """A version that must not be served; `report` says why in full."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


def _first_few(reasons: Sequence[str]) -> str:
    more = f"; and {len(reasons) - _TOLD} figures more" if len(reasons) > _TOLD else ""
    return "; ".join(reasons[:_TOLD]) + more


def _tensor_table(verdicts: Sequence[Verdict]) -> Table:
    heads = (
        "engine",
        "verdict",
        "batches",
        "largest probability error",
        "mean probability error",
        "largest logit error",
        "labels as the checkpoint's, %",
        "differing beyond ties",
    )
    return Table("Tensors against PyTorch fp32", heads, tuple(_tensor_row(each) for each in verdicts))


def _tensor_row(verdict: Verdict) -> tuple[str, ...]:
    found = verdict.tensors
    if not found:
        return (verdict.engine, verdict.status, *["-"] * 6)
    logits = [each.max_logit_error for each in found if each.max_logit_error is not None]
    agree = 1 - sum(each.differing_labels for each in found) / sum(each.labels for each in found)
    return (
        verdict.engine,
        verdict.status,
        ", ".join(str(each.batch) for each in found),
        f"{max(each.max_probability_error for each in found):.1e}",
        f"{max(each.mean_probability_error for each in found):.1e}",
        f"{max(logits):.1e}" if logits else "-",
        f"{agree:.4%}".rstrip("%"),
        str(sum(each.beyond_ties for each in found)),
    )


def _worst(verdict: Verdict) -> tuple[str, ...]:
    structures = verdict.masks.structures if verdict.masks else ()
    dice = [each.dice_change.mean for each in structures if each.dice_change.mean is not None]
    volume = [each.volume_change for each in structures if each.volume_change is not None]
    errors = [each.max_probability_error for each in verdict.tensors]
    return (
        verdict.engine,
        verdict.status,
        _figure(max(errors, default=None), ".1e"),
        _figure(min(dice, default=None), "+.4f"),
        _figure(100 * max(volume) if volume else None, ".3f"),
        _figure(100 * verdict.masks.flipped if verdict.masks else None, ".4f"),
    )


def _mask_table(verdicts: Sequence[Verdict], cases: str, labelled: bool) -> Table:
    judged = "" if labelled else "; labels: not judged"
    heads = (
        "engine",
        "structure",
        "Dice",
        "change (95 %)",
        "HD95 (mm)",
        "change (mm)",
        "Dice with checkpoint",
        "HD95 with it (mm)",
        "volume (ml)",
        "change (ml)",
        "change, %",
        "labels flipped, %",
    )
    rows = [row for verdict in verdicts if verdict.masks for row in _mask_rows(verdict.engine, verdict.masks)]
    return Table(f"Clinic: {cases}{judged}", heads, tuple(rows))


def _mask_rows(engine: str, masks: MaskFigures) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for each in masks.structures:
        change = each.dice_change
        spread = "" if change.low is None else f" ({change.low:+.4f} to {change.high:+.4f})"
        rows.append(
            (
                engine,
                each.name,
                _figure(each.dice, ".4f"),
                _figure(change.mean, "+.4f") + spread,
                _figure(each.hd95_mm, ".2f"),
                _figure(each.hd95_change_mm, "+.3f"),
                _figure(each.dice_with_checkpoint, ".5f"),
                _figure(each.hd95_with_checkpoint_mm, ".3f"),
                f"{each.volume_ml:.3f}",
                f"{each.volume_change_ml:.4f}",
                _figure(None if each.volume_change is None else 100 * each.volume_change, ".3f"),
                f"{100 * masks.flipped:.4f}",
            )
        )
    return rows


def _box_table(boxes: Sequence[BoxFigures]) -> Table:
    heads = ("model", "locator", "images", "margin, mm", "boxes", "found", "hold 99 %", "swapped", "worst margin, mm")
    rows = [
        (
            each.model,
            each.locator,
            each.images,
            f"{each.margin_mm:g}",
            str(each.boxes),
            str(each.found),
            "-" if each.held is None else str(each.held),
            str(each.swapped),
            _figure(each.worst_mm, ".1f"),
        )
        for each in boxes
    ]
    return Table("Boxes: found by the locator, and what they hold", heads, rows)


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
