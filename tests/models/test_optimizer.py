"""Optimizers against torch's plain ones, and schedules against closed forms."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from models.checks import InvalidConfig
from models.optimizer import OptimizerConfig, build_optimizer, load_optimizer, optimizer_tensors, set_lr
from models.schedule import SCHEDULES, Schedule, constant, cosine, one_cycle


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    )
    return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def steps(net: nn.Module, optimizer: torch.optim.Optimizer, count: int, lr: float | None = None) -> None:
    draw = torch.Generator().manual_seed(1)
    for step in range(count):
        if lr is not None:
            set_lr(optimizer, lr * (step + 1))
        optimizer.zero_grad()
        net(torch.randn(5, 2, 4, 4, generator=draw)).square().sum().backward()
        optimizer.step()


PLAIN = {
    "sgd": lambda p, lr, m, wd: torch.optim.SGD(p, lr=lr, momentum=m, weight_decay=wd, foreach=False),
    "nesterov": lambda p, lr, m, wd: torch.optim.SGD(
        p, lr=lr, momentum=m, weight_decay=wd, nesterov=True, foreach=False
    ),
    "adam": lambda p, lr, m, wd: torch.optim.Adam(p, lr=lr, betas=(m, 0.999), weight_decay=wd, foreach=False),
    "adamw": lambda p, lr, m, wd: torch.optim.AdamW(
        p, lr=lr, betas=(m, 0.999), weight_decay=wd, foreach=False
    ),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_equals_the_plain_optimizer_over_several_steps_and_rates(name: str, weight_decay: float) -> None:
    ours, theirs = network(), network()
    config = OptimizerConfig(name=name, lr=1e-3, momentum=0.8, weight_decay=weight_decay)
    steps(ours, build_optimizer(config, ours), 4, lr=1e-3)
    matrices = [p for p in theirs.parameters() if p.ndim >= 2]
    vectors = [p for p in theirs.parameters() if p.ndim < 2]
    plain = PLAIN[name](matrices, 1e-3, 0.8, weight_decay), PLAIN[name](vectors, 1e-3, 0.8, 0.0)
    draw = torch.Generator().manual_seed(1)
    for step in range(4):
        theirs.zero_grad()
        theirs(torch.randn(5, 2, 4, 4, generator=draw)).square().sum().backward()
        for optimizer in plain:
            set_lr(optimizer, 1e-3 * (step + 1))
            optimizer.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_biases_and_norms_do_not_decay() -> None:
    net = network()
    optimizer = build_optimizer(OptimizerConfig(name="adamw", lr=0.1, weight_decay=0.5), net)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"0.weight", "4.weight"}


@pytest.mark.parametrize("name", PLAIN)
def test_state_goes_through_contiguous_tensors_and_back(name: str) -> None:
    """channels_last weights have channels_last moments; a checkpoint holds them contiguous."""
    config = OptimizerConfig(name=name, weight_decay=0.1)
    going, stopped, resumed = network(), network(), network()
    going_optimizer, stopped_optimizer = build_optimizer(config, going), build_optimizer(config, stopped)
    steps(going, going_optimizer, 3)
    steps(stopped, stopped_optimizer, 3)
    saved = {
        k: v.clone(memory_format=torch.contiguous_format)
        for k, v in optimizer_tensors(stopped_optimizer).items()
    }
    resumed.load_state_dict(stopped.state_dict())
    resumed_optimizer = build_optimizer(config, resumed)
    load_optimizer(resumed_optimizer, saved)
    steps(going, going_optimizer, 3)
    steps(resumed, resumed_optimizer, 3)
    for ours, theirs in zip(going.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "adamax"}, "name must be one of sgd, nesterov, adam, adamw, got 'adamax' .did you mean"),
        ({"lr": 0}, "lr must be a number > 0, got 0"),
        ({"momentum": 1.0}, "momentum must be a number >= 0 and < 1, got 1.0"),
        ({"name": "nesterov", "momentum": 0.0}, "momentum must be > 0 for nesterov"),
        ({"weight_decay": -1e-4}, "weight_decay must be a number >= 0, got -0.0001"),
    ],
)
def test_refusal_names_the_rule_and_the_value(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        OptimizerConfig(**settings)  # type: ignore[arg-type]


@given(st.sampled_from(list(SCHEDULES)), st.floats(0, 1))
def test_multiplier_stays_between_nothing_and_the_peak(name: Schedule, fraction: float) -> None:
    assert 0 <= SCHEDULES[name](fraction) <= 1
    assert SCHEDULES[name](fraction) == SCHEDULES[name](fraction)


@pytest.mark.parametrize(
    ("schedule", "fraction", "multiplier", "reason"),
    [
        (constant, 0.7, 1.0, "constant"),
        (cosine, 0.0, 1.0, "starts at the peak"),
        (cosine, 0.5, 0.5, "half way down"),
        (cosine, 1.0, 0.0, "ends at nothing"),
        (one_cycle, 0.0, 1 / 25, "starts low"),
        (one_cycle, 0.3, 1.0, "peaks after the warm-up"),
        (one_cycle, 1.0, 1 / 25e4, "ends far lower"),
    ],
)
def test_schedule_passes_through(schedule: object, fraction: float, multiplier: float, reason: str) -> None:
    assert callable(schedule)
    assert schedule(fraction) == pytest.approx(multiplier, abs=1e-12), reason


def test_one_cycle_follows_torch() -> None:
    total = 1000
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=total)
    for step in range(total):
        # torch counts to total - 1 and peaks a step early: under 0.01 at 1,000 steps
        assert optimizer.param_groups[0]["lr"] == pytest.approx(one_cycle(step / total), abs=0.01)
        optimizer.step()
        if step < total - 1:
            theirs.step()
