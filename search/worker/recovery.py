"""Finds claims whose workers are gone, fails their trials and queues the settings again."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from search.records import Claim, Failure
from search.store.base import LeaseLost, Store
from search.study.study import Study
from search.worker.leases import LEASE_S


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sight:
    """A claim as it was when it was last seen to have changed."""

    token: str
    expires: datetime.datetime
    since: float


class Reaper:
    """Watches the claims of one study.

    A holder is gone when its claim was seen unchanged for a whole lease, by this process's own monotonic
    clock. No other clock is asked: the database's may jump, another machine's may be wrong. A reaper that
    reads rarely, or could not read because the database was away, has seen nothing: the time counts from
    its next read.
    """

    def __init__(
        self,
        study: Study,
        store: Store,
        name: str,
        *,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` holds what is taken over until it is dealt with, as a worker's id would."""
        self._study = study
        self._store = store
        self._name = name
        self._lease_s = lease_s
        self._clock = clock
        self._sights: dict[int, _Sight] = {}
        self._unclaimed: dict[int, float] = {}
        """trials that run without a claim, and since when that is known"""
        self._looked = -1e9

    @property
    def due(self) -> bool:
        """Whether it is time to look again: three times a lease."""
        return self._clock() - self._looked >= self._lease_s / 3

    def look(self, *, dead: Collection[str] = (), stopped: Collection[str] = ()) -> int:
        """Ends the trials of workers that are gone, or known to be `dead`, and queues their settings again.

        `stopped` are those of the dead that the run itself ended, because they were too slow to stop: their
        trials were interrupted, and nothing speaks against their settings.
        Returns how many. A trial that its worker finished before it vanished keeps its result and its slot.
        """
        claims = self._store.open_claims(self._study.study_id)
        now = self._clock()  # not before: the database may have been away for as long as this look took
        if now - self._looked > self._lease_s / 2:
            self._sights.clear()
            self._unclaimed.clear()
        self._looked = now
        # Who is gone is decided for all before any is taken: to take one may wait for the database.
        gone = [claim for claim in claims if self._stale(claim, now) or claim.worker_id in dead]
        reaped = sum(self._take(claim, stopped=claim.worker_id in stopped) for claim in gone)
        known = {claim.claim_id for claim in claims}
        self._sights = {key: sight for key, sight in self._sights.items() if key in known}
        return reaped + self._end_unclaimed()

    def _stale(self, claim: Claim, now: float) -> bool:
        """Whether the claim has not changed for a lease; remembers it if it has."""
        sight = self._sights.get(claim.claim_id)
        if sight is None or (sight.token, sight.expires) != (claim.token, claim.expires):
            sight = _Sight(token=claim.token, expires=claim.expires, since=now)
            self._sights[claim.claim_id] = sight
        return now - sight.since >= self._lease_s

    def _take(self, claim: Claim, *, stopped: bool) -> bool:
        """Takes the claim over and deals with its trial; whether that trial was lost."""
        taken = self._store.take_over(claim, self._name, lease_s=self._lease_s)
        if taken is None:
            return False
        try:
            return self._deal_with(taken, claim.worker_id, stopped=stopped)
        except LeaseLost:  # we slept meanwhile; another reaper has it
            return False

    def _deal_with(self, taken: Claim, holder: str, *, stopped: bool) -> bool:
        """Ends the trial of a claim that was `holder`'s; whether it was lost."""
        if taken.trial_id is not None:
            failure = Failure.INTERRUPTED if stopped else Failure.WORKER_DIED
            detail = f"{holder} {'was too slow to stop and was killed' if stopped else 'vanished'}"
            state = self._study.fail(taken.trial_id, failure, detail, claim=taken)
            if state is not None and state.is_finished:
                self._store.settle(taken)
                return False
        self._store.release(taken)
        return True

    def _end_unclaimed(self) -> int:
        """Ends trials of tune's own whose worker died between creating them and noting them on its claim.

        What another program runs in this study is left to it: it has no claim either, and is no repetition.
        """
        running = self._study.running()
        # Claims are read after the trials: a trial that was noted on its claim meanwhile is found there.
        running -= {
            claim.trial_id for claim in self._store.open_claims(self._study.study_id) if claim.trial_id
        }
        now = self._clock()
        self._unclaimed = {each: self._unclaimed.get(each, now) for each in running}
        lost = [each for each, since in self._unclaimed.items() if now - since >= self._lease_s]
        for trial_id in lost:
            self._study.fail(trial_id, Failure.WORKER_DIED, "its worker vanished at the start")
            del self._unclaimed[trial_id]
        return len(lost)
