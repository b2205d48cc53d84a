"""Trials of one study with budgets and folds that differ: what the network objective makes of its jobs."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from few_images import evaluate_on_few_images
from valley import VALLEY, valley_spec

from data.datasets.mnist import Mnist
from data.tasks.registry import TASKS
from models.checkpoint import parse_checkpoint
from models.device import prepare_process
from models.training import evaluate
from search.heads import train_eval_of, train_of, validation_of
from search.objectives.base import Job
from search.objectives.network.learning import scores_of
from search.objectives.network.open_network import FORMAT, OpenNetwork, Weights
from search.objectives.network.retrain import retrain
from search.objectives.registry import OBJECTIVES
from search.optuna_db.storage import Storage, open_storage
from search.records import ACCURACY, AblationRun, Report, State
from search.service.create import RunRequest, create_or_resume
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.study import Study
from search.worker import trial_runner
from search.worker.context import WorkerContext, prepare
from search.worker.trial_runner import TrialRunner
from search.worker.worker_loop import work

# A trial of 0.1 epochs reports after 2,250 and 3,600 images.
REQUEST = RunRequest(task="twodigit", trials=2, epochs=0.1, model="mlp", pruner="none", precision="float32")
SETTINGS = TASKS["twodigit"].references["course-mlp"]
BUDGET = 1_500
OWN = (500, BUDGET)
"""Rungs of a trial with that budget, where an epoch were 500 images."""


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_process(threads=1)
    evaluate_on_few_images(monkeypatch)


@pytest.fixture
def contexts(tmp_path: Path, mnist: Mnist) -> Iterator[Callable[..., WorkerContext]]:
    """contexts("a"): a worker's context on a study of its own database; the same name: another worker."""
    opened: list[Storage] = []

    def make(name: str, request: RunRequest = REQUEST) -> WorkerContext:
        storage = open_storage(f"sqlite:///{tmp_path / name}.db")
        opened.append(storage)
        study, _ = create_or_resume(storage, request, mnist)
        return prepare(storage, study.name, mnist, tmp_path / f"{name}.artifacts", device="cpu", threads=1)

    yield make
    for storage in opened:
        storage.close()


def objective_of(here: WorkerContext) -> OpenNetwork:
    assert isinstance(here.objective, OpenNetwork)
    return here.objective


def job(**changed: Any) -> Job:
    told: dict[str, Any] = {"settings": SETTINGS, "seed": 5, "budget": BUDGET, "rungs": OWN}
    return Job(**{**told, **changed})


def curve(objective: OpenNetwork, asked: Job) -> list[Report]:
    return timeless(list(objective.begin(asked).reports()))


def timeless(reports: list[Report]) -> list[Report]:
    return [dataclasses.replace(report, seconds=0.0) for report in reports]


def without_train_eval(report: Report) -> Report:
    metrics = {name: value for name, value in report.metrics.items() if not name.startswith("train_eval/")}
    return dataclasses.replace(report, metrics=metrics)


class TestNetwork:
    def test_it_trains_to_the_budget_of_its_job_by_the_schedule_of_that(
        self, contexts: Callable[..., WorkerContext]
    ) -> None:
        objective = objective_of(contexts("s"))
        assert objective.spec.budget == 3_600
        assert objective.decoded(job()).training.images == BUDGET
        assert [report.step for report in curve(objective, job())] == list(OWN)
        assert [report.step for report in curve(objective, job(rungs=()))] == [BUDGET]
        cosine = {**SETTINGS, "schedule": "cosine"}
        last = curve(objective, job(settings=cosine))[-1]
        assert last.metrics["learning_rate"] == 0, "annealed over its own budget"

    def test_a_fold_trains_and_validates_on_its_own_digits(
        self, contexts: Callable[..., WorkerContext]
    ) -> None:
        objective = objective_of(contexts("s"))
        usual, last, first = (curve(objective, job(fold=fold)) for fold in (None, 9, 0))
        assert last == usual, "fold 9 is the usual division"
        assert train_of(first[0]) != train_of(usual[0])
        assert validation_of(first[0]) != validation_of(usual[0])

    def test_its_weights_score_on_the_validation_digits_of_the_fold(
        self, contexts: Callable[..., WorkerContext], mnist: Mnist
    ) -> None:
        objective = objective_of(contexts("s"))
        at_work = objective.begin(job(fold=4, evaluates_training=True))
        *_, last = at_work.reports()
        product = at_work.product()
        assert isinstance(product, Weights)
        network = parse_checkpoint(product.content({}), "the weights").network()
        fold = mnist.fold(4)
        assert scores_of(evaluate(network, objective.task.validation(fold))) == validation_of(last)
        assert scores_of(evaluate(network, objective.task.training_sample(fold))) == train_eval_of(last)

    @pytest.mark.parametrize("fold", [None, 2])
    def test_evaluation_of_training_examples_adds_metrics_and_changes_none(
        self, contexts: Callable[..., WorkerContext], fold: int | None
    ) -> None:
        objective = objective_of(contexts("s"))
        plain = curve(objective, job(fold=fold))
        both = curve(objective, job(fold=fold, evaluates_training=True))
        assert [without_train_eval(report) for report in both] == plain
        assert [train_eval_of(report) for report in plain] == [None, None]
        names = {f"train_eval/{part}/{head}" for part in ("loss", "accuracy") for head in plain[0].parts}
        assert both[0].metrics.keys() - plain[0].metrics.keys() == {*names, "train_eval/joint"}
        for report in both:
            found = train_eval_of(report)
            assert found is not None
            assert found.heads.keys() == report.parts.keys()
            # 1,500 images teach little of those that were seen: it answers these about as well as others.
            assert found.accuracy == pytest.approx(validation_of(report).accuracy, abs=0.1)

    def test_a_report_without_all_of_them_has_none(self, contexts: Callable[..., WorkerContext]) -> None:
        [*_, report] = curve(objective_of(contexts("s")), job(evaluates_training=True))
        for name in ("train_eval/joint", "train_eval/loss/first_digit"):
            metrics = {key: value for key, value in report.metrics.items() if key != name}
            assert train_eval_of(dataclasses.replace(report, metrics=metrics)) is None

    def test_fingerprints_of_jobs_without_a_fold_are_those_of_before(
        self, contexts: Callable[..., WorkerContext]
    ) -> None:
        here = contexts("s")
        objective = objective_of(here)
        rungs = EvaluationSchedule.of(here.record.spec).rungs
        ordinary = job(budget=here.record.spec.budget, rungs=rungs)
        data = sorted(objective.dataset.checksums.items())
        everything = repr((FORMAT, objective.decoded(ordinary), rungs, "twodigit", data, "cpu"))
        everything += f", norm_images={objective.spec.norm_images}"
        assert objective.fingerprint(ordinary) == hashlib.sha256(everything.encode()).hexdigest()
        others = [
            dataclasses.replace(ordinary, **changed)
            for changed in (
                {},
                {"fold": 0},
                {"fold": 1},
                {"fold": 9},
                {"evaluates_training": True},
                {"fold": 1, "evaluates_training": True},
                {"budget": 7_200, "rungs": (3_600, 7_200)},
                {"rungs": (3_600,)},
            )
        ]
        assert len({objective.fingerprint(each) for each in others}) == len(others)


def next_of(here: WorkerContext) -> TrialRunner:
    claim = here.storage.store.claim(here.study.study_id, here.worker.worker_id, lease_s=60)
    assert claim is not None
    asked = here.study.ask(claim)
    return TrialRunner(here, dataclasses.replace(claim, trial_id=asked.trial_id), asked, check=lambda: None)


def curve_of(here: WorkerContext, number: int) -> list[Report]:
    [trial] = [trial for trial in here.study.trials() if trial.number == number]
    return timeless(here.storage.store.curve(trial.trial_id, ACCURACY))


@pytest.fixture
def ablations(
    contexts: Callable[..., WorkerContext], mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], WorkerContext]:
    """ablations("a"): a worker's context on an ablation of two runs with twice its budget, on fold 3."""
    monkeypatch.setattr(trial_runner, "CHECKPOINT_EVERY_S", 0.0)

    def make(name: str) -> WorkerContext:
        storage, spec = contexts(name).storage, objective_of(contexts(name)).spec
        spec = dataclasses.replace(
            spec, epoch_images=1_800, epochs=2.0, folds=10, ablates="twodigit", baseline=0, references=()
        )
        study = Study.create(storage, "a", spec, 2)
        if study is not None:
            for arm in ("baseline", "dropout=0.5"):
                run = AblationRun(arm=arm, seed=3, budget=7_200)
                study.queue_ablation(run, {**SETTINGS, "dropout": 0.5 if arm != "baseline" else 0.0})
        return prepare(storage, "a", mnist, tmp_path / f"{name}.artifacts", device="cpu", threads=1)

    return make


class TestTrialWithAFoldAndABudget:
    def test_it_is_trained_to_its_own_budget(self, ablations: Callable[[str], WorkerContext]) -> None:
        here = ablations("whole")
        assert here.evaluations.total == 3_600
        assert work(here, stop=lambda: False) == 2
        trials = here.study.trials()
        assert {trial.state for trial in trials} == {State.COMPLETE}
        for trial in trials:
            found = curve_of(here, trial.number)
            assert [report.step for report in found] == [1_800, 3_600, 7_200]
            assert all(train_eval_of(report) is not None for report in found)

    def test_stopped_and_continued_it_has_the_same_curve(
        self, ablations: Callable[[str], WorkerContext]
    ) -> None:
        whole, here = ablations("whole"), ablations("stopped")
        work(whole, stop=lambda: False)
        asked = iter(range(40))  # questions, most of them between batches of 64
        work(here, stop=lambda: next(asked, None) is None)
        first = here.study.trials()[0]
        assert (first.state, first.step) == (State.FAILED, 1_800)
        questions = 0

        def stop() -> bool:
            nonlocal questions
            questions += 1
            return False

        work(ablations("stopped"), stop=stop)
        again = next(trial for trial in here.study.trials() if trial.retry_of == 0)
        assert again.state is State.COMPLETE
        assert curve_of(here, again.number) == curve_of(whole, 0)
        batches = 7_200 // 64 + 1
        assert questions < 2 * batches - 1_800 // 64 + 15, "it continued from the checkpoint"

    def test_parked_and_continued_by_another_worker_it_is_the_same_trial(
        self, ablations: Callable[[str], WorkerContext]
    ) -> None:
        whole, here, other = ablations("whole"), ablations("moved"), ablations("moved")
        work(whole, stop=lambda: False)
        runner = next_of(here)
        assert not runner.advance(3_600)
        runner.park()
        there = TrialRunner(other, runner.claim, runner.active, check=lambda: None)
        assert there.rejoin(here.storage.store.curve(runner.active.trial_id, ACCURACY))
        assert there.advance(there.budget)
        assert curve_of(here, 0) == curve_of(whole, 0)

    def test_retrained_it_has_the_same_curve(
        self, ablations: Callable[[str], WorkerContext], mnist: Mnist
    ) -> None:
        here = ablations("whole")
        work(here, stop=lambda: False)
        trial = here.study.trials()[0]
        before = curve_of(here, 0)
        steps = retrain(
            here.record,
            trial,
            origin=0,
            worker=here.worker,
            precision="float32",
            rungs=[report.step for report in before],
            dataset=mnist,
        )
        assert timeless([step.report for step in steps]) == before


@pytest.mark.parametrize("pruner", ["none", "asha", "median"])
@pytest.mark.parametrize("budget", [4, 9, 20])
def test_trials_of_any_budget_end_with_it(
    budget: int, pruner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study's is 9 steps. A worker holds several of them at once with asha."""
    monkeypatch.setitem(OBJECTIVES, "valley", VALLEY)
    spec = dataclasses.replace(valley_spec(pruner=pruner), ablates="v", baseline=0, references=())
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        study = Study.create(storage, "v", spec, 12)
        assert study is not None
        for seed in range(12):
            run = AblationRun(arm="baseline", seed=seed, budget=budget)
            study.queue_ablation(run, {"start": 0.1 * seed, "friction": 0.1, "push": "none", "bounces": 1})
        here = prepare(storage, "v", None, tmp_path, threads=1)
        assert work(here, stop=lambda: False) == 12
        trials = here.study.trials()
        assert {trial.state for trial in trials} <= {State.COMPLETE, State.PRUNED}
        complete = [trial for trial in trials if trial.state is State.COMPLETE]
        assert complete
        assert {trial.step for trial in complete} == {budget}
        assert all(trial.step <= budget for trial in trials)
        assert pruner != "none" or len(complete) == 12
