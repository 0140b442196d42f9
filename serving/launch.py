"""What a tritonserver is started with: its options, those that hold the secret, and where it finds its models."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from swinunet.serving import keeper
from swinunet.serving.checksums import chosen_config
from swinunet.serving.leftovers import Belongings
from swinunet.serving.ports import LOOPBACK
from swinunet.serving.tuned import TUNED

MODELS = "models"  # in the private folder, a link to the repository
RESTRICTED_KEY = "swinunet"
# HTTP wants this header for what makes the server work: a web page of another origin cannot send it.
PAGE_PROOF_HEADER, PAGE_PROOF_VALUE = "swinunet-local", "yes"
# Through these a caller could write files or reach into the backend's memory, so only this server's owner may use them.
_DANGEROUS = ("shared-memory", "trace", "logging")
# A private server answers its owner only; health stays open, for whoever waits until it is up.
_ALL = ("metadata", "inference", "model-config", "model-repository", "statistics", *_DANGEROUS)
_PAGE_PROOF_OPTION = (
    f"--http-restricted-api=inference,model-config,model-repository,statistics:{PAGE_PROOF_HEADER}={PAGE_PROOF_VALUE}"
)


def link_models(repository: Path, config_name: str | None, place: Path) -> None:
    """The repository at `place`; where models differ in what their chosen config is called, each with its own."""
    if config_name != TUNED:
        place.symlink_to(repository)
        return
    for model in sorted(entry for entry in repository.iterdir() if entry.is_dir()):
        (place / model.name).mkdir(parents=True)
        (place / model.name / "config.pbtxt").symlink_to(chosen_config(model, TUNED))
        for version in (entry for entry in model.iterdir() if entry.name.isdecimal()):
            (place / model.name / version.name).symlink_to(version)


def hidden_options(secret: str, *, private: bool, http: bool) -> dict[str, str]:
    """The options that hold the secret, by the environment variables that stand for them in the command line.

    private: whether all but health wants the secret. http: whether the server speaks HTTP.
    """
    restricted = f"{RESTRICTED_KEY}={secret}"
    protocols = ",".join(_ALL if private else _DANGEROUS)
    options = {f"{keeper.HIDDEN}GRPC": f"--grpc-restricted-protocol={protocols}:{restricted}"}
    if http:
        options[f"{keeper.HIDDEN}HTTP"] = f"--http-restricted-api={protocols}:{restricted}"
    return options


def server_options(
    owned: Belongings,
    ports: Mapping[str, int],
    config_name: str | None,
    *,
    grace_s: float,
    private: bool,
    hidden: Collection[str],
) -> list[str]:
    """Options of a tritonserver that listens on loopback only.

    ports: by purpose, gRPC, metrics and perhaps HTTP. grace_s: from SIGTERM to SIGKILL, of which it may drain for half.
    hidden: names of variables, for which the keeper puts in what they stand for.
    """
    http = ports.get("HTTP")
    return [
        f"--model-repository={owned.folder / MODELS}",  # a link: Triton's launcher would trip over many a path
        *([f"--model-config-name={config_name}"] if config_name not in (None, TUNED) else []),
        "--model-control-mode=none",  # explicit, with an open port, would let a caller upload a model.py
        # Completion starts each Python model once more only to ask it for a config, and ours are complete.
        "--disable-auto-complete-config",
        f"--grpc-address={LOOPBACK}",
        f"--grpc-port={ports['gRPC']}",
        *hidden,
        f"--allow-http={'true' if http else 'false'}",
        *([f"--http-address={LOOPBACK}", f"--http-port={http}"] if http else []),
        *([_PAGE_PROOF_OPTION] if http and not private else []),
        f"--metrics-address={LOOPBACK}",
        f"--metrics-port={ports['metrics']}",
        f"--exit-timeout-secs={max(1, int(grace_s / 2))}",
        # A name of its own, so that servers side by side never remove each other's memory.
        f"--backend-config=python,shm-region-prefix-name={owned.shm_prefix}",
    ]
