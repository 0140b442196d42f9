"""Webhooks: a signed POST of JSON that holds nothing of a patient."""

from __future__ import annotations

import hashlib
import hmac
import time

from swinunet.foundation.errors import PeerError
from swinunet.gateway.contract import SendOutcome
from swinunet.gateway.network import outcomes
from swinunet.gateway.network.web.http_client import HttpTimeouts, WebAddress, answered

SIGNATURE_HEADER, TIME_HEADER = "Swinunet-Signature", "Swinunet-Time"
_DONE = range(200, 300)
_FOR_GOOD = (400, 404, 410, 413, 415, 422)


def signature(secret: str, timestamp: str, payload: bytes) -> str:
    """HMAC-SHA256 in hexadecimal over the time header, a full stop and the body, as the receiver computes it."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + payload, hashlib.sha256).hexdigest()


def post_webhook(address: WebAddress, timeouts: HttpTimeouts, secret: str, payload: str) -> SendOutcome:
    """Tell the receiver; any status from 200 to 299 means that it has it. payload: JSON."""
    body, timestamp = payload.encode(), str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        TIME_HEADER: timestamp,
        SIGNATURE_HEADER: f"sha256={signature(secret, timestamp, body)}",
    }
    try:
        with answered(address, timeouts, "POST", "", headers=headers, data=body) as answer:
            status = answer.status_code
    except PeerError as error:
        return outcomes.unanswered(str(error))
    if status in _DONE:
        return SendOutcome(accepted=True, retry=False, sop_class_refused=False, status=status, words="told")
    words = f"{address}: refused with HTTP status {status}"
    return outcomes.refused(words, status) if status in _FOR_GOOD else outcomes.unanswered(words, status)
