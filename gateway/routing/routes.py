"""Which routes of the configuration concern a study, by who sent it and what its series say."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from swinunet.gateway.config.settings import RouteConfig


@dataclass(frozen=True)
class SeriesFacts:
    """What a route may ask of a series."""

    modality: str
    description: str


def matching_routes(
    routes: Sequence[RouteConfig], senders: Collection[str], series: Collection[SeriesFacts]
) -> list[RouteConfig]:
    """The routes that a study takes, all of them."""
    return [route for route in routes if not mismatch(route, senders, series)]


def mismatch(route: RouteConfig, senders: Collection[str], series: Collection[SeriesFacts]) -> str:
    """Why a route does not concern a study; empty if it does."""
    if route.calling_ae and not set(route.calling_ae) & set(senders):
        return f"it was sent by {_listed(senders)}, the route takes {_listed(route.calling_ae)}"
    found = {each.modality for each in series}
    if route.modality and not set(route.modality) & found:
        return f"its modality is {_listed(found)}, the route takes {_listed(route.modality)}"
    if not any(series_matches(route, each) for each in series):
        return f"no series is described as {_listed(route.description)}"
    return ""


def series_matches(route: RouteConfig, series: SeriesFacts) -> bool:
    """Whether a route lets a model read a series."""
    description = series.description.lower()
    return (not route.modality or series.modality in route.modality) and (
        not route.description or any(word.lower() in description for word in route.description)
    )


def _listed(words: Collection[str]) -> str:
    return " or ".join(sorted(filter(None, words))) or "none"
