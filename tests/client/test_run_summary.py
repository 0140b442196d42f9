"""Several inputs end with their volumes, in the table and in summary.csv and summary.json; each has its own boxes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from breakable_triton import small_study
from command_line import run_swinunet

from swinunet.client.results.report import read_report
from swinunet.client.roi_table import read_boxes, studies_with_boxes
from swinunet.client.rois import Roi
from swinunet.client.run_summary import InputRow, StructureRow, summary_csv
from swinunet.client.study_list import Study
from swinunet.foundation.errors import InputError
from swinunet.imaging import write_nifti
from swinunet.serving import TritonServer

Run = Callable[..., tuple[int, str, str]]
LIGHT = ("--outputs", "nifti,json")
HEAD = "study,side,x_min,x_max,y_min,y_max,z_min,z_max\n"


@pytest.fixture
def run(small_triton: TritonServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`swinunet segment ... --url` of the small model's server, on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *arguments: run_swinunet(capfd, monkeypatch, "segment", *arguments, "--url", small_triton.url, *LIGHT)


@pytest.fixture
def cases(tmp_path: Path) -> list[Path]:
    """Three inputs, the last of them broken."""
    paths = [tmp_path / f"case{n}.nii.gz" for n in range(3)]
    for seed, path in enumerate(paths):
        write_nifti(small_study(12, seed), path)
    paths[2].write_bytes(b"no image")
    return paths


def rows_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((out / "summary.csv").read_text())))


def test_the_summary_says_what_the_reports_say(cases: list[Path], tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    status, said, _ = run(*cases, "-o", out)
    assert status == 1
    assert max(len(line) for line in said.splitlines() if str(out) not in line) <= 80, "a path is not folded"
    rows, inputs = rows_of(out), json.loads((out / "summary.json").read_text())["inputs"]
    assert [row["result"] for row in rows] == ["case0", "case0", "case1", "case1", "case2"]
    assert [each["outcome"] for each in inputs] == ["done", "done", "refused"]
    for name, entry in zip(("case0", "case1"), inputs, strict=False):
        structures = read_report(out / name / "report.json").structures
        assert [row["volume_ml"] for row in rows if row["result"] == name] == [str(s.volume_ml) for s in structures]
        assert [each["volume_ml"] for each in entry["structures"]] == [s.volume_ml for s in structures]
        for structure in structures:
            assert f"{structure.volume_ml:.2f}" in said
    assert (rows[4]["structure"], "not a readable NIfTI" in rows[4]["why"]) == ("", True)
    assert inputs[2]["structures"] == []


def test_a_run_that_goes_on_ends_with_the_summary_of_all(cases: list[Path], tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    assert run(*cases[:2], "-o", out)[0] == 0
    before = rows_of(out)
    assert run(*cases[:2], "-o", out, "--resume")[0] == 0
    after = rows_of(out)
    assert [row.pop("outcome") for row in after] == ["skipped"] * 4
    assert {row.pop("why") for row in after} == {"segmented already"}
    assert [row.pop("seconds") != "" for row in after] == [True] * 4  # of the writing, or of the report: rounded
    assert after == [{key: row[key] for key in after[0]} for row in before]


def test_one_input_has_no_summary(cases: list[Path], tmp_path: Path, run: Run) -> None:
    assert run(cases[0], "-o", tmp_path / "out")[0] == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["case0"]


def test_an_input_called_as_the_summary_is_keeps_its_results(cases: list[Path], tmp_path: Path, run: Run) -> None:
    named = cases[0].rename(tmp_path / "summary.csv.nii.gz")
    assert run(named, cases[1], "-o", tmp_path / "out")[0] == 0
    assert [row["result"] for row in rows_of(tmp_path / "out")] == ["summary.csv-2"] * 2 + ["case1"] * 2


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    structure = StructureRow(text, None, -1.5, 3, None, None, (text,))
    content = summary_csv([InputRow(text, text, "done", text, 1.0, text, None, (structure,))])
    (row,) = csv.DictReader(io.StringIO(content))
    for column in ("result", "input", "structure", "look_at", "model", "why"):
        assert row[column] == f"'{text}"
    assert row["volume_ml"] == "-1.5"


def test_each_study_is_segmented_in_its_own_boxes(cases: list[Path], tmp_path: Path, run: Run) -> None:
    table, out = tmp_path / "boxes.csv", tmp_path / "out"
    table.write_text(HEAD + "case0,left,6,11,0,20,0,20\ncase0,right,0,5,0,20,0,20\ncase1.nii.gz,,0,7,0,20,0,20\n")
    arguments = (*cases[:2], "-o", out, "--rois", table)
    assert run(*arguments)[:1] == (0,)
    boxes = {name: read_report(out / name / "report.json").boxes for name in ("case0", "case1")}
    assert [(box.laterality, box.high_mm) for box in boxes["case0"]] == [("left", (11, 20, 20)), ("right", (5, 20, 20))]
    assert [(box.laterality, box.high_mm) for box in boxes["case1"]] == [(None, (7, 20, 20))]
    status, said, _ = run(*arguments, "--resume")
    assert (status, "2 skipped" in said) == (0, True)
    table.write_text(table.read_text().replace("0,7,", "0,8,"))
    status, _, errors = run(*arguments, "--resume")
    assert (status, "made in other boxes" in errors) == (1, True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no column 'study'"),
        (HEAD, "no box in it"),
        ("study,x_min\ncase0,1\n", "line 1: no column 'x_max'"),
        (HEAD + "case0,up,0,5,0,20,0,20\n", "line 2: 'up,0,5,0,20,0,20': expected left, right or nothing"),
        (HEAD + "case0,left,0,5,0,20,0,nan\n", "line 2: "),
        (HEAD + "case0,left,0,5,0,20,0\n", "line 2: "),
        (HEAD + "case0,left,0,5,0,20,0,20,7\n", "line 2: more cells"),
        (HEAD + "case0,left,5,0,0,20,0,20\n", "line 2: a minimum is above its maximum"),
        (HEAD + ",left,0,5,0,20,0,20\n", "line 2: no study"),
        (HEAD + "other,left,0,5,0,20,0,20\n", "line 2: study 'other' is none of the inputs"),
        (HEAD + "case0,left,0,5,0,20,0,20\n", "no box for case1"),
        ("\udcff", "not a CSV of boxes"),
    ],
)
def test_a_table_that_is_wrong_is_one_line(cases: list[Path], tmp_path: Path, run: Run, text: str, says: str) -> None:
    table = tmp_path / "boxes.csv"
    table.write_bytes(text.encode(errors="surrogateescape"))
    status, _, errors = run(*cases[:2], "-o", tmp_path / "out", "--rois", table)
    assert (status, errors.count("\n"), says in errors) == (1, 1, True), errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "content",
    [
        HEAD.replace(",", ";") + "a;left;0,5;1;2;3;4;5\n",
        HEAD.replace(",", "\t") + "a\tleft\t0.5\t1\t2\t3\t4\t5\n",
        "\ufeff" + HEAD.upper() + "a, LEFT ,0.5,1,2,3,4,5\r\n,,,,,,,\r\n",
        "z_max,z_min,y_max,y_min,x_max,x_min,side,study\n5,4,3,2,1,0.5,left,a\n",
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, content: str) -> None:
    (tmp_path / "boxes.csv").write_text(content, encoding="utf-8")
    assert read_boxes(tmp_path / "boxes.csv") == {"a": [(2, Roi((0.5, 1, 2, 3, 4, 5), "left"))]}


def test_a_name_of_several_inputs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text(HEAD + "a,left,0,5,0,20,0,20\n")
    studies = [Study(tmp_path / "x" / "a", "a"), Study(tmp_path / "y" / "a", "a")]
    with pytest.raises(InputError, match="could be 2 of the inputs"):
        studies_with_boxes(studies, ["a", "a-2"], tmp_path / "boxes.csv")
    with pytest.raises(InputError, match="cannot read the boxes"):
        studies_with_boxes(studies, ["a", "a-2"], tmp_path / "none.csv")


def test_boxes_for_all_and_for_each_contradict_each_other(cases: list[Path], tmp_path: Path, run: Run) -> None:
    status, _, errors = run(*cases, "-o", tmp_path / "out", "--rois", "x.csv", "--roi", "0,1,0,1,0,1")
    assert (status, "give one of the two" in errors) == (1, True)
