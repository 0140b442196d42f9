"""A report's page: its Markdown as HTML, pictures inside, nothing that runs or asks."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from swinunet.foundation.errors import OutputError
from swinunet.foundation.report_page import report_page, write_report_page

MARKDOWN = """# Evaluation: a model

Some `code`.

| structure | Dice |
| --- | ---: |
| <script>alert(1)</script> | 0.91 |
| left \\| right | 0.83 |

![every case](evaluation.png)

![gone](elsewhere.png) [a link](http://evil.example)
"""


class _Tags(HTMLParser):
    """Every element with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_tables_and_pictures_are_in_the_page() -> None:
    page = report_page(MARKDOWN, {"evaluation.png": b"\x89PNG"})
    tags = _Tags(page).found
    assert "<title>Evaluation: a model</title>" in page
    assert page.count("<td>") + page.count("<td ") == 4
    assert "left | right" in page
    (picture,) = (attributes for tag, attributes in tags if tag == "img")
    assert picture == {"src": f"data:image/png;base64,{base64.b64encode(bytes([0x89]) + b'PNG').decode()}",
                       "alt": "every case"}  # fmt: skip


def test_text_from_outside_neither_runs_nor_leads_away() -> None:
    page = report_page(MARKDOWN, {})
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not [attributes for _, attributes in _Tags(page).found if attributes.keys() & {"href", "onclick", "style"}]
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src &#x27;none&#x27;; script-src &#x27;sha256-")
    assert "unsafe" not in policy


def test_it_lies_beside_its_markdown_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "some.md").write_text("# Some\n")
    assert write_report_page(tmp_path, "some") == tmp_path / "some.html"
    assert "<h1>Some</h1>" in (tmp_path / "some.html").read_text()
    (tmp_path / "other.md").write_text("# Other\n")
    (tmp_path / "other.html").mkdir()
    with pytest.raises(OutputError, match=r"other\.html: cannot write"):
        write_report_page(tmp_path, "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.html", "other.md", "some.html", "some.md"]
