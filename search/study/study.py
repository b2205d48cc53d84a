"""One study as the rest of tune sees it: ask, report, finish, fail, queue, list."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from types import MappingProxyType

import optuna
from optuna.trial import FrozenTrial

from search.errors import TryAgain, TuneError
from search.optuna_db.optuna_trials import TrialEnded
from search.optuna_db.orphans import delete_orphaned_rows
from search.optuna_db.ownership import (
    ABLATION,
    CONFIRMING,
    FAILURE,
    FAILURE_DETAIL,
    ORIGIN,
    PINNED,
    REFERENCE,
    RETRY_OF,
)
from search.optuna_db.storage import Storage
from search.optuna_db.trial_facts import Change, Facts, News
from search.optuna_db.trial_storage import TrialStorage
from search.optuna_db.trial_writing import Rules
from search.optuna_db.unnamed import study_id_of
from search.records import (
    ACCURACY,
    AblationRun,
    Claim,
    Confirming,
    Counts,
    Failure,
    Metric,
    State,
    StudyRecord,
    StudySpec,
    TrialRecord,
    Value,
)
from search.space.spec import space_of_spec
from search.store.base import LeaseLost
from search.store.database import Transaction
from search.study.active_trial import ActiveTrial
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.fidelity import at_one_rung
from search.study.grid import is_discrete
from search.study.history import History
from search.study.pruners import Pruning, make_pruning
from search.study.reading import TrialReader, find_id, require_distinct
from search.study.revisions import Revisions
from search.study.samplers import COMPARES_AT_ONE_RUNG, make_sampler
from search.study.suggest import fitting, split_leader, split_reference
from search.study.taken import Taken
from search.study.usable import Judge
from tune.space import Space

DEATHS = 3
"""After this number of repetitions that took their workers with them, a trial is not repeated once more."""

LONGEST_DETAIL_BYTES = 60_000
"""Of a failure's detail as JSON: Optuna's column of attributes takes 65,535 bytes on MySQL and MariaDB."""


_KEPT_BY_RETRY = (REFERENCE, PINNED, ORIGIN, CONFIRMING, ABLATION)
"""Attributes that a repetition takes over."""


class StudyDeleted(TuneError):
    """The study was deleted."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The study {name} was deleted while it was worked on.")


class SpaceChanged(TryAgain):
    """The search space of the study is another than this process knows."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The search space of the study {name} was changed while it was worked on: give the command "
            "again."
        )


def shortened(text: str, longest: int) -> str:
    """The text; where it takes more than `longest` bytes as JSON, its beginning and its end."""
    short, half = text, longest // 2
    while len(json.dumps(short)) > longest:
        short, half = f"{text[:half]}\n…\n{text[-half:]}", half * 3 // 4
    return short


class Study:
    """A study in a storage."""

    def __init__(
        self, study: optuna.Study, storage: Storage, adapter: TrialStorage, record: StudyRecord | None
    ) -> None:
        self._study = study
        self._storage = storage
        self._trials = storage.trials
        self._adapter = adapter
        self._rungs: dict[int, _Rung] = {}
        self._present: Callable[[list[FrozenTrial]], list[FrozenTrial]] = list
        """how the trials of the history are presented to the sampler"""
        self.name = study.study_name
        self.study_id = study_id_of(study)
        self.record = record
        """as of when it was opened; None: the study is not tune's"""

    @property
    def _spec(self) -> StudySpec:
        """As of when it was opened. Raises as `space`."""
        if self.record is None and not self.exists():
            raise StudyDeleted(self.name)
        if self.record is None:
            raise KeyError(f"the study {self.name} is not tune's")
        return self.record.spec

    @cached_property
    def space(self) -> Space:
        """The search space in which trials are drawn now.

        Raises StudyDeleted, or KeyError where the store does not know the study.
        """
        return self.revisions.present

    @cached_property
    def revisions(self) -> Revisions:
        """The search spaces that the study has had, as of when it was opened. Raises as `space`."""
        return Revisions.of(self._spec)

    @cached_property
    def metric(self) -> Metric:
        """What the study optimizes. Raises as `space`."""
        return self._spec.metric

    @cached_property
    def _reader(self) -> TrialReader:
        return TrialReader(self._trials, self.study_id, self.revisions, self.metric)

    @cached_property
    def _judge(self) -> Judge:
        return Judge(self.revisions, self.metric)

    @property
    def _rules(self) -> Rules:
        """What is asked of trials; the space is not known before it is needed."""
        return Rules(
            shown=self._show,
            fits=lambda trial: self._judge.fault(trial) is None,
            fitting=lambda given: fitting(given, self.space),
            room=self._room,
        )

    def _show(self, trial: Facts) -> Facts | None:
        """A trial as samplers and pruners are shown it; None: they are not."""
        if not trial.own or self._judge.fault(trial) is not None:
            return None
        return self.revisions.shown(trial)

    @cached_property
    def _history(self) -> History:
        return History(
            self._trials,
            self.study_id,
            self._show,
            direction=self.metric.direction,
            set_aside=self.revisions.set_aside,
        )

    def _shown(self) -> list[FrozenTrial]:
        """The trials that the sampler is shown, as of now."""
        self._history.look()
        return self._present(self._history.shown())

    @cached_property
    def _taken(self) -> Taken | None:
        """The configurations that the trials have; None where it does not matter: the space is continuous, or
        the settings are given, and trained with several seeds."""
        space, spec = self.space, self._spec
        if not spec.searches or not is_discrete(space, spec):
            return None
        return Taken(self._trials, self.study_id, space, spec, self._show)

    def _room(self, within: Transaction | None = None) -> bool:
        """Whether there are settings for one more trial, not counting the queue."""
        if not self._spec.searches:
            return False  # the settings of every run are given
        if self._taken is None:
            return True
        self._taken.look(within)
        return self._taken.room

    # Opening

    @classmethod
    def create(
        cls,
        storage: Storage,
        name: str,
        spec: StudySpec,
        target_trials: int,
        *,
        references: Mapping[str, Mapping[str, Value]] = MappingProxyType({}),
    ) -> Study | None:
        """Makes the study, its references (settings by name) queued; None where there is one of that name.

        All of it or nothing, Optuna's side and ours: no process ever sees a study without its spec, or
        without its references, also if its maker was killed.
        """
        if find_id(storage.trials, name) is not None:
            return None
        delete_orphaned_rows(storage.trials.database)
        space = space_of_spec(spec)
        require_distinct(storage.trials, space)

        def make() -> bool:
            with storage.trials.database.write() as transaction:
                study_id = storage.trials.add_study(name, spec.metric, within=transaction)
                if study_id is None:
                    return False
                storage.store.add_study(study_id, spec, target_trials, within=transaction)
                for reference, settings in references.items():
                    searched, pinned = split_reference(settings, space)
                    attributes = {REFERENCE: reference, PINNED: pinned}
                    storage.trials.queue(study_id, searched, attributes, mark=REFERENCE, within=transaction)
                return True

        return cls.find(storage, name) if storage.trials.database.retry(make) else None

    @classmethod
    def find(cls, storage: Storage, name: str) -> Study | None:
        """Opens the study of that name; None where there is none."""
        found_id = find_id(storage.trials, name)
        if found_id is None:
            return None
        record = storage.store.study(found_id)
        return cls._open(storage, name, found_id, None if record is None else replace(record, name=name))

    @classmethod
    def of(cls, storage: Storage, record: StudyRecord) -> Study | None:
        """Opens a study that was read; None where it was deleted since."""
        return cls._open(storage, record.name, record.study_id, record)

    @classmethod
    def _open(cls, storage: Storage, name: str, study_id: int, record: StudyRecord | None) -> Study | None:
        metric = ACCURACY if record is None else record.spec.metric  # a foreign study is asked nothing
        direction = optuna.study.StudyDirection[metric.direction.name]
        adapter = TrialStorage(storage.optuna, storage.trials, direction=direction)
        try:
            study = optuna.load_study(storage=adapter, study_name=name)
        except KeyError:  # it was deleted a moment ago
            return None
        if study_id_of(study) != study_id:  # it was, and there is a new one of that name
            return None
        found = cls(study, storage, adapter, record)
        adapter.rules = found._rules
        adapter.history = found._shown
        return found

    # Searching

    def exists(self) -> bool:
        """Whether it is still there: other programs may delete it, and SQLite reuses its id."""
        return self._is_there(self._storage.store.study(self.study_id))

    def _is_there(self, now: StudyRecord | None) -> bool:
        """now: what tune's tables have under its id."""
        if self.record is None:
            return now is None and self._trials.exists(self.study_id)
        same = now is not None and now.created == self.record.created
        return same and self._trials.is_signed(self.study_id)

    def require_unchanged(self) -> StudyRecord:
        """The study of tune's as it is now. Raises StudyDeleted, and SpaceChanged where the search space is
        another than when it was opened."""
        now = self._storage.store.study(self.study_id)
        if now is None or not self._is_there(now):
            raise StudyDeleted(self.name)
        if len(now.spec.space_changes) != self.revisions.count:
            raise SpaceChanged(self.name)
        return now

    def set_aside_ids(self) -> frozenset[int]:
        """Ids of the trials that do not fit the search space since that was changed."""
        return self._trials.ids_of(self.study_id, self.revisions.set_aside)

    def prepare(self, *, sampler: str, pruner: str, seed: int, evaluations: EvaluationSchedule) -> Pruning:
        """Sets up how `ask` draws and `report` judges, in this process; returns how the study saves work."""
        pruning = make_pruning(pruner, evaluations)
        self._study.sampler = make_sampler(sampler, seed)
        self._study.pruner = pruning.pruner
        comparable = partial(at_one_rung, metric=self.metric)
        self._present = comparable if sampler in COMPARES_AT_ONE_RUNG else list
        return pruning

    def ask(self, claim: Claim | None = None) -> ActiveTrial:
        """The next trial: a queued one if there is any, else what the sampler proposes.

        Queued are repetitions and references, and trials that another program queued: such a trial is tune's
        own from its beginning on. claim: the trial is attached to it (Store.attach) in the same transaction.
        Raises LeaseLost where the claim is another worker's, and StudyDeleted, and Exhausted where every
        configuration of the space has been tried, or a confirmation or an ablation has nothing queued; then
        no trial has begun.
        """

        def begin(trial_id: int, transaction: Transaction) -> None:
            self._trials.require_signed(self.study_id, within=transaction)
            self._trials.mark(trial_id, revision=self.revisions.count, within=transaction)
            if claim is not None:
                self._storage.store.attach(claim, trial_id, within=transaction)

        try:
            with self._adapter.beginning(begin):
                trial = self._study.ask()
        except KeyError as error:
            if self.exists():
                raise
            raise StudyDeleted(self.name) from error
        return self._active(trial)

    def has_next(self) -> bool:
        """Whether `ask` has a trial: not where the queue is empty and the space is exhausted, or the settings
        of every run are given."""
        if self._room():
            return True
        waiting = self._trials.facts_of(self._trials.in_state(self.study_id, State.WAITING))
        return any(self._judge.fault(trial) is None for trial in waiting)

    def rejoin(self, trial_id: int) -> ActiveTrial:
        """A trial that another worker has begun, to continue with.

        Raises StudyDeleted where it is gone, and LeaseLost where it was edited and cannot be used any more.
        """
        found = self._trials.facts_of([trial_id])
        if not found:
            raise StudyDeleted(self.name)
        if (fault := self._judge.fault(found[0])) is not None:
            raise LeaseLost(f"Trial {found[0].number} cannot be continued: {fault}.")
        # What was read above is used: the study may be deleted between two reads.
        reported = self._adapter.rejoin(found[0]).intermediate_values
        trial = optuna.Trial(self._study, trial_id)
        return self._active(trial, reported)

    def _active(self, trial: optuna.Trial, reported: Iterable[int] = ()) -> ActiveTrial:
        """A trial held by this worker. reported: steps at which it has reported already."""
        return ActiveTrial(
            self._study,
            trial,
            self.space,
            self._storage,
            self._adapter,
            metric=self.metric,
            taken=self._taken,
            reported=reported,
        )

    def queue_confirming(
        self, confirming: Confirming, settings: Mapping[str, Value], *, reference: str | None
    ) -> None:
        """Queues one run of a confirmation; done once however often it is called."""
        searched, pinned = split_leader(settings, self.space)
        attributes: dict[str, object] = {
            CONFIRMING: [confirming.candidate, confirming.seed],
            PINNED: pinned,
        }
        if reference is not None:
            attributes[REFERENCE] = reference
        self._trials.queue(self.study_id, searched, attributes, mark=CONFIRMING)

    def queue_ablation(self, run: AblationRun, settings: Mapping[str, Value]) -> None:
        """Queues one run of an ablation; done once however often it is called."""
        searched, pinned = split_leader(settings, self.space)
        attributes: dict[str, object] = {
            ABLATION: [run.arm, run.seed, run.budget, run.chooses],
            PINNED: pinned,
        }
        self._trials.queue(self.study_id, searched, attributes, mark=ABLATION)

    def fail(
        self, trial_id: int, reason: Failure, detail: str, *, claim: Claim | None = None
    ) -> State | None:
        """Ends a running trial as failed; queues its settings again, once, where they are not to blame.

        After DEATHS repetitions whose workers died they are not, nor where they cannot be read any more. In a
        confirmation or an ablation they are always queued again, for no other settings can take the place;
        the worker that begins the repetition ends it at once if there were too many
        (search.analysis.racing). Does nothing to a trial that is finished already, except to queue a retry
        that is owed. Returns the state that it has now; None where it was deleted. claim: of the trial;
        raises LeaseLost where it is another worker's. detail: the middle of a long one is left out.
        """
        store = self._storage.store

        def require_held(transaction: Transaction | None) -> None:
            if transaction is not None:
                self._trials.require_signed(self.study_id, within=transaction)
            if claim is not None:
                store.require_held(claim, within=transaction)

        noted = self._adapter.let_go(trial_id)
        why = {**noted, FAILURE: reason.value, FAILURE_DETAIL: shortened(detail, LONGEST_DETAIL_BYTES)}
        try:
            self._trials.change(trial_id, Change(user=why, state=State.FAILED), guard=require_held)
        except TrialEnded:  # its worker was faster than the reaper
            require_held(None)
        except KeyError:
            return None
        found = self._trials.facts_of([trial_id])
        if not found:
            return None
        [trial] = found
        if self._judge.fault(trial) is not None:
            return trial.state
        said = trial.user.get(FAILURE)  # None: not tune, but optuna-dashboard or a script ended it
        blameless = said is not None and Failure(said).is_retryable and self._deaths(trial) < DEATHS
        given = CONFIRMING in trial.user or ABLATION in trial.user
        if not trial.state.is_finished and (given or blameless):
            self._queue_retry(trial)
        return trial.state

    def _queue_retry(self, trial: Facts) -> None:
        kept = {k: v for k, v in trial.user.items() if k in _KEPT_BY_RETRY}
        attributes = {ORIGIN: trial.number, **kept, RETRY_OF: trial.number}
        # One that was queued itself, and ended before it drew, has its settings only there.
        self._trials.queue(self.study_id, {**trial.given, **trial.settings}, attributes, mark=RETRY_OF)

    def _deaths(self, trial: Facts) -> int:
        """Repetitions of these settings whose workers died."""
        origin = trial.user.get(ORIGIN, trial.number)
        repetitions = self._trials.facts_of(self._trials.noted(self.study_id, ORIGIN, origin))
        return sum(each.user.get(FAILURE) == Failure.WORKER_DIED for each in repetitions)

    # Looking

    def trials(self) -> list[TrialRecord]:
        """All trials by number. Finished ones are cached by this object, so polling is cheap."""
        return self._reader.all()

    def running(self) -> set[int]:
        """Ids of tune's own trials at work, also of those that cannot be used: few, however many are
        finished."""
        found = self._trials.facts_of(self._trials.in_state(self.study_id, State.RUNNING))
        return {trial.trial_id for trial in found if trial.own}

    def counts(self) -> Counts:
        """How many trials are in each state: one query."""
        return self._reader.counts()

    def scores_at(self, step: int) -> list[tuple[int, float]]:
        """(number, score) of every trial that was proposed and has reported at or after `step`, by number.

        The score is the trial's best until its first such report.

        Failed ones are left out: what was cut short is repeated, and would count twice. So are references,
        which are trained to the end however they stand, trials that are set aside, and those of other
        programs. What finished trials reported is read once by this object.
        """
        rung = self._rungs.setdefault(step, _Rung())
        for trial in self._trials.standings(self.study_id, step, rung.news, mark=REFERENCE):
            aside = trial.number in self.revisions.set_aside
            if trial.state is State.FAILED or trial.marked or not trial.own or aside:
                rung.scores.pop(trial.number, None)
            elif trial.value is not None and self.metric.allows(trial.value):
                rung.scores[trial.number] = self.metric.score_of(trial.value)
        return sorted(rung.scores.items())


@dataclass(slots=True)
class _Rung:
    """The scores at one rung, as far as this process has seen them."""

    news: News = field(default_factory=News)
    scores: dict[int, float] = field(default_factory=dict)
