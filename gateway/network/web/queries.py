"""QIDO-RS (PS3.18 10.6): how many instances a web server holds of a study."""

from __future__ import annotations

import json
from typing import Any

from swinunet.foundation.errors import PeerError
from swinunet.gateway.contract import SeriesCount
from swinunet.gateway.network.web.http_client import HttpTimeouts, WebAddress, answered

_SERIES_UID, _MODALITY, _INSTANCES = "0020000E", "00080060", "00201209"
_PAGE = 500
_MAX_BYTES = 64 << 20
_JSON = {"Accept": "application/dicom+json"}


def count_by_qido(address: WebAddress, timeouts: HttpTimeouts, study_uid: str) -> list[SeriesCount]:
    """The series of a study as the server knows them; empty if it does not know the study. Raises PeerError."""
    counts: dict[str, SeriesCount] = {}
    while True:
        params = {"includefield": _INSTANCES, "limit": str(_PAGE), "offset": str(len(counts))}
        page = _search(address, timeouts, f"/studies/{study_uid}/series", params)
        before = len(counts)
        for item in page:
            uid, instances = str(_value(item, _SERIES_UID) or ""), _value(item, _INSTANCES)
            if uid:
                modality = str(_value(item, _MODALITY) or "")
                counts[uid] = SeriesCount(uid, modality, int(instances) if instances not in (None, "") else None)
        if len(page) < _PAGE or len(counts) == before:  # the last page, or a server that knows no pages
            return list(counts.values())


def _search(address: WebAddress, timeouts: HttpTimeouts, path: str, params: dict[str, str]) -> list[dict[str, Any]]:
    with answered(address, timeouts, "GET", path, headers=_JSON, params=params) as answer:
        if answer.status_code in (204, 404):
            return []
        if answer.status_code != 200:
            raise PeerError(f"{address}: a query was refused with HTTP status {answer.status_code}")
        try:
            found = json.loads(answer.raw.read(_MAX_BYTES, decode_content=True))  # cut short, it is no JSON
            if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
                raise ValueError("no list")
        except ValueError:
            raise PeerError(f"{address}: the answer to a query is no DICOM JSON") from None
    return found


def _value(item: dict[str, Any], tag: str) -> Any:
    values = (item.get(tag) or {}).get("Value") or [None]
    return values[0]
