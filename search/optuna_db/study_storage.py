"""The part of Optuna's storage that is about studies: everything rare is left to Optuna's own storage."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection

from search.optuna_db.deletion import delete_study
from search.optuna_db.optuna_trials import OptunaTrials
from search.optuna_db.storage import in_words

Result = TypeVar("Result")


class StudyStorage(BaseStorage, ABC):
    """Studies as Optuna keeps them, with the retries and the errors of tune."""

    def __init__(
        self, backend: RDBStorage, trials: OptunaTrials, *, direction: StudyDirection | None = None
    ) -> None:
        """backend, trials: the same tables as Optuna and as tune reads and writes them. direction:
        of every study, whatever another program wrote over it; None: as is written."""
        self._backend = backend
        self._trials = trials
        self._direction = direction

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        return self._backend.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        """With tune's side of it. Optuna's own way leaves a study that is worked on, and says nothing."""
        if not delete_study(self._trials.database, study_id):
            raise KeyError(f"there is no study {study_id}")

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._retry(lambda: self._backend.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._retry(lambda: self._backend.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._retry(lambda: self._backend.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._retry(lambda: self._backend.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        if self._direction is not None:
            return [self._direction]
        return self._retry(lambda: self._backend.get_study_directions(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._retry(lambda: self._backend.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._retry(lambda: self._backend.get_study_system_attrs(study_id))

    def get_all_studies(self) -> list[Any]:
        return self._retry(lambda: self._backend.get_all_studies())

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        get = self._backend.get_trial_id_from_study_id_trial_number
        return self._retry(lambda: get(study_id, trial_number))

    def _retry(self, call: Callable[[], Result]) -> Result:
        """What Optuna's storage answers, with the retries and the errors of tune's."""

        def work() -> Result:
            with in_words(self._backend.url):
                return call()

        return self._trials.database.retry(work)
