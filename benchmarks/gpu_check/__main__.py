"""What a machine's GPU can build, run rightly and how fast, in one report folder that is small enough to be sent.

python -m swinunet.benchmarks.gpu_check --output gpu_check_output
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from swinunet.benchmarks.gpu_check.check import run_gpu_check
from swinunet.benchmarks.gpu_check.report import gpu_check_report, keep_small, require_own_folder
from swinunet.benchmarks.gpu_check.settings import GpuCheckSettings
from swinunet.foundation.errors import SwinUNetError
from swinunet.foundation.files import unwritable
from swinunet.foundation.paths import default_repository
from swinunet.foundation.terminal import printable

_WIDTH = 80


def main() -> int:
    """Run the check. 0 with a report, whatever the machine lacks; 2 where it cannot be written."""
    options = _parser().parse_args()
    settings = GpuCheckSettings(
        options.repository,
        options.recipe,
        seconds=options.seconds,
        row_s=options.row_seconds,
        total_s=60 * options.minutes,
        batches=tuple(options.batches) if options.batches else None,
    )
    try:
        require_own_folder(options.output)
        try:
            options.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(options.output, error) from None
        result = run_gpu_check(settings, _say)
        gpu_check_report(result).write(options.output)
        removed = keep_small(options.output, settings.max_bytes)
    except SwinUNetError as error:
        print(f"gpu-check: {printable(str(error))}", file=sys.stderr)
        return 2
    if removed:
        _say(f"left out, as the folder would be too large to send: {', '.join(removed)}")
    _say(f"{result.run.seconds:.0f} s; the report to send back: {options.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpu-check", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("gpu_check_output"), help="the report folder")
    parser.add_argument(
        "--repository", type=Path, default=default_repository(), help="the models; the shipped ones by default"
    )
    parser.add_argument(
        "--recipe", default="swin-unet", help="the untrained network beside them; the paper's by default"
    )
    parser.add_argument("--batches", type=_positive, nargs="+", help="1 to 64 by powers of two; 1 and 2 without a GPU")
    parser.add_argument("--seconds", type=float, default=0.4, help="of measuring at each batch")
    parser.add_argument("--row-seconds", type=float, default=120.0, help="time limit of one engine with one model")
    parser.add_argument("--minutes", type=float, default=9.5, help="time limit of the whole check")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"a batch is a whole number from 1 to 64, found {text!r}")
    return int(text)


def _say(line: str) -> None:
    print(textwrap.fill(printable(line), _WIDTH, subsequent_indent="  "), flush=True)


if __name__ == "__main__":
    sys.exit(main())
