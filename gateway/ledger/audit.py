"""Events for the audit trail, written in the transaction of what they tell."""

from __future__ import annotations

import json
from typing import Literal

from sqlalchemy import Connection, insert

from swinunet.gateway.ledger.schema import audit

Event = Literal[
    "gateway_started",
    "gateway_stopped",
    "instances_received",
    "instances_refused",
    "study_complete",
    "job_ended",
    "instances_sent",
    "fetch",
    "study_forgotten",
    "job_retried",
    "commitment_reported",
]


def record(connection: Connection, at: float, event: Event, success: bool, **details: object) -> None:
    """Note an event. details: UIDs, counts, names of nodes; nothing of the patient."""
    row = {"at": at, "event": event, "success": success, "details": json.dumps(details), "written": False}
    connection.execute(insert(audit).values(row))
