"""The manifest: every row once, at any moment, whatever was cut short; and the journal beside it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from swinunet.batch.attempts import Attempts
from swinunet.batch.manifest import (
    ManifestRow,
    ManifestWriter,
    count_states,
    ended_entries,
    manifest_text,
    parts_of,
    read_manifest,
)
from swinunet.client.run_summary import StructureRow
from swinunet.foundation.errors import DiskFullError, InputError

SHARD = "001-of-001"


def rows_of(number: int, studies: int = 1) -> list[ManifestRow]:
    return [ManifestRow(f"e{number}", f"s{study}", "done", ended=1.5) for study in range(studies)]


def test_a_reader_sees_every_row_once_after_every_flush(tmp_path: Path) -> None:
    writer = ManifestWriter(tmp_path, SHARD, part_rows=4)
    for number in range(11):
        writer.add(rows_of(number))
        writer.flush()
        seen = pyarrow.dataset.dataset(sorted(tmp_path.glob("*.parquet"))).to_table(["entry"]).column(0).to_pylist()
        assert seen == [f"e{each}" for each in range(number + 1)]
    assert [pq.read_metadata(part).num_rows for part in parts_of(tmp_path, SHARD)] == [4, 4, 3]


def test_no_half_written_part_matches_what_a_query_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB's *.parquet matches hidden files, too."""
    seen: list[list[str]] = []

    def write(table: pa.Table, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        seen.append([each.name for each in tmp_path.iterdir() if each.name.endswith(".parquet")])
        raise OSError(28, "No space left on device")

    writer = ManifestWriter(tmp_path, SHARD)
    writer.add(rows_of(0))
    monkeypatch.setattr(pq, "write_table", write)
    with pytest.raises(DiskFullError, match="free some space"):
        writer.flush()
    assert seen == [[]]
    monkeypatch.undo()
    writer.flush()
    assert list(ended_entries(tmp_path, SHARD)) == ["e0"]
    assert [each.name for each in tmp_path.iterdir()] == [f"{SHARD}-part-00000.parquet"]


def test_a_later_run_goes_on_in_the_last_part(tmp_path: Path) -> None:
    for number in range(6):
        writer = ManifestWriter(tmp_path, SHARD, part_rows=4)
        writer.add(rows_of(number))
        writer.flush()
    assert [pq.read_metadata(part).num_rows for part in parts_of(tmp_path, SHARD)] == [4, 2]
    assert list(ended_entries(tmp_path, SHARD)) == [f"e{number}" for number in range(6)]


def test_the_studies_of_an_entry_stay_in_one_part(tmp_path: Path) -> None:
    writer = ManifestWriter(tmp_path, SHARD, part_rows=4)
    for number in range(3):
        writer.add(rows_of(number, studies=3))
    writer.flush()
    assert [set(pq.read_table(part)["entry"].to_pylist()) for part in parts_of(tmp_path, SHARD)] == [
        {"e0", "e1"},
        {"e2"},
    ]


def test_what_a_row_says_comes_back(tmp_path: Path) -> None:
    found = StructureRow("Hippocampus", "left", 3.25, 3250, 99.5, None, ("touches border",))
    row = ManifestRow("e", "s", "done", "", "tilted", "results/ab/e/s", (found,), 2.5, "m", 3, "f" * 64, 1, "n", 1.5)
    writer = ManifestWriter(tmp_path, SHARD)
    writer.add([row])
    writer.flush()
    (back,) = read_manifest(tmp_path).to_pylist()
    assert back.pop("ended").timestamp() == 1.5
    (structure,) = back.pop("structures")
    assert structure == {**found.__dict__, "flags": ["touches border"]}
    assert back == {name: value for name, value in row.__dict__.items() if name not in ("ended", "structures")}


def test_shards_are_read_together_and_written_apart(tmp_path: Path) -> None:
    for number, shard in enumerate(("001-of-002", "002-of-002")):
        writer = ManifestWriter(tmp_path, shard)
        writer.add(rows_of(number))
        writer.flush()
    assert sorted(read_manifest(tmp_path)["entry"].to_pylist()) == ["e0", "e1"]
    assert count_states(parts_of(tmp_path, "002-of-002")) == {"done": 1}


def test_a_name_that_is_no_utf8_is_shown_and_found_again(tmp_path: Path) -> None:
    entry = b"caf\xe9".decode(errors="surrogateescape")
    writer = ManifestWriter(tmp_path, SHARD)
    writer.add([ManifestRow(entry, "", "refused")])
    writer.flush()
    assert list(ended_entries(tmp_path, SHARD)) == ["caf\\xe9"] == [manifest_text(entry)]


def test_a_damaged_part_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / f"{SHARD}-part-00000.parquet").write_bytes(b"PAR1 and nothing else")
    for look in (lambda: ManifestWriter(tmp_path, SHARD), lambda: read_manifest(tmp_path)):
        with pytest.raises(InputError, match=r"part-00000[.]parquet: cannot be read as a part of a manifest"):
            look()


def test_no_manifest_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no manifest"):
        read_manifest(tmp_path)


def test_the_journal_knows_who_died_with_what(tmp_path: Path) -> None:
    path = tmp_path / "attempts.jsonl"
    attempts = Attempts(path)
    for entry in "abcd":
        attempts.begin(entry)
    attempts.end("a")
    assert attempts.died("b") == 1
    attempts.begin("b")  # again, and in hand with c and d when this process dies
    attempts.close()
    assert Attempts(path).deaths == Counter(b=2, c=1, d=1)
    assert Attempts(path).deaths == Counter(b=2, c=1, d=1), "reading it must not add deaths"


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "attempts.jsonl"
    path.write_text('{"begun": "a"}\n{"beg')
    assert Attempts(path).deaths == Counter(a=1)


def test_a_journal_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "attempts.jsonl"
    path.write_text('nonsense\n{"begun": "a"}\n')
    with pytest.raises(InputError, match="line 1 is none of this journal"):
        Attempts(path)
