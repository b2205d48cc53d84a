"""The optimizers on offer: torch's fused kernels, called without torch.optim around them.

Who makes a torch.optim.Optimizer imports torch._dynamo and sympy, 71 MB and a second or two in each worker,
and what its `step` does in Python around the same kernels is up to a tenth of a small network's step
(docs/decisions/004 and 007). A test holds every step to torch.optim's, bit for bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from models.checks import choice, real

OptimizerName = Literal["sgd", "nesterov", "adam", "adamw"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """Which optimizer, with which settings. Raises InvalidConfig."""

    name: OptimizerName = "adamw"
    """nesterov is SGD with Nesterov momentum; with momentum 0 that is plain SGD."""
    lr: float = 1e-3
    """Learning rate at the schedule's multiplier 1: its peak."""
    momentum: float = 0.9
    """SGD's momentum; beta1 of Adam and AdamW (their beta2 is 0.999). One name for both keeps a search
    space small."""
    weight_decay: float = 0.0
    """Per step, times lr; decoupled in AdamW, added to the gradient elsewhere. Never applied to biases and
    norm weights (every parameter with fewer than two dimensions): pulling those to 0 regularizes nothing."""

    def __post_init__(self) -> None:
        choice("name", self.name, get_args(OptimizerName))
        real("lr", self.lr, low=0, above=True)
        real("momentum", self.momentum, low=0, below=1)
        real("weight_decay", self.weight_decay, low=0)


BETA2 = 0.999
"""Of Adam and AdamW."""

EPSILON = 1e-8
"""Of Adam and AdamW."""

_ADAM: Mapping[str, Any] = {"adam": torch._fused_adam_, "adamw": torch._fused_adamw_}
_SGD: Any = torch._fused_sgd_


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Parameters with the same weight decay, and for each of them its moments."""

    parameters: Sequence[nn.Parameter]
    weight_decay: float
    moments: Sequence[Sequence[Tensor]]
    """SGD: the momentum buffers, none without momentum; Adam: the first moments, then the second."""


class Optimizer:
    """Changes a network's parameters by their gradients, in one or two kernel calls (with and without decay).

    Fused: at batch 64 a whole step of MLP 64 took 0.77 ms with fused SGD, 0.84 with foreach. Flattening all
    parameters into one buffer was tried: for MLP 64 6 % faster with AdamW and nothing with SGD, for 512-512
    slower, for convolutions within the noise.
    """

    def __init__(self, config: OptimizerConfig, network: nn.Module, *, captured: bool = False) -> None:
        """captured: the steps will be recorded (models.capture), so the learning rate and the number of steps
        are tensors on the device."""
        self.config = config
        self._parameters = sorted(network.parameters(), key=lambda p: p.ndim < 2)  # stable: matrices first
        kinds = 2 if self._adam else int(config.momentum > 0)
        self._moments = [
            [torch.zeros_like(p, requires_grad=False) for p in self._parameters] for _ in range(kinds)
        ]
        """by kind, then in the order of the parameters"""
        matrices = sum(p.ndim >= 2 for p in self._parameters)
        cuts = [(slice(matrices), config.weight_decay), (slice(matrices, None), 0.0)]
        if config.weight_decay == 0:
            cuts = [(slice(None), 0.0)]
        self._groups = [
            _Group(self._parameters[cut], decay, [moments[cut] for moments in self._moments])
            for cut, decay in cuts
            if self._parameters[cut]
        ]
        device = self._parameters[0].device
        self._lr: float | Tensor = config.lr
        if captured:
            self._lr = torch.tensor(config.lr, dtype=torch.float32, device=device)
        self._steps = torch.zeros((), dtype=torch.float32, device=device)
        """done so far; one tensor, for all parameters make every step together"""

    @property
    def _adam(self) -> bool:
        return self.config.name in _ADAM

    def set_lr(self, lr: float) -> None:
        """The learning rate of the steps to come. No device is waited for."""
        if isinstance(self._lr, Tensor):
            self._lr.fill_(lr)  # the graph that holds the step reads it there
        else:
            self._lr = lr

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients, which every parameter must have."""
        self._steps += 1
        for group in self._groups:
            gradients = [p.grad for p in group.parameters]
            if self._adam:
                first, second = group.moments
                _ADAM[self.config.name](
                    group.parameters,
                    gradients,
                    first,
                    second,
                    [],
                    [self._steps] * len(gradients),
                    lr=self._lr,
                    beta1=self.config.momentum,
                    beta2=BETA2,
                    weight_decay=group.weight_decay,
                    eps=EPSILON,
                    amsgrad=False,
                    maximize=False,
                )
            else:
                _SGD(
                    group.parameters,
                    gradients,
                    group.moments[0] if group.moments else [],
                    lr=self._lr,
                    momentum=self.config.momentum,
                    weight_decay=group.weight_decay,
                    dampening=0.0,
                    nesterov=self.config.name == "nesterov" and self.config.momentum > 0,
                    maximize=False,
                    is_first_step=False,  # the buffers are zero then, which comes to the same
                )

    def zero_grad(self) -> None:
        """Forgets the gradients: the next backward pass writes where this would have cleared."""
        for parameter in self._parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """What `load_state_dict` needs: "steps", and the moments as "moment.parameter". Not copies."""
        moments = {
            f"{kind}.{i}": moment for kind, some in enumerate(self._moments) for i, moment in enumerate(some)
        }
        return {"steps": self._steps, **moments}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continues where `state` was taken. Raises KeyError or RuntimeError where it is of another network.

        The moments keep their layout (channels_last or not), whatever that of the state: the kernels walk
        memory, so it must be their parameter's.
        """
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])
