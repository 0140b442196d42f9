"""Specific Character Set (0008,0005) of results: as the source's, mended where it is misspelt, else UTF-8.

Sources name their character set in many ways that the standard does not know: `ISO IR 100`, `ISO 2022 IR 100` without a
second value, `ISO_IR 6`. What is meant is clear, and their text is decoded with it. A result keeps the source's
character set where all its text can be written in it and read again, since that is what the hospital's systems know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from pydicom.charset import convert_encodings, decode_bytes, encode_string, python_encoding
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import TEXT_VR_DELIMS, PersonName

UTF_8 = "ISO_IR 192"
_STAND_ALONE = (UTF_8, "GB18030", "GBK")  # know no code extensions (PS3.3 C.12.1.1.2)
_WITH_EXTENSIONS = "ISO 2022 IR "
_ALIASES = {"UTF8": UTF_8, "ISO2022GBK": "GBK", "ISO202258": "ISO 2022 IR 58", "GB2312": "ISO 2022 IR 58"}
_PYTHON_NAMES = {"ISO_IR 203": "iso8859_15", "ISO 2022 IR 203": "iso8859_15"}  # which pydicom 3.0 does not know
_ESCAPE = "\x1b$)A"
_CUSTOMIZABLE = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")  # VRs whose text is in this character set (PS3.5 6.1.2.3)
_NOT_TEXT_OF_ANYBODY = ("PerFrameFunctionalGroupsSequence", "ReferencedSeriesSequence", "SourceImageSequence")


def named_character_sets(header: Dataset) -> tuple[str, ...]:
    """The defined terms that a header means, spelt as PS3.3 C.12.1.1.2 spells them; "" is the default repertoire.

    A term that means nothing is left as it is.
    """
    value = header.get("SpecificCharacterSet")
    values = value if isinstance(value, MultiValue | list | tuple) else [value or ""]
    return tuple(_spelt(str(each)) for each in values) or ("",)


def encodings_of(terms: Sequence[str]) -> list[str]:
    """The Python encodings of defined terms, as pydicom's functions take them. Unknown terms are the default."""
    names = [_PYTHON_NAMES.get(term, term) for term in terms]
    known = [name for name in names if name in python_encoding or name in _PYTHON_NAMES.values()]
    return list(convert_encodings(known or [""]))


def character_set_of_result(terms: Sequence[str], result: Dataset, source_texts: frozenset[str]) -> tuple[str, ...]:
    """The defined terms with which a result is to be written; empty where the attribute is to be absent.

    terms: `named_character_sets` of its source. source_texts: the result's texts that are the source's own: without a
    character set they keep their bytes, whatever these mean, and nothing else may be beyond ASCII.
    """
    candidate = _for_writing(terms)
    texts = set(texts_of(result))
    if not candidate:
        return () if all(text.isascii() for _, text in texts if text not in source_texts) else (UTF_8,)
    return candidate if all(_survives(vr, text, candidate) for vr, text in texts) else (UTF_8,)


def strip_escapes(dataset: Dataset) -> None:
    """Take out the escape sequences of ISO 2022 IR 58, which pydicom leaves in the text that it decodes."""
    for element in dataset:
        if element.VR == "SQ":
            if element.keyword not in _NOT_TEXT_OF_ANYBODY:
                for item in element.value:
                    strip_escapes(item)
        elif element.VR in _CUSTOMIZABLE and isinstance(element.value, str | PersonName):
            element.value = str(element.value).replace(_ESCAPE, "")


def texts_of(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """VR and value of each text in a data set and its sequences, but for those that name frames and instances."""
    for element in dataset:
        if element.VR == "SQ":
            if element.keyword not in _NOT_TEXT_OF_ANYBODY:
                for item in element.value:
                    yield from texts_of(item)
        elif element.VR in _CUSTOMIZABLE and element.value is not None:
            for value in element.value if isinstance(element.value, MultiValue | list) else [element.value]:
                yield element.VR, str(value)


def _spelt(term: str) -> str:
    plain = re.sub(r"[\s_.-]", "", term.upper())
    if number := re.fullmatch(r"(ISO2022)?(?:ISO)?IR(\d+)", plain):
        term = f"{_WITH_EXTENSIONS if number[1] else 'ISO_IR '}{number[2]}"
        return term if term in python_encoding or term in _PYTHON_NAMES else _other_form(term)
    plain = _ALIASES.get(plain, plain)
    return plain if plain in _STAND_ALONE or plain.startswith(_WITH_EXTENSIONS) else term.strip()


def _other_form(term: str) -> str:
    """`ISO_IR 87` for what is a code extension only, and the reverse; unknown numbers as they are."""
    number = term.rpartition(" ")[2]
    forms = (f"{_WITH_EXTENSIONS}{number}", f"ISO_IR {number}")
    return next((form for form in forms if form in python_encoding), term)


def _for_writing(terms: Sequence[str]) -> tuple[str, ...]:
    """The terms as a writer may state them: none for ASCII, no lone code extension, no mixture of the two forms."""
    known = [term for term in terms if not term or term in python_encoding or term in _PYTHON_NAMES]
    if known and known[0] in _STAND_ALONE:
        return (known[0],)
    known = [term for term in known if term not in _STAND_ALONE]
    numbers = list(dict.fromkeys(term.rpartition(" ")[2] if term else "6" for term in known))
    if numbers in ([], ["6"]):
        return ()
    if len(numbers) == 1 and f"ISO_IR {numbers[0]}" in python_encoding:
        return (f"ISO_IR {numbers[0]}",)
    if f"ISO_IR {numbers[0]}" not in python_encoding and f"ISO_IR {numbers[0]}" not in _PYTHON_NAMES:
        numbers.insert(0, "6")  # a multi-byte set is never the first
    return tuple(f"{_WITH_EXTENSIONS}{number}" for number in dict.fromkeys(numbers))


def _survives(vr: str, text: str, terms: Sequence[str]) -> bool:
    """Whether a text that is written in these character sets is read as itself by one who knows what they say."""
    encodings = list(convert_encodings(list(terms)))
    if terms[0] == "ISO 2022 IR 6" and any("\x80" <= each <= "\xff" for each in text):
        return False  # pydicom would write it in Latin 1, which nobody has designated
    with suppress(UnicodeError, LookupError):
        if vr == "PN":
            return str(PersonName(PersonName(text).encode(encodings), encodings)) == text
        return decode_bytes(encode_string(text, encodings), encodings, set(TEXT_VR_DELIMS)) == text
    return False
