"""What follows from a confirmation, in sentences: who is chosen, what is better, what the test set says.

A sentence says that one candidate is better only where the interval over seeds and digits of their difference
excludes zero. All such sentences on validation err together in at most 5 of 100 confirmations, and so do all
on the test set (benchmarks/claims_of_confirm.py). Of another score than the accuracy of networks the interval
may be over seeds only, and each such sentence says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from shlex import quote

from search.analysis.confirmation import Candidate, Confirmation, Gap, SeedRun
from search.analysis.two_way import SEEDS
from search.records import Direction, Metric, NetworkSpec, StudySpec, TestEvaluation
from search.report.words import (
    amount,
    begun_without_result,
    code_changed_since,
    count,
    difference,
    ends_of,
    listed,
    percent,
    points,
    signed_difference,
    upward,
    value,
    widened,
    without_unit,
)

SEEDS_ONLY = "over seeds only; validation sampling is not included"
"""What is said of an interval of another score than the accuracy of networks, unless it is of code that
tells its single answers (`trial.examples`)."""

SEEDS_AND_EXAMPLES = "over seeds and validation examples"
"""What is said of one that does."""

NO_TEST = "This objective has no test set: nothing was evaluated on held-out data."


def sentences(found: Confirmation) -> tuple[str, ...]:
    """What follows from a confirmation, one sentence after the other; the last ones name the others."""
    return (*_sentences(found), *(_beside(other) for other in found.others))


def _sentences(found: Confirmation) -> Iterator[str]:
    if not found.search.is_finished(found.searched):
        yield (
            f"The search is not finished ({found.searched} of {found.search.target_trials} trials): "
            "its leaders may change."
        )
    if changed := code_changed_since(found.code_of_search, found.code_of_runs, what="confirmation"):
        yield changed
    for candidate, run in sorted(found.failed.items()):
        assert run.confirming is not None
        yield f"Trial {candidate} is out: on seed {run.confirming.seed} it failed ({run.failure})."
    yield from _set_aside(found)
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
    elif found.scored_by_answers and any(gap.low is None and gap.seeds >= SEEDS for gap in found.gaps):
        yield (
            "Which validation examples were answered right is not recorded for every run, for instance where "
            "a previous version of tune made or interrupted one: no difference can be told from chance. "
            f"`tune delete {quote(found.confirmed_in)}` makes room for a new confirmation."
        )
    if not found.scored_by_answers:
        yield from _without_spread(found)
    yield from _of_the_search(found, chosen)
    yield from _next(found)
    yield from _worse_references(found)
    if found.confirming.spec.has_test:
        yield from _test(found, chosen, found.best_run)
    else:
        yield NO_TEST


def _set_aside(found: Confirmation) -> Iterator[str]:
    """Which candidates do not fit the search space any more, and who leads among the others.

    The choice stands: the test set was evaluated for it.
    """
    own = [each for each in found.candidates if each.reference is None]
    if told := candidates_set_aside([each.trial for each in own], found.search.spec):
        yield told
    chosen = found.choice
    aside = found.search.spec.set_aside
    if chosen is None or chosen.trial not in aside:
        return
    fit = [each for each in own if each.trial not in aside and not each.dropped]
    if not fit:
        yield f"No candidate fits the present space; `tune confirm {quote(found.study)}` adds its leaders."
        return
    yield (
        f"Trial {chosen.trial}, the chosen one, is set aside; of the candidates that fit, trial "
        f"{fit[0].trial} has the best mean, {value(fit[0].mean, found.metric)}."
    )


def candidates_set_aside(candidates: Iterable[int], spec: StudySpec) -> str:
    """The sentence that some of these trials of a search do not fit its space any more, or empty."""
    numbers = [str(number) for number in sorted(set(candidates) & spec.set_aside)]
    if not numbers:
        return ""
    trials, do, are = ("trial", "does", "is") if len(numbers) == 1 else ("trials", "do", "are")
    return (
        f"The search space was changed since: of the candidates, {trials} {listed(numbers)} {do} not fit it "
        f"and {are} set aside."
    )


def choice(found: Confirmation, chosen: Candidate) -> str:
    """The sentence that names the chosen one."""
    rivals = sum(each.reference is None for each in found.candidates) - 1
    adjusted = f", adjusted for choosing the best of {rivals + 1}" if rivals else ""
    told = (
        f"Trial {chosen.trial}{_width(found)} is chosen: {_measured(found, chosen.mean)}, the mean of "
        f"{len(chosen.runs)} seeds"
    )
    if found.scored_by_answers:
        interval = interval_of_mean(chosen, found.metric)
        return f"{told}, 95 % interval over seeds and {found.examples.are} {interval}{adjusted}."
    if not chosen.has_interval:
        return f"{told}."
    return f"{told}, 95 % interval {interval_of_mean(chosen, found.metric)}{adjusted}, {sampled(chosen)}."


def sampled(found: Candidate | Gap) -> str:
    """What an interval of training code is over."""
    return SEEDS_AND_EXAMPLES if found.over_examples else SEEDS_ONLY


def interval_of_mean(candidate: Candidate, metric: Metric) -> str:
    """98.10 to 98.90 %, 0.0420 to 0.0442, or a dash: of a candidate's mean, as the metric is measured."""
    if not candidate.has_interval:
        return "–"
    low, high = metric.by_value(candidate.low, candidate.high)
    return f"{value(low, metric).removesuffix(' %')} to {value(high, metric)}"


def _measured(found: Confirmation, mean: float) -> str:
    """98.53 % on validation, energy −2.93: a mean score in a sentence that says what it is of."""
    if found.scored_by_answers:
        return f"{percent(mean)} on validation"
    return f"{found.metric.title} {value(mean, found.metric)}"


def _without_spread(found: Confirmation) -> Iterator[str]:
    """Of whom nothing can be told because no two seeds differ."""
    if found.ignores_seed and not found.of_networks:
        yield (
            "This code ignores trial.seed: each configuration has the same curve on all its seeds. No "
            "difference is told from chance."
        )
        return
    fixed = {each.trial: each for each in found.candidates if each.is_constant}
    if fixed:
        names = listed([str(number) for number in fixed])
        who = (
            f"Trial {names} has the same value on all its seeds"
            if len(fixed) == 1
            else f"Trials {names} have the same value on all their seeds"
        )
        why = (
            f"the {found.metric.title} is too coarse to show how the seeds differ"
            if found.of_networks
            else "this code ignores the seed, or its metric is too coarse to show it"
        )
        yield (f"{who}: {why}. The spread is not known, and no difference is told from chance there.")
    if found.chosen in fixed:
        return
    alike = [
        f"trial {gap.trial}"
        for gap in found.gaps
        if gap.low is None and gap.seeds >= SEEDS and gap.trial not in fixed
    ]
    if alike:
        yield (
            f"Against {listed(alike)} the chosen one shows no spread: the difference, or one of the two "
            "values, is the same on all seeds that they share. That has no interval, and is not told from "
            "chance."
        )


def _better_references(found: Confirmation, chosen: Candidate) -> Iterator[str]:
    """What comes first: a reference with a better mean than the chosen one. It is compared with no other
    candidate, of which a dropped one may have the best mean on fewer seeds."""
    named = f"trial {chosen.trial}, the chosen one"
    higher, above = "higher", "above"
    if found.metric.direction is Direction.MINIMIZE:
        higher, above = "lower", "below"
    for each in found.candidates:
        gap = found.gap_to(each.trial)
        if each.reference is None or gap is None or gap.by >= 0:
            continue
        if gap.high is not None and gap.high < 0:
            yield (
                f"The reference {each.reference} is better than {named}: {_measured(found, each.mean)}, "
                f"{_unsigned(found, gap)} {above} it{_interval(found, gap)}."
            )
        else:
            untold = "" if gap.low is None else "; whether that is a loss or a gain cannot be told"
            yield (
                f"The reference {each.reference} has a {higher} mean than {named}, on the same "
                f"{count(gap.seeds, 'seed')}, {value(each.mean, found.metric)}: trial {chosen.trial} has "
                f"{difference(gap.by, found.metric)}{_interval(found, gap, signed=True)}{untold}."
            )


def _worse_references(found: Confirmation) -> Iterator[str]:
    for each in found.candidates:
        gap = found.gap_to(each.trial)
        if each.reference is None or gap is None or gap.by < 0 or gap.low is None:
            continue
        if gap.low > 0:
            yield (
                f"It is better than the reference {each.reference} by {_unsigned(found, gap)}"
                f"{_interval(found, gap)}."
            )
        else:
            yield (
                f"Whether it is better than the reference {each.reference} cannot be told: "
                f"{difference(gap.by, found.metric)}{_interval(found, gap, signed=True)}."
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
        f"Next comes trial {gap.trial}, on the same {gap.seeds} seeds {_unsigned(found, gap)} "
        f"{_where(gap)}{_interval(found, gap)}"
    )
    yield f"{told}." if gap.is_told else f"{told}: the two cannot be told apart."


def _where(gap: Gap) -> str:
    """Where the other one is: a dropped one may be ahead of the chosen one on the seeds that it has."""
    return "behind" if gap.by >= 0 else "ahead"


def _of_the_search(found: Confirmation, chosen: Candidate) -> Iterator[str]:
    """How the search's winner did on fresh seeds."""
    number = found.search_winner
    if number is None:
        return
    if number in found.failed:
        yield f"The winner of the search, trial {number}, cannot be chosen: it fails on another seed."
        return
    winner = next((each for each in found.candidates if each.trial == number), None)
    if winner is None:  # the search has continued since
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
        size, ends = _unsigned(found, gap), _interval(found, gap)
        if gap.is_told:
            beside = "behind" if gap.by >= 0 else "ahead of"
            yield f"{named} is {beside} it by {size} {on}{ends}."
        elif gap.low is not None:
            yield f"{named} may be as good: {on} it is {size} {_where(gap)}{ends}."
        else:
            yield (
                f"{named} has {value(winner.mean, found.metric)}, {on} {difference(-gap.by, found.metric)}."
            )
    changed = [f"{len(winner.runs)} fresh seeds", *_changed(found)]
    yield (
        f"The search saw {value(winner.search_score, found.metric)} in it, with one seed; {listed(changed)} "
        f"give {value(winner.mean, found.metric)}."
    )


def _changed(found: Confirmation) -> Iterator[str]:
    """What beside the seeds was otherwise in the search."""
    one, other = found.search.spec, found.confirming.spec
    if not isinstance(one, NetworkSpec) or not isinstance(other, NetworkSpec):
        return
    if other.epochs != one.epochs:
        yield f"{other.epochs:g} epochs for {one.epochs:g}"
    if other.widen > 1:
        yield f"{other.widen:g} times the width"
    if other.compositions != one.compositions:
        yield "every validation digit"


def _test(found: Confirmation, chosen: Candidate, best_run: SeedRun) -> Iterator[str]:
    """What the test set says, and how often it was asked."""
    evaluation = found.last_evaluation(best_run)
    if evaluation is None:
        yield (
            "The chosen one has no result on the test set yet."
            if found.test_attempts
            else "The chosen one was not evaluated on the test set yet."
        )
        if found.test_attempts:
            yield from _ledger(found)
        return
    if not found.of_networks:
        yield from _test_of_code(found, chosen, best_run, evaluation)
        return
    metric = found.metric
    tested = found.tested(evaluation)
    low, high = found.intervals_of(evaluation)["mean"]
    accuracy = (
        f"{percent(evaluation.accuracy)}, 95 % interval {low * 100:.2f} to {percent(high)} over "
        f"{evaluation.pictures:,} images"
    )
    if found.scored_by_answers:
        on_test = f"({percent(best_run.score)} on validation) reach {accuracy}"
    else:
        name = metric.title.removeprefix("validation ")
        on_test = f"({metric.title} {value(best_run.score, metric)}) have "
        if tested is None:
            on_test += f"accuracy {accuracy}; their {name} was not recorded"
        else:
            on_test += f"{name} {value(tested, metric)}, which has no interval, and accuracy {accuracy}"
    yield f"On test the weights of its best seed {on_test}."
    names = {each.trial: each.reference for each in found.candidates}
    for gap in found.gaps_on_test:
        assert gap.low is not None
        assert gap.high is not None
        reference = f"the reference {names[gap.trial]}"
        if gap.low > 0:
            yield f"There it is better than {reference} by {_unsigned(found, gap)}{_interval(found, gap)}."
        elif gap.high < 0:
            yield f"There it is worse than {reference} by {_unsigned(found, gap)}{_interval(found, gap)}."
        else:
            signed = f"{points(gap.by)} points{_interval(found, gap, signed=True)}"
            yield f"There it cannot be told from {reference}: {signed}."
    if tested is not None:
        steps = (chosen.mean - chosen.search_score, tested - chosen.mean)
        to_the_mean, to_the_test = (without_unit(step, metric) for step in steps)
        yield (
            f"From the search to the confirmation to the test: {value(chosen.search_score, metric)}, "
            f"{value(chosen.mean, metric)} ({to_the_mean}), {value(tested, metric)} ({to_the_test})."
        )
        if tested < chosen.mean and found.examples.remark:
            yield found.examples.remark
    yield from _ledger(found)


def _test_of_code(
    found: Confirmation, chosen: Candidate, best_run: SeedRun, evaluation: TestEvaluation
) -> Iterator[str]:
    metric = found.metric
    score = metric.score_of(evaluation.value)
    yield (
        f"On test the run with its best seed ({value(best_run.score, metric)} on validation) has "
        f"{metric.title} {value(score, metric)}, by the test function of {found.tested_by}: one measurement, "
        "without an interval."
    )
    yield (
        f"From the search to the confirmation to the test: {value(chosen.search_score, metric)}, "
        f"{value(chosen.mean, metric)} ({difference(chosen.mean - chosen.search_score, metric)}), "
        f"{value(score, metric)} ({difference(score - chosen.mean, metric)})."
    )
    yield from _ledger(found)


def _ledger(found: Confirmation) -> Iterator[str]:
    """How often the test set was evaluated, for this study and in the whole storage."""
    beside = found.evaluations_of_references
    without = found.test_attempts
    own = len(found.test_evaluations) + len(without) - beside
    known = found.evaluation_counts
    total = max(own + beside, 0 if known is None else known.total)
    told = f"{times(own)} for {'models' if found.of_networks else 'runs'} of this study"
    if beside:
        told += f", {times(beside)} for references"
    if others := total - own - beside:
        told += f", {times(others)} for other studies"
        if known is not None and known.of_deleted_studies:
            told += f" (deleted ones: {known.of_deleted_studies})"
    yield f"The test set of {found.tested_by} was evaluated {times(total)} in this storage: {told}."
    if without:
        last = "on" if len(without) == 1 else "the last on"
        yield (
            f"{begun_without_result(len(without))}, {last} {without[-1].moment:%Y-%m-%d at %H:%M} UTC. "
            f"{without[-1].why}"
        )
    if own + others > 1:
        yield (
            "With more than one evaluation one may choose by what was seen: trust the last figure less than "
            "the first."
        )


def _beside(other: Confirmation) -> str:
    """One sentence on another confirmation of the same study."""
    how = f"{of_length(other.confirming.spec)}{widened(other.widen, 'leaders')}"
    chosen = other.choice
    came = (
        "has not decided yet"
        if chosen is None
        else f"chose trial {chosen.trial}: {_measured(other, chosen.mean)}"
    )
    return f"Another confirmation, {other.confirmed_in} ({how}), {came}."


def of_length(spec: StudySpec) -> str:
    """16 epochs, 9 steps: the budget of a run."""
    return f"{spec.epochs:g} epochs" if isinstance(spec, NetworkSpec) else amount(spec.budget, spec)


def times(n: int) -> str:
    """never, once, twice, 3 times."""
    return {0: "never", 1: "once", 2: "twice"}.get(n, f"{n} times")


def _interval(found: Confirmation, gap: Gap, *, signed: bool = False) -> str:
    """` (+0.10 to +0.30, 95 % one-sided for all 4 comparisons together)`; nothing where there is no interval.

    signed: of a gap that is told with its sign, the chosen one less the other; else of its size.
    """
    if gap.low is None or gap.high is None:
        return ""
    metric, low, high = found.metric, gap.low, gap.high
    if signed:
        low, high = metric.by_value(low, high)
    else:
        metric = upward(metric)
        low, high = (low, high) if gap.by >= 0 else (-high, -low)
    together = f" for all {gap.comparisons} comparisons together" if gap.comparisons > 1 else ""
    side = " one-sided" if gap.one_sided else ""
    over = "" if found.scored_by_answers else f", {sampled(gap)}"
    return f" ({ends_of(low, high, metric)}, 95 %{side}{together}{over})"


def _width(found: Confirmation) -> str:
    return f"{widened(found.widen)}," if found.widen > 1 else ""


def _unsigned(found: Confirmation, gap: Gap) -> str:
    """0.31 points, 0.0021: the size of a gap, in more digits where it is told and would be 0.00."""
    told = signed_difference if gap.is_told else difference
    return told(math.fabs(gap.by), found.metric).lstrip("+−±")
