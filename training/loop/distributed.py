"""Several processes that train one network (PyTorch's DistributedDataParallel, arXiv 2006.15704).

    torchrun --nproc-per-node 4 -m swinunet train DATA -o RUN

Each process takes an equal share of every batch. Losses are built of sums that are added over the processes
(`ProcessGroup.sum_over_ranks`), so the gradient is that of one process on the joint batch, soft Dice included.
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
class ProcessGroup:
    """The processes of a run, in the words of torch.distributed; by default, one process alone.

    rank: the number of this process, 0 to `world_size` - 1. local_rank: its number among the `local_world_size` of this
    machine, whose ranks follow each other.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.rank == 0

    def sum_over_ranks(self, value: Tensor) -> Tensor:
        """`value` added over the processes. The gradient is that of this process's part: it is not added."""
        return value if self.world_size == 1 else _SumOverRanks.apply(value)

    def all_gather(self, value: Any) -> list[Any]:
        """`value` of every process, in the order of ranks."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait until every process has come here."""
        if self.world_size > 1:
            dist.barrier()


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def process_group_from_environment() -> ProcessGroup:
    """Rank and world size from the variables that torchrun sets; one process alone where it did not start this one."""
    variables = os.environ
    if "TORCHELASTIC_RUN_ID" not in variables:
        return ProcessGroup()
    here = int(variables.get("LOCAL_WORLD_SIZE", "1"))
    return ProcessGroup(int(variables["RANK"]), int(variables["WORLD_SIZE"]), int(variables["LOCAL_RANK"]), here)


@contextmanager
def errors_from_rank_zero_only() -> Iterator[None]:
    """Rank 0 alone reports an error that a user can act on; the other processes exit with status 1, silently."""
    try:
        yield
    except SwinUNetError:
        if process_group_from_environment().is_rank_zero:
            raise
        raise SystemExit(1) from None


@contextmanager
def initialized_process_group(group: ProcessGroup, device: torch.device) -> Iterator[None]:
    """torch.distributed's process group for the length of the block: NCCL on GPUs, gloo on CPUs."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if group.world_size > 1:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", rank=group.rank, world_size=group.world_size
        )
    try:
        yield
    finally:
        if group.world_size > 1:
            dist.destroy_process_group()
