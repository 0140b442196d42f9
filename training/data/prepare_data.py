"""From a folder to data that can be trained on: examine it, refuse or skip broken cases, report, derive the spec.

prepared = prepare(Path("Task04_Hippocampus"), (64, 64))
prepared.folder     # its usable cases
prepared.spec       # what the model will be
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from swinunet.foundation.errors import InputError
from swinunet.foundation.files import write_whole
from swinunet.foundation.progress import work_progress
from swinunet.imaging import ModelSpec, Provenance
from swinunet.training.data.cases import split_cases
from swinunet.training.data.data_report import print_data, print_spec
from swinunet.training.data.derive_spec import Derived, derive_spec, size_hint, slices_hint, too_large
from swinunet.training.data.fingerprint import Fingerprint, examine_folder
from swinunet.training.data.folders import CasePaths, DataFolder
from swinunet.training.data.given_split import split_as_given
from swinunet.training.data.spec_overrides import SpecOverrides
from swinunet.training.data.volume_store import VolumeStore


@dataclass(frozen=True, eq=False)
class Prepared:
    """Data that can be trained on. folder: usable cases only. store: their volumes, as far as they were kept.

    fingerprint: None in a run that goes on, which has it in its folder. reasons: of the spec's fields, by name.
    """

    folder: DataFolder
    spec: ModelSpec
    store: VolumeStore
    fingerprint: Fingerprint | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def provenance(self) -> Provenance:
        """What the folder says of its data set."""
        return Provenance(self.folder.name, self.folder.licence, self.folder.attribution)

    def split(
        self, validation_fraction: float, seed: int, group_by: str = "", earlier: Path | None = None
    ) -> tuple[list[CasePaths], list[CasePaths]]:
        """Training and validation cases: those of the `earlier` split.json (`split_as_given`), or see `split_cases`."""
        if earlier:
            return split_as_given(self.folder.cases, earlier)
        return split_cases(self.folder.cases, validation_fraction, seed, group_by)

    def write(self, run: Path) -> None:
        """Write `fingerprint.json` and `spec.json` (as `--spec` reads it) into the run folder. Raises OutputError.

        The spec goes without provenance: one that was brought along is that of another model.
        """
        assert self.fingerprint is not None
        found = self.fingerprint.as_dict() | {"spec_reasons": self.reasons}
        spec = json.loads(dataclasses.replace(self.spec, provenance=Provenance()).to_json())
        for name, content in (("fingerprint.json", found), ("spec.json", spec)):
            write_whole(run / name, (json.dumps(content, indent=1) + "\n").encode())


def prepare(
    data: Path,
    input_size: tuple[int, int],
    *,
    spec: ModelSpec | None = None,
    overrides: SpecOverrides | None = None,
    skip_broken: bool = False,
    console: Console | None = None,
    store: VolumeStore | None = None,
    assume_ras: bool = False,
) -> Prepared:
    """Examine `data` and derive the spec for a network of `input_size` (H, W).

    spec: what the model is to be; None derives it. overrides: fields of the spec that the user sets. skip_broken: go
    on without broken cases. console: where progress and the table go; None prints nothing. store: keeps the volumes
    that are read, for the run that follows; None keeps none. assume_ras: of `CasePaths`.
    Raises InputError if the data cannot be trained on, naming the first broken case.
    """
    folder, store = DataFolder.open(data, keep_broken=True, assume_ras=assume_ras), store or VolumeStore(0)
    names = tuple(label.name for label in spec.labels) if spec else None
    if names and folder.indexed_labels is not None and len(names) != len(folder.indexed_labels):
        raise InputError(f"the spec has {len(names)} labels, the data {len(folder.indexed_labels)}")
    pixel_mm = (overrides.pixel_mm if overrides else None) or (spec.pixel_mm if spec else None)
    with work_progress(shown=console is not None) as progress:
        task = progress.add_task("examining the data", total=len(folder.cases))
        found = examine_folder(folder, names, lambda: progress.advance(task), store=store, pixel_mm=pixel_mm)
    if console:
        print_data(found, console)
    _require_whole(found, skip_broken)
    derived = _derive(found, input_size, spec, overrides or SpecOverrides())
    found = found.without(too_large(found, derived.spec))
    _require_whole(found, skip_broken)
    if console:
        print_spec(derived, (size_hint(found, derived.spec), slices_hint(found, derived.spec)), console)
    if len(found.cases) < 2:
        raise InputError(
            f"{data}: {len(found.cases)} usable case; training needs two at least, one of them to validate on"
        )
    return Prepared(found.usable, derived.spec, store, found, derived.reasons)


def reopen(data: Path, run: Path, spec: ModelSpec, *, assume_ras: bool = False) -> Prepared:
    """The data of a run that goes on: without the cases it skipped, and not examined again.

    run: where `Prepared.write` wrote; spec, assume_ras: the run's. Raises InputError if the run folder does not say
    which cases it uses, or they are no longer there.
    """
    try:
        found = json.loads((run / "fingerprint.json").read_text())
        used, names = {case["name"] for case in found["cases"]}, [each["name"] for each in found["classes"][1:]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run}: no usable fingerprint.json ({type(error).__name__}); start the run again") from None
    folder = DataFolder.open(data, keep_broken=True, assume_ras=assume_ras)
    cases = tuple(case for case in folder.cases if case.name in used)
    if len(cases) != len(used):
        raise InputError(f"{data}: {len(used)} cases were used when {run} was begun, {len(cases)} of them are there")
    usable = dataclasses.replace(folder, cases=cases, broken=(), indexed_labels=tuple(names))
    return Prepared(usable, spec, VolumeStore(0))


def _derive(
    found: Fingerprint, input_size: tuple[int, int], spec: ModelSpec | None, overrides: SpecOverrides
) -> Derived:
    if spec is None:
        return derive_spec(found, input_size, overrides)
    if spec.num_modalities != found.modalities:
        raise InputError(f"the spec is of a model of {spec.num_modalities} modalities, the data has {found.modalities}")
    fields = ("modality", "plane", "context", "spacing", "intensity")
    reasons = dict.fromkeys(fields, "the spec brought along") | dict.fromkeys(overrides.overridden(), "chosen")
    return Derived(overrides.applied_to(spec), reasons)


def _require_whole(found: Fingerprint, skip_broken: bool) -> None:
    if skip_broken or not found.broken:
        return
    count, total = len(found.broken), len(found.cases) + len(found.broken)
    first = f"{found.broken[0].name}: {found.broken[0].problem}"
    raise InputError(
        f"{found.folder.root}: {count} of {total} cases {'is' if count == 1 else 'are'} broken, "
        f"{'' if count == 1 else 'the first '}{first}; repair, or go on without with --skip-broken"
    )
