"""`tune ablate`: parse, one service call, print the differences and what they answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.analysis.statistics import in_values
from search.cli.options import JSONOption, StorageOption, StudyArgument, print_json, storage_url
from search.cli.phrases import natural, task_of
from search.cli.printing import print_table, say
from search.cli.run import beside
from search.cli.worker_flags import with_worker_options
from search.records import short_arm
from search.report.words import amount, count, duration
from search.service.output import may_write, write
from search.worker.options import WorkerOptions

if TYPE_CHECKING:
    from search.analysis.ablation import Ablation, Contrast
    from search.analysis.ablation import Path as AblationPath
    from search.analysis.ablation_arms import Arm
    from search.analysis.statistics import Estimate
    from search.records import Metric
    from search.service.ablate import Planned

TrialOption = Annotated[
    int | None,
    typer.Option("--trial", help="Trial that is changed; default: the confirmed one, else the winner."),
]
SettingsOption = Annotated[
    str | None,
    typer.Option(
        "--settings", help="Settings to change: optimizer,dropout,… or all.", show_default="the main ones"
    ),
]
SeedsOption = Annotated[int, typer.Option(help="Fresh seeds for each arm, also those of earlier calls.")]
LengthsOption = Annotated[
    bool | None,
    typer.Option(
        "--lengths/--no-lengths",
        help="Also train the winner for shorter and longer; default: unless --settings names some.",
        show_default=False,
    ),
]
PathOption = Annotated[
    str | None,
    typer.Option("--path", help="Reference from which to go to the winner, change by change."),
]
ListOption = Annotated[bool, typer.Option("--list", help="Print the plan and its cost; train nothing.")]
OutOption = Annotated[Path | None, typer.Option(help="HTML file to write.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Write over a file that exists.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Also a plan of more than a day.")]
WorkersOption = Annotated[
    int | None, typer.Option(help="Local processes; default: one a core, four on a GPU.")
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("ablate")(with_worker_options(ablate, without=("engine", "address", "target")))


def ablate(
    options: WorkerOptions,
    study: StudyArgument,
    trial: TrialOption = None,
    settings: SettingsOption = None,
    seeds: SeedsOption = 3,
    lengths: LengthsOption = None,
    path: PathOption = None,
    plan: ListOption = False,
    out: OutOption = None,
    force: ForceOption = False,
    yes: YesOption = False,
    workers: WorkersOption = None,
    storage: StorageOption = None,
    json: JSONOption = False,
) -> None:
    """Measures which settings helped, and if extra training does.

    The winner is trained beside variants that differ from it in one setting, and for shorter and longer, all
    on the same fresh seeds. Where the dataset allows it each seed holds out other training examples, so that
    nothing is judged on the examples that chose the winner. The test set is not touched.

    Stopped, it continues with the same command. Other --settings and more --seeds later keep what is there;
    arms are compared on the same seeds, so that each of them is then trained on the new ones.
    `tune worker STUDY.ablate` helps from another machine.
    """
    from search.cli.progress import fetching, starting, watching

    with starting() as status:
        from search.service.ablate import AblateRequest, planned, workers_of
        from search.service.ablate import ablate as service
        from search.study.ablation_plan import AblationRequest

        request = AblateRequest(
            study=study,
            trial=trial,
            design=AblationRequest(
                settings=None if settings is None else _names(settings),
                seeds=seeds,
                lengths=settings is None if lengths is None else lengths,
                path=path,
            ),
            yes=yes,
            options=replace(options, workers=workers),
        )
        url = storage_url(storage)
        if plan:
            _show_plan(planned(request, url), workers_of(request), json=json)
            return
        if out is not None:
            may_write(out, force=force)
        tell = beside(status)
        with fetching(status) as progress, watching(status) as watch:
            found = service(request, url, watch=watch, tell=tell, progress=progress, stage=status.say)
    if out is not None:
        _write_page(found, out, force=force)
    if json:
        print_json(ablation_json(found))
    else:
        _show(found)


def _write_page(found: Ablation, out: Path, *, force: bool) -> None:
    from search.report.ablation_page import ablation_page

    write(out, ablation_page(found), force=force)
    say(f"{out}: the ablation on one page.", err=True)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _show_plan(found: Planned, workers: int, *, json: bool) -> None:
    """What would be trained, and about how long it takes."""
    known = [each.run for each in found.plan.runs]
    arms = Counter((run.arm, run.budget, run.chooses) for run in known)
    follow = Counter((run.arm, run.budget) for run in found.plan.follow)
    if json:
        print_json(
            {
                "study": found.name,
                "ablates": found.searched.name,
                "baseline": found.baseline.number,
                "runs": len(known),
                "done": found.done,
                "seconds_of_one_worker": found.seconds,
                "arms": [
                    {"arm": arm, "budget": budget, "chooses": chooses, "seeds": seeds}
                    for (arm, budget, chooses), seeds in arms.items()
                ],
                "follow": [
                    {"arm": arm, "budget": budget, "seeds": seeds} for (arm, budget), seeds in follow.items()
                ],
            }
        )
        return
    print_table(
        ("arm", "trained for", "seeds", ""),
        [
            (short_arm(arm), amount(budget, found.spec), str(seeds), "to choose" if chooses else "")
            for (arm, budget, chooses), seeds in arms.items()
        ]
        + [
            (short_arm(arm), amount(budget, found.spec), str(seeds), "follows")
            for (arm, budget), seeds in follow.items()
        ],
        words=(0, 3),
    )
    typer.echo()
    more = ""
    if follow:
        steps = sum(run.budget for run in found.plan.follow)
        one = follow.total() == 1
        more = (
            f" {count(follow.total(), 'run')} of {amount(steps, found.spec)} follow{'s' * one}: their "
            "settings are known when those that choose are finished."
        )
    say(
        f"{count(len(known), 'run')} of {amount(sum(run.budget for run in known), found.spec)} in all, "
        f"{found.done:,} of them finished, in the study {found.name}; the baseline is trial "
        f"{found.baseline.number} of {found.searched.name}.{more}"
    )
    if found.seconds is not None:
        say(
            f"What is left takes {count(workers, 'worker')} about {duration(found.seconds / workers)} at the "
            "speed that the baseline had in the search; wider networks take longer."
        )


def _show(found: Ablation) -> None:
    """The differences, and what they answer."""
    from search.report.ablation_sentences import sentences
    from search.report.ablation_table import length_rows, path_rows, setting_rows

    paths = [path_rows(path, found.metric) for path in found.paths]
    for header, rows in (setting_rows(found), length_rows(found), *paths):
        if rows:
            print_table(header, rows)
            typer.echo()
    for sentence in sentences(found):
        say(sentence)


def ablation_json(found: Ablation) -> dict[str, Any]:
    """What an ablation found, for programs. Differences are in the metric's values: arm less baseline."""
    from search.report.ablation_sentences import sentences

    metric = found.metric
    return {
        "study": found.searched.name,
        "ablated_in": found.record.name,
        "task": task_of(found.record.spec),
        "baseline": found.baseline.number,
        "metric": {"name": metric.name, "direction": metric.direction.value},
        "unit": found.record.spec.unit,
        "seeds": found.seeds,
        "finished_runs": found.finished_runs,
        "wanted": found.wanted,
        "finished": found.finished,
        "follow": list(found.follow),
        "not_compared_yet": [{"arm": arm.name, "budget": arm.budget} for arm in found.behind],
        "arms": [_arm(each, metric) for each in found.arms],
        "settings": [_contrast(each, metric) for each in found.settings],
        "lengths": [_contrast(each, metric) for each in found.lengths],
        "without_regularization": [_contrast(each, metric) for each in found.unregularized],
        "paths": [_path(path, metric) for path in found.paths],
        "words": list(sentences(found)),
    }


def _path(path: AblationPath, metric: Metric) -> dict[str, Any]:
    return {
        "reference": path.reference,
        "changes": path.changes,
        "measured": path.measured,
        "follows": path.follows,
        "failed": [arm.name for arm in path.failed],
        # No verdicts: how often they would be false in a path is not known.
        "steps": [{**_contrast(each, metric), "family": None, "verdict": None} for each in path.steps],
    }


def _arm(arm: Arm, metric: Metric) -> dict[str, Any]:
    return {
        "arm": arm.name,
        "budget": arm.budget,
        "settings": dict(arm.settings),
        "mean": natural(arm.mean, metric),
        "training": natural(arm.training, metric),
        "failed": len(arm.failed),
        "runs": [
            {
                "seed": run.seed,
                "trial": run.trial,
                "value": natural(run.score, metric),
                "training": natural(run.training, metric),
            }
            for run in arm.runs
        ],
    }


def _contrast(contrast: Contrast, metric: Metric) -> dict[str, Any]:
    found, gap = contrast.found, contrast.gap
    return {
        "arm": contrast.arm.name,
        "budget": contrast.arm.budget,
        "reference": contrast.reference.name,
        "reference_budget": contrast.reference.budget,
        "changed": {
            name: [contrast.reference.settings.get(name), contrast.arm.settings.get(name)]
            for name in contrast.changed
        },
        "seeds": len(found.seeds),
        "difference": metric.value_of(found.difference) + 0.0,  # no -0.0
        "pointwise": _interval(found.pointwise, metric),
        "family": _interval(found.family, metric),
        "verdict": None if found.verdict is None else found.verdict.value,
        "no_interval": None if found.no_interval is None else found.no_interval.value,
        "training_difference": None if gap is None else metric.value_of(gap.train.value),
        "gap_difference": None if gap is None else gap.gap.value + 0.0,
        "gap_pointwise": None if gap is None or gap.gap.low is None else [gap.gap.low, gap.gap.high],
    }


def _interval(estimate: Estimate, metric: Metric) -> list[float] | None:
    found = in_values(estimate, metric)
    return None if found.low is None or found.high is None else [found.low, found.high]
