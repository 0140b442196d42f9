"""index.html of a result: the image with its mask, what was found, and what to look at.

The page holds all it shows. It names no patient and no input unless the user asks for it: who opens it sees the name of
the folder that it lies in.
"""

from __future__ import annotations

import functools
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from swinunet.client.results import page
from swinunet.client.results.overlay_scene import automatic_window
from swinunet.client.results.page.preview import Preview, previews
from swinunet.client.results.page.sections import (
    exclusions,
    provenance,
    remarks,
    structure_table,
    timings,
    volume_curves,
)
from swinunet.client.results.report import Report
from swinunet.client.results.report_writer import describe
from swinunet.client.results.result import Result
from swinunet.foundation.files import written_aside
from swinunet.foundation.html import Markup, Page, binary_block, data_block, element, joined
from swinunet.imaging import ModelSpec, Volume, Window

_CT_WINDOWS = {"Soft tissue": (-160.0, 240.0), "Brain": (0.0, 80.0), "Lung": (-1350.0, 150.0), "Bone": (-600.0, 1400.0)}
_VIEWS = ("Planes and 3D", "Axial", "Coronal", "Sagittal", "3D")
_KEYS = (
    ("Up, Down", "slice"),
    ("1 to 5", "view"),
    ("W", "next window"),
    ("M", "mask on and off"),
    ("[ and ]", "mask's opacity"),
    ("C", "close-up"),
    ("Left, Right", "time point"),
)


def write(result: Result, path: Path) -> None:
    """Write the page. Raises OutputError where a de-identified one would show burnt-in text."""
    result.require_showable()
    with written_aside(path) as aside:
        shown = previews(result.found.volume, result.found.mask, result.found.spec.modality)
        places = {
            each.segment.mask_value: place_of(result.found.mask, result.found.volume, each.segment.mask_value)
            for each in result.found.measurements
            if each.voxels
        }
        aside.write_text(result_page(result, shown, places, Phases()).render(), encoding="utf-8")


@dataclass(frozen=True)
class Phases:
    """A series in time. names: of the phases. volumes_ml: of each structure, in the result's order, by phase.

    sentences: what follows from the volumes.
    """

    names: tuple[str, ...] = ()
    volumes_ml: tuple[tuple[float, ...], ...] = ()
    sentences: tuple[str, ...] = ()


def result_page(result: Result, shown: list[Preview], places: Mapping[int, list[float]], phases: Phases) -> Page:
    """The page. shown: the pictures. places: of each structure, RAS mm by mask value. phases: empty of one volume."""
    report = describe(result)
    colours = {each.mask_value: each.label.color for each in result.found.segments}
    study: dict[str, Any] = {
        "windows": _windows(result.found.spec, result.found.volume.voxels),
        "previews": [each.name for each in shown],
        "structures": [
            {"value": each.mask_value, "name": each.text, "colour": each.label.color} for each in result.found.segments
        ],
        "places": places,
        "phases": phases.names,
    }
    segments = zip(result.found.segments, phases.volumes_ml, strict=False)
    curves = [(each.text, each.label.color, volumes) for each, volumes in segments]
    beside = joined(
        _controls(study),
        volume_curves(len(phases.names), curves, phases.sentences) if phases.names else None,
        remarks(report),
        _structures(report, colours),
    )
    body = joined(
        _header(report, result.patient()),
        element("main", _viewer(), element("aside", beside)),
        element("div", exclusions(report, [*result.loaded.passed_over, *_reduction(shown)]), timings(report),
                provenance(report), class_="sections"),
        data_block("study", study),
        *(joined(binary_block(f"image-{at}", each.image), binary_block(f"mask-{at}", each.mask))
          for at, each in enumerate(shown)),
        binary_block("niivue", _compressed_niivue()),
    )  # fmt: skip
    return Page(
        "Segmentation", body, (_text("page.css"),), (_text("page.js"),), (_text("niivue.js"),),
        {"img-src": "data: blob:"},
    )  # fmt: skip


def _header(report: Report, patient: str) -> Markup:
    flags = sum(len(each.flags) for each in report.structures)
    badge = f"{flags} quality flag{'s' if flags > 1 else ''}" if flags else "no quality flag"
    return element(
        "header",
        element("h1", element("span", "Segmentation", id="name")),
        element("span", patient, class_="patient") if patient else "",
        element("span", badge, class_="badge flagged" if flags else "badge"),
        element("span", f"{report.model.name}, version {report.model.version}. Not a medical device.", class_="faint"),
    )


def _viewer() -> Markup:
    canvas = element(
        "canvas", id="canvas", tabindex="0", role="img",
        aria_label="The image and its mask in three planes and in 3D",
    )  # fmt: skip
    return element(
        "div",
        canvas,
        element("p", "Loading the picture ...", id="status", role="status"),
        element("noscript", "The picture needs JavaScript; the figures below do not."),
        class_="viewer",
    )


def _controls(study: dict[str, Any]) -> Markup:
    views = [
        element("button", name, type="button", class_="view", data_view=str(at), aria_pressed="false")
        for at, name in enumerate(_VIEWS)
    ]
    presets = [element("option", each["name"], value=str(at)) for at, each in enumerate(study["windows"])]
    keys = [joined(element("dt", element("kbd", key)), element("dd", does)) for key, does in _KEYS]
    opacity = element("input", id="opacity", type="range", min="0", max="1", step="0.05", value="0.5")
    closer = element("button", "Close-up", type="button", id="closer", aria_pressed="false")
    buttons = [*views, closer] if len(study["previews"]) > 1 else views
    return element(
        "div",
        element("div", *buttons, class_="row", role="group", aria_label="View"),
        element(
            "div",
            element("label", "Window ", element("select", *presets, id="window")),
            element("label", "Level ", element("input", id="level", type="number", step="any")),
            element("label", "Width ", element("input", id="width", type="number", step="any", min="0")),
            class_="row",
        ),
        element("div", element("label", "Mask ", opacity), class_="row"),
        _phase_slider(study["phases"]) if study["phases"] else None,
        element(
            "details",
            element("summary", "Mouse and keys"),
            element("p", "Click to go there, wheel to scroll, drag with the right button to change the window."),
            element("dl", *keys, class_="keys"),
        ),
        class_="controls",
    )


def _phase_slider(phases: Sequence[str]) -> Markup:
    slider = element("input", id="phase", type="range", min="0", max=str(len(phases) - 1), step="1", value="0")
    play = element("button", "Play", type="button", id="play", aria_pressed="false")
    return element(
        "div", play, element("label", "Phase ", slider), element("span", phases[0], id="phase-name"), class_="row"
    )


def _structures(report: Report, colours: dict[int, tuple[int, int, int]]) -> Markup:
    return element("div", structure_table(report, colours), class_="scrolls", tabindex="0", role="region",
                   aria_label="Structures")  # fmt: skip


def _reduction(shown: list[Preview]) -> list[str]:
    """How the picture differs from the image and the mask, if it does."""
    factors = shown[0].factors
    if factors == (1, 1, 1):
        return []
    by = " x ".join(map(str, factors))
    detail = " The close-up shows the surroundings of what was found in more detail." if len(shown) > 1 else ""
    return [
        f"Detail of the picture above: one of its voxels is {by} of the image. Figures are of the whole mask.{detail}"
    ]


def _windows(spec: ModelSpec, voxels: np.ndarray) -> list[dict[str, object]]:
    """Windows to choose from, the first one being shown."""
    rule, automatic = spec.intensity, automatic_window(voxels)
    found = {"The model's": (rule.low, rule.high)} if isinstance(rule, Window) else {}
    found["Automatic"] = automatic
    if spec.modality == "CT":
        found |= _CT_WINDOWS
    else:
        middle, quarter = sum(automatic) / 2, (automatic[1] - automatic[0]) / 4
        found |= {
            "More contrast": (middle - quarter, middle + quarter),
            "Less contrast": (middle - 4 * quarter, middle + 4 * quarter),
        }
    return [{"name": name, "low": low, "high": high} for name, (low, high) in found.items()]


def place_of(mask: np.ndarray, volume: Volume, value: int) -> list[float]:
    """Where to look for what a mask has under `value`, RAS mm: the voxel nearest to the middle of its largest slice."""
    k = int(np.argmax([np.count_nonzero(mask[:, :, at] == value) for at in range(mask.shape[2])]))
    inside = np.argwhere(mask[:, :, k] == value)
    i, j = inside[((inside - inside.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    x, y, z, _ = volume.affine @ (i, j, k, 1)
    return [round(-float(x), 3), round(-float(y), 3), round(float(z), 3)]


@functools.cache
def _text(name: str) -> str:
    return (files(page) / name).read_text(encoding="utf-8")


@functools.cache
def _compressed_niivue() -> bytes:
    return gzip.compress(_text("niivue.js").encode(), compresslevel=6, mtime=0)
