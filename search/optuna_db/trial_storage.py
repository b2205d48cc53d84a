"""Optuna's view of the storage, made for many trials: few queries to read, one transaction to write.

What a sampler asks for is answered from the history that the study gives it. Studies themselves, trials made
from templates and everything rare are left to Optuna's own storage on the same tables.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any

from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.optuna_db.optuna_trials import OptunaTrials, in_turn
from search.optuna_db.storage import open_storage
from search.optuna_db.trial_facts import Facts, News
from search.optuna_db.trial_writing import TrialWriting
from search.store.database import Transaction
from search.store.opened_file import FileId


class TrialStorage(TrialWriting):
    """For one thread of one process: see TrialWriting.

    A pickled one is opened again, as a separate storage; rules, history and guards do not travel.
    """

    def __init__(
        self, backend: RDBStorage, trials: OptunaTrials, *, direction: StudyDirection | None = None
    ) -> None:
        super().__init__(backend, trials, direction=direction)
        self.history: Callable[[], list[FrozenTrial]] | None = None
        """the trials that a sampler is shown while it draws; None: all of the study"""
        self._shown: list[FrozenTrial] | None = None
        self._drawing = False
        self._all: dict[int, _All] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        database = self._trials.database
        file_id = None if database.file is None else database.file.file_id
        return _reopened, (self._backend.url, database.retry_s, file_id, self._direction)

    @contextmanager
    def drawing(self, trial_id: int, first: Callable[[Transaction], object] | None = None) -> Iterator[None]:
        """`together`, and `get_all_trials` gives the history that a sampler is to see, as of one moment."""
        self._drawing = True
        try:
            with self.together(trial_id, first=first):
                yield
        finally:
            self._drawing, self._shown = False, None

    def get_trial(self, trial_id: int) -> FrozenTrial:
        if trial_id in self._own:
            return self._own[trial_id]
        found = self._trials.facts_of([trial_id])
        if not found:
            raise KeyError(f"there is no trial {trial_id}")
        return self._frozen(found[0])

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        asked = {state for state in TrialState if states is None or state in states}
        if asked == {TrialState.WAITING}:
            waiting = self._trials.facts_of(self._trials.waiting(study_id))
            return [self._frozen(trial) for trial in in_turn(waiting) if self._fits(trial)]
        if self._drawing and self.history is not None:
            if self._shown is None:
                self._shown = self.history()
            trials = self._shown
        else:
            trials = self._everything(study_id)
        chosen = list(trials) if states is None else [trial for trial in trials if trial.state in asked]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def _everything(self, study_id: int) -> list[FrozenTrial]:
        """The usable trials of the study by number. Raises KeyError where there is no such study."""
        known = self._all.setdefault(study_id, _All(self._trials, study_id))
        shown = None if self.rules is None else self.rules.shown
        if not known.look(shown, self._frozen) and not self._trials.exists(study_id):
            del self._all[study_id]
            raise KeyError(f"there is no study {study_id}")
        return known.by_number()

    def delete_study(self, study_id: int) -> None:
        super().delete_study(study_id)
        self._all.pop(study_id, None)  # SQLite gives the ids of what was deleted again
        self._own.clear()


class _All:
    """Every usable trial of a study, kept; finished ones are read once."""

    def __init__(self, trials: OptunaTrials, study_id: int) -> None:
        self._trials, self._study_id, self._news = trials, study_id, News()
        self._known: dict[int, FrozenTrial] = {}

    def look(
        self, shown: Callable[[Facts], Facts | None] | None, frozen: Callable[[Facts], FrozenTrial]
    ) -> bool:
        """Takes in what is new; whether there was anything."""
        found = self._trials.facts(self._study_id, self._news)
        for trial in found:
            self._known.pop(trial.number, None)
            seen = trial if shown is None else shown(trial)
            if seen is not None:
                self._known[trial.number] = frozen(seen)
        return bool(found)

    def by_number(self) -> list[FrozenTrial]:
        return [self._known[number] for number in sorted(self._known)]


def _reopened(
    url: str, retry_s: float, file_id: FileId | None, direction: StudyDirection | None
) -> TrialStorage:
    """A storage that was pickled. Its connections are closed when it is no longer used."""
    opened = open_storage(url, create=False, retry_s=retry_s, file_id=file_id)
    adapter = TrialStorage(opened.optuna, opened.trials, direction=direction)
    weakref.finalize(adapter, opened.close)
    return adapter
