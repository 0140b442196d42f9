"""Which SOP classes and transfer syntaxes we accept and propose: the tables behind negotiation and conformance."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from swinunet.client.dicom.codestream import DECODERS

UNCOMPRESSED: tuple[UID, ...] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
RECEIVED_TRANSFER_SYNTAXES: tuple[UID, ...] = (
    *UNCOMPRESSED, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, *DECODERS,
)  # fmt: skip
"""What an instance may be encoded in that we receive: what the client reads."""

STORAGE_CLASSES: tuple[UID, ...] = tuple(
    UID(context.abstract_syntax or "") for context in AllStoragePresentationContexts
)
"""Every SOP class of the Storage Service Class (PS3.4 B.5) that pynetdicom knows."""

_KNOWN = frozenset(STORAGE_CLASSES)


def accepted_contexts(proposed: Iterable[PresentationContext]) -> list[PresentationContext]:
    """What we support of what a peer proposes, one context for each abstract syntax.

    Storage and Verification as SCP; the Storage Commitment Push Model as SCP and, for reports to us, as SCU.
    """
    contexts = []
    for abstract_syntax in {UID(context.abstract_syntax or "") for context in proposed}:
        if abstract_syntax in _KNOWN:
            contexts.append(build_context(abstract_syntax, list(RECEIVED_TRANSFER_SYNTAXES)))
        elif abstract_syntax == Verification:
            contexts.append(build_context(abstract_syntax, list(UNCOMPRESSED)))
        elif abstract_syntax == StorageCommitmentPushModel:
            context = build_context(abstract_syntax, list(UNCOMPRESSED))
            context.scu_role = context.scp_role = True
            contexts.append(context)
    return contexts


def verification_context() -> PresentationContext:
    """For an association that shall be accepted even where nothing else is."""
    return build_context(Verification, list(UNCOMPRESSED))


def commitment_context() -> PresentationContext:
    """For storage commitment, whichever of us asks."""
    return build_context(StorageCommitmentPushModel, list(UNCOMPRESSED))
