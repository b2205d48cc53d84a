"""What follows from a confirmation, in sentences: who is chosen, what is better, what the test set says.

A sentence says that one candidate is better only where the interval over seeds and digits of their difference
excludes zero, with all such sentences of a page erring together in at most 5 of 100 confirmations
(benchmarks/claims_of_confirm.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from search.analysis.confirmation import Candidate, Confirmation, Gap, SeedRun
from search.analysis.two_way import SEEDS
from search.report.words import listed, percent, points, widened

EASY = (
    "Some of the last step is no surprise: validation has an easy tenth of MNIST's training digits "
    "(docs/decisions/021)."
)


def sentences(found: Confirmation) -> tuple[str, ...]:
    """What follows from a confirmation, one sentence after the other; the last ones name the others."""
    return (*_sentences(found), *(_beside(other) for other in found.others))


def _sentences(found: Confirmation) -> Iterator[str]:
    if not found.search.is_finished(found.searched):
        yield (
            f"The search is not finished ({found.searched} of {found.search.target_trials} trials): "
            "its leaders may change."
        )
    for candidate, run in sorted(found.failed.items()):
        assert run.confirming is not None
        yield f"Trial {candidate} is out: on seed {run.confirming.seed} it failed ({run.failure})."
    chosen = found.choice
    if chosen is None or found.best_run is None:
        done, wanted = found.finished_runs, found.wanted
        if done < wanted or not all(each.dropped or each.reference for each in found.candidates):
            yield f"{done} of {wanted} runs are finished; `tune confirm {quote(found.study)}` continues."
        else:
            yield "Nothing can be chosen: every candidate is out."
        return
    yield from _better_references(found, chosen)
    yield choice(found, chosen)
    if len(chosen.runs) < SEEDS:
        yield f"{SEEDS} seeds at least can tell a difference from chance; with fewer, none is called one."
    elif any(gap.low is None and gap.seeds >= SEEDS for gap in found.gaps):
        yield (
            "A previous version of tune did not record which answers were right: no difference can be told "
            f"from chance. `tune delete {quote(found.confirmed_in)}` makes room for a new confirmation."
        )
    yield from _of_the_search(found, chosen)
    yield from _next(found)
    yield from _worse_references(found, chosen)
    yield from _test(found, chosen, found.best_run)


def choice(found: Confirmation, chosen: Candidate) -> str:
    """The sentence that names the chosen one."""
    rivals = sum(each.reference is None for each in found.candidates) - 1
    room = f", with room for the choice of the best of {rivals + 1}" if rivals else ""
    return (
        f"Trial {chosen.trial}{_width(found)} is chosen: {percent(chosen.mean)} on validation, the mean of "
        f"{len(chosen.runs)} seeds, 95 % interval over seeds and digits {_range(chosen.low, chosen.high)}"
        f"{room}."
    )


def _better_references(found: Confirmation, chosen: Candidate) -> Iterator[str]:
    """What comes first: a reference with a better mean than the chosen one."""
    for each in found.candidates:
        gap = found.gap_to(each.trial)
        if each.reference is None or gap is None or gap.by >= 0:
            continue
        if gap.high is not None and gap.high < 0:
            yield (
                f"The reference {each.reference} is better than every candidate: {percent(each.mean)} on "
                f"validation, {_unsigned(gap.by)} above trial {chosen.trial}{_interval(gap)}."
            )
        else:
            yield (
                f"The reference {each.reference} has a higher mean than every candidate, "
                f"{percent(each.mean)}: trial {chosen.trial} has {points(gap.by)} points"
                f"{_interval(gap, signed=True)}, and nothing was gained."
            )


def _worse_references(found: Confirmation, chosen: Candidate) -> Iterator[str]:
    for each in found.candidates:
        gap = found.gap_to(each.trial)
        if each.reference is None or gap is None or gap.by < 0 or gap.low is None:
            continue
        if gap.low > 0:
            yield (
                f"It is better than the reference {each.reference} by {_unsigned(gap.by)}{_interval(gap)}."
            )
        else:
            yield (
                f"Whether it is better than the reference {each.reference} cannot be told: "
                f"{points(gap.by)} points{_interval(gap)}."
            )


def _next(found: Confirmation) -> Iterator[str]:
    """How sure the choice is."""
    rivals = {each.trial for each in found.candidates if each.reference is None}
    gaps = [gap for gap in found.gaps if gap.trial in rivals and gap.low is not None]
    if not gaps:
        return
    gap = min(gaps, key=lambda gap: (gap.by, gap.trial))
    if gap.trial == found.search_winner or gap.low is None:  # it was said
        return
    told = (
        f"Next comes trial {gap.trial}, on the same {gap.seeds} seeds {_unsigned(gap.by)} "
        f"{'behind' if gap.by >= 0 else 'ahead'}{_interval(gap)}"
    )
    yield f"{told}." if gap.low > 0 else f"{told}: the two cannot be told apart."


def _of_the_search(found: Confirmation, chosen: Candidate) -> Iterator[str]:
    """How the search's winner did on fresh seeds."""
    number = found.search_winner
    if number is None:
        return
    if number in found.failed:
        yield f"The winner of the search, trial {number}, cannot be chosen: it fails on another seed."
        return
    winner = next((each for each in found.candidates if each.trial == number), None)
    if winner is None:  # the search has gone on since
        yield (
            f"The search has a new winner, trial {number}, which is not confirmed; "
            f"`tune confirm {quote(found.study)}` does it."
        )
        return
    gap = found.gap_to(number)
    if winner is chosen:
        yield "It is the winner of the search, too."
    elif gap is not None:
        named, on = f"The winner of the search, trial {number},", f"on the same {gap.seeds} seeds"
        if gap.low is not None and gap.low > 0:
            yield f"{named} is behind it by {_unsigned(gap.by)} {on}{_interval(gap)}."
        elif gap.low is not None:
            yield f"{named} may be as good: {on} it is {_unsigned(gap.by)} behind{_interval(gap)}."
        else:
            yield f"{named} has {percent(winner.mean)}, {on} {points(-gap.by)} points."
    changed = [f"{len(winner.runs)} fresh seeds"]
    if found.epochs != found.search.spec.epochs:
        changed.append(f"{found.epochs:g} epochs for {found.search.spec.epochs:g}")
    if found.widen > 1:
        changed.append(f"{found.widen:g} times the width")
    if found.confirming.spec.compositions != found.search.spec.compositions:
        changed.append("every validation digit")
    yield (
        f"The search saw {percent(winner.search_value)} in it, with one seed; {listed(changed)} give "
        f"{percent(winner.mean)}."
    )


def _test(found: Confirmation, chosen: Candidate, best_run: SeedRun) -> Iterator[str]:
    """What the test set says, and how often it was asked."""
    evaluation = found.last_evaluation(best_run)
    if evaluation is None:
        yield "The chosen one was not evaluated on the test set yet."
        return
    low, high = found.intervals_of(evaluation)["mean"]
    yield (
        f"On test the weights of its best seed ({percent(best_run.value)} on validation) reach "
        f"{percent(evaluation.accuracy)}, 95 % interval {_range(low, high)} over "
        f"{evaluation.pictures:,} images."
    )
    names = {each.trial: each.reference for each in found.candidates}
    for gap in found.gaps_on_test:
        assert gap.low is not None
        assert gap.high is not None
        reference = f"the reference {names[gap.trial]}"
        if gap.low > 0:
            yield f"There it is better than {reference} by {_unsigned(gap.by)}{_interval(gap)}."
        elif gap.high < 0:
            yield f"There it is worse than {reference} by {_unsigned(gap.by)}{_interval(gap)}."
        else:
            signed = f"{points(gap.by)} points{_interval(gap, signed=True)}"
            yield f"There it cannot be told from {reference}: {signed}."
    yield (
        f"From the search to the confirmation to the test: {percent(chosen.search_value)}, "
        f"{percent(chosen.mean)} ({points(chosen.mean - chosen.search_value)}), "
        f"{percent(evaluation.accuracy)} ({points(evaluation.accuracy - chosen.mean)})."
    )
    if evaluation.accuracy < chosen.mean:
        yield EASY
    yield from _ledger(found)


def _ledger(found: Confirmation) -> Iterator[str]:
    """How often the test set was evaluated, for this study and in the whole storage."""
    beside = found.evaluations_of_references
    own = len(found.test_evaluations) - beside
    known = found.evaluation_counts
    total = max(own + beside, 0 if known is None else known.total)
    told = f"{times(own)} for models of this study"
    if beside:
        told += f", {times(beside)} for references"
    if others := total - own - beside:
        told += f", {times(others)} for other studies"
        if known is not None and known.of_deleted_studies:
            told += f" (deleted ones: {known.of_deleted_studies})"
    yield f"The test set of {found.task} was evaluated {times(total)} in this storage: {told}."
    if own + others > 1:
        yield (
            "With more than one evaluation one may choose by what was seen: trust the last figure less than "
            "the first."
        )


def _beside(other: Confirmation) -> str:
    """One sentence on another confirmation of the same study."""
    how = f"{other.epochs:g} epochs{widened(other.widen, 'leaders')}"
    chosen = other.choice
    came = (
        "has not decided yet"
        if chosen is None
        else f"chose trial {chosen.trial}: {percent(chosen.mean)} on validation"
    )
    return f"Another confirmation, {other.confirmed_in} ({how}), {came}."


def times(n: int) -> str:
    """never, once, twice, 3 times."""
    return {0: "never", 1: "once", 2: "twice"}.get(n, f"{n} times")


def _interval(gap: Gap, *, signed: bool = False) -> str:
    """` (+0.10 to +0.30, 95 % for all 4 comparisons together)`; nothing where there is no interval.

    signed: of a gap that is told with its sign, the chosen one less the other; else of its size.
    """
    if gap.low is None or gap.high is None:
        return ""
    low, high = (gap.low, gap.high) if signed or gap.by >= 0 else (-gap.high, -gap.low)
    together = f" for all {gap.comparisons} comparisons together" if gap.comparisons > 1 else ""
    return f" ({points(low)} to {points(high)}, 95 %{together})"


def _width(found: Confirmation) -> str:
    return f"{widened(found.widen)}," if found.widen > 1 else ""


def _range(low: float, high: float) -> str:
    return f"{low * 100:.2f} to {high * 100:.2f} %"


def _unsigned(fraction: float) -> str:
    return f"{abs(fraction) * 100:.2f} points"
