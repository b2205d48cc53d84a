"""`tune studies`, `trials`, `best`: what is there, as tables for people or JSON for programs."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from json import JSONEncoder
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.cli.options import (
    JSONOption,
    StorageOption,
    StudyArgument,
    print_json,
    storage_url,
    without_garbage_collection,
)
from search.cli.phrases import described, gained, measured, natural, settings, task_of
from search.cli.printing import print_facts, print_table, say
from search.heads import accuracies_of, train_of
from search.records import Failure, NetworkSpec, short_arm
from search.report.words import (
    amount,
    better,
    code_changed,
    duration,
    foreign_in_words,
    hardware,
    percent,
    plural,
    scored,
    space_changed,
    value,
)

if TYPE_CHECKING:
    from search.analysis.confirmation import Confirmation
    from search.records import ForeignTrial, Metric, StudySpec, TrialRecord
    from search.service.look import Best, ForeignStudy, StudyView, TrialsView


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("studies")(studies)
    app.command("trials")(trials)
    app.command("best")(best)


def studies(storage: StorageOption = None, json: JSONOption = False) -> None:
    """Lists the studies of a storage."""
    from search.service.look import all_studies as service

    views, foreign = service(storage_url(storage))
    rows = [*map(_study, views), *map(_foreign_study, foreign)]
    if json:
        print_json(rows)
        return
    if not rows:
        typer.echo("No study yet; `tune run --task twodigit` makes one.", err=True)
        return
    some_foreign = any(row["foreign"] for row in rows)
    interrupted = any(row["interrupted"] for row in rows)
    outside_space = any(row["outside_space"] for row in rows)
    networks_only = all(isinstance(view.record.spec, NetworkSpec) for view in views)
    accuracies_only = all(view.record.spec.scored_by_answers for view in views)
    bests = [_best_value(row, view) for row, view in zip(rows, views, strict=False)]
    bests += ["–"] * len(foreign)
    print_table(
        (
            *("study", "task" if networks_only else "task or objective", "trials", "complete", "pruned"),
            *(["interrupted"] if interrupted else []),
            *(["not continued"] if outside_space else []),
            *("failed", "running", "best trial", "accuracy" if accuracies_only else "best value"),
            *(["foreign"] if some_foreign else []),
        ),
        [
            [
                *_study_cells(row, interrupted=interrupted, outside_space=outside_space),
                best,
                *([str(row["foreign"])] if some_foreign else []),
            ]
            for row, best in zip(rows, bests, strict=True)
        ],
        words=(0, 1),
    )
    for view in views:
        if view.ranking.searched is not None and view.ranking.better_reference is not None:
            words = better(view.ranking.better_reference, view.record.spec.metric)
            say(f"{view.record.name}: {words}", err=True)


def _best_value(row: dict[str, Any], view: StudyView) -> str:
    found, metric = row["best_value"], view.record.spec.metric
    return "–" if found is None else scored(metric.score_of(found), metric)


def _study_cells(row: dict[str, Any], *, interrupted: bool, outside_space: bool) -> list[str]:
    """All but the best value. interrupted: whether there is a column for the trials that a signal stopped;
    outside_space: and one for those that a changed search space does not continue."""
    if not row["made_by_tune"]:
        return [row["study"], "foreign: not made by tune", *["–"] * (6 + interrupted + outside_space)]
    what = row["task"] or row["objective"]
    return [
        row["study"],
        f"{what}{_based_on(row)}",
        f"{row['complete'] + row['pruned']}/{row['target_trials']}{' exhausted' * row['exhausted']}",
        str(row["complete"]),
        str(row["pruned"]),
        *([str(row["interrupted"])] if interrupted else []),
        *([str(row["outside_space"])] if outside_space else []),
        str(row["failed"] - row["interrupted"] - row["outside_space"]),
        str(row["running"]),
        "–" if row["best_trial"] is None else str(row["best_trial"]),
    ]


def _foreign_study(study: ForeignStudy) -> dict[str, Any]:
    """A study that another program made: none of its trials is tune's."""
    unknown = (
        "task",
        "target_trials",
        "best_trial",
        "best_value",
        "best_reference",
        "best_reference_value",
        "sampler",
        "pruner",
        "epochs",
        "seed",
        "objective",
        "metric",
        "unit",
        "budget",
    )
    counted = ("complete", "pruned", "failed", "interrupted", "outside_space", "running", "waiting")
    return {
        "study": study.name,
        **dict.fromkeys(unknown),
        **dict.fromkeys(counted, 0),
        "foreign": study.trials,
        "made_by_tune": False,
        "exhausted": False,
        "confirms": None,
        "ablates": None,
        "created": None,
        "space_changes": [],
    }


def _based_on(row: dict[str, Any]) -> str:
    """(confirms twodigit); empty for a search."""
    told = [f" ({verb} {row[verb]})" for verb in ("confirms", "ablates") if row[verb]]
    return "".join(told)


def _metric(metric: Metric) -> dict[str, str]:
    return {"name": metric.name, "direction": metric.direction.value}


def _objective(spec: StudySpec) -> dict[str, Any]:
    """What the trials of a study do, for programs."""
    return {
        "objective": spec.objective,
        "metric": _metric(spec.metric),
        "unit": spec.unit,
        "budget": spec.budget,
    }


def _study(view: StudyView) -> dict[str, Any]:
    counts, best, reference = view.counts, view.ranking.searched, view.ranking.reference
    spec, metric = view.record.spec, view.record.spec.metric
    return {
        "study": view.record.name,
        "task": task_of(spec),
        "target_trials": view.record.target_trials,
        "complete": counts.complete,
        "pruned": counts.pruned,
        "failed": counts.failed,
        "interrupted": counts.interrupted,
        "outside_space": counts.outside_space,
        "running": counts.running,
        "waiting": counts.waiting,
        "foreign": counts.foreign,
        "made_by_tune": True,
        "exhausted": view.record.exhausted and counts.finished < view.record.target_trials,
        "best_trial": best.number if best else None,
        "best_value": natural(best.score, metric) if best else None,
        "best_reference": reference.reference if reference else None,
        "best_reference_value": natural(reference.score, metric) if reference else None,
        "sampler": spec.sampler,
        "pruner": spec.pruner,
        "epochs": spec.epochs if isinstance(spec, NetworkSpec) else None,
        "seed": spec.seed,
        "confirms": spec.confirms,
        "ablates": spec.ablates,
        "created": view.record.created.isoformat(),
        "space_changes": [each.moment.isoformat() for each in spec.space_changes],
        **_objective(spec),
    }


@without_garbage_collection()
def trials(
    study: StudyArgument,
    log: Annotated[
        int | None,
        typer.Option(help="Print what your training code printed in this trial.", show_default=False),
    ] = None,
    storage: StorageOption = None,
    json: JSONOption = False,
) -> None:
    """Lists the trials of a study, and why some failed."""
    from search.service.look import trial_log
    from search.service.look import trials as service

    if log is not None:
        text = trial_log(storage_url(storage), study, log)
        print_json({"trial": log, "log": text}) if json else typer.echo(text, nl=False)
        return
    view = service(storage_url(storage), study)
    spec = view.record.spec
    rows = [
        *(_trial(trial, view) for trial in view.trials),
        *(_foreign_trial(trial, spec) for trial in view.foreign),
    ]
    rows.sort(key=lambda row: row["trial"])
    if json:
        _print_long_json(rows)
        return
    what = {trial.number: _what(trial, spec) for trial in view.trials}
    of_networks = isinstance(spec, NetworkSpec)
    print_table(
        (
            *("trial", "state"),
            "accuracy" if spec.scored_by_answers else spec.metric.title,
            "epochs" if of_networks else plural(spec.unit),
            *("time", "settings"),
        ),
        [
            (
                str(row["trial"]),
                _state(row),
                _value(row, spec.metric),
                f"{row['epochs']:.2f}" if of_networks else f"{row['step']:,}",
                duration(row["seconds"]),
                _plain(row["params"]) if row["foreign"] else what[row["trial"]],
            )
            for row in rows
        ],
        words=(1, 5),
    )
    _tell_failures(rows)
    for changed in filter(None, (code_changed(view.trials), space_changed(spec, view.trials))):
        typer.echo()
        say(changed)


MOST_REASONS = 20
"""Failed trials whose reasons are printed; --json has all."""


def _tell_failures(rows: list[dict[str, Any]]) -> None:
    """Why trials failed, a line for each: the last line of a traceback says it."""
    failed = [row for row in rows if row["failure_detail"] and row["failure"] != Failure.INTERRUPTED]
    if failed:
        typer.echo()
    for row in failed[:MOST_REASONS]:
        lines = [line.strip() for line in row["failure_detail"].splitlines() if line.strip()]
        how = "is not continued" if row["failure"] == Failure.OUTSIDE_SPACE else "failed"
        say(f"Trial {row['trial']} {how}: {lines[-1] if lines else row['failure']}")
    if failed[MOST_REASONS:]:
        say(f"{len(failed) - MOST_REASONS:,} more failed; --json has the reasons.")


def _value(row: dict[str, Any], metric: Metric) -> str:
    found = None if row["foreign"] else row["value"]
    return "–" if found is None else value(metric.score_of(found), metric)


def _state(row: dict[str, Any]) -> str:
    if row["foreign"]:
        return f"foreign ({row['foreign_state']})"
    if row["set_aside"] and not row["failure"]:
        return f"{row['state']}, set aside"
    if row["failure"] == Failure.INTERRUPTED:
        return "interrupted"
    if row["failure"] == Failure.OUTSIDE_SPACE:
        return f"not continued ({row['failure']})"
    return f"{row['state']} ({row['failure']})" if row["failure"] else str(row["state"])


def _plain(params: dict[str, Any]) -> str:
    """Parameters of another program, whose names may be any."""
    return " ".join(", ".join(f"{name} {value}" for name, value in params.items()).split())


def _what(trial: TrialRecord, spec: StudySpec) -> str:
    if trial.reference and not trial.confirming:
        return f"[{trial.reference}]"
    return described(trial, spec)


def _print_long_json(rows: list[dict[str, Any]]) -> None:
    """A list with one row a line: ten thousand of them, indented, take Python two seconds."""
    encode = JSONEncoder(ensure_ascii=False).encode
    typer.echo("[\n  " + ",\n  ".join(map(encode, rows)) + "\n]" if rows else "[]")


def _foreign_trial(trial: ForeignTrial, spec: StudySpec) -> dict[str, Any]:
    """A trial that another program added. Its value was not measured by tune, and need not be an accuracy."""
    of_networks = isinstance(spec, NetworkSpec)
    unknown = (
        "parameters",
        "code",
        "reference",
        "retry_of",
        "confirming",
        "ablation",
        "failure",
        "failure_detail",
        "set_aside",
    )
    return {
        "trial": trial.number,
        "state": "foreign",
        "foreign": True,
        "foreign_state": trial.state.value,
        "value": trial.value,
        "params": dict(trial.params),
        "epochs": 0.0 if of_networks else None,
        "seconds": None,
        "images": 0 if of_networks else None,
        "step": 0,
        "unit": spec.unit,
        **dict.fromkeys(unknown),
    }


def _trial(trial: TrialRecord, view: TrialsView) -> dict[str, Any]:
    spec = view.record.spec
    return {
        "trial": trial.number,
        "state": trial.state.value,
        "foreign": False,
        "foreign_state": None,
        "value": natural(trial.score, spec.metric),
        "params": trial.settings,
        "epochs": trial.step / spec.epoch_images if isinstance(spec, NetworkSpec) else None,
        "seconds": view.seconds.get(trial.trial_id),
        "images": trial.step if isinstance(spec, NetworkSpec) else None,
        "step": trial.step,
        "unit": spec.unit,
        "parameters": trial.parameters,
        "code": trial.code,
        "reference": trial.reference,
        "retry_of": trial.retry_of,
        "confirming": asdict(trial.confirming) if trial.confirming else None,
        "ablation": asdict(trial.ablation) if trial.ablation else None,
        "failure": trial.failure.value if trial.failure else None,
        "failure_detail": trial.failure_detail,
        "set_aside": trial.set_aside,
    }


def best(study: StudyArgument, storage: StorageOption = None, json: JSONOption = False) -> None:
    """Shows the best trial of a study, and its gain over references."""
    from search.service.look import best as service
    from search.service.read_confirmation import confirmation

    found = service(storage_url(storage), study)
    confirmed = confirmation(storage_url(storage), study, intervals=False)
    if json:
        print_json({**best_json(found), "confirmed": _confirmed_json(confirmed)})
        return
    trial, spec = found.trial, found.view.record.spec
    if found.view.ranking.better_reference is not None:
        say(better(found.view.ranking.better_reference, spec.metric))
    rows = [
        ("study", f"{study} ({task_of(spec) or spec.objective}), trial {trial.number}"),
        *([("confirms", _confirms(found))] if spec.confirms else []),
        *([("ablates", _ablates(found))] if spec.ablates else []),
        *_confirmed(confirmed),
        *_measured(found),
        ("settings", settings(trial.settings, task_of(spec))),
    ]
    if trial.parameters is not None:
        what = "network" if isinstance(spec, NetworkSpec) else "model"
        rows.append((what, f"{trial.parameters:,} parameters"))
    rows += [("gain", gained(gain, spec.metric)) for gain in found.view.gains]
    if found.view.counts.foreign:
        rows.append(("besides", foreign_in_words(found.view.counts.foreign)))
    if found.worker is not None:
        rows.append(("trained on", f"{found.worker.host}, {hardware(found.worker.environment)}"))
    print_facts(rows)


def _measured(found: Best) -> list[tuple[str, str]]:
    """What the best trial was measured at, and when."""
    trial, report, spec = found.trial, found.report, found.view.record.spec
    score = value(trial.score, spec.metric)
    if isinstance(spec, NetworkSpec):
        others = measured(report, spec)
        scores = [(spec.metric.title, score), ("accuracy", f"{others} on validation")]
        if spec.scored_by_answers:
            scores = [("accuracy", f"{score} on validation{f' ({others})' if others else ''}")]
        return [
            *scores,
            ("reached", f"after {report.step:,} images ({report.step / spec.epoch_images:.1f} epochs)"),
            ("train", f"{percent(train_of(report).accuracy)} at that moment, in training mode"),
        ]
    others = measured(report, spec)
    return [
        (spec.metric.title, score),
        *([("metrics", others)] if others else []),
        ("reached", f"after {amount(report.step, spec)} of {spec.budget:,}"),
    ]


def _confirmed(found: Confirmation | None) -> list[tuple[str, str]]:
    """The winner after a confirmation."""
    if found is None or found.choice is None:
        return []
    chosen, study, spec = found.choice, shlex.quote(found.study), found.search.spec
    exported = f"; `tune export {study}` takes its best run" if isinstance(spec, NetworkSpec) else ""
    outside = chosen.trial in spec.set_aside
    aside = " It is set aside, because the search space was changed." if outside else ""
    return [
        (
            "confirmed",
            f"trial {chosen.trial} is the winner: {found.confirmed_in} chose it with "
            f"{scored(chosen.mean, spec.metric)} over {len(chosen.runs)} seeds{exported}.{aside} "
            "What follows is the best of the search.",
        )
    ]


def _confirmed_json(found: Confirmation | None) -> dict[str, Any] | None:
    if found is None or found.choice is None or found.best_run is None:
        return None
    return {
        "confirmed_in": found.confirmed_in,
        "trial": found.choice.trial,
        "value": natural(found.choice.mean, found.search.spec.metric),
        "best_run": found.best_run.trial,
    }


def _confirms(found: Best) -> str:
    name, confirming = found.view.record.spec.confirms or "", found.trial.confirming
    which = f"trial {confirming.candidate} of {name} on seed {confirming.seed}" if confirming else name
    return f"{which}; one selected seed: `tune confirm {shlex.quote(name)}` has the means"


def _ablates(found: Best) -> str:
    name, run = found.view.record.spec.ablates or "", found.trial.ablation
    which = f"{short_arm(run.arm)} on seed {run.seed}" if run else name
    return f"{which}; one selected seed: `tune ablate {shlex.quote(name)}` has the differences"


def _reference(found: Best) -> dict[str, Any] | None:
    """The reference that is better than everything that was searched; None where none is."""
    better = found.view.ranking.better_reference
    if better is None:
        return None
    better_value = natural(better.score, found.view.record.spec.metric)
    return {"reference": better.reference, "trial": better.number, "value": better_value}


def best_json(found: Best) -> dict[str, Any]:
    """The best trial of a study, for programs."""
    trial, report, spec = found.trial, found.report, found.view.record.spec
    of_networks = isinstance(spec, NetworkSpec)
    return {
        "study": found.view.record.name,
        "task": task_of(spec),
        **_objective(spec),
        "trial": trial.number,
        "value": natural(trial.score, spec.metric),
        "model": trial.settings["model"] if of_networks else None,
        "parameters": trial.parameters,
        "params": dict(trial.settings),
        "validation": accuracies_of(report) if of_networks else None,
        "images": report.step if of_networks else None,
        "step": report.step,
        "metrics": dict(report.metrics),
        "reference": trial.reference,
        "confirms": spec.confirms,
        "ablates": spec.ablates,
        "better_reference": _reference(found),
        "gains": {gain.reference: gain.gain for gain in found.view.gains},
        "foreign": found.view.counts.foreign,
        "environment": dict(found.worker.environment) if found.worker else None,
    }
