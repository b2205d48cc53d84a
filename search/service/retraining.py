"""Studies that retrain trials of another one, confirmations and ablations: how one begins, and its target."""

from __future__ import annotations

import shlex
from dataclasses import replace

from search.errors import ConfigError
from search.optuna_db.storage import Storage
from search.records import StudyRecord, StudySpec
from search.study.study import Study


def begin(
    storage: Storage, name: str, spec: StudySpec, searched: StudyRecord, *, kind: str
) -> tuple[Study, StudyRecord]:
    """The study of that name with this spec, new where there is none.

    kind: what it is to be, to follow "is not": "a confirmation of twodigit with 16 epochs". Raises
    ConfigError where the name is that of another study, or of one that retrains trials of a search which was
    deleted.
    """
    study = Study.create(storage, name, spec, 0) or Study.find(storage, name)
    record = None if study is None else study.record
    if record is not None and record.created < searched.created and record.spec.based_on == searched.name:
        raise ConfigError(
            f"{name} is of an older study {searched.name}, which was deleted; "
            f"`tune delete {shlex.quote(name)}` makes room."
        )
    if study is None or record is None or record.spec != spec:
        raise ConfigError(f"The study {name} exists and is not {kind}; `tune studies` shows what it is.")
    return study, record


def with_target(storage: Storage, study: Study, record: StudyRecord) -> StudyRecord:
    """The study with a target of every run that is queued, which is set."""
    # Another command may ask for more at this very moment: the last writer has counted everything.
    target = -1
    while target != (now := _wanted(study)):
        storage.store.set_target(study.study_id, target := now)
    return replace(record, target_trials=target)


def _wanted(study: Study) -> int:
    """Runs that were asked for, and trials that fill a slot and are none: another program edited them."""
    runs = [trial for trial in study.trials() if trial.confirming is not None or trial.ablation is not None]
    asked = {(run.confirming, run.ablation) for run in runs}
    return len(asked) + study.counts().finished - sum(run.state.is_finished for run in runs)
