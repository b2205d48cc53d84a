"""How far an ablation is, what of it failed, and how it was judged, in sentences."""

from __future__ import annotations

from search.analysis.ablation import BASELINE, Ablation
from search.analysis.ablation_arms import Arm
from search.analysis.paired_arms import share_of
from search.analysis.two_way import SEEDS
from search.records import NetworkSpec
from search.report.ablation_words import command, failure, mean, of_networks
from search.report.confirmation_sentences import SEEDS_ONLY
from search.report.words import amount, count, first_of, listed, scored

LISTED = 8
"""Changes that a sentence names."""

_PARTS = {2: "half", 3: "third", 4: "quarter", 5: "fifth", 8: "eighth", 10: "tenth", 20: "twentieth"}


def unfinished(found: Ablation) -> str:
    """What is missing, and the command that continues; empty where it is finished."""
    if found.finished:
        return ""
    left = found.wanted - found.finished_runs
    told = [] if found.wanted else ["no run is queued yet"]
    if left:
        told.append(f"{left} of {count(found.wanted, 'run')} {'is' if left == 1 else 'are'} missing")
    follow = list(dict.fromkeys(name.split("=")[0] for name in found.follow))
    follow += [f"the path from {path.reference}" for path in found.paths if path.follows]
    if follow:
        told.append(f"runs follow for {listed(follow)}")
    return (
        f"The ablation is not finished: {', '.join(told)}, and `{command(found.record, found.asked)}` "
        "continues."
    )


def not_judged(found: Ablation) -> str:
    """Why no setting can be judged, however many runs there are; empty where that is not so."""
    of = f"No setting of trial {found.baseline.number} can be judged"
    failed = [arm for arm in found.failed if arm.name == BASELINE and arm.budget == found.budget]
    if failed:
        return f"{of}: the baseline, which is that trial on fresh seeds, {failure(failed[0])}."
    if found.variants and not found.follow and all(arm.failed for arm in found.variants):
        many = len(found.variants) > 1
        return f"{of}: {f'all {len(found.variants)} variants' if many else 'the only variant'} failed."
    return ""


def lengths_not_judged(found: Ablation) -> str:
    """As `not_judged`, of the lengths."""
    lengths = [arm for arm in found.arms if arm.name == BASELINE]
    failed = [arm for arm in lengths if arm.failed]
    if len(lengths) < 2 or len(lengths) - len(failed) > 1:
        return ""
    subject = "Extra training" if of_networks(found) else "A larger budget"
    return (
        f"{subject} cannot be judged: the baseline failed with {len(failed)} of {len(lengths)} lengths, and "
        "to compare takes two."
    )


def not_compared_yet(found: Ablation) -> str:
    """Which arms of a later round lack seeds; empty where none does."""
    if not found.behind:
        return ""
    some = [f"{_called(arm, found)} ({len(arm.runs)} of {found.seeds})" for arm in found.behind]
    until = "it has" if len(some) == 1 else "all of these have"
    seeds = count(found.seeds, "seed")
    return f"Not compared until {until} the {seeds} of the others: {first_of(some, LISTED)}."


def _called(arm: Arm, found: Ablation) -> str:
    """dropout=0.0; baseline for 16 epochs"""
    length = "" if arm.budget == found.budget else f" for {amount(arm.budget, found.record.spec)}"
    return f"{arm.name}{length}"


def first_look(found: Ablation) -> str:
    """That there are too few seeds for verdicts; empty where there are enough, or none."""
    if not 0 < found.seeds < SEEDS:
        return ""
    what = "no intervals and no verdicts" if found.seeds == 1 else "no verdicts"
    return (
        f"This is a first look on {count(found.seeds, 'seed')}, with {what}: to tell a difference from "
        f"chance takes {SEEDS} seeds at least."
    )


def failures(found: Ablation) -> str:
    """What failed; empty where nothing did."""
    if not found.failed:
        return ""
    told = [f"{_called(arm, found)} {failure(arm)}" for arm in found.failed]
    return f"{'; '.join(told)}: what failed is a result, and is compared with nothing."


def judged(found: Ablation) -> str:
    """How it was judged; empty where nothing is compared."""
    if not (found.settings or found.lengths or found.unregularized):
        return ""
    verb = "trained" if of_networks(found) else "run"
    seeds = "one seed" if found.seeds == 1 else f"the same {found.seeds} seeds"
    who, length = f"Trial {found.baseline.number} of {found.searched.name}", ""
    if found.settings:
        first = found.settings[0]
        who += f" ({scored(mean(first.reference, first.found.seeds), found.metric)}) and its variants"
        length = f" for {amount(found.budget, found.record.spec)}"
    told = f"How it was judged: {who} were {verb}{length} on {seeds}"
    if not found.settings:
        told = f"How it was judged: {who} was {verb} for every length on {seeds}"
    if found.divides_anew:
        told += (
            f"; each seed holds out another {_part(found)} of the training examples, so that nothing is "
            "judged on examples that chose the winner"
        )
    told += "; every run counts with its last report, and not with its best."
    if found.settings and not found.divides_anew:
        told += f" {_of_the_search(found)}"
    if found.seeds > 1 and not found.divides_anew:
        shared = "All seeds share one validation set. " if of_networks(found) else ""
        told += f" {shared}Intervals are {SEEDS_ONLY}."
    if found.seeds >= SEEDS:
        level, of_three = (f"{share_of(seeds) * 100:.4g} %" for seeds in (found.seeds, SEEDS))
        told += (
            " The intervals told here are family-wise, where it is not said otherwise: they hold for all "
            f"comparisons of a question together in {level} of repetitions, and a verdict takes one that "
            "excludes 0."
        )
        if level != of_three:
            told += (
                f" With {SEEDS} seeds it is {of_three}: to add seeds is to look once more, and with each "
                "look the level is stricter, so that all looks together have few false verdicts."
            )
    return told


def _of_the_search(found: Ablation) -> str:
    """That the examples which chose the baseline judge it too."""
    chosen = f"trial {found.baseline.number} was chosen on them, which favors it over its variants."
    if of_networks(found):
        return f"The validation examples are those of the search: {chosen}"
    return f"Where the validation examples are those of the search, {chosen}"


def _part(found: Ablation) -> str:
    """tenth"""
    spec = found.record.spec
    folds = spec.folds if isinstance(spec, NetworkSpec) else 0
    return _PARTS.get(folds, f"1/{folds}")


def other_ablations(found: Ablation) -> str:
    """That there are others of the same search; empty where there are none."""
    if not found.others:
        return ""
    many = len(found.others) > 1
    which = "are ablations, too, of other trials" if many else "is an ablation, too, of another trial"
    return f"{listed(found.others)} {which} of {found.searched.name}."
