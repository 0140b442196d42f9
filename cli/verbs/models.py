"""`swinunet models`: the models that a server has, or a repository would serve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swinunet.cli.options import OptionGroup, with_options
from swinunet.cli.server_options import ConnectionOptions

if TYPE_CHECKING:
    from swinunet.foundation.tables import Table
    from swinunet.imaging import ModelSpec

_MEAN_DICE = "Dice, mean"


@dataclass(frozen=True)
class ModelsOptions:
    """Where to look, and how to tell."""

    repository: Annotated[Path | None, typer.Option(show_default="model_repository/")] = None
    """Model repository to look into, without a server."""
    as_json: Annotated[bool, typer.Option("--json")] = False
    """Print JSON instead of a table."""


_COMMON = ("--repository", "--url", "--json")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("models")(with_options(models, common=_COMMON))


def models(options: ModelsOptions, server: Annotated[ConnectionOptions, OptionGroup("The server, with --url")]) -> None:
    """List the models of a server, or of a repository.

    Each with its name, version, what it takes and finds, licence and Dice. Exit status 1 if there is none.

    Example: `swinunet models --url triton.hospital:8001`
    """
    from swinunet.foundation.errors import InputError
    from swinunet.foundation.paths import default_repository
    from swinunet.foundation.terminal import show_table

    chosen = server.server_options()
    if server.url:
        from swinunet.client.triton.served_models import specs_on_server

        if options.repository:
            raise InputError("--url lists what a server has and --repository what a folder has; give one of the two")
        specs, where = specs_on_server(server.url, chosen), f"Triton at {server.url}"
    else:
        from swinunet.imaging.repository_specs import specs_in_repository

        repository = options.repository or default_repository()
        specs, where = specs_in_repository(repository), str(repository)
    if not specs:
        raise InputError(f"{where} has no model of ours; put one there with `swinunet export`")
    if options.as_json:
        print(json.dumps([_described(spec) for spec in specs], indent=1, ensure_ascii=False))
    else:
        show_table(_table(specs, where), figures_to_the_right=False)


def _table(specs: Sequence[ModelSpec], where: str) -> Table:
    from swinunet.foundation.tables import Table

    heads = ("model", "takes", "finds", "licence", "Dice")
    rows = tuple(
        (
            f"{spec.name} {spec.version}",
            _takes(spec),
            ", ".join(label.name for label in spec.labels),
            spec.provenance.licence or "not said",
            f"{dice:.3f}" if (dice := spec.provenance.metrics.get(_MEAN_DICE)) is not None else "not said",
        )
        for spec in specs
    )
    return Table(f"Models: {where}", heads, rows)


def _takes(spec: ModelSpec) -> str:
    """What a study must be, in words."""
    of = f"{spec.modality} of {spec.body_part}" if spec.body_part else spec.modality
    if spec.modalities:
        of = f"{of}: {', '.join(spec.modalities)}"
    if spec.locating:
        return f"{of}; it finds boxes for other models"
    if spec.boxes:
        return f"{of}; boxes by {spec.boxes.locator}"
    return of


def _described(spec: ModelSpec) -> dict[str, Any]:
    """A model for programs; `spec` is all that its spec says."""
    return {
        "name": spec.name,
        "version": spec.version,
        "modality": spec.modality,
        "body_part": spec.body_part,
        "finds": [label.name for label in spec.labels],
        "is_locator": spec.locating is not None,
        "locator": spec.boxes.locator if spec.boxes else None,
        "licence": spec.provenance.licence,
        "dice": spec.provenance.metrics.get(_MEAN_DICE),
        "spec": json.loads(spec.to_json()),
    }
