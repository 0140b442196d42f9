"""The rule of completeness, by what is observed; no clock and no ledger."""

from __future__ import annotations

import pytest

from swinunet.gateway.completing.rules import Judgement, Observed, judge_completeness, strictest
from swinunet.gateway.config.settings import CompletenessConfig

RULE = CompletenessConfig(study_silence_s=60, series_silence_s=10, longest_wait_s=600)
COUNTING = CompletenessConfig(
    study_silence_s=60, series_silence_s=10, longest_wait_s=600, count_from="pacs", count_after_s=2
)


def observed(silent_s: float, waited_s: float = 100, images: int = 118, opened: int = 0, **more: object) -> Observed:
    return Observed(silent_s, waited_s, images, opened, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (observed(9.9), ""),
        (observed(10), "all associations ended, no series got an image for 10 s"),
        (observed(10, opened=1), ""),
        (observed(59.9, opened=1), ""),
        (observed(60, opened=1), "no image for 60 s"),
        (observed(0, waited_s=600, opened=3), "taken as complete with 118 images after the longest wait of 600 s"),
    ],
)
def test_silence_and_the_end_of_associations(seen: Observed, reason: str) -> None:
    assert judge_completeness(RULE, seen).reason == reason


def test_it_says_when_to_look_again() -> None:
    assert judge_completeness(RULE, observed(4, opened=1)).again_in_s == 56
    assert judge_completeness(RULE, observed(4)).again_in_s == 6
    assert judge_completeness(RULE, observed(4, waited_s=598, opened=1)).again_in_s == 2


def test_a_rule_without_the_end_of_associations_waits_for_silence() -> None:
    rule = CompletenessConfig(study_silence_s=60, series_silence_s=None)
    assert judge_completeness(rule, observed(59)).reason == ""
    assert judge_completeness(rule, observed(60)).reason == "no image for 60 s"


def test_a_pacs_is_asked_once_its_series_are_silent() -> None:
    assert judge_completeness(COUNTING, observed(1)) == Judgement(ask=False, again_in_s=1)
    assert judge_completeness(COUNTING, observed(2)).ask


def test_a_count_that_is_reached_completes_at_once() -> None:
    assert judge_completeness(COUNTING, observed(2, images=120, opened=2, expected=120)).reason == (
        "pacs has 120 images, all are here"
    )


def test_a_count_that_is_not_reached_outweighs_silence() -> None:
    seen = observed(500, waited_s=599, expected=120)
    assert judge_completeness(COUNTING, seen) == Judgement(ask=False, again_in_s=1)


def test_after_the_longest_wait_it_goes_on_and_says_what_is_missing() -> None:
    reason = judge_completeness(COUNTING, observed(500, waited_s=600, expected=120)).reason
    assert reason == "incomplete: 118 of 120 images after the longest wait of 600 s"


def test_a_pacs_that_does_not_answer_leaves_it_to_silence() -> None:
    assert judge_completeness(COUNTING, observed(9, count_failed=True)).reason == ""
    assert judge_completeness(COUNTING, observed(10, count_failed=True)).reason.startswith("all associations ended")


def test_of_several_rules_the_strictest_counts() -> None:
    done, waiting, sooner = Judgement("silent"), Judgement(again_in_s=5), Judgement(ask=True, again_in_s=3)
    assert strictest([done, waiting]) == Judgement(again_in_s=5)
    assert strictest([done, waiting, sooner]) == Judgement(ask=True, again_in_s=3)
    assert strictest([done, Judgement("counted"), done]) == Judgement("silent; counted")
