"""One study as the rest of tune sees it: ask, report, finish, fail, queue, list.
Knows nothing of training and of claims; hides Optuna completely.
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.errors import ConfigError, TryAgain, UsageError
from search.records import Failure, State, TrialRecord, Value
from search.space.domain import Space
from search.space.file import space_of_entries
from search.store.base import LeaseLost, Store
from search.study.ladder import Ladder
from search.study.pruners import make_pruner
from search.study.samplers import make_sampler
from search.study.storage import Storage
from search.study.suggest import split_reference, suggest

METRIC = "validation accuracy"
"""What the search maximises: the mean of the heads' accuracies."""

_STATES = {
    TrialState.WAITING: State.WAITING,
    TrialState.RUNNING: State.RUNNING,
    TrialState.COMPLETE: State.COMPLETE,
    TrialState.PRUNED: State.PRUNED,
    TrialState.FAIL: State.FAILED,
}

# Trial attributes that tune writes; optuna-dashboard shows them beside the parameters.
_REFERENCE, _PINNED, _RETRY_OF, _ORIGIN = "reference", "pinned", "retry_of", "origin"
_PARAMETERS, _FAILURE, _FAILURE_DETAIL = "parameters", "failure", "failure_detail"


class Asked:
    """A trial that a worker has been given, until it is finished, pruned or failed.

    Every method that writes raises LeaseLost once somebody else has ended the trial.
    """

    def __init__(self, study: optuna.Study, trial: optuna.Trial, space: Space) -> None:
        self._study = study
        self._trial = trial
        self._space = space
        attributes = trial.user_attrs
        self._pinned: Mapping[str, Value] = attributes.get(_PINNED, {})
        self.number = trial.number
        self.trial_id: int = trial._trial_id  # no public name; optuna-dashboard reads it too
        self.reference: str | None = attributes.get(_REFERENCE)
        self.retry_of: int | None = attributes.get(_RETRY_OF)
        self.origin: int = attributes.get(_ORIGIN, trial.number)
        """number of the trial that these settings were first given to: retries share its seed"""

    def draw(self) -> dict[str, Value]:
        """The trial's complete settings; drawn at the first call, the same ones afterwards."""
        with self._still_ours():
            return suggest(self._trial, self._space, self._pinned)

    def note_parameters(self, parameters: int) -> None:
        """Notes how many trainable numbers the network has."""
        with self._still_ours():
            self._trial.set_user_attr(_PARAMETERS, parameters)

    def report(self, images: int, best_score: float) -> bool:
        """Tells the pruner the best score so far (monotone) after `images` training images.

        Returns whether the trial is hopeless beside the others.
        """
        with self._still_ours():
            self._trial.report(best_score, step=images)
            return self._trial.should_prune()

    def complete(self, score: float) -> None:
        """Ends the trial with its best validation score."""
        with self._still_ours():
            self._study.tell(self._trial, score)

    def prune(self) -> None:
        """Ends the trial early; its value is the last score reported."""
        with self._still_ours():
            self._study.tell(self._trial, state=TrialState.PRUNED)

    @contextmanager
    def _still_ours(self) -> Iterator[None]:
        try:
            yield
        except optuna.exceptions.StorageInternalError as error:
            kind = type(error.__cause__ or error).__name__  # the message could hold a password
            raise TryAgain(f"The storage failed while trial {self.number} was written ({kind}).") from error
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError) as error:
            # `tell` answers a finished trial with a bare ValueError, like any other mistake: look.
            if not self._study._storage.get_trial(self.trial_id).state.is_finished():
                raise
            raise LeaseLost(f"Trial {self.number} was ended by another process.") from error


class Study:
    """A study in a storage."""

    def __init__(self, study: optuna.Study, store: Store) -> None:
        self._study = study
        self._store = store
        self.name = study.study_name
        self.study_id: int = study._study_id  # no public name, but part of every storage call

    @cached_property
    def space(self) -> Space:
        """The search space that the study was made with. Raises KeyError before the store knows the study."""
        record = self._store.study(self.study_id)
        if record is None:
            raise KeyError(f"the study {self.name} is not tune's")
        return space_of_entries(record.spec.space)

    # Opening

    @classmethod
    def create(cls, storage: Storage, name: str) -> Study:
        """Makes the study, or opens it where it exists."""
        study = optuna.create_study(
            storage=storage.trials, study_name=name, direction="maximize", load_if_exists=True
        )
        _same_name(study, name)
        if len(study.directions) != 1:
            raise ConfigError(
                f"The study {name} optimises {len(study.directions)} values and was not made by tune."
            )
        if study.metric_names is None:
            with warnings.catch_warnings():  # "experimental" since Optuna 3.2
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([METRIC])
        return cls(study, storage.store)

    @classmethod
    def find(cls, storage: Storage, name: str) -> Study | None:
        """Opens the study of that name; None where there is none."""
        try:
            study = optuna.load_study(storage=storage.trials, study_name=name)
        except KeyError:
            return None
        _same_name(study, name)
        return cls(study, storage.store)

    @staticmethod
    def names(storage: Storage) -> dict[int, str]:
        """The name of every study in the storage, by id."""
        return {
            study._study_id: study.study_name
            for study in optuna.get_all_study_summaries(storage.trials, include_best_trial=False)
        }

    # Searching

    def prepare(self, *, sampler: str, pruner: str, seed: int, ladder: Ladder) -> None:
        """Sets up how `ask` draws and how trials are judged, in this process."""
        self._study.sampler = make_sampler(sampler, seed)
        self._study.pruner = make_pruner(pruner, ladder)

    def ask(self) -> Asked:
        """The next trial: a queued one if there is any, else what the sampler proposes."""
        return Asked(self._study, self._study.ask(), self.space)

    def queue_reference(self, name: str, settings: Mapping[str, Value]) -> None:
        """Queues a reference configuration; done once however often it is called."""
        searched, pinned = split_reference(settings, self.space)
        if all(trial.user_attrs.get(_REFERENCE) != name for trial in self._trials()):
            self._study.enqueue_trial(searched, user_attrs={_REFERENCE: name, _PINNED: pinned})

    def fail(self, trial_id: int, reason: Failure, detail: str, *, retry: bool = False) -> None:
        """Ends a running trial as failed; with `retry`, queues its settings again, once.

        Does nothing to a trial that is finished already, except to queue a retry that is owed.
        """
        storage = self._study._storage
        trial = storage.get_trial(trial_id)
        if not trial.state.is_finished():
            try:
                storage.set_trial_user_attr(trial_id, _FAILURE, reason.value)
                storage.set_trial_user_attr(trial_id, _FAILURE_DETAIL, detail)
                storage.set_trial_state_values(trial_id, TrialState.FAIL)
            except optuna.exceptions.UpdateFinishedTrialError:
                trial = storage.get_trial(trial_id)  # its worker was faster than the reaper
        if retry and trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            self._queue_retry(trial)

    def _queue_retry(self, trial: FrozenTrial) -> None:
        if any(other.user_attrs.get(_RETRY_OF) == trial.number for other in self._trials()):
            return
        kept = {k: v for k, v in trial.user_attrs.items() if k in (_REFERENCE, _PINNED, _ORIGIN)}
        attributes = {_ORIGIN: trial.number, **kept, _RETRY_OF: trial.number}
        self._study.enqueue_trial(trial.params, user_attrs=attributes)

    # Looking

    def trials(self) -> list[TrialRecord]:
        """All trials by number. Finished ones are cached by this process, so polling is cheap."""
        return [_record(trial, self.space) for trial in self._trials()]

    def state(self, trial_id: int) -> State:
        """The state of one trial as the database has it now."""
        return _STATES[self._study._storage.get_trial(trial_id).state]

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)


def _same_name(study: optuna.Study, name: str) -> None:
    """Raises UsageError where the database took one name for another: MySQL ignores case and accents."""
    stored = study._storage.get_study_name_from_id(study._study_id)
    if stored != name:
        raise UsageError(
            f"This database does not tell the name {name!r} from that of the study {stored!r}; "
            "choose a name that differs in more than case, accents or spaces."
        )


def _record(trial: FrozenTrial, space: Space) -> TrialRecord:
    attributes = trial.user_attrs
    value = trial.values[0] if trial.values else None
    if value is None and trial.intermediate_values:
        value = trial.intermediate_values[max(trial.intermediate_values)]
    pinned: Mapping[str, Value] = attributes.get(_PINNED, {})
    family = {**space.fixed(""), **trial.params, **pinned}.get("model", "")  # not drawn yet: ""
    return TrialRecord(
        trial_id=trial._trial_id,
        number=trial.number,
        state=_STATES[trial.state],
        value=value,
        params=trial.params,
        pinned=pinned,
        fixed=space.fixed(str(family)),
        reference=attributes.get(_REFERENCE),
        retry_of=attributes.get(_RETRY_OF),
        parameters=attributes.get(_PARAMETERS),
        failure=Failure(attributes[_FAILURE]) if _FAILURE in attributes else None,
        failure_detail=attributes.get(_FAILURE_DETAIL),
        steps=trial.intermediate_values,
        started=_utc(trial.datetime_start),
        finished=_utc(trial.datetime_complete),
    )


def _utc(moment: datetime.datetime | None) -> datetime.datetime | None:
    """Optuna's times as UTC with a zone."""
    return None if moment is None else moment.astimezone(datetime.UTC)
