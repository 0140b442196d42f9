"""How long what failed waits before it is tried again."""

from __future__ import annotations

from swinunet.gateway.config.settings import DeliveringConfig

_LEAST_ATTEMPTS = 10  # before something is given up for its age: a clock may be set forward


def retry_after_s(config: DeliveringConfig, attempts: int) -> float:
    """Seconds to wait after so many attempts: twice as long each time, up to the longest."""
    return min(config.longest_retry_s, config.retry_s * 2.0 ** min(attempts - 1, 60))


def is_too_old(config: DeliveringConfig, attempts: int, first_tried: float, now: float) -> bool:
    """Whether it has been tried for long enough to be given up."""
    return attempts >= _LEAST_ATTEMPTS and now - first_tried > config.give_up_hours * 3600
