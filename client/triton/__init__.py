"""Talking to Triton over gRPC: time-outs, retries, cancellation, TLS, shared memory, and one model version a job."""

from __future__ import annotations

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC writes its own log to standard error; errors carry the reason

from swinunet.client.triton.control import Exchange, JobControl
from swinunet.client.triton.model import ServedBatch, TritonModel
from swinunet.client.triton.options import ServerOptions, SharedMemory, Timeouts, Tls, parse_headers, parse_timeouts

__all__ = [
    "Exchange",
    "JobControl",
    "ServedBatch",
    "ServerOptions",
    "SharedMemory",
    "Timeouts",
    "Tls",
    "TritonModel",
    "parse_headers",
    "parse_timeouts",
]
