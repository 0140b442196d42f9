"""`swinunet batch`: every study of an archive, on this machine or on a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from swinunet.cli.options import OptionGroup, with_options
from swinunet.cli.result_options import ResultFormatOptions
from swinunet.cli.server_options import ConnectionOptions, ModelOptions
from swinunet.cli.study_options import Allowance

if TYPE_CHECKING:
    from collections.abc import Callable

    from swinunet.batch.pool import Pool
    from swinunet.batch.settings import BatchSettings, Shard
    from swinunet.client import ServerOptions
    from swinunet.imaging import ModelSpec


@dataclass(frozen=True)
class ArchiveOptions:
    """Which archive, which part of it, and on which machines."""

    tree: Annotated[str, typer.Option(metavar="ARCHIVE")]
    """Folder, fsspec URL (s3://bucket/archive) or DICOMweb service (dicomweb+https://...)."""
    depth: int = 1
    """How many folders below the archive its entries lie, an entry being what a worker takes at a time."""
    shard: Annotated[str, typer.Option(metavar="I/N")] = "1/1"
    """Take only the I-th of N parts, for Slurm arrays, Nextflow and Argo."""
    deaths: Annotated[int, typer.Option(min=1, max=100)] = 3
    """Set an entry aside when so many workers have died with it in hand, or so many tries have failed."""
    allow: Annotated[list[Allowance] | None, typer.Option(metavar="VERDICT")] = None
    """Accept a series in spite of its verdict: tilted, gap or variable_spacing; repeatable."""
    assume_ras: Annotated[bool, typer.Option("--assume-ras")] = False
    """NIfTI without qform and sform: its axes run to the patient's right, front and head."""


@dataclass(frozen=True)
class EngineOptions:
    """On which machines."""

    engine: Literal["local", "ray"] = "local"
    """Where: local, in this process; ray, on every node of a Ray cluster."""
    address: Annotated[str | None, typer.Option(metavar="HOST:PORT")] = None
    """Ray's head node, or auto; without it, and without RAY_ADDRESS, Ray is started here."""
    workers_per_node: Annotated[int, typer.Option(min=1, max=64)] = 1
    """Ray workers on each node; without --url, each has a Triton of its own."""
    cpus: Annotated[float, typer.Option(min=0)] = 1.0
    """CPUs that a Ray worker reserves."""
    gpus: Annotated[float, typer.Option(min=0)] = 0.0
    """GPUs that a Ray worker reserves."""

    def new_pool(self) -> Callable[[BatchSettings], Pool]:
        """The engine. Raises InputError for options that it would ignore."""
        from swinunet.foundation.errors import InputError

        if self.engine == "local":
            from swinunet.batch.local_engine import LocalPool

            for name, default in (("address", None), ("workers_per_node", 1), ("cpus", 1.0), ("gpus", 0.0)):
                if getattr(self, name) != default:
                    raise InputError(f"--{name.replace('_', '-')} is of --engine ray; give that, or leave it out")
            return LocalPool
        from swinunet.batch.ray_cluster import RayOptions, require_ray

        require_ray()
        from swinunet.batch.ray_engine import RayPool

        options = RayOptions(self.address, self.workers_per_node, self.cpus, self.gpus)
        return lambda settings: RayPool(settings, options)


_COMMON = ("--tree", "--output", "--depth", "--shard", "--model", "--url", "--engine", "--address")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("batch", no_args_is_help=True)(with_options(batch, common=_COMMON))


def batch(
    archive: ArchiveOptions,
    results: ResultFormatOptions,
    engine: Annotated[EngineOptions, OptionGroup("The machines")],
    chosen: ModelOptions,
    server: Annotated[ConnectionOptions, OptionGroup("The server, with --url")],
) -> None:
    """Segment a whole archive; run it again to go on.

    Results go to OUT/results, and a row for each study to OUT/manifest/*.parquet, which can be queried at any time.

    On a Ray cluster: `swinunet batch --tree /archive -o /out --engine ray --address auto`

    One of 16 jobs: `swinunet batch --tree /archive -o /out --shard 3/16`
    """
    from swinunet.cli.batch_progress import show
    from swinunet.cli.signals import interrupted_by_sigterm

    new_pool = engine.new_pool()
    settings = _settings(archive, results, chosen, server)
    with interrupted_by_sigterm():
        show(settings, new_pool)


def _settings(
    archive: ArchiveOptions, results: ResultFormatOptions, chosen: ModelOptions, server: ConnectionOptions
) -> BatchSettings:
    from swinunet.batch.archive.open_archive import is_local, open_archive
    from swinunet.batch.settings import BatchSettings, Shard
    from swinunet.client.results.formats import parse_outputs
    from swinunet.client.results.options import OutputOptions
    from swinunet.foundation.errors import InputError
    from swinunet.foundation.paths import default_repository

    shard: Shard = Shard.parse(archive.shard)
    open_archive(archive.tree, archive.depth)  # refuse a wrong one before any server is asked
    if is_local(archive.tree) and not Path(archive.tree).is_dir():
        raise InputError(f"{archive.tree}: no such folder; --tree wants the folder of an archive, or a URL")
    formats = None if results.outputs is None else parse_outputs(results.outputs)
    if formats is not None and "json" not in formats:
        raise InputError("a batch goes by the JSON report of each result; add json to --outputs")
    if server.url is None:
        chosen.require_elsewhere(results.output)
    options = server.server_options()
    repository = (chosen.repository or default_repository()).resolve()
    spec = _spec(server.url, repository, chosen.model, options)
    return BatchSettings(
        archive=str(Path(archive.tree).resolve()) if is_local(archive.tree) else archive.tree,
        output=results.output.resolve(),
        spec=spec,
        url=server.url,
        repository=repository,
        model=spec.name,
        server=options,
        results=OutputOptions(formats, results.seg_type, results.restore),
        allow=tuple(archive.allow or ()),
        assume_ras=archive.assume_ras,
        depth=archive.depth,
        shard=shard,
        deaths=archive.deaths,
    )


def _spec(url: str | None, repository: Path, model: str | None, options: ServerOptions) -> ModelSpec:
    """What the model says of itself: at its server, or in the repository that workers serve."""
    from swinunet.client.model_choice import answering
    from swinunet.client.triton.served_models import specs_on_server
    from swinunet.foundation.errors import InputError
    from swinunet.imaging.repository_specs import specs_in_repository

    specs = specs_on_server(url, options) if url is not None else specs_in_repository(repository)
    found = [spec for spec in answering(specs) if model in (None, spec.name)]
    if len(found) != 1:
        there = ", ".join(spec.name for spec in specs) or "no model of ours"
        raise InputError(f"{url or repository}: has {there}; a batch is of one model, so choose one with --model")
    return found[0]
