"""A report as one HTML page beside its Markdown: tables that can be sorted, pictures inside; it asks for nothing."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from swinunet.foundation.files import written_aside
from swinunet.foundation.html import Markup, Page, element

_IMAGE = re.compile(r'<img src="([^"]*)" alt="([^"]*)" />')


def report_page(markdown: str, pictures: Mapping[str, bytes]) -> str:
    """The page of a report. pictures: PNG by the name that the Markdown has; others are left out.

    HTML in the Markdown is shown as text: names of cases and files come from outside.
    """
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("link")

    def embedded(found: re.Match[str]) -> str:
        content = pictures.get(found[1])
        if content is None:
            return f"<em>{found[2]}</em>"
        return f'<img src="data:image/png;base64,{base64.b64encode(content).decode()}" alt="{found[2]}">'

    body = _IMAGE.sub(embedded, reader.render(markdown))
    body = body.replace('style="text-align:right"', 'class="right"')
    body = body.replace("<table>", '<div class="scrolls" tabindex="0" role="region" aria-label="Table"><table>')
    body = body.replace("</table>", "</table></div>")
    title = next((line.removeprefix("# ") for line in markdown.splitlines() if line.startswith("# ")), "Report")
    return Page(
        title, element("main", Markup(body)), (_text("report.css"),), (_text("report.js"),), policy={"img-src": "data:"}
    ).render()


def write_report_page(folder: Path, name: str) -> Path:
    """Write NAME.html of the NAME.md in `folder` and the pictures beside it. Raises OutputError where it cannot."""
    page = folder / f"{name}.html"
    with written_aside(page) as aside:
        pictures = {path.name: path.read_bytes() for path in folder.glob("*.png")}
        text = report_page((folder / f"{name}.md").read_text(encoding="utf-8"), pictures)
        aside.write_text(text, encoding="utf-8")
    return page


def _text(name: str) -> str:
    return (files("swinunet.foundation") / name).read_text(encoding="utf-8")
