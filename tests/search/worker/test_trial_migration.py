"""Waiting trials pass to a worker that has none: real networks, two workers, one study."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from few_images import take_few_images

from data.datasets.mnist import Mnist
from models.checkpoint import load_checkpoint
from search.heads import head_report, train_of, validation_of
from search.optuna_db.deletion import delete_study
from search.optuna_db.storage import open_storage
from search.optuna_db.trial_facts import Facts
from search.records import ACCURACY, Claim, HeadScore, Scores, State
from search.service.create import RunRequest, create_or_resume
from search.store.base import LeaseLost
from search.study.usable import Judge
from search.worker.context import WorkerContext, prepare
from search.worker.migration import TrialMigration
from search.worker.trial_runner import TrialRunner
from search.worker.worker_loop import work

REQUEST = RunRequest(task="twodigit", trials=6, epochs=1, model="mlp", pruner="asha", sampler="random")
Join = Callable[..., WorkerContext]


@pytest.fixture
def join(sqlite_url: str, mnist: Mnist, tmp_path: Path) -> Iterator[Join]:
    """join(study): one more worker's context, with another connection."""
    with ExitStack() as opened:

        def joined(study: str, *, artifacts: str = "artifacts", **other: Any) -> WorkerContext:
            storage = opened.enter_context(open_storage(sqlite_url))
            create_or_resume(storage, replace(REQUEST, study=study, **other), mnist)
            return prepare(storage, study, mnist, tmp_path / artifacts, device="cpu", threads=1)

        yield joined


@pytest.fixture(autouse=True)
def _not_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.worker.worker_loop.IDLE_S", 0.02)
    monkeypatch.setattr("data.tasks.twodigit.TwoDigit.references", {})  # they train to their ends
    take_few_images(monkeypatch)


def one_thread(context: WorkerContext) -> int:
    """Works as a worker process does; the last bits depend on the number of threads."""
    torch.set_num_threads(1)
    return work(context, stop=lambda: False)


def curves(context: WorkerContext) -> dict[int, list[tuple[int, Scores, Scores]]]:
    """What was measured of each trial, by number."""
    trials = {trial.trial_id: trial.number for trial in context.study.trials()}
    found = context.storage.store.curves(trials, ACCURACY)
    return {trials[key]: [(r.step, train_of(r), validation_of(r)) for r in found[key]] for key in found}


def let_wait_for(monkeypatch: pytest.MonkeyPatch, context: WorkerContext, event: threading.Event) -> None:
    """The worker with this context trains nothing while it has something on offer, until the event."""
    advance = TrialRunner.advance

    def held(runner: TrialRunner, until: int) -> bool:
        if runner._context is context and context.storage.store.offers(context.study.study_id):
            event.wait(20)
        return advance(runner, until)

    monkeypatch.setattr(TrialRunner, "advance", held)


def two_workers(first: WorkerContext, second: WorkerContext) -> list[Future[int]]:
    """The second begins when the first has something to spare, or is done."""
    with ThreadPoolExecutor(2) as pool:
        earlier = pool.submit(one_thread, first)
        while not first.storage.store.offers(first.study.study_id) and not earlier.done():
            time.sleep(0.02)
        return [earlier, pool.submit(one_thread, second)]


def test_a_migrated_trial_continues_bit_for_bit(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = join("alone")
    assert one_thread(alone) == REQUEST.trials
    first, second = join("shared"), join("shared")
    passed, taken = threading.Event(), []
    accept = second.storage.store.accept

    def noted(claim: Claim, worker_id: str, *, lease_s: float) -> Claim | None:
        given = accept(claim, worker_id, lease_s=lease_s)
        if given is not None:
            taken.append(given)
            passed.set()
        return given

    monkeypatch.setattr(second.storage.store, "accept", noted)
    let_wait_for(monkeypatch, first, passed)
    done = two_workers(first, second)
    assert taken, "or this test shows nothing"
    assert sum(each.result() for each in done) == REQUEST.trials
    trials = first.study.trials()
    assert all(trial.state.is_finished for trial in trials)
    assert len(trials) == REQUEST.trials, "nothing was begun again"
    claims = {claim.claim_id: claim for claim in first.storage.store.claims(first.study.study_id)}
    assert all(claim.done for claim in claims.values())
    before, after = curves(alone), curves(first)
    longer = 0
    for claim in taken:
        [trial] = [trial for trial in trials if trial.trial_id == claim.trial_id]
        mine, other = after[trial.number], before[trial.number]
        both = min(len(mine), len(other))
        assert mine[:both] == other[:both]
        longer += both >= 2 and claims[claim.claim_id].worker_id == second.worker.worker_id
        assert trial.score in (None, max(scores.accuracy for _, _, scores in mine))
    assert longer, "some trial was compared beyond the rung at which it was handed on"
    assert not list(second.artifacts.folder.glob("trial-*.at-*")), (
        "resume checkpoints of trials that ended are gone"
    )


def test_without_its_resume_checkpoint_a_trial_stays_where_it_is(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine, which does not see the first one's files."""
    first, second = join("far"), join("far", artifacts="elsewhere")
    looked = threading.Event()
    offers = second.storage.store.offers

    def noted(study_id: int) -> list[Claim]:
        found = offers(study_id)
        if found:
            looked.set()
        return found

    monkeypatch.setattr(second.storage.store, "offers", noted)
    let_wait_for(monkeypatch, first, looked)
    earlier, later = two_workers(first, second)
    assert looked.is_set(), "or this test shows nothing"
    assert (earlier.result(), later.result()) == (REQUEST.trials, 0)
    assert {claim.worker_id for claim in first.storage.store.claims(first.study.study_id)} == {
        first.worker.worker_id
    }


def test_a_single_worker_offers_nothing(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    only, calls = join("single", trials=4, epochs=0.25), []
    monkeypatch.setattr(only.storage.store, "offer", calls.append)
    assert one_thread(only) == 4
    assert calls == []


class TestHandOff:
    """The moments that two threads meet only by chance."""

    @pytest.fixture
    def offered(self, join: Join) -> tuple[WorkerContext, TrialRunner, TrialMigration]:
        """A worker, a trial of its that has reached a rung, and its hand-over, where it is on offer."""
        torch.set_num_threads(1)
        context = join("moments")
        join("moments")
        claim = context.storage.store.claim(context.study.study_id, context.worker.worker_id, lease_s=60)
        assert claim is not None
        asked = context.study.ask(claim)
        runner = TrialRunner(context, replace(claim, trial_id=asked.trial_id), asked, lambda: None)
        assert not runner.advance(context.evaluations.rungs[0])
        migration = TrialMigration(context)
        migration.offer(runner)
        return context, runner, migration

    @staticmethod
    def accepted(context: WorkerContext) -> TrialRunner | None:
        """By another worker with that context."""

        def begin(claim: Claim, trial_id: int) -> TrialRunner:
            return TrialRunner(context, claim, context.study.rejoin(trial_id), lambda: None)

        return TrialMigration(context).accept(begin, lease_s=60)

    def test_the_former_holder_lets_go(
        self, join: Join, offered: tuple[WorkerContext, TrialRunner, TrialMigration]
    ) -> None:
        context, runner, migration = offered
        other = self.accepted(join("moments"))
        assert other is not None
        with pytest.raises(LeaseLost):
            migration.withdraw(runner)
        assert (other.step, other.candidate) == (runner.step, runner.candidate)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Optuna says so where a step is reported twice
            assert not other.active.report(other.step, other.candidate.score)
        other.prune()
        [kept] = context.storage.store.checkpoints(context.study.study_id)
        load_checkpoint(context.artifacts.path(kept), expected_sha256=kept.sha256)

    def test_a_trial_that_was_withdrawn_is_not_given(
        self, join: Join, offered: tuple[WorkerContext, TrialRunner, TrialMigration]
    ) -> None:
        context, runner, migration = offered
        migration.withdraw(runner)
        assert self.accepted(join("moments")) is None
        runner.prune()
        assert context.study.trials()[0].state is State.PRUNED

    def test_a_study_that_is_deleted_while_its_trial_is_taken_over(
        self,
        join: Join,
        offered: tuple[WorkerContext, TrialRunner, TrialMigration],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        other = join("moments")

        def deleted_meanwhile(_judge: Judge, trial: Facts) -> None:
            delete_study(other.storage.trials.database, other.study.study_id)

        monkeypatch.setattr(Judge, "fault", deleted_meanwhile)
        assert self.accepted(other) is None

    def test_an_offer_that_was_renewed_while_offers_were_read_is_found(
        self,
        join: Join,
        offered: tuple[WorkerContext, TrialRunner, TrialMigration],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Its holder took it up, reached another rung and offered it again, all between two of our steps."""
        context, runner, _ = offered
        here = join("moments")
        accept = here.storage.store.accept
        best = HeadScore(loss=0.01, accuracy=0.999)
        scores = Scores(heads={"first_digit": best, "second_digit": best}, joint=0.999)
        later = head_report(
            step=2 * runner.step, seconds=9.0, learning_rate=0.1, train=scores, validation=scores
        )

        def overtaken(claim: Claim, worker_id: str, *, lease_s: float) -> Claim | None:
            context.storage.store.add_report(runner.active.trial_id, later)
            return accept(claim, worker_id, lease_s=lease_s)

        monkeypatch.setattr(here.storage.store, "accept", overtaken)
        other = self.accepted(here)
        assert other is not None
        assert other.candidate.rung == later.step
        assert other.candidate.score == pytest.approx(0.999)
