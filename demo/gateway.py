"""The gateway's demo: a network of three on loopback. A sender, the gateway with its own Triton, and a PACS.

    python -m swinunet.demo.gateway --output demo_output

The MNI152 brain goes to the gateway by C-STORE; its segmentation and report come to the PACS.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from swinunet.demo.gateway_events import GatewayEvents, wait_for_the_end
from swinunet.demo.pacs import DemoPacs, running_pacs
from swinunet.foundation.errors import PeerError, SwinUNetError
from swinunet.foundation.paths import default_repository
from swinunet.foundation.tables import Table
from swinunet.foundation.terminal import print_line, show_table
from swinunet.gateway.network.dimse.association import DimseAddress, DimseTimeouts
from swinunet.gateway.network.dimse.sender import send_by_dimse
from swinunet.imaging.repository_specs import specs_in_repository
from swinunet.samples.closed_network import LOOPBACK, free_port
from swinunet.samples.gateway_process import running_gateway
from swinunet.samples.mni152 import HIPPOCAMPUS_BOXES, write_mni152_series

GATEWAY_AE, SENDER_AE = "SWINUNET", "SCANNER"
_MODEL = "swin_unet_hippocampus"
_SILENCE_S = 2.0

CONFIGURATION = """\
spool = "spool"

[listener]
ae_title = "{gateway_ae}"
port = {port}

[disk]
least_free_gb = 1.0
most_used_percent = 100.0

[[peers]]
name = "pacs"
kind = "dimse"
called_ae = "{pacs_ae}"
host = "127.0.0.1"
port = {pacs_port}
commitment = {commitment}

[[peers]]
name = "folder"
kind = "folder"
folder = "{results}"

[[routes]]
name = "heads"
destinations = ["pacs", "folder"]
models = ["{model}"]
rois = [{rois}]

[routes.complete]
series_silence_s = {silence_s}
"""


def run(output: Path) -> None:
    """Let a study go through, and say what happened; results are in `output`/gateway_results. Raises SwinUNetError."""
    series = write_mni152_series(output / "mni152_t1")
    results = (output / "gateway_results").absolute()
    shutil.rmtree(results, ignore_errors=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="swinunet-gateway-demo-") as made:
        port = free_port()
        with running_pacs(Path(made) / "pacs", GATEWAY_AE, port) as pacs:
            print_line(f"PACS: {pacs.title}, AE title {pacs.ae_title}, {LOOPBACK}:{pacs.port}")
            configuration = configuration_for(pacs, port, results)
            with running_gateway(configuration, Path(made) / "gateway", port) as gateway:
                print_line(f"gateway: AE title {GATEWAY_AE}, {LOOPBACK}:{port}; it starts its own Triton")
                files = sorted(series.iterdir())
                sender = send(files, port)
                print_line(f"sender: AE title {SENDER_AE}, {sender}, {len(files)} instances, each with a success")
                events = wait_for_the_end(gateway, print_line)
            show_table(what_happened(events, pacs, sender), figures_to_the_right=False)
    print_line(f"results: {results}; {time.monotonic() - began:.0f} s in all")


def configuration_for(pacs: DemoPacs, port: int, results: Path) -> str:
    """The gateway's configuration, with boxes drawn by hand where no model is served that finds them."""
    served = {spec.name: spec for spec in specs_in_repository(default_repository())}
    boxes = served[_MODEL].boxes if _MODEL in served else None
    drawn = {} if boxes is not None and boxes.locator in served else HIPPOCAMPUS_BOXES
    rois = ", ".join(f'"{side}={",".join(f"{edge:g}" for edge in box)}"' for side, box in drawn.items())
    return CONFIGURATION.format(
        gateway_ae=GATEWAY_AE, port=port, pacs_ae=pacs.ae_title, pacs_port=pacs.port,
        commitment=str(pacs.commits).lower(), results=results, model=_MODEL, rois=rois, silence_s=_SILENCE_S,
    )  # fmt: skip


def send(files: list[Path], port: int) -> str:
    """Send files to the gateway by dcmtk's dcmsend, else by pynetdicom; returns which. Raises PeerError."""
    if program := shutil.which("dcmsend"):
        command = [program, "-aet", SENDER_AE, "-aec", GATEWAY_AE, LOOPBACK, str(port), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise PeerError(f"dcmsend ended with status {done.returncode}: {said[-1]}")
        return "dcmtk's dcmsend"
    outcomes = send_by_dimse(DimseAddress(GATEWAY_AE, LOOPBACK, port), SENDER_AE, DimseTimeouts(), files)
    for outcome in outcomes:
        if not outcome.accepted:
            raise PeerError(f"an instance was not taken: {outcome.words}")
    return "pynetdicom"


def what_happened(events: GatewayEvents, pacs: DemoPacs, sender: str) -> Table:
    """A row for each step, with the seconds that it took."""
    held = pacs.held()
    promised = f"{pacs.title} said that it keeps them" if events.committed else "not asked: it offers no commitment"
    has = ", ".join(f"{held.count(uid)} {kind}" for kind, uid in events.results.items())
    rows = [
        ("received", f"{events.receiving_s:.1f}", f"{events.images} images by C-STORE, {sender}"),
        ("complete", f"{events.completing_s:.1f}", events.complete_because),
        ("begun", f"{events.waiting_s:.1f}", "by a worker"),
        ("segmented", f"{events.segmenting_s:.1f}", f"{events.model}; Triton's start is in it"),
        ("delivered", f"{events.delivering_s:.1f}", f"the PACS has {has}; the folder has all results"),
        ("committed", f"{events.committing_s:.1f}" if events.committed else "", promised),
    ]
    return Table("What happened", ("step", "seconds", "what there is to say"), rows)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="A study through the gateway: sender, gateway and PACS on loopback.")
    parser.add_argument("--output", type=Path, default=Path("demo_output"))
    try:
        run(parser.parse_args().output)
    except SwinUNetError as error:
        print_line(f"error: {error}", error=True)
        return 1
    except KeyboardInterrupt:
        print_line("stopped", error=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
