"""What a batch run is to do: chosen by the user, checked, and sent to every worker."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from swinunet.client.results.options import OutputOptions
from swinunet.client.triton.options import ServerOptions
from swinunet.foundation.errors import InputError
from swinunet.imaging import ModelSpec

_SHARD = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of an archive; `number` counts from 1."""

    number: int = 1
    count: int = 1

    @staticmethod
    def parse(text: str) -> Shard:
        """A shard as it is written on the command line, as 3/16. Raises InputError."""
        matched = _SHARD.fullmatch(text)
        number, count = (int(matched[1]), int(matched[2])) if matched else (0, 0)
        if not 1 <= number <= count:
            raise InputError(f"--shard {text}: expected I/N with 1 <= I <= N, such as 3/16, the third of 16 parts")
        return Shard(number, count)

    @property
    def name(self) -> str:
        """As it stands in file names: 003-of-016."""
        digits = max(3, len(str(self.count)))
        return f"{self.number:0{digits}}-of-{self.count:0{digits}}"


@dataclass(frozen=True)
class BatchSettings:
    """What every worker needs to know.

    archive: a local folder, an fsspec URL, or dicomweb+https://... of a DICOMweb service. depth: how many folders below
    the archive its entries lie. output: folder for results and manifest; every worker sees it at this path.
    url: of a Triton that all workers share; None starts one for each worker on `repository`. model: its name there.
    spec: what that model must say of itself. allow, assume_ras: as `load_input` has them.
    deaths: of the worker that has it in hand, after which an entry is set aside.
    """

    archive: str
    output: Path
    spec: ModelSpec
    url: str | None = None
    repository: Path | None = None
    model: str | None = None
    server: ServerOptions = field(default_factory=ServerOptions)
    results: OutputOptions = field(default_factory=OutputOptions)
    allow: tuple[str, ...] = ()
    assume_ras: bool = False
    depth: int = 1
    shard: Shard = Shard()
    deaths: int = 3

    @property
    def manifest(self) -> Path:
        """The folder of Parquet files."""
        return self.output / "manifest"

    @property
    def results_folder(self) -> Path:
        """The folder below which results lie."""
        return self.output / "results"
