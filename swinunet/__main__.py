"""`python -m swinunet` is the `swinunet` command; `torchrun -m swinunet train` runs it in several processes.

One machine with four GPUs, then two machines of four (the same command on both, NAME being the first one's):

    torchrun --nproc-per-node 4 -m swinunet train DATA -o RUN
    torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint NAME:29500 --rdzv-id 1 \
        -m swinunet train DATA -o RUN

DATA is read on every machine; RUN is written on the first (and must be seen by all to `--resume`). The batch size is
that of all processes together, so the same settings give the same run on one GPU and on eight.
"""

from __future__ import annotations

import os
import sys

_package_parent = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if os.path.realpath(sys.path[0]) == os.path.realpath(os.curdir) != os.path.realpath(_package_parent):
    del sys.path[0]  # the working folder, put there by `python -m`: a `pydicom.py` in it must not be imported

from swinunet.cli import main  # noqa: E402


def _run() -> None:
    try:
        main()
    except SystemExit as ended:
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        # Past Python's finalisation, where torch's threads may abort a process whose work is done; torchrun would then
        # stop the others, too.
        os._exit(int(ended.code or 0))


_run()
