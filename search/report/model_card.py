"""The model card: one page of Markdown that says what a network is, how good it is, and how it came about."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

from search.analysis.ablation import Ablation
from search.analysis.confirmation import Confirmation
from search.analysis.intervals import accuracy_intervals
from search.analysis.two_way import Intervals
from search.heads import train_of, validation_of
from search.records import (
    Direction,
    Examples,
    NetworkSpec,
    Report,
    Scores,
    StudyRecord,
    TestEvaluation,
    TrialRecord,
    Value,
)
from search.report import ablation_sentences
from search.report.ablation_table import setting_rows
from search.report.confirmation_sentences import interval_of_mean, sampled, sentences
from search.report.markdown import plain, sparkline, table
from search.report.words import begun_without_result, hardware, percent, scored, value, widened

CURVE_ROWS = 16
"""Points of a learning curve in its table; of a longer one, a subset."""


_FITTING = {
    None: "An image has to be light ink on black.",
    "pad": "An image of other proportions gets borders in the mean color of its edge (`pad`).",
    "crop": "An image of other proportions loses what sticks out of its middle (`crop`).",
    "stretch": "An image of other proportions is distorted (`stretch`).",
}
"""What has to be done to an image, by how a set's images are made to fit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRow:
    """One layer that computes something."""

    name: str
    kind: str
    output: tuple[int, ...]
    """shape for one example"""
    parameters: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting of the trial."""

    name: str
    value: Value
    meaning: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """All that is on the card."""

    title: str
    """of the task"""
    dataset: str
    """title of the dataset"""
    scope: str
    """what a network that learned from the dataset knows"""
    study: StudyRecord
    """that the trial is in"""
    spec: NetworkSpec
    """of the study"""
    trial: TrialRecord
    report: Report
    """of the curve, where the weights were taken"""
    curve: Sequence[Report]
    heads: tuple[tuple[str, int], ...]
    labels: Mapping[str, Sequence[str]]
    """names of the classes by head; a head that is not in it has numbers from 0"""
    image: tuple[int, int, int]
    fit: str | None
    """how an image of another size is made to fit; None: it shows digits, light ink on black"""
    mean: Sequence[float]
    """of the training pixels in [0, 1], a channel each; subtracted inside the network"""
    deviation: Sequence[float]
    """the same for the standard deviation"""
    numbers: int
    layers: Sequence[LayerRow]
    parameters: int
    settings: Sequence[Setting]
    differences: Mapping[str, float]
    """by file"""
    tolerance: float
    """of a logit"""
    compared: int
    """inputs that each file was compared on"""
    bytes: Mapping[str, int]
    """by file"""
    int8: tuple[Scores, Scores] | None
    """validation by the float file and by the int8 file"""
    test_evaluations: Sequence[TestEvaluation]
    """of these weights"""
    test_attempts: int
    """test evaluations of these weights without a result"""
    ablation: Ablation | None
    """of the search that the trial comes from; None: there is none"""
    confirmation: Confirmation | None
    """that chose this trial; None where it was the best of a search, or asked for by number"""
    intervals: Mapping[str, Intervals]
    """of the accuracies over examples, by split; none for a split whose single answers are not known"""
    examples: Examples
    """that the accuracies were measured on"""
    seeds: Mapping[str, int]
    environment: Mapping[str, str | int]
    """where it was trained; empty if unknown"""
    versions: Mapping[str, str]
    """of what wrote the export"""
    made: datetime.datetime
    """UTC"""


def card(facts: CardFacts) -> str:
    """The page."""
    parts = [
        *_head(facts),
        *_use(facts),
        *_accuracy(facts),
        *_ablated(facts.ablation),
        *_limits(facts),
        *_architecture(facts),
        *_training(facts),
        *_files(facts),
        *_repeating(facts),
    ]
    return "\n".join(parts) + "\n"


def _head(facts: CardFacts) -> list[str]:
    study, trial = facts.study, facts.trial
    channels, height, width = facts.image
    colors = " in red, green and blue" if channels == 3 else ""
    number = f" and a number from 0 to {facts.numbers - 1}" if facts.numbers else ""
    heads = ", ".join(f"`{name}` ({classes} classes)" for name, classes in facts.heads)
    return [
        f"# {facts.title}: trial {trial.number} of {plain(study.name)}",
        "",
        f"A {trial.settings['model']} network with {facts.parameters:,} parameters for the task "
        f"`{facts.spec.task}`: an image of {height}×{width} pixels{colors}{number} in, logits for "
        f"{heads} out. "
        f"On validation it scores {_headline(facts)}.",
        "",
    ]


def _use(facts: CardFacts) -> list[str]:
    channels, height, width = facts.image
    feed = '{"image": image, "number": number}' if facts.numbers else '{"image": image}'
    number = [f"number = np.array([{facts.numbers - 3}])  # int64 (N,)"] if facts.numbers else []
    rows = [
        (
            "in",
            "`image`",
            f"float32 (N, {channels}, {height}, {width})",
            f"pixel / 255{_meaning(facts)}. Normalization (mean {_numbers(facts.mean)}, deviation "
            f"{_numbers(facts.deviation)}) is inside the file.",
        ),
        *([("in", "`number`", "int64 (N,)", f"0 to {facts.numbers - 1}")] if facts.numbers else []),
        *(
            ("out", f"`{name}`", f"float32 (N, {classes})", "logits: the largest is the answer")
            for name, classes in facts.heads
        ),
    ]
    return [
        "## Use it",
        "",
        "With onnxruntime and numpy, nothing else (run it in this folder):",
        "",
        "```python",
        "import numpy as np",
        "import onnxruntime",
        "",
        'session = onnxruntime.InferenceSession("model.onnx")',
        f"image = np.zeros((1, {channels}, {height}, {width}), dtype=np.float32)  # your pixels / 255",
        *number,
        f"answers = session.run(None, {feed})",
        "for head, logits in zip(session.get_outputs(), answers):",
        "    print(head.name, logits.argmax(axis=1))",
        "```",
        "",
        "Or `tune predict . image.png` and `tune demo .`, which need no torch either.",
        "",
        *table(("", "name", "shape", "meaning"), rows),
        "",
        "N is any number of examples.",
        "",
        *_classes(facts),
    ]


def _meaning(facts: CardFacts) -> str:
    """What a pixel is: the end of a phrase."""
    if facts.fit is None:
        return ": light ink 1.0 on black background 0.0"
    return ", in the order red, green, blue" if facts.image[0] == 3 else ", in shades of gray"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _classes(facts: CardFacts) -> list[str]:
    """What each place of the logits stands for, where it has a name."""
    if not facts.labels:
        return []
    return [
        "The classes, in the order of the logits (the ONNX file's metadata have them as JSON, `labels`):",
        "",
        *(
            f"- `{head}`: {', '.join(f'{place} {plain(name)}' for place, name in enumerate(names))}"
            for head, names in facts.labels.items()
        ),
        "",
    ]


def _accuracy(facts: CardFacts) -> list[str]:
    spec, found = facts.spec, facts.confirmation
    names = _names(facts)
    known = facts.intervals
    rows = [
        (
            "validation",
            spec.validation_pictures,
            _fractions(validation_of(facts.report)),
            known.get("validation"),
        )
    ]
    rows += [
        (
            f"test ({plain(evaluation.reason)}, {evaluation.moment:%Y-%m-%d})",
            evaluation.pictures,
            _evaluation_fractions(evaluation),
            known.get("test"),
        )
        for evaluation in facts.test_evaluations
    ]
    lines = [
        "## How good it is",
        "",
        *table(
            ("split", "images", *_titles(names)),
            [
                (split, f"{images:,}", *_intervals(fractions, images, names, intervals))
                for split, images, fractions, intervals in rows
            ],
            numbers=range(1, 2 + len(names)),
        ),
        "",
        _on_intervals(facts),
        *_scores(facts),
    ]
    if facts.environment.get(f"precision_{facts.trial.settings['model']}") == "bfloat16":
        lines.append(
            "It was trained and scored in bfloat16; the files compute in float32 and may differ by an image "
            "or two."
        )
    if found is None:
        lines.append(
            "This trial was chosen by its validation score, so this score has selection bias: "
            "expect somewhat less on new images."
        )
    else:
        lines += _confirmed(found, facts.trial.number)
    if facts.test_attempts:
        lines.append(f"On the test set {begun_without_result(facts.test_attempts)}.")
    elif not facts.test_evaluations:
        lines.append("These weights were not evaluated on the test set.")
    return [*lines, ""]


def _headline(facts: CardFacts) -> str:
    """97.80 % (mean of the heads): the score in bold, and what it is of."""
    metric, several = facts.spec.metric, " (mean of the heads)" if len(facts.heads) > 1 else ""
    accuracy = f"**{percent(validation_of(facts.report).accuracy)}**{several}"
    if facts.spec.scored_by_answers:
        return accuracy
    title = metric.title.removeprefix("validation ")
    return f"{title} **{value(facts.report.score, metric)}**{several}; its accuracy is {accuracy}"


def _names(facts: CardFacts) -> list[str]:
    """Keys of the columns of accuracies: with one head there is one."""
    heads = [name for name, _ in facts.heads]
    return ["mean", *heads, "joint"] if len(heads) > 1 else ["mean"]


def _titles(names: Sequence[str]) -> Sequence[str]:
    """Of these columns."""
    return ["accuracy"] if len(names) == 1 else names


def _on_intervals(facts: CardFacts) -> str:
    """What the intervals of the accuracies know."""
    if facts.examples.are == "digits":
        alike = "as if no two digits were of one hand: for other people's digits they are wider"
    else:
        alike = "as if no two images resembled each other: for images of other origin they are wider"
    joint = " `joint`: every head is right." if len(facts.heads) > 1 else ""
    return (
        f"Accuracies with 95 % intervals over {facts.examples.are} (Wilson, for as many independent answers "
        f"as vary as much; {alike}).{joint}"
    )


def _scores(facts: CardFacts) -> list[str]:
    """What the search optimized where that is not the accuracy, and what is as good as knowing nothing."""
    metric, told = facts.spec.metric, []
    if not facts.spec.scored_by_answers:
        found = [f"on validation {value(facts.report.score, metric)}"]
        tested = [each for each in facts.test_evaluations if each.scores]
        found += [f"on test {value(metric.score_of(each.value), metric)}" for each in tested]
        title = metric.title.removeprefix("validation ")
        told.append(f"The search optimized the {title}: {', '.join(found)}, without an interval.")
    for head, (name, fraction) in facts.examples.majority.items():
        of_head = f" for `{head}`" if len(facts.heads) > 1 else ""
        told.append(
            f"Always answering {plain(name)}{of_head}, the most frequent class of validation, would be right "
            f"on {percent(fraction)}."
        )
    return told


def _confirmed(found: Confirmation, trial: int) -> list[str]:
    candidate = found.choice
    assert candidate is not None, "its best run is what this card is about"
    worse = "less" if found.metric.direction is Direction.MAXIMIZE else "more"
    mean = f"{percent(candidate.mean)} on validation"
    between = f", 95 % interval {percent(candidate.low)} to {percent(candidate.high)}"
    if not found.scored_by_answers:
        mean = scored(candidate.mean, found.metric)
        between = f", 95 % interval {interval_of_mean(candidate, found.metric)}, {sampled(candidate)}"
        between = between if candidate.has_interval else ""
    return [
        f"Its settings are those of trial {candidate.trial} of {plain(found.study)}{widened(found.widen)}, "
        f"which were retrained on {len(candidate.runs)} fresh seeds: {mean} on average{between}. Of these, "
        f"trial {trial} of {plain(found.confirmed_in)} scored best: expect the mean, and rather a little "
        f"{worse} where it is the best of several.",
        *sentences(found),
    ]


def _ablated(found: Ablation | None) -> list[str]:
    """Which settings mattered, where that was measured."""
    if found is None:
        return []
    lines = ["## What mattered", ""]
    lines += [f"- {_with_plain_names(sentence, found)}" for sentence in ablation_sentences.sentences(found)]
    header, rows = setting_rows(found)
    if rows:
        cells = [tuple(plain(cell) if not place else cell for place, cell in enumerate(row)) for row in rows]
        lines += ["", *table(header, cells, numbers=range(1, len(header)))]
    return [*lines, ""]


def _with_plain_names(sentence: str, found: Ablation) -> str:
    """The sentence, its study names escaped outside of commands."""
    parts = sentence.split("`")
    for name in dict.fromkeys((*found.others, found.record.name, found.searched.name)):
        parts = [part if place % 2 else part.replace(name, plain(name)) for place, part in enumerate(parts)]
    return "`".join(parts)


def _limits(facts: CardFacts) -> list[str]:
    other = "no digit" if facts.fit is None else "none of these"
    return [
        "## What it must not be used for",
        "",
        f"- {facts.scope}",
        f"- It has no class for *{other}*: it answers anything, a blank image and a cat too, often with a "
        "high probability. Its probabilities are not calibrated.",
        "- Nothing that matters to a person (money, grades, health, identity) may hang on its answer.",
        f"- {_FITTING[facts.fit]} `tune predict` sees to it; your own program must do it itself.",
        "",
    ]


def _architecture(facts: CardFacts) -> list[str]:
    total = sum(row.parameters for row in facts.layers)
    rows = [("input", "image", _shape(facts.image), "")]
    rows += [(f"`{row.name}`", row.kind, _shape(row.output), f"{row.parameters:,}") for row in facts.layers]
    rows.append(("", "**all**", "", f"**{total:,}**"))
    heads = " + ".join(f"{classes} for `{name}`" for name, classes in facts.heads)
    return [
        "## Architecture",
        "",
        *table(("layer", "kind", "output of one example", "parameters"), rows, numbers=(2, 3)),
        "",
        f"The last layer holds all heads side by side: {heads}."
        + (
            " `ConcatLinear` is a linear layer over the image's features and those of the number."
            if facts.numbers
            else ""
        ),
        "",
    ]


def _training(facts: CardFacts) -> list[str]:
    spec, curve = facts.spec, list(facts.curve)
    every = max(1, math.ceil(len(curve) / CURVE_ROWS))
    shown = [each for i, each in enumerate(curve) if i % every == 0 or each in (curve[-1], facts.report)]
    accuracies = [validation_of(each).accuracy for each in curve]
    rows = [_row(each, spec, taken=each == facts.report) for each in shown]
    machine = f" on {hardware(facts.environment)}" if facts.environment else ""
    return [
        "## How it was trained",
        "",
        *table(
            ("setting", "value", "meaning"),
            [(f"`{each.name}`", _value(each.value), each.meaning) for each in facts.settings],
        ),
        "",
        f"{curve[-1].step:,} training images in {curve[-1].seconds:,.0f} s{machine}. Validation "
        "accuracy: "
        f"{sparkline(accuracies)} "
        f"({percent(accuracies[0])} to {percent(accuracies[-1])})",
        "",
        *table(
            ("images", "epoch", "loss, train", "loss, validation", "accuracy, train", "accuracy, validation"),
            rows,
            numbers=range(6),
        ),
        "",
        "Train is measured while training, with dropout and augmentation; in bold, where the weights were "
        "taken.",
        "",
    ]


def _row(report: Report, spec: NetworkSpec, *, taken: bool) -> tuple[str, ...]:
    """Of the learning curve. taken: whether the weights are those of this report."""
    train, validation = train_of(report), validation_of(report)
    accuracy = percent(validation.accuracy)
    return (
        f"{report.step:,}",
        f"{report.step / spec.epoch_images:.2f}",
        f"{train.loss:.4f}",
        f"{validation.loss:.4f}",
        percent(train.accuracy),
        f"**{accuracy}**" if taken else accuracy,
    )


def _files(facts: CardFacts) -> list[str]:
    meaning = {
        "model.onnx": "ONNX, for onnxruntime and many others",
        "model-int8.onnx": "the same with eight-bit arithmetic",
        "model.pt2": "`torch.export.load`",
        "model.safetensors": "the weights; with `config.json` they rebuild the network",
        "config.json": "task, inputs, outputs, and the network's settings",
    }
    rows = [
        (
            f"`{name}`",
            f"{size:,}",
            f"{facts.differences[name]:.1e}" if name in facts.differences else "",
            meaning.get(name, ""),
        )
        for name, size in facts.bytes.items()
    ]
    lines = [
        "## Files",
        "",
        *table(("file", "bytes", "largest difference", ""), rows, numbers=(1, 2)),
        "",
        f"Those with a difference were loaded again and compared with the trained network on "
        f"{facts.compared:,} inputs in batches of several sizes. The difference is that of a logit, and may "
        f"be {facts.tolerance:g}. `manifest.json` has the SHA-256 of every file; `tune predict` and `tune "
        "demo` refuse a folder that does not match it.",
        "",
    ]
    if facts.int8 is not None:
        before, after = facts.int8
        names = _names(facts)
        rows8 = [
            (file, *(percent(_fractions(scores)[name]) for name in names))
            for file, scores in (("`model.onnx`", before), ("`model-int8.onnx`", after))
        ]
        lines += [
            "What int8 costs, on all of validation by onnxruntime. It is smaller; whether it is also faster "
            "depends on the processor, and has to be tried.",
            "",
            *table(("file", *_titles(names)), rows8, numbers=range(1, len(names) + 1)),
            "",
        ]
    return lines


def _repeating(facts: CardFacts) -> list[str]:
    study, trial = facts.study, facts.trial
    return [
        "## Where it comes from",
        "",
        "Retrain it, and see whether every number comes out the same, from the database it is in:"
        if facts.environment.get("device", "cpu") == "cpu"
        else "Retrain it, from the database it is in (on the CPU, whose numbers differ from a GPU's):",
        "",
        "```sh",
        f"tune repeat {quote(study.name)} --trial {trial.number}",
        f"tune export {quote(study.name)} --trial {trial.number} --out DIR",
        "```",
        "",
        f"Study {plain(study.name)}: sampler {facts.spec.sampler}, pruner {facts.spec.pruner}, "
        f"{facts.spec.epochs:g} epochs a trial. Data: {facts.dataset}, the files with these SHA-256:",
        "",
        *table(("file", "SHA-256"), [(name, f"`{sha}`") for name, sha in facts.spec.checksums.items()]),
        "",
        *table(("seed", ""), [(name, str(seed)) for name, seed in facts.seeds.items()], numbers=(1,)),
        "",
        *(
            [
                *table(
                    ("trained with", ""), [(name, str(value)) for name, value in facts.environment.items()]
                ),
                "",
            ]
            if facts.environment
            else ["Where it was trained is not known.", ""]
        ),
        *table(("exported with", ""), list(facts.versions.items())),
        "",
        f"Exported on {facts.made:%Y-%m-%d at %H:%M} UTC. `manifest.json` has the settings to their last "
        "digit.",
    ]


def _fractions(scores: Scores) -> dict[str, float]:
    heads = {name: head.accuracy for name, head in scores.heads.items()}
    return {"mean": scores.accuracy, **heads, "joint": scores.joint}


def _evaluation_fractions(evaluation: TestEvaluation) -> dict[str, float]:
    return {"mean": evaluation.accuracy, **evaluation.heads, "joint": evaluation.joint}


def _intervals(
    fractions: Mapping[str, float], n: int, names: Sequence[str], known: Intervals | None
) -> list[str]:
    heads = {name: fraction for name, fraction in fractions.items() if name not in ("mean", "joint")}
    intervals = known or accuracy_intervals(heads, fractions["joint"], n)
    return [
        f"{percent(fractions[name])} [{intervals[name][0] * 100:.2f}, {intervals[name][1] * 100:.2f}]"
        for name in names
    ]


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "–"


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
