"""What the command line adds to an error about a path that is not there: the nearest one that is.

Only here, on the terminal of the person who typed it: names of files may be names of patients, and the errors of the
libraries go into logs, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from swinunet.foundation.errors import SwinUNetError


@contextmanager
def suggested_paths(typed: Sequence[object]) -> Iterator[None]:
    """Add a note to an error whose message names a typed path that does not exist but is like one that does.

    typed: the values of all options and arguments. A message that makes a suggestion itself is left as it is.
    """
    try:
        yield
    except SwinUNetError as error:
        message = str(error)
        named = [Path(each) for each in typed if isinstance(each, str | Path) and str(each) and str(each) in message]
        if named and "did you mean" not in message:
            from swinunet.foundation.nearest import nearest_path

            if (nearest := next(filter(None, map(nearest_path, named)), None)) is not None:
                error.add_note(f"did you mean {nearest}?")
        raise
