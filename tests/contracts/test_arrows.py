"""Who may import whom (docs/design.md, section 1): a newcomer can rely on the floors of the house."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FLOORS = {
    "search.__main__": 8,
    "search.cli": 7,
    "search.service": 6,
    "search.launchers": 5,
    "search.worker": 4,
    "search.study": 3,
    "search.space": 2,
    "search.store": 2,
    "search.report": 2,
    "data": 1,
    "models": 1,
    "search.confirmation": 1,
    "search.tasks": 2,
    "search.serve": 1,
    "search.records": 0,
    "search.errors": 0,
    "search.files": 0,
    "search.seeds": 0,
    "search.machine": 0,
    "search.redaction": 0,
    "search.filesystem": 0,
}
"""Room -> floor. A room imports from its own floor only within itself, else from floors below."""

LIBRARIES = {
    "optuna": {"search.study"},
    "sqlalchemy": {"search.store"},
    "plotly": {"search.report"},
    "typer": {"search.cli"},
    "rich": {"search.cli"},
    "torch": {"data", "models", "search.worker"},
    "PIL": {"data", "search.serve"},
    "onnx": {"models"},
    "onnxruntime": {"models", "search.serve"},
    "ray": {"search.launchers"},
}
"""Library -> the rooms that may import it."""

NOT_THE_ROOMS_BELOW = {
    "data": {*FLOORS} - {"data", "search.files"},
    "models": {*FLOORS} - {"models", "search.files"},
    "search.report": {"data", "models"},
    "search.store": {"data", "models"},
    "search.space": {"data", "models"},
}
"""Downwards, and still forbidden: data and models stand on their own, the others know only records."""

FILES = sorted(path for top in ("data", "models", "search") for path in (ROOT / top).rglob("*.py"))


def room_of(module: str) -> str | None:
    """The room that a dotted module name lives in, None for libraries."""
    parts = module.split(".")
    for name in (".".join(parts[:2]), parts[0]):
        if name in FLOORS:
            return name
    return None


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, module) of every import in a file, those inside functions too."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write the whole name"
            assert node.module is not None
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def breaches(path: Path, found: list[tuple[int, str]]) -> list[str]:
    """What is wrong with the imports of one file."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    room = room_of(module)
    if room is None:
        return [] if module.endswith("__init__") else [f"{module} lives in no known room"]
    wrong = []
    for line, name in found:
        target, library = room_of(name), name.split(".")[0]
        if library in LIBRARIES and room not in LIBRARIES[library]:
            wrong.append(f"{module}:{line} imports {library}, which belongs to {LIBRARIES[library]}")
        if target is None or target == room:
            continue
        if FLOORS[target] >= FLOORS[room] or target in NOT_THE_ROOMS_BELOW.get(room, ()):
            wrong.append(f"{module}:{line} ({room}) imports {name} ({target})")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_what_stands_below(path: Path) -> None:
    assert breaches(path, imports(path)) == []


@pytest.mark.parametrize(
    ("place", "name", "why"),
    [
        ("data/x.py", "models.network.Network", "siblings"),
        ("models/x.py", "data.tasks.base.Task", "siblings"),
        ("models/x.py", "search.records.Point", "models stands on its own"),
        ("data/x.py", "search.machine.new_worker_id", "data stands on its own, but for search.files"),
        ("search/report/x.py", "search.store.sql.SQLStore", "report knows only records"),
        ("search/store/x.py", "models.network.Network", "store knows only records"),
        ("search/worker/x.py", "search.cli.app.app", "nobody imports the cli"),
        ("search/worker/x.py", "optuna.Trial", "only study knows optuna"),
        ("search/worker/x.py", "search.launchers.local.LocalLauncher", "a worker knows no processes"),
        ("search/launchers/x.py", "torch.Tensor", "a launcher imports torch in no process but a worker's"),
        ("search/cli/x.py", "torch.Tensor", "the cli knows no tensors"),
        ("search/serve/x.py", "data.tasks.base.Task", "an exported model runs where torch is not installed"),
        ("search/serve/x.py", "search.report.numbers.wilson", "serve stands on the ground floor"),
        ("search/service/x.py", "onnxruntime.InferenceSession", "only models and serve run a file"),
    ],
)
def test_a_breach_is_found(place: str, name: str, why: str) -> None:
    assert breaches(ROOT / place, [(1, name)]), why
