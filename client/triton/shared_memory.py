"""System shared memory between this process and a Triton on the same host: one region, cut into slots, never leaked.

The server knows a region by a random name that nobody else is told: the name of its file, which every user of the
machine can list, would be enough to have the server infer from it, or into it.

A region is a file in /dev/shm that its owner keeps locked, so that the next job finds what a killed one left: a file of
our name that nobody has locked (foundation/abandoned.py).
"""

from __future__ import annotations

import mmap
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from swinunet.foundation.abandoned import CREATE, lock_abandoned, lock_new

FOLDER = Path("/dev/shm")
PREFIX = "swinunet_client_"
_RELEASE_S = 3.0  # Triton keeps a region while a cancelled request still computes on it
_ASK_S = 2.0


class SharedSlots:
    """`count` pairs of an image and an answer in a region that the server has mapped.

    image_bytes, answer_bytes: room for each. A slot whose request failed may still be written by the server, so it is
    never given out again. Raises InferenceServerException if the server will not have it, OSError if there is no room.
    """

    def __init__(
        self, client: grpcclient.InferenceServerClient, image_bytes: int, answer_bytes: int, count: int
    ) -> None:
        self.image_bytes, self.answer_bytes = image_bytes, answer_bytes
        self._client, self._slot_bytes = client, image_bytes + answer_bytes
        self._free, self._retired = list(range(count)), False
        self.name = f"{PREFIX}{secrets.token_hex(16)}"
        self.path, self._file = _create_locked()
        self._memory: mmap.mmap | None = None
        try:
            os.posix_fallocate(self._file, 0, count * self._slot_bytes)  # a full /dev/shm says so here, not by SIGBUS
            self._memory = mmap.mmap(self._file, count * self._slot_bytes)
            client.register_system_shared_memory(
                self.name, self.path.name, count * self._slot_bytes, client_timeout=_ASK_S
            )
        except BaseException:
            self._unlink()
            raise

    def take(self, image: np.ndarray) -> int | None:
        """Put `image` (float16) into a slot and return its number; None if it does not fit, or none is free."""
        if self._retired or image.nbytes > self.image_bytes or not self._free or self._memory is None:
            return None
        slot = self._free.pop()
        flat = np.frombuffer(self._memory, image.dtype, image.size, slot * self._slot_bytes)
        flat.reshape(image.shape)[...] = image
        return slot

    def give_back(self, slot: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """A copy of the answer in the slot, which is free again."""
        assert self._memory is not None
        offset = slot * self._slot_bytes + self.image_bytes
        answer = np.frombuffer(self._memory, dtype, int(np.prod(shape)), offset).reshape(shape).copy()
        self._free.append(slot)
        return answer

    def describe(
        self, slot: int, tensor: grpcclient.InferInput, size: int, output: grpcclient.InferRequestedOutput
    ) -> None:
        """Make the request speak of the slot: `size` bytes of image in it, and room for the answer."""
        offset = slot * self._slot_bytes
        tensor.set_shared_memory(self.name, size, offset)
        output.set_shared_memory(self.name, self.answer_bytes, offset + self.image_bytes)

    def retire(self) -> None:
        """Give out no more slots: after a failure the server may hold, or have lost, the region."""
        self._retired = True

    def close(self) -> None:
        """Remove the region here and on the server, waiting a little for requests that were cancelled.

        If the server still uses it then, or is gone, the next job's `remove_orphans` does the rest.
        """
        end = time.monotonic() + _RELEASE_S
        try:
            while not _unregister(self._client, self.name) and time.monotonic() < end:
                time.sleep(0.05)
        finally:
            self._unlink()

    def _unlink(self) -> None:
        self.path.unlink(missing_ok=True)
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        os.close(self._file)


def remove_orphans(client: grpcclient.InferenceServerClient) -> None:
    """Remove regions of clients that ended without doing so, from this machine and from the server.

    Raises InferenceServerException if the server does not let us see its shared memory.
    """
    for path in FOLDER.glob(f"{PREFIX}*"):
        _unlink_unless_locked(path)
    for name, region in client.get_system_shared_memory_status(client_timeout=_ASK_S).regions.items():
        if name.startswith(PREFIX) and not (FOLDER / region.key).exists():
            _unregister(client, name)


def _create_locked() -> tuple[Path, int]:
    """Path and descriptor of a new region's file, locked before anybody could take it for an orphan."""
    while True:
        path = FOLDER / f"{PREFIX}{os.getpid()}_{secrets.token_hex(8)}"
        if (file := lock_new(path, CREATE)) is not None:
            return path, file


def _unlink_unless_locked(path: Path) -> None:
    """Unlink a region that no living process holds; one that we may not look into counts as held."""
    with suppress(OSError), lock_abandoned(path, os.O_RDWR):
        path.unlink(missing_ok=True)  # under the lock: its creator, if it waits for the lock, then sees that it is gone


def _unregister(client: grpcclient.InferenceServerClient, name: str) -> bool:
    """Whether the server is done with the region; a server that is not there is."""
    try:
        client.unregister_system_shared_memory(name, client_timeout=_ASK_S)
    except InferenceServerException as error:
        return "in use" not in str(error.message())
    return True
