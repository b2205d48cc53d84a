"""Writes trials to Optuna's tables: begun, queued, changed and ended, each in one transaction.

Optuna's storage sends one statement a fact and commits after each; a trial has about forty. Here they are
gathered; which rows they become is in search.optuna_db.optuna_rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

from sqlalchemy import Connection, select, update

from search.errors import TuneError
from search.optuna_db import optuna_tables as tables
from search.optuna_db.optuna_rows import (
    insert_trial,
    lock_study,
    next_number,
    start_trial,
    utc_now,
    write_change,
)
from search.optuna_db.optuna_studies import OptunaStudies
from search.optuna_db.optuna_tables import as_word
from search.optuna_db.ownership import MARK, SPACE_REVISION
from search.optuna_db.trial_facts import (
    FIXED_PARAMS,
    NAMES,
    STATES,
    UNFINISHED,
    Change,
    Facts,
    read_facts,
)
from search.optuna_db.trial_queries import TrialQueries, of_study
from search.records import State, Value
from search.store.database import Database, Transaction, retried
from search.store.rows import utc


class TrialEnded(TuneError):
    """The trial is finished: nothing about it can change any more."""


class Exhausted(TuneError):
    """A trial would have no settings that were not tried."""

    def __init__(self) -> None:
        super().__init__("Every configuration of the search space has been tried.")


class OptunaTrials(OptunaStudies, TrialQueries):
    """The studies and trials of one database, as tune reads and writes them.

    within: a transaction that the caller has opened: see search.store.database.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    @retried
    def add(
        self,
        study_id: int,
        *,
        fits: Callable[[Facts], bool] = lambda _: True,
        room: Callable[[Transaction], bool] = lambda _: True,
        within: Transaction | None = None,
    ) -> Facts:
        """A trial that begins now: the first queued one that fits, else a new one with the next number.

        Optuna looks at the queue before it asks for a new trial; what was queued in between is found here,
        else a repetition could be left over when all slots are filled. Raises KeyError where there is no
        such study, and Exhausted where `room` says that there is none for a trial that was not queued; it is
        asked in the transaction, while no other trial of the study can begin.

        When the database goes away in the middle there may be one more, which no worker claims; it is ended
        as any trial is whose worker vanished.
        """
        now = utc_now()
        with self.database.write(within) as connection:
            number = next_number(connection, study_id)
            trials = tables.trials.c
            waiting = read_facts(connection, (trials.study_id == study_id) & (trials.state == "WAITING"))
            for trial in in_turn(waiting):
                if fits(trial) and start_trial(connection, trial.trial_id):
                    [found] = read_facts(connection, trials.trial_id == trial.trial_id)
                    return found
            if not room(connection):
                raise Exhausted
            trial_id = insert_trial(connection, study_id, number, state="RUNNING", datetime_start=now)
        return Facts(
            trial_id=trial_id,
            number=number,
            state=State.RUNNING,
            value=None,
            params={},
            user={},
            system={},
            steps={},
            started=utc(now),
            finished=None,
        )

    def lock(self, study_id: int, *, within: Transaction) -> None:
        """Until the transaction ends, no other process begins or queues a trial of the study, or locks it.
        Raises KeyError where there is no such study."""
        lock_study(within, study_id)

    @retried
    def queue(
        self,
        study_id: int,
        settings: Mapping[str, Value],
        user: Mapping[str, object],
        *,
        mark: str,
        within: Transaction | None = None,
    ) -> bool:
        """Adds a waiting trial with these settings and user attributes, as Optuna's `enqueue_trial` does.

        Once, however often and by how many processes it is called: False where a trial of the study has the
        same value under the attribute `mark` already. Raises KeyError where there is no such study.
        """
        attributes = tables.user_attributes
        with self.database.write(within) as connection:
            number = next_number(connection, study_id)
            value = json.dumps(user[mark])
            marked = (attributes.c.key == mark) & (attributes.c.value_json == value)
            already = of_study(select(attributes.c.value_json), attributes, study_id).where(marked)
            if value in connection.execute(already).scalars().all():  # MySQL finds those too in another case
                return False
            trial_id = insert_trial(connection, study_id, number, state="WAITING")
            write_change(connection, trial_id, Change(user=dict(user), system={FIXED_PARAMS: dict(settings)}))
        return True

    def mark(self, trial_id: int, *, revision: int = 0, within: Transaction) -> None:
        """Marks a trial that begins as tune's own. revision: how often the study's space has changed."""
        user = {SPACE_REVISION: revision} if revision else {}
        write_change(within, trial_id, Change(system={MARK: trial_id}, user=user))

    def kind_beside(self, trial_id: int, name: str, *, within: Transaction) -> str | None:
        """The distribution, as JSON, that some trial of the same study has under this name; None: none has.
        within: a transaction that writes to the trial."""
        trials, params = tables.trials.c, tables.params
        study = select(trials.study_id).where(trials.trial_id == trial_id).scalar_subquery()
        query = of_study(select(params.c.distribution_json), params, study).where(params.c.param_name == name)
        return within.execute(query.limit(1)).scalar()

    @retried
    def start(self, trial_id: int, *, within: Transaction | None = None) -> bool:
        """Takes a waiting trial from the queue; False where another worker has it."""
        with self.database.write(within) as connection:
            return start_trial(connection, trial_id)

    def change(
        self,
        trial_id: int,
        change: Change,
        *,
        guard: Callable[[Transaction], object] = lambda _: None,
        within: Transaction | None = None,
    ) -> None:
        """Does all of it or nothing. Raises TrialEnded for a finished trial, KeyError for none at all, and
        what `guard` raises, which is called with the transaction before anything is written."""
        if within is not None:
            self._change(within, trial_id, change, guard)
            return
        tried = False

        def write() -> None:
            nonlocal tried
            is_retry, tried = tried, True
            try:
                with self.database.write() as connection:
                    self._change(connection, trial_id, change, guard)
            except TrialEnded:
                if not is_retry or change.state is None or self.state(trial_id) is not change.state:
                    raise  # else it is our own earlier try that ended it, of which we never heard

        self.database.retry(write)

    @staticmethod
    def _change(
        connection: Connection, trial_id: int, change: Change, guard: Callable[[Transaction], object]
    ) -> None:
        state = select(as_word(tables.trials.c.state)).where(tables.trials.c.trial_id == trial_id)
        name = connection.execute(state.with_for_update()).scalar()
        if name is None:
            raise KeyError(f"there is no trial {trial_id}")
        if STATES.get(name) not in UNFINISHED:
            raise TrialEnded(f"The trial with id {trial_id} is {name} already.")
        guard(connection)
        write_change(connection, trial_id, change)
        if change.state is not None:
            now: dict[str, object] = {"state": NAMES[change.state]}
            if change.state not in UNFINISHED:
                now["datetime_complete"] = utc_now()
            connection.execute(
                update(tables.trials).where(tables.trials.c.trial_id == trial_id).values(**now)
            )


def in_turn(waiting: Iterable[Facts]) -> list[Facts]:
    """The order in which queued trials begin: tune's own first.

    The slots that are left are enough for all of tune's own, which must not be left over; trials that another
    program queued fill slots that would have gone to the sampler.
    """
    return sorted(waiting, key=lambda trial: (not trial.own, trial.trial_id))
