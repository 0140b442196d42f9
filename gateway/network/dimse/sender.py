"""C-STORE as SCU (PS3.4 B): files to a peer, many on one association."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import UID
from pynetdicom.presentation import PresentationContext, build_context

from swinunet.foundation.errors import PeerError
from swinunet.gateway.contract import SendOutcome
from swinunet.gateway.network import outcomes
from swinunet.gateway.network.dimse.association import (
    DimseAddress,
    DimseTimeouts,
    GuardedAssociation,
    NothingAcceptedError,
    close_association,
    open_association,
)
from swinunet.gateway.network.dimse.contexts import UNCOMPRESSED, verification_context
from swinunet.gateway.network.part10 import uids_of_file

logger = logging.getLogger(__name__)

_Kind = tuple[str, str]  # SOP Class UID and Transfer Syntax UID
_MAX_KINDS = 60  # on one association: two contexts each, and one for Verification, of at most 128


def echo(address: DimseAddress, calling_ae: str, timeouts: DimseTimeouts) -> SendOutcome:
    """C-ECHO (PS3.4 A): whether the peer is there and knows us."""
    try:
        association = open_association(address, calling_ae, [verification_context()], timeouts)
    except PeerError as error:
        return outcomes.unanswered(str(error))
    try:
        status = association.send_c_echo().get("Status")
    except (RuntimeError, ValueError):
        status = None
    finally:
        close_association(association)
    if status is None:
        return outcomes.unanswered(f"{address}: no answer to C-ECHO")
    return outcomes.stored(str(address), status)


def send_by_dimse(
    address: DimseAddress, calling_ae: str, timeouts: DimseTimeouts, files: Sequence[Path]
) -> list[SendOutcome]:
    """What became of each file, in the order of `files`. A file that is no DICOM is refused for good."""
    kinds = [_kind_of(file) for file in files]
    found: dict[int, SendOutcome] = {
        at: outcomes.refused("a file that is to be sent is no readable DICOM file")
        for at, kind in enumerate(kinds)
        if kind is None
    }
    for batch in _batches(kinds):
        found.update(_send_batch(address, calling_ae, timeouts, files, kinds, batch))
    return [found[at] for at in range(len(files))]


def _kind_of(file: Path) -> _Kind | None:
    sop_class, _, syntax = uids_of_file(file)
    return (sop_class, syntax) if sop_class and syntax else None


def _batches(kinds: Sequence[_Kind | None]) -> Iterator[list[int]]:
    """Places in `kinds`, in order, so that the contexts of each batch fit one association."""
    batch: list[int] = []
    seen: set[_Kind] = set()
    for at, kind in enumerate(kinds):
        if kind is None:
            continue
        if kind not in seen and len(seen) == _MAX_KINDS:
            yield batch
            batch, seen = [], set()
        seen.add(kind)
        batch.append(at)
    if batch:
        yield batch


def _send_batch(
    address: DimseAddress,
    calling_ae: str,
    timeouts: DimseTimeouts,
    files: Sequence[Path],
    kinds: Sequence[_Kind | None],
    batch: Sequence[int],
) -> dict[int, SendOutcome]:
    wanted = sorted({kind for at in batch if (kind := kinds[at]) is not None})
    try:
        association = open_association(address, calling_ae, _contexts(wanted), timeouts)
    except NothingAcceptedError as error:  # of a peer that does not answer C-ECHO either
        return dict.fromkeys(batch, outcomes.class_refused(str(error)))
    except PeerError as error:
        return dict.fromkeys(batch, outcomes.unanswered(str(error)))
    try:
        return {at: _send(association, address, files[at], kinds[at]) for at in batch}
    finally:
        close_association(association)


def _contexts(kinds: Sequence[_Kind]) -> list[PresentationContext]:
    """For each kind a context with its own transfer syntax, and one with what it can be turned into.

    With Verification beside them the association stands even where the peer takes none of the SOP classes, and its
    answer on each is known.
    """
    contexts = [verification_context()]
    for sop_class, syntax in kinds:
        contexts.append(build_context(sop_class, syntax))
        others: list[str | UID] = [other for other in UNCOMPRESSED if other != syntax]
        if UID(syntax) in UNCOMPRESSED:
            contexts.append(build_context(sop_class, others))
    return contexts


def _send(association: GuardedAssociation, address: DimseAddress, file: Path, kind: _Kind | None) -> SendOutcome:
    assert kind is not None
    sop_class, syntax = UID(kind[0]), UID(kind[1])
    accepted = {(context.abstract_syntax, context.transfer_syntax[0]) for context in association.accepted_contexts}
    usable = [syntax, *(UNCOMPRESSED if syntax in UNCOMPRESSED else ())]
    if not any((sop_class, each) in accepted for each in usable):
        taken = any(each == sop_class for each, _ in accepted)
        what = f"{sop_class.name} in {syntax.name}" if taken else sop_class.name
        return outcomes.class_refused(f"{address}: does not take {what}")
    if not association.is_established:
        return outcomes.unanswered(f"{address}: the association ended before this instance")
    try:
        status = association.send_c_store(dcmread(file)).get("Status")
    except (RuntimeError, ValueError, AttributeError, OSError) as error:
        return outcomes.unanswered(f"{address}: an instance could not be sent ({type(error).__name__})")
    if status is None:
        return outcomes.unanswered(f"{address}: no answer to an instance within {association.dimse_timeout:g} s")
    return outcomes.stored(str(address), status)
