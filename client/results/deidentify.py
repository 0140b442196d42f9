"""De-identified results for research, re-linkable by whoever keeps the key.

DICOM headers go through the Basic Application Level Confidentiality Profile (PS3.15 Table E.1-1) of dicom-anonymizer,
after everything that no result needs was left out. UIDs, patients and names of inputs become HMACs under the key: the
same key gives the same pseudonyms, so results of one patient stay together. Pixels are not looked at: a face in the
overlay or text burnt into the image is not removed.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import os
import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from swinunet.client.dicom.quiet import quiet
from swinunet.client.dicom.source_images import PER_FRAME, SHARED, SourceImages
from swinunet.client.results.source_header import TYPE_2
from swinunet.foundation.errors import InputError, OutputError
from swinunet.foundation.tables import spreadsheet_cell

Actions = dict[tuple[int, ...], Callable[[Dataset, tuple[int, int]], None]]  # by (group, element)

_PROFILE = "dicomfields_2026c"  # edition of the table
_KEY_BYTES = 32
_MACROS = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
_DATES = ("PatientBirthDate", "StudyDate", "StudyTime")
_NEEDED = (
    *TYPE_2, "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "Modality", "SeriesNumber", "Rows", "Columns", "NumberOfFrames", "PixelSpacing", "SliceThickness",
    "ImageOrientationPatient", "ImagePositionPatient",
)  # fmt: skip


@dataclass(frozen=True)
class Pseudonyms:
    """Pseudonyms under one key.

    table: a CSV that says whose they are; it stays with the key, not with the results. A cell that a spreadsheet would
    take for a formula begins with an apostrophe there.
    """

    key: bytes
    table: Path

    @staticmethod
    def from_file(path: Path) -> Pseudonyms:
        """The key in `path`, made there (mode 0600) if the file is absent; the table is `path` + ".csv".

        Raises InputError for a file that is no key or that others may read, OutputError if it cannot be made.
        """
        try:
            if not path.exists():
                _create_private(path, secrets.token_hex(_KEY_BYTES) + "\n")
            mode, text = path.stat().st_mode, path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot read the key ({type(error).__name__}); give another file") from None
        if mode & 0o077:
            raise InputError(f"{path}: others may read this key; make it yours alone (chmod 600)")
        if not re.fullmatch(rf"[0-9a-f]{{{2 * _KEY_BYTES}}}", text):
            raise InputError(f"{path}: no key of {_KEY_BYTES} bytes in hexadecimal; give a new file and one is made")
        return Pseudonyms(bytes.fromhex(text), path.with_name(f"{path.name}.csv"))

    def name(self, text: str, kind: str) -> str:
        """A pseudonym of `text`: `kind` and 16 hexadecimal digits."""
        return f"{kind}-{self._digest(kind, text).hex()[:16]}"

    def case(self, path: Path, series_uid: str | None = None) -> str:
        """What an input, and its folder of results, is called. series_uid: where one of several in `path` is meant."""
        return self.name(f"{path.resolve()}#{series_uid}" if series_uid else str(path.resolve()), "case")

    def patient(self, header: Dataset) -> str:
        """A pseudonym of the Patient ID; of the study where there is none, so that two patients never share one."""
        return self.name(
            str(header.get("PatientID") or header.get("StudyInstanceUID") or header.SOPInstanceUID), "patient"
        )

    def uid(self, uid: str) -> str:
        """A UID in place of `uid` (PS3.5 B.2: "2.25." and a 128-bit number)."""
        return f"2.25.{int.from_bytes(self._digest('uid', uid)[:16], 'big')}"

    def source(self, source: SourceImages) -> SourceImages:
        """The source with de-identified headers and references. Raises OutputError for headers that cannot be read."""
        actions = self._actions()
        try:
            with quiet():
                headers = tuple(self._header(header, actions) for header in source.headers)
        except Exception as error:  # pydicom raises anything on values it cannot decode
            raise OutputError(
                f"the source's headers cannot be de-identified ({type(error).__name__}); repair them first"
            ) from None
        references = tuple((self.uid(uid), frame) for uid, frame in source.references)
        return SourceImages(headers, references, source.lacks, source.phases)

    def _actions(self) -> Actions:
        """What the profile does to each attribute; UIDs are replaced by ours."""
        from dicomanonymizer.simpledicomanonymizer import initialize_actions, replace_UID

        actions = initialize_actions(_PROFILE)
        return {tag: self._replace_uid if action is replace_UID else action for tag, action in actions.items()}

    def _header(self, header: Dataset, actions: Actions) -> Dataset:
        """What results need of a header, de-identified; the patient is a pseudonym of the Patient ID."""
        from dicomanonymizer import anonymize_dataset

        kept = _needed_part(header)
        anonymize_dataset(kept, base_rules_gen=lambda: actions)
        for keyword in _DATES:  # the library writes a year 1, which is no date of PS3.5 6.2
            setattr(kept, keyword, "")
        kept.PatientID = self.patient(header)
        kept.PatientName = f"{kept.PatientID}^deidentified"
        kept.PatientIdentityRemoved = "YES"
        kept.DeidentificationMethod = "PS3.15 Basic Profile; UIDs and Patient ID are keyed hashes"
        method = Dataset()
        profile = codes.DCM.BasicApplicationConfidentialityProfile
        method.CodeValue, method.CodingSchemeDesignator, method.CodeMeaning = (
            profile.value, profile.scheme_designator, profile.meaning,
        )  # fmt: skip
        kept.DeidentificationMethodCodeSequence = [method]
        return kept

    def record(self, result: str, original: Path, header: Dataset | None) -> None:
        """Add to the table whose result this is. header: the source's own. Raises OutputError."""
        row = [result, str(original.resolve())]
        if header is not None:
            study, series = (str(header.get(f"{kind}InstanceUID") or "") for kind in ("Study", "Series"))
            row += [str(header.get("PatientID") or ""), self.patient(header)]
            row += [study, self.uid(study), series, self.uid(series)]
        if not self.table.exists():
            _create_private(self.table, _line(_COLUMNS))
        _append_private(self.table, _line([str(spreadsheet_cell(cell)) for cell in row]))

    def _digest(self, kind: str, text: str) -> bytes:
        return hmac.digest(self.key, f"{kind}\0{text}".encode(errors="surrogateescape"), hashlib.sha256)

    def _replace_uid(self, dataset: Dataset, tag: tuple[int, int]) -> None:
        if (element := dataset.get(tag)) is not None and element.value:
            element.value = self.uid(str(element.value))


_COLUMNS = (
    "result", "input", "patient_id", "patient_pseudonym", "study_uid", "study_uid_in_results", "series_uid",
    "series_uid_in_results",
)  # fmt: skip


def _needed_part(header: Dataset) -> Dataset:
    """A copy of what results are made from: identity, geometry, and what the standard asks a value for."""
    kept = Dataset()
    for keyword in _NEEDED:
        if keyword in header:
            setattr(kept, keyword, header.get(keyword))
    for group in (SHARED, PER_FRAME):
        if group in header:
            setattr(kept, group, [_macros(item) for item in header.get(group)])
    return kept


def _macros(item: Dataset) -> Dataset:
    kept = Dataset()
    for macro in _MACROS:
        if macro in item:
            setattr(kept, macro, item.get(macro))
    return kept


def _line(row: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def _create_private(path: Path, text: str) -> None:
    """Make a file that only its owner may read, whole at once; one that another process made meanwhile stays."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            with suppress(FileExistsError):
                os.link(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot write ({error.strerror}); choose another key file") from None


def _append_private(path: Path, text: str) -> None:
    """Append to a file that only its owner may read, in one write, so that two processes never mix their lines."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{path}: cannot write ({error.strerror}); choose another key file") from None
