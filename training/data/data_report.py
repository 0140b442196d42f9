"""The fingerprint of the data, and the spec that follows from it, as two short tables."""

from __future__ import annotations

from rich.console import Console

from swinunet.foundation.tables import Table
from swinunet.foundation.terminal import printable, show_table
from swinunet.imaging import Window, ZScore
from swinunet.training.data.derive_spec import Derived
from swinunet.training.data.fingerprint import Fingerprint

_SHOWN = 10  # broken cases; all are in fingerprint.json


def print_data(found: Fingerprint, console: Console) -> None:
    """Print the table of the usable cases, the first broken ones and the remarks."""
    show_table(_data_table(found), console=console)
    for case in found.broken[:_SHOWN]:
        _print(f"broken: {case.name}: {case.problem}", console)
    if len(found.broken) > _SHOWN:
        _print(f"broken: {len(found.broken) - _SHOWN} more", console)
    for remark in found.remarks:
        _print(f"note: {remark}", console)


def print_spec(derived: Derived, remarks: tuple[str, ...], console: Console) -> None:
    """Print what the model will be, and why; then the remarks that are not empty."""
    show_table(_spec_table(derived), figures_to_the_right=False, console=console)
    for remark in filter(None, remarks):
        _print(f"note: {remark}", console)


def _print(line: str, console: Console) -> None:
    console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _data_table(found: Fingerprint) -> Table:
    title = f"{found.folder.name}: {len(found.cases)} usable cases, {len(found.broken)} broken"
    rows: list[tuple[str, ...]] = []
    table = Table(title, ("", "smallest", "median", "largest"), rows)
    if not found.cases:
        return table

    def row(name: str, values: list[float], form: str = "g") -> None:
        ordered = sorted(values)
        shown = (ordered[0], ordered[len(ordered) // 2], ordered[-1])
        rows.append((name, *(f"{value:{form}}" for value in shown)))

    for axis, letter in enumerate(("left-right", "back-front", "head-feet")):
        row(f"{letter} voxels", [case.size[axis] for case in found.cases])
        row(f"{letter} spacing (mm)", [case.spacing_mm[axis] for case in found.cases], ".3g")
    for index in range(found.modalities):
        named = f" of {(found.folder.modalities or range(index + 1))[index]}" if found.modalities > 1 else ""
        row(f"median intensity{named}", [case.intensities[index][1] for case in found.cases], ".4g")
    voxels, cases = found.class_voxels(), found.class_cases()
    for index, name in enumerate(found.label_names, start=1):
        share = f"{100 * voxels[index] / sum(voxels):.3g} % of voxels, in {cases[index]} cases"
        row(f"{index} {name} (ml); {share}", [case.label_ml(index) for case in found.cases], ".3g")
    return table


def _spec_table(derived: Derived) -> Table:
    spec = derived.spec
    spacing = "stretched to the input" if spec.spacing_mm is None else "{:g} x {:g} mm".format(*spec.spacing_mm)
    shown = {
        "modality": ", ".join((spec.modality, *spec.modalities)),
        "plane": ", ".join(spec.planes),
        "context": f"{spec.context_slices} slices, {spec.context_step_mm:g} mm apart",
        "spacing": spacing,
        "intensity": ", ".join(map(_rule, spec.intensities or (spec.intensity,))),
    }
    rows = [(name, value, derived.reasons[name]) for name, value in shown.items()]
    return Table(f"{spec.name}: input {spec.in_channels} x {spec.input_size}", ("", "", "because"), rows)


def _rule(rule: Window | ZScore) -> str:
    if isinstance(rule, Window):
        return f"window {rule.low:g}..{rule.high:g}"
    named = "z-score" if rule.per == "volume" else f"z-score per {rule.per}"
    clipped = (rule.low_percentile, rule.high_percentile)
    return named if clipped == (0.5, 99.5) else "{} of {:g}..{:g} %".format(named, *clipped)
