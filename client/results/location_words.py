"""How boxes were found, in words: for the terminal, the picture and the page."""

from __future__ import annotations

from swinunet.client.results.report import LocatedSide, Location


def how_located(location: Location) -> str:
    """Who found the boxes, and the probability of each, "not found" where there is none."""
    sides = (f"{_name(side)} {'not found' if side.fault else f'{side.probability:.2f}'}" for side in location.sides)
    return f"Boxes by {location.locator} {location.version}, probability: {', '.join(sides)}"


def not_located(location: Location) -> tuple[str, ...]:
    """A sentence for each box that was not found, with the reason."""
    return tuple(
        f"{_name(side).capitalize()} not found ({side.fault}): it may lie outside the image, and is not in the result"
        for side in location.sides
        if side.fault
    )


def _name(side: LocatedSide) -> str:
    return side.laterality or side.label
