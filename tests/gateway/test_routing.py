"""Which route takes a study, and which of its models reads which series."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from command_line import run_here
from dicom_series import make_cine, make_series, save
from gateway_runs import make_config, make_study
from located_models import CROPPED
from small_model import SMALL_SPEC

from swinunet.client.dicom import scan_folder
from swinunet.gateway.config.settings import RouteConfig
from swinunet.gateway.explaining import explain, lines_of
from swinunet.gateway.routing.models import judge_models, refusal_of
from swinunet.gateway.routing.routes import SeriesFacts, matching_routes, mismatch

ROUTE = RouteConfig("all", ("out",))
SPECS = {"small": SMALL_SPEC}
HEAD, LUNG = SeriesFacts("MR", "t1 mprage sag"), SeriesFacts("CT", "Lung 1.0")


@pytest.mark.parametrize(
    ("narrowed", "senders", "why"),
    [
        ({}, ["MR1"], ""),
        ({"calling_ae": ("MR1", "MR2")}, ["MR2"], ""),
        ({"calling_ae": ("MR1",)}, ["MR2"], "it was sent by MR2, the route takes MR1"),
        ({"modality": ("CT", "MR")}, ["MR1"], ""),
        ({"modality": ("PT",)}, ["MR1"], "its modality is CT or MR, the route takes PT"),
        ({"description": ("MPRAGE",)}, ["MR1"], ""),
        ({"description": ("flair",)}, ["MR1"], "no series is described as flair"),
        ({"modality": ("CT",), "description": ("mprage",)}, ["MR1"], "no series is described as mprage"),
    ],
)
def test_a_route_is_narrowed(narrowed: dict[str, tuple[str, ...]], senders: list[str], why: str) -> None:
    route = dataclasses.replace(ROUTE, **narrowed)
    assert mismatch(route, senders, [HEAD, LUNG]) == why
    assert matching_routes([route], senders, [HEAD, LUNG]) == ([] if why else [route])


def test_a_study_may_take_several_routes() -> None:
    other = dataclasses.replace(ROUTE, name="ct", modality=("CT",))
    assert matching_routes([ROUTE, other], ["MR1"], [HEAD, LUNG]) == [ROUTE, other]


def test_a_model_takes_what_its_rules_let_it(tmp_path: Path) -> None:
    save(tmp_path, make_study(6))
    (verdict,) = judge_models(scan_folder(tmp_path), ROUTE, SPECS)
    ((taken,),) = verdict.taken
    assert verdict.reasons == ((taken.selector, "taken"),)
    assert refusal_of([verdict]) == ""


def test_what_is_larger_than_a_crop_is_read_where_a_locator_finds_the_boxes(tmp_path: Path) -> None:
    """20 x 20 pixels of 10 mm against a field of view of 48 mm."""
    stored = np.random.default_rng(0).integers(0, 1000, (6, 20, 20)).astype(np.uint16)
    save(tmp_path, make_series(stored, pixel_spacing_mm=(10.0, 10.0)))
    whole = dataclasses.replace(CROPPED, boxes=None)
    for spec, taken in ((CROPPED, 1), (whole, 0)):
        (verdict,) = judge_models(scan_folder(tmp_path), ROUTE, {"cropped": spec})
        assert len(verdict.taken) == taken
    assert "do not fit the model's field of view of 48 x 48 mm" in refusal_of([verdict])


def test_a_study_of_another_modality_is_refused_in_words(tmp_path: Path) -> None:
    save(tmp_path, make_study(6, Modality="CT"))
    verdicts = judge_models(scan_folder(tmp_path), ROUTE, SPECS)
    assert refusal_of(verdicts) == "small: its modality is CT, the model reads MR"


def test_a_series_that_is_no_volume_is_refused_with_its_verdict(tmp_path: Path) -> None:
    study = make_study(6)
    save(tmp_path, [*study[:2], *study[4:]])
    said = refusal_of(judge_models(scan_folder(tmp_path), ROUTE, SPECS))
    assert said.startswith("small: gap: ")


def test_two_series_that_could_be_meant(tmp_path: Path) -> None:
    for seed in (1, 2):
        save(tmp_path / str(seed), make_study(6, seed))
    scan = scan_folder(tmp_path)
    assert refusal_of(judge_models(scan, ROUTE, SPECS)) == ("small: 2 series could be meant, and the route takes one")
    (verdict,) = judge_models(scan, dataclasses.replace(ROUTE, several_series="each"), SPECS)
    assert len(verdict.taken) == 2


def test_a_series_in_time_is_one_volume_to_read(tmp_path: Path) -> None:
    save(tmp_path / "cine", make_cine(3, 4, shape=(8, 8)))
    (verdict,) = judge_models(scan_folder(tmp_path), ROUTE, SPECS)
    (phases,) = verdict.taken
    assert [one.phase.number for one in phases if one.phase] == [1, 2, 3]
    assert [why for _, why in verdict.reasons] == ["taken"] * 3
    save(tmp_path / "other", make_cine(2, 4, shape=(8, 8)))
    scan = scan_folder(tmp_path)
    assert refusal_of(judge_models(scan, ROUTE, SPECS)) == "small: 2 series could be meant, and the route takes one"
    (verdict,) = judge_models(scan, dataclasses.replace(ROUTE, several_series="each"), SPECS)
    assert sorted(len(volume) for volume in verdict.taken) == [2, 3]


def test_a_series_in_time_with_a_broken_phase_is_refused_with_its_verdict(tmp_path: Path) -> None:
    cine = make_cine(3, 4, shape=(8, 8))
    save(tmp_path, [one for one in cine if one.InstanceNumber != 8])  # the second phase lacks its third slice
    said = refusal_of(judge_models(scan_folder(tmp_path), ROUTE, SPECS))
    assert said.startswith("small: gap: ")


def test_the_route_narrows_the_series_too(tmp_path: Path) -> None:
    save(tmp_path / "t1", make_study(6, 1))
    save(tmp_path / "t2", make_study(6, 2, SeriesDescription="t2 flair"))
    (verdict,) = judge_models(scan_folder(tmp_path), dataclasses.replace(ROUTE, description=("flair",)), SPECS)
    ((taken,),) = verdict.taken
    assert taken.description == "t2 flair"


def test_another_body_part_is_read_only_by_a_model_that_the_route_names(tmp_path: Path) -> None:
    save(tmp_path, make_study(6, BodyPartExamined="KNEE"))
    scan = scan_folder(tmp_path)
    assert refusal_of(judge_models(scan, ROUTE, SPECS)) == "small: its body part is KNEE, the model reads BRAIN"
    (verdict,) = judge_models(scan, dataclasses.replace(ROUTE, models=("small",)), SPECS)
    assert len(verdict.taken) == 1


def test_a_model_that_is_not_served(tmp_path: Path) -> None:
    save(tmp_path, make_study(6))
    verdicts = judge_models(scan_folder(tmp_path), dataclasses.replace(ROUTE, models=("lung",)), SPECS)
    assert refusal_of(verdicts) == "none of the route's models is served"


def test_several_models_read_one_study(tmp_path: Path) -> None:
    save(tmp_path, make_study(6))
    specs = {"small": SMALL_SPEC, "other": dataclasses.replace(SMALL_SPEC, name="other")}
    verdicts = judge_models(scan_folder(tmp_path), ROUTE, specs)
    assert [each.model for each in verdicts if each.taken] == ["small", "other"]


def test_explain_says_what_would_be_done(tmp_path: Path) -> None:
    save(tmp_path / "study", make_study(6))
    config = make_config(tmp_path, routes=[
        {"name": "heads", "destinations": ["out"]},
        {"name": "lungs", "destinations": ["out"], "modality": ["CT"]},
    ])  # fmt: skip
    said = "\n".join(lines_of(explain(tmp_path / "study", config.routes, SPECS)))
    assert "1 series, 6 images, 0 other DICOM objects" in said
    assert "route heads:\n  small, series " in said
    assert ": taken\n  seg, sr would go to out" in said
    assert "route lungs:\n  does not take it: its modality is MR, the route takes CT" in said


def test_explain_on_the_command_line(tmp_path: Path) -> None:
    save(tmp_path / "study", make_study(6, Modality="CT"))
    (tmp_path / "gateway.toml").write_text(
        'spool = "spool"\n[[peers]]\nname = "out"\nkind = "folder"\nfolder = "out"\n'
        '[[routes]]\nname = "all"\ndestinations = ["out"]\n'
    )
    done = run_here("gateway", "explain", str(tmp_path / "study"), "--config", str(tmp_path / "gateway.toml"))
    assert done.returncode == 0, done.stderr
    assert "the study would be refused" in done.stdout
    assert not (tmp_path / "spool").exists()
