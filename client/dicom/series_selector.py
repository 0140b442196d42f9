"""Which of the volumes in a folder is meant: chosen by rules, each volume told why it is, or is not, the one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from swinunet.client.dicom.geometry import plane_of
from swinunet.client.dicom.series import Scan, Series, require_images
from swinunet.client.dicom.verdict import ALLOWANCES, VerdictKind
from swinunet.foundation.errors import GeometryError, InputError
from swinunet.imaging import ModelSpec

_LISTED = 20  # series named in one message
_SCOUTS = ("localizer", "localiser", "scout", "survey", "topogram", "surview")  # what descriptions call them
_NO_GEOMETRY = (VerdictKind.UNREADABLE, VerdictKind.COLOUR, VerdictKind.MOSAIC, VerdictKind.CONFLICTING_COPIES)


@dataclass(frozen=True)
class Choice:
    """What is to be read. taken: the one volume, None if none or several are left. reasons: for each of the scan's.

    phases: all of a series in time, if that is what is left, in their order; else empty.
    """

    taken: Series | None
    candidates: tuple[Series, ...]
    reasons: tuple[str, ...]
    phases: tuple[Series, ...] = ()


@dataclass(frozen=True)
class _Preference:
    """A rule that narrows the candidates, if any candidate meets it. reason: of those it leaves out."""

    met: Callable[[Series], bool]
    reason: str


def choose(
    scan: Scan,
    uid: str | None = None,
    modality: str | None = None,
    *,
    spec: ModelSpec | None = None,
    allow: Collection[str] = (),
) -> Choice:
    """Apply the rules to every volume of the scan, whatever else is wrong with it.

    uid: SeriesInstanceUID, or UID#NUMBER, or UID#NAME: it overrules all but the verdict and the modality.
    modality: the only one taken; a spec's own if a spec is given. spec: its body part, description, slice count and
    planes are preferred where some volume has them, as are volumes that are no localizers and no single slices.
    allow: verdicts to overrule, of `verdict.ALLOWANCES`. Raises InputError for one that is unknown.
    """
    unknown = set(allow) - set(ALLOWANCES)
    if unknown:
        raise InputError(
            f"--allow {sorted(unknown)[0]}: there is no such allowance; expected {' or '.join(ALLOWANCES)}"
        )
    wanted = spec.modality if spec else modality
    reasons = {}
    for series in scan.series:
        if uid is not None and not _is_called(series, uid):
            reasons[series.selector] = "not taken: another one was asked for"
        elif wanted is not None and series.modality != wanted:
            reasons[series.selector] = (
                f"not taken: its modality is {series.modality or 'none'}, the model reads {wanted}"
            )
        elif not series.verdict.readable(allow):
            reasons[series.selector] = f"not taken: {series.verdict.kind}"
        elif unknown_files := scan.may_belong_to(series):
            files = "an unreadable file" if len(unknown_files) == 1 else f"{len(unknown_files)} unreadable files"
            reasons[series.selector] = f"not taken: {files} may belong to it"
    left = [series for series in scan.series if series.selector not in reasons]
    for rule in _preferences(spec) if uid is None and spec else ():
        if any(map(rule.met, left)):
            reasons |= {series.selector: f"not taken: {rule.reason}" for series in left if not rule.met(series)}
            left = [series for series in left if rule.met(series)]
    alone = left[0] if len(left) == 1 and (not left[0].phase or _names_one(left[0], uid)) else None
    phases = () if alone else _whole_cycle(scan, left)
    if alone or phases:
        why = "it was asked for" if uid else "the only one that fits"
        reasons |= {one.selector: f"taken: {why}" for one in left}
    else:
        reasons |= {one.selector: f"one of {len(left)} that fit: choose with --series {one.selector}" for one in left}
    return Choice(alone, tuple(left), tuple(reasons[one.selector] for one in scan.series), phases)


def _whole_cycle(scan: Scan, left: Sequence[Series]) -> tuple[Series, ...]:
    """The volumes that are left, if they are all phases of one series in time; else none."""
    if not left or any(siblings(scan, one) != siblings(scan, left[0]) for one in left):
        return ()
    return tuple(left) if len(siblings(scan, left[0])) == len(left) else ()


def siblings(scan: Scan, series: Series) -> tuple[Series, ...]:
    """All phases of the series in time that a volume is one of, whatever their verdicts; itself if it is none."""
    if series.phase is None:
        return (series,)
    group = series.phase.group
    return tuple(one for one in scan.series if one.uid == series.uid and one.phase and one.phase.group == group)


def volumes_of(scan: Scan) -> list[tuple[Series, ...]]:
    """The volumes of a scan, all phases of a series in time together, in the order of the first of each."""
    return list(dict.fromkeys(siblings(scan, series) for series in scan.series))


def selector_of(phases: Sequence[Series]) -> str:
    """What `--series` takes for a volume, or for all phases of a series in time."""
    if len(phases) == 1 or not phases[0].phase:
        return phases[0].selector
    group = phases[0].phase.group
    return f"{phases[0].uid}#{group}" if group else phases[0].uid


def select_series(
    scan: Scan,
    uid: str | None = None,
    modality: str | None = None,
    *,
    spec: ModelSpec | None = None,
    allow: Collection[str] = (),
) -> Series:
    """The one volume to read, as `choose` finds it; of a series in time one phase must be named.

    Raises InputError if there is nothing to choose, more than one, or only series of another modality, and
    GeometryError with the verdict if the series is no volume. A broken file that may belong to the series is an error.
    """
    found = select_volumes(scan, uid, modality, spec=spec, allow=allow)
    if len(found) > 1:
        raise _ambiguous(scan, found)
    return found[0]


def select_volumes(
    scan: Scan,
    uid: str | None = None,
    modality: str | None = None,
    *,
    spec: ModelSpec | None = None,
    allow: Collection[str] = (),
) -> tuple[Series, ...]:
    """The one volume to read, or all phases of the one series in time, in their order, as `choose` finds them.

    Raises what `select_series` raises; and for a series in time the verdict on its first phase that is no volume, or
    that lacks slices which others have, whatever is allowed: phases are compared with each other.
    """
    require_images(scan)
    choice = choose(scan, uid, modality, spec=spec, allow=allow)
    if choice.taken:
        return (choice.taken,)
    if scan.unreadable and not choice.candidates:
        _require_known(scan, _meant(scan, uid, spec.modality if spec else modality))
    if not choice.candidates:
        raise _nothing_left(scan, uid, spec.modality if spec else modality)
    cycle = siblings(scan, choice.candidates[0])
    if any(one not in cycle for one in choice.candidates) or cycle[0].phase is None:
        raise _ambiguous(scan, choice.candidates)
    for one in cycle:
        if one not in choice.candidates or (one.phase and one.phase.lacks):
            raise refusal(one)
    return choice.phases


def _ambiguous(scan: Scan, candidates: tuple[Series, ...]) -> InputError:
    key = "UID#NUMBER" if any(one.total > 1 for one in candidates) else "UID"
    return InputError(
        f"{scan.folder}: {_several(candidates)} could be meant, choose one with --series {key}: {_listing(candidates)}"
    )


def passed_over(scan: Scan, choice: Choice) -> tuple[str, ...]:
    """A sentence on each volume of the scan that was not taken, and on its other files; nothing about the patient."""
    total = len(scan.series)
    found = [
        f"Volume {number} of {total} ({one.modality or 'no modality'}, {len(one.frames)} frames, {one.verdict.kind}): "
        f"{reason}."
        for number, (one, reason) in enumerate(zip(scan.series, choice.reasons, strict=True), start=1)
        if one is not choice.taken and one not in choice.phases
    ]
    counts = {"unreadable DICOM files": len(scan.unreadable), "files that are no DICOM": scan.not_dicom}
    return *found, *(f"{count} {what}." for what, count in counts.items() if count)


def _require_known(scan: Scan, meant: tuple[Series, ...]) -> None:
    """Raise InputError if files that cannot be read may belong to a series that is meant, or there is no series."""
    files = tuple(dict.fromkeys(file for one in meant for file in scan.may_belong_to(one)))
    if not scan.series:
        files = scan.unreadable
    if files:
        raise InputError(
            f"{files[0].name}: {files[0].fault}, so it is unknown to which series it belongs"
            f"{f' ({len(files)} such files)' if len(files) > 1 else ''}; "
            "fetch the study again, or remove the file"
        )


def _meant(scan: Scan, uid: str | None, modality: str | None) -> tuple[Series, ...]:
    """The series of that UID and modality, None for any."""
    return tuple(
        one
        for one in scan.series
        if (uid is None or _is_called(one, uid)) and (modality is None or one.modality == modality)
    )


def _is_called(series: Series, uid: str) -> bool:
    group = series.phase.group if series.phase else ""
    return uid in (series.uid, f"{series.uid}#{group}") or _names_one(series, uid)


def _names_one(series: Series, uid: str | None) -> bool:
    """Whether this names one volume of the several of its series."""
    return uid in (series.selector, f"{series.uid}#{series.name}")


def rules_met(series: Series, spec: ModelSpec) -> tuple[bool, ...]:
    """Which of the spec's preferences a series meets, the most important one first."""
    return tuple(rule.met(series) for rule in _preferences(spec))


def refusal(series: Series) -> InputError:
    """The error for a series that is refused, by name and with the numbers."""
    kind, sentence = series.verdict.kind, series.verdict.sentence
    return (InputError if kind in _NO_GEOMETRY else GeometryError)(f"series {series.selector}: {kind}: {sentence}")


def _preferences(spec: ModelSpec) -> tuple[_Preference, ...]:
    described = " or ".join(spec.descriptions)
    return (
        _Preference(lambda one: not one.body_part or one.body_part == spec.body_part, f"not of {spec.body_part}"),
        _Preference(lambda one: one.body_part == spec.body_part, f"it does not say that it is of {spec.body_part}"),
        _Preference(_is_no_scout, "a localizer, by its image type or description"),
        _Preference(lambda one: _is_described(one, spec.descriptions), f"its description does not say {described}"),
        _Preference(lambda one: len(one.frames) > 1, "a single slice"),
        _Preference(lambda one: len(one.frames) >= spec.min_slices, f"fewer than {spec.min_slices} slices"),
        _Preference(
            lambda one: "acquired" in spec.planes or plane_of(one.frames[0]) in spec.planes,
            f"its slices are not {' or '.join(spec.planes)}",
        ),
    )


def _is_described(series: Series, words: Collection[str]) -> bool:
    description = series.description.lower()
    return not words or any(word.lower() in description for word in words)


def _is_no_scout(series: Series) -> bool:
    description = series.description.lower()
    return not any(word in description for word in _SCOUTS) and "LOCALIZER" not in series.files[0].image_type


def _nothing_left(scan: Scan, uid: str | None, modality: str | None) -> InputError:
    series = scan.series
    if uid is not None:
        series = _meant(scan, uid, None)
        if not series:
            return InputError(f"{scan.folder}: no series {uid}; found {_listing(scan.series)}")
    if modality is not None:
        found = sorted({one.modality or "none" for one in series})
        series = tuple(one for one in series if one.modality == modality)
        if not series:
            return InputError(
                f"{scan.folder}: the modality is {', '.join(found)}, the model reads {modality}; "
                f"give a series of modality {modality}"
            )
    if len(series) == 1:
        return refusal(series[0])
    return InputError(
        f"{scan.folder}: none of {_several(series)} is a volume: {_listing(series)}; see `swinunet inspect`"
    )


def _several(volumes: tuple[Series, ...]) -> str:
    """How many series, or volumes where a series has several."""
    return f"{len(volumes)} {'volumes' if any(one.total > 1 for one in volumes) else 'series'}"


def _listing(series: tuple[Series, ...]) -> str:
    listed = "; ".join(f"{number}) {one.summary()}" for number, one in enumerate(series[:_LISTED], start=1))
    return listed + (f"; and {len(series) - _LISTED} more" if len(series) > _LISTED else "")
