"""What Optuna's tables say of trials, as records, read with one query for each table.
Knows nothing of writing, of Optuna's objects and of tune's own tables.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, or_, select

from search.errors import ConfigError
from search.records import State, Value
from search.store import optuna_tables as tables
from search.store.optuna_tables import number_of

STATES = {
    "WAITING": State.WAITING,
    "RUNNING": State.RUNNING,
    "COMPLETE": State.COMPLETE,
    "PRUNED": State.PRUNED,
    "FAIL": State.FAILED,
}
NAMES = {state: name for name, state in STATES.items()}

FIXED_PARAMS = "fixed_params"
"""System attribute in which Optuna keeps the settings of a queued trial until they are drawn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outline:
    """What it takes to rank a trial."""

    trial_id: int
    number: int
    state: State
    value: float | None
    last_step: int | None
    """of its intermediate values"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How a trial stands at one step."""

    trial_id: int
    number: int
    state: State
    value: float | None
    """None: it has reported nothing there, or not yet"""
    marked: bool
    """whether it has the user attribute that was asked for"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """All that Optuna's tables say of a trial."""

    trial_id: int
    number: int
    state: State
    value: float | None
    params: Mapping[str, tuple[float, str]]
    """by name, in the order of drawing: (number as stored, distribution as JSON)"""
    user: Mapping[str, Any]
    system: Mapping[str, Any]
    steps: Mapping[int, float]
    started: datetime.datetime | None
    """UTC, with its zone"""
    finished: datetime.datetime | None
    """UTC, with its zone"""

    @property
    def settings(self) -> dict[str, Value]:
        """The parameters as they were drawn."""
        return {name: external(number, kind) for name, (number, kind) in self.params.items()}

    @property
    def given(self) -> Mapping[str, Value]:
        """The parameters that it was queued with; none of a trial that a sampler thought of."""
        found: Mapping[str, Value] = self.system.get(FIXED_PARAMS, {})
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What happens to a running trial in one transaction; more may be added until it is written."""

    params: dict[str, tuple[float, str]] = field(default_factory=dict)
    """as in Facts; a name that is there already is left as it is"""
    user: dict[str, Any] = field(default_factory=dict)
    system: dict[str, Any] = field(default_factory=dict)
    steps: dict[int, float] = field(default_factory=dict)
    state: State | None = None
    """COMPLETE, PRUNED or FAILED; None: it goes on"""
    value: float | None = None


Item = TypeVar("Item", Outline, Standing, Facts)


class News:
    """Where a reader stands in a study: what it has not seen, and what may have changed since.

    Trials of one study get their ids in the order in which they become visible, and finished ones are
    immutable, so that the trials after the last one seen and those that were open then are all there is.
    """

    def __init__(self) -> None:
        self._last = -1
        self._open: set[int] = set()

    def of(self, study_id: int) -> Any:
        """The condition that selects them."""
        later = tables.trials.c.trial_id > self._last
        changed = tables.trials.c.trial_id.in_(sorted(self._open))
        return (tables.trials.c.study_id == study_id) & (or_(later, changed) if self._open else later)

    def note(self, items: Iterable[Item]) -> None:
        """These have been seen."""
        for item in items:
            self._last = max(self._last, item.trial_id)
            if item.state in (State.WAITING, State.RUNNING):
                self._open.add(item.trial_id)
            else:
                self._open.discard(item.trial_id)


def read_facts(
    connection: Connection, condition: Any, *, system: bool = True, drawn_and_reported: bool = True
) -> list[Facts]:
    """The trials under a condition on the table of trials, by number: one query for each table."""
    trials = tables.trials
    rows = connection.execute(select(trials).where(condition).order_by(trials.c.number)).all()
    ids = [row.trial_id for row in rows]
    params: dict[int, dict[str, tuple[float, str]]] = {each: {} for each in ids}
    attributes: dict[Table, dict[int, dict[str, Any]]] = {
        tables.user_attributes: {each: {} for each in ids},
        tables.system_attributes: {each: {} for each in ids},
    }
    steps: dict[int, dict[int, float]] = {each: {} for each in ids}
    values: dict[int, float] = {}
    if rows:
        p, s, v = tables.params.c, tables.steps.c, tables.values.c

        def fetch(*columns: Any) -> list[Any]:
            table = columns[0].table
            query = select(*columns).join_from(table, trials, trials.c.trial_id == table.c.trial_id)
            result = connection.execute(query.where(condition))
            # As the driver gives them: numbers and words need no conversion, and SQLAlchemy's own rows,
            # two hundred thousand of them, would take a quarter of a second.
            found = result.cursor.fetchall() if result.cursor is not None else []
            result.close()
            # Trials may have come since the first query; they wait for the next look.
            return [row for row in found if row[0] in params]

        if drawn_and_reported:
            drawn = fetch(p.trial_id, p.param_id, p.param_name, p.param_value, p.distribution_json)
            drawn.sort(key=itemgetter(1))
            for trial_id, _, name, number, kind in drawn:
                params[trial_id][name] = (number, kind)
            reported = fetch(s.trial_id, s.step, s.intermediate_value, s.intermediate_value_type)
            for trial_id, step, value, kind in reported:
                steps[trial_id][step] = number_of(value, kind)
        for table in attributes if system else (tables.user_attributes,):
            for trial_id, key, text in fetch(table.c.trial_id, table.c.key, table.c.value_json):
                attributes[table][trial_id][key] = json.loads(text)
        for trial_id, objective, value, kind in fetch(v.trial_id, v.objective, v.value, v.value_type):
            if objective == 0:
                values[trial_id] = number_of(value, kind)
    return [
        Facts(
            trial_id=row.trial_id,
            number=row.number,
            state=STATES[row.state],
            value=values.get(row.trial_id),
            params=params[row.trial_id],
            user=attributes[tables.user_attributes][row.trial_id],
            system=attributes[tables.system_attributes][row.trial_id],
            steps=steps[row.trial_id],
            started=utc(row.datetime_start),
            finished=utc(row.datetime_complete),
        )
        for row in rows
    ]


@lru_cache(maxsize=10_000)
def _distribution(kind: str) -> tuple[str, tuple[Value, ...]]:
    """(name, choices) of a distribution in JSON. Raises ConfigError for what no Optuna has written."""
    try:
        parsed = json.loads(kind)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"The storage holds a value that Optuna did not write ({error}): it is damaged, or another "
            "program changed it. Nothing was changed now."
        ) from error
    return parsed["name"], tuple(parsed["attributes"].get("choices", ()))


def external(number: float, kind: str) -> Value:
    """A parameter as it was drawn, from the number that Optuna stores and its distribution in JSON."""
    name, choices = _distribution(kind)
    if choices:
        return choices[int(number)]
    return int(number) if name.startswith("Int") else number


def utc(moment: datetime.datetime | None) -> datetime.datetime | None:
    return None if moment is None else moment.replace(tzinfo=datetime.UTC)
