"""What the gateway would do with a folder of DICOM files, and why: a dry run that sends and stores nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from swinunet.client.dicom import Scan, require_images, scan_folder
from swinunet.gateway.config.settings import RouteConfig
from swinunet.gateway.routing.models import ModelVerdict, judge_models
from swinunet.gateway.routing.routes import SeriesFacts, mismatch
from swinunet.imaging import ModelSpec


@dataclass(frozen=True)
class RouteExplanation:
    """mismatch: why the route does not concern the study, empty if it does. verdicts: of its models."""

    route: RouteConfig
    mismatch: str
    verdicts: tuple[ModelVerdict, ...]


@dataclass(frozen=True)
class Explanation:
    """What each route would do with a study."""

    scan: Scan
    routes: tuple[RouteExplanation, ...]


def explain(
    folder: Path, routes: Sequence[RouteConfig], specs: Mapping[str, ModelSpec], calling_ae: str | None = None
) -> Explanation:
    """Judge a folder as one study. calling_ae: as which it would be sent; None: as any that a route takes.

    Raises InputError if there is no image in it.
    """
    scan = scan_folder(folder)
    require_images(scan)
    facts = [SeriesFacts(series.modality, series.description) for series in scan.series]
    found = []
    for route in routes:
        senders = [calling_ae] if calling_ae is not None else list(route.calling_ae)
        why = mismatch(route, senders, facts)
        verdicts = () if why else tuple(judge_models(scan, route, specs))
        found.append(RouteExplanation(route, why, verdicts))
    return Explanation(scan, tuple(found))


def lines_of(explanation: Explanation) -> list[str]:
    """An explanation in words, a line for each thing."""
    scan = explanation.scan
    images = sum(len(series.files) for series in scan.series)
    lines = [f"{scan.folder}: {len(scan.series)} series, {images} images, {scan.not_images} other DICOM objects"]
    for each in explanation.routes:
        lines.append(f"route {each.route.name}:")
        if each.mismatch:
            lines.append(f"  does not take it: {each.mismatch}")
            continue
        lines += [f"  {line}" for line in _models(each)]
        if any(verdict.taken for verdict in each.verdicts):
            wanted = ", ".join(name for name in each.route.outputs if name in ("seg", "sr"))
            lines.append(f"  {wanted} would go to {', '.join(each.route.destinations)}")
        else:
            lines.append("  the study would be refused")
    return lines


def _models(each: RouteExplanation) -> list[str]:
    lines = [] if each.verdicts else ["none of its models is there"]
    for verdict in each.verdicts:
        for selector, why in verdict.reasons:
            lines.append(f"{verdict.model}, series {selector}: {why}")
        if verdict.refusal:
            lines.append(f"{verdict.model} reads none: {verdict.refusal}")
    return lines
