"""The gateway's configuration: what its TOML file says, with every default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from swinunet.client.results.formats import parse_outputs
from swinunet.client.rois import parse_roi
from swinunet.foundation.errors import SwinUNetError
from swinunet.gateway.config.audit import AuditConfig
from swinunet.gateway.config.peers import STRICT, AETitle, ListenerConfig, Peer, Seconds, WebConfig, Webhook

_Hours = Annotated[float, Field(gt=0)]
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$"


def _roi(text: str) -> str:
    try:
        parse_roi(text)
    except SwinUNetError as error:
        raise ValueError(str(error)) from None
    return text


def _outputs(names: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return parse_outputs(",".join(names))
    except SwinUNetError as error:
        raise ValueError(str(error).removeprefix("--outputs ")) from None


@dataclass(frozen=True, config=STRICT)
class DiskConfig:
    """Instances are refused (0xA700, 507) below `least_free_gb` (10^9 bytes) or above `most_used_percent`."""

    least_free_gb: Annotated[float, Field(ge=0)] = 5.0
    most_used_percent: Annotated[float, Field(gt=0, le=100)] = 85.0


@dataclass(frozen=True, config=STRICT)
class LedgerConfig:
    """url: postgresql://USER@HOST/NAME; None is SQLite in the spool. password_file: of the user in the URL."""

    url: str | None = None
    password_file: Path | None = None


@dataclass(frozen=True, config=STRICT)
class ModelServerConfig:
    """Triton. url: HOST:PORT of its gRPC; None starts one here, on `repository` (None: the shipped models).

    config: of the models, as `swinunet serve --config` has it. ca: PEM, for TLS. traces: URL of an OTLP collector that
    gets the spans of the jobs' requests; None sends them nowhere.
    """

    url: str | None = None
    repository: Path | None = None
    config: str = "cpu"
    tls: bool = False
    ca: Path | None = None
    traces: str | None = None

    @model_validator(mode="after")
    def _one_server(self) -> ModelServerConfig:
        if self.url is not None and self.repository is not None:
            raise ValueError("give url for a Triton that runs, or repository to start one, not both")
        return self


@dataclass(frozen=True, config=STRICT)
class CompletenessConfig:
    """When a study is complete: as soon as one of these holds, and never while images of it arrive.

    study_silence_s: no image of the study for so long. series_silence_s: every association that brought images of it
    has ended, and no series got one for so long; None switches this rule off. count_from: the peer that is asked
    (C-FIND, QIDO-RS) how many images there are, once the series are silent for `count_after_s`; with all of them the
    study is complete at once, and with fewer it waits until `longest_wait_s` after its first image.
    """

    study_silence_s: Seconds = 60.0
    series_silence_s: Seconds | None = 10.0
    count_from: str | None = None
    count_after_s: Seconds = 2.0
    longest_wait_s: Seconds = 3600.0

    @model_validator(mode="after")
    def _in_order(self) -> CompletenessConfig:
        if self.longest_wait_s < self.study_silence_s:
            raise ValueError(
                f"longest_wait_s ({self.longest_wait_s:g}) must not be less than study_silence_s "
                f"({self.study_silence_s:g})"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class RouteConfig:
    """Studies of a kind, the models that read them, and where results go.

    calling_ae, modality, description: narrow the route to studies from one of these senders, with a series of one of
    these modalities, with a series whose description holds one of these words. Empty is any.
    models: names; empty is every model that is served. Which series a model reads follow its spec's rules; where
    several fit, `several_series` says whether each is read or the study is refused.
    rois: boxes SIDE=X0,X1,Y0,Y1,Z0,Z1 in LPS mm, as `swinunet segment --roi` has them.
    """

    name: Annotated[str, Field(pattern=_NAME)]
    destinations: tuple[str, ...]
    models: tuple[str, ...] = ()
    calling_ae: tuple[AETitle, ...] = ()
    modality: tuple[str, ...] = ()
    description: tuple[str, ...] = ()
    several_series: Literal["refuse", "each"] = "refuse"
    allow: tuple[str, ...] = ()
    rois: tuple[Annotated[str, AfterValidator(_roi)], ...] = ()
    outputs: Annotated[tuple[str, ...], AfterValidator(_outputs)] = ("seg", "sr", "png", "json")
    seg_type: Literal["binary", "labelmap"] = "binary"
    complete: CompletenessConfig = CompletenessConfig()

    @model_validator(mode="after")
    def _useful(self) -> RouteConfig:
        if "json" not in self.outputs:
            raise ValueError("outputs must hold json: the report says what was found")
        return self


@dataclass(frozen=True, config=STRICT)
class WorkingConfig:
    """workers: processes that segment. attempts: of a job that fails for a reason that may pass; after each it waits,
    `retry_s` at first and twice as long each time. lease_s: after which the work of a process that is gone is taken up.
    """

    workers: Annotated[int, Field(ge=1, le=64)] = 1
    attempts: Annotated[int, Field(ge=1, le=100)] = 5
    retry_s: Seconds = 10.0
    lease_s: Seconds = 15.0


@dataclass(frozen=True, config=STRICT)
class DeliveringConfig:
    """Each delivery is tried again after `retry_s`, twice as long each time up to `longest_retry_s`, for
    `give_up_hours`. commitment_wait_s: for the report, before the destination is asked again.
    """

    retry_s: Seconds = 5.0
    longest_retry_s: Seconds = 1800.0
    give_up_hours: _Hours = 168.0
    commitment_wait_s: Seconds = 3600.0


@dataclass(frozen=True, config=STRICT)
class RetentionConfig:
    """Hours after a job's end that local copies are kept; None keeps them.

    inputs, results: of studies whose jobs are done, and whose destinations have committed where that is asked.
    refused: inputs of studies that were refused, or had nothing to segment. history: what the ledger knows of a study
    of which nothing else is left.
    """

    inputs_hours: _Hours | None = 24.0
    results_hours: _Hours | None = 168.0
    refused_hours: _Hours | None = 72.0
    history_hours: _Hours | None = 2160.0


@dataclass(frozen=True, config=STRICT)
class GatewayConfig:
    """Everything. spool: folder for patient data, ours alone. stop_s: how long a stop waits for work under way."""

    spool: Path
    routes: tuple[RouteConfig, ...]
    peers: tuple[Peer, ...] = ()
    listener: ListenerConfig | None = ListenerConfig()
    web: WebConfig | None = None
    ledger: LedgerConfig = LedgerConfig()
    disk: DiskConfig = DiskConfig()
    models: ModelServerConfig = ModelServerConfig()
    working: WorkingConfig = WorkingConfig()
    delivering: DeliveringConfig = DeliveringConfig()
    retention: RetentionConfig = RetentionConfig()
    webhook: Webhook | None = None
    audit: AuditConfig = AuditConfig()
    stop_s: Seconds = 30.0

    @model_validator(mode="after")
    def _names(self) -> GatewayConfig:
        for what, names in (
            ("peers", [peer.name for peer in self.peers]),
            ("routes", [route.name for route in self.routes]),
        ):
            if doubled := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{what}: two are called {doubled[0]!r}; give each a name of its own")
        known = {peer.name: peer for peer in self.peers}
        for route in self.routes:
            for name in (*route.destinations, *filter(None, [route.complete.count_from])):
                if name not in known:
                    listed = ", ".join(known) or "none"
                    raise ValueError(f"route {route.name!r}: there is no peer {name!r}; the peers are: {listed}")
            counted = route.complete.count_from
            if counted and known[counted].kind == "folder":
                raise ValueError(f"route {route.name!r}: count_from {counted!r} is a folder; expected a PACS")
        if not self.routes:
            raise ValueError("routes: none is given; expected at least one [[routes]]")
        return self

    def peer(self, name: str) -> Peer:
        """The peer of that name. Raises KeyError."""
        return {peer.name: peer for peer in self.peers}[name]
