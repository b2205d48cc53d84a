"""Reads and writes trials in Optuna's tables: few queries for many trials, one transaction for one trial.

Optuna's storage sends one statement a fact and commits after each; a trial has about forty. Here they are
gathered; which rows they become is in search.optuna_db.optuna_rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, Table, case, func, insert, select, update

from search.errors import TuneError
from search.optuna_db import optuna_tables as tables
from search.optuna_db.deletion import delete_rows
from search.optuna_db.optuna_rows import insert_trial, next_number, start_trial, utc_now, write_change
from search.optuna_db.optuna_tables import as_word, number_of
from search.optuna_db.ownership import FAILURE, MARK, own_trials, rows_of
from search.optuna_db.trial_facts import (
    FIXED_PARAMS,
    NAMES,
    STATES,
    Change,
    Facts,
    News,
    Outline,
    Standing,
    read_facts,
    utc,
)
from search.records import Counts, Failure, State, Value
from search.store.database import Database, portions, raw, retried
from search.store.upsert import put

METRIC_NAMES = "study:metric_names"
"""System attribute in which Optuna keeps what the values of a study are called."""


class TrialEnded(TuneError):
    """The trial is finished: nothing about it can change any more."""


class Exhausted(TuneError):
    """A trial would have no settings that were not tried."""

    def __init__(self) -> None:
        super().__init__("Every configuration of the search space has been tried.")


class OptunaTrials:
    """The trials of every study in one database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # Studies

    @retried
    def names(self) -> dict[int, str]:
        """The name of every study, by id."""
        query = select(tables.studies.c.study_id, tables.studies.c.study_name)
        with self.database.read() as connection:
            return {row.study_id: row.study_name for row in connection.execute(query)}

    @retried
    def named(self, name: str) -> tuple[int, str] | None:
        """(id, name) of the study that the database takes for that name; None where there is none."""
        query = select(tables.studies.c.study_id, tables.studies.c.study_name)
        with self.database.read() as connection:
            row = connection.execute(query.where(tables.studies.c.study_name == name)).first()
        return None if row is None else (row.study_id, row.study_name)

    @retried
    def exists(self, study_id: int) -> bool:
        """Whether there is such a study."""
        query = select(tables.studies.c.study_id).where(tables.studies.c.study_id == study_id)
        with self.database.read() as connection:
            return connection.execute(query).first() is not None

    @retried
    def signed(self) -> frozenset[int]:
        """Ids of the studies that have what `add_study` writes, and plain Optuna does not by itself.

        SQLite gives the id of a study that was deleted to the next one: without this, a study that another
        program makes then would be taken for the one of tune's that was there.
        """
        table = tables.study_system_attributes.c
        with self.database.read() as connection:
            rows = raw(connection, select(table.study_id).where(table.key == METRIC_NAMES))
        return frozenset(study_id for (study_id,) in rows)

    @retried
    def is_maximized(self, study_id: int) -> bool:
        """Whether the study has one objective, which is to be maximized, as `add_study` made it."""
        table = tables.directions.c
        query = select(as_word(table.direction)).where(table.study_id == study_id)
        with self.database.read() as connection:
            return [word for (word,) in raw(connection, query)] == ["MAXIMIZE"]

    @retried
    def counts(self, study_id: int) -> Counts:
        """How many trials are in each state, also those that another program added."""
        trials = tables.trials.c
        query = select(as_word(trials.state), func.count()).where(trials.study_id == study_id)
        with self.database.read() as connection:
            found = connection.execute(query.group_by(trials.state)).all()
        return Counts(**{STATES[name].value: number for name, number in found if name in STATES})

    @retried
    def tally(
        self, study_id: int, *, interrupted: tuple[str, object] | None = None
    ) -> tuple[Counts, frozenset[int]]:
        """How many of tune's own trials are in each state, how many are foreign, and the ids of the latter.

        An own trial whose state Optuna does not know counts nowhere. interrupted: the user attribute (key,
        value) of failed trials that a signal stopped; without it they are not told apart.
        """
        trials = tables.trials.c
        query = select(trials.trial_id, as_word(trials.state)).where(trials.study_id == study_id)
        condition = trials.study_id == study_id
        with self.database.read() as connection:
            states = {trial_id: STATES.get(name) for trial_id, name in raw(connection, query)}
            found = {trial_id: (study_id, state) for trial_id, state in states.items()}
            own = own_trials(connection, rows_of(connection, condition), found)
        counted = Counter(state.value for each in own if (state := states[each]) is not None)
        foreign = frozenset(states.keys() - own)
        noted = self.noted(study_id, *interrupted) if interrupted else []
        counts = Counts(
            **{state.value: counted[state.value] for state in State},
            foreign=len(foreign),
            interrupted=sum(each in own and states[each] is State.FAILED for each in noted),
        )
        return counts, foreign

    @retried
    def images(self, study_id: int, *, without: Collection[int] = ()) -> int:
        """Sum of the last steps of all trials; `without` those."""
        steps = tables.steps.c
        last = _of_study(select(steps.trial_id, func.max(steps.step)), tables.steps, study_id)
        with self.database.read() as connection:
            found = raw(connection, last.group_by(steps.trial_id))
        return sum(step for trial_id, step in found if trial_id not in without and isinstance(step, int))

    @retried
    def add_study(self, name: str, metric: str) -> int | None:
        """Adds a study that maximises one value of that name; its id, or None where the name is taken.

        Who adds one of the same name at the same time waits for this transaction to end.
        """
        query = select(tables.studies.c.study_id).where(tables.studies.c.study_name == name)
        with self.database.write() as connection:
            # No plain read before the row is locked: MySQL would go on to read what was there before it.
            on_file = connection.dialect.name == "sqlite"
            is_new = on_file and connection.execute(query).first() is None
            put(connection, tables.studies, ("study_name",), [{"study_name": name}], replace=False)
            study_id = int(connection.execute(query.with_for_update()).scalar_one())
            if is_new:
                delete_rows(connection, study_id)  # orphans of a deleted study that had this id
            direction = tables.directions.c
            if connection.execute(select(direction.study_id).where(direction.study_id == study_id)).first():
                return None
            row = {"study_id": study_id, "objective": 0, "direction": "MAXIMIZE"}
            connection.execute(insert(tables.directions).values(**row))
            named = {"key": METRIC_NAMES, "value_json": json.dumps([metric])}
            connection.execute(insert(tables.study_system_attributes).values(study_id=study_id, **named))
        return study_id

    # Which trials

    @retried
    def ranked(self, study_id: int, *, without: str | None = None) -> list[int]:
        """Ids of the complete trials that have a value, foreign ones too: the highest value first, the
        earliest of equals. without: the key of a user attribute; trials that have it are left out."""
        trials, values, said = tables.trials, tables.values, tables.user_attributes
        kind = case((values.c.value_type == "INF_NEG", -1), (values.c.value_type == "INF_POS", 1), else_=0)
        query = (
            select(trials.c.trial_id)
            .join_from(trials, values, values.c.trial_id == trials.c.trial_id)
            .where(trials.c.study_id == study_id, trials.c.state == "COMPLETE", values.c.objective == 0)
            .order_by(kind.desc(), values.c.value.desc(), trials.c.number)
        )
        if without is not None:
            marked = select(said.c.trial_id).where(
                said.c.trial_id == trials.c.trial_id, said.c.key == without
            )
            query = query.where(~marked.exists())
        with self.database.read() as connection:
            return [trial_id for (trial_id,) in raw(connection, query)]

    @retried
    def noted(self, study_id: int, key: str, value: object | None = None) -> list[int]:
        """Ids of the trials that have this user attribute (with this value, unless None), by number."""
        table = tables.user_attributes
        query = _of_study(select(table.c.trial_id), table, study_id).where(table.c.key == key)
        if value is not None:
            query = query.where(table.c.value_json == json.dumps(value))
        with self.database.read() as connection:
            return list(connection.execute(query.order_by(tables.trials.c.number)).scalars())

    @retried
    def in_state(self, study_id: int, state: State) -> list[int]:
        """Ids of the trials in this state, by number."""
        trials = tables.trials.c
        query = select(trials.trial_id).where(trials.study_id == study_id, trials.state == NAMES[state])
        with self.database.read() as connection:
            return list(connection.execute(query.order_by(trials.number)).scalars())

    @retried
    def state(self, trial_id: int) -> State:
        """Of one trial, as the database has it now. Raises KeyError where there is none."""
        query = select(as_word(tables.trials.c.state)).where(tables.trials.c.trial_id == trial_id)
        with self.database.read() as connection:
            name = connection.execute(query).scalar()
        if name not in STATES:
            raise KeyError(f"there is no trial {trial_id}")
        return STATES[name]

    @retried
    def standings(self, study_id: int, step: int, news: News, *, mark: str) -> list[Standing]:
        """The trials that are news, by number, with their intermediate value at exactly this step.

        mark: the key of a user attribute.
        """
        trials, steps, said = tables.trials, tables.steps, tables.user_attributes
        marked = (said.c.trial_id == trials.c.trial_id) & (said.c.key == mark)
        here = (steps.c.trial_id == trials.c.trial_id) & (steps.c.step == step)
        query = (
            select(
                trials.c.trial_id,
                trials.c.number,
                as_word(trials.c.state),
                steps.c.intermediate_value,
                as_word(steps.c.intermediate_value_type),
                said.c.key,
            )
            .outerjoin_from(trials, steps, here)
            .outerjoin(said, marked)
            .where(news.of(study_id))
            .order_by(trials.c.number)
        )
        with self.database.read() as connection:
            rows = _with_known_state(raw(connection, query))
            own = self._own(connection, study_id, news, rows)
        found = [
            Standing(
                trial_id=trial_id,
                number=number,
                state=STATES[state],
                value=None if kind is None else number_of(value, kind),
                marked=key is not None,
                own=trial_id in own,
            )
            for trial_id, number, state, value, kind, key in rows
        ]
        news.note(found)
        return found

    @staticmethod
    def _own(connection: Connection, study_id: int, news: News, rows: Sequence[Any]) -> frozenset[int]:
        """The trials among these rows, which begin with (id, number, state), that are tune's own."""
        found = {row[0]: (study_id, STATES[row[2]]) for row in rows}
        return own_trials(connection, rows_of(connection, news.of(study_id)), found)

    @retried
    def reports(self, study_id: int) -> list[tuple[int, int]]:
        """(trial id, step) of every intermediate value, in the order in which they were written."""
        steps = tables.steps.c
        query = _of_study(
            select(steps.trial_intermediate_value_id, steps.trial_id, steps.step), tables.steps, study_id
        )
        with self.database.read() as connection:
            found = sorted(raw(connection, query), key=itemgetter(0))
        return [(trial_id, step) for _, trial_id, step in found]

    # Trials

    @retried
    def outlines(self, study_id: int, news: News) -> list[Outline]:
        """The trials that are news, by number, in outline; notes that they have been seen."""
        trials, values, steps, said = tables.trials, tables.values, tables.steps, tables.user_attributes
        why = (said.c.trial_id == trials.c.trial_id) & (said.c.key == FAILURE)
        last = select(func.max(steps.c.step)).where(steps.c.trial_id == trials.c.trial_id).scalar_subquery()
        query = (
            select(
                trials.c.trial_id,
                trials.c.number,
                as_word(trials.c.state),
                values.c.value,
                as_word(values.c.value_type),
                last,
                said.c.value_json,
            )
            .outerjoin_from(
                trials, values, (values.c.trial_id == trials.c.trial_id) & (values.c.objective == 0)
            )
            .outerjoin(said, why)
            .where(news.of(study_id))
            .order_by(trials.c.number)
        )
        with self.database.read() as connection:
            rows = _with_known_state(raw(connection, query))
            own = self._own(connection, study_id, news, rows)
        found = [
            Outline(
                trial_id=trial_id,
                number=number,
                state=STATES[state],
                value=None if kind is None else number_of(value, kind),
                last_step=last_step,
                own=trial_id in own,
                diverged=STATES[state] is State.FAILED and failure == json.dumps(Failure.DIVERGED),
            )
            for trial_id, number, state, value, kind, last_step, failure in rows
        ]
        news.note(found)
        return found

    @retried
    def facts(
        self, study_id: int, news: News, *, system: bool = True, drawn_and_reported: bool = True
    ) -> list[Facts]:
        """The trials that are news, by number; notes that they have been seen.

        Without `system` their system attributes are left out: Optuna's samplers keep long ones there.
        Without `drawn_and_reported` their parameters and intermediate values are, which are most of all rows.
        """
        with self.database.read() as connection:
            found = read_facts(
                connection, news.of(study_id), system=system, drawn_and_reported=drawn_and_reported
            )
        news.note(found)
        return found

    @retried
    def facts_of(self, trial_ids: Collection[int]) -> list[Facts]:
        """These trials by number. Those that do not exist are left out."""
        found: list[Facts] = []
        with self.database.read() as connection:
            for some in portions(trial_ids):
                found += read_facts(connection, tables.trials.c.trial_id.in_(some))
        return sorted(found, key=lambda trial: trial.number if isinstance(trial.number, int) else -1)

    # Writing

    def transaction(self) -> AbstractContextManager[object]:
        """What is written inside the block, tune's own tables included, is written together or not at all."""
        return self.database.write()

    @retried
    def add(
        self,
        study_id: int,
        *,
        fits: Callable[[Facts], bool] = lambda _: True,
        room: Callable[[], bool] = lambda: True,
    ) -> Facts:
        """A trial that begins now: the first queued one that fits, else a new one with the next number.

        Optuna looks at the queue before it asks for a new trial; what was queued in between is found here,
        else a repetition could be left over when all slots are filled. Raises KeyError where there is no
        such study, and Exhausted where `room` says that there is none for a trial that was not queued; it is
        asked while no other trial of the study can begin.

        When the database goes away in the middle there may be one more, which nobody claims; it is ended as
        any trial is whose worker vanished.
        """
        now = utc_now()
        with self.database.write() as connection:
            number = next_number(connection, study_id)
            trials = tables.trials.c
            waiting = read_facts(connection, (trials.study_id == study_id) & (trials.state == "WAITING"))
            for trial in in_turn(waiting):
                if fits(trial) and start_trial(connection, trial.trial_id):
                    [found] = read_facts(connection, trials.trial_id == trial.trial_id)
                    return found
            if not room():
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

    def lock(self, study_id: int) -> None:
        """Until the transaction ends in which this is called, no other process begins or queues a trial of
        the study, or locks it. Raises KeyError where there is no such study."""
        with self.database.write() as connection:
            next_number(connection, study_id)

    @retried
    def queue(
        self, study_id: int, settings: Mapping[str, Value], user: Mapping[str, object], *, mark: str
    ) -> bool:
        """Adds a waiting trial with these settings and user attributes, as Optuna's `enqueue_trial` does.

        Once, however often and by how many processes it is called: False where a trial of the study has the
        same value under the attribute `mark` already. Raises KeyError where there is no such study.
        """
        attributes = tables.user_attributes
        with self.database.write() as connection:
            number = next_number(connection, study_id)
            marked = (attributes.c.key == mark) & (attributes.c.value_json == json.dumps(user[mark]))
            already = _of_study(select(attributes.c.trial_id), attributes, study_id).where(marked)
            if connection.execute(already.limit(1)).first() is not None:
                return False
            trial_id = insert_trial(connection, study_id, number, state="WAITING")
            write_change(connection, trial_id, Change(user=dict(user), system={FIXED_PARAMS: dict(settings)}))
        return True

    @retried
    def mark(self, trial_id: int) -> None:
        """Marks a trial that begins as tune's own."""
        with self.database.write() as connection:
            write_change(connection, trial_id, Change(system={MARK: trial_id}))

    @retried
    def start(self, trial_id: int) -> bool:
        """Takes a waiting trial from the queue; False where somebody else has it."""
        with self.database.write() as connection:
            return start_trial(connection, trial_id)

    def change(self, trial_id: int, change: Change, *, guard: Callable[[], object] = lambda: None) -> None:
        """Does all of it or nothing. Raises TrialEnded for a finished trial, KeyError for none at all, and
        what `guard` raises, which is called in the transaction before anything is written."""
        tried = False

        def write() -> None:
            nonlocal tried
            again, tried = tried, True
            try:
                self._change(trial_id, change, guard)
            except TrialEnded:
                if not again or change.state is None or self.state(trial_id) is not change.state:
                    raise  # else it is our own earlier try that ended it, of which we never heard

        self.database.patiently(write)

    def _change(self, trial_id: int, change: Change, guard: Callable[[], object]) -> None:
        with self.database.write() as connection:
            state = select(as_word(tables.trials.c.state)).where(tables.trials.c.trial_id == trial_id)
            name = connection.execute(state.with_for_update()).scalar()
            if name is None:
                raise KeyError(f"there is no trial {trial_id}")
            if STATES.get(name) not in (State.RUNNING, State.WAITING):
                raise TrialEnded(f"The trial with id {trial_id} is {name} already.")
            guard()
            write_change(connection, trial_id, change)
            if change.state is not None:
                connection.execute(
                    update(tables.trials)
                    .where(tables.trials.c.trial_id == trial_id)
                    .values(state=NAMES[change.state], datetime_complete=utc_now())
                )


def _of_study(query: Select[Any], table: Table, study_id: int) -> Select[Any]:
    """Rows of a table whose trials belong to the study."""
    joined = query.join_from(table, tables.trials, tables.trials.c.trial_id == table.c.trial_id)
    return joined.where(tables.trials.c.study_id == study_id)


def _with_known_state(rows: Sequence[Any]) -> list[Any]:
    """The rows, which begin with (id, number, state), whose number and state can be read."""
    return [row for row in rows if row[2] in STATES and isinstance(row[1], int)]


def in_turn(waiting: Iterable[Facts]) -> list[Facts]:
    """The order in which queued trials begin: tune's own first.

    The slots that are left are enough for all of tune's own, which must not be left over; trials that another
    program queued fill slots that would have gone to the sampler.
    """
    return sorted(waiting, key=lambda trial: (not trial.own, trial.trial_id))
