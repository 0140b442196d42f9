"""SEG and SR say of the patient what the source says, in every character set that DICOM names, however spelt."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from odd_headers import raw, results
from pydicom.charset import python_encoding
from pydicom.dataset import Dataset
from result_samples import LABELS, classic_series

from swinunet.client.results.character_sets import named_character_sets
from swinunet.client.results.source_header import usable_part
from swinunet.imaging import Label

# PS3.5 annexes H, I, J and K, and a word in each single-byte set.
KANJI = (
    b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    ("Yamada^Tarou=山田^太郎=やまだ^たろう"),
)
KANA = (
    b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
    ("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
)
HANGUL = (
    b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
    ("Hong^Gildong=洪^吉洞=홍^길동"),
)
SINGLE_BYTE = {
    100: ("latin_1", "Äneas^Rüdiger"), 101: ("iso8859_2", "Wałęsa^Łucja"), 109: ("iso8859_3", "Ġorġ^Ħal"),
    110: ("iso8859_4", "Bērziņš^Ģirts"), 126: ("iso8859_7", "Διονυσιος"), 127: ("iso8859_6", "قباني^لنزار"),
    138: ("iso8859_8", "שרון^דבורה"), 144: ("iso8859_5", "Люкceмбypг"), 148: ("iso8859_9", "Çavuşoğlu^Işıl"),
    166: ("tis_620", "สมชาย^ใจดี"), 203: ("iso8859_15", "Cœur^Žižek€"),
}  # fmt: skip
CASES: dict[str, tuple[bytes, str]] = {
    **{f"ISO_IR {number}": (name.encode(codec), name) for number, (codec, name) in SINGLE_BYTE.items()},
    **{f"ISO 2022 IR {number}": (name.encode(codec), name) for number, (codec, name) in SINGLE_BYTE.items()},
    "ISO_IR 13": ("ﾔﾏﾀﾞ^ﾀﾛｳ".encode("shift_jis"), "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    "ISO_IR 192": ("王^小东=Müller".encode(), "王^小东=Müller"),
    "GB18030": ("王^小东".encode("gb18030"), "王^小东"),
    "GBK": ("王^小东".encode("gbk"), "王^小东"),
    "\\ISO 2022 IR 87": KANJI,
    "ISO 2022 IR 6\\ISO 2022 IR 87": KANJI,
    "ISO 2022 IR 13\\ISO 2022 IR 87": KANA,
    "\\ISO 2022 IR 149": HANGUL,
    "\\ISO 2022 IR 159": (b"\x1b$(D\x30\x21\x1b(B", b"\x1b$(D\x30\x21\x1b(B".decode("iso2022_jp_2")),
    "ISO 2022 IR 100\\ISO 2022 IR 144": (b"\xc4neas^\x1b-L\xbb\xee\xda", "Äneas^Люк"),
    "ISO_IR 6": (b"Plain^Name", "Plain^Name"),
    "": (b"Plain^Name", "Plain^Name"),
}
# pydicom 3.0 knows no Latin 9, and loses half-width katakana that are no Person Name: results are in UTF-8 instead.
REWRITTEN = ("ISO_IR 203", "ISO 2022 IR 203", "ISO_IR 13")
MISSPELT = {
    "ISO IR 100": "ISO_IR 100", "ISO-IR 100": "ISO_IR 100", "ISO_IR100": "ISO_IR 100", "ISO_IR_100": "ISO_IR 100",
    "iso_ir 100": "ISO_IR 100", "ISO2022IR100": "ISO_IR 100", "ISO-2022-IR-144": "ISO_IR 144", "UTF-8": "ISO_IR 192",
    "ISO_IR192": "ISO_IR 192", "ISO 2022 GBK": "GBK", "gb18030": "GB18030", "ISO_IR 100\\ISO_IR 144":
    "ISO 2022 IR 100\\ISO 2022 IR 144", "ISO 2022 IR 87": "\\ISO 2022 IR 87", "ISO_IR 87": "\\ISO 2022 IR 87",
}  # fmt: skip


def stored_name(result: Dataset) -> bytes:
    """The name's bytes in the file."""
    return bytes(pydicom.dcmread(result.filename).get_item("PatientName").value).rstrip()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("character_set", CASES)
def test_the_name_is_the_sources(tmp_path: Path, character_set: str) -> None:
    content, name = CASES[character_set]
    for result in results(tmp_path, character_set, content):
        assert str(result.PatientName) == name
        stated = result.get("SpecificCharacterSet", "")
        assert all(term in python_encoding for term in ([stated] if isinstance(stated, str) else stated))
        assert result.OtherPatientIDsSequence[0].PatientID == name.partition("=")[0]
        if character_set not in REWRITTEN:
            assert stored_name(result) == content, "the bytes that the PACS knows"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("misspelt", MISSPELT)
def test_a_misspelt_character_set_means_what_it_means(tmp_path: Path, misspelt: str) -> None:
    content, name = (
        CASES[MISSPELT[misspelt]] if MISSPELT[misspelt] in CASES else CASES["ISO 2022 IR 100\\ISO 2022 IR 144"]
    )
    for result in results(tmp_path, misspelt, content):
        assert str(result.PatientName) == name
        assert stored_name(result) == content


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("character_set", [None, "NO SUCH SET"])
def test_bytes_that_nobody_explains_stay_as_they_are(tmp_path: Path, character_set: str | None) -> None:
    content = "Müller^Jörg".encode("latin-1")
    for result in results(tmp_path, character_set, content):
        assert stored_name(result) == content
        assert "SpecificCharacterSet" not in result


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("character_set", [None, "ISO_IR 100", "ISO_IR 144", "\\ISO 2022 IR 87", "GB18030"])
def test_a_label_that_the_sources_character_set_lacks(tmp_path: Path, character_set: str | None) -> None:
    """Our own text may need more than the source's: then all of it is UTF-8, the patient's name too."""
    renamed = tuple(
        Label(each.index, f"hippocampe antérieur ηλ 鼻 {each.index}", each.color, each.type, each.modifier)
        for each in LABELS
    )
    seg, sr = results(tmp_path, character_set, b"Plain^Name", renamed)
    assert seg.SegmentSequence[0].SegmentLabel == "Hippocampe antérieur ηλ 鼻 1"
    assert sr.PatientName == seg.PatientName == "Plain^Name"
    assert seg.SpecificCharacterSet == ("GB18030" if character_set == "GB18030" else "ISO_IR 192")


@pytest.mark.filterwarnings("ignore")
def test_chinese_escapes_do_not_reach_utf_8(tmp_path: Path) -> None:
    """pydicom leaves the escape sequences of ISO 2022 IR 58 in the text that it decodes."""
    content = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab="
    for result in results(tmp_path, "\\ISO 2022 IR 58", content):
        assert stored_name(result).rstrip(b"=") == content.rstrip(b"=")
    greek = tuple(Label(each.index, "ήπαρ", each.color, each.type, each.modifier) for each in LABELS)
    for result in results(tmp_path, "\\ISO 2022 IR 58", content, greek):
        assert result.SpecificCharacterSet == "ISO_IR 192"
        assert str(result.PatientName).rstrip("=") == "Zhang^XiaoDong=张^小东"


@pytest.mark.filterwarnings("ignore")
def test_text_of_another_character_set_is_left_out_and_named(tmp_path: Path) -> None:
    (header, *_) = classic_series("axial", (12, 10, 3), (1.0, 1.0, 2.0))
    raw(header, "SpecificCharacterSet", "CS", b"ISO_IR 192")
    raw(header, "PatientName", "PN", "Müller^Jörg".encode("latin-1"))
    found = usable_part(header)
    assert found.left_out == ("PatientName",)
    assert found.dataset.PatientName is None or found.dataset.PatientName == ""


@pytest.mark.parametrize(
    ("stated", "meant"),
    [
        ("", ("",)),
        ("ISO IR 100", ("ISO_IR 100",)),
        ("\\ISO-2022-IR-87", ("", "ISO 2022 IR 87")),
        ("ISO_IR 159", ("ISO 2022 IR 159",)),
        ("UTF8", ("ISO_IR 192",)),
        ("nonsense", ("nonsense",)),
    ],
)
def test_spelling(stated: str, meant: tuple[str, ...]) -> None:
    header = Dataset()
    raw(header, "SpecificCharacterSet", "CS", stated.encode())
    assert named_character_sets(header) == meant
