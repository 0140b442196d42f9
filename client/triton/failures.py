"""Which failures of a call can heal, for how long to try again, and what each is called."""

from __future__ import annotations

from collections.abc import Callable

import tenacity
from tritonclient.utils import InferenceServerException

from swinunet.client.triton.control import JobControl
from swinunet.client.triton.options import Timeouts

_HEALS = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")
# Under the same status codes, but for good: a header that is missing, a message too large, a certificate refused.
_RESTRICTED, _TOO_LARGE, _HANDSHAKE = "protocol is restricted", "larger than max", "handshake failed"
# Triton's Python backend of a model's process that did not run for a second, as happens on an overloaded machine. When
# the process goes on, the server may end over its late answer.
_STARVED = ("is not healthy", "obtain the health mutex")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


def can_heal(error: BaseException) -> bool:
    """Whether the same call may succeed later: the server is gone, late, or has too much to do, or its model has."""
    if not isinstance(error, InferenceServerException):
        return False
    message = str(error.message()).lower()
    if _has_status(error, "INTERNAL"):
        return any(text in message for text in _STARVED)
    return _has_status(error, *_HEALS) and not any(text in message for text in (_RESTRICTED, _TOO_LARGE, _HANDSHAKE))


def retrying(timeouts: Timeouts, control: JobControl, heals: Callable[[BaseException], bool]) -> tenacity.Retrying:
    """Attempts with random, growing pauses, for as long as an outage may last, and twice in any case."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(heals),
        wait=tenacity.wait_random_exponential(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S),
        stop=tenacity.stop_all(tenacity.stop_after_attempt(2), tenacity.stop_after_delay(timeouts.outage)),
        sleep=control.sleep,
        reraise=True,
    )


def reason(url: str, error: InferenceServerException) -> str:
    """One line for a user on what the server, or the way to it, said."""
    message = " ".join(str(error.message()).split())
    lowered = message.lower()
    if _RESTRICTED in lowered:
        return f"Triton at {url} wants a header that was not given, or has another value; give it with --header"
    if _HANDSHAKE in lowered:
        return (
            f"{url} and this client do not trust each other's certificates; check --tls-ca, and --tls-cert and "
            "--tls-key if the server wants to know its clients"
        )
    if "not at ready state" in lowered or "not ready" in lowered:
        return f"Triton at {url} has the model, but it is not ready; look at its log"
    if _has_status(error, "UNAVAILABLE"):
        return (
            f"no Triton answers at {url}; start one with `swinunet serve`, or omit --url to start one here "
            "(and give --tls if, and only if, the server speaks TLS)"
        )
    if _has_status(error, "DEADLINE_EXCEEDED"):
        return f"Triton at {url} did not answer in time; look at its log, or try again when it is less busy"
    if any(text in lowered for text in _STARVED):
        return (
            f"the model's process of the Triton at {url} has ended, hangs or gets no processor time; look at its log, "
            "start it again, or try again when the machine is less busy"
        )
    return f"Triton at {url} refused the request: {message[:300]}"


def _has_status(error: InferenceServerException, *names: str) -> bool:
    return str(error.status()).removeprefix("StatusCode.") in names
