"""Which cases of a data folder are judged: all, a part of a split, or those that are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swinunet.foundation.errors import InputError
from swinunet.foundation.files import sha256_of_file
from swinunet.foundation.nearest import did_you_mean
from swinunet.training.data.folders import CasePaths, DataFolder
from swinunet.training.data.split_file import Part, read_part

_LISTED = 5  # names in a message


@dataclass(frozen=True)
class Split:
    """Which part of which split file. file: as the user named it."""

    file: str
    sha256: str
    part: Part


@dataclass(frozen=True)
class Selection:
    """Cases to judge. data: the folder's name; class_names: of its foreground labels; words: which cases, in words.

    split: None where no split chose them.
    """

    data: str
    class_names: tuple[str, ...]
    cases: tuple[CasePaths, ...]
    words: str
    split: Split | None


def select_cases(
    data: Path,
    split: Path | None = None,
    part: Part = "validation",
    names: Sequence[str] | None = None,
    *,
    assume_ras: bool = False,
) -> Selection:
    """The cases of a folder that `split` (as `swinunet train` writes it) puts in `part`, or those of `names`.

    With both, `names` must be in the part; with neither, all. assume_ras: of `CasePaths`. Raises InputError for a
    folder without labelled cases, a broken split, or a name that is not there.
    """
    folder = DataFolder.open(data, assume_ras=assume_ras)
    found = {case.name: case for case in folder.cases}
    chosen, words, used = list(found), f"all {len(found)} cases", None
    if split is not None:
        used, chosen = _read_split(split, part)
        words = f"the {len(chosen)} {part} cases of {split}"
        _require(chosen, found, f"{split} names", f"{data} has")
    if names is not None:
        _require(names, dict.fromkeys(chosen), "--cases names", f"{words} are" if split else f"{data} has")
        chosen = [name for name in chosen if name in set(names)]
        words = f"{len(chosen)} by name of {words}"
    return Selection(folder.name, folder.label_names, tuple(found[name] for name in chosen), words, used)


def _read_split(split: Path, part: Part) -> tuple[Split, list[str]]:
    chosen = read_part(split, part)
    if not chosen:
        raise InputError(f"{split}: no list of {part} cases in it; expected the split.json of a run")
    return Split(str(split), sha256_of_file(split), part), chosen


def _require(names: Sequence[str], known: dict[str, object] | dict[str, CasePaths], who: str, where: str) -> None:
    unknown = [name for name in names if name not in known]
    if not names or unknown:
        listed = ", ".join(list(known)[:_LISTED]) + (", ..." if len(known) > _LISTED else "")
        asked = f"{unknown[0]!r}" if unknown else "no case"
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise InputError(f"{who} {asked}{more}; {where} {listed}{did_you_mean(unknown[0] if unknown else '', known)}")
