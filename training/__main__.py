"""`python -m training` is `swinunet train`, as torchrun needs it.

One machine with four GPUs, then two machines of four (the same command on both, NAME being the first one's):

    torchrun --nproc-per-node 4 -m training DATA -o RUN
    torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint NAME:29500 --rdzv-id 1 -m training DATA -o RUN

DATA is read on every machine; RUN is written on the first (and must be seen by all to `--resume`). The batch size is
that of all processes together, so the same settings give the same run on one GPU and on eight.
"""  # noqa: E501 - a command is a line

import os
import sys

from swinunet.cli import main

sys.argv[1:1] = ["train"]
try:
    main()
except SystemExit as ended:
    sys.stdout.flush()
    sys.stderr.flush()
    # Past Python's finalisation, where torch's threads may abort a process whose work is done; torchrun would then
    # stop the others, too.
    os._exit(int(ended.code or 0))
