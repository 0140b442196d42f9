"""Which of a route's models reads which series: by the spec's own rules, as `swinunet inspect` explains them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from swinunet.client.dicom import Scan, Series, choose, volumes_of
from swinunet.client.early_refusal import series_fault
from swinunet.gateway.config.settings import RouteConfig
from swinunet.gateway.routing.routes import SeriesFacts, series_matches
from swinunet.imaging import ModelSpec


@dataclass(frozen=True)
class ModelVerdict:
    """What one model does with a study. taken: the volumes that it reads, each a series, or all phases of a series in
    time. reasons: (selector, why) for each series.

    refusal: why it reads none, empty if it does.
    """

    model: str
    taken: tuple[tuple[Series, ...], ...]
    reasons: tuple[tuple[str, str], ...]
    refusal: str


def judge_models(scan: Scan, route: RouteConfig, specs: Mapping[str, ModelSpec]) -> list[ModelVerdict]:
    """The verdict of each model of the route, or of all that are served; those that are not served are left out."""
    names = route.models or tuple(specs)
    return [_judge(scan, route, name, specs[name]) for name in names if name in specs]


def refusal_of(verdicts: list[ModelVerdict]) -> str:
    """Why no model reads a study, in one line; empty if one does."""
    if any(verdict.taken for verdict in verdicts):
        return ""
    return (
        "; ".join(f"{verdict.model}: {verdict.refusal}" for verdict in verdicts)
        or "none of the route's models is served"
    )


def _judge(scan: Scan, route: RouteConfig, name: str, spec: ModelSpec) -> ModelVerdict:
    left_out = {
        series.selector: "not taken: the route does not take its modality or description"
        for series in scan.series
        if not series_matches(route, SeriesFacts(series.modality, series.description))
    }
    if not route.models:  # a model that nobody named must not read what says that it is of another part
        left_out |= {
            one.selector: f"not taken: its body part is {one.body_part}, the model reads {spec.body_part}"
            for one in scan.series
            if one.body_part and one.body_part != spec.body_part
        }
    narrowed = replace(scan, series=tuple(each for each in scan.series if each.selector not in left_out))
    if spec.modalities:
        return _refused(scan, name, left_out, f"it takes {spec.num_modalities} images at once, DICOM has one a series")
    choice = choose(narrowed, spec=spec, allow=route.allow)
    why = left_out | {one.selector: words for one, words in zip(narrowed.series, choice.reasons, strict=True)}
    fitting, candidates = [], set(choice.candidates)
    volumes = [each for each in volumes_of(narrowed) if candidates.issuperset(each)]
    for volume in volumes if len(volumes) == 1 or route.several_series == "each" else ():
        # Boxes, the route's or the locator's, are what is read then, however large the whole is.
        fault = "" if route.rois or spec.boxes else series_fault(volume[0], spec)
        why |= {series.selector: f"not taken: {fault}" if fault else "taken" for series in volume}
        if not fault:
            fitting.append(volume)
    if fitting:
        return ModelVerdict(name, tuple(fitting), _in_order(scan, why), "")
    if len(volumes) > 1:
        return _refused(scan, name, why, f"{len(volumes)} series could be meant, and the route takes one")
    # Of a series in time that is not whole it is the phases that are broken which say why.
    parts = [each for each in volumes_of(narrowed) if candidates.intersection(each)]
    broken = tuple(one for each in parts for one in each if one not in candidates)
    return _refused(scan, name, why, _main_reason(replace(narrowed, series=broken) if broken else narrowed, spec, why))


def _main_reason(scan: Scan, spec: ModelSpec, why: Mapping[str, str]) -> str:
    """The reason of the series that comes nearest: of the model's modality and body part, and the largest."""
    if not scan.series and why:
        return next(iter(why.values())).removeprefix("not taken: ")
    if not scan.series:
        broken = f", {len(scan.unreadable)} unreadable files" if scan.unreadable else ""
        return f"no series of images{broken}"
    nearest = max(
        scan.series,
        key=lambda one: (one.modality == spec.modality, one.body_part == spec.body_part, len(one.frames)),
    )
    words = why[nearest.selector].removeprefix("not taken: ")
    sentence = nearest.verdict.sentence
    return f"{words}: {sentence}" if words == nearest.verdict.kind else words


def _refused(scan: Scan, name: str, why: Mapping[str, str], refusal: str) -> ModelVerdict:
    return ModelVerdict(name, (), _in_order(scan, why), refusal)


def _in_order(scan: Scan, why: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((one.selector, why.get(one.selector, "not taken")) for one in scan.series)
