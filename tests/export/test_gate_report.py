"""What a gate's report says, from made-up verdicts: who may be served, which lines, which rows of figures."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from swinunet.export.gate.masks import MaskFigures, StructureFigures
from swinunet.export.gate.report import GateError, Report, Verdict
from swinunet.export.gate.tensors import BatchFigures
from swinunet.serving import processor
from swinunet.training.metrics.statistics import Estimate

LEFT = StructureFigures("left", 0.91234, Estimate(-0.0012, -0.0031, 0.0004), 1.234, -0.0456, 0.998765, 0.1234, 8.0, 0.1)
RIGHT = StructureFigures("right", 0.8, Estimate(0.0003), 2.0, 0.25, 0.99, 0.5, 4.0, 0.2)
ABSENT = StructureFigures("absent", None, Estimate(None), None, None, None, None, 0.0, 0.0)
MASKS = MaskFigures(2, True, 0.00012345, (LEFT, RIGHT))
FIRST = BatchFigures(1, 2.5e-3, 1.5e-6, 3.5e-4, 1000, 10, 0)
SECOND = BatchFigures(3, 1.5e-3, 4.5e-6, None, 3000, 30, 2)
GOOD = Verdict("good-fp32", "fp32", "model.onnx", True, "passed", tensors=(FIRST, SECOND), masks=MASKS)
BAD = Verdict("bad-int8", "int8", "model_int8.onnx", True, "failed", ("first", "second", "third"))
SPARE = dataclasses.replace(BAD, engine="spare-fp16", needed=False)
AWAY = Verdict("served", "f32", "model.py", True, "not run", ("no Triton", "no port"))


def report(*verdicts: Verdict, labelled: bool = True) -> Report:
    return Report(
        "organ",
        7,
        "5e" * 32,
        "good-fp32",
        "2 cases",
        labelled,
        verdicts,
        12.6,
        "2026-11-25T20:00:00+00:00",
        "swinunet 1",
    )


@pytest.mark.parametrize(
    ("verdicts", "passes"),
    [((), True), ((GOOD,), True), ((GOOD, SPARE), True), ((AWAY,), True), ((BAD,), False), ((SPARE, BAD, GOOD), False)],
)
def test_a_version_may_be_served_unless_a_needed_engine_failed(verdicts: tuple[Verdict, ...], passes: bool) -> None:
    found = report(*verdicts)
    assert found.passes is passes
    if passes:
        found.require("nothing was promoted")
    else:
        with pytest.raises(GateError):
            found.require("nothing was promoted")


def test_failed_and_unproven_engines_are_told_apart() -> None:
    found = report(GOOD, SPARE, AWAY, BAD)
    assert [each.engine for each in found.failed] == ["spare-fp16", "bad-int8"]
    assert [each.engine for each in found.unproven] == ["served"]


def test_the_refusal_names_each_needed_engines_first_figure_and_the_first_drift() -> None:
    other = dataclasses.replace(BAD, engine="other", reasons=("its figure", "another"), drift="other: layer 3")
    spare = dataclasses.replace(SPARE, drift="spare: layer 1")
    found = report(spare, BAD, other, dataclasses.replace(other, engine="last", drift="last: layer 4"))
    with pytest.raises(GateError) as caught:
        found.require("nothing was promoted")
    assert str(caught.value) == (
        "organ version 7 is not its checkpoint: bad-int8: first; other: its figure; last: its figure; other: layer 3; "
        "nothing was promoted"
    )
    assert caught.value.report is found


def test_the_summary_has_a_line_for_every_engine_that_is_not_proven() -> None:
    drifting = dataclasses.replace(BAD, reasons=("a", "b", "c", "d", "e"), drift="bad-int8: layer 2")
    assert report(GOOD, AWAY, SPARE, drifting).summary() == [
        "spare-fp16 FAILED: first; second; third",
        "bad-int8 FAILED: a; b; c; and 2 figures more",
        "bad-int8: layer 2",
        "not proven: served (no Triton; no port)",
    ]


def test_the_summary_begins_with_all_that_passed_where_nothing_failed() -> None:
    other = dataclasses.replace(GOOD, engine="other")
    assert report(GOOD, other).summary() == ["All that were judged passed: good-fp32, other."]
    assert report(GOOD, AWAY).summary() == ["not proven: served (no Triton; no port)"]
    assert report(GOOD, SPARE).summary() == ["spare-fp16 FAILED: first; second; third"]
    assert report(GOOD, labelled=False).summary() == [
        "All that were judged passed: good-fp32.",
        "not judged: Dice against labels (give a labelled folder with --data)",
    ]


def test_structures_that_the_checkpoint_has_not_are_named_once() -> None:
    masks = dataclasses.replace(MASKS, structures=(LEFT, ABSENT, dataclasses.replace(ABSENT, name="a second")))
    twice = (dataclasses.replace(GOOD, masks=masks), dataclasses.replace(GOOD, engine="other", masks=masks))
    assert report(*twice, dataclasses.replace(GOOD, masks=None)).summary()[1:] == [
        "not judged: a second, absent, which the checkpoint finds in none of the cases"
    ]


def test_a_row_of_tensors_has_the_worst_of_all_batches() -> None:
    silent = dataclasses.replace(GOOD, engine="silent", tensors=(SECOND,))
    tensors, _ = report(GOOD, silent, BAD).tables()
    assert tensors.title == "Tensors against PyTorch fp32"
    assert tensors.heads == (
        "engine", "verdict", "batches", "largest probability error", "mean probability error", "largest logit error",
        "labels as the checkpoint's, %", "differing beyond ties",
    )  # fmt: skip
    assert tuple(tensors.rows) == (
        ("good-fp32", "passed", "1, 3", "2.5e-03", "4.5e-06", "3.5e-04", "99.0000", "2"),
        ("silent", "passed", "3", "1.5e-03", "4.5e-06", "-", "99.0000", "2"),
        ("bad-int8", "failed", "-", "-", "-", "-", "-", "-"),
    )


def test_a_row_of_masks_has_every_figure_of_its_structure() -> None:
    absent = dataclasses.replace(MASKS, structures=(ABSENT,))
    _, masks = report(GOOD, BAD, dataclasses.replace(GOOD, engine="other", masks=absent)).tables()
    assert masks.title == "Clinic: 2 cases"
    assert masks.heads == (
        "engine", "structure", "Dice", "change (95 %)", "HD95 (mm)", "change (mm)", "Dice with checkpoint",
        "HD95 with it (mm)", "volume (ml)", "change (ml)", "change, %", "labels flipped, %",
    )  # fmt: skip
    assert tuple(masks.rows) == (
        (
            "good-fp32", "left", "0.9123", "-0.0012 (-0.0031 to +0.0004)", "1.23", "-0.046", "0.99877", "0.123",
            "8.000", "0.1000", "1.250", "0.0123",
        ),
        (
            "good-fp32", "right", "0.8000", "+0.0003", "2.00", "+0.250", "0.99000", "0.500", "4.000", "0.2000",
            "5.000", "0.0123",
        ),
        ("other", "absent", "-", "-", "-", "-", "-", "-", "0.000", "0.0000", "-", "0.0123"),
    )  # fmt: skip
    assert report(GOOD, labelled=False).tables()[1].title == "Clinic: 2 cases; labels: not judged"


def test_the_overview_has_the_worst_figures_of_each_engine() -> None:
    unknown = dataclasses.replace(GOOD, engine="other", masks=dataclasses.replace(MASKS, structures=(ABSENT,)))
    found = report(GOOD, BAD, unknown).overview()
    assert found.title == "Worst change of each engine: 2 cases"
    assert found.heads == ("engine", "verdict", "error", "Dice", "volume, %", "flipped, %")
    assert tuple(found.rows) == (
        ("good-fp32", "passed", "2.5e-03", "-0.0012", "5.000", "0.0123"),
        ("bad-int8", "failed", "-", "-", "-", "-"),
        ("other", "passed", "2.5e-03", "-", "-", "0.0123"),
    )


def test_gate_json_has_every_figure_and_the_checksum_of_what_is_served(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "NOTES.md").write_bytes(b"notes")
    report(GOOD, BAD).write(tmp_path)
    said = json.loads((tmp_path / "gate.json").read_text())
    assert said["sha256"] == {"model.onnx": hashlib.sha256(b"graph").hexdigest()}
    assert (said["model"], said["version"], said["served"], said["labelled"]) == ("organ", 7, "good-fp32", True)
    good, bad = said["verdicts"]
    assert good["tensors"][0] == dataclasses.asdict(FIRST)
    assert "masks" not in good
    assert good["clinic"]["structures"][0]["dice_change"] == {"mean": -0.0012, "low": -0.0031, "high": 0.0004}
    assert (good["needed"], bad["status"], bad["reasons"]) == (True, "failed", ["first", "second", "third"])
    assert bad["clinic"] is None


def test_gate_md_has_the_summary_and_both_tables(tmp_path: Path) -> None:
    found = report(GOOD, BAD)
    found.write(tmp_path)
    parts = (tmp_path / "GATE.md").read_text().split("\n\n")
    assert parts[0] == "# Proof of organ, version 7"
    assert parts[1] == (
        f"Checkpoint SHA-256 `{'5e' * 32}`. Every engine against PyTorch in float32. 2026-11-25T20:00:00+00:00, "
        "swinunet 1, 13 s."
    )
    assert parts[2] == "- bad-int8 FAILED: first; second; third"
    assert parts[3] == "## Tensors against PyTorch fp32"
    assert parts[4].startswith("| engine | verdict | batches |")
    assert "| good-fp32 | passed | 1, 3 |" in parts[4]
    assert parts[5] == "## Clinic: 2 cases"
    assert "| good-fp32 | right | 0.8000 |" in parts[6]


def test_what_nothing_was_said_of_is_empty() -> None:
    bare = Verdict("served", "f32", "model.py", True, "not run")
    assert (bare.reasons, bare.description, bare.seconds, bare.tensors, bare.masks, bare.drift) == (
        (),
        "",
        0,
        (),
        None,
        "",
    )


def test_gate_json_says_which_processor_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`serving` goes by it: int8 that was judged on another kind is refused (tests/serving/test_processor.py)."""
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu avx512_vnni fma avx2 avx512f\n")
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "version").mkdir()
    report(GOOD).write(tmp_path / "version")
    assert json.loads((tmp_path / "version" / "gate.json").read_text())["processor"] == [
        "avx2", "avx512_vnni", "avx512f",
    ]  # fmt: skip
