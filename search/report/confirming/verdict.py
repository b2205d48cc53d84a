"""What follows from a confirmation, in sentences: who is chosen, what was luck, what the test set says.
Knows nothing of where they are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from shlex import quote

from search.confirmation import Candidate, Confirmation, Look, SeedRun
from search.records import Failure, StudyRecord, TrialRecord
from search.report.confirming import racing
from search.report.numbers import best_trial, wilson
from search.report.statistics import mean_interval as interval
from search.report.words import listed, percent, points, widened

EASY = (
    "Some of the last step is no surprise: validation has an easy tenth of MNIST's training digits "
    "(docs/decisions/021)."
)


def sentences(
    found: Confirmation,
    *,
    search: StudyRecord,
    trials: Sequence[TrialRecord],
    finished: tuple[int, int],
    searched: int,
    failed: Mapping[int, TrialRecord],
    beside: int,
) -> Iterator[str]:
    """What follows from `found`, one sentence after the other.

    trials: of the search. finished: runs of the confirmation, and how many there shall be. searched: finished
    trials of the search. failed: candidates out of the race for failing, with the run that ended it. beside:
    looks at the test set for references.
    """
    if searched < search.target_trials:
        yield (
            f"The search is not finished ({searched} of {search.target_trials} trials): "
            "its leaders may change."
        )
    for candidate, run in sorted(failed.items()):
        assert run.confirming is not None
        yield f"Trial {candidate} is out: on seed {run.confirming.seed} it failed ({run.failure})."
    chosen = found.choice
    if chosen is None or found.best_run is None:
        done, wanted = finished
        if done < wanted or not all(each.dropped or each.reference for each in found.candidates):
            yield f"{done} of {wanted} runs are finished; `tune confirm {quote(found.study)}` goes on."
        else:
            yield "Nothing can be chosen: every candidate is out."
        return
    yield choice(found, chosen)
    yield from _luck(found, chosen, search=search, trials=trials, failed=failed)
    yield from _rivals(found, chosen, search_winner=_winner(trials))
    yield from _test(found, chosen, found.best_run, beside=beside)


def choice(found: Confirmation, chosen: Candidate) -> str:
    """The sentence that names the chosen one."""
    lucky = f"; the best of {rivals + 1} means is a little lucky" if (rivals := _rivals_of(found)) else ""
    return (
        f"Trial {chosen.trial}{_width(found)} is chosen: {percent(chosen.mean)} on validation, the mean of "
        f"{len(chosen.runs)} seeds, 95 % interval {_range(chosen.low, chosen.high)}{lucky}."
    )


def _rivals_of(found: Confirmation) -> int:
    """Candidates that might have been chosen instead."""
    return sum(each.reference is None for each in found.candidates) - 1


def _apart(found: Confirmation, one: Candidate, chosen: Candidate) -> tuple[float, float, float, str]:
    """(mean, low, high, a remark) of what `one` has over the chosen one on the same seeds.

    The chosen one is the best of several, so its rivals share the 5 % of error (Bonferroni).
    """
    rivals = max(1, _rivals_of(found))
    pairs = racing.differences(_values(found), one.trial, chosen.trial)
    gap, low, high = interval(pairs, 1 - 0.05 / rivals)
    corrected = f", corrected for {rivals} rivals" if rivals > 1 else ""
    return gap, low, high, corrected


def _winner(trials: Sequence[TrialRecord]) -> int | None:
    best = best_trial([trial for trial in trials if trial.reference is None])
    return None if best is None else best.number


def _rivals(found: Confirmation, chosen: Candidate, *, search_winner: int | None) -> Iterator[str]:
    """How sure the choice is, and whether the search was worth it."""
    others = (each for each in found.candidates if each is not chosen)
    second = next((each for each in others if each.reference is None and not each.dropped), None)
    if second is not None and second.trial != search_winner:  # of whom it was said
        gap, low, high, corrected = _apart(found, second, chosen)
        if high >= 0:
            yield (
                f"Next comes trial {second.trial}, {_unsigned(-gap)} behind trial {chosen.trial} on the same "
                f"seeds ({points(low)} to {points(high)}{corrected}): these seeds cannot tell the two apart."
            )
    for each in found.candidates:
        if each.reference is not None and each.mean >= chosen.mean:
            yield (
                f"The reference {each.reference} is no worse ({percent(each.mean)}): "
                "nothing was gained over it."
            )


def _luck(
    found: Confirmation,
    chosen: Candidate,
    *,
    search: StudyRecord,
    trials: Sequence[TrialRecord],
    failed: Mapping[int, TrialRecord],
) -> Iterator[str]:
    """What became of the search's winner on fresh seeds."""
    number = _winner(trials)
    if number is None:
        return
    alike = found.widen == 1 and found.epochs == search.spec.epochs
    if number in failed:
        unstable = failed[number].failure is Failure.DIVERGED
        luck = "was luck" if alike and unstable else "does not keep its place"
        yield f"The winner of the search, trial {number}, {luck}: it fails on another seed."
        return
    winner = next((each for each in found.candidates if each.trial == number), None)
    if winner is None:  # the search has gone on since
        yield (
            f"The search has a new winner, trial {number}, which is not confirmed; "
            f"`tune confirm {quote(found.study)}` does it."
        )
        return
    if winner is chosen:
        yield "It is the winner of the search, too."
    else:
        gap, low, high, corrected = _apart(found, winner, chosen)
        told = f"on the same seeds it differs from trial {chosen.trial} by {points(gap)} points"
        between = f"({points(low)} to {points(high)}{corrected})"
        if high < 0:
            luck = "was luck" if alike else "does not keep its place"
            yield f"The winner of the search, trial {winner.trial}, {luck}: {told} {between}."
        else:
            yield f"The winner of the search, trial {winner.trial}, may be as good: {told} {between}."
    yield _gap(winner, search=search, epochs=found.epochs, widen=found.widen)


def _gap(winner: Candidate, *, search: StudyRecord, epochs: float, widen: float) -> str:
    changed = ["fresh seeds"]
    if epochs != search.spec.epochs:
        changed.append(f"{epochs:g} epochs for {search.spec.epochs:g}")
    if widen > 1:
        changed.append(f"{widen:g} times the width")
    told = f"The search saw {percent(winner.search_value)} in it; {listed(changed)} give"
    gap = winner.search_value - winner.mean
    if widen > 1:
        return f"{told} {percent(winner.mean)}: wider networks do not show what was luck."
    if gap > 0 and epochs < search.spec.epochs:
        return f"{told} {percent(winner.mean)}: with fewer epochs this does not show what was luck."
    if gap <= 0 and epochs > search.spec.epochs:
        return f"{told} {percent(winner.mean)}: longer training hides whether any of it was luck."
    if winner.search_value > winner.high:
        return f"{told} {percent(winner.mean)}: {_unsigned(gap)} of what the search saw were luck."
    if gap > 0:
        return f"{told} {percent(winner.mean)}, {_unsigned(gap)} less, which is within chance."
    return f"{told} {percent(winner.mean)}: nothing of it was luck."


def _test(found: Confirmation, chosen: Candidate, best_run: SeedRun, *, beside: int) -> Iterator[str]:
    """What the test set says, and how often it was asked."""
    look = last_look(found.looks, best_run)
    if look is None:
        yield "The test set was not looked at yet for the chosen one."
        return
    low, high = wilson(look.accuracy * look.pictures, look.pictures)
    yield (
        f"On test the weights of its best seed ({percent(best_run.value)} on validation) reach "
        f"{percent(look.accuracy)}, 95 % interval {_range(low, high)} over {look.pictures:,} pictures."
    )
    yield (
        f"From the search to the confirmation to the test: {percent(chosen.search_value)}, "
        f"{percent(chosen.mean)} ({points(chosen.mean - chosen.search_value)}), "
        f"{percent(look.accuracy)} ({points(look.accuracy - chosen.mean)})."
    )
    if look.accuracy < chosen.mean:
        yield EASY
    own = len(found.looks) - beside
    references = f" and {_times(beside)} for references" if beside else ""
    yield f"The test set was looked at {_times(own)} for models of this study{references}."
    if own > 1:
        yield "Who looks more than once may choose by what he saw: trust the last figure less than the first."


def beside(other: Confirmation) -> str:
    """One sentence on another confirmation of the same study."""
    how = f"{other.epochs:g} epochs{widened(other.widen, 'leaders')}"
    chosen = other.choice
    came = (
        "has not decided yet"
        if chosen is None
        else f"chose trial {chosen.trial}: {percent(chosen.mean)} on validation"
    )
    return f"Another confirmation, {other.confirmed_in} ({how}), {came}."


def last_look(looks: Sequence[Look], run: SeedRun) -> Look | None:
    """The latest look at this run's weights; None where there is none."""
    return next((look for look in reversed(looks) if look.trial_id == run.trial_id), None)


def _values(found: Confirmation) -> dict[int, dict[int, float]]:
    return {each.trial: {run.seed: run.value for run in each.runs} for each in found.candidates}


def _width(found: Confirmation) -> str:
    return f"{widened(found.widen)}," if found.widen > 1 else ""


def _range(low: float, high: float) -> str:
    return f"{low * 100:.2f} to {high * 100:.2f} %"


def _unsigned(fraction: float) -> str:
    return f"{fraction * 100:.2f} points"


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n} times")
