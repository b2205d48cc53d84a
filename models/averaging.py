"""A running average of a network's weights: what is evaluated, kept and exported instead of the last step."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from models.network import Network

EVERY = 4
"""Steps between updates: the step of an MLP 64 takes 2 % longer, with an update at every step 9 %."""


class Average:
    """The average of a network's weights over about the last `share` of its steps, however many there were.

    Update number u (from 0) moves the average by 1/(1 + share·u) of the way to the present weights. share 1
    is the plain mean of all (Polyak and Juditsky 1992); 0 is no average at all; between them old weights fade
    as a power of the time, so the window grows with the run and no constant has to fit its length (Karras et
    al. 2024, arXiv 2312.02696, section 3.1). Averaging takes out the noise that a high learning rate leaves
    in the weights, long before the schedule has lowered it: the numbers are in docs/decisions/005. Statistics
    of batch normalization are averaged like weights.
    """

    def __init__(self, network: Network, share: float) -> None:
        self.network = copy.deepcopy(network)
        self._share = share
        self._from = _floats(network)
        self._to = _floats(self.network)
        self.updates = 0

    def update(self) -> None:
        """Takes the present weights in."""
        with torch.no_grad():
            torch._foreach_lerp_(self._to, self._from, 1 / (1 + self._share * self.updates))
        self.updates += 1

    def state_dict(self) -> dict[str, Tensor]:
        """What `load_state_dict` needs."""
        return {"updates": torch.tensor(self.updates), **self.network.state_dict()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continues where `state` was taken. Raises KeyError or RuntimeError for one of another network."""
        weights = dict(state)
        self.updates = int(weights.pop("updates"))
        self.network.load_state_dict(weights)


def _floats(network: Network) -> list[Tensor]:
    """The network's own floating-point tensors, not copies."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
