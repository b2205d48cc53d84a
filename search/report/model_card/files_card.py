"""The model card of files that training code kept: what they are of, how good that is, and where from."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.analysis.ablation import Ablation
from search.analysis.confirmation import Confirmation
from search.records import Metric, Report, StudyRecord, TestEvaluation, TrialRecord
from search.report.confirmation_sentences import sentences
from search.report.markdown import plain, table
from search.report.model_card.measured import ablated
from search.report.words import amount, begun_without_result, label, metric_values, scored, value


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptFile:
    """A file of the export."""

    name: str
    """path in the export's folder"""
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FilesCardFacts:
    """All that is on the card."""

    objective: str
    """what messages call the training code: train.py:train"""
    study: StudyRecord
    """that the trial is in"""
    trial: TrialRecord
    report: Report
    """of the curve, as of which the files were kept"""
    files: Sequence[KeptFile]
    code: Mapping[str, str]
    """SHA-256 by file, of the code that the trial ran; empty: only that of all together is known"""
    test_evaluations: Sequence[TestEvaluation]
    """of this trial"""
    test_attempts: int
    """test evaluations of this trial without a result"""
    ablation: Ablation | None
    """of the search that the trial comes from; None: there is none"""
    confirmation: Confirmation | None
    """that chose this trial; None where it was the best of a search, or asked for by number"""
    seeds: Mapping[str, int]
    environment: Mapping[str, str | int]
    """where it was trained; empty if unknown"""
    versions: Mapping[str, str]
    """of what wrote the export"""
    made: datetime.datetime
    """UTC"""


def card(facts: FilesCardFacts) -> str:
    """The page."""
    parts = [
        *_head(facts),
        *_score(facts),
        *ablated(facts.ablation),
        *_settings(facts),
        *_files(facts),
        *_origin(facts),
    ]
    return "\n".join(parts) + "\n"


def _head(facts: FilesCardFacts) -> list[str]:
    study, trial, metric = facts.study, facts.trial, facts.study.spec.metric
    budget = amount(facts.report.step, study.spec)
    return [
        f"# Trial {trial.number} of {plain(study.name)}",
        "",
        f"Files that `{facts.objective}` kept after {budget} of training, with "
        f"**{scored(facts.report.score, metric)}**.",
        "",
    ]


def _score(facts: FilesCardFacts) -> list[str]:
    metric, found = facts.study.spec.metric, facts.confirmation
    measured = [("in the study", metric_values(facts.report))]
    measured += [
        (
            f"test ({plain(each.reason)}, {each.moment:%Y-%m-%d})",
            {name: value(number, Metric(name=name)) for name, number in each.heads.items()},
        )
        for each in facts.test_evaluations
    ]
    names = list(dict.fromkeys(name for _, values in measured for name in values))
    rows = [(where, *(values.get(name, "–") for name in names)) for where, values in measured]
    header = ("measured", *map(plain, names))
    lines = ["## How good it is", "", *table(header, rows, numbers=range(1, 1 + len(names))), ""]
    if found is None:
        lines.append(
            f"This trial was chosen by its {metric.title}, so this value has selection bias: expect somewhat "
            "worse on new data."
        )
    else:
        lines += sentences(found)
    if facts.test_attempts:
        lines.append(f"On the test set {begun_without_result(facts.test_attempts)}.")
    elif not facts.test_evaluations:
        lines.append("It was not evaluated on the test set.")
    return [*lines, ""]


def _settings(facts: FilesCardFacts) -> list[str]:
    rows = [(f"`{name}`", plain(label(each))) for name, each in facts.trial.settings.items()]
    return ["## Settings", "", *table(("setting", "value"), rows), ""]


def _files(facts: FilesCardFacts) -> list[str]:
    rows = [(f"`{each.name}`", f"{each.bytes:,}", f"`{each.sha256}`") for each in facts.files]
    return [
        "## Files",
        "",
        *table(("file", "bytes", "SHA-256"), rows, numbers=(1,)),
        "",
        "They are as the training code wrote them; `manifest.json` has the same checksums, and the settings "
        "to their last digit.",
        "",
    ]


def _origin(facts: FilesCardFacts) -> list[str]:
    spec = facts.study.spec
    code = [(f"`{name}`", f"`{sha256}`") for name, sha256 in facts.code.items()]
    code.append(("all together", "not recorded" if facts.trial.code is None else f"`{facts.trial.code}`"))
    environment = [(name, plain(str(each))) for name, each in facts.environment.items()]
    return [
        "## Where it comes from",
        "",
        f"Study {plain(facts.study.name)}: sampler {spec.sampler}, pruner {spec.pruner}, "
        f"{amount(spec.budget, spec)} a trial. Training code: `{facts.objective}`.",
        "",
        *table(("code", "SHA-256"), code),
        "",
        *table(("seed", ""), [(name, str(seed)) for name, seed in facts.seeds.items()], numbers=(1,)),
        "",
        *([*table(("trained with", ""), environment), ""] if environment else []),
        *table(("exported with", ""), list(facts.versions.items())),
        "",
        f"Exported on {facts.made:%Y-%m-%d at %H:%M} UTC.",
    ]
