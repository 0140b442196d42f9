"""Several processes that train one network (PyTorch's DistributedDataParallel, arXiv 2006.15704).

    torchrun --nproc-per-node 4 -m swinunet train DATA -o RUN

Each process takes an equal share of every batch. Losses are built of sums that are added over the processes
(`Team.sum`), so the gradient is that of one process on the joint batch, soft Dice included.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from swinunet.foundation.errors import SwinUNetError


@dataclass(frozen=True)
class Team:
    """The processes of a run. rank: which of `size` this one is, 0 being the one that writes and speaks."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # on this machine

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """`value` added over the processes. The gradient is that of this process's part: it is not added."""
        return value if self.size == 1 else _Sum.apply(value)

    def gather(self, value: Any) -> list[Any]:
        """`value` of every process, in the order of ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def team_from_environment() -> Team:
    """The process that this one is, from what torchrun says in the environment; a team of one without torchrun."""
    said = os.environ
    if "TORCHELASTIC_RUN_ID" not in said:
        return Team()
    return Team(int(said["RANK"]), int(said["WORLD_SIZE"]), int(said["LOCAL_RANK"]))


@contextmanager
def one_voice() -> Iterator[None]:
    """An error that a user can act on is reported by the leading process only; the others end in silence, status 1."""
    try:
        yield
    except SwinUNetError:
        if team_from_environment().leads:
            raise
        raise SystemExit(1) from None


@contextmanager
def together(team: Team, device: torch.device) -> Iterator[None]:
    """Processes find each other for the block: by NCCL on GPUs, by gloo on CPUs."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if team.size > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", rank=team.rank, world_size=team.size)
    try:
        yield
    finally:
        if team.size > 1:
            dist.destroy_process_group()
