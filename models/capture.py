"""A training step recorded once as a CUDA graph and replayed: one launch in place of a hundred.
What is recorded must be a function of its inputs' memory.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

Inputs = tuple[Tensor, Tensor | None, Tensor]
"""Image, number and targets, on the device."""
Step = Callable[[*Inputs], Tensor]
"""From a batch to its logits; trains as a side effect, and never waits for the device."""

WARM_UP = 3
"""Steps before the recording: libraries choose kernels, optimizers make their moments, on the first ones."""

_logger = logging.getLogger(__name__)


class Graph(Protocol):
    """Work on a device that can be repeated, on the same memory."""

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        """Notes what `work` does without doing it; the memory in which every replay leaves its result."""

    def replay(self) -> None:
        """Does it."""


class CudaGraph:
    """A Graph of the present CUDA device; `generators` are those that the work draws from."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self._graph = torch.cuda.CUDAGraph()
        for generator in generators:
            self._graph.register_generator_state(generator)

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        """See Graph. Raises RuntimeError where the work cannot be recorded."""
        torch.cuda.synchronize()
        with torch.cuda.graph(self._graph):
            return work()

    def replay(self) -> None:
        """See Graph."""
        self._graph.replay()


class Captured:
    """A step that is done directly a few times and by replaying a graph from then on.

    All batches must have the shapes of the first. Where recording fails the step continues directly, with a
    warning: slower, and right.
    """

    def __init__(self, graph: Callable[[], Graph]) -> None:
        self._new_graph = graph
        self._graph: Graph | None = None
        self._direct = WARM_UP
        """steps to do directly before recording; below 0: never record"""
        self._inputs: Inputs
        self._output: Tensor

    def __call__(self, step: Step, *inputs: *Inputs) -> Tensor:
        """One step, always the same one; the logits are a copy that no later step touches."""
        if self._graph is None and self._direct == 0:
            self._record(step, inputs)
        if self._graph is None:
            self._direct -= 1
            # Without its history, which would keep the default stream's gradient nodes until the next step:
            # a recording cannot write into those.
            return step(*inputs).detach()
        for fixed, new in zip(self._inputs, inputs, strict=True):
            if fixed is not None and new is not None:
                fixed.copy_(new, non_blocking=True)
        self._graph.replay()
        return self._output.clone()

    def _record(self, step: Step, inputs: Inputs) -> None:
        image, number, targets = inputs
        self._inputs = (image.clone(), None if number is None else number.clone(), targets.clone())
        graph = self._new_graph()
        try:
            self._output = graph.record(lambda: step(*self._inputs).detach())
        except RuntimeError as error:
            _logger.warning("a training step could not be recorded as a CUDA graph: %s", error)
        else:
            self._graph = graph
