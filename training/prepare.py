"""Data to a run: open the folder, look it over, refuse or skip what is broken, say what was found, derive the spec.

prepared = prepare(Path("Task04_Hippocampus"), (64, 64))
prepared.folder     # its usable cases
prepared.spec       # what the model will be
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from imaging import ModelSpec, Provenance
from swinunet.errors import InputError
from swinunet.files import write_whole
from training.choices import SpecChoices
from training.data_report import print_data, print_spec
from training.derive_spec import Derived, derive_spec, size_hint, too_large
from training.fingerprint import Fingerprint, look_over
from training.folders import DataFolder


@dataclass(frozen=True)
class Prepared:
    """A folder that can be trained on. folder: usable cases only. reasons: of the spec's fields, by name."""

    folder: DataFolder
    spec: ModelSpec
    fingerprint: Fingerprint
    reasons: dict[str, str]

    def write(self, run: Path) -> None:
        """Write `fingerprint.json` and `spec.json` (as `--spec` reads it) into the run folder. Raises OutputError.

        The spec goes without provenance: one that was brought along is that of another model.
        """
        said = self.fingerprint.as_dict() | {"spec_reasons": self.reasons}
        spec = json.loads(dataclasses.replace(self.spec, provenance=Provenance()).to_json())
        for name, content in (("fingerprint.json", said), ("spec.json", spec)):
            write_whole(run / name, (json.dumps(content, indent=1) + "\n").encode())


def prepare(
    data: Path,
    input_size: tuple[int, int],
    *,
    spec: ModelSpec | None = None,
    choices: SpecChoices | None = None,
    skip_broken: bool = False,
    console: Console | None = None,
) -> Prepared:
    """Look `data` over and derive the spec for a network of `input_size` (H, W).

    spec: what the model is to be; None derives it. choices: what the user decides, over either. skip_broken: go on
    without broken cases. console: where progress and the table go; None prints nothing.
    Raises InputError if the data cannot be trained on, naming the first broken case.
    """
    folder = DataFolder.open(data, keep_broken=True)
    names = tuple(label.name for label in spec.labels) if spec else None
    if names and folder.indexed_labels is not None and len(names) != len(folder.indexed_labels):
        raise InputError(f"the spec has {len(names)} labels, the data {len(folder.indexed_labels)}")
    with _progress(console) as progress:
        task = progress.add_task("looking the data over", total=len(folder.cases))
        found = look_over(folder, names, lambda: progress.advance(task), pixel_mm=_pixel_mm(spec, choices))
    if console:
        print_data(found, console)
    _require_whole(found, skip_broken)
    derived = _derive(found, input_size, spec, choices or SpecChoices())
    found = found.without(too_large(found, derived.spec))
    _require_whole(found, skip_broken)
    if console:
        print_spec(derived, size_hint(found, derived.spec), console)
    if len(found.cases) < 2:
        raise InputError(
            f"{data}: {len(found.cases)} usable case; training needs two at least, one of them to validate on"
        )
    return Prepared(found.usable, derived.spec, found, derived.reasons)


def reopen(data: Path, run: Path) -> DataFolder:
    """The folder of a run that goes on: without the cases it skipped, and not looked over again.

    run: where `Prepared.write` wrote. Raises InputError if the run folder does not say which cases it uses, or they
    are no longer there.
    """
    try:
        said = json.loads((run / "fingerprint.json").read_text())
        used, names = {case["name"] for case in said["cases"]}, [each["name"] for each in said["classes"][1:]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run}: no usable fingerprint.json ({type(error).__name__}); start the run again") from None
    folder = DataFolder.open(data, keep_broken=True)
    cases = tuple(case for case in folder.cases if case.name in used)
    if len(cases) != len(used):
        raise InputError(f"{data}: {len(used)} cases were used when {run} was begun, {len(cases)} of them are there")
    return dataclasses.replace(folder, cases=cases, broken=(), indexed_labels=tuple(names))


def _pixel_mm(spec: ModelSpec | None, choices: SpecChoices | None) -> float | None:
    """Of images that do not say it, as the user decides, or the spec that was brought along."""
    return (choices.pixel_mm if choices else None) or (spec.pixel_mm if spec else None)


def _derive(found: Fingerprint, input_size: tuple[int, int], spec: ModelSpec | None, choices: SpecChoices) -> Derived:
    if spec is None:
        return derive_spec(found, input_size, choices)
    if spec.num_modalities != found.modalities:
        raise InputError(f"the spec is of a model of {spec.num_modalities} modalities, the data has {found.modalities}")
    fields = ("modality", "plane", "context", "spacing", "intensity")
    reasons = dict.fromkeys(fields, "the spec brought along") | dict.fromkeys(choices.said(), "chosen")
    return Derived(choices.applied(spec), reasons)


def _require_whole(found: Fingerprint, skip_broken: bool) -> None:
    if skip_broken or not found.broken:
        return
    count, total = len(found.broken), len(found.cases) + len(found.broken)
    first = f"{found.broken[0].name}: {found.broken[0].problem}"
    raise InputError(
        f"{found.folder.root}: {count} of {total} cases {'is' if count == 1 else 'are'} broken, "
        f"{'' if count == 1 else 'the first '}{first}; repair, or go on without with --skip-broken"
    )


def _progress(console: Console | None) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=console is None, transient=True)
