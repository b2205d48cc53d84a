"""`tune studies`, `trials`, `best`: what is there, as tables for people or JSON for programs."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from json import JSONEncoder
from typing import TYPE_CHECKING, Any

import typer

from search.cli.options import (
    JSONOption,
    StorageOption,
    StudyArgument,
    print_json,
    storage_url,
    without_garbage_collection,
)
from search.cli.phrases import (
    better,
    described,
    duration,
    foreign_in_words,
    fraction,
    gained,
    hardware,
    heads,
    percent,
    settings,
)
from search.cli.printing import print_facts, print_table, say
from search.records import Failure

if TYPE_CHECKING:
    from search.analysis.confirmation import Confirmation
    from search.records import ForeignTrial, TrialRecord
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
    print_table(
        (
            *("study", "task", "trials", "complete", "pruned"),
            *(["interrupted"] if interrupted else []),
            *("failed", "running", "best trial", "accuracy"),
            *(["foreign"] if some_foreign else []),
        ),
        [
            _study_cells(row, interrupted=interrupted) + ([str(row["foreign"])] if some_foreign else [])
            for row in rows
        ],
        words=(0, 1),
    )
    for view in views:
        if view.ranking.searched is not None and view.ranking.better_reference is not None:
            say(f"{view.record.name}: {better(view.ranking.better_reference)}", err=True)


def _study_cells(row: dict[str, Any], *, interrupted: bool) -> list[str]:
    """interrupted: whether there is a column for the trials that a signal stopped."""
    if not row["made_by_tune"]:
        return [row["study"], "foreign: not made by tune", *["–"] * (8 if interrupted else 7)]
    return [
        row["study"],
        f"{row['task']} (confirms {row['confirms']})" if row["confirms"] else row["task"],
        f"{row['complete'] + row['pruned']}/{row['target_trials']}{' exhausted' * row['exhausted']}",
        str(row["complete"]),
        str(row["pruned"]),
        *([str(row["interrupted"])] if interrupted else []),
        str(row["failed"] - row["interrupted"]),
        str(row["running"]),
        "–" if row["best_trial"] is None else str(row["best_trial"]),
        percent(row["best_value"]),
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
    )
    counts = dict.fromkeys(("complete", "pruned", "failed", "interrupted", "running", "waiting"), 0)
    return {
        "study": study.name,
        **dict.fromkeys(unknown),
        **counts,
        "foreign": study.trials,
        "made_by_tune": False,
        "exhausted": False,
        "confirms": None,
        "created": None,
    }


def _study(view: StudyView) -> dict[str, Any]:
    counts, best, reference = view.counts, view.ranking.searched, view.ranking.reference
    return {
        "study": view.record.name,
        "task": view.record.spec.task,
        "target_trials": view.record.target_trials,
        "complete": counts.complete,
        "pruned": counts.pruned,
        "failed": counts.failed,
        "interrupted": counts.interrupted,
        "running": counts.running,
        "waiting": counts.waiting,
        "foreign": counts.foreign,
        "made_by_tune": True,
        "exhausted": view.record.exhausted and counts.finished < view.record.target_trials,
        "best_trial": best.number if best else None,
        "best_value": fraction(best.value) if best else None,
        "best_reference": reference.reference if reference else None,
        "best_reference_value": fraction(reference.value) if reference else None,
        "sampler": view.record.spec.sampler,
        "pruner": view.record.spec.pruner,
        "epochs": view.record.spec.epochs,
        "seed": view.record.spec.seed,
        "confirms": view.record.spec.confirms,
        "created": view.record.created.isoformat(),
    }


@without_garbage_collection()
def trials(study: StudyArgument, storage: StorageOption = None, json: JSONOption = False) -> None:
    """Lists the trials of a study, and why some failed."""
    from search.service.look import trials as service

    view = service(storage_url(storage), study)
    rows = [*(_trial(trial, view) for trial in view.trials), *map(_foreign_trial, view.foreign)]
    rows.sort(key=lambda row: row["trial"])
    if json:
        _print_long_json(rows)
        return
    what = {trial.number: _what(trial, view.record.spec.task) for trial in view.trials}
    print_table(
        ("trial", "state", "accuracy", "epochs", "time", "settings"),
        [
            (
                str(row["trial"]),
                _state(row),
                "–" if row["foreign"] else percent(row["value"]),
                f"{row['epochs']:.2f}",
                duration(row["seconds"]),
                _plain(row["params"]) if row["foreign"] else what[row["trial"]],
            )
            for row in rows
        ],
        words=(1, 5),
    )


def _state(row: dict[str, Any]) -> str:
    if row["foreign"]:
        return f"foreign ({row['foreign_state']})"
    if row["failure"] == Failure.INTERRUPTED:
        return "interrupted"
    return f"{row['state']} ({row['failure']})" if row["failure"] else str(row["state"])


def _plain(params: dict[str, Any]) -> str:
    """Parameters of another program, whose names may be any."""
    return " ".join(", ".join(f"{name} {value}" for name, value in params.items()).split())


def _what(trial: TrialRecord, task: str) -> str:
    return f"[{trial.reference}]" if trial.reference and not trial.confirming else described(trial, task)


def _print_long_json(rows: list[dict[str, Any]]) -> None:
    """A list with one row a line: ten thousand of them, indented, take Python two seconds."""
    encode = JSONEncoder(ensure_ascii=False).encode
    typer.echo("[\n  " + ",\n  ".join(map(encode, rows)) + "\n]" if rows else "[]")


def _foreign_trial(trial: ForeignTrial) -> dict[str, Any]:
    """A trial that another program added. Its value was not measured by tune, and need not be an accuracy."""
    unknown = ("parameters", "reference", "retry_of", "confirming", "failure", "failure_detail")
    return {
        "trial": trial.number,
        "state": "foreign",
        "foreign": True,
        "foreign_state": trial.state.value,
        "value": trial.value,
        "params": dict(trial.params),
        "epochs": 0.0,
        "seconds": None,
        "images": 0,
        **dict.fromkeys(unknown),
    }


def _trial(trial: TrialRecord, view: TrialsView) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state.value,
        "foreign": False,
        "foreign_state": None,
        "value": fraction(trial.value),
        "params": trial.settings,
        "epochs": trial.images / view.record.spec.epoch_images,
        "seconds": view.seconds.get(trial.trial_id),
        "images": trial.images,
        "parameters": trial.parameters,
        "reference": trial.reference,
        "retry_of": trial.retry_of,
        "confirming": asdict(trial.confirming) if trial.confirming else None,
        "failure": trial.failure.value if trial.failure else None,
        "failure_detail": trial.failure_detail,
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
    trial, point, spec = found.trial, found.point, found.view.record.spec
    if found.view.ranking.better_reference is not None:
        say(better(found.view.ranking.better_reference))
    rows = [
        ("study", f"{study} ({spec.task}), trial {trial.number}"),
        *([("confirms", _confirms(found))] if spec.confirms else []),
        *_confirmed(confirmed),
        ("accuracy", f"{percent(trial.value)} on validation ({heads(point)})"),
        ("reached", f"after {point.images:,} images ({point.images / spec.epoch_images:.1f} epochs)"),
        ("train", f"{percent(point.train.accuracy)} at that moment, in training mode"),
        ("settings", settings(trial.settings, spec.task)),
    ]
    if trial.parameters is not None:
        rows.append(("network", f"{trial.parameters:,} parameters"))
    rows += [("gain", gained(gain)) for gain in found.view.gains]
    if found.view.counts.foreign:
        rows.append(("besides", foreign_in_words(found.view.counts.foreign)))
    if found.worker is not None:
        rows.append(("trained on", f"{found.worker.host}, {hardware(found.worker.environment)}"))
    print_facts(rows)


def _confirmed(found: Confirmation | None) -> list[tuple[str, str]]:
    """The winner after a confirmation."""
    if found is None or found.choice is None:
        return []
    chosen, study = found.choice, shlex.quote(found.study)
    return [
        (
            "confirmed",
            f"trial {chosen.trial} is the winner: {found.confirmed_in} chose it with "
            f"{percent(chosen.mean)} over {len(chosen.runs)} seeds; `tune export {study}` takes its "
            "best run. What follows is the best of the search.",
        )
    ]


def _confirmed_json(found: Confirmation | None) -> dict[str, Any] | None:
    if found is None or found.choice is None or found.best_run is None:
        return None
    return {
        "confirmed_in": found.confirmed_in,
        "trial": found.choice.trial,
        "value": fraction(found.choice.mean),
        "best_run": found.best_run.trial,
    }


def _confirms(found: Best) -> str:
    name, confirming = found.view.record.spec.confirms or "", found.trial.confirming
    which = f"trial {confirming.candidate} of {name} on seed {confirming.seed}" if confirming else name
    return f"{which}; one selected seed: `tune confirm {shlex.quote(name)}` has the means"


def _reference(found: Best) -> dict[str, Any] | None:
    """The reference that is better than everything that was searched; None where none is."""
    better = found.view.ranking.better_reference
    if better is None:
        return None
    return {"reference": better.reference, "trial": better.number, "value": fraction(better.value)}


def best_json(found: Best) -> dict[str, Any]:
    """The best trial of a study, for programs."""
    trial, point = found.trial, found.point
    heads = point.validation.heads
    return {
        "study": found.view.record.name,
        "task": found.view.record.spec.task,
        "trial": trial.number,
        "value": fraction(trial.value),
        "model": trial.settings["model"],
        "parameters": trial.parameters,
        "params": dict(trial.settings),
        "validation": {
            **{name: head.accuracy for name, head in heads.items()},
            "joint": point.validation.joint,
        },
        "images": point.images,
        "reference": trial.reference,
        "confirms": found.view.record.spec.confirms,
        "better_reference": _reference(found),
        "gains": {gain.reference: gain.gain for gain in found.view.gains},
        "foreign": found.view.counts.foreign,
        "environment": dict(found.worker.environment) if found.worker else None,
    }
