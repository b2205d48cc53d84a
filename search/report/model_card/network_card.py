"""The model card: one page of Markdown that says what a network is, how good it is, and how it came about."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from search.report.markdown import plain, table
from search.report.model_card.facts import CardFacts
from search.report.model_card.measured import (
    ablated,
    accuracy,
    columns,
    fractions,
    headline,
    titles,
    training,
)
from search.report.words import percent

_FITTING = {
    None: "An image has to be light ink on black.",
    "pad": "An image of other proportions gets borders in the mean color of its edge (`pad`).",
    "crop": "An image of other proportions loses what sticks out of its middle (`crop`).",
    "stretch": "An image of other proportions is distorted (`stretch`).",
}
"""What has to be done to an image, by how a set's images are made to fit."""


def card(facts: CardFacts) -> str:
    """The page."""
    parts = [
        *_head(facts),
        *_use(facts),
        *accuracy(facts),
        *ablated(facts.ablation),
        *_limits(facts),
        *_architecture(facts),
        *training(facts),
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
        f"On validation it scores {headline(facts)}.",
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
        names = columns(facts)
        rows8 = [
            (file, *(percent(fractions(scores)[name]) for name in names))
            for file, scores in (("`model.onnx`", before), ("`model-int8.onnx`", after))
        ]
        lines += [
            "What int8 costs, on all of validation by onnxruntime. It is smaller; whether it is also faster "
            "depends on the processor, and has to be tried.",
            "",
            *table(("file", *titles(names)), rows8, numbers=range(1, len(names) + 1)),
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


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "–"
