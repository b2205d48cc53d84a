"""Control flow that can be read: short functions, no property that asks a database, and no block of a `with`
statement that swallows an error and continues after it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

LINES = 60
"""Of a function, from `def` to its last line: one that is longer has several purposes."""

ROOMS = ("data", "models", "search", "tune", "benchmarks")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All of them, those inside others too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def too_long(tree: ast.AST) -> list[str]:
    """Functions above the limit, with where they begin and how long they are."""
    lengths = {each: (each.end_lineno or each.lineno) - each.lineno + 1 for each in functions(tree)}
    return [f"{each.name}:{each.lineno} has {n} lines" for each, n in lengths.items() if n > LINES]


def asking_properties(tree: ast.AST) -> list[str]:
    """Properties that call a method of a store, a storage or a study. A cached one asks once."""
    found = []
    for function in functions(tree):
        if not any(ast.unparse(each) == "property" for each in function.decorator_list):
            continue
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            owners = ast.unparse(call.func).split(".")[:-1]
            if {"store", "_store", "storage", "_storage", "study", "_study"} & set(owners):
                found.append(f"{function.name}:{call.lineno} calls {ast.unparse(call.func)}")
    return found


def swallowing(tree: ast.AST) -> list[str]:
    """Context managers that catch what their block raises and do not raise: the code after the block would
    run as if all was done."""
    found = []
    for function in functions(tree):
        if not any("contextmanager" in ast.unparse(each) for each in function.decorator_list):
            continue
        for block in (node for node in ast.walk(function) if isinstance(node, ast.Try)):
            if not any(isinstance(node, ast.Yield) for each in block.body for node in ast.walk(each)):
                continue
            for handler in block.handlers:
                if not any(isinstance(node, ast.Raise) for node in ast.walk(handler)):
                    found.append(f"{function.name}:{handler.lineno}")
    return found


def breaches(look: Callable[[ast.AST], list[str]]) -> list[str]:
    """What `look` finds in any file."""
    return [
        f"{path.relative_to(ROOT)}: {found}"
        for path in FILES
        for found in look(ast.parse(path.read_text(encoding="utf-8")))
    ]


def test_a_function_has_one_purpose() -> None:
    assert breaches(too_long) == []


def test_a_property_makes_no_database_query() -> None:
    assert breaches(asking_properties) == []


def test_an_error_in_a_block_is_seen_after_it() -> None:
    assert breaches(swallowing) == []


def test_breaches_are_found() -> None:
    body = "\n".join(f"    x{n} = {n}" for n in range(LINES - 1))
    assert too_long(ast.parse(f"def whole():\n{body}")) == []
    assert too_long(ast.parse(f"def longer():\n{body}\n    y = 1")) == ["longer:1 has 61 lines"]
    hidden = (
        "class Worker:\n    @property\n    def company(self):\n        return self._context.study.trials()"
    )
    assert asking_properties(ast.parse(hidden)) == ["company:4 calls self._context.study.trials"]
    assert asking_properties(ast.parse(hidden.replace("@property", "@cached_property"))) == []
    swallows = (
        "@contextmanager\ndef trying():\n    try:\n        yield\n    except OSError as error:\n        {}"
    )
    assert swallowing(ast.parse(swallows.format("log(error)"))) == ["trying:5"]
    assert swallowing(ast.parse(swallows.format("raise Refused from error"))) == []
