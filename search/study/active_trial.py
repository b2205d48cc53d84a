"""A trial that a worker has been given: settings, reports, its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import optuna
from optuna.trial import TrialState

from search.errors import TryAgain
from search.optuna_db.ownership import CODE_SHA256, ORIGIN, PARAMETERS, PINNED, REFERENCE, RETRY_OF
from search.optuna_db.storage import Storage
from search.optuna_db.trial_storage import TrialStorage
from search.optuna_db.unnamed import study_id_of, trial_id_of
from search.records import Metric, Report, State, Value
from search.store.base import LeaseLost
from search.store.database import Transaction
from search.study.reading import ablation_of, confirming_of
from search.study.suggest import as_drawn, suggest
from search.study.taken import Taken
from tune.space import Space


class ActiveTrial:
    """A trial that a worker has been given, until it is finished, pruned or failed.

    Every method that writes raises LeaseLost once another process has ended the trial.
    """

    def __init__(
        self,
        study: optuna.Study,
        trial: optuna.Trial,
        space: Space,
        storage: Storage,
        adapter: TrialStorage,
        *,
        metric: Metric,
        taken: Taken | None = None,
        reported: Iterable[int] = (),
    ) -> None:
        """metric: what the study optimizes. taken: configurations that it must not have; None: it may have
        any. reported: steps at which the trial has reported already."""
        self._study = study
        self._trial = trial
        self._space = space
        self._storage = storage
        self._adapter = adapter
        self._metric = metric
        self._taken = taken
        attributes = trial.user_attrs
        self._reported = set(reported)
        self._pinned: Mapping[str, Value] = attributes.get(PINNED, {})
        self.number = trial.number
        self.trial_id = trial_id_of(trial)
        self.reference: str | None = attributes.get(REFERENCE)
        self.retry_of: int | None = attributes.get(RETRY_OF)
        self.confirming = confirming_of(attributes)
        self.ablation = ablation_of(attributes)
        self.origin: int = attributes.get(ORIGIN, trial.number)
        """number of the trial that these settings were first given to: retries share its seed"""

    def guard(self, check: Callable[[Transaction], object]) -> None:
        """From now on `check`, which raises LeaseLost, is called with every transaction that writes to the
        trial: a trial of another study may have got the same id since this one was deleted."""
        study_id = study_id_of(self._study)

        def require_same_study(transaction: Transaction) -> None:
            try:
                self._storage.trials.require_signed(study_id, within=transaction)
            except KeyError as error:
                raise LeaseLost(f"Trial {self.number} was deleted by another process.") from error
            check(transaction)

        self._adapter.guard(self.trial_id, require_same_study)

    def unguard(self) -> None:
        """Forgets the guard: the trial has ended, or is ended now."""
        self._adapter.unguard(self.trial_id)

    def let_go(self) -> None:
        """Forgets the trial and what was noted of it: it is another worker's."""
        self._adapter.let_go(self.trial_id)

    def suggest(self) -> dict[str, Value]:
        """The trial's active settings; drawn at the first call, the same ones afterwards."""
        instead: dict[str, Value] = {}

        def replace_if_taken(transaction: Transaction) -> None:
            assert self._taken is not None
            found = self._taken.instead_of(proposed, self.trial_id, self.number, within=transaction)
            self._adapter.redraw(self.trial_id, as_drawn(found, self._space))
            instead.clear()  # of a try of the transaction that failed
            instead.update(found)

        searched = self._taken is not None and self.reference is None
        first = replace_if_taken if searched else None
        with self._still_ours(), self._adapter.drawing(self.trial_id, first):
            proposed = suggest(self._trial, self._space, self._pinned)
        return self._space.active(instead if searched else proposed, pinned=self._pinned)

    def note_parameters(self, parameters: int) -> None:
        """Notes how many trainable numbers the model has; written with the next report, or the end."""
        self._adapter.note(self.trial_id, PARAMETERS, parameters)

    def note_code(self, sha256: str) -> None:
        """Notes the SHA-256 of the code that the trial runs; written with the next report, or the end."""
        self._adapter.note(self.trial_id, CODE_SHA256, sha256)

    def report(self, step: int, best_score: float, report: Report | None = None) -> bool:
        """Tells the pruner the best score so far (monotone) at `step`.

        `report` joins the learning curve in the same transaction. What was said of this step before stands.
        Returns whether the trial is hopeless beside the others.
        """

        def add_report(transaction: Transaction) -> None:
            assert report is not None
            self._storage.store.add_report(self.trial_id, report, within=transaction)

        also = None if report is None else add_report
        with self._still_ours(), self._adapter.together(self.trial_id, also):
            if step not in self._reported:
                self._trial.report(self._metric.value_of(best_score), step=step)
            hopeless = self._trial.should_prune()
        self._reported.add(step)
        return hopeless

    def complete(self, score: float) -> None:
        """Ends the trial with its best score."""
        with self._still_ours():
            self._study.tell(self._trial, self._metric.value_of(score))

    def prune(self) -> None:
        """Ends the trial early; its value is the last score reported."""
        with self._still_ours():
            self._study.tell(self._trial, state=TrialState.PRUNED)

    @contextmanager
    def _still_ours(self) -> Iterator[None]:
        try:
            yield
        except optuna.exceptions.StorageInternalError as error:  # the quasi-random sampler writes by itself
            kind = type(error.__cause__ or error).__name__  # the message could hold a password
            raise TryAgain(f"The storage failed while trial {self.number} was written ({kind}).") from error
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError, KeyError) as error:
            # `tell` answers a finished trial with a bare ValueError, and a deleted one with a KeyError, like
            # any other mistake: look.
            found = self._storage.trials.facts_of([self.trial_id])
            if any(trial.state in (State.RUNNING, State.WAITING) for trial in found):
                raise
            how = "ended" if found else "deleted"
            raise LeaseLost(f"Trial {self.number} was {how} by another process.") from error
