"""The status of the ledger for a person, and for other programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from swinunet.foundation.tables import Table
from swinunet.gateway.ledger.administration import JobStatus

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86400.0


def as_json(found: Sequence[JobStatus]) -> str:
    """One line of JSON: {"jobs": [...]}, as `JobStatus` has them."""
    return json.dumps({"jobs": [dataclasses.asdict(each) for each in found]})


def as_table(found: Sequence[JobStatus], now: float) -> Table:
    """A row for each study that receives, and each job."""
    rows = []
    for each in found:
        images = f"{each.images} of {each.expected}" if each.expected else str(each.images)
        rows.append((
            "" if each.id is None else str(each.id), each.study, each.state, images, each.model or "",
            _ago(now - (each.ended or each.started or each.created)), _words(each),
        ))  # fmt: skip
    heads = ("job", "study", "state", "images", "model", "since", "what there is to say")
    return Table("Studies and jobs, the newest first", heads, tuple(rows))


def _words(each: JobStatus) -> str:
    """The reason, and which deliveries are on their way or failed."""
    said = [each.reason] if each.reason else []
    said += [
        f"{one.kind} to {one.destination}: {one.state}{f' ({one.reason})' if one.reason else ''}"
        for one in each.deliveries
        if one.state in ("waiting", "sending", "failed") and one.reason != each.reason
    ]
    return "; ".join(said)


def _ago(seconds: float) -> str:
    if seconds < _MINUTE_S:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.0f} h" if seconds < _DAY_S else f"{seconds / _DAY_S:.0f} days"
