"""What a worker does next with its trials: which one continues, which ones wait, which ones end.

`Asha` is asynchronous successive halving that promotes (Li et al. 2020, "A system for massively parallel
hyperparameter tuning", arXiv 1810.05934, algorithm 2): every trial gets a little, and a worker that is free
continues the most advanced trial among the best 1/eta of its rung; only if there is none does it begin a
new one. Optuna's SuccessiveHalvingPruner can only stop, so its first trials go far because there is no
trial yet to compare them with.

Two things are added. A sampler that learns makes nearly every new trial better than most old ones, and all
of them would continue: so a rung passes on no more than 1/eta of the trials that it has seen (those on their
way to the next rung in other workers are unknown), and a trial waits until it is the
best of those that wait. And a search of a fixed number of trials has an end: once no new one
begins, the least advanced continues first, as in synchronous halving, so that no trial is trained to the end
before it was compared with all that came as far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A trial that stands at a rung and could continue."""

    number: int
    rung: int
    """the rung at which it stands, see `rung_reached`; its step where it is on the way to one"""
    score: float
    """its best so far: higher is better"""
    reference: bool = False
    """always trained to the end, but after the others"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What to do next."""

    go: int | None
    """the trial that continues to its next rung; None: none of them, a new trial is due"""
    end: tuple[int, ...]
    """trials without prospects"""


ScoresAt = Callable[[int], Sequence[tuple[int, float]]]
"""From a rung to the number and the score of every trial of the study that came as far: its best until its
first report at or after the rung."""


class Promotion(Protocol):
    """A rule by which a worker divides its time."""

    @property
    def finalists(self) -> int:
        """Once no new trial can begin, this many continue to the end in any case; 0: each by itself."""

    def decide(self, candidates: Sequence[Candidate], scores_at: ScoresAt, *, drained: bool) -> Decision:
        """What a worker that holds these candidates does next. drained: no new trial can begin.

        A drained worker is told to continue or to end each of its candidates sooner or later.
        """


class OneAtATime:
    """Every trial continues until it is complete or a pruner stops it."""

    finalists = 0

    def decide(self, candidates: Sequence[Candidate], scores_at: ScoresAt, *, drained: bool) -> Decision:
        """See Promotion."""
        return Decision(go=candidates[0].number if candidates else None, end=())


@dataclass(frozen=True, kw_only=True, slots=True)
class Asha:
    """The rule and its settings."""

    rungs: tuple[int, ...]
    """the steps of the decisions, rising; the last is a trial's whole budget"""
    eta: int = 3
    """one in this many continues from each rung"""
    finalists: int = 2
    """once no new trial can begin, this many continue from every rung in any case"""
    patience: int = 2
    """a trial ends when better ones take this multiple of the places of those that continue"""
    waiting: int = 4
    """trials that wait in one worker's hands, not counting would-be finalists; beyond that the least
    advanced end"""

    def decide(self, candidates: Sequence[Candidate], scores_at: ScoresAt, *, drained: bool) -> Decision:
        """See Promotion."""
        going: list[Candidate] = []
        waiting: list[Candidate] = []
        ending: list[Candidate] = []
        for candidate in candidates:
            # It was cut short on the way to a rung that it had won, or has a larger budget than its study.
            if candidate.rung not in self.rungs[:-1]:
                going.append(candidate)
                continue
            scores = scores_at(candidate.rung)
            # Of equals the earlier trial is better: of 160 validation images two good networks miss the same
            # number as a rule, and all of them would be finalists.
            better = sum((score, -number) > (candidate.score, -candidate.number) for number, score in scores)
            places = len(scores) // self.eta
            passed_on = len(scores_at(next(rung for rung in self.rungs if rung > candidate.rung)))
            finalist = better < self.finalists
            if (better < places and passed_on < places) or (drained and finalist):
                going.append(candidate)
            elif candidate.reference:
                continue  # waits until the others are done, however it stands
            elif drained or better >= self.patience * max(places, 1):
                ending.append(candidate)
            elif not finalist:
                waiting.append(candidate)
        ending += sorted(waiting, key=_progress, reverse=True)[self.waiting :]
        if drained and not going:
            going = [candidate for candidate in candidates if candidate.reference]
        # While new trials begin, the trial that is ahead continues, as in ASHA. Then the one behind does: so
        # each rung knows its best before any of them is trained to the end.
        order = _behind if drained else _progress
        first = max(going, key=order, default=None)
        return Decision(
            go=None if first is None else first.number, end=tuple(candidate.number for candidate in ending)
        )


def _progress(candidate: Candidate) -> tuple[int, float, int]:
    """The further a trial got and the better it is there, the sooner it continues."""
    return candidate.rung, candidate.score, -candidate.number


def _behind(candidate: Candidate) -> tuple[int, float, int]:
    """The less far a trial got, and the better it is there, the sooner it continues."""
    return -candidate.rung, candidate.score, -candidate.number


def rung_reached(rungs: Sequence[int], before: int, step: int) -> int:
    """The rung at which a trial stands whose last report was at `step` and the one before it at `before`.

    It is the highest that the last report has reached; `step` where that reached none.

    Training code reports when it likes: with rungs at 4 and 8 and reports every 5 steps, a trial stands at
    4 with the report at 5, and at 8 with that at 10. before: 0 at its first report.
    """
    return max((rung for rung in rungs if before < rung <= step), default=step)


def geometric_rungs(first: int, total: int, factor: int) -> tuple[int, ...]:
    """From `first` by factors up to `total`, which is always the last.

    A last stretch shorter than the root of a factor would decide little: the rung before it is left out.
    """
    rungs = [first]
    while rungs[-1] * factor < total:
        rungs.append(rungs[-1] * factor)
    if len(rungs) > 1 and rungs[-1] * factor**0.5 > total:
        rungs.pop()
    return (*(rung for rung in rungs if rung < total), total)
