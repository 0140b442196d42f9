"""`swinunet gateway`: beside a PACS, for months: studies in, segmentations back; and what a person does about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swinunet.cli.options import with_options
from swinunet.foundation.errors import InputError
from swinunet.foundation.nearest import did_you_mean

if TYPE_CHECKING:
    from swinunet.gateway.config.settings import GatewayConfig
    from swinunet.gateway.ledger.database import Ledger

_ACTIONS = {  # and what each wants beside --config
    "run": "",
    "explain": "FOLDER",
    "fetch": "",
    "status": "",
    "retry": "JOB",
    "forget": "STUDY",
    "drain": "",
}
_OPTIONS_OF = {"json": ("status",), "study": ("fetch",), "source": ("fetch",), "calling_ae": ("explain",)}


@dataclass(frozen=True)
class GatewayOptions:
    """What is done, and by which configuration."""

    action: Annotated[str, typer.Argument(metavar="ACTION")] = "run"
    """What to do: run, explain, fetch, status, retry, forget or drain."""
    subject: Annotated[str | None, typer.Argument(metavar="SUBJECT")] = None
    """Of explain a folder, of retry a job's number, of forget a study as status shows it."""
    config: Annotated[Path, typer.Option("--config", "-c")] = Path("gateway.toml")
    """TOML file; --example prints one."""
    example: Annotated[bool, typer.Option("--example")] = False
    """Print a configuration that runs as it is, and what can be set in it."""
    url: str | None = None
    """HOST:PORT of Triton's gRPC, in place of the one that is configured or started here."""
    json: Annotated[bool, typer.Option("--json")] = False
    """Of status: as JSON."""
    source: Annotated[str | None, typer.Option("--from")] = None
    """Of fetch: the configured peer that has the study."""
    study: str | None = None
    """Of fetch: Study Instance UID."""
    calling_ae: str | None = None
    """Of explain: the AE title that would send it."""

    def require_consistent(self) -> None:
        """Raise InputError for what is missing, or would be ignored."""
        if self.action not in _ACTIONS:
            raise InputError(
                f"there is no action {self.action!r}; choose one of {', '.join(_ACTIONS)}"
                f"{did_you_mean(self.action, _ACTIONS)}"
            )
        wanted = _ACTIONS[self.action]
        if wanted and self.subject is None:
            raise InputError(f"`swinunet gateway {self.action}` wants a {wanted}")
        if not wanted and self.subject is not None:
            raise InputError(f"`swinunet gateway {self.action}` takes no {self.subject!r}; leave it out")
        for name, actions in _OPTIONS_OF.items():
            if getattr(self, name) not in (None, False) and self.action not in actions:
                option = "--from" if name == "source" else "--" + name.replace("_", "-")
                raise InputError(f"{option} is not of `swinunet gateway {self.action}` (of {', '.join(actions)} only)")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("gateway")(with_options(gateway))


def gateway(options: GatewayOptions) -> None:
    """Receive studies from a PACS, segment them, send results back.

    A study is segmented when it is complete. Listens for C-STORE and STOW-RS as its configuration says, and runs until
    Ctrl-C or SIGTERM: then it receives nothing more, finishes what is under way, and leaves the rest in its ledger for
    the next start.

    `explain FOLDER` says what would be done with a study, and why. `fetch --from PACS --study UID` gets one.
    `status` lists studies and jobs, `retry JOB` tries one again, `forget STUDY` removes all there is of one,
    `drain` lets a gateway finish everything and end.

    Example: `swinunet gateway --example > gateway.toml`, then `swinunet gateway --config gateway.toml`
    """
    if options.example:
        from swinunet.gateway.config.example import EXAMPLE

        print(EXAMPLE, end="")
        return
    options.require_consistent()
    actions: dict[str, Callable[[GatewayOptions], None]] = {
        "run": _run,
        "explain": _explain,
        "fetch": _fetch,
        "status": _status,
        "retry": _retry,
        "forget": _forget,
        "drain": _drain,
    }
    actions[options.action](options)


def _read(options: GatewayOptions) -> GatewayConfig:
    """The configuration, with --url in it. Raises InputError."""
    import dataclasses

    from swinunet.gateway.config.reading import read_config
    from swinunet.gateway.config.settings import ModelServerConfig

    config = read_config(options.config)
    if options.url is None:
        return config
    return dataclasses.replace(config, models=ModelServerConfig(url=options.url))


def _open(options: GatewayOptions) -> Ledger:
    """The ledger of the configuration. Raises InputError if no gateway has made it, LedgerError."""
    from swinunet.gateway.config.secrets import ledger_url
    from swinunet.gateway.ledger.database import Ledger

    config = _read(options)
    url = ledger_url(config)
    if url.startswith("sqlite") and not (config.spool / "ledger.sqlite").exists():
        raise InputError(f"{config.spool}: there is no ledger yet; start the gateway first")
    return Ledger(url)


def _run(options: GatewayOptions) -> None:
    import os

    from swinunet.cli.signals import interrupt_once_on_signals
    from swinunet.foundation.terminal import print_line
    from swinunet.gateway.logs import configure_logs
    from swinunet.gateway.process.gateway import Gateway

    os.umask(0o077)
    configure_logs()
    running = Gateway(_read(options))
    interrupt_once_on_signals()
    try:
        with running:
            running.wait()
    except KeyboardInterrupt:
        print_line("stopped", error=True)


def _explain(options: GatewayOptions) -> None:
    from swinunet.client.model_choice import answering
    from swinunet.client.triton.served_models import specs_on_server
    from swinunet.foundation.paths import default_repository
    from swinunet.foundation.terminal import print_line
    from swinunet.gateway.explaining import explain, lines_of
    from swinunet.imaging.repository_specs import specs_in_repository

    config = _read(options)
    if config.models.url is not None:
        specs = specs_on_server(config.models.url)
    else:
        specs = specs_in_repository(config.models.repository or default_repository())
    by_name = {spec.name: spec for spec in answering(specs)}
    found = explain(Path(str(options.subject)), config.routes, by_name, options.calling_ae)
    for line in lines_of(found):
        print_line(line)


def _fetch(options: GatewayOptions) -> None:
    import os

    from swinunet.foundation.terminal import print_line
    from swinunet.gateway.logs import configure_logs
    from swinunet.gateway.process.fetching import fetch_study

    if options.source is None or options.study is None:
        raise InputError("`swinunet gateway fetch` wants --from PEER and --study UID")
    os.umask(0o077)
    configure_logs()
    print_line(fetch_study(_read(options), _open(options), options.source, options.study))


def _status(options: GatewayOptions) -> None:
    import time

    from swinunet.foundation.terminal import print_line, show_table
    from swinunet.gateway.ledger.administration import status
    from swinunet.gateway.ledger.report import as_json, as_table

    found = status(_open(options))
    if options.json:
        print_line(as_json(found))
    else:
        show_table(as_table(found, time.time()), figures_to_the_right=False)


def _retry(options: GatewayOptions) -> None:
    import time

    from swinunet.foundation.terminal import print_line
    from swinunet.gateway.ledger.administration import retry

    number = str(options.subject)
    if not number.isdecimal():
        raise InputError(f"{number!r} is no number of a job; `swinunet gateway status` lists them")
    print_line(retry(_open(options), int(number), time.time()))


def _forget(options: GatewayOptions) -> None:
    import time

    from swinunet.foundation.terminal import print_line
    from swinunet.gateway.delivering.retention import remove_files
    from swinunet.gateway.ledger.administration import find_study, forget_study
    from swinunet.gateway.spool import Spool

    ledger = _open(options)
    files = forget_study(ledger, find_study(ledger, str(options.subject)), time.time())
    remove_files(Spool(_read(options).spool), files)
    print_line(f"forgotten, with {len(files)} files and folders")


def _drain(options: GatewayOptions) -> None:
    import time

    from swinunet.foundation.terminal import print_line
    from swinunet.gateway.ledger.administration import counts, set_draining, under_way

    ledger = _open(options)
    set_draining(ledger, True)
    last = None
    while left := under_way(found := counts(ledger)):
        said = ", ".join(f"{count} {state}" for state, count in found.items() if count)
        if said != last:
            print_line(f"draining: {left} left ({said})")
            last = said
        time.sleep(0.5)
    print_line("drained: nothing is under way")
