"""What peers answer to one instance, in the same words for DIMSE and HTTP."""

from __future__ import annotations

from swinunet.gateway.contract import SendOutcome

_SOP_CLASS_NOT_SUPPORTED = 0x0122
_REFUSED_FOR_GOOD = (0x0117, 0x0124)  # invalid object instance; not authorised (PS3.7 C)
_WARNINGS = range(0xB000, 0xC000)
_DATA_SET_REFUSED = range(0xA900, 0xAA00)  # data set does not match SOP class (PS3.4 B.2.3)


def stored(peer: str, status: int) -> SendOutcome:
    """By the status of a C-STORE response (PS3.4 B.2.3)."""
    if status == 0 or status in _WARNINGS:
        return SendOutcome(accepted=True, retry=False, sop_class_refused=False, status=status, words=f"{peer}: stored")
    return SendOutcome(
        accepted=False,
        retry=status != _SOP_CLASS_NOT_SUPPORTED and status not in (*_REFUSED_FOR_GOOD, *_DATA_SET_REFUSED),
        sop_class_refused=status == _SOP_CLASS_NOT_SUPPORTED,
        status=status,
        words=f"{peer}: refused with status 0x{status:04X}",
    )


def unanswered(words: str, status: int | None = None) -> SendOutcome:
    """Nobody there, or no answer that counts: it may succeed later."""
    return SendOutcome(accepted=False, retry=True, sop_class_refused=False, status=status, words=words)


def refused(words: str, status: int | None = None) -> SendOutcome:
    """Refused for good."""
    return SendOutcome(accepted=False, retry=False, sop_class_refused=False, status=status, words=words)


def class_refused(words: str, status: int | None = None) -> SendOutcome:
    """Refused for its SOP class or transfer syntax: another kind of object may be taken."""
    return SendOutcome(accepted=False, retry=False, sop_class_refused=True, status=status, words=words)
