"""Optimizers against torch's own, and schedules against closed forms."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from models.checks import InvalidConfig
from models.optimizer import Optimizer, OptimizerConfig
from models.schedule import SCHEDULES, Schedule, constant, cosine, one_cycle


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    )
    return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


PLAIN: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p, m, **more: torch.optim.SGD(p, momentum=m, **more),
    "nesterov": lambda p, m, **more: torch.optim.SGD(p, momentum=m, nesterov=True, **more),
    "adam": lambda p, m, **more: torch.optim.Adam(p, betas=(m, 0.999), **more),
    "adamw": lambda p, m, **more: torch.optim.AdamW(p, betas=(m, 0.999), **more),
}


def torchs(
    name: str, net: nn.Module, momentum: float, weight_decay: float, **more: bool
) -> torch.optim.Optimizer:
    """torch's optimizer over the network, with decay of the matrices only."""
    groups = [
        {"params": [p for p in net.parameters() if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in net.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return PLAIN[name](groups, momentum, lr=1e-3, **more)


def steps(net: nn.Module, optimizer: Optimizer | torch.optim.Optimizer, count: int) -> None:
    """Of different sizes, along the gradients of always the same images."""
    draw = torch.Generator().manual_seed(1)
    for step in range(count):
        if isinstance(optimizer, Optimizer):
            optimizer.set_lr(1e-3 * (step + 1))
        else:
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * (step + 1)
        optimizer.zero_grad()
        net(torch.randn(5, 2, 4, 4, generator=draw)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(
    ("name", "momentum"), [*((name, 0.8) for name in PLAIN), ("sgd", 0.0), ("adam", 0.0)]
)
def test_is_the_optimizer_of_torch(name: str, weight_decay: float, momentum: float, captured: bool) -> None:
    ours, fused, plain = network(), network(), network()
    config = OptimizerConfig(name=name, lr=1e-3, momentum=momentum, weight_decay=weight_decay)
    steps(ours, Optimizer(config, ours, captured=captured), 5)
    steps(fused, torchs(name, fused, momentum, weight_decay, fused=True), 5)
    steps(plain, torchs(name, plain, momentum, weight_decay, foreach=False), 5)
    torch.testing.assert_close(ours.state_dict(), plain.state_dict())
    if not captured:  # a learning rate in a float32 tensor is rounded
        for mine, theirs in zip(ours.parameters(), fused.parameters(), strict=True):
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_nesterov_without_momentum_is_plain_sgd(weight_decay: float, captured: bool) -> None:
    """torch's own refuses it; a search space may hold both."""
    nets = {"sgd": network(), "nesterov": network()}
    for name, net in nets.items():
        config = OptimizerConfig(name=name, lr=1e-3, momentum=0.0, weight_decay=weight_decay)
        steps(net, Optimizer(config, net, captured=captured), 5)
    for plain, nesterov in zip(*(net.parameters() for net in nets.values()), strict=True):
        assert torch.equal(plain, nesterov)


def test_biases_and_norms_do_not_decay() -> None:
    net = network()
    optimizer = Optimizer(OptimizerConfig(name="adamw", lr=0.1, weight_decay=0.5), net)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"0.weight", "4.weight"}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_state_goes_through_contiguous_tensors_and_back(name: str, weight_decay: float) -> None:
    """channels_last weights have channels_last moments; a checkpoint holds them contiguous."""
    config = OptimizerConfig(name=name, weight_decay=weight_decay)
    going, stopped, resumed = network(), network(), network()
    going_optimizer, stopped_optimizer = Optimizer(config, going), Optimizer(config, stopped)
    steps(going, going_optimizer, 3)
    steps(stopped, stopped_optimizer, 3)
    saved = {
        k: v.clone(memory_format=torch.contiguous_format) for k, v in stopped_optimizer.state_dict().items()
    }
    resumed.load_state_dict(stopped.state_dict())
    resumed_optimizer = Optimizer(config, resumed)
    resumed_optimizer.load_state_dict(saved)
    steps(going, going_optimizer, 3)
    steps(resumed, resumed_optimizer, 3)
    for ours, theirs in zip(going.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_refuses_the_state_of_another_network() -> None:
    config = OptimizerConfig(name="adamw")
    optimizer = Optimizer(config, network())
    wider = Optimizer(config, nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)))
    with pytest.raises((KeyError, RuntimeError)):
        optimizer.load_state_dict(wider.state_dict())
    with pytest.raises(KeyError):
        optimizer.load_state_dict(Optimizer(OptimizerConfig(name="sgd"), network()).state_dict())


def test_no_worker_loads_the_compiler() -> None:
    """torch.optim would: 71 MB in each worker."""
    program = (
        "import sys, torch\n"
        "from models.optimizer import Optimizer, OptimizerConfig\n"
        "net = torch.nn.Linear(2, 2)\n"
        "optimizer = Optimizer(OptimizerConfig(), net)\n"
        "net(torch.ones(1, 2)).sum().backward()\n"
        "optimizer.step()\n"
        "print('torch._dynamo' in sys.modules, 'sympy' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "adamax"}, "name must be one of sgd, nesterov, adam, adamw, got 'adamax' .did you mean"),
        ({"lr": 0}, "lr must be a number > 0, got 0"),
        ({"momentum": 1.0}, "momentum must be a number >= 0 and < 1, got 1.0"),
        ({"name": "nesterov", "momentum": -0.1}, "momentum must be a number >= 0 and < 1, got -0.1"),
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
