"""Decides, once for each study and kind of processor, in which precision its networks are trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch

from models.device import bfloat16_pays, processor_kind
from models.network import FAMILIES
from models.training import Precision
from search.optuna_db.storage import Storage
from search.records import NetworkSpec, StudyRecord, Worker
from search.store.base import Store
from search.study.reading import find_id

Precisions = Mapping[str, Precision]
"""Of every model family: references may be of one that the study does not search."""


def decided(
    storage: Storage, record: StudyRecord, device: torch.device, environment: Mapping[str, str | int]
) -> Precisions:
    """The precision in which this study is trained on processors of this kind; recorded by the first caller.

    environment: what `models.device.describe` says of `device`. What the study has already used on this kind
    of processor stands, then what the study has used whose trials this one retrains. Else the processor is
    measured.
    """
    spec, store = record.spec, storage.store
    assert isinstance(spec, NetworkSpec), "the study trains networks"
    if spec.precision != "auto":
        return _checked(dict.fromkeys(FAMILIES, spec.precision))
    kind = processor_kind(environment)
    known = store.precisions(record.study_id, kind)
    if not known:
        proposed = (
            _used(store, record.study_id, environment)
            or _searched(storage, spec, environment)
            or _measured(device)
        )
        known = store.decide_precisions(record.study_id, kind, proposed)
    return _checked(known)


def _measured(device: torch.device) -> Precisions:
    return {family: "bfloat16" if bfloat16_pays(device, family) else "float32" for family in FAMILIES}


def _searched(storage: Storage, spec: NetworkSpec, environment: Mapping[str, str | int]) -> Mapping[str, str]:
    """What the study used, or recorded, whose trials this one retrains; empty where that says nothing."""
    study_id = None if spec.based_on is None else find_id(storage.trials, spec.based_on)
    searched = None if study_id is None else storage.store.study(study_id)
    if searched is None or not isinstance(searched.spec, NetworkSpec) or searched.spec.precision != "auto":
        return {}
    recorded = storage.store.precisions(searched.study_id, processor_kind(environment))
    return recorded or _used(storage.store, searched.study_id, environment)


def _used(store: Store, study_id: int, environment: Mapping[str, str | int]) -> Mapping[str, str]:
    """What the study's earliest worker on this kind of processor trained in; empty where there was none.

    Studies made before precisions were recorded have only this.
    """
    for worker in store.workers(study_id).values():  # the earliest first
        if _same_kind(worker, environment):
            noted = {family: worker.environment.get(f"precision_{family}") for family in FAMILIES}
            if all(noted.values()):
                return {family: str(precision) for family, precision in noted.items()}
    return {}


def _same_kind(worker: Worker, environment: Mapping[str, str | int]) -> bool:
    """Whether the worker ran on this kind of processor; workers before schema 4 noted no instructions."""
    noted = {"bfloat16_instructions": environment["bfloat16_instructions"], **worker.environment}
    told = ["device", "gpu"] if "gpu" in environment else ["device", "cpu", "bfloat16_instructions"]
    return all(noted.get(name) == environment[name] for name in told)


def _checked(precisions: Mapping[str, str]) -> Precisions:
    """For the type checker: rows and specs hold what was written from `Precision`."""
    return cast("Precisions", precisions)
