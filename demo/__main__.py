"""The demo: the MNI152 brain as a DICOM series, both hippocampi segmented through a real Triton.

python -m swinunet.demo --output demo_output
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from swinunet.cli import main
from swinunet.samples.mni152 import write_mni152_series


def run(output: Path) -> None:
    """Write the series below `output` and hand over to `swinunet segment`, as a user would call it."""
    series = write_mni152_series(output / "mni152_t1")
    command = ["swinunet", "segment", str(series), "-o", str(output / "results"), "--overwrite"]
    print(f"DICOM series: {series}\n$ {shlex.join(command)}", flush=True)
    sys.argv = command
    main()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Segment the hippocampi of the MNI152 brain.")
    parser.add_argument("--output", type=Path, default=Path("demo_output"))
    run(parser.parse_args().output)
