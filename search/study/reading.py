"""Studies and trials as records, read in a few queries however many trials there are.
Knows nothing of Optuna's objects and imports none: commands that only look answer without it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from search.errors import UsageError
from search.records import Confirming, Counts, Failure, Measured, State, Track, TrialRecord, Value
from search.space.domain import Space
from search.store.location import Location, locate
from search.store.optuna_trials import OptunaTrials
from search.store.sql import SQLStore
from search.store.trial_facts import Facts, News

# Trial attributes that tune writes; optuna-dashboard shows them beside the parameters.
REFERENCE, PINNED, RETRY_OF, ORIGIN = "reference", "pinned", "retry_of", "origin"
PARAMETERS, FAILURE, FAILURE_DETAIL = "parameters", "failure", "failure_detail"
CONFIRMING = "confirming"
"""[number of the candidate in the searched study, index of the seed]"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A storage that is only looked at."""

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
    """Opens a database that exists, to look at it. Nothing is written. Raises as `open_storage`."""
    location = locate(text)
    store = SQLStore(location.url)
    try:
        store.look(create=False)
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


def confirming_of(attributes: Mapping[str, Any]) -> Confirming | None:
    """What a trial with these user attributes confirms; None outside of confirmations."""
    if CONFIRMING not in attributes:
        return None
    candidate, seed = attributes[CONFIRMING]
    return Confirming(candidate=candidate, seed=seed)


class TrialReader:
    """The trials of one study as records."""

    def __init__(self, trials: OptunaTrials, study_id: int, space: Space) -> None:
        self._trials = trials
        self._study_id = study_id
        self._space = space
        self._news = News()
        self._known: dict[int, TrialRecord] = {}
        self._fixed_by_family: dict[str, Mapping[str, Value]] = {}

    def all(self) -> list[TrialRecord]:
        """All trials by number. Finished ones are read once by this object, so that polling is cheap."""
        for trial in self._trials.facts(self._study_id, self._news, system=False):
            self._known[trial.number] = self._record(trial)
        return list(self._known.values())

    def tracks(
        self, measured: Callable[[Collection[int]], Mapping[int, tuple[Measured, ...]]]
    ) -> list[Track]:
        """How each trial went, by number; `measured` is the store's. No settings are read."""
        facts = self._trials.facts(self._study_id, News(), system=False, drawn_and_reported=False)
        points = measured([trial.trial_id for trial in facts])
        return [
            Track(
                trial_id=trial.trial_id,
                number=trial.number,
                state=trial.state,
                value=trial.value,
                reference=trial.user.get(REFERENCE),
                retry_of=trial.user.get(RETRY_OF),
                failure=Failure(trial.user[FAILURE]) if FAILURE in trial.user else None,
                started=trial.started,
                finished=trial.finished,
                points=points.get(trial.trial_id, ()),
            )
            for trial in facts
        ]

    def reports(self) -> list[tuple[int, int]]:
        """(trial id, training images) of every report of the study, in the order in which they came."""
        return self._trials.reports(self._study_id)

    def counts(self) -> Counts:
        """How many trials are in each state."""
        return self._trials.counts(self._study_id)

    def images(self) -> int:
        """Training images seen at the last report, summed over all trials."""
        return self._trials.images(self._study_id)

    def best(self) -> TrialRecord | None:
        """The complete trial with the highest score, the earliest of equals; None where there is none."""
        best = self._trials.best(self._study_id)
        return None if best is None else self.of([best])[0]

    def running(self) -> list[TrialRecord]:
        """The trials at work, by number."""
        return self.of(self._trials.in_state(self._study_id, State.RUNNING))

    def references(self) -> list[TrialRecord]:
        """The trials of reference configurations, by number."""
        return self.of(self._trials.noted(self._study_id, REFERENCE))

    def of(self, trial_ids: Collection[int]) -> list[TrialRecord]:
        """These trials by number, in a few queries. Those that do not exist are left out."""
        return [self._record(trial) for trial in self._trials.facts_of(trial_ids)]

    def _record(self, trial: Facts) -> TrialRecord:
        """What Optuna's tables say of a trial, in tune's words."""
        value = trial.value
        if value is None and trial.steps:
            value = trial.steps[max(trial.steps)]
        params, said = trial.settings, trial.user
        pinned: Mapping[str, Value] = said.get(PINNED, {})
        family = {**self._fixed(""), **params, **pinned}.get("model", "")  # not drawn yet: ""
        return TrialRecord(
            trial_id=trial.trial_id,
            number=trial.number,
            state=trial.state,
            value=value,
            params=params,
            pinned=pinned,
            fixed=self._fixed(str(family)),
            reference=said.get(REFERENCE),
            retry_of=said.get(RETRY_OF),
            confirming=confirming_of(said),
            parameters=said.get(PARAMETERS),
            failure=Failure(said[FAILURE]) if FAILURE in said else None,
            failure_detail=said.get(FAILURE_DETAIL),
            steps=trial.steps,
            started=trial.started,
            finished=trial.finished,
        )

    def _fixed(self, family: str) -> Mapping[str, Value]:
        """The settings of a family that are not searched: the same for each of its trials."""
        if family not in self._fixed_by_family:
            self._fixed_by_family[family] = self._space.fixed(family)
        return self._fixed_by_family[family]
