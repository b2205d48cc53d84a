"""Workers at work: real networks on real digits, with small budgets."""

from __future__ import annotations

import dataclasses
import errno
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from few_images import take_few_images
from memory_store import MemoryStore
from optuna.trial import TrialState

from data.datasets.mnist import Mnist
from data.tasks.registry import TASKS, get_task
from models.checkpoint import load_checkpoint
from models.network import build, config_from_json, config_to_json
from models.optimizer import OptimizerConfig
from models.training import evaluate
from search.analysis.ranking import best_report, count
from search.errors import ConfigError, TryAgain
from search.heads import validation_of
from search.objectives.network import learning as learning_module
from search.objectives.network.decoding import decode, signature_of
from search.optuna_db.storage import Storage, open_storage
from search.records import ACCURACY, Claim, Failure, NetworkSpec, State
from search.service.create import RunRequest, create_or_resume
from search.space.defaults import FAMILIES, default_space
from search.store.base import LeaseLost
from search.study.active_trial import ActiveTrial
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.study import DEATHS, Study
from search.worker.artifacts import KEEP
from search.worker.context import WorkerContext, prepare
from search.worker.leases import LEASE_S, Leases
from search.worker.options import WorkerOptions
from search.worker.recovery import Reaper
from search.worker.trial_runner import TrialRunner
from search.worker.worker_loop import FAILURES_IN_A_ROW, GivenUp, WornOut, work
from tune.space import Choice, Domain, Fixed, Float, Int

QUICK = RunRequest(task="twodigit", trials=4, epochs=0.02, model="mlp", pruner="none")
"""Two batches or three to a trial, which is enough where the training itself is not asked about."""

LONGER = dataclasses.replace(QUICK, epochs=0.2)
"""A dozen batches and three reports."""


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    take_few_images(monkeypatch)


def context(storage: Storage, mnist: Mnist, tmp_path: Path, request: RunRequest = QUICK) -> WorkerContext:
    """A worker's context on a new study."""
    create_or_resume(storage, request, mnist)
    return prepare(storage, request.name, mnist, tmp_path / "artifacts", device="cpu", threads=1)


def kept_by(here: WorkerContext) -> list[int]:
    """Numbers of the trials whose weights lie in the study's folder, one for each file there is."""
    names = [path.name for path in here.artifacts.folder.iterdir()]
    return sorted(int(name.removeprefix("trial-").partition("-")[0]) for name in names)


@pytest.fixture
def storage(sqlite_url: str) -> Iterator[Storage]:
    opened = open_storage(sqlite_url)
    yield opened
    opened.close()


class TestSpec:
    @pytest.mark.parametrize("task", TASKS)
    @pytest.mark.parametrize("family", FAMILIES)
    def test_every_corner_of_the_default_space_builds(self, task: str, family: str) -> None:
        """The smallest and the largest network of the space, on every task."""
        for pick in (0, -1):
            settings = {name: _end(d, pick) for name, d in default_space((family,)).domains.items()}
            spec = decode(settings, images=1000, seed=1, precision="float32")
            network = build(spec.model, signature_of(get_task(task)), seed=1)
            assert network.parameter_count > 0
            assert config_from_json(config_to_json(spec.model)) == spec.model

    @pytest.mark.parametrize(
        ("task", "name", "optimizer"),
        [
            ("twodigit", "course-mlp", OptimizerConfig(name="sgd", lr=0.01, momentum=0.9)),
            ("twodigit", "course-conv", OptimizerConfig(name="sgd", lr=0.01, momentum=0.9)),
            ("sum", "assignment-conv", OptimizerConfig(name="adam", lr=0.001, momentum=0.9)),
        ],
    )
    def test_a_reference_is_trained_as_it_was_published(
        self, task: str, name: str, optimizer: OptimizerConfig
    ) -> None:
        spec = decode(TASKS[task].references[name], images=1000, seed=1, precision="float32")
        assert spec.training.optimizer == optimizer
        assert (spec.training.batch_size, spec.training.schedule) == (64, "constant")
        assert (spec.augmentation.pairing, spec.augmentation.shift) == ("fixed", 0)


def _end(domain: Domain, pick: int) -> object:
    match domain:
        case Int() | Float():
            return (domain.low, domain.high)[pick]
        case Choice():
            return domain.options[pick]
        case Fixed():
            return domain.value


class TestWork:
    def test_a_small_study_from_beginning_to_end(
        self, storage: Storage, mnist: Mnist, tmp_path: Path
    ) -> None:
        here = context(storage, mnist, tmp_path, LONGER)
        assert work(here, stop=lambda: False) == 4
        trials = here.study.trials()
        assert [trial.failure_detail for trial in trials if trial.state is not State.COMPLETE] == []
        # course-conv is not an MLP, but references open every study of their task
        assert [trial.reference for trial in trials] == ["course-mlp", "course-conv", None, None]
        assert trials[0].parameters == 76_628
        for trial in trials:
            curve = storage.store.curve(trial.trial_id, ACCURACY)
            assert [report.step for report in curve] == list(here.evaluations.rungs)
            best = best_report(curve)
            assert best is not None
            assert trial.score == best.score == validation_of(best).accuracy
            assert list(validation_of(best).heads) == ["first_digit", "second_digit"]
        assert all(claim.done for claim in storage.store.claims(here.study.study_id))
        assert work(here, stop=lambda: False) == 0, "nothing is left to do"

    def test_the_kept_weights_score_what_the_database_says(
        self, storage: Storage, mnist: Mnist, tmp_path: Path
    ) -> None:
        here = context(storage, mnist, tmp_path, LONGER)
        work(here, stop=lambda: False)
        kept = storage.store.checkpoints(here.study.study_id)
        assert len(kept) == 4
        for record in kept:
            checkpoint = load_checkpoint(here.artifacts.path(record), expected_sha256=record.sha256)
            precision = checkpoint.metadata["precision"]  # scores are measured in that of the training
            metrics = evaluate(
                checkpoint.network(), here.objective.task.validation(mnist), precision=precision
            )
            assert metrics.score == pytest.approx(record.score, abs=1e-6)

    def test_one_seed_and_one_worker_give_one_study(self, mnist: Mnist, tmp_path: Path) -> None:
        def curves_of(name: str) -> list[object]:
            storage = open_storage(f"sqlite:///{tmp_path / name}.db")
            here = context(storage, mnist, tmp_path / name, LONGER)
            work(here, stop=lambda: False)
            curves: list[object] = [
                [(r.step, r.metrics) for r in storage.store.curve(trial.trial_id, ACCURACY)]
                for trial in here.study.trials()
            ]
            storage.close()
            return curves

        assert curves_of("a") == curves_of("b"), "bit for bit"

    def test_only_ten_files_stay(self, storage: Storage, mnist: Mnist, tmp_path: Path) -> None:
        space = tmp_path / "tiny.toml"
        space.write_text("width = 8\ndepth = 1\n")
        request = RunRequest(
            task="twodigit", trials=KEEP + 3, epochs=0.01, model="mlp", pruner="none", space=space
        )
        here = context(storage, mnist, tmp_path, request)
        work(here, stop=lambda: False)
        ranked = sorted(here.study.trials(), key=lambda trial: (-(trial.score or 0), trial.number))
        assert kept_by(here) == sorted(trial.number for trial in ranked[:KEEP])

    def test_a_trial_that_its_pruner_stops_may_be_one_of_the_ten(
        self, storage: Storage, mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        space = tmp_path / "tiny.toml"
        space.write_text("width = 8\ndepth = 1\n")
        request = dataclasses.replace(QUICK, trials=KEEP + 3, epochs=0.1, pruner="median", space=space)
        here = context(storage, mnist, tmp_path, request)
        report = ActiveTrial.report
        monkeypatch.setattr(ActiveTrial, "report", lambda *given: report(*given) or True)
        work(here, stop=lambda: False)
        trials = {trial.trial_id: trial for trial in here.study.trials()}
        assert [trial.state for trial in trials.values()] == [State.COMPLETE] * 2 + [State.PRUNED] * (
            KEEP + 1
        )
        ranked = sorted(trials.values(), key=lambda trial: (-(trial.score or 0), trial.number))
        kept = storage.store.checkpoints(here.study.study_id)
        assert [trials[each.trial_id].number for each in kept] == [each.number for each in ranked[:KEEP]]
        assert kept_by(here) == sorted(trial.number for trial in ranked[:KEEP])
        for each in kept:
            assert each.score == trials[each.trial_id].score
            load_checkpoint(here.artifacts.path(each), expected_sha256=each.sha256)

    def test_a_study_that_is_done_keeps_no_more_than_ten(
        self, storage: Storage, mnist: Mnist, tmp_path: Path
    ) -> None:
        """Also where the last trials ended without being trained: repetitions of what was cut short."""
        here = context(storage, mnist, tmp_path)
        work(here, stop=lambda: False)
        study_id, store = here.study.study_id, storage.store
        [worst] = store.checkpoints(study_id)[3:]
        path = here.artifacts.path(worst)
        for trial_id in range(1000, 1000 + KEEP):
            better = dataclasses.replace(worst, trial_id=trial_id, path=str(trial_id), score=1.0)
            store.add_checkpoint(study_id, better)
        assert path.exists()
        assert work(here, stop=lambda: False) == 0
        assert len(store.checkpoints(study_id)) == KEEP
        assert not path.exists()

    def test_what_failed_trials_kept_makes_room_for_others(
        self, storage: Storage, mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One fails in its worker's hands, one with its worker; both had kept weights by then."""
        here = context(storage, mnist, tmp_path)
        kept = storage.store.checkpoints

        def fails(failure: Exception) -> Callable[..., None]:
            def complete(*_arguments: object) -> None:
                assert len(kept(here.study.study_id)) == 1
                raise failure

            return complete

        for failure in (ZeroDivisionError("a bug"), TryAgain("The storage does not answer.")):
            with monkeypatch.context() as patch:
                patch.setattr("search.worker.worker_loop.FAILURES_IN_A_ROW", 1)
                patch.setattr(ActiveTrial, "complete", fails(failure))
                with pytest.raises((GivenUp, TryAgain)):
                    work(here, stop=lambda: False)
            Reaper(here.study, storage.store, "me").look(dead={here.worker.worker_id})
            assert kept(here.study.study_id) == []
        work(here, stop=lambda: False)
        numbers = [trial.number for trial in here.study.trials() if trial.state.is_finished]
        assert kept_by(here) == numbers

    def test_a_stopped_trial_is_queued_again(self, storage: Storage, mnist: Mnist, tmp_path: Path) -> None:
        here = context(storage, mnist, tmp_path, LONGER)
        calls = iter(range(10_000))
        work(here, stop=lambda: next(calls) > 5)
        [first, *_] = here.study.trials()
        assert (first.state, first.failure) == (State.FAILED, Failure.INTERRUPTED)
        assert not first.was_paused
        assert storage.store.claims(here.study.study_id) == [], "its slot is free"
        work(here, stop=lambda: False)
        trials = here.study.trials()
        assert count(trials).finished == 4
        again = next(trial for trial in trials if trial.retry_of == 0)
        assert again.reference == "course-mlp", "also a reference comes back"
        assert again.state is State.COMPLETE

    def test_divergence_is_a_state_not_a_score(self, storage: Storage, mnist: Mnist, tmp_path: Path) -> None:
        space = tmp_path / "hot.toml"
        space.write_text(
            'lr = 100.0\noptimizer = "sgd"\nactivation = "relu"\nmomentum = 0.99\n'
            'schedule = "constant"\nbatch_size = 64\ndepth = 2\n'
        )
        request = dataclasses.replace(LONGER, space=space)
        here = context(storage, mnist, tmp_path, request)
        with pytest.raises(GivenUp, match="trials in a row failed"):
            work(here, stop=lambda: False)
        failed = [trial for trial in here.study.trials() if trial.state is State.FAILED]
        assert {trial.failure for trial in failed} == {Failure.DIVERGED}
        assert len(failed) == FAILURES_IN_A_ROW
        assert "the loss is" in str(failed[0].failure_detail)
        assert count(here.study.trials()).complete == 2, "the references took their own learning rate"

    def test_a_bug_keeps_its_traceback(
        self, storage: Storage, mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = context(storage, mnist, tmp_path)
        monkeypatch.setattr("search.objectives.network.open_network.learn", lambda *_args, **_more: 1 / 0)
        with pytest.raises(GivenUp, match="ZeroDivisionError"):
            work(here, stop=lambda: False)
        trial = here.study.trials()[0]
        assert trial.failure is Failure.ERROR
        assert "Traceback" in str(trial.failure_detail)
        assert "division by zero" in str(trial.failure_detail)

    def test_an_error_in_a_trial_that_was_taken_away_ends_no_worker(
        self, storage: Storage, mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = context(storage, mnist, tmp_path)
        taken = iter([True])

        def learn(*arguments: Any, **more: Any) -> Any:
            if next(taken, False):
                Reaper(here.study, storage.store, "me").look(dead={here.worker.worker_id})
                raise RuntimeError("and then this")
            return learning_module.learn(*arguments, **more)

        monkeypatch.setattr("search.objectives.network.open_network.learn", learn)
        assert work(here, stop=lambda: False) == 4
        trials = here.study.trials()
        assert [t.failure for t in trials if t.state is State.FAILED] == [Failure.WORKER_DIED]
        assert count(trials).complete == 4

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (MemoryError(), "MemoryError"),
            (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), "9 bytes"),
            (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "not enough"),
            (RuntimeError("std::bad_alloc"), "bad_alloc"),
            (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "ALLOC_FAILED"),
            (torch.OutOfMemoryError("CUDA out of memory."), "CUDA out"),
            (OSError(errno.ENOMEM, "Cannot allocate memory"), "Cannot allocate"),
        ],
    )
    def test_out_of_memory_fails_the_trial_and_ends_the_worker(
        self,
        storage: Storage,
        mnist: Mnist,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
        said: str,
    ) -> None:
        here = context(storage, mnist, tmp_path)

        def learn(*_arguments: Any, **_more: Any) -> Any:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr("search.objectives.network.open_network.learn", learn)
            with pytest.raises(WornOut) as end:
                work(here, stop=lambda: False)
            assert end.value.failures_in_a_row == 1
            with pytest.raises(GivenUp, match=f"{FAILURES_IN_A_ROW} trials in a row failed.*{said}"):
                work(here, stop=lambda: False, failures_in_a_row=FAILURES_IN_A_ROW - 1)
        trials = here.study.trials()
        assert [trial.failure for trial in trials] == [Failure.OUT_OF_MEMORY] * 2, "and not repeated"
        assert said in str(trials[0].failure_detail)
        assert storage.store.claims(here.study.study_id) == []
        assert work(here, stop=lambda: False) == 4

    def test_out_of_memory_costs_the_waiting_trials_nothing(
        self, storage: Storage, mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        request = dataclasses.replace(QUICK, epochs=0.5, pruner="asha")
        here = context(storage, mnist, tmp_path, request)
        begun = iter(range(100))

        def learn(*arguments: Any, **more: Any) -> Any:
            if next(begun) == 1:
                raise MemoryError
            return learning_module.learn(*arguments, **more)

        def save(_runner: object) -> None:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

        monkeypatch.setattr("search.objectives.network.open_network.learn", learn)
        monkeypatch.setattr("search.worker.trial_runner.CHECKPOINT_EVERY_S", 1e9)
        monkeypatch.setattr("search.worker.trial_runner.TrialRunner.write_checkpoint", save)
        with pytest.raises(WornOut):
            work(here, stop=lambda: False)
        first, second, *_ = here.study.trials()
        assert (first.state, first.failure) == (State.FAILED, Failure.INTERRUPTED), "it waited"
        assert first.was_paused
        assert second.failure is Failure.OUT_OF_MEMORY

    def test_a_trial_that_ended_leaves_no_tensors_for_the_garbage_collector(
        self, storage: Storage, mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        networks = []

        def learn(*arguments: Any, **more: Any) -> Any:
            learning = learning_module.learn(*arguments, **more)
            networks.append(weakref.ref(learning.network))
            return dataclasses.replace(learning, steps=seen(learning.steps))

        def seen(steps: Iterator[learning_module.Step]) -> Iterator[learning_module.Step]:
            for step in steps:
                networks.append(weakref.ref(step.network))
                yield step

        monkeypatch.setattr("search.objectives.network.open_network.learn", learn)
        here = context(storage, mnist, tmp_path, LONGER)
        gc.collect()
        gc.disable()
        try:
            work(here, stop=lambda: False)
            assert len(networks) >= 4
            assert [each for each in networks if each() is not None] == []
        finally:
            gc.enable()

    def test_where_a_trial_waits_changes_nothing(
        self, storage: Storage, mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parked: list[int] = []
        park = TrialRunner.park

        def noted(runner: TrialRunner) -> None:
            parked.append(runner.active.number)
            park(runner)

        monkeypatch.setattr("search.worker.trial_runner.TrialRunner.park", noted)
        curves = []
        for name, limit in (("memory", 10**9), ("disk", 0)):
            request = dataclasses.replace(QUICK, study=name, epochs=0.5, pruner="asha", trials=6)
            create_or_resume(storage, request, mnist)
            here = prepare(storage, name, mnist, tmp_path, device="cpu", threads=1)
            monkeypatch.setattr("search.worker.worker_loop.WAITING_BYTES", limit)
            assert parked == []
            assert work(here, stop=lambda: False) == 6
            found = storage.store.curves([trial.trial_id for trial in here.study.trials()], ACCURACY)
            curves.append([[(r.step, r.metrics) for r in found[trial]] for trial in sorted(found)])
        assert parked, "or this test shows nothing"
        assert curves[0] == curves[1]

    def test_a_trial_that_takes_too_long_is_not_repeated(
        self, storage: Storage, mnist: Mnist, tmp_path: Path
    ) -> None:
        here = dataclasses.replace(
            context(storage, mnist, tmp_path), options=WorkerOptions(trial_timeout_s=1e-6)
        )
        with pytest.raises(GivenUp, match="it had 1e-06 s"):
            work(here, stop=lambda: False)
        trials = here.study.trials()
        assert [trial.failure for trial in trials] == [Failure.TIMEOUT] * FAILURES_IN_A_ROW
        assert [trial.retry_of for trial in trials] == [None] * FAILURES_IN_A_ROW

    def test_a_storage_that_is_away_fails_no_trial(
        self, storage: Storage, mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = context(storage, mnist, tmp_path)

        def away(*_arguments: object, **_more: object) -> None:
            raise TryAgain("The storage does not answer.")

        with monkeypatch.context() as patch:
            patch.setattr(storage.store, "add_report", away)
            with pytest.raises(TryAgain):
                work(here, stop=lambda: False)
        assert here.study.trials()[0].state is State.RUNNING
        Reaper(here.study, storage.store, "me").look(dead={here.worker.worker_id})
        work(here, stop=lambda: False)
        assert count(here.study.trials()).complete == 4

    def test_a_full_disk_loses_no_trial(
        self, storage: Storage, mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = context(storage, mnist, tmp_path)

        def full(*_arguments: object, **_more: object) -> str:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("models.checkpoint.write_whole", full)
            patch.setattr("search.worker.best_weights.write_whole", full)
            with pytest.raises(GivenUp, match="no room in"):
                work(here, stop=lambda: False)
        assert [trial.failure for trial in here.study.trials()[:1]] == [Failure.DISK_FULL]
        work(here, stop=lambda: False)
        trials = here.study.trials()
        assert count(trials).complete == 4
        assert sorted(t.reference for t in trials if t.reference and t.state is State.COMPLETE) == [
            "course-conv",
            "course-mlp",
        ], "also the reference that met the full disk came to its end"

    def test_other_data_are_refused(self, storage: Storage, mnist: Mnist, tmp_path: Path) -> None:
        create_or_resume(storage, QUICK, mnist)
        other = dataclasses.replace(mnist, checksums={**mnist.checksums, "t10k-labels-idx1-ubyte": "00"})
        with pytest.raises(ConfigError, match="other MNIST files"):
            prepare(storage, "twodigit", other, tmp_path, device="cpu", threads=1)


@pytest.fixture
def store(plain_spec: NetworkSpec) -> MemoryStore:
    """A study with one slot."""
    made = MemoryStore()
    made.add_study(1, plain_spec, 1)
    return made


class TestLease:
    @pytest.fixture
    def claim(self, store: MemoryStore) -> Claim:
        claim = store.claim(1, "w", lease_s=60)
        assert claim is not None
        return claim

    @pytest.fixture
    def leases(self, store: MemoryStore, claim: Claim) -> Leases:
        """They hold the claim; no thread renews it."""
        leases = Leases(store)
        leases.hold(claim)
        return leases

    def test_is_renewed_while_the_block_lasts(
        self, store: MemoryStore, claim: Claim, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        renew, renewed = store.renew, threading.Event()

        def noted(claim: Claim, *, lease_s: float) -> None:
            renew(claim, lease_s=lease_s)
            renewed.set()

        monkeypatch.setattr(store, "renew", noted)
        with Leases(store, lease_s=0.01) as leases:
            leases.hold(claim)
            assert renewed.wait(30)
            assert store.take_over(claim, "thief", lease_s=60) is None, "it has changed since it was made"
            assert not leases.lost(claim)
        assert "leases" not in {thread.name for thread in threading.enumerate()}, "nobody renews it any more"

    def test_notices_that_it_was_lost(self, store: MemoryStore, claim: Claim, leases: Leases) -> None:
        assert store.take_over(claim, "thief", lease_s=60) is not None
        assert not leases.lost(claim), "that is not known yet"
        leases.renew()
        assert leases.lost(claim)

    def test_a_claim_that_was_released_is_not_mistaken_for_the_next_one_of_its_id(
        self, store: MemoryStore, claim: Claim, leases: Leases, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The worker begins its next trial while the thread of the leases renews the claim before it."""
        after = dataclasses.replace(claim, token="of the next claim")
        renewed: list[str] = []

        def renew(claim: Claim, *, lease_s: float) -> None:
            renewed.append(claim.token)
            if claim.token != after.token:
                leases.drop(claim)
                leases.hold(after)
                raise LeaseLost("released")

        monkeypatch.setattr(store, "renew", renew)
        leases.renew()
        leases.renew()
        assert renewed == [claim.token, after.token]
        assert not leases.lost(after)

    def test_a_claim_that_is_not_held_expires(self, store: MemoryStore, claim: Claim, leases: Leases) -> None:
        leases.drop(claim)
        leases.renew()
        assert store.take_over(claim, "thief", lease_s=60) is not None, "it has not changed"

    def test_survives_a_database_that_is_away(
        self, store: MemoryStore, claim: Claim, leases: Leases, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        renew, failures = store.renew, iter([True, True])

        def flaky(*args: object, **more: object) -> None:
            if next(failures, False):
                raise TryAgain("away")
            renew(*args, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(store, "renew", flaky)
        for _ in range(2):
            leases.renew()
            assert store.claims(1) == [claim]
        leases.renew()
        assert store.claims(1)[0].expires != claim.expires, "renewed by the third try"
        assert not leases.lost(claim)


class Clock:
    """A monotonic clock that stands still unless it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestReaper:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    def _study(self, storage: Storage, mnist: Mnist) -> Study:
        study, record = create_or_resume(storage, QUICK, mnist)
        study.prepare(sampler="random", pruner="none", seed=0, evaluations=_evaluations(record.spec.epochs))
        return study

    def _claimed(self, storage: Storage, study: Study, lease_s: float = LEASE_S) -> tuple[Claim, ActiveTrial]:
        claim = storage.store.claim(study.study_id, "dead", lease_s=lease_s)
        assert claim is not None
        asked = study.ask()
        return storage.store.attach(claim, asked.trial_id), asked

    def _looks(self, reaper: Reaper, clock: Clock, *, seconds: float) -> int:
        """Checks on a timer for this time; returns the number of trials that it ended."""
        reaped, until = 0, clock.now + seconds
        while clock.now <= until:
            reaped += reaper.look()
            clock.now += LEASE_S / 3
        return reaped

    def test_a_vanished_workers_trial_is_failed_and_queued_again(
        self, storage: Storage, mnist: Mnist, clock: Clock
    ) -> None:
        study = self._study(storage, mnist)
        self._claimed(storage, study)
        reaper = Reaper(study, storage.store, "me", clock=clock)
        assert self._looks(reaper, clock, seconds=0.9 * LEASE_S) == 0
        assert study.trials()[0].state is State.RUNNING
        assert self._looks(reaper, clock, seconds=0.4 * LEASE_S) == 1, "within one and a half leases"
        assert study.trials()[0].failure is Failure.WORKER_DIED
        assert study.ask().retry_of is None, "course-conv waited longer"
        assert study.ask().retry_of == 0
        assert storage.store.claims(study.study_id) == []

    def test_a_worker_that_its_run_had_to_kill_was_interrupted_and_is_no_death(
        self, storage: Storage, mnist: Mnist
    ) -> None:
        """However often a run is stopped, its settings are tried again: they did not end the worker."""
        study = self._study(storage, mnist)
        reaper = Reaper(study, storage.store, "me")
        networks = 2  # the course's, which take turns
        for _ in range(networks * (DEATHS + 2)):
            claim, _ = self._claimed(storage, study)
            assert reaper.look(dead=[claim.worker_id], stopped=[claim.worker_id]) == 1
        ended = study.trials()
        assert {trial.failure for trial in ended if trial.state is State.FAILED} == {Failure.INTERRUPTED}
        assert "too slow to stop" in str(ended[0].failure_detail)
        assert [study.ask().retry_of is None for _ in range(networks + 1)] == [False, False, True]

    @pytest.mark.parametrize(
        "lease_s", [LEASE_S, -3600.0, 3600.0], ids=["right", "jumped ahead", "jumped back"]
    )
    def test_a_worker_that_renews_is_left_alone_whatever_the_databases_clock_says(
        self, storage: Storage, mnist: Mnist, clock: Clock, lease_s: float
    ) -> None:
        study = self._study(storage, mnist)
        claim, _ = self._claimed(storage, study, lease_s)
        reaper = Reaper(study, storage.store, "me", clock=clock)
        for _ in range(12):
            assert reaper.look() == 0
            clock.now += LEASE_S / 3
            storage.store.renew(claim, lease_s=lease_s)
        assert study.trials()[0].state is State.RUNNING

    def test_a_reaper_that_could_not_read_has_seen_nothing(
        self, storage: Storage, mnist: Mnist, clock: Clock
    ) -> None:
        """The database was away, for the holder's renewals too: the holder gets its time."""
        study = self._study(storage, mnist)
        claim, _ = self._claimed(storage, study)
        reaper = Reaper(study, storage.store, "me", clock=clock)
        assert reaper.look() == 0
        clock.now += 10 * LEASE_S
        assert reaper.look() == 0
        clock.now += LEASE_S / 3
        storage.store.renew(claim, lease_s=LEASE_S)
        assert self._looks(reaper, clock, seconds=0.9 * LEASE_S) == 0

    def test_a_check_that_an_outage_held_up_has_seen_nothing(
        self, storage: Storage, mnist: Mnist, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The database went away in the middle of the check, and comes back to reaper and holder at once."""
        study = self._study(storage, mnist)
        claim, _ = self._claimed(storage, study)
        reaper = Reaper(study, storage.store, "me", clock=clock)
        assert reaper.look() == 0
        clock.now += LEASE_S / 3
        open_claims = storage.store.open_claims

        def held_up(study_id: int) -> list[Claim]:
            clock.now += 2 * LEASE_S
            return open_claims(study_id)

        with monkeypatch.context() as patch:
            patch.setattr(storage.store, "open_claims", held_up)
            assert reaper.look() == 0
        storage.store.renew(claim, lease_s=LEASE_S)

    def test_an_outage_while_one_claim_is_taken_condemns_no_other(
        self, storage: Storage, mnist: Mnist, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study = self._study(storage, mnist)
        self._claimed(storage, study)
        healthy, _ = self._claimed(storage, study)
        reaper = Reaper(study, storage.store, "me", clock=clock)
        take_over = storage.store.take_over

        def held_up(*arguments: Any, **more: Any) -> Claim | None:
            clock.now += 2 * LEASE_S
            return take_over(*arguments, **more)

        monkeypatch.setattr(storage.store, "take_over", held_up)
        assert reaper.look() == 0
        for _ in range(2):  # the healthy one renews early, the other never
            clock.now += 0.4 * LEASE_S
            assert reaper.look() == 0
            if clock.now == 1000.0 + 0.4 * LEASE_S:
                storage.store.renew(healthy, lease_s=LEASE_S)
        clock.now += 0.4 * LEASE_S
        assert reaper.look() == 1
        assert [trial.state for trial in study.trials()[:2]] == [State.FAILED, State.RUNNING]

    def test_a_worker_known_to_be_dead_is_not_waited_for(
        self, storage: Storage, mnist: Mnist, clock: Clock
    ) -> None:
        study = self._study(storage, mnist)
        self._claimed(storage, study)
        assert Reaper(study, storage.store, "me", clock=clock).look(dead={"dead"}) == 1

    def test_a_finished_trial_keeps_its_result_and_its_slot(
        self, storage: Storage, mnist: Mnist, clock: Clock
    ) -> None:
        """The worker died between telling the result and settling its claim."""
        study = self._study(storage, mnist)
        _, asked = self._claimed(storage, study)
        study._study._storage.set_trial_state_values(asked.trial_id, TrialState.COMPLETE, [0.9])
        assert Reaper(study, storage.store, "me", clock=clock).look(dead={"dead"}) == 0
        assert [claim.done for claim in storage.store.claims(study.study_id)] == [True]
        assert study.trials()[0].score == 0.9

    def test_a_trial_without_a_claim_is_failed_after_the_lease(
        self, storage: Storage, mnist: Mnist, clock: Clock
    ) -> None:
        """The worker died between creating the trial and noting it on its claim."""
        study = self._study(storage, mnist)
        study.ask()
        reaper = Reaper(study, storage.store, "me", clock=clock)
        assert self._looks(reaper, clock, seconds=0.9 * LEASE_S) == 0, "it is younger than a lease"
        assert self._looks(reaper, clock, seconds=0.4 * LEASE_S) == 1
        assert study.trials()[0].state is State.FAILED

    def test_a_trial_that_was_deleted_frees_its_slot(self, storage: Storage, mnist: Mnist) -> None:
        study = self._study(storage, mnist)
        self._claimed(storage, study)
        storage.optuna.delete_study(study.study_id)
        assert Reaper(study, storage.store, "me").look(dead={"dead"}) == 1
        assert storage.store.open_claims(study.study_id) == []

    def test_the_late_answer_is_refused(self, storage: Storage, mnist: Mnist, clock: Clock) -> None:
        study = self._study(storage, mnist)
        claim, asked = self._claimed(storage, study)
        Reaper(study, storage.store, "me", clock=clock).look(dead={"dead"})
        with pytest.raises(LeaseLost):
            asked.complete(0.99)
        with pytest.raises(LeaseLost):
            storage.store.settle(claim)

    def test_settings_that_take_every_worker_down_are_given_up(
        self, storage: Storage, mnist: Mnist, clock: Clock
    ) -> None:
        study = self._study(storage, mnist)
        reaper = Reaper(study, storage.store, "me", clock=clock)
        for _ in range(20):
            if not any(trial.state is State.WAITING for trial in study.trials()):
                break
            self._claimed(storage, study)
            reaper.look(dead={"dead"})
        trials = study.trials()
        assert {trial.failure for trial in trials} == {Failure.WORKER_DIED}
        assert len(trials) == 2 * (1 + DEATHS), "two references, each begun and repeated DEATHS times"
        assert storage.store.claims(study.study_id) == [], "their slots are free for other trials"


def test_databases_that_share_a_folder_keep_their_files_apart(
    mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a study 1, and often of the same name."""
    monkeypatch.setenv("TUNE_ARTIFACTS", str(tmp_path / "shared"))
    folders = []
    for name in ("one.db", "one.db", "other.db"):
        url = f"sqlite:///{tmp_path / name}"
        with open_storage(url) as storage:
            study, _ = create_or_resume(storage, QUICK, mnist)
            here = prepare(storage, study.name, mnist, storage.location.artifacts, device="cpu", threads=1)
            folders.append(here.artifacts.folder)
    assert folders[0] == folders[1] != folders[2]
    assert {folder.parent for folder in folders} == {tmp_path / "shared"}


def _evaluations(epochs: float) -> EvaluationSchedule:
    return EvaluationSchedule.doubling(epoch_images=36_000, epochs=epochs)
