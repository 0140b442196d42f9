"""Every field of a ModelSpec: it comes back from JSON, its JSON is the documented one, its bounds are kept."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swinunet.foundation.errors import SpecError
from swinunet.imaging import Code, Label, ModelSpec, Window, ZScore
from swinunet.imaging.box_spec import Boxes, LocatedBox, Locating
from swinunet.imaging.spec import SCHEMA_VERSION, SPEC_KEY, Provenance

PLAIN: dict[str, object] = {
    "name": "m",
    "version": 1,
    "modality": "MR",
    "body_part": "BRAIN",
    "plane": "axial",
    "context_slices": 1,
    "context_step_mm": 1.0,
    "input_size": [32, 48],
    "spacing_mm": None,
    "intensity": {"rule": "zscore"},
    "labels": [],
    "schema_version": 1,
}
LABEL = {"index": 1, "name": "thing", "color": [1, 2, 3], "type": {"value": "1", "scheme": "SCT", "meaning": "Thing"}}


def read(**changes: object) -> ModelSpec:
    return ModelSpec.from_json(json.dumps(PLAIN | changes), "here")


texts, numbers = st.text(max_size=12), st.floats(0.01, 500)
codes = st.builds(Code, texts, texts, texts)
ranges = st.lists(numbers, min_size=2, max_size=2).map(sorted).map(tuple)
windows = st.lists(numbers, min_size=2, max_size=2, unique=True).map(sorted)
percentiles = st.lists(st.floats(0, 100), min_size=2, max_size=2, unique=True).map(sorted)


spans = st.lists(st.floats(0, 5000), min_size=2, max_size=2).map(sorted).map(tuple)
around = st.lists(st.tuples(texts, st.sampled_from(["left", "right", None])), min_size=1, max_size=3)
boxes = st.builds(
    Boxes,
    st.from_regex(r"[A-Za-z0-9_\-]+", fullmatch=True),
    around.map(lambda all_: tuple(LocatedBox(f"{at} {name}", side) for at, (name, side) in enumerate(_apart(all_)))),
    st.floats(0, 100),
    st.none() | spans,
)


def _apart(boxes: list[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Those whose side no earlier one has."""
    return [each for at, each in enumerate(boxes) if each[1] not in [side for _, side in boxes[:at]]]


@st.composite
def specs(draw: st.DrawFn) -> ModelSpec:
    """A spec with every field drawn."""
    planes = draw(st.permutations(["sagittal", "coronal", "axial", "acquired"]))
    read = planes[: draw(st.integers(1, 4))]
    colour = st.tuples(*[st.integers(0, 255)] * 3)
    label = st.tuples(texts, colour, codes, st.none() | codes, st.none() | ranges)
    drawn = draw(st.lists(label, max_size=4))
    labels = tuple(
        Label(index, f"{name} {index}", color, kind, modifier, volume)
        for index, (name, color, kind, modifier, volume) in enumerate(drawn, start=1)
    )
    zscores = st.builds(
        lambda ends, per: ZScore("zscore", *ends, per), percentiles, st.sampled_from(["volume", "slice", "view"])
    )
    scales = st.just((-1, 1)) | windows.map(tuple)
    rules = zscores | st.builds(lambda ends, scaled_to: Window(*ends, scaled_to=scaled_to), windows, scales)
    modalities = draw(st.sampled_from([(), ("t1", "t2"), ("a", "b", "c", "d")]))
    intensities = draw(st.just(()) | st.tuples(*[rules] * len(modalities)))
    sided = any(side in label.name.lower() for label in labels for side in ("left", "right"))
    return ModelSpec(
        name=draw(st.from_regex(r"[A-Za-z0-9_\-]+", fullmatch=True)),
        version=draw(st.integers(1, 999)),
        modality=draw(texts),
        body_part=draw(texts),
        plane=read[0],
        context_slices=2 * draw(st.integers(0, 4)) + 1,
        context_step_mm=draw(numbers),
        input_size=draw(st.tuples(st.integers(1, 512), st.integers(1, 512))),
        spacing_mm=draw(st.none() | st.tuples(numbers, numbers)),
        intensity=intensities[0] if intensities else draw(rules),
        intensities=intensities,
        labels=labels,
        modalities=modalities,
        further_planes=tuple(read[1:]),
        mirrored=draw(st.booleans()) and not sided and "acquired" not in read,
        components=draw(st.sampled_from(["all", "largest"])),
        larger_slices=draw(st.sampled_from(["refused", "middle"])),
        pixel_mm=draw(st.none() | numbers),
        descriptions=tuple(draw(st.lists(texts, max_size=3))),
        min_slices=draw(st.integers(0, 300)),
        boxes=draw(st.none() | boxes),
        provenance=draw(
            st.builds(Provenance, *[texts] * 4, st.integers(0, 99), st.dictionaries(texts, numbers), texts, texts)
        ),
    )  # fmt: skip


@given(spec=specs())
@settings(max_examples=80, deadline=None)
def test_every_field_comes_back(spec: ModelSpec) -> None:
    again = ModelSpec.from_json(spec.to_json(), "here")
    assert again == spec
    assert "\n" not in spec.to_json()
    for each in dataclasses.fields(ModelSpec):
        assert getattr(again, each.name) == getattr(spec, each.name)


@given(spec=specs())
@settings(max_examples=40, deadline=None)
def test_the_json_says_what_the_fields_say(spec: ModelSpec) -> None:
    """Compared with dataclasses.asdict; newer fields are there just where they say something."""
    written = json.loads(spec.to_json())
    expected = json.loads(json.dumps(dataclasses.asdict(spec)))
    newer = ("modalities", "intensities", "further_planes", "mirrored", "descriptions", "min_slices", "pixel_mm")
    for name in (*newer, "boxes", "locating"):
        assert (name in written) == bool(expected[name])
        if not expected[name]:
            del expected[name]
    assert ("larger_slices" in written) == (expected["larger_slices"] == "middle")
    if expected["larger_slices"] == "refused":
        del expected["larger_slices"]
    for label in expected["labels"]:
        if label["volume_ml"] is None:
            del label["volume_ml"]
    for rule in (expected["intensity"], *expected.get("intensities", ())):
        if rule.get("per") == "volume":
            del rule["per"]
        if rule.get("scaled_to") == [-1, 1]:
            del rule["scaled_to"]
    assert written == expected


def test_what_a_spec_of_the_first_software_leaves_unsaid() -> None:
    """Defaults are part of the format: an old file must go on meaning what it meant."""
    spec = read()
    assert (spec.modalities, spec.further_planes, spec.descriptions) == ((), (), ())
    assert (spec.mirrored, spec.components, spec.min_slices, spec.schema_version) == (False, "all", 0, 1)
    assert (spec.larger_slices, spec.pixel_mm) == ("refused", None)
    assert (spec.boxes, spec.locating) == (None, None)
    assert spec.intensity == ZScore("zscore", 0.5, 99.5)
    assert spec.provenance == Provenance("", "", "", "", 0, {}, "", "")
    label = read(labels=[LABEL]).labels[0]
    assert (label.modifier, label.volume_ml) == (None, None)
    assert (SCHEMA_VERSION, SPEC_KEY) == (1, "swinunet_spec")


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({"version": 1}, True),
        ({"version": 0}, False),
        ({"context_slices": 1}, True),
        ({"context_slices": 3}, True),
        ({"context_slices": -1}, False),
        ({"context_slices": 2}, False),
        ({"context_step_mm": 0.001}, True),
        ({"context_step_mm": 0}, False),
        ({"input_size": [1, 1]}, True),
        ({"input_size": [0, 8]}, False),
        ({"input_size": [8, 0]}, False),
        ({"input_size": [8, 8, 8]}, False),
        ({"spacing_mm": [0.5, 0.25]}, True),
        ({"spacing_mm": [0, 1]}, False),
        ({"spacing_mm": [1, 0]}, False),
        ({"spacing_mm": [1, -1]}, False),
        ({"min_slices": 0}, True),
        ({"min_slices": -1}, False),
        ({"modalities": ["a", "b"]}, True),
        ({"modalities": ["a"]}, False),
        ({"modalities": ["a", "a"]}, False),
        ({"modalities": ["a", "b", "a"]}, False),
        ({"further_planes": ["coronal", "sagittal"]}, True),
        ({"further_planes": ["axial"]}, False),
        ({"further_planes": ["coronal", "coronal"]}, False),
        ({"labels": [LABEL, LABEL | {"index": 2}]}, True),
        ({"labels": [LABEL | {"index": 0}]}, False),
        ({"labels": [LABEL | {"index": 2}]}, False),
        ({"labels": [LABEL, LABEL]}, False),
        ({"labels": [LABEL | {"index": 2}, LABEL]}, False),
        ({"labels": [LABEL | {"index": at} for at in range(1, 256)]}, True),
        ({"labels": [LABEL | {"index": at} for at in range(1, 257)]}, False),
        ({"labels": [LABEL | {"surprise": 1}]}, False),
        ({"labels": [LABEL | {"type": LABEL["type"] | {"surprise": 1}}]}, False),  # type: ignore[operator]
        ({"intensity": {"rule": "window", "low": -1, "high": 1}}, True),
        ({"intensity": {"rule": "window", "low": -1}}, False),
        ({"intensity": {"rule": "other"}}, False),
        ({"intensity": {"rule": "zscore", "surprise": 1}}, False),
        ({"intensity": {"rule": "window", "low": -1, "high": 1, "surprise": 1}}, False),
        ({"provenance": {"surprise": 1}}, False),
        ({"mirrored": True}, True),
        ({"mirrored": True, "labels": [LABEL | {"name": "Left_thing"}]}, False),
        ({"mirrored": True, "labels": [LABEL | {"name": "thing, RIGHT"}]}, False),
        ({"mirrored": True, "labels": [LABEL | {"name": "bright leftover"}]}, True),
        ({"mirrored": False, "labels": [LABEL | {"name": "left thing"}]}, True),
        ({"schema_version": 1}, True),
        ({"schema_version": 2}, False),
        ({"components": "some"}, False),
        ({"spacing_mm": [float("nan"), 1]}, False),
        ({"spacing_mm": [float("inf"), 1]}, False),
        ({"context_step_mm": float("inf")}, False),
        ({"context_step_mm": float("nan")}, False),
        ({"context_slices": 255}, True),
        ({"context_slices": 257}, False),
        ({"input_size": [16384, 1]}, True),
        ({"input_size": [1, 16385]}, False),
        ({"intensity": {"rule": "zscore", "low_percentile": 0, "high_percentile": 100}}, True),
        ({"intensity": {"rule": "zscore", "high_percentile": 500}}, False),
        ({"intensity": {"rule": "zscore", "low_percentile": -1}}, False),
        ({"intensity": {"rule": "zscore", "low_percentile": 99.5}}, False),
        ({"intensity": {"rule": "zscore", "high_percentile": float("nan")}}, False),
        ({"intensity": {"rule": "window", "low": 5, "high": 5}}, False),
        ({"intensity": {"rule": "window", "low": 6, "high": 5}}, False),
        ({"intensity": {"rule": "window", "low": float("-inf"), "high": 5}}, False),
        ({"labels": [LABEL | {"color": [0, 255, 0]}]}, True),
        ({"labels": [LABEL | {"color": [1, 2, 999]}]}, False),
        ({"labels": [LABEL | {"color": [-1, 2, 3]}]}, False),
        ({"labels": [LABEL | {"volume_ml": [0, 0]}]}, True),
        ({"labels": [LABEL | {"volume_ml": [2, 1]}]}, False),
        ({"labels": [LABEL | {"volume_ml": [-1, 1]}]}, False),
        ({"labels": [LABEL | {"volume_ml": [0, float("inf")]}]}, False),
        ({"name": "a b"}, False),
        ({"name": ""}, False),
    ],
    ids=str,
)
def test_bounds(change: dict[str, object], fits: bool) -> None:
    if fits:
        found = json.loads(read(**change).to_json())
        assert all(found.get(name, value) == value or name == "labels" for name, value in change.items())
    else:
        with pytest.raises(SpecError, match=r"^here: "):
            read(**change)


def test_what_follows_from_the_fields() -> None:
    spec = read(
        labels=[LABEL, LABEL | {"index": 2, "name": "other"}], modalities=["a", "b", "c"], context_slices=5,
        further_planes=["coronal"], mirrored=True,
    )  # fmt: skip
    assert (spec.num_classes, spec.num_modalities, spec.in_channels) == (3, 3, 15)
    assert spec.planes == ("axial", "coronal")
    assert spec.readings == (("axial", False), ("coronal", False), ("axial", True), ("coronal", True))
    plain = read()
    assert (plain.num_classes, plain.num_modalities, plain.in_channels) == (1, 1, 1)
    assert plain.readings == (("axial", False),)
    assert not plain.names_sides
    with pytest.raises(AttributeError):
        plain.plane = "coronal"  # type: ignore[misc]


def test_an_error_says_where_and_what() -> None:
    with pytest.raises(SpecError, match=r"^here: broken model spec \(labels\.0\.index: .*\); export the model again$"):
        read(labels=[LABEL | {"index": 0}])
    with pytest.raises(SpecError, match=r"^here: broken model spec \(.*context_slices must be odd, found 4\)"):
        read(context_slices=4)
    with pytest.raises(SpecError, match=r"has schema version 2, this software reads up to 1; update"):
        read(schema_version=2, surprise=True)


BOXES = {"locator": "finder", "around": [{"label": "Left thing", "side": "left"}, {"label": "Right thing"}]}
LOCATING = {"whole": "brain", "whole_ml": [1, 2], "part_ml": [1, 2], "least_probability": 0.6, "apart_mm": [1, 2]}


def test_what_a_spec_says_of_boxes() -> None:
    found = read(boxes=BOXES | {"margin_mm": 8, "volume_ml": [1.5, 6]}).boxes
    assert found == Boxes("finder", (LocatedBox("Left thing", "left"), LocatedBox("Right thing")), 8.0, (1.5, 6.0))
    found = read(locating=LOCATING, spacing_mm=[2, 2]).locating
    assert found == Locating("brain", (1.0, 2.0), (1.0, 2.0), 0.6, (1.0, 2.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": BOXES | {"margin_mm": -1}}, "greater than or equal to 0"),
        ({"boxes": BOXES | {"margin_mm": 1, "locator": "a b"}}, "match pattern"),
        ({"boxes": BOXES | {"margin_mm": 1, "around": []}}, "a label of the locator for each box"),
        (
            {"boxes": BOXES | {"margin_mm": 1, "around": [{"label": "a"}, {"label": "a"}]}},
            "and each side once",
        ),
        (
            {"boxes": BOXES | {"margin_mm": 1, "around": [{"label": "a"}, {"label": "b"}]}},
            "and each side once",
        ),
        ({"boxes": BOXES | {"margin_mm": 1, "volume_ml": [2, 1]}}, "volume_ml must be the lowest and the highest"),
        ({"locating": LOCATING | {"whole_ml": [2, 1]}}, "whole_ml must be the lowest and the highest"),
        ({"locating": LOCATING | {"part_ml": [2, 1]}}, "part_ml must be"),
        ({"locating": LOCATING | {"apart_mm": [-2, 1]}}, "apart_mm must be"),
        ({"locating": LOCATING | {"least_probability": 0.4}}, "greater than or equal to 0.5"),
        ({"locating": LOCATING, "spacing_mm": None}, "a locator needs one spacing_mm along both axes"),
        ({"locating": LOCATING, "spacing_mm": [1, 2]}, "a locator needs one spacing_mm along both axes"),
        ({"locating": LOCATING, "boxes": BOXES | {"margin_mm": 1}}, "give one of them"),
    ],
)
def test_what_boxes_and_locating_may_not_say(change: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read(**{"spacing_mm": [2, 2]} | change)
