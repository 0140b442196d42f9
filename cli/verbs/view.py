"""`swinunet view`: results in the browser, and a reviewer's marks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from swinunet.cli.options import with_options


@dataclass(frozen=True)
class ViewOptions:
    """Which results, and where."""

    results: Annotated[Path, typer.Argument(metavar="RESULTS")]
    """A folder of results, or a folder that holds such folders."""
    port: Annotated[int, typer.Option(min=0, max=65535, show_default="a free one")] = 0
    """Port on 127.0.0.1."""
    browser: Annotated[bool, typer.Option("--browser/--no-browser")] = True
    """Open the browser."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("view", no_args_is_help=True)(with_options(view))


def view(options: ViewOptions) -> None:
    """Look at results in the browser, and accept or reject them.

    Until Ctrl-C. One result opens its page; several open a table, those with quality flags first. Marks and comments
    are kept in review.csv in the folder. Only this machine, and only who has the address with its key, can see the
    results.

    Example: `swinunet view results`
    """
    import threading
    import time
    import webbrowser

    from swinunet.cli.signals import interrupted_by_sigterm
    from swinunet.client.viewer.results_tree import results_below
    from swinunet.client.viewer.server import ViewServer
    from swinunet.foundation.terminal import print_line

    results = results_below(options.results)
    with interrupted_by_sigterm(), ViewServer(options.results, results, options.port) as server, server.door() as door:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flagged = sum(bool(each.flags) for each in results)
        print_line(f"{options.results}: results: {len(results)}, to look at: {flagged}")
        print_line(f"{server.address} (Ctrl-C ends it)")
        if options.browser and not webbrowser.open(door):
            print_line("no browser was found here; open the address above", error=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            server.shutdown()
            print_line("stopped", error=True)
