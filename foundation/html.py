"""Pages of HTML that open from disk, ask for nothing, and run nothing but what they were written with.

    page = Page("Title", body=element("h1", "Title"), styles=(CSS,), scripts=(JAVASCRIPT,))
    path.write_text(page.render(), encoding="utf-8")

The content security policy names each style and script by its SHA-256, and allows no request at all. So `style` and
`on...` attributes do nothing: a page draws with classes and SVG.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from swinunet.foundation.terminal import printable

_VOID = {"br", "hr", "img", "input"}  # written without an end tag


class Markup(str):
    """HTML that is written as it is; every other text is escaped."""

    __slots__ = ()


def escaped(text: object) -> Markup:
    """`text` as HTML shows it, with characters that nobody can see in their escaped form."""
    return text if isinstance(text, Markup) else Markup(html.escape(printable(text)))


def element(name: str, *children: object, **attributes: object) -> Markup:
    """One element. children: Markup, or text to escape; None is left out.

    attributes: `class_` is `class`, `aria_label` is `aria-label`; True has no value, None and False are left out.
    """
    written = "".join(map(_attribute, attributes, attributes.values()))
    opened = f"<{name}{written}>"
    if name in _VOID:
        return Markup(opened)
    return Markup(f"{opened}{''.join(escaped(child) for child in children if child is not None)}</{name}>")


def joined(*parts: Markup | None) -> Markup:
    """Elements one after the other."""
    return Markup("".join(part for part in parts if part is not None))


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(printable(value))}"'


def data_block(identifier: str, value: object) -> Markup:
    """JSON for a page's scripts; a browser does not run it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    return Markup(f'<script type="application/json" id="{identifier}">{text}</script>')


def binary_block(identifier: str, content: bytes) -> Markup:
    """Bytes for a page's scripts, as base64."""
    text = base64.b64encode(content).decode("ascii")
    return Markup(f'<script type="application/octet-stream" id="{identifier}">{text}</script>')


@dataclass(frozen=True)
class Page:
    """One page.

    title: for the window. body: what it shows. styles, scripts: their texts, scripts run in their order after the body.
    late_scripts: texts that a script of the page inserts itself. policy: further directives of the content security
    policy, by name.
    """

    title: str
    body: Markup
    styles: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    late_scripts: tuple[str, ...] = ()
    policy: Mapping[str, str] = field(default_factory=dict)

    def render(self) -> str:
        """The page as HTML. Raises ValueError for a style or script that would end its own element."""
        for text in (*self.styles, *self.scripts):
            if re.search(r"</(style|script)|<!--", text, re.IGNORECASE):
                raise ValueError("a style or script holds the end of its own element")
        head = [
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{html.escape(self.content_security_policy())}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{escaped(self.title)}</title>",
            *(f"<style>{text}</style>" for text in self.styles),
        ]
        scripts = [f"<script>{text}</script>" for text in self.scripts]
        parts = ['<!DOCTYPE html>\n<html lang="en">\n<head>', *head, "</head>\n<body>", self.body, *scripts]
        return "\n".join([*parts, "</body>\n</html>\n"])

    def content_security_policy(self) -> str:
        """Nothing but the page's own styles and scripts, and what `policy` adds."""
        directives = {
            "default-src": "'none'",
            "script-src": _hashes(*self.scripts, *self.late_scripts) or "'none'",
            "style-src": _hashes(*self.styles) or "'none'",
            "base-uri": "'none'",
            "form-action": "'none'",
            **self.policy,
        }
        return "; ".join(f"{name} {sources}" for name, sources in directives.items())


def _hashes(*texts: str) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
