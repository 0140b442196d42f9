"""The manifest: a row for each study, in Parquet files that can be queried while they grow.

OUT/manifest/SHARD-part-00000.parquet    PART_ROWS rows or a few more; the last part of a shard is written anew, whole,
                                         each time rows are added to it

So at any moment the files hold each row once: `SELECT state, count(*) FROM 'OUT/manifest/*.parquet' GROUP BY state`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from swinunet.client.run_summary import StructureRow
from swinunet.foundation.errors import InputError
from swinunet.foundation.files import written_aside

State = Literal["done", "skipped", "refused", "set_aside"]
PART_ROWS = 10_000
_FLUSH_SECONDS = 5.0
_STRUCTURE = pa.struct(
    [
        ("structure", pa.string()),
        ("laterality", pa.string()),
        ("volume_ml", pa.float64()),
        ("voxels", pa.int64()),
        ("mean_intensity", pa.float64()),
        ("confidence", pa.float64()),
        ("flags", pa.list_(pa.string())),
    ]
)
SCHEMA = pa.schema(
    [
        ("entry", pa.string()),
        ("study", pa.string()),
        ("state", pa.string()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("result", pa.string()),
        ("structures", pa.list_(_STRUCTURE)),
        ("seconds", pa.float64()),
        ("model", pa.string()),
        ("model_version", pa.int32()),
        ("checkpoint_sha256", pa.string()),
        ("deaths", pa.int32()),
        ("node", pa.string()),
        ("ended", pa.timestamp("ms", tz="UTC")),
    ]
)


@dataclass(frozen=True)
class ManifestRow:
    """What became of one study.

    entry: of the archive; study: in the entry, both by name. verdict: on a DICOM series that was read in spite of it.
    reason: why it was not segmented. result: its folder of results, from OUT. seconds: of work on it, as its report has
    them. deaths: workers that died with the entry in hand. node: the machine that worked on it. ended: seconds since
    1970.
    """

    entry: str
    study: str
    state: State
    reason: str = ""
    verdict: str | None = None
    result: str | None = None
    structures: tuple[StructureRow, ...] = ()
    seconds: float | None = None
    model: str = ""
    model_version: int | None = None
    checkpoint_sha256: str = ""
    deaths: int = 0
    node: str = ""
    ended: float = 0.0

    def cells(self) -> dict[str, object]:
        """The row as `SCHEMA` has it."""
        cells = asdict(self)
        cells["ended"] = int(1000 * self.ended)
        return {name: manifest_text(value) if isinstance(value, str) else value for name, value in cells.items()}


class ManifestWriter:
    """Adds the rows of one shard to the manifest, after those that earlier runs wrote. Rows of one entry stay together.

    Raises OutputError for what the file system refuses, InputError for a part that is damaged.
    """

    def __init__(self, folder: Path, shard_name: str, part_rows: int = PART_ROWS) -> None:
        self._folder, self._shard, self._part_rows = folder, shard_name, part_rows
        parts = parts_of(folder, shard_name)
        self._number = len(parts)
        self._rows: list[dict[str, object]] = []
        self._flushed, self._written_at = 0, time.monotonic()
        if parts and _count(parts[-1]) < part_rows:
            self._number -= 1
            self._rows = _read(parts[-1], None).to_pylist()
            self._flushed = len(self._rows)

    def add(self, rows: Sequence[ManifestRow]) -> None:
        """Add the rows of an entry; they are in the files within seconds, and when `flush` was called."""
        self._rows += [row.cells() for row in rows]
        if len(self._rows) >= self._part_rows or time.monotonic() - self._written_at > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was added."""
        self._written_at = time.monotonic()
        if len(self._rows) == self._flushed:
            return
        written = self._folder / f".{self._shard}.written"  # a pattern of *.parquet may match hidden files, too
        with written_aside(written) as aside:
            pq.write_table(pa.Table.from_pylist(self._rows, SCHEMA), aside, compression="zstd")
        written.replace(self._folder / f"{self._shard}-part-{self._number:05}.parquet")
        self._flushed = len(self._rows)
        if len(self._rows) >= self._part_rows:
            self._number, self._rows, self._flushed = self._number + 1, [], 0


def parts_of(folder: Path, shard_name: str) -> list[Path]:
    """The files of one shard, in their order."""
    return sorted(folder.glob(f"{shard_name}-part-*.parquet"))


def ended_entries(folder: Path, shard_name: str) -> Iterator[str]:
    """The entry of each row of a shard. Raises InputError for a part that cannot be read."""
    for part in parts_of(folder, shard_name):
        yield from _read(part, ["entry"]).column("entry").to_pylist()


def read_manifest(folder: Path) -> pa.Table:
    """All rows of all shards. Raises InputError if there are none, or a part cannot be read."""
    parts = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    if not parts:
        raise InputError(f"{folder}: no manifest; expected *.parquet there, as `swinunet batch` writes them")
    return pa.concat_tables([_read(part, None) for part in parts])


def count_states(folders: Iterable[Path]) -> dict[str, int]:
    """How many rows have each state, in these Parquet files."""
    counts: dict[str, int] = {}
    for part in folders:
        for pair in _read(part, ["state"]).column("state").value_counts().to_pylist():
            counts[pair["values"]] = counts.get(pair["values"], 0) + pair["counts"]
    return counts


def _read(part: Path, columns: list[str] | None) -> pa.Table:
    try:
        return pq.ParquetFile(part).read(columns)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{part}: cannot be read as a part of a manifest ({type(error).__name__}); restore it, or remove "
            "it and its entries are looked at again"
        ) from None


def _count(part: Path) -> int:
    try:
        return int(pq.read_metadata(part).num_rows)
    except (OSError, pa.ArrowException):
        return len(_read(part, ["entry"]))


def manifest_text(text: str) -> str:
    """UTF-8, as Parquet wants it: bytes of a file name that are none appear as \\xe9."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
