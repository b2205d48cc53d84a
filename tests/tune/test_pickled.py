"""Functions of a notebook on their way to another process, and what of them is refused."""

from __future__ import annotations

import platform
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tune
from tune import pickled
from tune.pickled import (
    ANY_STUDY,
    UnusableFunction,
    find_function,
    load_function,
    read_header,
    write_function,
)

CELL = """
import tune

OFFSET = 0.25

def loss(x):
    return (x - OFFSET) ** 2

@tune.objective(space=tune.Space(x=tune.Float(-1, 1)), score="loss", direction="minimize", budget=1)
def train(trial):
    trial.report(1, loss=loss(trial.params["x"]), budget=train.budget)

@train.test
def test(trial):
    return {"loss": loss(trial.params["x"])}
"""


def cell(code: str = CELL) -> dict[str, Any]:
    """The names that a cell of a notebook defines."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(textwrap.dedent(code), names)
    return names


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_function(cell()["train"], tmp_path / "train.pickle")
    return tmp_path / "train.pickle"


def test_it_is_the_same_objective_with_what_it_refers_to(file: Path) -> None:
    objective = load_function(file)
    assert objective.run(x=0.5) == {"loss": pytest.approx(0.0625), "budget": 1}
    assert objective.run({"x": 0.5}, test=True)["test_loss"] == pytest.approx(0.0625)
    assert objective.space == tune.Space(x=tune.Float(-1, 1))
    assert (objective.score, objective.direction, objective.budget) == ("loss", "minimize", 1)


def test_only_its_user_may_read_it(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600


def test_it_is_found_in_the_folder_of_any_study(file: Path) -> None:
    folder = file.parent / "0001-[odd] name"
    folder.mkdir()
    file.rename(folder / file.name)
    assert find_function(file.parent / ANY_STUDY / file.name) == folder / file.name
    with pytest.raises(UnusableFunction, match=r"is not on this machine .*put the function into a file"):
        find_function(file.parent / ANY_STUDY / "other.pickle")


@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_changed_byte_is_not_run(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(UnusableFunction, match="damaged or was changed, and is not used"):
        load_function(file)


def test_a_file_cut_short_is_not_run(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UnusableFunction, match="the SHA-256 of"):
        read_header(file)


@pytest.mark.parametrize(
    ("place", "name", "value", "said"),
    [
        (
            platform,
            "node",
            lambda: "elsewhere",
            f"on {platform.node()}, and this is elsewhere: put the function",
        ),
        (pickled, "_version", lambda: "3.99", r"was pickled by Python 3\.\d+, and this is 3.99; call tune"),
        (pickled.os, "geteuid", lambda: -1, "belongs to another user, whose pickled function is not run"),
    ],
)
def test_another_machine_python_or_user_refuses_it(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    name: str,
    value: Callable[[], Any],
    said: str,
) -> None:
    monkeypatch.setattr(place, name, value)
    with pytest.raises(UnusableFunction, match=said):
        load_function(file)


def test_what_cannot_be_pickled_is_refused_with_the_reason(tmp_path: Path) -> None:
    code = CELL.replace("OFFSET = 0.25", "import threading\nOFFSET = threading.Lock()")
    with pytest.raises(UnusableFunction, match=r"train cannot be sent .*lock.*inside the function, or"):
        write_function(cell(code)["train"], tmp_path / "train.pickle")
    assert not (tmp_path / "train.pickle").exists()


def test_without_cloudpickle_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install -e '\.\[notebook\]'"):
        write_function(cell()["train"], tmp_path / "train.pickle")


def test_another_process_imports_what_its_session_could(
    start: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the process that tune starts: helpers are in a folder that the notebook added to sys.path."""
    library = tmp_path / "library"
    library.mkdir()
    (library / "helpers_of_a_notebook.py").write_text("def square(x):\n    return x * x\n")
    monkeypatch.syspath_prepend(str(library))
    names = cell(
        "import helpers_of_a_notebook\n" + CELL.replace("(x - OFFSET)", "helpers_of_a_notebook.square(x)")
    )
    write_function(names["train"], tmp_path / "train.pickle")
    parent = start(None, f"{tmp_path / 'train.pickle'}:train")
    hello = parent.hello()
    assert (hello["name"], hello["test"]) == ("train", True)
    assert hello["code"]["train"] == read_header(tmp_path / "train.pickle").source
    assert set(hello["code"]) == {"train", "library/helpers_of_a_notebook.py"}
    [(key, report), ended] = parent.trial(params={"x": 0.5}, budget=1)
    assert (key, report["metrics"]["loss"], ended) == ("report", 0.0625, ("ended", {}))
    assert parent.quit() == 0


def test_the_process_says_why_it_does_not_load_a_changed_file(start: Callable[..., Any], file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x")
    key, content = start(None, f"{file}:train").read()
    assert key == "failed"
    assert "is damaged or was changed" in content["message"]


def test_importing_tune_imports_the_standard_library_only() -> None:
    code = "import sys, tune; print(*{name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(Path(tune.__file__).parents[1])!r}); {code}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) <= {"tune", "__main__", "__mp_main__"}
