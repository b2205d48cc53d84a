"""A study whose search space changes: which trials fit, who is shown them, and what a change leaves alone."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from valley import valley_spec

from search.analysis.racing import leaders
from search.analysis.ranking import winner
from search.optuna_db.ownership import PINNED, SPACE_REVISION
from search.optuna_db.storage import Storage, open_storage
from search.records import DeclaredSpec, Failure, State, StudyRecord, TrialRecord
from search.space.spec import declared_entries
from search.store import tables
from search.store.database import Transaction
from search.store.rows import Unusable, spec_to_json, study_of
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.revisions import Revisions, misfit_of
from search.study.samplers import SAMPLERS
from search.study.space_change import Busy, Changed, change_space
from search.study.study import SpaceChanged, Study
from tune.space import Choice, Fixed, Float, Int, Space, Value

X, KIND, DEPTH = Float(0.0, 1.0), Choice(["a", "b"]), Int(1, 4)
BASE = Space(x=X, kind=KIND, depth=DEPTH)
NAME = "s"


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def every_storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    with open_storage(request.getfixturevalue(f"{request.param}_url")) as storage:
        yield storage


@pytest.fixture
def storage(sqlite_url: str) -> Iterator[Storage]:
    with open_storage(sqlite_url) as opened:
        yield opened


def begun(storage: Storage, space: Space = BASE, **spec: Any) -> Study:
    made = valley_spec(space=declared_entries(space), **spec)
    Study.create(storage, NAME, made, 100)
    return opened(storage)


def opened(storage: Storage) -> Study:
    """The study as a worker that starts now sees it."""
    study = Study.find(storage, NAME)
    assert study is not None
    spec = record_of(storage, study).spec
    schedule = EvaluationSchedule.of(spec)
    study.prepare(sampler=spec.sampler, pruner=spec.pruner, seed=spec.seed, evaluations=schedule)
    return study


def record_of(storage: Storage, study: Study) -> StudyRecord:
    record = storage.store.study(study.study_id)
    assert record is not None
    return replace(record, name=NAME)


def tried(study: Study, trials: int) -> list[dict[str, Value]]:
    """The settings of trials that are drawn and completed."""
    found = []
    for _ in range(trials):
        trial = study.ask()
        settings = trial.suggest()
        score = float(settings["x"])  # type: ignore[arg-type]  # it is a number
        trial.report(9, score)
        trial.complete(score)
        found.append(settings)
    return found


def changed(storage: Storage, study: Study, space: Space) -> Changed | Busy | None:
    return change_space(storage, record_of(storage, study), declared_entries(space))


def by_number(study: Study) -> dict[int, TrialRecord]:
    return {trial.number: trial for trial in study.trials()}


# Which trials fit


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (BASE, None),
        (Space(depth=DEPTH, x=X, kind=KIND), None),  # in another order
        (Space(x=Float(0.0, 2.0), kind=KIND, depth=DEPTH), None),
        (Space(x=Float(0.6, 1.0), kind=KIND, depth=DEPTH), "x = 0.5 is outside the space"),
        (Space(x=X, kind=Choice(["c", "b", "a"]), depth=DEPTH), None),
        (Space(x=X, kind=Choice(["b", "c"]), depth=DEPTH), "kind = a is outside the space"),
        (Space(x=X, kind=KIND, depth=Int(1, 9, step=2)), None),
        (Space(x=X, kind=KIND, depth=Int(2, 8, step=2)), "depth = 3 is outside the space"),
        (Space(x=X, kind=KIND, depth=Choice([1, 3])), None),
        (Space(x=X, kind=KIND, depth=Choice(["3", True])), "depth = 3 is outside the space"),
        (Space(x=X, kind=Fixed("a"), depth=DEPTH), None),
        (Space(x=X, kind=Fixed("b"), depth=DEPTH), "kind = a is outside the space"),
        (Space(x=X, kind=KIND), "the space no longer has depth"),
        (Space(x=X, kind=KIND, depth=DEPTH, y=X), "it has no y"),
        (Space(x=X, kind=KIND, depth=DEPTH, y=Fixed(1)), "it has no y"),
        (Space(x=X, kind=KIND, depth=DEPTH, y=Float(0, 1, when={"kind": "b"})), None),
        (Space(x=X, kind=KIND, depth=Int(1, 4, when={"kind": "a"})), None),
        (
            Space(x=X, kind=KIND, depth=Int(1, 4, when={"kind": "b"})),
            "depth is no longer active beside its other settings",
        ),
    ],
)
def test_a_trial_fits_a_space_that_has_its_settings_and_no_others(now: Space, why: str | None) -> None:
    assert misfit_of({"x": 0.5, "kind": "a", "depth": 3}, BASE, now) == why


@pytest.mark.parametrize(
    ("then", "drawn", "now", "why"),
    [
        (Space(x=X, depth=Fixed(3)), {"x": 0.5}, Space(x=X, depth=DEPTH), None),
        (Space(x=X, depth=Fixed(9)), {"x": 0.5}, Space(x=X, depth=DEPTH), "depth = 9 is outside the space"),
        (
            Space(x=X, depth=Int(1, 4, when={"x": {"above": 0.7}})),  # type: ignore[dict-item]
            {"x": 0.5},
            Space(x=X, depth=DEPTH),
            "it has no depth",
        ),
        (
            Space(kind=KIND, depth=Int(1, 4, when={"kind": "b"}, drawn_despite=["kind"])),
            {"kind": "a", "depth": 2},
            Space(kind=KIND, depth=DEPTH),
            "it has no depth",
        ),
    ],
)
def test_what_a_trial_had_without_searching_it_counts(
    then: Space, drawn: dict[str, Value], now: Space, why: str | None
) -> None:
    assert misfit_of(drawn, then, now) == why


# Samplers

GROWN = Space(x=Float(0.4, 2.0), kind=Choice(["b", "a", "c"]), depth=Choice([1, 2, 3, 4]))
CONDITION = Space(x=X, kind=KIND, depth=Int(1, 4, when={"kind": "a"}))
MORE = Space(x=X, kind=KIND, depth=DEPTH, y=Float(0.0, 1.0))
LESS = Space(x=X, kind=KIND)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
@pytest.mark.parametrize("space", [GROWN, CONDITION, MORE, LESS], ids=["grown", "condition", "more", "less"])
@pytest.mark.usefixtures("early_model")
def test_every_sampler_continues_in_the_new_space_with_the_trials_that_fit(
    sampler: str, space: Space, storage: Storage
) -> None:
    before = tried(begun(storage, sampler=sampler), 12)
    outcome = changed(storage, opened(storage), space)
    study = opened(storage)
    fit = [n for n, each in enumerate(before) if misfit_of(each, BASE, space) is None]
    assert outcome == Changed(
        finished=12, set_aside=tuple(sorted({*range(12)} - {*fit})), leaves_none=not fit
    )
    shown = study._shown()
    assert [trial.number for trial in shown] == fit
    assert [{**space.active(trial.params)} for trial in shown] == [before[n] for n in fit]
    after = tried(study, 6)
    assert [misfit_of(each, space, space) for each in after] == [None] * 6
    kinds = {(name, kind) for trial in study._shown() for name, kind in trial.distributions.items()}
    assert len(kinds) == len({name for name, _ in kinds})  # no parameter has two distributions
    assert study.counts().finished == 18
    assert [trial.settings for trial in study.trials()] == [*before, *after]


def test_a_setting_that_was_fixed_is_known_to_the_sampler(storage: Storage) -> None:
    tried(begun(storage, Space(x=X, depth=Fixed(3))), 3)
    changed(storage, opened(storage), Space(x=X, depth=DEPTH))
    assert [trial.params["depth"] for trial in opened(storage)._shown()] == [3, 3, 3]


def test_trials_that_are_set_aside_take_no_place_among_the_good(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.study.history.GOOD", 2)
    monkeypatch.setattr("search.study.history.SHOWN", 4)
    before = tried(begun(storage), 16)
    space = Space(x=Float(0.0, 0.5), kind=KIND, depth=DEPTH)
    changed(storage, opened(storage), space)
    best = sorted((n for n, each in enumerate(before) if each["x"] <= 0.5), key=lambda n: before[n]["x"])  # type: ignore[operator]
    assert {*best[-2:]} <= {trial.number for trial in opened(storage)._shown()}


def test_a_discrete_space_is_exhausted_by_the_trials_that_fit_it(storage: Storage) -> None:
    space = Space(x=Fixed(0.5), depth=DEPTH)
    tried(begun(storage, space), 3)
    assert opened(storage).has_next()
    smaller = Space(x=Fixed(0.5), depth=Choice([each["depth"] for each in _drawn(storage)][:2]))
    assert isinstance(changed(storage, opened(storage), smaller), Changed)
    assert not opened(storage).has_next()
    larger = Space(x=Fixed(0.5), depth=Int(1, 5))
    changed(storage, opened(storage), larger)
    assert sorted(each["depth"] for each in (*_drawn(storage), *tried(opened(storage), 2))) == [1, 2, 3, 4, 5]
    assert not opened(storage).has_next()


def _drawn(storage: Storage) -> list[Mapping[str, Any]]:
    return [trial.settings for trial in opened(storage).trials()]


# Ranking and promotion


def test_what_is_set_aside_does_not_win_and_is_in_no_rung(every_storage: Storage) -> None:
    storage = every_storage
    tried(begun(storage), 8)
    changed(storage, opened(storage), Space(x=Float(0.0, 0.5), kind=KIND, depth=DEPTH))
    study = opened(storage)
    trials = study.trials()
    fit = [trial for trial in trials if trial.set_aside is None]
    assert {trial.params["x"] <= 0.5 for trial in fit} == {True}  # type: ignore[operator]
    assert len(fit) < len(trials)  # and the best one is among the others
    best = max(fit, key=lambda trial: trial.params["x"])
    assert winner(trials).searched == best
    assert study._reader.best() == best
    assert {trial.number for trial in leaders(trials, 8)} == {trial.number for trial in fit}
    assert [number for number, _ in study.scores_at(9)] == [trial.number for trial in fit]


# The change itself


def test_a_change_is_recorded_and_old_trials_keep_what_they_had(every_storage: Storage) -> None:
    storage = every_storage
    before = tried(begun(storage), 6)
    narrow = Space(x=Float(0.5, 1.0), kind=KIND, depth=DEPTH)
    first = changed(storage, opened(storage), narrow)
    assert isinstance(first, Changed)
    between = tried(opened(storage), 2)
    wide = Space(x=Float(0.0, 1.0), kind=KIND, depth=DEPTH, y=Fixed(2))
    second = changed(storage, opened(storage), wide)
    assert second == Changed(finished=8, set_aside=tuple(range(8)), leaves_none=True)
    third = changed(storage, opened(storage), BASE)
    assert third == Changed(finished=8)  # every trial is back
    study = opened(storage)
    spec = record_of(storage, study).spec
    assert [dict(each.space) for each in spec.space_changes] == [
        declared_entries(space) for space in (BASE, narrow, wide)
    ]
    assert [each.set_aside for each in spec.space_changes] == [first.set_aside, (*range(8),), ()]
    after = tried(study, 1)
    assert [trial.settings for trial in study.trials()] == [*before, *between, *after]
    assert [trial.space_revision for trial in study.trials()] == [0] * 6 + [1] * 2 + [3]
    assert len(study._shown()) == 9


def test_the_same_space_is_no_change(storage: Storage) -> None:
    study = begun(storage)
    assert changed(storage, study, Space(kind=KIND, x=X, depth=DEPTH)) is None
    assert record_of(storage, study).spec.space_changes == ()


@pytest.mark.server
@pytest.mark.parametrize("database", ["postgresql_url", "mysql_url"])
def test_a_claim_that_is_written_while_the_change_begins_is_seen(
    database: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes between the locks of Optuna's row of the study and of tune's, for which a claim waits."""
    url = request.getfixturevalue(database)
    with open_storage(url) as storage, open_storage(url) as workers:
        study, lock = begun(storage), storage.trials.lock

        def lock_and_wait(study_id: int, *, within: Transaction) -> None:
            lock(study_id, within=within)
            assert workers.store.claim(study_id, "host:1:boot:w", lease_s=30) is not None

        monkeypatch.setattr(storage.trials, "lock", lock_and_wait)
        assert changed(storage, study, LESS) == Busy(workers=("host:1:boot:w",), trials=())


def test_nothing_changes_while_a_trial_is_at_work(every_storage: Storage) -> None:
    storage = every_storage
    study = begun(storage)
    claim = storage.store.claim(study.study_id, "host:1:boot:w", lease_s=30)
    assert claim is not None
    assert changed(storage, study, LESS) == Busy(workers=("host:1:boot:w",), trials=())
    active = study.ask(claim)
    assert changed(storage, study, LESS) == Busy(workers=("host:1:boot:w",), trials=(0,))
    assert record_of(storage, study).spec.space == declared_entries(BASE)
    active.suggest()
    active.complete(0.5)
    storage.store.settle(claim)
    assert changed(storage, study, LESS) == Changed(finished=1, set_aside=(0,), leaves_none=True)


def test_a_worker_that_knows_the_earlier_space_gets_no_slot(every_storage: Storage) -> None:
    storage = every_storage
    study = begun(storage)
    changed(storage, study, LESS)
    known = study.revisions.count
    assert storage.store.claim(study.study_id, "w", lease_s=30, space_changes=known) is None
    with pytest.raises(SpaceChanged):
        study.require_unchanged()
    now = opened(storage)
    now.require_unchanged()
    assert storage.store.claim(now.study_id, "w", lease_s=30, space_changes=now.revisions.count) is not None


def test_what_waits_to_be_continued_fits_or_ends(every_storage: Storage) -> None:
    storage = every_storage
    study = begun(storage)
    settings = []
    for trial in [study.ask() for _ in range(4)]:
        settings.append(trial.suggest())
        trial.report(1, 0.5)
    for trial_id in sorted(study.running()):
        study.fail(trial_id, Failure.INTERRUPTED, "stopped by a signal")
    middle = sorted(float(each["x"]) for each in settings)[2]  # type: ignore[arg-type]
    space = Space(x=Float(middle, 1.0), kind=Choice(["b", "a"]), depth=DEPTH)
    outcome = changed(storage, study, space)
    low = [n for n, each in enumerate(settings) if each["x"] < middle]  # type: ignore[operator]
    assert outcome == Changed(finished=0, ended=tuple(4 + n for n in low))
    study = opened(storage)
    ended = [by_number(study)[4 + n] for n in low]
    assert [(each.state, each.failure) for each in ended] == [(State.FAILED, Failure.OUTSIDE_SPACE)] * 2
    repeated = []
    for _ in range(2):
        trial = study.ask()
        repeated.append(trial.suggest())
        trial.complete(0.5)
    assert repeated == [each for n, each in enumerate(settings) if n not in low]
    assert study.counts().waiting == 0


def test_a_reference_that_waits_keeps_all_its_settings(storage: Storage) -> None:
    spec = valley_spec(space=declared_entries(BASE))
    reference: dict[str, Value] = {"x": 0.1, "kind": "a", "depth": 3}
    Study.create(storage, NAME, spec, 9, references={"usual": reference})
    changed(storage, opened(storage), Space(x=Float(0.5, 1.0), kind=KIND, depth=DEPTH))
    study = opened(storage)
    trial = study.ask()
    assert (trial.reference, trial.suggest()) == ("usual", reference)
    trial.complete(0.1)
    [record] = study.trials()
    assert (record.pinned, record.set_aside) == ({"x": 0.1}, None)
    [before] = changed_back(storage)
    assert before.user[PINNED] == {}
    assert {name: number for name, (number, _) in before.params.items()} == {"x": 0.1, "kind": 0, "depth": 3}


def changed_back(storage: Storage) -> list[Any]:
    """The finished trials as the first space has them."""
    changed(storage, opened(storage), BASE)
    study = opened(storage)
    [facts] = storage.trials.facts_of([trial.trial_id for trial in study.trials()])
    return [study.revisions.shown(facts)]


KILLED = """
import os, signal, sys
from search.optuna_db.storage import open_storage
from search.space.spec import declared_entries
from search.study.space_change import change_space
from search.study.study import Study
from tune.space import Float, Space
from dataclasses import replace

with open_storage(sys.argv[1], create=False) as storage:
    study = Study.find(storage, "s")
    record = replace(storage.store.study(study.study_id), name="s")
    store, after = storage.store, storage.store.set_spec
    def set_spec(*arguments, **more):
        after(*arguments, **more)
        os.kill(os.getpid(), signal.SIGKILL)
    store.set_spec = set_spec
    change_space(storage, record, declared_entries(Space(x=Float(0.99, 1.0))))
"""


def test_a_change_that_is_killed_in_the_middle_changed_nothing(every_storage: Storage) -> None:
    storage = every_storage
    study = begun(storage)
    tried(study, 2)
    trial = study.ask()
    trial.suggest()
    study.fail(trial.trial_id, Failure.INTERRUPTED, "stopped by a signal")
    before = record_of(storage, study), study.trials()
    url = storage.url if isinstance(storage.url, str) else storage.url.render_as_string(hide_password=False)
    done = subprocess.run([sys.executable, "-c", KILLED, url], check=False, timeout=100)
    assert done.returncode == -signal.SIGKILL
    assert (record_of(storage, study), opened(storage).trials()) == before
    outcome = changed(storage, study, Space(x=Float(0.99, 1.0)))
    assert isinstance(outcome, Changed)
    assert len(outcome.ended) == 1


# Records


def test_changes_survive_the_database_and_a_study_without_them_reads_as_before(storage: Storage) -> None:
    study = begun(storage)
    assert "space_changes" not in spec_to_json(record_of(storage, study).spec)
    tried(study, 1)
    [facts] = storage.trials.facts_of(storage.trials.in_state(study.study_id, State.COMPLETE))
    assert SPACE_REVISION not in facts.user
    changed(storage, study, MORE)
    record = record_of(storage, study)
    assert isinstance(record.spec, DeclaredSpec)
    assert Revisions.of(record.spec).spaces == (BASE, MORE)


@pytest.mark.parametrize("broken", [1, [1], [{}], [{"space": {}, "moment": "soon", "set_aside": []}]])
def test_changes_that_tune_did_not_write_are_refused(broken: object, storage: Storage) -> None:
    study = begun(storage)
    with storage.trials.database.read() as connection:
        row = dict(connection.execute(select(tables.studies)).mappings().one())
    assert study_of(row).spec == record_of(storage, study).spec  # type: ignore[arg-type]
    with pytest.raises(Unusable, match="space_changes"):
        study_of({**row, "spec": {**row["spec"], "space_changes": broken}})  # type: ignore[arg-type]


@pytest.mark.parametrize("edited", [-1, 2, "1", True])
def test_a_trial_of_an_unknown_revision_is_left_out(edited: object, storage: Storage) -> None:
    study = begun(storage)
    tried(study, 2)
    changed(storage, study, MORE)
    trial_id = storage.trials.in_state(study.study_id, State.COMPLETE)[0]
    storage.optuna.set_study_user_attr(study.study_id, "unrelated", 1)
    _note(storage, trial_id, edited)
    assert [trial.number for trial in opened(storage).trials()] == [1]


def _note(storage: Storage, trial_id: int, value: object) -> None:
    from search.optuna_db.optuna_rows import write_change
    from search.optuna_db.trial_facts import Change

    with storage.trials.database.write() as connection:
        write_change(connection, trial_id, Change(user={SPACE_REVISION: value}))
