"""Who may import whom (docs/design.md, section 1): a newcomer can rely on the layers of the packages."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LAYERS = {
    "search.__main__": 10,
    "search.cli": 9,
    "search.service": 8,
    "search.launchers": 7,
    "search.worker": 6,
    "search.objectives": 5,
    "search.study": 4,
    "search.optuna_db": 3,
    "search.space": 2,
    "search.store": 2,
    "search.report": 2,
    "data": 1,
    "models": 1,
    "search.analysis": 1,
    "search.tasks": 2,
    "search.serve": 1,
    "models.gpus": 0,
    "data.images": 0,
    "search.heads": 0,
    "search.errors": 0,
    "search.files": 0,
    "search.seeds": 0,
    "search.machine": 0,
    "search.redaction": 0,
    "search.import_path": 0,
    "search.filesystem": 0,
    "search.records": -1,
    "tune": -2,
}
"""Package -> layer. A package imports from lower layers, and from its own layer only itself. Single modules
that lie below their package count as packages."""

NETWORKS = {"data", "data.images", "models"}
"""What only the built-in objective is about."""

LIBRARIES = {
    "optuna": {"search.study", "search.optuna_db", "search.service.dashboard_storage"},
    "sqlalchemy": {"search.store", "search.optuna_db"},
    "plotly": {"search.report"},
    "typer": {"search.cli"},
    "rich": {"search.cli"},
    "torch": {"data", "models", "models.gpus", "search.objectives"},
    "PIL": {"data", "data.images", "search.serve"},
    "onnx": {"models"},
    "onnxruntime": {"models", "search.serve"},
    "ray": {"search.launchers"},
}
"""Library -> the packages that may import it, or single modules: the dashboard reads Optuna's own storage."""

NOT_THE_LAYERS_BELOW = {
    "data": {*LAYERS} - {"data", "data.images", "search.files"},
    "models": {*LAYERS} - {"models", "models.gpus", "search.files"},
    "search.worker": NETWORKS,
    "search.report": {*NETWORKS, "models.gpus"},
    "search.store": {*NETWORKS, "models.gpus", "search.analysis"},
    "search.space": {*NETWORKS, "models.gpus", "search.analysis"},
    "search.optuna_db": {
        *NETWORKS,
        "models.gpus",
        "search.analysis",
        "search.space",
        "search.report",
        "search.serve",
    },
}
"""Downwards, and still forbidden: data and models stand on their own, a worker does not know what its trials
do, the others know only records."""

IMPORTED_BY = {"search.report": {"search.service", "search.cli"}}
"""Package -> the only packages that may import it: pages and sentences decide nothing that a worker needs."""

_TOLD = re.compile(r"(-?\d+) +((?:\S+/\S*(?: · )?)+)")
"""A line of the table of packages in docs/design.md."""

FILES = sorted(path for top in ("data", "models", "search", "tune") for path in (ROOT / top).rglob("*.py"))


def package_of(module: str) -> str | None:
    """The package that a module is in, by its dotted name; None for libraries."""
    parts = module.split(".")
    for name in (".".join(parts[:2]), parts[0]):
        if name in LAYERS:
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
    package = package_of(module)
    if package is None:
        return [] if module.endswith("__init__") else [f"{module} is in no known package"]
    wrong = []
    for line, name in found:
        target, library = package_of(name), name.split(".")[0]
        if library in LIBRARIES and not {package, module} & LIBRARIES[library]:
            wrong.append(f"{module}:{line} imports {library}, which belongs to {LIBRARIES[library]}")
        if target is None or target == package:
            continue
        closed = package not in IMPORTED_BY.get(target, {package})
        if closed or LAYERS[target] >= LAYERS[package] or target in NOT_THE_LAYERS_BELOW.get(package, ()):
            wrong.append(f"{module}:{line} ({package}) imports {name} ({target})")
    return wrong


def test_the_design_tells_the_same_layers() -> None:
    page = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    table = page.split("The packages by layer")[1].split("```")[1]
    lines = [found for line in table.splitlines() if (found := _TOLD.match(line))]
    places = [(place.strip("/ "), int(found[1])) for found in lines for place in found[2].split(" · ")]
    told = {(package_of(place.replace("/", ".")), layer) for place, layer in places}
    assert told == {(package, layer) for package, layer in LAYERS.items() if package != "search.__main__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_what_stands_below(path: Path) -> None:
    assert breaches(path, imports(path)) == []


@pytest.mark.parametrize(
    ("place", "name", "why"),
    [
        ("data/x.py", "models.network.Network", "siblings"),
        ("models/x.py", "data.tasks.base.Task", "siblings"),
        ("models/x.py", "search.records.Report", "models stands on its own"),
        ("data/x.py", "search.machine.new_worker_id", "data stands on its own, but for search.files"),
        ("search/report/x.py", "search.store.sql.SQLStore", "report knows only records"),
        ("search/store/x.py", "models.network.Network", "store knows only records"),
        ("search/worker/x.py", "search.cli.app.app", "nobody imports the cli"),
        ("search/worker/x.py", "torch.Tensor", "what a trial does is its objective's business"),
        ("search/worker/x.py", "models.network.Network", "what a trial does is its objective's business"),
        ("search/worker/x.py", "data.tasks.base.Task", "what a trial does is its objective's business"),
        ("search/objectives/x.py", "search.worker.context.WorkerContext", "an objective knows no workers"),
        ("search/study/x.py", "search.objectives.base.Work", "a study stands below what its trials do"),
        ("search/worker/x.py", "search.report.page.page", "a worker writes no pages"),
        ("search/analysis/x.py", "search.report.words.percent", "what decides is not written down there"),
        ("search/store/x.py", "search.analysis.racing.in_vain", "store knows only records"),
        ("search/worker/x.py", "optuna.Trial", "only study and optuna_db know optuna"),
        ("search/service/x.py", "optuna.storages.RDBStorage", "but what the dashboard reads"),
        ("search/store/x.py", "search.optuna_db.optuna_tables", "tune's tables stand below Optuna's"),
        ("search/study/x.py", "sqlalchemy.select", "study writes no SQL"),
        ("search/worker/x.py", "search.launchers.local.LocalLauncher", "a worker knows no processes"),
        ("search/launchers/x.py", "torch.Tensor", "a launcher imports torch in no process but a worker's"),
        ("search/cli/x.py", "torch.Tensor", "the cli knows no tensors"),
        ("search/serve/x.py", "data.tasks.base.Task", "an exported model runs where torch is not installed"),
        ("search/serve/x.py", "search.analysis.intervals.wilson", "serve and analysis are in one layer"),
        ("search/service/x.py", "onnxruntime.InferenceSession", "only models and serve run a file"),
        ("tune/x.py", "search.errors.UsageError", "the interpreters of users import tune alone"),
    ],
)
def test_a_breach_is_found(place: str, name: str, why: str) -> None:
    assert breaches(ROOT / place, [(1, name)]), why


OPTUNAS = ("optuna", "optuna_dashboard")


def private_names_of_optuna(tree: ast.Module) -> list[str]:
    """Where a module names what Optuna has for itself: a private module, or a private attribute of an object
    that is neither the module's own nor `self`. Only modules that import Optuna hold such objects."""
    found, imports_optuna = [], False
    own = {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] in OPTUNAS:
                imports_optuna = True
                found += [f"{node.lineno}: {name}"] if "._" in name else []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr) and node.attr not in own:
            on_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if imports_optuna and not on_self:
                found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize(
    "path",
    [
        each
        for each in (*FILES, *sorted((ROOT / "benchmarks").rglob("*.py")))
        if each.parent.name != "optuna_db"
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_one_package_alone_names_what_is_private_to_optuna(path: Path) -> None:
    assert private_names_of_optuna(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "text",
    [
        "from optuna.storages._rdb import models",
        "from optuna.samplers._tpe.sampler import default_gamma",
        "import optuna_dashboard._app",
        "import optuna\nprint(optuna.create_study()._storage)",
        "from optuna import Trial\ndef f(trial: Trial) -> int:\n    return trial._trial_id",
    ],
)
def test_a_private_name_is_found(text: str) -> None:
    assert private_names_of_optuna(ast.parse(text))


@pytest.mark.parametrize("path", sorted((ROOT / "tune").rglob("*.py")), ids=lambda path: path.name)
def test_what_users_import_runs_on_their_interpreters(path: Path) -> None:
    """Python 3.9, and nothing installed: the standard library and `tune` itself."""
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    found = {name.split(".")[0] for _, name in imports(path)}
    assert found <= {*sys.stdlib_module_names, "tune"}
    assert (ROOT / "tune" / "py.typed").exists()
