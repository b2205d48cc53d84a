"""The built-in objective in a worker's process: its networks, its data, its device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from data.datasets.base import DatasetError, OpenDataset
from data.tasks.base import Task
from models.checkpoint import (
    Checkpoint,
    CheckpointCorrupt,
    checkpoint_bytes,
    load_checkpoint,
    network_tensors,
    save_checkpoint,
)
from models.device import choose_device, describe, give_back_memory, prepare_process
from models.network import ModelConfig, Network, Signature
from models.training import Diverged
from search.errors import ConfigError
from search.objectives.base import (
    CheckpointUnreadable,
    Job,
    Joining,
    OpenObjective,
    Product,
    ResumeCheckpoint,
    Work,
)
from search.objectives.network.decoding import TrialSpec, decode
from search.objectives.network.learning import Learning, Step, learn
from search.objectives.network.precision import Precisions, decided
from search.records import Answers, Failure, NetworkSpec, Report
from search.tasks import same_data, task_named

COPIES = 5
"""Of each weight, in a trial that waits: itself, its average, its best value, two moments."""

EXAMPLES_BYTES = 4_000_000
"""In a trial that waits: the plan of its epoch, and the images that are composed already."""

FORMAT = 2
"""Of a training's state; another format cannot be read. 1 had the state of torch's own optimizers."""

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "bad_alloc", "_ALLOC_FAILED")
"""What a plain RuntimeError of torch says when memory is the reason: its CPU allocator on POSIX and on
Windows, C++, cuBLAS. As of torch 2.13 these errors have neither a class nor a code."""

CUDA_OUT_OF_MEMORY = 2
"""cudaErrorMemoryAllocation, the `error_code` of a torch.AcceleratorError: an allocation on the GPU, or of
pinned memory, that torch's own allocator did not make."""

_BEST = "best."
_ANSWERS = "best_answers."
"""Of a resume checkpoint: names of tensors begin with it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Weights(Product):
    """A copy of a network's weights, with what is needed to rebuild it."""

    config: ModelConfig
    signature: Signature
    tensors: Mapping[str, Tensor]
    """copies, as `network_tensors` names them"""
    answers: Answers | None = None

    @classmethod
    def of(cls, network: Network, answers: Answers | None = None) -> Weights:
        """Of the network as it is now."""
        copies = {name: tensor.clone() for name, tensor in network_tensors(network).items()}
        return cls(config=network.config, signature=network.signature, tensors=copies, answers=answers)

    def content(self, about: Mapping[str, str]) -> bytes:
        return checkpoint_bytes(
            config=self.config, signature=self.signature, tensors=self.tensors, metadata=about
        )


class NetworkWork(Work):
    """A network in training."""

    def __init__(self, learning: Learning) -> None:
        self._learning = learning
        self._step: Step | None = None
        self.parameters = learning.network.parameter_count
        self.held_bytes = EXAMPLES_BYTES + 4 * COPIES * learning.network.parameter_count

    def reports(self) -> Iterator[Report]:
        for step in self._learning.steps:
            self._step = step
            yield step.report

    def product(self) -> Weights | None:
        return None if self._step is None else Weights.of(self._step.network, self._step.answers)

    def state(self) -> tuple[Network, Mapping[str, Tensor]]:
        """The network that is trained, and the state of its training."""
        return self._learning.network, self._learning.state()


class OpenNetwork(OpenObjective):
    """Trains the networks of one study here."""

    has_checkpoints = True

    def __init__(
        self,
        spec: NetworkSpec,
        task: Task,
        dataset: OpenDataset,
        device: torch.device,
        environment: Mapping[str, str | int],
        precision: Precisions,
    ) -> None:
        self.spec, self.task, self.dataset = spec, task, dataset
        self.precision = precision
        self.device = device.type
        self.environment = {**environment, **{f"precision_{k}": v for k, v in precision.items()}}
        self._device = device

    def decoded(self, job: Job) -> TrialSpec:
        """The typed configs of a trial."""
        return decode(
            job.settings,
            images=job.budget,
            seed=job.seed,
            precision=self.precision[str(job.settings["model"])],
            norm_images=self.spec.norm_images,
        )

    def begin(self, job: Job, state: Mapping[str, Tensor] | None = None) -> NetworkWork:
        learning = learn(
            self.decoded(job),
            self.task,
            self.dataset if job.fold is None else self.dataset.fold(job.fold),
            rungs=_rungs_of(job),
            device=self._device,
            compositions=self.spec.compositions,
            evaluates_training=job.evaluates_training,
            metric=self.spec.metric,
            check=job.check,
            resume=state,
        )
        return NetworkWork(learning)

    def fingerprint(self, job: Job) -> str:
        """A GPU's generator cannot continue on a CPU: a checkpoint is of the kind of device that made it."""
        decoded, data = self.decoded(job), sorted(self.dataset.checksums.items())
        everything = repr((FORMAT, decoded, _rungs_of(job), self.task.name, data, self.device))
        # Not in the repr: checkpoints of previous versions fit the jobs without these.
        if self.spec.norm_images:
            everything += f", norm_images={self.spec.norm_images}"
        if job.fold is not None:
            everything += f", fold={job.fold}"
        if job.evaluates_training:
            everything += ", evaluates_training"
        if decoded.augmentation.flip:
            everything += ", flip"
        return hashlib.sha256(everything.encode()).hexdigest()

    def write(self, path: Path, checkpoint: ResumeCheckpoint, about: Mapping[str, str]) -> None:
        network, state = checkpoint.state
        assert isinstance(checkpoint.best, Weights), "it is this objective's"
        best = {_BEST + name: tensor for name, tensor in checkpoint.best.tensors.items()}
        answers = checkpoint.best.answers
        if answers is not None:
            for head, bits in answers.heads.items():
                best[_ANSWERS + head] = torch.frombuffer(bytearray(bits), dtype=torch.uint8)
            about = {**about, "split": answers.split, "examples": str(answers.examples)}
        save_checkpoint(
            path,
            config=network.config,
            signature=network.signature,
            tensors={**state, **best},
            metadata=about,
        )

    def read(self, path: Path) -> tuple[Mapping[str, Tensor], Weights, Mapping[str, str]]:
        try:
            found = load_checkpoint(path)
        except (CheckpointCorrupt, OSError) as error:
            raise CheckpointUnreadable(str(error)) from error
        best = Weights(
            config=found.config,
            signature=found.signature,
            tensors={n.removeprefix(_BEST): t for n, t in found.tensors.items() if n.startswith(_BEST)},
            answers=_answers_in(found),
        )
        state = {name: t for name, t in found.tensors.items() if not name.startswith((_BEST, _ANSWERS))}
        return state, best, found.metadata

    def failure_of(self, error: Exception) -> Failure | None:
        if isinstance(error, Diverged):
            return Failure.DIVERGED
        return Failure.OUT_OF_MEMORY if is_out_of_memory(error) else None

    def release_memory(self) -> None:
        give_back_memory()

    def about(self, job: Job) -> Mapping[str, str]:
        return {"task": self.task.name, "precision": self.decoded(job).training.precision}


def _answers_in(found: Checkpoint) -> Answers | None:
    """Of the best weights in a resume checkpoint; one of a previous version of tune has none."""
    if "examples" not in found.metadata:
        return None
    return Answers(
        split=found.metadata["split"],
        examples=int(found.metadata["examples"]),
        heads={head: found.tensors[_ANSWERS + head].numpy().tobytes() for head, _ in found.signature.heads},
    )


def _rungs_of(job: Job) -> tuple[int, ...]:
    """Training images after which the trial is evaluated."""
    return tuple(job.rungs) or (job.budget,)


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch could not allocate memory: by the class of the error or its code; by its message where it
    has neither."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    if isinstance(error, torch.AcceleratorError):
        return getattr(error, "error_code", None) == CUDA_OUT_OF_MEMORY
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def open_network(joining: Joining) -> OpenNetwork:
    """Opens the data of the study and chooses the device.

    Raises ConfigError where this machine's data are not the study's.
    """
    if joining.device is None:
        prepare_process(joining.threads)
    spec = joining.record.spec
    assert isinstance(spec, NetworkSpec), "the registry finds this objective for no other"
    task = task_named(spec.task)
    dataset = opened(task) if joining.opened is None else joining.opened
    same_data(joining.record, dataset)
    chosen = joining.device or joining.device_wanted
    device = choose_device(chosen)  # type: ignore[arg-type]  # checked by search.service.check
    environment = describe(device)
    precision = decided(joining.storage, joining.record, device, environment)
    return OpenNetwork(spec, task, dataset, device, environment, precision)


def opened(task: Task) -> OpenDataset:
    """The dataset of the task. Raises ConfigError where it is missing or damaged on this machine."""
    try:
        return task.source.load()
    except DatasetError as error:
        raise ConfigError(str(error)) from error
