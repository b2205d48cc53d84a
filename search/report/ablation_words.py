"""How arms and differences of an ablation read: what the sentences, tables and figures of one share."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from statistics import fmean

from search.analysis import paired_arms
from search.analysis.ablation import BASELINE, UNREGULARIZED, Ablation, Contrast, Path
from search.analysis.ablation_arms import Arm
from search.analysis.paired_arms import Verdict
from search.analysis.statistics import Estimate
from search.records import STEP, AblationRun, Failure, Metric, NetworkSpec, StudyRecord, Value
from search.report.words import count, difference, label, upward

MOST = 0.8
"""Share of a path's gain that is most of it."""

_FAILED = {
    Failure.DIVERGED: "diverged",
    Failure.OUT_OF_MEMORY: "ran out of memory",
    Failure.TIMEOUT: "timed out",
}


def about(contrast: Contrast) -> str:
    """The setting that a contrast is about."""
    return contrast.changed[0] if contrast.changed else contrast.arm.name


def change(contrast: Contrast) -> str:
    """dropout 0.2 → 0"""
    return _change(contrast, about(contrast)) if contrast.changed else contrast.arm.name


def _change(contrast: Contrast, name: str) -> str:
    before, after = contrast.reference.settings.get(name), contrast.arm.settings.get(name)
    return f"{name} {shown(before)} → {shown(after)}"


def shown(chosen: Value | None) -> str:
    """The value of a setting; a dash where the configuration does not have it."""
    return "–" if chosen is None else label(chosen)


def besides(contrast: Contrast) -> str:
    """What else a variant has: `, at its own learning rate, 0.0188`; mostly nothing."""
    told = []
    for name in contrast.changed[1:]:
        chosen = contrast.arm.settings.get(name)
        if chosen is None:
            continue
        if name == contrast.arm.chosen:
            edge = f" (the {contrast.arm.edge} tried)" if contrast.arm.edge else ""
            told.append(f", at its own learning rate, {label(chosen)}{edge}")
        else:
            told.append(f", with {name} {label(chosen)}")
    return "".join(told)


def step_of_path(contrast: Contrast) -> str:
    """optimizer sgd → adamw, lr 0.01 → 0.003: all settings that a step of a path changes."""
    return ", ".join(_change(contrast, name) for name in contrast.changed) or contrast.arm.name


def command(record: StudyRecord, asked: Iterable[AblationRun]) -> str:
    """The command that makes an ablation with these runs, and continues it; of several paths one for each.

    asked: also the runs that choose; empty before the first is queued.
    """
    spec, runs = record.spec, list(asked)
    names = dict.fromkeys(run.arm for run in runs)
    settings = dict.fromkeys(name.split("=")[0] for name in names if "=" in name)
    plain = [name for name in names if "=" not in name and name not in (BASELINE, UNREGULARIZED)]
    references = dict.fromkeys(name.split(STEP)[0] for name in plain)
    measured = [run for run in runs if not run.chooses]
    lengths = any(run.budget != spec.budget or run.arm == UNREGULARIZED for run in measured)
    words = ["tune", "ablate", spec.ablates or "", "--trial", str(spec.baseline)]
    if not measured:
        return shlex.join(words)
    if settings:  # without --lengths it would have none
        words += ["--settings", ",".join(settings), *["--lengths"] * lengths]
    else:
        words += ["--no-lengths"] * (not lengths)
    words += ["--seeds", str(len({run.seed for run in measured}))]
    paths = [["--path", reference] for reference in references] or [[]]
    return " && ".join(shlex.join([*words, *path]) for path in paths)


def mean(arm: Arm, seeds: Sequence[int]) -> float:
    """Score over these seeds: the ones on which arms are compared."""
    return fmean(arm.scores[seed] for seed in seeds)


def training(arm: Arm, seeds: Sequence[int]) -> float | None:
    """Score on training examples over these seeds; None where it is not known."""
    some = [run.training for run in arm.runs if run.seed in seeds and run.training is not None]
    return fmean(some) if len(some) == len(seeds) else None


def errors(contrast: Contrast, metric: Metric) -> Estimate | None:
    """By which share of the reference's errors the errors change, with the family-wise interval."""
    reference = mean(contrast.reference, contrast.found.seeds)
    return paired_arms.share_of_errors(contrast.found.family, reference, metric)


def failure(arm: Arm) -> str:
    """diverged on 2 of 3 seeds"""
    reasons = {trial.failure for trial in arm.failed.values()}
    reason = reasons.pop() if len(reasons) == 1 else None
    verb = "failed" if reason is None else _FAILED.get(reason, "failed")
    return f"{verb} on {len(arm.failed)} of {count(len(arm.failed) + len(arm.runs), 'seed')}"


def most_of_path(path: Path) -> tuple[int, float] | None:
    """(steps, score): the shortest prefix of a path that gives most of its gain, and what it gives; None
    where no gain is told, by the pointwise interval of the whole path: a share of noise is none."""
    gain = path.gain
    if gain is None or gain.difference <= 0 or not gain.pointwise.excludes_zero:
        return None
    gained = 0.0
    for steps, each in enumerate(path.steps, start=1):
        gained += each.found.difference
        if gained >= MOST * gain.difference:
            return steps, gained
    return None


def of_networks(found: Ablation) -> bool:
    """Whether the search trains networks of tune's."""
    return isinstance(found.record.spec, NetworkSpec)


def size(scores: float, metric: Metric) -> str:
    """0.31 points, 0.0021: a difference without its sign."""
    return difference(abs(scores), upward(metric)).lstrip("+±")


def verdict_on_length(contrast: Contrast) -> str:
    """helps, hurts or not told apart; empty without a verdict."""
    match contrast.found.verdict:
        case Verdict.BETTER:
            return "helps"
        case Verdict.WORSE:
            return "hurts"
        case Verdict.NOT_TOLD_APART:
            return "not told apart"
    return ""


def beside_baseline(found: Ablation) -> tuple[Contrast, ...]:
    """Without regularization and augmentation, against the baseline of the same budget."""
    return tuple(each for each in found.unregularized if each.arm.name != each.reference.name)
