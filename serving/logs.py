"""Triton's log, made readable, and the reason of a failure found in it."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO

from swinunet.foundation.terminal import printable

LogSink = Callable[[str], None]

# "I1122 08:13:45.217859 8290 model_lifecycle.cc:839] "successfully loaded 'tiny'"": glog's prefix, a quoted message.
_PREFIX = re.compile(r"^([IWEF])\d{4} [\d:.]+\s+\d+ ([^\]]+):\d+\]\s*(.*)$")
_LEVELS = {"I": "INFO", "W": "WARNING", "E": "ERROR", "F": "FATAL"}
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}

_NOISE = re.compile(
    r"Failed to create instance|All log messages before absl|tensorflow\.GraphDef|"  # said again, or of no use here
    r"CUDA driver version is insufficient|CUDA memory pool disabled|CudaDriverHelper has not been initialized"
    r"|Non-graceful termination detected|^TRITONBACKEND_|Collecting CPU metrics|Timeout \d+: Found"
    r"|^\s*$|^[+|]"  # the tables, which repeat what was said or asked
)

# The first of these that the log has is the reason; what stands further up says more than what stands below it.
_REASONS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"failed to load (?:model )?'[^']+'(?: version \d+)?: .+",
        r"Failed to preinitialize Python stub: .+",
        r"Poll failed for model directory .+",
        r"Error parsing text-format .+",
        r"failed to start .+",
        r"Failed to initialize Python stub: .+",
        r"error: .+",
        r".*\b(?:[Ee]rror|[Ff]ailed|cannot|unrecognized)\b.*",
    )
)
# Triton waits for ever for a stub that ended like this, so the line itself must end the wait.
_DEADLY = re.compile(r"Failed to preinitialize Python stub: (.+)", re.DOTALL)


def readable(line: str) -> str | None:
    """A line of Triton's as `LEVEL message`, or None if it says nothing to a reader."""
    match = _PREFIX.match(line)
    level, message = (_LEVELS[match[1]], _unquoted(match[3])) if match else ("", line.strip())
    if _NOISE.search(message):
        return None
    if match and match[2].endswith("_stub.cc") and message.startswith("Failed to"):
        level = "ERROR"  # logged as INFO, but it ends the load
    return f"{level} {_one_line(message) if level == 'ERROR' else message}".strip()


def failure_reason(lines: Iterable[str]) -> str:
    """Triton's own reason among readable lines, in one line; empty if there is none."""
    lines = list(lines)
    for pattern in _REASONS:
        for line in lines:
            match = pattern.search(line)
            if match:
                detail = _parse_error(lines) if "failed to read text proto" in match[0] else ""
                return _one_line(match[0]) + detail
    return ""


class LogPump:
    """Reads a server's output in a thread, so that it never blocks; hands readable lines on and keeps the last ones.

    replaced: text in lines, and what to write instead.
    """

    def __init__(
        self, stream: IO[str], sink: LogSink | None, file: Path | None, replaced: Mapping[str, str] | None = None
    ) -> None:
        self._stream, self._sink, self._file, self._replaced = stream, sink, file, dict(replaced or {})
        self._lines: deque[str] = deque(maxlen=400)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._pump, name="triton-log", daemon=True)
        self._thread.start()

    def lines(self) -> list[str]:
        """The last readable lines."""
        with self._lock:
            return list(self._lines)

    def doomed(self) -> bool:
        """Whether the log has a line after which the server never becomes ready and never ends."""
        return any(_DEADLY.search(line) for line in self.lines())

    def say(self, line: str) -> None:
        """Add a line of our own."""
        with self._lock:
            self._lines.append(line)
        line = printable(line)
        with contextlib.suppress(Exception):  # a reader gone (a closed terminal) must not stop the pump, nor Triton
            if self._sink:
                self._sink(line)
        if self._file:
            with contextlib.suppress(OSError), self._file.open("a") as file:
                file.write(line + "\n")

    def join(self, timeout: float) -> None:
        """Wait for the end of the server's output."""
        self._thread.join(timeout)

    def _pump(self) -> None:
        with self._stream:
            for raw in self._stream:
                line = readable(raw.rstrip("\n"))
                if line is not None:
                    for text, replacement in self._replaced.items():
                        line = line.replace(text, replacement)
                    self.say(line)


def _unquoted(message: str) -> str:
    message = message.strip()
    if len(message) < 2 or not (message[0] == message[-1] == '"'):
        return message
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), message[1:-1])


def _parse_error(lines: list[str]) -> str:
    """protobuf's own words for a config.pbtxt that does not parse: " (8:15: ...)"."""
    for line in lines:
        match = re.search(r"Error parsing text-format [\w.]+: (.+)", line)
        if match:
            return f" ({_one_line(match[1])})"
    return ""


def _one_line(text: str) -> str:
    """Without the Python traceback that the backend appends, nor the names under which it passes an error on."""
    return " ".join(text.partition("\n\nAt:")[0].replace("Internal: TritonModelException: ", "").split())
