"""Which entries were in whose hands: a journal that outlives the process, so that a study that kills is found out.

OUT/manifest/SHARD-attempts.jsonl    {"begun": ENTRY} before work on an entry, {"ended": ENTRY} when its worker gave it
                                     back, {"died": ENTRY} when its worker is known to have died

An entry that was begun and never ended died with the process that wrote the journal. Each start writes it anew, with
what is still open.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import IO

from swinunet.foundation.errors import InputError
from swinunet.foundation.files import unwritable, write_whole


class Attempts:
    """The journal of one shard. deaths: by entry, of workers that had it in hand.

    Raises InputError for a journal that is damaged before its last line, OutputError where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.deaths = _deaths_in(path)
        lines = [json.dumps({"died": entry}) for entry in self.deaths.elements()]
        write_whole(path, "".join(f"{line}\n" for line in lines).encode())
        self._path = path
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def begin(self, entry: str) -> None:
        """An entry is given to a worker."""
        self._write("begun", entry)

    def end(self, entry: str) -> None:
        """Its worker gave an entry back, done or not."""
        self._write("ended", entry)

    def died(self, entry: str) -> int:
        """An entry's worker died; returns how many have."""
        self.deaths[entry] += 1
        self._write("died", entry)
        return self.deaths[entry]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, what: str, entry: str) -> None:
        try:
            self._file.write(json.dumps({what: entry}) + "\n")
            self._file.flush()
        except OSError as error:
            raise unwritable(self._path, error) from None


def _deaths_in(path: Path) -> Counter[str]:
    """By entry: how often it was said to have died, and once more if it was begun last and nothing was said since."""
    deaths: Counter[str] = Counter()
    open_: set[str] = set()
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            ((what, entry),) = json.loads(line).items()
        except (ValueError, AttributeError):
            if number == len(lines):  # the process died while it wrote this
                break
            raise InputError(f"{path}: line {number} is none of this journal; remove the file to go on") from None
        if what == "begun":
            open_.add(entry)
        else:
            open_.discard(entry)
        deaths[entry] += what == "died"
    deaths.update(open_)
    return +deaths
