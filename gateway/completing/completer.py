"""Watches the studies that receive, and makes them complete by their routes' rules.

Silence is measured by a clock that only advances, from the moment at which this process saw a study's activity change.
The wall clock counts once: for how long a study had been silent before this process saw it first, as after a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from swinunet.foundation.errors import SwinUNetError
from swinunet.gateway.completing.rules import Judgement, Observed, judge_completeness, strictest
from swinunet.gateway.config.settings import CompletenessConfig, RouteConfig
from swinunet.gateway.contract import SeriesCount
from swinunet.gateway.ledger.clock import Clock
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.studies import (
    Planned,
    ReceivingStudy,
    complete_study,
    note_expected,
    receiving_activity,
    receiving_study,
)
from swinunet.gateway.looping import Looping
from swinunet.gateway.names import shown_uid
from swinunet.gateway.routing.routes import SeriesFacts, matching_routes, mismatch

CountInstances = Callable[[str, str], Sequence[SeriesCount]]  # (peer, Study Instance UID); raises PeerError
_log = logging.getLogger(__name__)
_LOOK_S = 0.1
_NO_IMAGES = frozenset(
    {"SEG", "SR", "PR", "KO", "RTSTRUCT", "RTPLAN", "RTDOSE", "DOC", "AU", "ECG", "HD", "REG", "FID"}
)


@dataclass
class _Followed:
    """A study as this process has followed it; `since` by the monotonic clock."""

    activity: int
    opened: int
    silent_since: float
    waiting_since: float
    again_at: float = 0.0
    counts: dict[str, Future[int | None]] = field(default_factory=dict)  # by peer, asked since the last image


class Completer:
    """Judges each study whenever something of it changed, or its time has come.

    count: asks a peer how many instances of a study it has; from another thread. completed: called when jobs wait.
    """

    def __init__(
        self,
        ledger: Ledger,
        routes: Sequence[RouteConfig],
        count: CountInstances | None = None,
        clock: Clock | None = None,
        completed: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger, self._routes, self._count = ledger, routes, count
        self._clock, self._completed = clock or Clock(), completed
        self._followed: dict[str, _Followed] = {}
        self._loop = Looping("completing", self.look, _LOOK_S)
        self._askers = ThreadPoolExecutor(4, thread_name_prefix="count")

    def start(self) -> None:
        """Watch from now on."""
        self._loop.start()

    def stop(self) -> None:
        """Stop watching; what is not complete is followed after the next start."""
        self._loop.stop()
        self._askers.shutdown(wait=False, cancel_futures=True)

    def look(self) -> None:
        """One look at every study that receives."""
        receiving = receiving_activity(self._ledger)
        self._followed = {uid: each for uid, each in self._followed.items() if uid in receiving}
        for uid, (activity, opened) in receiving.items():
            followed = self._followed.get(uid)
            if followed is None or (followed.activity, followed.opened) != (activity, opened):
                self._follow(uid, activity, opened)
            elif self._clock.monotonic() < followed.again_at and not any(
                each.done() for each in followed.counts.values()
            ):
                continue
            self._judge(uid)

    def _follow(self, uid: str, activity: int, opened: int) -> None:
        """Note what changed; a study seen for the first time may have been silent for a while."""
        now, followed = self._clock.monotonic(), self._followed.get(uid)
        if followed is not None:
            if followed.activity != activity:
                followed.silent_since, followed.counts = now, {}
            followed.activity, followed.opened = activity, opened
            return
        study = receiving_study(self._ledger, uid)
        if study is not None:
            silent, waited = self._clock.elapsed(study.last_received), self._clock.elapsed(study.first_received)
            self._followed[uid] = _Followed(activity, opened, now - silent, now - waited)

    def _judge(self, uid: str) -> None:
        followed, study = self._followed.get(uid), receiving_study(self._ledger, uid)
        if followed is None or study is None or study.activity != followed.activity:
            return  # the next look sees more
        facts = [SeriesFacts(each.modality, each.description) for each in study.series]
        concerned = matching_routes(self._routes, study.senders, facts)
        # While no route takes the study, the series that one takes may still come: every rule counts.
        rules = list(dict.fromkeys(route.complete for route in concerned or self._routes))
        judgements = [self._judge_by(rule, study, followed) for rule in rules]
        judgement = strictest(judgements)
        if judgement.reason:
            self._complete(study, concerned, facts, judgement.reason)
            return
        for rule, each in zip(rules, judgements, strict=True):
            if each.ask and rule.count_from not in followed.counts:
                self._ask(str(rule.count_from), uid, followed)
        followed.again_at = self._clock.monotonic() + max(0.0, judgement.again_in_s)

    def _judge_by(self, rule: CompletenessConfig, study: ReceivingStudy, followed: _Followed) -> Judgement:
        now = self._clock.monotonic()
        asked = followed.counts.get(rule.count_from or "")
        answered = asked is not None and asked.done()
        expected = asked.result() if asked is not None and answered else None
        return judge_completeness(rule, Observed(
            silent_s=now - followed.silent_since, waited_s=now - followed.waiting_since, images=study.images,
            open_associations=study.open_associations, expected=expected if answered else None,
            count_failed=(answered and expected is None) or self._count is None,
        ))  # fmt: skip

    def _ask(self, peer: str, uid: str, followed: _Followed) -> None:
        followed.counts[peer] = self._askers.submit(self._counted, peer, uid)

    def _counted(self, peer: str, uid: str) -> int | None:
        """Images of a study that a peer has; None if it does not say. What is no image, as our results, is left out."""
        assert self._count is not None
        try:
            found = [each for each in self._count(peer, uid) if each.modality not in _NO_IMAGES]
        except SwinUNetError as error:
            _log.warning("%s did not say how many images study %s has: %s", peer, shown_uid(uid), error)
            return None
        except Exception as error:
            _log.error("asking %s for a count failed (%s)", peer, type(error).__name__)
            return None
        if not found or any(each.instances is None for each in found):
            _log.info("%s does not say how many images study %s has", peer, shown_uid(uid))
            return None
        expected = sum(each.instances or 0 for each in found)
        _log.info("%s has %d images of study %s", peer, expected, shown_uid(uid))
        note_expected(self._ledger, uid, expected)
        return expected

    def _complete(
        self, study: ReceivingStudy, routes: Sequence[RouteConfig], facts: Sequence[SeriesFacts], reason: str
    ) -> None:
        planned = [Planned(route.name) for route in routes]
        if not planned:
            whys = "; ".join(f"{each.name}: {mismatch(each, study.senders, facts)}" for each in self._routes)
            planned = [Planned("", f"no route takes it: {whys}")]
        if complete_study(self._ledger, study, planned, reason, self._clock.wall()):
            names = ", ".join(route.name for route in routes) or "no route"
            _log.info(
                "study %s is complete, revision %d, %d images: %s; %s",
                shown_uid(study.study_uid), study.revision + 1, study.images, reason, names,
            )  # fmt: skip
            self._followed.pop(study.study_uid, None)
            self._completed()
