"""C-FIND as SCU (PS3.4 C): how many instances a peer holds of a study."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from swinunet.foundation.errors import PeerError
from swinunet.gateway.contract import SeriesCount
from swinunet.gateway.network.dimse.association import (
    DimseAddress,
    DimseTimeouts,
    GuardedAssociation,
    close_association,
    open_association,
)
from swinunet.gateway.network.dimse.contexts import UNCOMPRESSED

_PENDING = (0xFF00, 0xFF01)
_MAX_SERIES = 10_000


def count_by_find(address: DimseAddress, calling_ae: str, timeouts: DimseTimeouts, study_uid: str) -> list[SeriesCount]:
    """The series of a study as the peer knows them; empty if it does not know the study. Raises PeerError.

    A peer that does not say how many instances a series has is asked for each of them.
    """
    context = build_context(StudyRootQueryRetrieveInformationModelFind, list(UNCOMPRESSED))
    association = open_association(address, calling_ae, [context], timeouts)
    try:
        counts = []
        for found in _matches(association, address, _series_query(study_uid)):
            uid, said = str(found.get("SeriesInstanceUID") or ""), found.get("NumberOfSeriesRelatedInstances")
            instances = int(said) if said not in (None, "") else None
            if uid:
                counts.append(SeriesCount(uid, str(found.get("Modality") or ""), instances))
        return [
            each
            if each.instances is not None
            else SeriesCount(each.series_uid, each.modality, _instances(association, address, study_uid, each))
            for each in counts
        ]
    except (RuntimeError, ValueError, TypeError) as error:
        raise PeerError(f"{address}: its answer to a query cannot be used ({type(error).__name__})") from None
    finally:
        close_association(association)


def _series_query(study_uid: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study_uid
    query.SeriesInstanceUID = query.Modality = ""
    query.NumberOfSeriesRelatedInstances = None
    return query


def _instances(
    association: GuardedAssociation, address: DimseAddress, study_uid: str, series: SeriesCount
) -> int | None:
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID, query.SeriesInstanceUID, query.SOPInstanceUID = study_uid, series.series_uid, ""
    uids = {str(found.get("SOPInstanceUID") or "") for found in _matches(association, address, query)} - {""}
    return len(uids) or None


def _matches(association: GuardedAssociation, address: DimseAddress, query: Dataset) -> list[Dataset]:
    """Every match. Raises PeerError where the peer refuses, or falls silent before the last."""
    found: list[Dataset] = []
    for status, match in association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
        code = status.get("Status")
        if code is None:
            raise PeerError(f"{address}: no whole answer to a query within {association.dimse_timeout:g} s")
        if code in _PENDING:
            if match is not None and len(found) < _MAX_SERIES:
                found.append(match)
        elif code != 0:
            raise PeerError(f"{address}: a query was refused with status 0x{code:04X}")
    return found
