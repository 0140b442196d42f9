"""A manifest is of one archive, one model and one set of options: a run of others is refused, and writes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from small_model import SMALL_SPEC

from swinunet.batch.run_record import require_same_run
from swinunet.batch.settings import BatchSettings, Shard
from swinunet.client.results.options import OutputOptions
from swinunet.foundation.errors import InputError
from swinunet.imaging import ModelSpec


def of(spec: ModelSpec) -> Callable[[BatchSettings], BatchSettings]:
    return lambda settings: dataclasses.replace(settings, spec=spec)


def with_(**changes: object) -> Callable[[BatchSettings], BatchSettings]:
    return lambda settings: dataclasses.replace(settings, **changes)  # type: ignore[arg-type]


RETRAINED = dataclasses.replace(
    SMALL_SPEC, provenance=dataclasses.replace(SMALL_SPEC.provenance, checkpoint_sha256="1" * 64)
)
OTHER_RULES = dataclasses.replace(SMALL_SPEC, labels=SMALL_SPEC.labels[:1])
OTHERS = {
    "version": (of(dataclasses.replace(SMALL_SPEC, version=2)), "another model version: 1 there, 2 now"),
    "model": (of(dataclasses.replace(SMALL_SPEC, name="large")), "another model: small there, large now"),
    "weights": (of(RETRAINED), "another"),
    "spec": (of(OTHER_RULES), "another"),
    "archive": (with_(archive="/another"), "another"),
    "shards": (with_(shard=Shard(1, 3)), "another"),
    "outputs": (with_(results=OutputOptions(("nifti",))), "another"),
}


@pytest.fixture
def settings(tmp_path: Path) -> BatchSettings:
    made = BatchSettings("/archive", tmp_path / "out", SMALL_SPEC, results=OutputOptions(("json", "nifti")))
    require_same_run(made)
    return made


def test_the_same_run_goes_on(settings: BatchSettings) -> None:
    before = (settings.manifest / "run.json").read_bytes()
    require_same_run(settings)
    assert (settings.manifest / "run.json").read_bytes() == before


@pytest.mark.parametrize("name", OTHERS)
def test_another_run_is_refused_in_one_line(settings: BatchSettings, name: str) -> None:
    change, says = OTHERS[name]
    before = (settings.manifest / "run.json").read_bytes()
    with pytest.raises(InputError, match=rf"manifest: the manifest of a run with {says}") as caught:
        require_same_run(change(settings))
    assert str(caught.value).endswith("; give another output folder")
    assert "\n" not in str(caught.value)
    assert (settings.manifest / "run.json").read_bytes() == before
    assert [path.name for path in settings.manifest.iterdir()] == ["run.json"]


def test_a_record_that_cannot_be_read_is_refused(settings: BatchSettings) -> None:
    (settings.manifest / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json: cannot be read; it says of which run the manifest is"):
        require_same_run(settings)
