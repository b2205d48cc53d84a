"""`tune confirm`: parse, one service call, print the ranking, what follows, and what the test set said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.cli.options import JSONOption, StorageOption, StudyArgument, print_json, storage_url
from search.cli.phrases import fraction, natural, settings
from search.cli.printing import print_table, say
from search.cli.run import Precision, beside
from search.cli.worker_flags import with_worker_options
from search.heads import accuracies_of
from search.report.words import number, percent, value
from search.space.defaults import CONFIRM_FACTOR
from search.worker.options import WorkerOptions

if TYPE_CHECKING:
    from search.analysis.confirmation import Candidate, Confirmation, Gap
    from search.records import Metric, TestEvaluation


SETTINGS = 6
"""Number of a candidate's settings that fit a line; `tune trials` has them all."""


SCORE = ""
"""Key of the study's own score among test results; the names of heads are never empty."""


TopOption = Annotated[int, typer.Option(help="Leaders that are retrained, beside the references.")]
SeedsOption = Annotated[int, typer.Option(help="Fresh seeds, the same for all.")]
EpochsOption = Annotated[
    float | None, typer.Option(help=f"Budget of each run; default: {CONFIRM_FACTOR} times the search's.")
]
WidenOption = Annotated[
    float | None,
    typer.Option(help="Factor of the leaders' channels and units: 1.25, 1.5. Costs its square."),
]
WorkersOption = Annotated[
    int | None, typer.Option(help="Local processes; default: one a core, four on a GPU.")
]
PrecisionOption = Annotated[
    Precision | None, typer.Option(help="Of each run; default: as the search decided.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("confirm")(with_worker_options(confirm, without=("engine", "address")))


def confirm(
    options: WorkerOptions,
    study: StudyArgument,
    top: TopOption = 5,
    seeds: SeedsOption = 5,
    epochs: EpochsOption = None,
    widen: WidenOption = None,
    workers: WorkersOption = None,
    precision: PrecisionOption = None,
    storage: StorageOption = None,
    json: JSONOption = False,
) -> None:
    """Retrains the leaders on fresh seeds; tests the winner.

    The leaders are ranked. The chosen run, and one run of each reference, are evaluated on the test set once.

    Stopped, it continues with the same command. `tune worker STUDY.confirm` helps from another machine. With
    more --seeds or a larger --top later, what is there is kept; with another --epochs, --widen or
    --precision a new confirmation begins, on the same seeds. These three are for networks: training code is
    confirmed with the budget of its search, and tested by its test function, if it has one.
    """
    from search.cli.progress import fetching, starting, watching

    with starting() as status:
        from search.service.confirm import ConfirmRequest
        from search.service.confirm import confirm as service

        request = ConfirmRequest(
            study=study,
            top=top,
            seeds=seeds,
            epochs=epochs,
            widen=widen,
            precision=precision,
            options=replace(options, workers=workers),
        )

        url, tell = storage_url(storage), beside(status)
        with fetching(status) as progress, watching(status) as watch:
            found, problem = service(
                request, url, watch=watch, tell=tell, progress=progress, stage=status.say
            )
    if json:
        print_json(_confirmation(found))
    else:
        _show(found)
    if problem is not None:
        raise problem


def _show(found: Confirmation) -> None:
    """The ranking, the test set's answers, and what follows from them."""
    from search.report.confirmation_sentences import sentences

    _show_candidates(found)
    first_the_chosen = sorted(found.candidates, key=lambda each: each.trial != found.chosen)
    told = [(each, evaluation) for each in first_the_chosen for evaluation in _test_evaluations(found, each)]
    if told:
        names = _tested(told[0][1], found)
        typer.echo()
        print_table(
            ("test", "of run", *names.values()),
            [
                (
                    each.reference or f"trial {each.trial}",
                    next(str(run.trial) for run in each.runs if run.trial_id == evaluation.trial_id),
                    *(_with_interval(name, evaluation, found) for name in names),
                )
                for each, evaluation in told
            ],
        )
    typer.echo()
    for sentence in sentences(found):
        say(sentence)


def over_what(found: Confirmation) -> str:
    """To follow "95 % interval"."""
    if found.scored_by_answers:
        return ""
    return " over seeds and examples" if found.over_examples else " over seeds"


def _tested(evaluation: TestEvaluation, found: Confirmation) -> dict[str, str]:
    """The columns of test results by key: of training code its metrics; of networks the score where it is not
    the accuracy, then the accuracies, of a single head one."""
    if not evaluation.pictures:
        return {name: name for name in evaluation.heads}
    score = {} if found.scored_by_answers else {SCORE: found.metric.title.removeprefix("validation ")}
    if len(evaluation.heads) == 1:
        return {**score, "mean": "accuracy"}
    return {**score, **{name: name for name in (*evaluation.heads, "joint", "mean")}}


def _show_candidates(found: Confirmation) -> None:
    """The ranking. An interval of another score than the accuracy says what it is over."""
    over = over_what(found)
    print_table(
        ("trial", "in the search", "confirmed", f"95 % interval{over}", "seeds", "", "settings"),
        [
            (
                str(each.trial),
                value(each.search_score, found.metric),
                value(each.mean, found.metric),
                _interval(each, found),
                str(len(each.runs)),
                "chosen" if each.trial == found.chosen else "dropped" if each.dropped else "",
                f"[{each.reference}]"
                if each.reference
                else settings(each.settings, found.task, limit=SETTINGS),
            )
            for each in found.candidates
        ],
        words=(5, 6),
    )


def _interval(candidate: Candidate, found: Confirmation) -> str:
    from search.report.confirmation_sentences import interval_of_mean

    if found.scored_by_answers:
        return f"{candidate.low * 100:.2f} to {candidate.high * 100:.2f}"
    return interval_of_mean(candidate, found.metric)


def _test_evaluations(found: Confirmation, candidate: Candidate) -> list[TestEvaluation]:
    runs = {run.trial_id for run in candidate.runs}
    return [evaluation for evaluation in found.test_evaluations if evaluation.trial_id in runs]


def _with_interval(name: str, evaluation: TestEvaluation, found: Confirmation) -> str:
    if not evaluation.pictures:
        return number(evaluation.heads[name])
    if name == SCORE:
        return value(found.tested(evaluation), found.metric)
    low, high = found.intervals_of(evaluation)[name]
    return f"{percent(_measured(evaluation)[name])} [{low * 100:.2f}, {high * 100:.2f}]"


def _measured(evaluation: TestEvaluation) -> dict[str, float]:
    """Accuracies of a network by head, all heads at once and their mean; the metrics of training code."""
    if not evaluation.pictures:
        return dict(evaluation.heads)
    return {**evaluation.heads, "joint": evaluation.joint, "mean": evaluation.accuracy}


def _plain(measured: float, evaluation: TestEvaluation) -> float | None:
    return fraction(measured) if evaluation.pictures else measured


def _confirmation(found: Confirmation) -> dict[str, Any]:
    from search.report.confirmation_sentences import sentences

    chosen = found.choice
    run = found.best_run
    evaluation = next(
        (
            evaluation
            for evaluation in reversed(found.test_evaluations)
            if run and evaluation.trial_id == run.trial_id
        ),
        None,
    )
    return {
        "study": found.study,
        "confirmed_in": found.confirmed_in,
        "seeds": found.seeds,
        "epochs": found.epochs,
        "widen": found.widen if found.of_networks else None,
        "chosen": found.chosen,
        "best_run": None
        if run is None
        else {"trial": run.trial, "seed": run.seed, "value": natural(run.score, found.metric)},
        "search_value": None if chosen is None else natural(chosen.search_score, found.metric),
        "confirmed_value": None if chosen is None else natural(chosen.mean, found.metric),
        "test_value": None if evaluation is None else natural(found.tested(evaluation), found.metric),
        "candidates": [_candidate(each, found) for each in found.candidates],
        "gaps": [_gap(gap, found.metric) for gap in found.gaps],
        "gaps_on_test": [_gap(gap, found.metric) for gap in found.gaps_on_test],
        "looks": [_evaluation_json(evaluation, found) for evaluation in found.test_evaluations],
        "test_attempts": [
            {
                "moment": each.moment.isoformat(),
                "candidate": _owner(each.trial_id, found),
                "reason": each.reason,
                "failure": each.failure,
            }
            for each in found.test_attempts
        ],
        "test_evaluations": None if found.evaluation_counts is None else found.evaluation_counts.total,
        "words": list(sentences(found)),
    }


def _candidate(each: Candidate, found: Confirmation) -> dict[str, Any]:
    from search.analysis.statistics import Estimate, in_values

    metric = found.metric
    mean = in_values(Estimate(value=each.mean, low=each.low, high=each.high), metric)
    return {
        "trial": each.trial,
        "reference": each.reference,
        "params": dict(each.settings),
        "search_value": natural(each.search_score, metric),
        "mean": natural(each.mean, metric),
        "low": mean.low,
        "high": mean.high,
        "dropped": each.dropped,
        "runs": [
            {
                "seed": run.seed,
                "trial": run.trial,
                "value": natural(run.score, metric),
                "validation": accuracies_of(run.report) if found.of_networks else None,
            }
            for run in each.runs
        ],
    }


def _gap(gap: Gap, metric: Metric) -> dict[str, Any]:
    from search.analysis.statistics import Estimate, in_values

    by = in_values(Estimate(value=gap.by, low=gap.low, high=gap.high), metric)
    return {
        "candidate": gap.trial,
        "chosen_less_candidate": by.value,
        "low": by.low,
        "high": by.high,
        "seeds": gap.seeds,
        "comparisons": gap.comparisons,
        "one_sided": gap.one_sided,
    }


def _owner(trial_id: int, found: Confirmation) -> int | None:
    """Number of the candidate that a run is of."""
    owners = (each.trial for each in found.candidates for run in each.runs if run.trial_id == trial_id)
    return next(owners, None)


def _evaluation_json(evaluation: TestEvaluation, found: Confirmation) -> dict[str, Any]:
    return {
        "moment": evaluation.moment.isoformat(),
        "candidate": _owner(evaluation.trial_id, found),
        "reason": evaluation.reason,
        "pictures": evaluation.pictures or None,
        "test": {name: _plain(each, evaluation) for name, each in _measured(evaluation).items()},
        "test_value": natural(found.tested(evaluation), found.metric),
        "intervals": dict(found.intervals_of(evaluation)),
    }
