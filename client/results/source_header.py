"""What a result takes over from its source's header: the patient and the study, as far as a valid object may say it.

Hospitals' headers break the formats that the standard sets: a birth date `1960-01-31`, an age `45`, a sex `Male`.
What identifies is never changed: names, IDs and UIDs pass whatever their length. A value whose format is broken is left
out, and its attribute is named to the user, the value never.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.valuerep import PersonName, validate_value

from swinunet.client.dicom.quiet import quiet
from swinunet.client.dicom.source_images import PER_FRAME, SHARED
from swinunet.client.results.character_sets import encodings_of, named_character_sets, texts_of

# Type 2 attributes of the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): hospitals leave them out.
TYPE_2 = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
LARGEST_IS = 2**31 - 1  # Integer String (PS3.5 6.2); the smallest is one less than its negative
SEXES = ("M", "F", "O")  # the defined values (PS3.3 C.7.1.1)
METHOD_UNKNOWN = "not stated by the source"
_LEFT_OUT = (
    "PixelData", "FloatPixelData", "DoubleFloatPixelData", SHARED, PER_FRAME, "NumberOfFrames", "SpecificCharacterSet",
)  # fmt: skip
_FORMATTED = ("AS", "CS", "DA", "DS", "DT", "IS", "TM")  # VRs of which a value that breaks the format says nothing
_PATIENT_GROUP = 0x0010
# Of other groups, what the General Study, Patient Study and Clinical Trial Study modules hold (PS3.3 C.7.2).
_STUDY = re.compile(
    r"Study(Date|Time|ID|Description)|AccessionNumber|\w*Physicians?\w*|Admi\w+|ServiceEpisode\w+|IssuerOf\w+|"
    r"ProcedureCodeSequence|ReferencedStudySequence|ReasonFor\w+|RequestingService\w*|LongitudinalTemporal\w+"
)
_ONE_TO_THREE_DIGITS = re.compile(r"\d{1,3}[DWMY]")


@dataclass(frozen=True, eq=False)
class SourceHeader:
    """The usable part of a header. dataset: public, without pixels and frames; nothing in it is shared with the source.

    character_sets: which the source means. texts: all that is written in them. left_out: keywords of attributes of the
    patient and the study that were there and could not be taken over.
    """

    dataset: Dataset
    character_sets: tuple[str, ...]
    texts: frozenset[str]
    left_out: tuple[str, ...]


def usable_part(header: Dataset) -> SourceHeader:
    """What a result may take over from a header, mended where what is meant is clear.

    Every type 2 attribute is there, empty if need be; other attributes without a value are not. An age of one or two
    digits is filled up, and a patient whose identity was removed by nobody knows what gets a method that says so.
    """
    with quiet():
        terms = named_character_sets(header)
        left_out: list[str] = []
        copy = _copied(header, encodings_of(terms), left_out)
        if copy.get("PatientSex") not in (*SEXES, None, ""):
            left_out.append("PatientSex")
        if copy.get("PatientSex") not in SEXES:
            copy.PatientSex = None
        for keyword in TYPE_2:
            if keyword not in copy:
                setattr(copy, keyword, None)
        if copy.get("PatientIdentityRemoved") == "YES" and "DeidentificationMethodCodeSequence" not in copy:
            copy.DeidentificationMethod = copy.get("DeidentificationMethod") or METHOD_UNKNOWN
        texts = frozenset(text for _, text in texts_of(copy))
    named = sorted(keyword for keyword in set(left_out) if _is_taken_over(keyword))
    return SourceHeader(copy, terms, texts, tuple(named))


def series_number(header: Dataset) -> int:
    """The Series Number; 0 where there is none, or none that is a number."""
    try:
        with quiet():
            number = int(float(header.get("SeriesNumber") or 0))
    except (ValueError, TypeError, OverflowError):
        return 0
    return number if -LARGEST_IS - 1 <= number <= LARGEST_IS else 0


def is_date(text: str) -> bool:
    """Whether this is a Date of PS3.5 6.2: YYYYMMDD, a day that there is."""
    if not re.fullmatch(r"\d{8}", text, re.ASCII):
        return False
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True


def is_time(text: str) -> bool:
    """Whether this is a Time of PS3.5 6.2: HH, HHMM, HHMMSS or HHMMSS.F, an hour that there is."""
    return re.fullmatch(r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?", text, re.ASCII) is not None


def _copied(dataset: Dataset, encodings: list[str], left_out: list[str]) -> Dataset:
    """A copy of a data set's public part, decoded, without what breaks its format. Adds the keywords of that."""
    copy = Dataset()
    for tag in dataset.keys():  # noqa: SIM118  iterating a Dataset decodes its values
        keyword = keyword_for_tag(tag)
        if tag.is_private or keyword in _LEFT_OUT:
            continue
        try:
            element = _decoded(dataset, tag, encodings)
            vr = _format_of(element)
            value = _usable(element, vr, encodings, left_out)
        except Exception:  # converting a value raises whatever the value provokes
            left_out.append(keyword)
            continue
        if value is not None and value != "" and not (isinstance(value, MultiValue | Items | list) and not value):
            copy.add(DataElement(tag, vr, value, already_converted=True))
    return copy


def _decoded(dataset: Dataset, tag: Any, encodings: list[str]) -> DataElement:
    """An element, its text decoded with the character set that is meant, not with what pydicom makes of its name."""
    raw = dataset.get_item(tag)
    if isinstance(raw, RawDataElement) and raw.VR != "SQ" and raw.value is not None:
        return convert_raw_data_element(raw, encoding=encodings, ds=dataset)
    return dataset[tag]


def _format_of(element: DataElement) -> str:
    """The VR by whose rules a value is judged: the dictionary's where it sets a format, whatever the file says."""
    vr = dictionary_VR(element.tag) if dictionary_has_tag(element.tag) else ""
    return vr if vr in _FORMATTED else str(element.VR)


def _usable(element: DataElement, vr: str, encodings: list[str], left_out: list[str]) -> Any:
    """The value as a result may state it; None for none. Raises ValueError for one that breaks its format."""
    value = element.value
    if vr == "SQ":
        return Items([_copied(item, encodings, left_out) for item in value or ()])
    several = isinstance(value, MultiValue | list)
    values = list(value) if several else [value]
    if vr == "PN":
        names = [_read_whole(str(name)) for name in values if name]
        if dictionary_has_tag(element.tag) and dictionary_VM(element.tag) == "1":
            names = ["\\".join(names)] if any(names) else []  # one patient of two names: the bytes stay what they are
        values = [PersonName(name) for name in names]
        several = len(values) > 1
    elif vr in _FORMATTED:
        values = [_formatted(vr, each) for each in values if each not in (None, "")]
    elif all(isinstance(each, str) for each in values):
        values = [_read_whole(each) for each in values]
    if several:
        return MultiValue(lambda each: each, values) if values else None
    return values[0] if values else None


def _read_whole(text: str) -> str:
    """Text of which every character could be read. Raises ValueError for what is of another character set."""
    if "\ufffd" in text:
        raise ValueError
    return text


def _formatted(vr: str, value: Any) -> Any:
    """A value of a VR with a format. Raises ValueError if it breaks it."""
    text = str(getattr(value, "original_string", None) or value).strip()
    if vr == "AS" and _ONE_TO_THREE_DIGITS.fullmatch(text):
        text = value = f"{text[:-1]:0>3}{text[-1]}"
    right = {"DA": is_date, "TM": is_time}.get(vr)
    if right and not right(text):
        raise ValueError
    validate_value(vr, text, config.RAISE)
    if vr == "IS" and not -LARGEST_IS - 1 <= int(text) <= LARGEST_IS:
        raise ValueError
    return value


def _is_taken_over(keyword: str) -> bool:
    """Whether results state this attribute at all."""
    return (tag_for_keyword(keyword) or 0) >> 16 == _PATIENT_GROUP or _STUDY.fullmatch(keyword) is not None
