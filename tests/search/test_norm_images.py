"""Batch-norm statistics of averaged weights as a setting of the study: the same numbers in whosever hands."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from few_images import evaluate_on_few_images
from specs import network_spec

from data.datasets.mnist import Mnist
from models.checkpoint import load_checkpoint
from models.device import prepare_process
from models.training import evaluate
from search.heads import train_of, validation_of
from search.objectives.network.decoding import decode
from search.objectives.network.learning import learn
from search.objectives.network.open_network import FORMAT, OpenNetwork
from search.optuna_db.storage import Storage, open_storage
from search.records import ACCURACY, NetworkSpec, Report, State
from search.seeds import training_seed
from search.service import confirm as confirming
from search.service.create import RunRequest, create_or_resume
from search.service.repeat import repeat
from search.space.defaults import NORM_IMAGES
from search.store.rows import Unusable, spec_to_json, study_of
from search.study.study import Study
from search.worker.context import WorkerContext, prepare
from search.worker.options import WorkerOptions
from search.worker.trial_runner import TrialRunner
from search.worker.worker_loop import work

CPU = torch.device("cpu")
SPACE: dict[str, object] = {
    "model": "conv",
    "optimizer": "adamw",
    "lr": 0.004,
    "momentum": 0.9,
    "weight_decay": 0.001,
    "schedule": "cosine",
    "batch_size": 128,
    "label_smoothing": 0.0,
    "averaging": 0.1,
    "pairing": "fresh",
    "shift": 0,
    "affine": 1.0,
    "activation": "relu",
    "dropout": 0.3,
    "blocks": 2,
    "stem": 1,
    "convolutions": 1,
    "channels": {"low": 2, "high": 8},
    "growth": 2.0,
    "divisor": 1,
    "kernel": 3,
    "batch_norm": True,
    "hidden": 16,
    "padding": "same",
    "hidden_layers": 1,
    "hidden_taper": 0.5,
    "hidden_activation": True,
    "number_width": 0,
}
RUNGS = (2250, 3600)
"""Of 0.1 epochs; both come before a quarter epoch."""


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_process(threads=1)
    evaluate_on_few_images(monkeypatch)


@pytest.fixture
def storages(tmp_path: Path) -> Iterator[Callable[[], Storage]]:
    """One more connection to one database."""
    opened: list[Storage] = []

    def another() -> Storage:
        opened.append(open_storage(f"sqlite:///{tmp_path / 'studies.db'}"))
        return opened[-1]

    yield another
    for storage in opened:
        storage.close()


@pytest.fixture
def join(storages: Callable[[], Storage], mnist: Mnist, tmp_path: Path) -> Callable[..., WorkerContext]:
    """join("a"): one more worker's context on a study of one network; norm_images as given."""

    def joined(name: str, norm_images: int = NORM_IMAGES) -> WorkerContext:
        storage = storages()
        spec = network_spec(
            space=SPACE,
            epochs=0.1,
            seed=3,
            sampler="random",
            checksums=mnist.checksums,
            precision="float32",
            norm_images=norm_images,
        )
        Study.create(storage, name, spec, 1)
        return prepare(storage, name, mnist, tmp_path / "studies.artifacts", device="cpu", threads=1)

    return joined


def curve_of(here: WorkerContext, number: int = 0) -> list[Report]:
    [trial] = [trial for trial in here.study.trials() if trial.number == number]
    return here.storage.store.curve(trial.trial_id, ACCURACY)


def timeless(curve: list[Report]) -> list[Report]:
    return [dataclasses.replace(report, seconds=0.0) for report in curve]


def objective_of(here: WorkerContext) -> OpenNetwork:
    assert isinstance(here.objective, OpenNetwork)
    return here.objective


def next_of(here: WorkerContext) -> TrialRunner:
    claim = here.storage.store.claim(here.study.study_id, here.worker.worker_id, lease_s=60)
    assert claim is not None
    asked = here.study.ask(claim)
    return TrialRunner(here, dataclasses.replace(claim, trial_id=asked.trial_id), asked, check=lambda: None)


class TestRecorded:
    def test_a_new_study_has_it_and_a_resumed_one_keeps_it(
        self, storages: Callable[[], Storage], mnist: Mnist
    ) -> None:
        for _ in range(2):
            _, record = create_or_resume(storages(), RunRequest(task="twodigit", trials=1), mnist)
            assert record.spec.norm_images == NORM_IMAGES > 0

    def test_a_study_that_does_not_say_has_none(self, plain_spec: NetworkSpec) -> None:
        row = spec_to_json(plain_spec)
        assert "norm_images" not in row, "earlier versions can read it"
        [found, other] = [
            study_of({"study_id": 1, "spec": spec, "target_trials": 1, "created": datetime.now(UTC)})  # type: ignore[arg-type]
            for spec in (row, spec_to_json(dataclasses.replace(plain_spec, norm_images=256)))
        ]
        assert (found.spec.norm_images, other.spec.norm_images) == (0, 256)

    @pytest.mark.parametrize("wrong", [-1, 0.5, "512", True, None])
    def test_what_cannot_be_is_refused(self, plain_spec: NetworkSpec, wrong: object) -> None:
        spec = {**spec_to_json(plain_spec), "norm_images": wrong}
        with pytest.raises(Unusable, match="norm_images"):
            study_of({"study_id": 1, "spec": spec, "target_trials": 1, "created": datetime.now(UTC)})  # type: ignore[arg-type]


class TestTrained:
    def test_a_study_of_before_is_trained_as_before(
        self, join: Callable[..., WorkerContext], mnist: Mnist
    ) -> None:
        """Against a training without the setting; the new study differs in validation alone."""
        before, now = join("before", 0), join("now")
        for here in (before, now):
            work(here, stop=lambda: False)
        [trial] = before.study.trials()
        seed = training_seed(before.record.spec.seed, origin=0, confirming=None)
        spec = decode(trial.settings, images=3600, seed=seed, precision="float32")
        steps = learn(spec, objective_of(before).task, mnist, rungs=RUNGS, device=CPU).steps
        assert timeless(curve_of(before)) == timeless([step.report for step in steps])
        for mine, other in zip(curve_of(now), curve_of(before), strict=True):
            assert train_of(mine) == train_of(other)
            assert validation_of(mine) != validation_of(other)

    def test_a_resume_checkpoint_of_a_previous_version_is_good(
        self, join: Callable[..., WorkerContext]
    ) -> None:
        """Its fingerprint, spelled out as it was made; a study with the setting has another."""
        here, other = join("before", 0), join("now")
        runner, now = next_of(here), next_of(other)
        spec = objective_of(here).decoded(runner._job)
        assert "norm_images" not in repr(spec)
        data = sorted(objective_of(here).dataset.checksums.items())
        everything = repr((FORMAT, spec, RUNGS, "twodigit", data, "cpu"))
        assert runner._fingerprint == hashlib.sha256(everything.encode()).hexdigest()
        assert repr(objective_of(other).decoded(now._job)) == repr(spec)
        assert now._fingerprint != runner._fingerprint

    def test_parked_and_taken_up_by_another_worker_it_is_the_same_trial(
        self, join: Callable[..., WorkerContext]
    ) -> None:
        whole = join("whole")
        work(whole, stop=lambda: False)
        first, second = join("moved"), join("moved")
        runner = next_of(first)
        assert not runner.advance(RUNGS[0])
        runner.park()
        there = TrialRunner(second, runner.claim, runner.active, check=lambda: None)
        assert there.rejoin(curve_of(first))
        assert there.advance(RUNGS[1])
        assert timeless(curve_of(first)) == timeless(curve_of(whole))
        weights = []
        for here in (whole, second):
            [kept] = here.storage.store.checkpoints(here.study.study_id)
            weights.append(load_checkpoint(here.artifacts.path(kept)).tensors)
        assert weights[0].keys() == weights[1].keys()
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

    def test_a_worker_that_is_stopped_at_any_question_leaves_the_same_trial(
        self, join: Callable[..., WorkerContext]
    ) -> None:
        """Also while the images for the statistics are read: the first rung is reached after 18 batches."""
        whole = join("whole")
        work(whole, stop=lambda: False)
        here = join("stopped")
        for questions in (24, 27, 33):
            asked = iter(range(questions))
            work(here, stop=lambda asked=asked: next(asked, None) is None)  # type: ignore[misc]
        work(here, stop=lambda: False)
        last = max(here.study.trials(), key=lambda trial: trial.number)
        assert last.retry_of is not None
        assert last.state is State.COMPLETE
        assert timeless(curve_of(here, last.number)) == timeless(curve_of(whole))

    def test_repeat_finds_the_same_curve_and_weights(
        self, join: Callable[..., WorkerContext], tmp_path: Path, mnist: Mnist
    ) -> None:
        here = join("s")
        work(here, stop=lambda: False)
        [kept] = here.storage.store.checkpoints(here.study.study_id)
        saved = load_checkpoint(here.artifacts.path(kept), expected_sha256=kept.sha256)
        found = evaluate(saved.network(), objective_of(here).task.validation(mnist))
        assert found.score == pytest.approx(kept.score, abs=1e-6), "the weights that were judged are kept"
        here.artifacts.path(kept).unlink()
        url = f"sqlite:///{tmp_path / 'studies.db'}"
        again = repeat(url, "s", 0, restore=True, tell=lambda _: None, watch=lambda *_: None)
        assert again.curves.first_difference is None
        assert again.restored is not None
        assert again.restored.checkpoint.sha256 == kept.sha256, "the same bytes"

    @pytest.mark.parametrize("norm_images", [0, 256])
    def test_a_confirmation_trains_as_its_study(
        self, join: Callable[..., WorkerContext], norm_images: int
    ) -> None:
        here = join("s", norm_images)
        request = confirming.ConfirmRequest(study="s", options=WorkerOptions(workers=1, threads=1))
        _, confirmation = confirming._begin(here.storage, here.record, request)
        assert confirmation.spec.norm_images == norm_images
