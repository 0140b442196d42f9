"""The page with a row for each result: sortable, searchable, marked by keyboard."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib.resources import files
from urllib.parse import quote

from swinunet.client import viewer
from swinunet.client.results import page
from swinunet.client.results.formats import FILE_NAMES
from swinunet.client.viewer.results_tree import FoundResult
from swinunet.client.viewer.reviews import Review
from swinunet.foundation.html import Markup, Page, data_block, element, joined

_COLUMNS = ("Result", "Look at", "Structures (ml)", "Model", "Made", "Seconds", "Review")
_KEYS = (
    ("J, K", "next, previous"),
    ("Enter", "open"),
    ("A", "accept"),
    ("R", "reject"),
    ("U", "undo the mark"),
    ("C", "comment"),
    ("/", "search"),
)


def address_of(name: str, file: str) -> str:
    """The path under which the server has a file of a result."""
    return f"/results/{quote(name, safe='')}/{file}"


def tree_page(title: str, results: Sequence[FoundResult], reviews: Mapping[str, Review]) -> Page:
    """The page. reviews: by the results' names; a mark of an earlier result of that name is not shown."""
    rows = [_row(at, each, reviews.get(each.name)) for at, each in enumerate(results)]
    heads = [
        element("th", element("button", text, type="button", class_="sort"), scope="col", aria_sort="none")
        for text in _COLUMNS
    ]
    table = element(
        "table",
        element("caption", "Results", class_="hidden"),
        element("thead", element("tr", element("th", "Picture", scope="col"), *heads)),
        element("tbody", *rows),
    )
    flagged = sum(bool(each.flags) for each in results)
    search = element("input", id="search", type="search")
    body = joined(
        element("header", element("h1", title), element("span", f"{len(results)} results, {flagged} to look at")),
        element(
            "main",
            element(
                "div",
                element("label", "Search ", search),
                element("label", element("input", id="flagged", type="checkbox"), " only those to look at"),
                element("label", element("input", id="open", type="checkbox"), " only those without a mark"),
                element("span", id="count", role="status"),
                class_="row",
            ),
            element("p", *(joined(element("kbd", key), Markup(f" {does}  ")) for key, does in _KEYS), class_="keys"),
            element("div", table, class_="scrolls", tabindex="0", role="region", aria_label="Table of results"),
        ),
        data_block("results", [{"name": each.name} for each in results]),
    )
    return Page(
        title, body, (_text(page, "page.css") + _text(viewer, "tree.css"),), (_text(viewer, "tree.js"),),
        policy={"connect-src": "'self'", "img-src": "'self'"},
    )  # fmt: skip


def _row(at: int, result: FoundResult, review: Review | None) -> Markup:
    report, there = result.report, result.files
    name = result.name if result.name != "." else result.folder.resolve().name
    shown = next((FILE_NAMES[kind] for kind in ("html", "png", "json") if FILE_NAMES[kind] in there), None)
    link = element("a", name, href=address_of(result.name, shown), class_="name") if shown else element("span", name)
    picture = element("img", src=address_of(result.name, FILE_NAMES["png"]), alt="", loading="lazy", width="160")
    total_ml = sum(each.volume_ml for each in report.structures) if report else 0.0
    volumes = [element("li", f"{each.name} {each.volume_ml:.2f}") for each in report.structures] if report else []
    seconds = sum(report.timings_s.values()) if report else 0.0
    model = f"{report.model.name} {report.model.version}" if report else ""
    cells = [
        element("td", picture if FILE_NAMES["png"] in there else None),
        element("th", link, scope="row", data_key=name.lower()),
        element("td", element("ul", *(element("li", flag) for flag in result.flags)), data_key=str(len(result.flags))),
        element("td", element("ul", *volumes), data_key=f"{total_ml:.3f}"),
        element("td", model, data_key=model.lower()),
        element("td", result.made.replace("T", " ").replace("+00:00", ""), data_key=result.made),
        element("td", f"{seconds:.1f}", class_="figure", data_key=f"{seconds:.3f}"),
        _review_cell(name, review if review and review.made == result.made else None),
    ]
    return element("tr", *cells, data_at=str(at), class_="to-look-at" if result.flags else None)


def _review_cell(name: str, review: Review | None) -> Markup:
    decision = review.decision if review else ""
    buttons = [
        element(
            "button", word, type="button", class_="decide", data_decision=kind,
            aria_pressed=str(decision == kind).lower(), aria_label=f"{word} {name}",
        )
        for word, kind in (("Accept", "accepted"), ("Reject", "rejected"))
    ]  # fmt: skip
    comment = element(
        "input", type="text", class_="comment", value=review.comment if review else "", maxlength="2000",
        aria_label=f"Comment on {name}", placeholder="comment",
    )  # fmt: skip
    return element("td", element("div", *buttons, class_="row"), comment, data_key=decision)


@functools.cache
def _text(package: object, name: str) -> str:
    return (files(package) / name).read_text(encoding="utf-8")  # type: ignore[arg-type]
