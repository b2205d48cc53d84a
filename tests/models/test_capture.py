"""Recorded steps. The graph here is a stand-in: it does the recorded work at every replay, on the same
memory, which is what a GPU does too; only the recording itself needs one."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.capture import WARM_UP, Captured
from models.conv import ConvConfig
from models.mlp import MLPConfig
from models.network import ModelConfig, Signature, build
from models.optimizer import OptimizerConfig
from models.training import Report, Training, TrainingConfig

LR = 2**-7
"""The same number in float32, which recorded steps have, as in float64."""
MODELS: dict[str, ModelConfig] = {
    "mlp": MLPConfig(width=32, dropout=0.3),
    "conv with a number": ConvConfig(channels=4, hidden=16, batch_norm=True, dropout=0.3, number_width=4),
}


class StandIn:
    """Records by keeping the work."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.output = torch.full(shape, torch.nan)
        self.replays = 0

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        self.work = work
        return self.output

    def replay(self) -> None:
        self.replays += 1
        self.output.copy_(self.work())


class Unable:
    """Refuses, as CUDA does where the work waits for the device."""

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        raise RuntimeError("operation not permitted when stream is capturing")

    def replay(self) -> None:
        raise AssertionError("nothing was recorded")


@pytest.fixture(params=MODELS)
def training(request, training_on, evaluation_on, image_only, numbered):  # type: ignore[no-untyped-def]
    """training(config, graph) -> a training of each model."""
    signature: Signature = image_only if request.param == "mlp" else numbered

    def make(config: TrainingConfig, graph: Callable[[], object] | None = None) -> Training:
        return Training(
            build(MODELS[request.param], signature, seed=5),
            training_on(signature=signature),
            evaluation_on(signature=signature, seed=1, examples=100),
            config,
            seed=5,
            graph=graph,  # type: ignore[arg-type]
        )

    make.classes = sum(signature.classes)  # type: ignore[attr-defined]
    return make


def reports(training: Training) -> list[Report]:
    return [
        dataclasses.replace(report, seconds=0.0, training_seconds=0.0)
        for report in training.reports([400, 800, 1600])
    ]


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam", "adamw"])
def test_recorded_training_gives_the_same_numbers(training, name: str) -> None:  # type: ignore[no-untyped-def]
    config = TrainingConfig(
        batch_size=32,
        images=1600,
        optimizer=OptimizerConfig(name=name, lr=LR, weight_decay=0.01),  # type: ignore[arg-type]
        averaging=0.1,
    )
    graph = StandIn((32, training.classes))
    recorded = reports(training(config, lambda: graph))
    assert graph.replays == 1600 // 32 - WARM_UP
    assert recorded == reports(training(config))


def test_recorded_steps_follow_the_schedule(training) -> None:  # type: ignore[no-untyped-def]
    """A graph would continue for ever with the learning rate at which it was recorded, were it a number."""
    config = TrainingConfig(
        batch_size=32, images=1600, optimizer=OptimizerConfig(name="adamw", lr=LR), schedule="one_cycle"
    )
    recorded = reports(training(config, lambda: StandIn((32, training.classes))))
    for mine, direct in zip(recorded, reports(training(config)), strict=True):
        assert mine.train.loss == pytest.approx(direct.train.loss, rel=1e-5)
        assert mine.validation.loss == pytest.approx(direct.validation.loss, rel=1e-5)


def test_recorded_training_resumes(training) -> None:  # type: ignore[no-untyped-def]
    config = TrainingConfig(batch_size=32, images=1600, optimizer=OptimizerConfig(name="adam", lr=LR))

    def new() -> Training:
        made: Training = training(config, lambda: StandIn((32, training.classes)))
        return made

    whole = reports(new())
    first = new()
    next(iter(first.reports([400])))
    second = new()
    next(iter(second.reports([800])))  # has recorded other steps, on tensors that it loses now
    second.load_state_dict(first.state_dict())
    assert reports(second) == whole[1:]


def test_what_cannot_be_recorded_is_done_directly(training, caplog) -> None:  # type: ignore[no-untyped-def]
    config = TrainingConfig(batch_size=32, images=1600, optimizer=OptimizerConfig(name="sgd", lr=LR))
    assert reports(training(config, Unable)) == reports(training(config))
    assert caplog.text.count("could not be recorded") == 1, "one try, not one for each step"


def test_logits_are_not_overwritten_by_later_steps() -> None:
    captured = Captured(lambda: StandIn((2, 3)))

    def step(image: Tensor, number: Tensor | None, targets: Tensor) -> Tensor:
        return image * 2.0

    batches = [torch.full((2, 3), float(i)) for i in range(WARM_UP + 3)]
    logits = [captured(step, batch, None, torch.zeros(2, 1)) for batch in batches]
    for batch, kept in zip(batches, logits, strict=True):
        assert torch.equal(kept, batch * 2)


def test_no_history_outlives_a_direct_step() -> None:
    """Gradient nodes of the stream on which steps were done directly would be met again by the recording,
    on another stream, and CUDA refuses that."""
    weight = torch.ones(3, requires_grad=True)
    captured = Captured(Unable)
    for _ in range(WARM_UP + 2):
        logits = captured(
            lambda image, _number, _targets: image * weight, torch.ones(2, 3), None, torch.ones(2)
        )
        assert logits.grad_fn is None
