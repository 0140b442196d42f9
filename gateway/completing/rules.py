"""The rule of completeness as a function of what was observed: no clock, no ledger."""

from __future__ import annotations

from dataclasses import dataclass

from swinunet.gateway.config.settings import CompletenessConfig


@dataclass(frozen=True)
class Observed:
    """A study that receives. silent_s: since its last image; waited_s: since its first. images: that are here.

    expected: what the PACS said when it was asked since the last image came; None if it was not, or does not know.
    count_failed: it was asked, and there was no answer. open_associations: that brought images of it.
    """

    silent_s: float
    waited_s: float
    images: int
    open_associations: int
    expected: int | None = None
    count_failed: bool = False


@dataclass(frozen=True)
class Judgement:
    """reason: why the study is complete; empty while it is not. ask: whether the PACS is to be asked now.

    again_in_s: when this should be judged again if nothing happens.
    """

    reason: str = ""
    ask: bool = False
    again_in_s: float = 0.0


def judge_completeness(rule: CompletenessConfig, seen: Observed) -> Judgement:
    """Whether a study is complete, by one rule. One that was longest awaited goes on, and says what it lacks."""
    if seen.waited_s >= rule.longest_wait_s:
        return Judgement(_after_longest_wait(rule, seen))
    counts = rule.count_from is not None and not seen.count_failed
    if counts and seen.expected is not None and seen.images >= seen.expected:
        return Judgement(f"{rule.count_from} has {seen.expected} images, all are here")
    waits = [rule.longest_wait_s - seen.waited_s]
    if counts:
        if seen.silent_s >= rule.count_after_s:
            # With fewer images than there are, silence means nothing: the rest is on its way.
            return Judgement(ask=seen.expected is None, again_in_s=min(waits))
        waits.append(rule.count_after_s - seen.silent_s)
        return Judgement(again_in_s=min(waits))
    if seen.silent_s >= rule.study_silence_s:
        return Judgement(f"no image for {rule.study_silence_s:g} s")
    waits.append(rule.study_silence_s - seen.silent_s)
    if rule.series_silence_s is not None and not seen.open_associations:
        if seen.silent_s >= rule.series_silence_s:
            return Judgement(f"all associations ended, no series got an image for {rule.series_silence_s:g} s")
        waits.append(rule.series_silence_s - seen.silent_s)
    return Judgement(again_in_s=min(waits))


def strictest(judgements: list[Judgement]) -> Judgement:
    """What holds for a study that several rules concern: it is complete when all of them say so."""
    undecided = [each for each in judgements if not each.reason]
    if undecided:
        return Judgement(ask=any(each.ask for each in undecided), again_in_s=min(each.again_in_s for each in undecided))
    return Judgement("; ".join(dict.fromkeys(each.reason for each in judgements)))


def _after_longest_wait(rule: CompletenessConfig, seen: Observed) -> str:
    waited = f"after the longest wait of {rule.longest_wait_s:g} s"
    if seen.expected is not None and seen.images < seen.expected:
        return f"incomplete: {seen.images} of {seen.expected} images {waited}"
    return f"taken as complete with {seen.images} images {waited}"
