"""Runs with a time limit or a goal: when nothing more begins, and what there is to show at their end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from few_images import take_few_images

from data.datasets.mnist import Mnist
from search.analysis.ranking import count
from search.heads import head_report
from search.optuna_db.storage import Storage, open_storage
from search.records import Failure, HeadScore, Metric, Report, Scores, State
from search.service.create import RunRequest, create_or_resume
from search.service.drive import in_time
from search.service.watched import Watched
from search.study.active_trial import ActiveTrial
from search.study.study import Study
from search.worker.context import WorkerContext, prepare
from search.worker.options import WorkerOptions
from search.worker.resume_checkpoints import discard_all
from search.worker.stop_policy import MARGIN, START_S, StopPolicy
from search.worker.worker_loop import work

REQUEST = RunRequest(task="twodigit", trials=50, epochs=0.5, model="mlp")
TOTAL = 18_000


def context(
    storage: Storage, mnist: Mnist, folder: Path, request: RunRequest = REQUEST, **limits: Any
) -> WorkerContext:
    create_or_resume(storage, request, mnist)
    return prepare(storage, request.name, mnist, folder, device="cpu", threads=1, **limits)


def begin(here: WorkerContext) -> ActiveTrial:
    claim = here.storage.store.claim(here.study.study_id, here.worker.worker_id, lease_s=60)
    assert claim is not None
    return here.study.ask(claim)


def report(step: int, seconds: float, *heads: float) -> Report:
    scores = Scores(
        heads={f"head{n}": HeadScore(loss=0.1, accuracy=accuracy) for n, accuracy in enumerate(heads)},
        joint=min(heads),
    )
    return head_report(step=step, seconds=seconds, learning_rate=0.1, train=scores, validation=scores)


def told(asked: ActiveTrial, step: int, seconds: float, *heads: float) -> None:
    asked.report(step, sum(heads) / len(heads), report(step, seconds, *heads))


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def close(here: WorkerContext, clock: Clock, **limits: float) -> StopPolicy:
    finalists = here.pruning.promotion.finalists
    return StopPolicy(here.study, here.storage.store, budget=TOTAL, finalists=finalists, now=clock, **limits)


class TestTimeLimit:
    def test_what_the_leaders_and_the_references_need_decides(
        self, sqlite_url: str, mnist: Mnist, tmp_path: Path
    ) -> None:
        with open_storage(sqlite_url) as storage:
            here, clock = context(storage, mnist, tmp_path), Clock()
            closing = close(here, clock, left_s=100.0)
            assert not closing.should_stop_proposing(), "nothing has been reported"
            reference, _, ahead, second, third = (begin(here) for _ in range(5))
            told(reference, 9_000, 4.0, 0.9)  # 4 s to go
            alone = close(here, clock, left_s=1.0)
            assert not alone.should_stop_proposing(), "for a reference alone no search ends"
            told(ahead, 9_000, 18.0, 0.95)  # 18 s
            told(second, 4_500, 10.0, 0.97)  # 30 s
            told(third, 4_500, 100.0, 0.96)  # behind the two
            needed = START_S + MARGIN * (4 + 18 + 30)
            clock.now += 100.0 - needed - 1
            assert not closing.should_stop_proposing()
            clock.now += 2
            assert closing.should_stop_proposing()
            clock.now -= 50
            assert closing.should_stop_proposing(), "once it has come for certain trials it stays"
            assert not close(here, clock).should_stop_proposing(), "no limit"

    def test_with_company_the_longest_way_counts(self, sqlite_url: str, mnist: Mnist, tmp_path: Path) -> None:
        with open_storage(sqlite_url) as storage:
            here = context(storage, mnist, tmp_path)
            first, second = begin(here), begin(here)
            told(first, 9_000, 4.0, 0.9)
            told(second, 4_500, 10.0, 0.97)
            closing = close(here, Clock())
            trials = here.study.trials()
            assert closing.needed_s(trials) == pytest.approx(START_S + MARGIN * 34)
            other = prepare(storage, REQUEST.name, mnist, tmp_path, device="cpu", threads=1).worker.worker_id
            assert storage.store.claim(here.study.study_id, other, lease_s=60) is not None
            assert closing.needed_s(trials) == pytest.approx(START_S + MARGIN * 30)

    def test_it_is_over_when_those_for_whom_it_came_are_ended(
        self, sqlite_url: str, mnist: Mnist, tmp_path: Path
    ) -> None:
        with open_storage(sqlite_url) as storage:
            here, clock = context(storage, mnist, tmp_path), Clock()
            _, _, slow = begin(here), begin(here), begin(here)
            told(slow, 4_500, 10.0, 0.2)
            closing = close(here, clock, left_s=20.0)
            assert closing.should_stop_proposing()
            slow.prune()
            assert not closing.should_stop_proposing()
            quick = begin(here)
            told(quick, 9_000, 15.0, 0.9)
            clock.now += 1
            assert closing.should_stop_proposing()
            quick.complete(0.9)
            assert closing.should_stop_proposing(), "it was for this, and another cannot be finished"

    def test_trials_that_end_by_themselves_need_no_close(
        self, sqlite_url: str, mnist: Mnist, tmp_path: Path
    ) -> None:
        request = replace(REQUEST, pruner="median")
        with open_storage(sqlite_url) as storage:
            here = context(storage, mnist, tmp_path, request)
            told(begin(here), 4_500, 10.0, 0.99)
            assert not close(here, Clock(), left_s=1.0, target=0.5).should_stop_proposing()

    def test_a_search_of_too_many_trials_ends_in_time_with_its_leaders_trained(
        self, sqlite_url: str, mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """How well it keeps the time is for benchmarks/versus_plain.py; here nothing else ends it."""
        take_few_images(monkeypatch)
        request = replace(REQUEST, trials=10_000)
        with open_storage(sqlite_url) as storage:
            work(context(storage, mnist, tmp_path, request, left_s=START_S + 1), stop=lambda: False)
            found = Study.find(storage, request.name)
            assert found is not None
            trials = found.trials()
        own = [trial for trial in trials if trial.reference is None]
        assert count(trials).running == count(trials).failed == 0
        assert any(trial.state is State.COMPLETE for trial in own)
        assert 2 < len(trials) < 10_000
        assert max(own, key=lambda trial: trial.score or 0.0).state is State.COMPLETE

    def test_resume_checkpoints_of_trials_that_were_cut_short_stay(
        self, sqlite_url: str, mnist: Mnist, tmp_path: Path
    ) -> None:
        """A worker that ends because its run is over does not clear up as after the study's last trial."""
        with open_storage(sqlite_url) as storage:
            here = context(storage, mnist, tmp_path, options=WorkerOptions(target=0.5))
            claim = storage.store.claim(here.study.study_id, here.worker.worker_id, lease_s=60)
            assert claim is not None
            done = here.study.ask(claim)
            told(done, TOTAL, 1.0, 0.9)
            done.complete(0.9)
            storage.store.settle(claim)
            here.artifacts.folder.mkdir(parents=True)
            save = here.artifacts.folder / "trial-00007.at-0000004500.safetensors"
            save.touch()
            assert work(here, stop=lambda: False) == 0
            assert save.exists()
            discard_all(here.artifacts.folder)
            assert not save.exists(), "it is what would have been cleared"

    def test_the_remaining_time_is_never_above_the_limit(
        self, sqlite_url: str, mnist: Mnist, tmp_path: Path
    ) -> None:
        with open_storage(sqlite_url) as storage:
            here = context(storage, mnist, tmp_path)
            seen = replace(Watched(storage, here.study, here.record).snapshot(40.0), remaining_s=300.0)
        assert in_time(seen, None).remaining_s == 300.0
        assert in_time(seen, 100.0).remaining_s == 60.0
        assert in_time(seen, 1000.0).remaining_s == 300.0
        assert in_time(replace(seen, remaining_s=None), 100.0).remaining_s == 60.0
        assert in_time(seen, 30.0).remaining_s == 0.0


class TestTarget:
    @pytest.mark.parametrize(
        ("heads", "enough"), [((0.97, 0.99), False), ((0.985, 0.99), True)], ids=["one head", "both"]
    )
    def test_every_head_has_to_have_it_and_only_a_complete_trial_ends_the_run(
        self, sqlite_url: str, mnist: Mnist, tmp_path: Path, heads: tuple[float, float], enough: bool
    ) -> None:
        with open_storage(sqlite_url) as storage:
            here = context(storage, mnist, tmp_path)
            look = Watched(storage, here.study, here.record, target=0.98)
            closing = close(here, Clock(), target=0.98)
            asked = begin(here)
            assert not closing.should_stop_proposing()
            told(asked, 4_500, 1.0, *heads)
            look.snapshot(1.0)
            assert (closing.should_stop_proposing(), look.reached()) == (enough, False)
            asked.complete(sum(heads) / 2)
            look.snapshot(2.0)
            assert (closing.should_stop_proposing(), look.reached()) == (enough, enough)
            assert look.reached() == enough, "asked again, it still has"

    def test_the_curve_of_a_complete_trial_that_fell_short_is_read_once(
        self, sqlite_url: str, mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with open_storage(sqlite_url) as storage:
            here = context(storage, mnist, tmp_path)
            closing = close(here, Clock(), target=0.98)
            at_work, short = begin(here), begin(here)
            for asked in (at_work, short):
                told(asked, 4_500, 1.0, 0.97, 0.999)  # one head lacks it, their mean has it
            short.complete(0.9845)
            read, curves = [], storage.store.curves

            def noted(trial_ids: list[int], metric: Metric) -> Any:
                read.append(sorted(trial_ids))
                return curves(trial_ids, metric)

            monkeypatch.setattr(storage.store, "curves", noted)
            assert [closing.should_stop_proposing() for _ in range(3)] == [False] * 3
            both = [at_work.trial_id, short.trial_id]
            assert read == [both, [at_work.trial_id], [at_work.trial_id]]
            told(at_work, 9_000, 2.0, 0.99, 0.999)
            assert closing.should_stop_proposing(), "a trial at work may still reach it"
            look = Watched(storage, here.study, here.record, target=0.98)
            look.snapshot(1.0)
            read.clear()
            assert [look.reached() for _ in range(3)] == [False] * 3
            assert read == [[short.trial_id], [], []], "nor does a run read it again"

    def test_a_target_reached_by_trials_that_are_not_complete_does_not_count(
        self, sqlite_url: str, mnist: Mnist, tmp_path: Path
    ) -> None:
        with open_storage(sqlite_url) as storage:
            here = context(storage, mnist, tmp_path)
            closing = close(here, Clock(), target=0.98)
            pruned, failed = begin(here), begin(here)
            for asked in (pruned, failed):
                told(asked, 4_500, 1.0, 0.99, 0.99)
            assert closing.should_stop_proposing()
            here.study.fail(failed.trial_id, Failure.DIVERGED, "")
            assert closing.should_stop_proposing()
            pruned.prune()
            assert not closing.should_stop_proposing()
            again = close(here, Clock(), target=0.98)
            assert not again.should_stop_proposing(), "nor does another worker take it for one"
