"""What Optuna's tables say of trials, as records, read with one query for each table."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, or_, select

from search.optuna_db import optuna_tables as tables
from search.optuna_db.optuna_tables import as_word, number_of
from search.optuna_db.ownership import Fetch, own_trials, rows_of
from search.records import State, Value
from search.store.database import raw

STATES = {
    "WAITING": State.WAITING,
    "RUNNING": State.RUNNING,
    "COMPLETE": State.COMPLETE,
    "PRUNED": State.PRUNED,
    "FAIL": State.FAILED,
}
NAMES = {state: name for name, state in STATES.items()}

UNFINISHED = (State.WAITING, State.RUNNING)

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
    own: bool = True
    """as in Facts"""
    diverged: bool = False
    """whether it failed because its loss was no longer finite"""


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
    own: bool = True
    """as in Facts"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """All that Optuna's tables say of a trial."""

    trial_id: int
    number: int
    state: State
    value: float | None
    """of the first objective; a study of tune's has no other"""
    params: Mapping[str, tuple[float, str]]
    """by name, in the order of drawing: (number as stored, distribution as JSON)"""
    user: Mapping[str, Any]
    system: Mapping[str, Any]
    steps: Mapping[int, float]
    started: datetime.datetime | None
    """UTC, with its zone"""
    finished: datetime.datetime | None
    """UTC, with its zone"""
    further: tuple[float, ...] = ()
    """values of further objectives"""
    own: bool = True
    """tune's own, not another program's (search.optuna_db.ownership)"""
    faults: tuple[str, ...] = ()
    """what of it could not be read; what could be read is in the other fields"""

    @property
    def settings(self) -> dict[str, Value]:
        """The parameters as they were drawn."""
        return {name: external(number, kind) for name, (number, kind) in self.params.items()}

    @property
    def given(self) -> Mapping[str, Value]:
        """The parameters that it was queued with; none of a trial that a sampler thought of."""
        found = self.system.get(FIXED_PARAMS)
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What happens to a running trial in one transaction; more may be added until it is written."""

    params: dict[str, tuple[float, str]] = field(default_factory=dict)
    """as in Facts; a name that is there already is left as it is"""
    user: dict[str, Any] = field(default_factory=dict)
    system: dict[str, Any] = field(default_factory=dict)
    steps: dict[int, float] = field(default_factory=dict)
    state: State | None = None
    """None: it stays as it is"""
    value: float | None = None
    """of the first objective"""
    further: tuple[float, ...] = ()
    """values of further objectives"""


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
            if item.state in UNFINISHED:
                self._open.add(item.trial_id)
            else:
                self._open.discard(item.trial_id)


def read_facts(
    connection: Connection, condition: Any, *, system: bool = True, drawn_and_reported: bool = True
) -> list[Facts]:
    """The trials under a condition on the table of trials, by number: one query for each table."""
    t, fetch = tables.trials.c, rows_of(connection, condition)
    query = select(t.trial_id, t.number, t.study_id, as_word(t.state), t.datetime_start, t.datetime_complete)
    rows = raw(connection, query.where(condition).order_by(t.number, t.trial_id))
    if not rows:
        return []
    read = _Read({row[0]: _Parts() for row in rows})
    if drawn_and_reported:
        read.drawn(fetch)
        read.reported(fetch)
    read.attributes(fetch, tables.user_attributes, lambda parts: parts.user)
    if system:
        read.attributes(fetch, tables.system_attributes, lambda parts: parts.system)
    read.values(fetch)
    own = own_trials(connection, fetch, {row[0]: (row[2], STATES.get(row[3])) for row in rows})
    return [_facts(row, read.parts[row[0]], own=row[0] in own) for row in rows]


@dataclass(slots=True)
class _Parts:
    """What the tables beside that of the trials have on one trial."""

    params: dict[str, tuple[float, str]] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=dict)
    system: dict[str, Any] = field(default_factory=dict)
    steps: dict[int, float] = field(default_factory=dict)
    values: dict[int, float] = field(default_factory=dict)
    """by objective"""
    faults: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Read:
    """Reads one table after the other. Trials that came since the first query wait for the next look."""

    parts: dict[int, _Parts]

    def drawn(self, fetch: Fetch) -> None:
        p = tables.params.c
        rows = fetch(p.trial_id, p.param_id, p.param_name, p.param_value, p.distribution_json)
        for trial_id, _, name, number, kind in sorted(rows, key=itemgetter(1)):
            if trial_id in self.parts:
                self.parts[trial_id].params[name] = (number, kind)

    def reported(self, fetch: Fetch) -> None:
        s = tables.steps.c
        kind_of = as_word(s.intermediate_value_type)
        for trial_id, step, value, kind in fetch(s.trial_id, s.step, s.intermediate_value, kind_of):
            if trial_id in self.parts:
                self.parts[trial_id].steps[step] = number_of(value, kind)

    def attributes(self, fetch: Fetch, table: Table, into: Callable[[_Parts], dict[str, Any]]) -> None:
        for trial_id, key, text in fetch(table.c.trial_id, table.c.key, table.c.value_json):
            parts = self.parts.get(trial_id)
            if parts is None:
                continue
            try:
                into(parts)[key] = json.loads(text)
            except (TypeError, ValueError, RecursionError) as error:
                parts.faults.append(f"{FOREIGN_VALUE} ({_named(key, error)})")

    def values(self, fetch: Fetch) -> None:
        v = tables.values.c
        for trial_id, objective, value, kind in fetch(
            v.trial_id, v.objective, v.value, as_word(v.value_type)
        ):
            if isinstance(objective, int) and trial_id in self.parts:
                self.parts[trial_id].values[objective] = number_of(value, kind)


def _facts(row: Sequence[Any], parts: _Parts, *, own: bool) -> Facts:
    """Of a row of the table of trials, as `read_facts` asks for it."""
    trial_id, number, _, word, *moments = row
    state, faults = STATES.get(word), list(parts.faults)
    if state is None:
        faults.append("its state is not one of Optuna's")
    try:
        started, finished = map(_moment, moments)
    except (TypeError, ValueError):
        started = finished = None
        faults.append("its start or end is not a timestamp")
    return Facts(
        trial_id=trial_id,
        number=number,
        state=State.FAILED if state is None else state,
        value=parts.values.get(0),
        further=tuple(value for objective, value in sorted(parts.values.items()) if objective != 0),
        params=parts.params,
        user=parts.user,
        system=parts.system,
        steps=parts.steps,
        started=started,
        finished=finished,
        own=own,
        faults=tuple(faults),
    )


FOREIGN_VALUE = "it holds a value that Optuna did not write"
"""What is wrong with a trial where JSON cannot be read."""


def _named(key: object, error: Exception) -> str:
    """Where JSON cannot be read, on one line."""
    return f"{key}: {' '.join(str(error).split())}"


def _moment(stored: object) -> datetime.datetime | None:
    """A moment as a driver gives it, with its zone. Raises ValueError and TypeError for anything else."""
    if stored is None:
        return None
    if isinstance(stored, str):  # SQLite has no type for it
        stored = datetime.datetime.fromisoformat(stored)
    if not isinstance(stored, datetime.datetime):
        raise TypeError(f"{stored!r} is not a timestamp")
    return stored.replace(tzinfo=datetime.UTC)


@lru_cache(maxsize=10_000)
def _distribution(kind: str) -> tuple[str, tuple[Value, ...]]:
    """(name, choices) of a distribution in JSON. Raises for what no Optuna has written."""
    parsed = json.loads(kind)
    return parsed["name"], tuple(parsed["attributes"].get("choices", ()))


def external(number: float, kind: str) -> Value:
    """A parameter as it was drawn, from the number that Optuna stores and its distribution in JSON.

    For trials that search.study.usable found sound.
    """
    name, choices = _distribution(kind)
    if choices:
        return choices[int(number)]
    return int(number) if name.startswith("Int") else number
