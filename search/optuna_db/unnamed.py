"""What Optuna's studies and trials have and give no public name to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial

if TYPE_CHECKING:
    from optuna.study._frozen import FrozenStudy


def study_id_of(study: optuna.Study | FrozenStudy) -> int:
    """The study's key in the storage: a part of every call to it."""
    return study._study_id


def trial_id_of(trial: optuna.Trial | FrozenTrial) -> int:
    """The trial's key in the storage."""
    return trial._trial_id


def copy_notes(study: optuna.Study, to: optuna.Study) -> None:
    """Copies what samplers note on a study: the quasi-random one, how far its sequence has come."""
    for key, value in study._storage.get_study_system_attrs(study._study_id).items():
        to._storage.set_study_system_attr(to._study_id, key, value)
