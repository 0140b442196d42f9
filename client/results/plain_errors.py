"""Libraries quote DICOM values in their errors; nothing that a patient's header says may pass."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID

from swinunet.client.dicom.quiet import quiet

_SHORTEST = 3  # characters of a value that would be missed
_QUOTED = re.compile(r"""(['"])(.*?)\1""")
_NUMERIC = ("US", "SS", "UL", "SL", "FL", "FD", "OW", "OB", "AT", "UV", "SV")  # what is no text cannot be read as one


def plain_reason(error: Exception, headers: Sequence[Dataset]) -> str:
    """An exception's type and first line; the type alone where the line quotes a value of a header.

    What stands between quotation marks is shown if it is the keyword of an attribute, else taken out: it may be a part
    of a value, or a value that nobody can decode.
    """
    kind, line = type(error).__name__, str(error).partition("\n")[0]
    quoted = not line or any(value in line for header in headers for value in _values(header))
    line = " ".join(_QUOTED.sub(_keyword_or_nothing, line).split()).strip(" :")[:120]
    return kind if quoted or not line else f"{kind}: {line}"


def _keyword_or_nothing(quoted: re.Match[str]) -> str:
    return quoted[0] if tag_for_keyword(quoted[2]) is not None else ""


def _values(header: Dataset) -> Iterator[str]:
    """All text of a header and its sequences, decoded or not, but for UIDs."""
    for tag in list(header.keys()):
        element = header.get_item(tag)
        if isinstance(element, RawDataElement) and isinstance(element.value, bytes) and element.VR not in ("SQ", "UN"):
            yield from _long_enough(element.VR, element.value.decode("latin-1").rstrip("\0 "))
        with quiet(), suppress(Exception):  # whatever a value provokes: one that cannot be decoded was looked at raw
            found: Any = header[tag]
            if found.VR == "SQ":
                for item in found.value:
                    yield from _values(item)
            elif found.VR not in _NUMERIC:
                for value in found.value if isinstance(found.value, MultiValue | list) else [found.value]:
                    yield from _long_enough(found.VR, str(getattr(value, "original_string", None) or value))


def _long_enough(vr: str | None, text: str) -> Iterator[str]:
    if len(text) >= _SHORTEST and vr not in _NUMERIC and not (vr == "UI" and UID(text).is_valid):
        yield text
