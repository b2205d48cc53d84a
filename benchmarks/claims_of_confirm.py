"""How often are the sentences of `tune confirm` and differences of `tune compare` wrong? A Markdown table.

Made-up confirmations go through the very functions that the commands call; a claim is counted where the
sentence is printed. Each has a search of 30 trials whose leaders are confirmed, two references, validation
images of two digits, and answers of two heads: a head is wrong where the difficulty of an image's digits,
which all networks share, and effects of the network exceed a limit. Those effects come from the seed
("seeds"), from how well the settings suit a digit ("digits"), or from both; in each, single answers also vary
by chance. The search chooses its leaders on a part of the same digits, with other seeds. The test set has
digits that no network was chosen on.

In a null cell all trials and references have the same true accuracy: whatever is called better is a false
positive, and so is an interval of a difference that excludes zero, with or without a sentence; a page that
has one or more is counted once. A null cell passes when the 95 % lower bound of its rate is at most 5 %. In
"strong" cells one trial, or every trial, is better than the rest: there the rate is the power.

    python benchmarks/claims_of_confirm.py              # about half an hour on one core
    python benchmarks/claims_of_confirm.py --n 100      # a first look
"""

from __future__ import annotations

import argparse
import datetime
import functools
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from search.analysis import racing, two_way
from search.analysis.intervals import mean_of_heads_interval, wilson
from search.analysis.standing import Stand, confirmation
from search.heads import head_report
from search.records import (
    Answers,
    Confirming,
    HeadScore,
    NetworkSpec,
    Report,
    Scores,
    State,
    StudyRecord,
    TestEvaluation,
    TrialRecord,
)
from search.report.confirmation_sentences import sentences

Array = NDArray[np.float64]
Kind = Literal["seeds", "digits", "both"]
Better = Literal["none", "one", "all"]

N_NULL, N_STRONG = 1000, 300
DIGITS, COMPOSITIONS, SEARCHED = 300, 2, 30
VALIDATION_DIGITS = 6_000
"""For intervals of a mean, as many as there are: of 300 some 15 are hard, and the intervals err in 6 instead
of 5 %. A difference has what is hard for all taken out."""
MILD = 1 / 3
"""Of the seeds' spread, for intervals of a mean: errors then vary by a tenth over seeds, as those of leaders
do (docs/decisions/010: by 3 to 10 %). Where they vary by a third, they are so skewed that intervals with five
seeds err in 6.6 %."""
HEADS = ("first", "second")
SPREAD = 0.35
"""Standard deviation of an effect of the seed or of the digits, in those of a digit's difficulty."""
LIMIT = 2.2
"""A head is wrong above it: on 5 % of the images or so."""
STRONG = 1.0
"""How much less a better network errs, in the same unit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One cell of the table."""

    claim: str
    condition: str
    n: int
    """simulated pages"""
    wrong: int | None
    """pages with a false positive; None: the claim is true here"""
    found: int | None
    """pages that make the true claim; None: it is false here"""

    @property
    def lower(self) -> float:
        """95 % lower bound of the rate of false positives, one-sided."""
        return 0.0 if not self.wrong else wilson(self.wrong, self.n, 1.645)[0]

    @property
    def passes(self) -> bool:
        """Whether the cell is no evidence of more than 5 % of false positives."""
        return self.wrong is None or self.lower <= 0.05

    @property
    def markdown(self) -> str:
        """The row of the table."""
        rate = "" if self.wrong is None else f"{self.wrong / self.n:.1%}"
        lower = "" if self.wrong is None else f"{self.lower:.1%}"
        power = "" if self.found is None else f"{self.found / self.n:.0%}"
        verdict = "" if self.wrong is None else "yes" if self.passes else "**no**"
        return f"| {self.claim} | {self.condition} | {self.n:,} | {rate} | {lower} | {verdict} | {power} |"


HEADER = (
    "| claim | condition | n | false positives | 95 % lower bound | passes | power |\n"
    "|---|---|--:|--:|--:|---|--:|"
)


class World:
    """Networks of one made-up search, and what they get right."""

    def __init__(
        self, generator: np.random.Generator, kind: Kind, bonus: Array, digits: int = DIGITS
    ) -> None:
        """bonus (networks,): how much less each errs than the others."""
        self.generator, self.kind, self.bonus, self.digits = generator, kind, bonus, digits
        self.difficulty = generator.normal(size=digits)
        by_digit = SPREAD if kind != "seeds" else 0.0
        self.suits = by_digit * generator.normal(size=(len(bonus), 2, digits))

    def pairs(self, compositions: int) -> NDArray[np.int64]:
        """(compositions · digits, 2): every digit this many times in each place."""
        columns = [
            [self.generator.permutation(self.digits) for _ in range(compositions)] for _ in range(len(HEADS))
        ]
        return np.stack([np.concatenate(column) for column in columns], axis=1)

    def right(self, network: int, seed_effect: float, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(examples, heads), of a network trained on one seed."""
        hard = self.difficulty[pairs] + 0.5 * self.difficulty[pairs[:, ::-1]]
        suits = np.stack([self.suits[network, place, pairs[:, place]] for place in range(2)], axis=1)
        noise = 0.3 * self.generator.normal(size=pairs.shape)
        found: NDArray[np.bool_] = hard + suits + noise + seed_effect - self.bonus[network] < LIMIT
        return found

    def seed_effect(self, part: float = 1.0) -> float:
        """Of one seed on one network."""
        return part * SPREAD / 2 * float(self.generator.normal()) if self.kind != "digits" else 0.0


def scores(right: NDArray[np.bool_]) -> Scores:
    heads = {
        name: HeadScore(loss=0.0, accuracy=float(each.mean()))
        for name, each in zip(HEADS, right.T, strict=True)
    }
    return Scores(heads=heads, joint=float(right.all(axis=1).mean()))


def answers(right: NDArray[np.bool_], split: str = "validation") -> Answers:
    heads = {name: np.packbits(each).tobytes() for name, each in zip(HEADS, right.T, strict=True)}
    return Answers(split=split, examples=len(right), heads=heads)


NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SPEC = NetworkSpec(
    task="made up",
    space={},
    epochs=1,
    epoch_images=1000,
    validation_pictures=DIGITS,
    seed=0,
    sampler="random",
    pruner="none",
    references=("one", "two"),
    checksums={},
)
REFERENCES = ("one", "two", "three", "four")


def study(study_id: int, name: str, target: int, confirms: str | None = None) -> StudyRecord:
    spec = SPEC if confirms is None else replace(SPEC, confirms=confirms, compositions=COMPOSITIONS)
    return StudyRecord(study_id=study_id, name=name, spec=spec, target_trials=target, created=NOW)


def made_up(
    generator: np.random.Generator, kind: Kind, *, top: int, seeds: int, better: Better, references: int = 2
) -> Stand:
    """A search and its confirmation. better: which of the searched trials are better than the references."""
    bonus = np.zeros(references + SEARCHED)
    if better == "one":
        bonus[references] = STRONG
    elif better == "all":
        bonus[references:] = STRONG
    world = World(generator, kind, bonus)
    trials = searched_trials(world, references)
    pairs = world.pairs(COMPOSITIONS)
    candidates = [trial.number for trial in (*racing.leaders(trials, top), *racing.references(trials))]
    runs: list[TrialRecord] = []
    curves: dict[int, list[Report]] = {}
    known: dict[int, Answers] = {}
    for seed in range(seeds):
        for number in candidates:
            trial_id = 1000 + len(runs)
            state, score = State.PRUNED, None
            if number not in racing.in_vain(runs):  # as the worker that would train it decides
                right = world.right(number, world.seed_effect(), pairs)
                known[trial_id] = answers(right)
                found = scores(right)
                curves[trial_id] = [
                    head_report(step=1, seconds=1.0, learning_rate=0.1, train=found, validation=found)
                ]
                state, score = State.COMPLETE, found.accuracy
            runs.append(
                TrialRecord(
                    trial_id=trial_id,
                    number=len(runs),
                    state=state,
                    score=score,
                    params={},
                    reference=trials[number].reference,
                    confirming=Confirming(candidate=number, seed=seed),
                )
            )
    return Stand(
        searched=study(1, "s", len(trials)),
        trials=trials,
        confirming=study(2, "s.confirm", len(runs), confirms="s"),
        runs=runs,
        curves=curves,
        test_evaluations=(),
        yardstick=frozenset(),
        answers=known,
        digits=pairs,
    )


def searched_trials(world: World, references: int) -> list[TrialRecord]:
    """A trial for each network, the references first, scored on two thirds of the digits."""
    chosen_on = world.pairs(1)[: DIGITS * 2 // 3]
    found = [
        scores(world.right(network, world.seed_effect(), chosen_on)).accuracy
        for network in range(len(world.bonus))
    ]
    return [
        TrialRecord(
            trial_id=network,
            number=network,
            state=State.COMPLETE,
            score=score,
            params={},
            reference=REFERENCES[network] if network < references else None,
        )
        for network, score in enumerate(found)
    ]


RIVAL = ("is behind it by", "Next comes")
REFERENCE = ("It is better than the reference", "is better than trial")


def claims(stand: Stand) -> tuple[bool, bool, bool]:
    """Whether the page calls a rival worse, a reference better or worse, and whether it has an interval of a
    difference that excludes zero, with or without a sentence."""
    found = confirmation(stand)
    said = [each for each in sentences(found) if "cannot be told" not in each]
    return (
        any(phrase in each for each in said for phrase in RIVAL),
        any(phrase in each for each in said for phrase in REFERENCE),
        any((gap.low or 0.0) > 0 or (gap.high or 0.0) < 0 for gap in found.gaps),
    )


def of_a_confirmation(
    generator: np.random.Generator, kind: Kind, top: int, seeds: int, better: Better
) -> bool:
    """Whether a made-up page makes the claim: with none better, any; else that the one is, that all are."""
    rival, reference, interval = claims(made_up(generator, kind, top=top, seeds=seeds, better=better))
    return {"none": rival or reference or interval, "one": rival, "all": reference}[better]


def final_evaluation(generator: np.random.Generator, kind: Kind, references: int, *, bonus: float) -> Stand:
    """A confirmation that evaluated the chosen one and each reference on the test set. bonus: how much less
    the chosen one errs there than the references."""
    stand = made_up(generator, kind, top=2, seeds=two_way.SEEDS, better="none", references=references)
    best = confirmation(stand).best_run
    assert best is not None
    runs: dict[int, int] = {}  # the first of each reference
    for run in stand.runs:
        if run.reference is not None and run.confirming is not None:
            runs.setdefault(run.confirming.candidate, run.trial_id)
    networks = [best.trial_id, *runs.values()]
    world = World(generator, kind, np.array([bonus] + [0.0] * references))
    pairs = world.pairs(1)
    known = {
        trial_id: answers(world.right(network, 0.0, pairs), "made up")
        for network, trial_id in enumerate(networks)
    }
    return replace(
        stand,
        test_evaluations=[evaluation(trial_id, each) for trial_id, each in known.items()],
        yardstick=frozenset(runs.values()),
        answers_on_test=known,
        digits_on_test=pairs,
    )


def evaluation(trial_id: int, known: Answers) -> TestEvaluation:
    heads = {name: float(two_way.right(known, name).mean()) for name in HEADS}
    return TestEvaluation(
        study_id=2,
        trial_id=trial_id,
        moment=NOW,
        reason="chosen",
        pictures=known.examples,
        heads=heads,
        joint=float(two_way.all_right(known).mean()),
    )


ON_TEST = ("There it is better than", "There it is worse than")


def of_the_test(generator: np.random.Generator, kind: Kind, references: int, bonus: float = 0.0) -> bool:
    """Whether a page calls the chosen one better or worse than a reference on the test set, or has an
    interval of a difference there that excludes zero. With a bonus: whether it calls it better than each."""
    found = confirmation(final_evaluation(generator, kind, references, bonus=bonus))
    said = sentences(found)
    if bonus:
        return sum(ON_TEST[0] in each for each in said) == references
    told = any(phrase in each for each in said for phrase in ON_TEST)
    return told or any(gap.is_told for gap in found.gaps_on_test)


def of_an_interval(generator: np.random.Generator, kind: Kind, seeds: int) -> bool:
    """Whether the interval of a candidate's mean misses its true accuracy, which 40 other seeds and other
    digits show. The candidate is the first one, not the best of several."""
    world = World(generator, kind, np.zeros(1), VALIDATION_DIGITS)
    pairs = world.pairs(COMPOSITIONS)
    by_seed = np.stack([world.right(0, world.seed_effect(MILD), pairs).mean(axis=1) for _ in range(seeds)])
    found = two_way.mean(by_seed, pairs)
    truth = truth_of(kind, MILD)
    return not (found.low or 0.0) <= truth <= (found.high or 1.0)


def of_the_chosen(generator: np.random.Generator, kind: Kind, top: int, seeds: int) -> bool:
    """Whether the interval of the chosen leader's mean misses its true accuracy, which all share."""
    found = confirmation(made_up(generator, kind, top=top, seeds=seeds, better="none"))
    chosen = found.choice
    return chosen is not None and not chosen.low <= truth_of(kind, 1.0) <= chosen.high


@functools.cache
def truth_of(kind: Kind, part: float) -> float:
    """The true mean accuracy: of many networks, seeds and digits. part: as of World.seed_effect."""
    generator = np.random.default_rng(0)
    total = 0.0
    for _ in range(3000):
        world = World(generator, kind, np.zeros(1))
        total += float(world.right(0, world.seed_effect(part), world.pairs(1)).mean())
    return total / 3000


def of_two_networks(generator: np.random.Generator, kind: Kind, bonus: float) -> bool:
    """Whether two given networks are told apart on the same images, one evaluation each."""
    world = World(generator, kind, np.array([0.0, bonus]))
    pairs = world.pairs(1)
    one, two = (two_way.right(answers(world.right(network, 0.0, pairs)))[None] for network in range(2))
    found = two_way.difference(one, two, pairs, step=1 / len(HEADS))
    return (found.low or 0.0) > 0 or (found.high or 0.0) < 0


def of_mean_of_heads(generator: np.random.Generator, together: float) -> bool:
    """Whether the interval of the mean of two heads misses the truth. together: how much they err alike."""
    shared, own = together**0.5, (1 - together) ** 0.5
    hard = shared * generator.normal(size=(1000, 1)) + own * generator.normal(size=(1000, 2))
    right = hard < 1.6448536
    low, high = mean_of_heads_interval(right.mean(axis=0).tolist(), float(right.all(axis=1).mean()), 1000)
    return not low <= 0.95 <= high


def repeated(claim: Callable[[np.random.Generator], bool], n: int, cell: int) -> int:
    """How many of n made-up pages make a claim. Each cell has separate random numbers."""
    return sum(claim(np.random.default_rng((cell, page))) for page in range(n))


KINDS: tuple[Kind, ...] = ("seeds", "digits", "both")
SIZES: tuple[tuple[Kind, int, int], ...] = (
    *itertools.product(KINDS, (2, 5), (3, 5)),
    ("both", 3, 3),
    ("both", 4, 5),
)
"""(what differs, leaders, seeds) of the confirmations"""
TESTED = (2, 4)
"""References that are evaluated on the test set beside the chosen one."""


def rows(n_null: int = N_NULL, n_strong: int = N_STRONG) -> Iterator[Row]:
    """The cells, one after the other."""
    cell = itertools.count()

    def null(claim: str, condition: str, page: Callable[[np.random.Generator], bool]) -> Row:
        wrong = repeated(page, n_null, next(cell))
        return Row(claim=claim, condition=condition, n=n_null, wrong=wrong, found=None)

    def strong(claim: str, condition: str, page: Callable[[np.random.Generator], bool]) -> Row:
        found = repeated(page, n_strong, next(cell))
        return Row(claim=claim, condition=condition, n=n_strong, wrong=None, found=found)

    yield from _of_confirmations(null, strong)
    yield from _of_intervals(null)
    for kind in KINDS[:2]:
        condition = f"alike, one evaluation each, {'generator alone' if kind == 'seeds' else kind}"
        page = partial(of_two_networks, kind=kind, bonus=0.0)
        yield null("compare, test: two networks differ", condition, page)
    page = partial(of_two_networks, kind="digits", bonus=STRONG)
    yield strong("compare, test: two networks differ", f"one {STRONG:g} SD better, digits", page)
    for together in (0.0, 0.5, 1.0):
        condition = f"1,000 images, heads that err {together:.0%} alike"
        yield null(
            "95 % interval of the mean of heads", condition, partial(of_mean_of_heads, together=together)
        )
    claim = "card, report, test: 95 % interval of a mean"
    yield null(claim, "one network, over digits", partial(of_an_interval, kind="digits", seeds=1))
    yield from _of_the_test(null, strong)


MakeRow = Callable[[str, str, Callable[[np.random.Generator], bool]], Row]
"""(claim, condition, page) -> the row of one cell"""


def _of_confirmations(null: MakeRow, strong: MakeRow) -> Iterator[Row]:
    for kind, top, seeds in SIZES:
        page = partial(of_a_confirmation, kind=kind, top=top, seeds=seeds, better="none")
        condition = f"{top} leaders and 2 references alike, {seeds} seeds, {kind}"
        yield null("confirm: anything is better", condition, page)
    betters: tuple[Better, ...] = ("one", "all")
    for better, top, seeds in itertools.product(betters, (2, 5), (3, 5)):
        page = partial(of_a_confirmation, kind="both", top=top, seeds=seeds, better=better)
        what = "the next or the search's winner is behind" if better == "one" else "better than a reference"
        which = "one of 30 trials" if better == "one" else "all trials"
        condition = f"{which} {STRONG:g} SD better, {top} leaders, {seeds} seeds, both"
        yield strong(f"confirm: {what}", condition, page)


def _of_the_test(null: MakeRow, strong: MakeRow) -> Iterator[Row]:
    for kind, references in itertools.product(KINDS[:2], TESTED):
        condition = f"{references} references alike, {'generator alone' if kind == 'seeds' else kind}"
        page = partial(of_the_test, kind=kind, references=references)
        yield null("confirm, test: better or worse than a reference", condition, page)
    for references in TESTED:
        page = partial(of_the_test, kind="digits", references=references, bonus=STRONG)
        condition = f"{STRONG:g} SD better than {references} references, digits"
        yield strong("confirm, test: better than each reference", condition, page)


def _of_intervals(null: MakeRow) -> Iterator[Row]:
    for kind, seeds in itertools.product(KINDS, (3, 5)):
        page = partial(of_an_interval, kind=kind, seeds=seeds)
        yield null("confirm: 95 % interval of a mean", f"one candidate, {seeds} seeds, {kind}", page)
    for kind, top, seeds in SIZES:
        page = partial(of_the_chosen, kind=kind, top=top, seeds=seeds)
        condition = f"{top} leaders alike, {seeds} seeds, {kind}"
        yield null("confirm: 95 % interval of the chosen one's mean", condition, page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n", type=int, help="pages in each cell; default: 1,000 null, 300 strong ones")
    n = parser.parse_args().n
    print(HEADER)
    began = time.monotonic()
    found = []
    for row in rows(n or N_NULL, n or N_STRONG):
        found.append(row)
        print(row.markdown, flush=True)
    passed = sum(row.passes for row in found)
    print(f"\n{passed} of {len(found)} cells pass; {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main()
