"""Reads trials from Optuna's tables: few queries, however many trials there are."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, Table, case, func, select

from search.optuna_db import optuna_tables as tables
from search.optuna_db.optuna_tables import as_word, number_of
from search.optuna_db.ownership import FAILURE, own_trials, rows_of
from search.optuna_db.trial_facts import NAMES, STATES, Facts, News, Outline, Standing, read_facts
from search.records import Counts, Direction, Failure, State
from search.store.database import Database, Transaction, portions, raw, retried


class TrialQueries:
    """What is asked of the trials of a study, or of many of them."""

    database: Database

    # How many

    @retried
    def counts(self, study_id: int) -> Counts:
        """How many trials are in each state, also those that another program added."""
        trials = tables.trials.c
        query = select(as_word(trials.state), func.count()).where(trials.study_id == study_id)
        with self.database.read() as connection:
            found = connection.execute(query.group_by(trials.state)).all()
        return Counts(**{STATES[name].value: number for name, number in found if name in STATES})

    @retried
    def tally(self, study_id: int) -> tuple[Counts, frozenset[int]]:
        """How many of tune's own trials are in each state, how many are foreign, and the ids of the latter.

        An own trial whose state Optuna does not know counts nowhere.
        """
        trials = tables.trials.c
        query = select(trials.trial_id, as_word(trials.state)).where(trials.study_id == study_id)
        condition = trials.study_id == study_id
        with self.database.read() as connection:
            states = {trial_id: STATES.get(name) for trial_id, name in raw(connection, query)}
            found = {trial_id: (study_id, state) for trial_id, state in states.items()}
            own = own_trials(connection, rows_of(connection, condition), found)
            table = tables.user_attributes
            said = of_study(select(table.c.trial_id, table.c.value_json), table, study_id)
            failures = raw(connection, said.where(table.c.key == FAILURE))
        known = {json.dumps(failure): failure for failure in Failure}
        reasons = {trial_id: known.get(written) for trial_id, written in failures}
        ends = [(state, reasons.get(each)) for each in own if (state := states[each]) is not None]
        foreign = frozenset(states.keys() - own)
        return Counts.of(ends, foreign=len(foreign)), foreign

    @retried
    def steps(self, study_id: int, *, without: Collection[int] = ()) -> int:
        """Sum of the last steps of all trials; `without` those."""
        steps = tables.steps.c
        last = of_study(select(steps.trial_id, func.max(steps.step)), tables.steps, study_id)
        with self.database.read() as connection:
            found = raw(connection, last.group_by(steps.trial_id))
        return sum(step for trial_id, step in found if trial_id not in without and isinstance(step, int))

    # Which trials

    @retried
    def ranked(self, study_id: int, direction: Direction, *, without: str | None = None) -> list[int]:
        """Ids of the complete trials that have a value, foreign ones too: the best value first, the
        earliest of equals. without: the key of a user attribute; trials that have it are left out."""
        trials, values, said = tables.trials, tables.values, tables.user_attributes
        kind = case((values.c.value_type == "INF_NEG", -1), (values.c.value_type == "INF_POS", 1), else_=0)
        query = (
            select(trials.c.trial_id)
            .join_from(trials, values, values.c.trial_id == trials.c.trial_id)
            .where(trials.c.study_id == study_id, trials.c.state == "COMPLETE", values.c.objective == 0)
        )
        best_first = [kind, values.c.value]
        if direction is Direction.MAXIMIZE:
            best_first = [each.desc() for each in best_first]
        query = query.order_by(*best_first, trials.c.number)
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
        query = of_study(select(table.c.trial_id), table, study_id).where(table.c.key == key)
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
    def ids_of(self, study_id: int, numbers: Collection[int]) -> frozenset[int]:
        """Ids of the trials with these numbers."""
        trials = tables.trials.c
        query = select(trials.trial_id).where(trials.study_id == study_id)
        found: set[int] = set()
        with self.database.read() as connection:
            for some in portions(numbers):
                found.update(connection.execute(query.where(trials.number.in_(some))).scalars())
        return frozenset(found)

    @retried
    def waiting(self, study_id: int) -> list[int]:
        """Ids of the queued trials, by number. Raises KeyError where there is no such study."""
        studies, trials = tables.studies, tables.trials
        queued = (trials.c.study_id == studies.c.study_id) & (trials.c.state == "WAITING")
        query = (
            select(trials.c.trial_id)
            .outerjoin_from(studies, trials, queued)
            .where(studies.c.study_id == study_id)
            .order_by(trials.c.number)
        )
        with self.database.read() as connection:
            found = list(connection.execute(query).scalars())
        if not found:
            raise KeyError(f"there is no study {study_id}")
        return [trial_id for trial_id in found if trial_id is not None]

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
        """The trials that are news, by number, with their first intermediate value at or after this step.

        mark: the key of a user attribute.
        """
        trials, steps, said = tables.trials, tables.steps, tables.user_attributes
        marked = (said.c.trial_id == trials.c.trial_id) & (said.c.key == mark)
        later = steps.alias()
        first = (
            select(func.min(later.c.step))
            .where((later.c.trial_id == trials.c.trial_id) & (later.c.step >= step))
            .scalar_subquery()
        )
        here = (steps.c.trial_id == trials.c.trial_id) & (steps.c.step == first)
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
        query = of_study(
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
        self,
        study_id: int,
        news: News,
        *,
        system: bool = True,
        drawn_and_reported: bool = True,
        within: Transaction | None = None,
    ) -> list[Facts]:
        """The trials that are news, by number; notes that they have been seen.

        Without `system` their system attributes are left out: Optuna's samplers keep long ones there.
        Without `drawn_and_reported` their parameters and intermediate values are, which are most of all rows.
        within: a transaction that the caller has opened, and in which nothing of the study was written: what
        was seen stays seen if the transaction fails.
        """
        with self.database.read(within) as connection:
            found = read_facts(
                connection, news.of(study_id), system=system, drawn_and_reported=drawn_and_reported
            )
        news.note(found)
        return found

    @retried
    def facts_of(self, trial_ids: Collection[int], *, within: Transaction | None = None) -> list[Facts]:
        """These trials by number. Those that do not exist are left out."""
        found: list[Facts] = []
        with self.database.read(within) as connection:
            for some in portions(trial_ids):
                found += read_facts(connection, tables.trials.c.trial_id.in_(some))
        return sorted(found, key=lambda trial: trial.number if isinstance(trial.number, int) else -1)


def of_study(query: Select[Any], table: Table, study_id: Any) -> Select[Any]:
    """Rows of a table whose trials belong to the study, which is an id or a query for one."""
    joined = query.join_from(table, tables.trials, tables.trials.c.trial_id == table.c.trial_id)
    return joined.where(tables.trials.c.study_id == study_id)


def _with_known_state(rows: Sequence[Any]) -> list[Any]:
    """The rows, which begin with (id, number, state), whose number and state can be read."""
    return [row for row in rows if row[2] in STATES and isinstance(row[1], int)]
