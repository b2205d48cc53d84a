"""The optimizers on offer, and the torch optimizer for a network.

Knows nothing of schedules, losses or data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from models.checks import InvalidConfig, choice, real

OptimizerName = Literal["sgd", "nesterov", "adam", "adamw"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """Which optimizer, with which settings. Raises InvalidConfig."""

    name: OptimizerName = "adamw"
    """nesterov is SGD with Nesterov momentum."""
    lr: float = 1e-3
    """Learning rate at the schedule's multiplier 1: its peak."""
    momentum: float = 0.9
    """SGD's momentum; beta1 of Adam and AdamW (their beta2 is 0.999). One name for both keeps a search
    space small."""
    weight_decay: float = 0.0
    """Per step, times lr; decoupled in AdamW, added to the gradient elsewhere. Never applied to biases and
    norm weights (every parameter with fewer than two dimensions): pulling those to 0 regularises nothing."""

    def __post_init__(self) -> None:
        choice("name", self.name, get_args(OptimizerName))
        real("lr", self.lr, low=0, above=True)
        real("momentum", self.momentum, low=0, below=1)
        if self.name == "nesterov" and self.momentum == 0:
            raise InvalidConfig("momentum must be > 0 for nesterov, got 0")
        real("weight_decay", self.weight_decay, low=0)


def build_optimizer(
    config: OptimizerConfig, network: nn.Module, *, captured: bool = False
) -> torch.optim.Optimizer:
    """A torch optimizer over all parameters of the network, in one or two groups (with and without decay).

    captured: its steps will be recorded (models.capture), so the learning rate is a tensor on the device.

    Fused: one kernel call for each group; at batch 64 a whole step of MLP 64 took 0.77 ms with fused SGD,
    0.84 with foreach. Flattening all parameters into one buffer was tried: for MLP 64 6 % faster with AdamW
    and nothing with SGD, for 512-512 slower, for convolutions within the noise.
    """
    decayed = [p for p in network.parameters() if p.ndim >= 2]
    plain = [p for p in network.parameters() if p.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if config.weight_decay == 0:
        groups = [{"params": decayed + plain, "weight_decay": 0.0}]
    device = next(network.parameters()).device
    lr = torch.tensor(config.lr, dtype=torch.float32, device=device) if captured else config.lr
    if config.name in ("sgd", "nesterov"):
        nesterov = config.name == "nesterov"
        return torch.optim.SGD(groups, lr=lr, momentum=config.momentum, nesterov=nesterov, fused=True)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    # Capturable keeps Adam's step counts on the card; torch refuses it elsewhere.
    capturable = captured and device.type == "cuda"
    return kind(groups, lr=lr, betas=(config.momentum, 0.999), fused=True, capturable=capturable)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the steps to come, in every group. No device is waited for."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)  # the graph that holds the step reads it there
        else:
            group["lr"] = lr


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as tensors named "parameter.field"; empty before the first step."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{field}": torch.as_tensor(value)
        for index, values in state.items()
        for field, value in values.items()
        if value is not None
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of optimizer_tensors. Raises IndexError where the optimizer has fewer parameters.

    The fused kernels walk memory, so each moment gets the layout (channels_last or not) of its parameter.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.state.clear()
    for name, tensor in tensors.items():
        index, field = name.split(".")
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape and field != "step":
            tensor = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
        optimizer.state[parameter][field] = tensor.to(parameter.device).clone()
