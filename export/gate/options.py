"""How a version is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swinunet.export.engines.registry import Engine, choose_judged
from swinunet.foundation.progress import Say, say_nothing


@dataclass(frozen=True)
class GateOptions:
    """engines: names of engines, or of libraries for all their precisions, that must pass; none judges all there are.

    serve: whether a real Triton is started on the version. bisect: name the first layer that drifts in graphs that
    fail. say: is told each step. assume_ras: of NIfTI files that are judged on, as in `read_nifti`. heads: folder of
    labelled whole images, on which a locator must find the boxes of a model that was trained on crops.
    """

    engines: Sequence[str] = ()
    serve: bool = True
    bisect: bool = False
    say: Say = say_nothing
    assume_ras: bool = False
    heads: Path | None = None

    def required_engines(self) -> tuple[Engine, ...]:
        """Those that must pass. Raises InputError for a name that the gate does not know."""
        return choose_judged(self.engines)
