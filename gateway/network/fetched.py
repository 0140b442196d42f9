"""What came of fetching a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from swinunet.gateway.contract import Answer


@dataclass(frozen=True)
class FetchedStudy:
    """How many instances of it were taken, and how many were not."""

    taken: int
    not_taken: int

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> FetchedStudy:
        """By the intake's answers."""
        taken = sum(answer.is_success for answer in answers)
        return cls(taken, len(answers) - taken)
