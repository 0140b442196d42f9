"""docs/dicom-conformance.md says what the code does; `make conformance` writes it anew."""

from __future__ import annotations

import re

from conformance_statement import STATEMENT, statement
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage, SegmentationStorage
from pynetdicom.presentation import build_context

from swinunet.gateway.network.dimse.contexts import accepted_contexts


def test_the_statement_is_that_of_the_code() -> None:
    assert STATEMENT.read_text(encoding="utf-8") == statement(), "run `make conformance`"


def test_every_transfer_syntax_and_sop_class_of_the_statement_is_accepted() -> None:
    text = STATEMENT.read_text(encoding="utf-8")
    listed = re.findall(r"^\| [^|]+ \| (1\.2\.840\.10008\.5\.1\.4\.[\d.]+) \|$", text, re.MULTILINE)
    assert {MRImageStorage, EnhancedMRImageStorage, SegmentationStorage} < set(listed)
    accepted = {context.abstract_syntax for context in accepted_contexts([build_context(uid) for uid in listed])}
    assert accepted == set(listed)
    syntaxes = re.findall(r"\| (1\.2\.840\.10008\.1\.2[\d.]*) \|", text)
    (context,) = accepted_contexts([build_context(MRImageStorage)])
    assert list(context.transfer_syntax) == syntaxes


def test_the_statement_names_no_case_and_no_place() -> None:
    text = STATEMENT.read_text(encoding="utf-8")
    assert not re.search(r"Of\^S|OF SOURCE|OFSOURCE|/tmp|/work", text)
    assert "{{" not in text
