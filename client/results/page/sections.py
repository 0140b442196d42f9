"""What the result page says beside the picture: structures, remarks, what was left out, the model, the time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from swinunet.client.results.explanations import CHECKS, FLAGS, STAGES
from swinunet.client.results.formats import FORMATS_BY_NAME
from swinunet.client.results.location_words import how_located, not_located
from swinunet.client.results.report import Report, Structure
from swinunet.foundation.html import Markup, element, joined

_STAGE_COLOURS = ("#4fc3f7", "#ffb74d", "#aed581", "#ba68c8", "#ff8a65", "#4db6ac", "#f06292", "#dce775")
_BAR_WIDTH, _BAR_HEIGHT = 1000, 28
_CURVE_WIDTH, _CURVE_HEIGHT = 400, 120


def structure_table(report: Report, colours: dict[int, tuple[int, int, int]]) -> Markup:
    """A row a structure, with a box to show it and a button to go there. colours: RGB by mask value."""
    rows = [_structure_row(each, colours[each.mask_value]) for each in report.structures]
    heads = ("Show", "Structure", "ml", "Intensity", "Confidence")
    head = element("tr", *(element("th", text, scope="col") for text in heads))
    return element(
        "table", element("caption", "Structures"), element("thead", head), element("tbody", *rows), class_="structures"
    )


def _structure_row(structure: Structure, colour: tuple[int, int, int]) -> Markup:
    value, found = str(structure.mask_value), structure.voxels > 0
    box = element(
        "input", type="checkbox", checked=True, class_="shown", data_value=value, aria_label=f"Show {structure.name}"
    )
    name = element("button", structure.name, type="button", class_="go", data_value=value, disabled=not found)
    figures = (
        f"{structure.volume_ml:.2f}" if found else "not found",
        _figure(structure.mean_intensity, ".4g"),
        _figure(structure.confidence, ".2f"),
    )
    cells = [element("td", each, class_="figure") for each in figures]
    return element("tr", element("td", box, _chip(colour)), element("th", name, scope="row"), *cells)


def _chip(colour: tuple[int, int, int]) -> Markup:
    box = element("rect", width="14", height="14", rx="3", fill=_hex(colour))
    return element("svg", box, width="14", height="14", viewBox="0 0 14 14", aria_hidden="true")


def remarks(report: Report) -> Markup:
    """The quality flags in words, the series' verdict, and checks that nobody could make."""
    items = [
        element("li", element("strong", f"{each.name}: {flag.detail}."), " ", FLAGS[flag.kind])
        for each in report.structures
        for flag in each.flags
    ]
    for sentence in not_located(report.location) if report.location else ():
        items.append(element("li", element("strong", f"{sentence}.")))
    if report.input.verdict:
        items.append(element("li", element("strong", "The series is no plain stack. "), report.input.verdict))
    listed = element("ul", *items, class_="flags") if items else element("p", "No quality flag was raised.")
    unknown = sorted({check for each in report.structures for check in each.not_judged})
    not_judged = element("p", f"Not judged: {'; '.join(CHECKS[check] for check in unknown)}.") if unknown else None
    heading = element("h2", f"Look at this first ({len(items)})" if items else "Quality")
    return element("section", heading, joined(listed, not_judged), class_="flagged" if items else None)


def exclusions(report: Report, others: Iterable[str]) -> Markup:
    """What the result, or this page, leaves out, and why. others: further sentences."""
    items: list[str] = []
    for box in report.boxes:
        side = f"{box.laterality} " if box.laterality else ""
        spans = ", ".join(
            f"{axis} {low:g} to {high:g}" for axis, low, high in zip("xyz", box.low_mm, box.high_mm, strict=True)
        )
        items.append(f"Everything outside the {side}box {spans} mm (LPS): the model saw the box only.")
    items += [f"{FORMATS_BY_NAME[kind].title}: not written, {reason}." for kind, reason in report.failed.items()]
    if report.left_out:
        items.append(f"Attributes of the source that break DICOM's formats: {', '.join(report.left_out)}.")
    items += others
    items = items or ["Nothing: the model saw the whole volume, and every output was written."]
    return element("section", element("h2", "What was left out"), element("ul", *(element("li", i) for i in items)))


def provenance(report: Report) -> Markup:
    """The image, the model and the software."""
    made_of, spec = report.model.spec.provenance, report.model.spec
    shape = " x ".join(map(str, report.input.shape))
    spacing = " x ".join(f"{mm:.3g}" for mm in report.input.spacing_mm)
    scores = ", ".join(
        f"{name} {value:g}" for name, value in made_of.metrics.items() if "mean" in name and "%" not in name
    )
    facts = {
        "Image": f"{report.input.kind.upper()}, {spec.modality}, {shape} voxels of {spacing} mm",
        "Model": f"{report.model.name}, version {report.model.version}",
        "Boxes": how_located(report.location) if report.location else "",
        "Checkpoint": report.model.checkpoint_sha256[:16],
        "Trained on": made_of.dataset,
        "Validation": scores,
        "Mask restored by": {"labels": "nearest label", "probabilities": "interpolated probability"}[
            report.settings.restore
        ],
        "Software": report.software,
        "Made": report.created.replace("T", " ").replace("+00:00", " UTC"),
    }
    pairs = [joined(element("dt", name), element("dd", text)) for name, text in facts.items() if text]
    return element("section", element("h2", "Model and image"), element("dl", *pairs))


def timings(report: Report) -> Markup:
    """The seconds of each stage as one bar, and in words."""
    stages = [(STAGES.get(name, name), seconds) for name, seconds in report.timings_s.items() if seconds >= 0.005]
    total = sum(seconds for _, seconds in stages) or 1.0
    bars, at = [], 0.0
    for number, (_, seconds) in enumerate(stages):
        width = _BAR_WIDTH * seconds / total
        bars.append(
            element(
                "rect", x=f"{at:.1f}", y="0", width=f"{width:.1f}", height=str(_BAR_HEIGHT), fill=_stage_colour(number)
            )
        )
        at += width
    bar = element(
        "svg", *bars, viewBox=f"0 0 {_BAR_WIDTH} {_BAR_HEIGHT}", preserveAspectRatio="none", class_="bar",
        role="img", aria_label=f"Time by stage, {total:.1f} seconds in all",
    )  # fmt: skip
    legend = element("ul", *_legend(stages), class_="legend")
    return element("section", element("h2", f"Time: {total:.1f} s"), bar, legend)


def _legend(stages: Iterable[tuple[str, float]]) -> Iterable[Markup]:
    for number, (name, seconds) in enumerate(stages):
        red, green, blue = (int(_stage_colour(number)[at : at + 2], 16) for at in (1, 3, 5))
        yield element("li", _chip((red, green, blue)), f" {name} {seconds:.2f} s")


def _stage_colour(number: int) -> str:
    return _STAGE_COLOURS[number % len(_STAGE_COLOURS)]


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def volume_curves(
    count: int, curves: Sequence[tuple[str, tuple[int, int, int], Sequence[float]]], sentences: Sequence[str]
) -> Markup:
    """The volume of each structure over the phases, with a line at the phase that is shown.

    count: of phases. curves: of each structure its name, its colour and ml by phase. sentences: what follows from them.
    """
    highest = max((value for _, _, values in curves for value in values), default=0.0) or 1.0
    step = _CURVE_WIDTH / max(1, count - 1)
    lines = [
        element(
            "polyline", fill="none", stroke=_hex(colour), stroke_width="3",
            points=" ".join(
                f"{at * step:.1f},{_CURVE_HEIGHT * (1 - value / highest):.1f}" for at, value in enumerate(values)
            ),
        )
        for _, colour, values in curves
    ]  # fmt: skip
    now = element("line", id="now", x1="0", x2="0", y1="0", y2=str(_CURVE_HEIGHT), stroke="#ffd54f", stroke_width="2",
                  data_step=f"{step:.3f}")  # fmt: skip
    drawing = element(
        "svg", *lines, now, viewBox=f"-5 -5 {_CURVE_WIDTH + 10} {_CURVE_HEIGHT + 10}", class_="curve", role="img",
        aria_label="Volume over the phases",
    )  # fmt: skip
    legend = [
        element("li", _chip(colour), f" {name}: {min(values):.1f} to {max(values):.1f} ml")
        for name, colour, values in curves
    ]
    said = [element("p", sentence) for sentence in sentences]
    return element(
        "section", element("h2", "Volume over time"), drawing, element("ul", *legend, class_="legend"), *said
    )
