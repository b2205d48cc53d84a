"""`tune ablate` on networks: each seed on other digits, each arm with its budget, retrained bit for bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from few_images import evaluate_on_few_images

from data.datasets.mnist import Mnist
from data.tasks.twodigit import TwoDigit
from search.analysis.ablation import Ablation
from search.analysis.pace import Snapshot
from search.errors import UsageError
from search.heads import train_eval_of, validation_of
from search.optuna_db.storage import open_storage
from search.records import AblationRun, NetworkSpec, State, TrialRecord
from search.service import ablate as service
from search.service.ablate import AblateRequest, ablate
from search.service.look import find, found_trial
from search.service.read_ablation import ablation
from search.service.watched import Watched
from search.study import ablation_plan
from search.study.ablation_plan import AblationRequest
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.reading import open_reading
from search.worker.context import prepare
from search.worker.options import WorkerOptions
from search.worker.worker_loop import work

Ablate = Callable[..., Ablation]


@pytest.fixture
def url(finished: Path, tmp_path: Path) -> str:
    """A copy of the finished studies, to be changed."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return f"sqlite:///{tmp_path / 'studies.db'}"


@pytest.fixture
def run(url: str, mnist: Mnist, monkeypatch: pytest.MonkeyPatch) -> Ablate:
    """run(seeds=2): of the study twodigit, by one worker in this process."""

    def in_this_process(storage: Any, study: Any, record: Any, *args: Any, **more: Any) -> Any:
        context = prepare(storage, record.name, mnist, storage.location.artifacts, device="cpu", threads=1)
        work(context, stop=lambda: False)
        return type("Done", (), {"reason": "finished"})

    torch.set_num_threads(1)
    monkeypatch.setattr(service, "drive", in_this_process)
    evaluate_on_few_images(monkeypatch)
    monkeypatch.setattr(TwoDigit, "compositions", 1)  # 600 images in place of 24,000, for the sake of time

    def ask(study: str = "twodigit", trial: int | None = None, **design: Any) -> Ablation:
        request = AblateRequest(
            study=study,
            trial=trial,
            design=AblationRequest(**{"settings": ("dropout",), "lengths": False, **design}),
            options=WorkerOptions(workers=1),
        )
        return ablate(request, url, watch=lambda _: None)

    return ask


def trials_of(url: str, name: str) -> list[TrialRecord]:
    from search.service.look import trials

    return list(trials(url, name).trials)


def test_every_seed_is_judged_on_other_digits(run: Ablate, url: str) -> None:
    found = run(seeds=2)
    assert isinstance(found.record.spec, NetworkSpec)
    assert (found.record.spec.folds, found.divides_anew) == (10, True)
    trials = [trial for trial in trials_of(url, "twodigit.ablate") if trial.state is State.COMPLETE]
    assert {trial.ablation.seed for trial in trials if trial.ablation} == {0, 1}
    with open_reading(url) as storage:
        curves = storage.store.curves([trial.trial_id for trial in trials], found.metric)
        assert storage.store.checkpoints(found.record.study_id) == [], "no weights of an ablation are kept"
        assert storage.store.test_evaluations([found.record.study_id]) == []
    for curve in curves.values():
        last = train_eval_of(curve[-1])
        assert last is not None
        assert last.heads.keys() == validation_of(curve[-1]).heads.keys()
    # 600 images, every digit of them in each place once: an accuracy is a multiple of 1/1,200.
    for trial in trials:
        score = curves[trial.trial_id][-1].score
        assert score * 1_200 == pytest.approx(round(score * 1_200))


def test_an_arm_has_the_score_of_its_last_report(run: Ablate, url: str) -> None:
    found = run(seeds=1)
    by_number = {trial.number: trial for trial in trials_of(url, "twodigit.ablate")}
    with open_reading(url) as storage:
        for arm in found.arms:
            [one] = arm.runs
            curve = storage.store.curve(by_number[one.trial].trial_id, found.metric)
            assert one.score == curve[-1].score
            assert by_number[one.trial].step == arm.budget


def test_lengths_have_budgets_of_their_own(run: Ablate) -> None:
    found = run(seeds=1, lengths=True)
    assert {(arm.name, arm.budget) for arm in found.arms if arm.name in ("baseline", "unregularized")} == {
        ("baseline", budget) for budget in (90, 180, 360, 720, 1_440)
    } | {("unregularized", budget) for budget in (360, 1_440)}
    assert [each.arm.budget for each in found.lengths] == [180, 360, 720, 1_440]


def test_an_optimizer_has_a_learning_rate_of_its_own(
    run: Ablate, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation_plan, "GRID", 2)
    monkeypatch.setattr(ablation_plan, "BEYOND", 1)
    found = run(seeds=1, settings=("optimizer",))
    trials = trials_of(url, "twodigit.ablate")
    choosing = {trial.ablation: trial for trial in trials if trial.ablation and trial.ablation.chooses}
    assert {run.budget for run in choosing} == {180}
    for arm in found.arms:
        if arm.name == "baseline":
            continue
        tried = {
            run.arm: trial.score for run, trial in choosing.items() if run.arm.startswith(f"{arm.name}, lr=")
        }
        rates = sorted(float(name.removeprefix(f"{arm.name}, lr=")) for name in tried)
        assert rates in ([2e-5, 0.001, 0.05], [0.001, 0.05, 2.5])  # beyond the better one of two
        best = max(tried, key=lambda name: tried[name] or 0.0)
        assert best.removeprefix(f"{arm.name}, lr=") == str(arm.settings["lr"])
        assert arm.edge == {rates[0]: "smallest", rates[-1]: "largest"}.get(arm.settings["lr"])


def test_stopped_before_the_runs_that_follow_a_choice_it_is_not_finished(
    run: Ablate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation_plan, "GRID", 2)
    monkeypatch.setattr(ablation_plan, "BEYOND", 0)
    trained = service.drive
    with monkeypatch.context() as patch:

        def stopped(*args: Any, **more: Any) -> Any:
            trained(*args, **more)
            return type("Stopped", (), {"reason": "stopped"})

        patch.setattr(service, "drive", stopped)
        found = run(seeds=1, settings=("optimizer", "dropout"))
    assert found.finished_runs == found.wanted
    assert not found.finished
    assert {name.partition("=")[0] for name in found.follow} == {"optimizer"}
    whole = run(seeds=1, settings=("optimizer", "dropout"))
    assert (whole.finished, whole.follow, whole.behind) == (True, (), ())
    assert set(found.follow) < {each.arm.name for each in whole.settings}


def test_the_plan_tells_the_time_with_its_evaluations(run: Ablate, url: str) -> None:
    """An image that is evaluated takes 0.3 times as long as one that is trained on."""
    request = AblateRequest(
        study="twodigit",
        design=AblationRequest(settings=("affine",), seeds=2, lengths=False, path=None),
        options=WorkerOptions(workers=1),
    )
    found = service.planned(request, url)
    with open_reading(url) as storage:
        (report,) = storage.store.curve(found.baseline.trial_id, found.searched.spec.metric)
    runs, steps = len(found.plan.runs), sum(each.run.budget for each in found.plan.runs)
    reports = len(EvaluationSchedule.with_budget(found.spec, found.plan.runs[0].run.budget).rungs)
    evaluated = runs * reports * (600 + 400)  # on validation and on training examples
    assert found.seconds == pytest.approx((steps + 0.3 * evaluated) * report.seconds / report.step)


def test_the_time_left_has_the_runs_that_follow_a_choice(run: Ablate, url: str) -> None:
    request = AblateRequest(
        study="twodigit",
        design=AblationRequest(settings=("optimizer",), seeds=2, lengths=False),
        options=WorkerOptions(workers=1),
    )
    plan = service.planned(request, url).plan
    assert len(plan.follow) == 2 * 3
    told: list[Snapshot] = []
    look = service.with_what_follows(told.append, plan)
    with open_storage(url) as storage:
        study, record = find(storage, "twodigit")
        seen = replace(Watched(storage, study, record).snapshot(1.0), steps_per_s=10.0, remaining_s=60.0)
    for each in (seen, replace(seen, remaining_s=None), replace(seen, steps_per_s=0.0)):
        look(each)
    steps = sum(each.budget for each in plan.follow)
    assert [each.remaining_s for each in told] == [60.0 + steps / 10.0, None, 60.0]


def test_a_run_can_be_repeated_bit_for_bit(run: Ablate, url: str) -> None:
    from search.service.repeat import repeat

    run(seeds=2)
    last = trials_of(url, "twodigit.ablate")[-1]
    assert last.ablation is not None
    assert last.ablation.seed == 1
    repeated = repeat(url, "twodigit.ablate", last.number, tell=lambda _: None, watch=lambda *_: None)
    assert repeated.curves.first_difference is None


def test_another_baseline_is_another_ablation(run: Ablate, url: str) -> None:
    first = run(seeds=1)
    other = next(
        trial.number
        for trial in trials_of(url, "twodigit")
        if trial.state is State.COMPLETE and trial.number != first.baseline.number
    )
    second = run(seeds=1, trial=other)
    assert (first.record.name, second.record.name) == ("twodigit.ablate", f"twodigit.ablate-{other}")
    read = ablation(url, "twodigit")
    assert read is not None
    assert (read.baseline.number, read.others) == (first.baseline.number, (f"twodigit.ablate-{other}",))


def test_nine_parts_are_nine_seeds(run: Ablate) -> None:
    with pytest.raises(UsageError, match="--seeds must be from 1 to 9"):
        run(seeds=10)


def test_the_tenth_part_chose_the_winner_and_is_not_used(run: Ablate, url: str) -> None:
    found = run(seeds=1)
    trial = found_trial(url, "twodigit.ablate", 0)
    assert trial.trial.ablation == AblationRun(arm="baseline", seed=0, budget=found.budget)
