"""Which of several models a study is for: by the rules in their specs, or asked of the user with a list.

A model that only finds boxes for others (`ModelSpec.locating`) answers no question of a user, and is never chosen.
A series is for a model whose modality it has, unless it says that it is of another body part; of several such models
the one whose rules it meets best, in the order in which series are chosen (body part, description, number of slices,
planes). NIfTI says nothing of all that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence

from swinunet.client.dicom import Scan, Series, choose, scan_folder
from swinunet.client.dicom.series_selector import rules_met
from swinunet.client.inputs import has_nifti_name
from swinunet.client.study_list import Study
from swinunet.foundation.errors import InputError, SwinUNetError
from swinunet.imaging import ModelSpec


def answering(specs: Iterable[ModelSpec]) -> tuple[ModelSpec, ...]:
    """The models that a study can be for: not those that only find boxes for others."""
    return tuple(spec for spec in specs if spec.locating is None)


def describe_models(specs: Iterable[ModelSpec]) -> str:
    """A list for messages: name and what each takes and finds."""
    return "; ".join(
        f"{spec.name} ({spec.modality}, {spec.body_part or 'any body part'}: "
        f"{', '.join(label.name for label in spec.labels)})"
        for spec in specs
    )


def choose_model(study: Study, specs: Sequence[ModelSpec], allow: Collection[str] = ()) -> tuple[ModelSpec, Study]:
    """The model that a study is for, and the study with the headers that were read for it.

    specs: of the models that are served; at least one is no locator. allow: as `load_input`.
    Raises InputError, with the list of models, where none or several would do.
    """
    models = answering(specs)
    if not models:
        raise InputError(f"only locators are served ({describe_models(specs)}); serve a model that segments, too")
    if len(models) == 1:
        return models[0], study
    if not study.path.exists():
        raise InputError(f"{study.path}: no such file or folder")
    if study.path.is_file() and has_nifti_name(study.path):
        raise InputError(
            f"{study.path}: NIfTI does not say which model it is for, choose one with --model: "
            f"{describe_models(models)}"
        )
    scan = study.scan or scan_folder(study.path)
    study = dataclasses.replace(study, scan=scan)
    best = fitting_models(scan, models, study.series_uid, allow)
    if len(best) == 1:
        return best[0], study
    if best:
        raise InputError(
            f"{study.path}: {len(best)} models could be meant, choose one with --model: {describe_models(best)}"
        )
    raise InputError(
        f"{study.path}: no series in it is for one of the models: {describe_models(models)}; see `swinunet inspect`, "
        "or choose one with --model"
    )


def fitting_models(
    scan: Scan, specs: Sequence[ModelSpec], uid: str | None = None, allow: Collection[str] = ()
) -> tuple[ModelSpec, ...]:
    """The models that take a series of the scan and whose rules it meets best; several if they tie."""
    fits: list[tuple[tuple[bool, ...], ModelSpec]] = []
    for spec in answering(specs):
        candidates = choose(scan, uid, spec=spec, allow=allow).candidates
        met = [rules_met(series, spec) for series in candidates if not _is_of_another_part(series, spec)]
        if met:
            fits.append((max(met), spec))
    most = max((met for met, _ in fits), default=())
    return tuple(spec for met, spec in fits if met == most)


def models_for_series(series: Series, scan: Scan, specs: Sequence[ModelSpec]) -> tuple[ModelSpec, ...]:
    """The models that take this series if it comes alone, best first only: as `fitting_models` has them."""
    return fitting_models(dataclasses.replace(scan, series=(series,)), specs)


def _is_of_another_part(series: Series, spec: ModelSpec) -> bool:
    return bool(series.body_part and spec.body_part and series.body_part != spec.body_part)


@dataclasses.dataclass(frozen=True, eq=False)
class Assigned:
    """A study and the name of the model it is for, None for the only one there is; error: why there is none."""

    study: Study
    model: str | None
    error: SwinUNetError | None = None


def assign_models(
    studies: Sequence[Study], specs: Sequence[ModelSpec], allow: Collection[str] = ()
) -> tuple[Assigned, ...]:
    """Each study with the model it is for, in their order. specs, allow: as `choose_model`."""
    if len(answering(specs)) < 2:
        return tuple(Assigned(study, None) for study in studies)
    found = []
    for study in studies:
        try:
            spec, scanned = choose_model(study, specs, allow)
        except SwinUNetError as error:
            found.append(Assigned(study, None, error))
            continue
        # A scan holds an archive open, and there may be thousands.
        keeps = study.scan is not None or len(studies) == 1 or not study.path.is_file()
        found.append(Assigned(scanned if keeps else study, spec.name))
    return tuple(found)
