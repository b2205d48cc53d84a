"""Gathers a study into one page and writes it, whole or not at all."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.analysis.effects import FAMILY, Setting
from search.analysis.ranking import origin, so_far
from search.errors import ConfigError, TuneError, UsageError
from search.heads import validation_of
from search.records import NetworkSpec, StudyRecord, StudySpec, TrialRecord
from search.report import ablation_words
from search.report.one_study.material import Material
from search.report.words import label
from search.service.data import load_data
from search.service.look import WholeStudy, precision_of, whole_study_in
from search.service.output import may_write, write
from search.service.read_ablation import foremost
from search.service.read_confirmation import answers_of, confirmation_in
from search.space.defaults import BY_NAME, FAMILIES, default_space
from search.space.file import space_entries, space_toml
from search.space.spec import space_of_spec
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.exploration import is_exploration_trial
from search.study.grid import idle_settings
from search.study.reading import Reading, open_reading
from search.study.revisions import Revisions
from search.tasks import examples_of, known_task, same_data, task_named
from tune.conditions import OneOf, Test
from tune.space import Choice, Fixed, Float, Int, in_words

if TYPE_CHECKING:  # torch takes a second to import
    from search.analysis.mistakes import Mistakes


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A page on disk."""

    path: Path
    bytes: int
    notes: tuple[str, ...]
    """what the page had to do without"""


def report(storage_url: str, name: str, out: Path, *, force: bool) -> Written:
    """Writes the page on a study.

    Raises UsageError for an unknown study, a file that exists (unless `force`) or a place that cannot be
    written, TuneError for a study without a single report.
    """
    from search.report.one_study.study_page import study_page

    may_write(out, force=force)
    material = gather(storage_url, name)
    size = write(out, study_page(material), force=force)
    notes = (material.mistakes,) if isinstance(material.mistakes, str) else ()
    return Written(path=out, bytes=size, notes=notes)


def figures(storage_url: str, name: str, *, only: str | None = None) -> dict[str, dict[str, Any]]:
    """The figures of the page by name, each as `data` and `layout` of Plotly.

    only: the name of the one that is wanted. Raises as `gather`, and UsageError where there is none of it.
    """
    from search.report.one_study.study_charts import charts, lacking

    material = gather(storage_url, name, with_mistakes=False)
    found = charts(material)
    if only is None:
        return found
    if only not in found:
        raise UsageError(lacking(material, only))
    return {only: found[only]}


def gather(storage_url: str, name: str, *, with_mistakes: bool = True) -> Material:
    """All that the page is made of. with_mistakes: whether to run the winner's weights, which takes torch.

    Raises UsageError for an unknown study, TuneError for one without a single report.
    """
    with open_reading(storage_url) as storage:
        return _gather(storage, name, with_mistakes=with_mistakes)


def _gather(storage: Reading, name: str, *, with_mistakes: bool) -> Material:
    whole = whole_study_in(storage, name)
    record, spec = whole.record, whole.record.spec
    best = so_far(whole.trials).foremost
    if best is None or best.trial_id not in whole.curves:
        raise TuneError(
            f"Nothing can be reported of the study {name} yet, no trial has come to a result; "
            f"`tune run` or `tune worker {shlex.quote(name)}` continues."
        )
    networks = isinstance(spec, NetworkSpec)
    return Material(
        study=record,
        trials=whole.trials,
        counts=whole.counts,
        curves=whole.curves,
        seconds=whole.seconds,
        workers=tuple(whole.workers.values()),
        settings=searched(record),
        without_effect=idle_settings(spec),
        exploration_trials=drawn(record, whole.trials),
        budget=EvaluationSchedule.of(spec).total,
        mistakes=_mistakes(storage, whole, spec) if isinstance(spec, NetworkSpec) and with_mistakes else None,
        confirmation=confirmation_in(storage, record),
        ablation=foremost(storage, record),
        answers=answers_of(storage, record, best.trial_id, "validation") if networks else None,
        command=command_of(record, whole.trials),
        space=space_toml(spec.space) if networks else space_in_words(spec),
        moment=datetime.datetime.now(datetime.UTC),
        version=version("tune"),
        examples=examples_of(spec),
    )


def space_in_words(spec: StudySpec) -> str:
    """A setting a line: `friction: a number from 0.001 to 1, on a logarithmic scale`."""
    lines = []
    for name, domain in space_of_spec(spec).domains.items():
        told = f"{name}: {in_words(domain)}"
        if isinstance(domain, Int | Float) and domain.log:
            told += ", on a logarithmic scale"
        if isinstance(domain, Int) and domain.step != 1:
            told += f", in steps of {domain.step}"
        if domain.when:
            told += f", when {' and '.join(_condition(each, tests) for each, tests in domain.when.items())}"
        lines.append(told)
    return "\n".join(lines)


def _condition(name: str, conditions: Sequence[Test]) -> str:
    told = [
        " or ".join(map(label, each.options)) if isinstance(each, OneOf) else str(each) for each in conditions
    ]
    return f"{name} is {' and '.join(told)}"


def searched(record: StudyRecord) -> tuple[Setting, ...]:
    """The settings that the study searches, in the order of the space; those without effect left out."""
    space, networks = space_of_spec(record.spec), isinstance(record.spec, NetworkSpec)
    idle = idle_settings(record.spec)
    found = []
    for name, domain in space.domains.items():
        if isinstance(domain, Fixed) or name in idle:
            continue
        options = domain.options if isinstance(domain, Choice) else ()
        found.append(
            Setting(
                name=name,
                meaning=BY_NAME[name].meaning if networks else name,
                ordered=not any(isinstance(option, str | bool) for option in options),
                log=isinstance(domain, Int | Float) and domain.log,
            )
        )
    return tuple(found)


def drawn(record: StudyRecord, trials: Sequence[TrialRecord]) -> frozenset[int]:
    """Numbers of the exploration trials of the present search space; a repetition has those of its origin.

    Those of an earlier space are no sample of the present one: beside an option that came with a wider range
    the range looks like the option's effect. None of a confirmation's or an ablation's: all their settings
    were given.
    """
    spec = record.spec
    if not spec.searches:
        return frozenset()
    repeats = {trial.number: trial.retry_of for trial in trials}
    revisions = {trial.number: trial.space_revision for trial in trials}
    spaces, present = Revisions.of(spec).spaces, space_of_spec(spec)
    same = {revision for revision, space in enumerate(spaces) if space == present}
    first = {trial.number: origin(trial.number, repeats) for trial in trials}
    return frozenset(
        number
        for number, began in first.items()
        if is_exploration_trial(spec.sampler, spec.seed, began) and revisions.get(began, 0) in same
    )


def command(record: StudyRecord) -> str | None:
    """The command that makes the same study from nothing; its own space comes as a file beside it. None: a
    program made it, which knows its objective."""
    spec = record.spec
    if not isinstance(spec, NetworkSpec):
        return None
    model = spec.space.get(FAMILY)
    family = model if isinstance(model, str) else "all"
    words = ["tune", "run", "--task", spec.task, "--study", record.name, "--model", family]
    words += ["--trials", str(record.target_trials), "--epochs", f"{spec.epochs:g}", "--seed", str(spec.seed)]
    words += ["--sampler", spec.sampler, "--pruner", spec.pruner, "--precision", spec.precision]
    if not spec.scored_by_answers:
        words += ["--score", spec.score]
    families = (family,) if family in FAMILIES else FAMILIES
    usual = space_entries(default_space(families, known_task(spec.task)))
    if dict(spec.space) != usual:
        words += ["--space", "space.toml"]
    return shlex.join(words)


def command_of(record: StudyRecord, trials: Sequence[TrialRecord]) -> str | None:
    """The command that makes a study again; of a confirmation or an ablation from what it is based on."""
    if record.spec.confirms is not None:
        return _confirming(record, trials)
    if record.spec.ablates is not None:
        return ablation_words.command(record, [trial.ablation for trial in trials if trial.ablation])
    return command(record)


def _confirming(record: StudyRecord, trials: Sequence[TrialRecord]) -> str:
    """The command that makes a confirmation."""
    spec, runs = record.spec, [trial for trial in trials if trial.confirming]
    leaders = {trial.confirming.candidate for trial in runs if trial.confirming and not trial.reference}
    seeds = {trial.confirming.seed for trial in runs if trial.confirming}
    words = ["tune", "confirm", spec.confirms or "", "--top", str(len(leaders)), "--seeds", str(len(seeds))]
    if isinstance(spec, NetworkSpec):
        words += ["--epochs", f"{spec.epochs:g}", "--widen", f"{spec.widen:g}", "--precision", spec.precision]
    return shlex.join(words)


def _recorded(whole: WholeStudy, trial_id: int, step: int) -> float | None:
    """Accuracy on validation of the weights that were kept at that step; None: its report cannot be used."""
    kept = [report for report in whole.curves[trial_id] if report.step == step]
    return validation_of(kept[0]).accuracy if kept else None


def _mistakes(storage: Reading, whole: WholeStudy, spec: NetworkSpec) -> Mistakes | str:
    """What the winner's weights get wrong, else why that cannot be seen."""
    best = so_far(whole.trials).foremost
    checkpoint = None if best is None else whole.checkpoints.get(best.trial_id)
    if best is None or checkpoint is None:
        return "The winner's weights were not kept, so its mistakes cannot be shown."
    from search.objectives.network.error_analysis import mistakes
    from search.worker.best_weights import BestWeights, WeightsDamaged, WeightsMissing

    weights = BestWeights.of(storage.location, whole.record, storage.store)
    where = weights.where(checkpoint)
    try:
        content = weights.read(checkpoint)
    except WeightsMissing:
        return f"The winner's weights are not {where}; its mistakes cannot be shown."
    except WeightsDamaged:
        return f"The winner's weights {where} are damaged and were not used to show its mistakes."
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return f"The winner's weights {where} cannot be read ({reason}); its mistakes cannot be shown."
    worker = whole.workers.get(whole.trained_by.get(best.trial_id, ""))
    precision = precision_of(best, worker, whole.workers)
    try:
        dataset = load_data(task_named(spec.task).source)
        same_data(whole.record, dataset)
    except ConfigError as error:
        return f"The winner's mistakes cannot be shown: {error}"
    return mistakes(
        content,
        checkpoint,
        trial=best.number,
        task_name=spec.task,
        dataset=dataset,
        recorded=_recorded(whole, best.trial_id, checkpoint.step),
        compositions=spec.compositions,
        precision=precision,  # type: ignore[arg-type]  # as a worker noted it
    )
