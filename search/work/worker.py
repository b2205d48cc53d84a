"""A worker: claims a slot, asks for a trial, trains it, tells how it went, until the study is done.
Knows nothing of the processes around it: whether to go on, it asks `stop`.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from data.mnist import Mnist
from data.task import Task
from data.tasks import get_task
from models.checkpoint import network_tensors, save_checkpoint
from models.device import bfloat16_pays, describe
from models.network import FAMILIES
from models.training import Diverged, Precision
from search.errors import ConfigError, TuneError
from search.records import CheckpointRecord, Claim, Failure, StudyRecord, Worker
from search.seeds import derive
from search.store.base import LeaseLost
from search.study.ladder import Ladder
from search.study.storage import Storage
from search.study.study import Asked, Study
from search.work.artifacts import Artifacts
from search.work.lease import LEASE_S, Lease, reap
from search.work.spec import decode
from search.work.trial import Step, learn

IDLE_S = 0.5
"""Pause of a worker that finds every slot taken before it looks again."""

FAILURES_IN_A_ROW = 5
"""So many failed trials, one after the other, mean that something is wrong with more than the trials."""

_logger = logging.getLogger(__name__)


class Stopping(Exception):
    """Raised inside training when the worker is asked to end."""


class GivenUp(TuneError):
    """Trial after trial failed; the message has the last reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What stays the same from trial to trial."""

    storage: Storage
    study: Study
    record: StudyRecord
    ladder: Ladder
    task: Task
    mnist: Mnist
    artifacts: Artifacts
    device: torch.device
    precision: Mapping[str, Precision]
    """by model family; measured once, so that it stays the same for all trials of this worker"""
    worker: Worker


def prepare(
    storage: Storage, name: str, mnist: Mnist, artifacts: Artifacts, *, device: torch.device, threads: int
) -> Ground:
    """Joins a study: reads its spec, sets up sampler and pruner, signs the list of workers.

    Raises ConfigError where there is no such study, or where this machine's data are not the study's.
    """
    study = Study.find(storage, name)
    record = None if study is None else storage.store.study(study.study_id)
    if study is None or record is None:
        raise ConfigError(f"There is no study {name} in {storage.name}; `tune studies` lists what is there.")
    spec = record.spec
    if dict(spec.checksums) != mnist.checksums:
        raise ConfigError(
            f"The study {name} was made with other MNIST files than this machine has; "
            "`tune data verify` shows which."
        )
    task = get_task(spec.task)
    ladder = Ladder(epoch_images=spec.epoch_images, epochs=spec.epochs)
    study.prepare(sampler=spec.sampler, pruner=spec.pruner, seed=spec.seed, ladder=ladder)
    precision: dict[str, Precision] = {
        family: "bfloat16" if bfloat16_pays(device, family) else "float32"
        for family in FAMILIES  # references may be of a family that is not searched
    }
    worker = Worker(
        worker_id=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
        host=socket.gethostname(),
        pid=os.getpid(),
        device=device.type,
        threads=threads,
        environment={**describe(device), **{f"precision_{k}": v for k, v in precision.items()}},
    )
    storage.store.add_worker(study.study_id, worker)
    return Ground(
        storage=storage,
        study=study,
        record=record,
        ladder=ladder,
        task=task,
        mnist=mnist,
        artifacts=artifacts,
        device=device,
        precision=precision,
        worker=worker,
    )


def work(ground: Ground, *, stop: Callable[[], bool]) -> int:
    """Does trials until the study has all it wants or `stop` says so; returns how many it finished.

    Raises GivenUp after too many failures in a row.
    """
    store, study_id = ground.storage.store, ground.study.study_id
    finished = failures = 0
    while not stop():
        claim = store.claim(study_id, ground.worker.worker_id, lease_s=LEASE_S)
        if claim is None:
            if all(claim.done for claim in store.claims(study_id)):
                break
            reap(ground.study, store, ground.worker.worker_id)
            time.sleep(IDLE_S)
            continue
        reason = _do(ground, claim, stop)
        if reason is None:
            finished, failures = finished + 1, 0
        elif (failures := failures + 1) >= FAILURES_IN_A_ROW:
            raise GivenUp(f"{failures} trials in a row failed, the last one with {reason}.")
    return finished


def _do(ground: Ground, claim: Claim, stop: Callable[[], bool]) -> str | None:
    """One claim from beginning to end. Returns None if it came to a good end, else the reason."""
    store = ground.storage.store
    with Lease(store, claim) as lease:
        asked = ground.study.ask()
        claim = store.attach(claim, asked.trial_id)

        def check() -> None:
            if stop():
                raise Stopping
            if lease.lost:
                raise LeaseLost(f"Trial {asked.number} has passed to another worker.")

        try:
            _train(ground, asked, check)
            store.settle(claim)
        except LeaseLost as error:
            _logger.warning("%s", error)  # whoever has the claim now answers for the trial
            return None
        except Stopping:
            ground.study.fail(asked.trial_id, Failure.INTERRUPTED, "stopped by a signal", retry=True)
            store.release(claim)
            return None
        except TuneError:
            raise  # the storage's fault, not the trial's: the reaper will queue it again
        except Exception as error:
            reason = _failure(error)
            detail = traceback.format_exc() if reason is Failure.ERROR else str(error)
            if reason is Failure.DISK_FULL:
                detail = f"no room in {ground.artifacts.root.absolute()}"
            ground.study.fail(asked.trial_id, reason, detail, retry=reason is Failure.DISK_FULL)
            store.release(claim)
            if reason is Failure.DISK_FULL:
                raise GivenUp(
                    f"The disk is full ({detail}). Nothing that was finished is lost: make room and give "
                    "the same command again."
                ) from error
            return f"{type(error).__name__}: {error}"
    ground.artifacts.keep_best(store)
    return None


def _failure(error: Exception) -> Failure:
    if isinstance(error, Diverged):
        return Failure.DIVERGED
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return Failure.OUT_OF_MEMORY  # the CPU allocator of torch raises a plain RuntimeError
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Failure.DISK_FULL
    return Failure.ERROR


def _train(ground: Ground, asked: Asked, check: Callable[[], None]) -> None:
    """Trains the trial, reporting every point, and ends it as complete or pruned."""
    settings = asked.draw()
    spec = decode(
        settings,
        images=ground.ladder.total,
        seed=derive(ground.record.spec.seed, "trial", asked.origin),
        precision=ground.precision[str(settings["model"])],
    )
    best: Step | None = None
    weights: dict[str, torch.Tensor] = {}
    for step in learn(
        spec, ground.task, ground.mnist, rungs=ground.ladder.rungs, device=ground.device, check=check
    ):
        if best is None:
            asked.note_parameters(step.network.parameter_count)
        ground.storage.store.add_point(asked.trial_id, step.point)
        if best is None or _score(step) > _score(best):
            best = step
            weights = {name: tensor.clone() for name, tensor in step.network.state_dict().items()}
        hopeless = asked.report(step.point.images, _score(best))
        # A reference shows what the study gained over its sources: it is always trained to the end.
        if hopeless and asked.reference is None and step.point.images < ground.ladder.total:
            asked.prune()
            return
        check()
    assert best is not None, "a ladder has at least one rung"
    if ground.artifacts.worth_keeping(ground.storage.store, _score(best)):
        best.network.load_state_dict(weights)
        _save(ground, asked, best)
    asked.complete(_score(best))


def _score(step: Step) -> float:
    return step.point.validation.accuracy


def _save(ground: Ground, asked: Asked, best: Step) -> None:
    """Writes the best weights and notes them in the database."""
    path = ground.artifacts.checkpoint(asked.number)
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = save_checkpoint(
        path,
        config=best.network.config,
        signature=best.network.signature,
        tensors=network_tensors(best.network),
        metadata={
            "task": ground.task.name,
            "study": ground.study.name,
            "trial": str(asked.number),
            "images": str(best.point.images),
        },
    )
    record = CheckpointRecord(
        trial_id=asked.trial_id,
        path=str(path.relative_to(ground.artifacts.root)),
        sha256=digest,
        score=_score(best),
        images=best.point.images,
        bytes=path.stat().st_size,
    )
    ground.storage.store.add_checkpoint(ground.study.study_id, record)
