"""Trial migration: a worker without trials continues one that waits at another worker.

It begins once no new trial may begin. A trial migrates by its resume checkpoint: a worker that cannot read
that file leaves the trial alone.
"""

from __future__ import annotations

from collections.abc import Callable

from search.records import Claim
from search.store.base import LeaseLost
from search.worker.context import WorkerContext
from search.worker.trial_runner import TrialRunner


class TrialMigration:
    """What one worker offers to others, and takes from them.

    With ASHA one worker often holds the best trials of a search. Without this the others stood idle while
    it trained them one after the other: a fifth of the time of a search of 100 trials with two workers
    (docs/decisions/018).
    """

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._store, self._metric = context.storage.store, context.record.spec.metric
        self._offered: set[int] = set()
        """claims"""
        self._elsewhere: set[tuple[str, int]] = set()
        """offers, by token and step, whose resume checkpoints are not here"""
        self._company = False
        self._continues_elsewhere = context.objective.has_checkpoints

    def has_company(self) -> bool:
        """Whether the study ever had another worker: a single one need not park its trials. Asks the database
        until there was one."""
        self._company = self._company or len(self._store.workers(self._context.study.study_id)) > 1
        return self._company

    def offer(self, runner: TrialRunner) -> None:
        """Puts a trial that waits on disk and on offer. Raises OSError without room, and LeaseLost."""
        if runner.claim.claim_id in self._offered or not self._continues_elsewhere:
            return
        runner.park()
        self._store.offer(runner.claim)
        self._offered.add(runner.claim.claim_id)

    def withdraw(self, runner: TrialRunner) -> None:
        """To be called before a trial is changed. Raises LeaseLost where another worker has it now."""
        if runner.claim.claim_id in self._offered:
            self._offered.remove(runner.claim.claim_id)
            self._store.withdraw(runner.claim)

    def accept(self, begin: Callable[[Claim, int], TrialRunner], *, lease_s: float) -> TrialRunner | None:
        """A trial of another worker's that can be continued here, made by `begin` of its claim and its id.

        None where there is none. The caller holds its claim from now on.
        """
        for claim in self._store.offers(self._context.study.study_id):
            if claim.trial_id is None:
                continue
            curve = self._store.curve(claim.trial_id, self._metric)
            if not curve or (claim.token, curve[-1].step) in self._elsewhere:
                continue
            try:
                runner = begin(claim, claim.trial_id)
            except LeaseLost:  # another program edited it: its worker alone can end it
                self._elsewhere.add((claim.token, curve[-1].step))
                continue
            if not runner.rejoin(curve):
                self._elsewhere.add((claim.token, curve[-1].step))
                continue
            taken = self._store.accept(claim, self._context.worker.worker_id, lease_s=lease_s)
            if taken is not None:
                runner.claim = taken
                # Its holder may have continued and offered it again since the curve was read.
                runner.rejoin(self._store.curve(claim.trial_id, self._metric))
                return runner
        return None
