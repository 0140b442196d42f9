"""swinunet.imaging.spec: a spec comes back from its JSON, and a broken one is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest
from small_model import SMALL_SPEC

from swinunet.foundation.errors import SpecError
from swinunet.imaging import ModelSpec, Window

SIDED = [dataclasses.asdict(label) | {"name": f"Left {label.name}"} for label in SMALL_SPEC.labels]


def test_spec_round_trip() -> None:
    changes = {"intensity": Window(-100, 300), "spacing_mm": None, "descriptions": ("t1", "flair"), "min_slices": 20}
    spec = dataclasses.replace(SMALL_SPEC, **changes)
    assert ModelSpec.from_json(spec.to_json(), "here") == spec


def test_newer_fields_are_written_only_where_they_say_something() -> None:
    """So that software older than a field reads every spec that does without it."""
    newer = {"modalities", "further_planes", "mirrored", "descriptions", "min_slices"}
    assert not newer & set(json.loads(SMALL_SPEC.to_json()))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 99}, "schema version 99, this software reads up to 1; update"),
        ({"context_slices": 4}, "must be odd"),
        ({"further_planes": ("sagittal",)}, "other planes than plane"),
        ({"mirrored": True, "labels": SIDED}, "a mirror image contradicts them"),
        ({"plane": "oblique"}, "plane"),
        ({"surprise": 1}, "surprise"),
        ({"labels": []}, None),
        ({"name": "a/b"}, "name"),
        ({"input_size": [0, 32]}, "positive"),
    ],
)
def test_broken_specs_are_refused(change: dict[str, object], says: str | None) -> None:
    text = json.dumps(json.loads(SMALL_SPEC.to_json()) | change)
    if says is None:  # no foreground is a strange model, but a consistent spec
        assert ModelSpec.from_json(text, "here").num_classes == 1
        return
    with pytest.raises(SpecError, match=says):
        ModelSpec.from_json(text, "here")


@pytest.mark.parametrize("text", ["", "{}", "[1]", "{"])
def test_what_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="here: this is no model spec"):
        ModelSpec.from_json(text, "here")
