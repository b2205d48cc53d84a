"""Studies and trials as records, read in a few queries however many trials there are.
Imports no Optuna: commands that only look answer without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from unicodedata import combining, normalize

from search.errors import UsageError
from search.optuna_db.opening import open_tables
from search.optuna_db.optuna_trials import OptunaTrials
from search.optuna_db.ownership import (
    ABLATION,
    CODE_SHA256,
    CONFIRMING,
    FAILURE,
    FAILURE_DETAIL,
    PARAMETERS,
    PINNED,
    REFERENCE,
    RETRY_OF,
)
from search.optuna_db.trial_facts import Facts, News, external
from search.records import (
    AblationRun,
    Confirming,
    Counts,
    CurveCheck,
    Failure,
    ForeignTrial,
    Metric,
    State,
    Track,
    TrialRecord,
    Value,
)
from search.store.base import Store
from search.store.location import Location, locate
from search.store.sql import SQLStore
from search.study.revisions import Revisions
from search.study.usable import Judge, fault_of_curve, usual_names
from tune.space import Space

FEW = 20
"""Number of leaders that are read at a time until one of them can be used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A storage that is opened without Optuna: to read it, and to record an export or restored weights."""

    name: str
    """the URL as it may be shown"""
    location: Location
    """where the database and the files of its studies lie"""
    store: SQLStore
    """tune's tables"""
    trials: OptunaTrials
    """Optuna's tables"""

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_error: object) -> None:
        self.store.close()


def open_reading(text: str) -> Reading:
    """Opens a database that exists, without Optuna. An SQLite file of an older tune is upgraded first, else
    nothing is written here. Raises as `open_storage`.

    One that holds studies of plain Optuna and none of tune's is opened too: they can be named and counted.
    """
    location = locate(text)
    store = SQLStore(location.url)
    try:
        open_tables(store, plain=True)
    except BaseException:
        store.close()
        raise
    return Reading(name=location.name, location=location, store=store, trials=OptunaTrials(store.database))


def find_id(trials: OptunaTrials, name: str) -> int | None:
    """Id of the study of that name, None where there is none.

    Raises UsageError where the database took one name for another: MySQL ignores case and accents.
    """
    found = trials.named(name)
    if found is None:
        return None
    if found[1] != name:
        raise UsageError(
            f"This database does not tell the name {name!r} from that of the study {found[1]!r}; "
            "choose a name that differs in more than case, accents or spaces."
        )
    return found[0]


def require_distinct(trials: OptunaTrials, space: Space) -> None:
    """Raises UsageError where the database would take one setting for another: MySQL ignores case and accents
    in names, and keeps one of the two in each trial."""
    if trials.database.engine.dialect.name not in ("mysql", "mariadb"):
        return
    known: dict[str, str] = {}
    for name in space.domains:
        plain = "".join(each for each in normalize("NFKD", name) if not combining(each)).casefold().strip()
        if plain in known:
            raise UsageError(
                f"This database does not tell the settings {known[plain]!r} and {name!r} apart; choose names "
                "that differ in more than case, accents or spaces, or use another database."
            )
        known[plain] = name


def ablation_of(attributes: Mapping[str, Any]) -> AblationRun | None:
    """What a trial with these user attributes is for in an ablation; None outside of ablations."""
    if ABLATION not in attributes:
        return None
    arm, seed, budget, chooses = attributes[ABLATION]
    return AblationRun(arm=arm, seed=seed, budget=budget, chooses=chooses)


def confirming_of(attributes: Mapping[str, Any]) -> Confirming | None:
    """What a trial with these user attributes confirms; None outside of confirmations."""
    if CONFIRMING not in attributes:
        return None
    candidate, seed = attributes[CONFIRMING]
    return Confirming(candidate=candidate, seed=seed)


class TrialReader:
    """The trials of one study as records: tune's own, as far as they can be used."""

    def __init__(
        self,
        trials: OptunaTrials,
        study_id: int,
        revisions: Revisions,
        metric: Metric,
        *,
        store: Store | None = None,
        say: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        """metric: what the study optimizes. store: where learning curves are, so that trials without a sound
        one are left out; None: these are not looked at. say: told of each trial that is left out, once, what
        it is called and what is wrong."""
        self._trials = trials
        self._study_id = study_id
        self._revisions = revisions
        self._store = store
        self._say = say
        self._metric = metric
        self._judge = Judge(revisions, metric)
        self._news = News()
        self._known: dict[int, TrialRecord] = {}
        """by trial id, as is all that follows"""
        self._usable: dict[int, TrialRecord] = {}
        """those of them whose settings and curves are sound, too"""
        self._states: dict[int, tuple[State, object]] = {}
        """of tune's own trials, also of those that are left out; with what says why one failed"""
        self._foreign: dict[int, ForeignTrial] = {}
        self._checks: dict[int, CurveCheck] = {}
        self._names: frozenset[str] = frozenset()
        """of the metrics in the study's curves"""
        self._faults: dict[int, str] = {}
        self.left_out: dict[int, str] = {}
        """by number, what is wrong with trials that were left out"""

    def all(self) -> list[TrialRecord]:
        """All by number. Finished ones are read once by this object, so that polling is cheap."""
        news = self._trials.facts(self._study_id, self._news, system=False)
        for trial in news:
            for known in (self._known, self._states, self._foreign):
                known.pop(trial.trial_id, None)
            if not trial.own:
                self._foreign[trial.trial_id] = _foreign(trial)
                continue
            self._states[trial.trial_id] = trial.state, trial.user.get(FAILURE)
            if self._sound(trial):
                self._known[trial.trial_id] = self._record(trial)
        if news and self._store is not None:
            ids = [each.trial_id for each in news if each.own]
            self._checks |= self._store.check_curves(ids, self._metric)
        names = usual_names(self._checks.values())
        anew = {each.trial_id for each in news}
        if names != self._names:
            self._names = names
            anew |= self._known.keys()
        for trial_id in anew:
            self._usable.pop(trial_id, None)
        judged = [self._known[trial_id] for trial_id in anew if trial_id in self._known]
        for record in self._with_sound_curves(judged, self._checks, names):
            self._usable[record.trial_id] = record
        by_number: dict[int, TrialRecord] = {}
        for record in sorted(self._usable.values(), key=lambda each: (each.number, each.trial_id)):
            if by_number.setdefault(record.number, record) is not record:
                self._leave_out(record.trial_id, record.number, "another trial has its number")
        return list(by_number.values())

    @property
    def foreign(self) -> list[ForeignTrial]:
        """The trials of other programs by number, as of the last `all`."""
        return sorted(self._foreign.values(), key=lambda each: each.number)

    @property
    def counted(self) -> Counts:
        """As `counts`, as of the last `all`. Trials that are left out are counted: they fill their slots."""
        return Counts.of(self._states.values(), foreign=len(self._foreign))

    @property
    def faults(self) -> Mapping[int, str]:
        """What is wrong with the trials that were left out so far, by trial id."""
        return self._faults

    def tracks(self, store: Store) -> list[Track]:
        """How each trial went, by number, with the curves of `store`. No settings are read, nor judged."""
        facts = self._trials.facts(self._study_id, News(), system=False, drawn_and_reported=False)
        facts = [trial for trial in facts if trial.own and self._sound(trial)]
        curves = store.checked_curves([trial.trial_id for trial in facts], self._metric)
        checks = {trial_id: curve.check for trial_id, curve in curves.items()}
        names = usual_names(checks.values())
        return [
            Track(
                trial_id=trial.trial_id,
                number=trial.number,
                state=trial.state,
                score=None if trial.value is None else self._metric.score_of(trial.value),
                reference=trial.user.get(REFERENCE),
                retry_of=trial.user.get(RETRY_OF),
                failure=Failure(trial.user[FAILURE]) if FAILURE in trial.user else None,
                started=trial.started,
                finished=trial.finished,
                reports=curves[trial.trial_id].reports if trial.trial_id in curves else (),
            )
            for trial in facts
            if self._store is None or fault_of_curve(trial.state, checks.get(trial.trial_id), names) is None
        ]

    def reports(self) -> list[tuple[int, int]]:
        """(trial id, step) of every report of the study, in the order in which they came."""
        return self._trials.reports(self._study_id)

    def counts(self) -> Counts:
        """How many of tune's own trials are in each state, and how many other programs added."""
        return self.tally()[0]

    def tally(self) -> tuple[Counts, frozenset[int]]:
        """As `counts`, and the ids of the trials that other programs added."""
        return self._trials.tally(self._study_id)

    def steps(self, *, without: Collection[int]) -> int:
        """At the last report, summed over the trials but those with these ids: those of other programs."""
        return self._trials.steps(self._study_id, without=without)

    def best(self) -> TrialRecord | None:
        """The complete searched trial with the highest score, the earliest of equals; never a reference, and
        none that is set aside.

        None where there is none.
        """
        ranked = self._trials.ranked(self._study_id, self._metric.direction, without=REFERENCE)
        for start in range(0, len(ranked), FEW):
            some = ranked[start : start + FEW]
            found = {trial.trial_id: trial for trial in self.of(some)}
            for trial_id in some:
                if trial_id in found and found[trial_id].set_aside is None:
                    return found[trial_id]
        return None

    def references(self) -> list[TrialRecord]:
        """The trials of reference configurations, by number."""
        return self.of(self._trials.noted(self._study_id, REFERENCE))

    def of(self, trial_ids: Collection[int]) -> list[TrialRecord]:
        """These trials by number, in a few queries. Those that do not exist, cannot be used or are another
        program's are left out."""
        found = [trial for trial in self._trials.facts_of(trial_ids) if trial.own and self._sound(trial)]
        records = [self._record(trial) for trial in found]
        ids = [each.trial_id for each in found]
        checks = {} if self._store is None else self._store.check_curves(ids, self._metric)
        return self._with_sound_curves(records, checks, usual_names(checks.values()))

    def given_settings(self, trial_ids: Collection[int]) -> dict[int, dict[str, Value]]:
        """All settings of trials that were queued with theirs, by trial id, also of those that have not begun
        and drawn them."""
        space = self._revisions.present
        return {
            trial.trial_id: space.active({**trial.given, **trial.settings}, pinned=trial.user.get(PINNED, {}))
            for trial in self._trials.facts_of(trial_ids)
        }

    def _sound(self, trial: Facts) -> bool:
        fault = self._judge.fault(trial)
        if fault is not None:
            self._leave_out(trial.trial_id, trial.number, fault)
        return fault is None

    def _with_sound_curves(
        self, records: Collection[TrialRecord], checks: Mapping[int, CurveCheck], names: frozenset[str]
    ) -> list[TrialRecord]:
        """Those whose settings are whole and whose curves are sound, where that is asked for."""
        if self._store is None:
            return list(records)
        sound = []
        for record in records:
            check = checks.get(record.trial_id)
            fault = self._judge.fault_of_settings(record) or fault_of_curve(record.state, check, names)
            if fault is None:
                sound.append(record)
            else:
                self._leave_out(record.trial_id, record.number, fault)
        return sound

    def _leave_out(self, trial_id: int, number: object, fault: str) -> None:
        if trial_id not in self._faults:
            self._faults[trial_id] = fault
            if isinstance(number, int):
                self.left_out[number] = fault
            called = f"Trial {number}" if isinstance(number, int) else f"The trial with id {trial_id}"
            self._say(called, fault)

    def _record(self, trial: Facts) -> TrialRecord:
        """What Optuna's tables say of a trial, in tune's words."""
        value = trial.value
        if value is None and trial.steps:
            value = trial.steps[max(trial.steps)]
        said = trial.user
        pinned: Mapping[str, Value] = said.get(PINNED, {})
        revision = self._revisions.revision_of(trial)
        settings = trial.settings
        shape = self._revisions.spaces[revision].shape(settings, pinned=pinned)
        return TrialRecord(
            trial_id=trial.trial_id,
            number=trial.number,
            state=trial.state,
            score=None if value is None else self._metric.score_of(value),
            params={name: each for name, each in settings.items() if name in shape.searched},
            pinned={name: each for name, each in pinned.items() if name in shape.searched},
            fixed=shape.fixed,
            reference=said.get(REFERENCE),
            retry_of=said.get(RETRY_OF),
            confirming=confirming_of(said),
            ablation=ablation_of(said),
            parameters=said.get(PARAMETERS),
            code=said.get(CODE_SHA256),
            space_revision=revision,
            set_aside=self._revisions.why_set_aside(trial),
            failure=Failure(said[FAILURE]) if FAILURE in said else None,
            failure_detail=said.get(FAILURE_DETAIL),
            steps={step: self._metric.score_of(reported) for step, reported in trial.steps.items()},
            started=trial.started,
            finished=trial.finished,
        )


def _foreign(trial: Facts) -> ForeignTrial:
    """A trial of another program, as far as it can be read."""
    params: dict[str, Value] = {}
    for name, (number, kind) in trial.params.items():
        with suppress(ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
            params[name] = external(number, kind)
    finite = trial.value is not None and math.isfinite(trial.value)
    return ForeignTrial(
        number=trial.number if isinstance(trial.number, int) else -1,
        state=trial.state,
        value=trial.value if finite else None,
        params=params,
    )
