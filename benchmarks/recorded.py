"""The recorded trials of a study without pruning, and a sampler that deals from them.

The table (benchmarks/curves.json) was made by
benchmarks/record.py. Samplers see a finite world here: what they propose is replaced by the nearest
configuration of the table that was not drawn yet (scaled Euclidean distance within the same model family).
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from search.optuna_db.unnamed import copy_notes
from search.space.file import space_of_entries
from tune.space import Choice, Domain, Fixed, Float, Int, Space


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A recorded trial."""

    params: Mapping[str, Any]
    images: tuple[int, ...]
    heads: tuple[tuple[float, float], ...]
    """validation accuracy of each head, one pair for each of `images`"""
    image_s: float
    """seconds to train on one image"""
    evaluation_s: float
    """seconds of one evaluation"""

    def score(self, index: int) -> float:
        """Mean of the heads at that point."""
        return sum(self.heads[index]) / 2

    def best(self, index: int) -> float:
        """Best score up to that point."""
        return max(map(self.score, range(index + 1)))

    def seconds(self, start: int, stop: int) -> float:
        """From one point (-1: the very start) to a later one, evaluations included."""
        seen = self.images[start] if start >= 0 else 0
        return (self.images[stop] - seen) * self.image_s + (stop - start) * self.evaluation_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A recorded study."""

    space: Space
    curves: Sequence[Curve]
    """by trial number"""

    @property
    def images(self) -> tuple[int, ...]:
        """Where every curve has its points."""
        return self.curves[0].images


def read_table(path: Path, *, largest_batch: int) -> Table:
    """The table that record.py wrote, without trials that trained in larger batches."""
    content = json.loads(path.read_text())
    curves = [
        Curve(
            params=trial["params"],
            images=tuple(point[0] for point in trial["points"]),
            heads=tuple((point[1], point[2]) for point in trial["points"]),
            image_s=trial["image_s"],
            evaluation_s=trial["evaluation_s"],
        )
        for trial in content["trials"]
        if trial["params"]["batch_size"] <= largest_batch
    ]
    return Table(space=space_of_entries(content["space"]), curves=curves)


class Recorded(BaseSampler):
    """Deals from the table: in a given order, or next to what another sampler proposes."""

    def __init__(
        self, table: Table, order: Sequence[int], base: BaseSampler | None, waiting_shown: bool
    ) -> None:
        self._table, self._base, self._waiting_shown = table, base, waiting_shown
        self._left = list(order)
        self._dealt: dict[int, Curve] = {}

    def curve(self, trial: int) -> Curve:
        """What that trial was dealt."""
        return self._dealt[trial]

    @property
    def empty(self) -> bool:
        """Whether the whole table was dealt."""
        return not self._left

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        wanted: dict[str, Any] = {}
        if self._base is not None:
            shown = self._shown(study)
            space = self._base.infer_relative_search_space(shown, trial)
            wanted = self._base.sample_relative(shown, trial, space)
            if shown is not study:
                copy_notes(shown, study)
        chosen = self._left[0]
        if "model" in wanted:
            chosen = min(self._left, key=lambda i: self._distance(wanted, self._table.curves[i].params))
        self._left.remove(chosen)
        self._dealt[trial.number] = self._table.curves[chosen]

    def _shown(self, study: optuna.Study) -> optuna.Study:
        """The study as the base sees it: trials that wait look as if they had been pruned."""
        if not self._waiting_shown:
            return study
        shown = optuna.create_study(direction="maximize")
        copy_notes(study, shown)
        for trial in study.get_trials(deepcopy=False):
            if trial.state is TrialState.RUNNING and trial.intermediate_values:
                trial = copy.copy(trial)
                trial.state = TrialState.PRUNED
                trial.value = trial.intermediate_values[max(trial.intermediate_values)]
                trial.datetime_complete = trial.datetime_start
            shown.add_trial(trial)
        return shown

    def _distance(self, wanted: Mapping[str, Any], params: Mapping[str, Any]) -> float:
        domains = self._table.space.domains
        return sum(
            _gap(domains[name], wanted[name], value) ** 2 if name in wanted else 0.0
            for name, value in params.items()
        ) + (1e6 if wanted["model"] != params["model"] else 0.0)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        return self._dealt[trial.number].params[name]


def _gap(domain: Domain, a: Any, b: Any) -> float:
    """How far two values are apart, 0..1."""
    match domain:
        case Choice() | Fixed():
            return float(a != b)
        case Int(low=low, high=high, log=log) | Float(low=low, high=high, log=log):
            if log:
                a, b, low, high = (math.log(x) for x in (a, b, low, high))
            return float(abs(a - b) / (high - low))


def suggest(trial: optuna.Trial, params: Mapping[str, Any], space: Space) -> None:
    """Asks Optuna for each of these settings, which `Recorded` answers with what the trial was dealt."""
    for name in params:
        domain = space.domains[name]
        match domain:
            case Int():
                trial.suggest_int(name, domain.low, domain.high, log=domain.log, step=domain.step)
            case Float():
                trial.suggest_float(name, domain.low, domain.high, log=domain.log)
            case Choice():
                trial.suggest_categorical(name, domain.options)
            case Fixed():
                pass
