"""A checkpoint of half the size: weights rounded to half precision, which training from them or serving reads as usual.

    python -m swinunet.training.studies.half_weights RUN/last.safetensors -o half/checkpoint.safetensors

Judge the model that comes out (`swinunet evaluate`), not the one that goes in: it is another, if only by a little.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from swinunet.training.network.checkpoint import load_checkpoint, save_checkpoint


def halve(source: Path, target: Path) -> None:
    """Write the checkpoint `source` to `target` with float16 weights.

    Raises CheckpointError as `load_checkpoint` and `save_checkpoint` do, also for weights beyond float16's range.
    """
    model, spec = load_checkpoint(source)
    save_checkpoint(target, model.half(), spec)
    load_checkpoint(target)  # refuses weights that became infinite


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    halve(asked.source, asked.output)


if __name__ == "__main__":
    _main()
