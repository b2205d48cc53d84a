"""tune/serve.py, started as tune starts it, with training code that does what training code does."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tune.objectives import Objective, objective
from tune.protocol import domain_entry, failure
from tune.space import Choice, Fixed, Float, Int, Space

ROOT = Path(__file__).resolve().parents[2]
SERVE = ROOT / "tune" / "serve.py"

Start = Callable[..., Any]

THREE_REPORTS = """
@objective
def train(trial):
    for step in range(1, trial.budget + 1):
        trial.report(step, accuracy=step / 10)
"""

REPORTED = [("report", {"step": step, "metrics": {"accuracy": step / 10}}) for step in (1, 2, 3)]


def failed(messages: list[Any]) -> dict[str, str]:
    kind, content = messages[-1]
    assert kind == "failed", messages
    return content


def pythons() -> list[str]:
    """Other interpreters on this machine that could run training code; tune is installed in none of them."""
    found = [shutil.which(f"python3.{minor}") for minor in (9, 10, 12, 13, 14)]
    found += map(str, sorted(Path.home().glob(".pyenv/versions/3.*/bin/python")))
    asked = "import sys; print(sys.version_info >= (3, 9), *sys.version_info[:2])"
    versions: dict[str, str] = {}
    for python in filter(None, found):
        done = subprocess.run([python, "-c", asked], capture_output=True, text=True, timeout=60)
        if done.returncode == 0 and done.stdout.startswith("True"):
            versions.setdefault(done.stdout, python)
    return list(versions.values())


class TestHello:
    def test_it_says_what_it_is(self, start: Start, tmp_path: Path) -> None:
        (tmp_path / "helper.py").write_text("VALUE = 1\n")
        (tmp_path / "unused.py").write_text("VALUE = 2\n")
        parent = start(
            """
            import json, numpy, tune, helper
            @tune.objective(
                space=tune.Space(
                    lr=tune.Float(1e-4, 0.1, log=True),
                    depth=tune.Int(1, 9, step=2, off=1),
                    optimizer=tune.Choice(["sgd", "adam"]),
                    momentum=tune.Float(0, 0.99, when={"optimizer": "sgd", "depth": {"above": 1}}, off=0.0),
                ),
                score="loss", direction="minimize", budget=20, unit="round", checkpoints=True,
            )
            def train(trial): ...
            @train.test
            def measure(trial): return {}
            """
        )
        code = {
            name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
            for name in ("helper.py", "train.py")
        }
        assert parent.hello() == {
            "protocol": 1,
            "name": "train",
            "space": {
                "lr": {"kind": "float", "low": 0.0001, "high": 0.1, "log": True},
                "depth": {"kind": "int", "low": 1, "high": 9, "log": False, "step": 2, "off": 1},
                "optimizer": {"kind": "choice", "options": ["sgd", "adam"]},
                "momentum": {
                    "kind": "float",
                    "low": 0.0,
                    "high": 0.99,
                    "log": False,
                    "when": {"optimizer": "sgd", "depth": {"above": 1}},
                    "off": 0.0,
                },
            },
            "score": "loss",
            "direction": "minimize",
            "budget": 20,
            "unit": "round",
            "checkpoints": True,
            "test": True,
            "code": code,
        }
        assert parent.quit() == 0

    def test_a_space_is_written_so_that_it_can_be_read(self) -> None:
        domains = [
            Int(1, 8, log=True, when={"a": [1, True, "x"]}),
            Float(-1, 1, off=3.0),
            Choice([2, True, "a"], off="a"),
            Fixed(7, when={"b": {"below": 2}}),
        ]
        kinds = {"int": Int, "float": Float, "choice": Choice, "fixed": Fixed}
        for domain in domains:
            entry = json.loads(json.dumps(domain_entry(domain)))
            assert kinds[entry.pop("kind")](**entry) == domain

    @pytest.mark.parametrize("python", pythons(), ids=lambda path: Path(path).parent.parent.name)
    def test_interpreters_without_an_installation(self, python: str, start: Start) -> None:
        parent = start("import sys\n" + THREE_REPORTS + "    print(sys.version_info)\n", python=python)
        assert parent.hello()["name"] == "train"
        assert parent.trial() == [*REPORTED, ("ended", {})]
        assert parent.quit() == 0
        assert "major=3" in parent.output


class TestImport:
    @pytest.mark.parametrize(
        ("code", "message", "line"),
        [
            ("impotr torch", "SyntaxError: invalid syntax (train.py, line 5)", "impotr torch"),
            ("1 / 0", "ZeroDivisionError: division by zero", "1 / 0"),
            ("import missing_here", "ModuleNotFoundError: No module named 'missing_here'", "import missing"),
            ("tune.Float(0, 1, log=True)", "SpaceError: low must be above 0 on a", "tune.Float(0"),
            ("import sys; sys.exit(3)", "the code called sys.exit(3) while it was imported", "sys.exit(3)"),
            (
                "import argparse\nparser = argparse.ArgumentParser()\n"
                "parser.add_argument('folder')\nparser.parse_args()",
                'while it was imported; what reads the command line belongs below `if __name__',
                "parser.parse_args()",
            ),
            (
                "import sys; folder = sys.argv[1]",
                'out of range; what reads the command line belongs below `if __name__ == "__main__":`',
                "sys.argv[1]",
            ),
            ("raise KeyboardInterrupt", "KeyboardInterrupt", "raise KeyboardInterrupt"),
            ("raise ValueError('a\\0b\\udc80')", "ValueError: a�b?", "raise ValueError"),
            ("class E(Exception):\n    def __str__(self): 1 / 0\nraise E", "E", "raise E"),
            (
                "@objective\ndef train(trial): ...\ntrain.run()",
                'it below `if __name__ == "__main__":`',
                "train.run()",
            ),
        ],
    )  # fmt: skip
    def test_an_error_is_told_once_with_its_line(
        self, code: str, message: str, line: str, start: Start
    ) -> None:
        parent = start(code)
        key, content = parent.read()
        assert key == "failed"
        assert message in content["message"]
        assert line in content["traceback"]
        assert "importlib" not in content["traceback"], "the traceback begins in the user's file"
        assert "loading.py" not in content["traceback"]
        assert parent.read() is None
        assert parent.process.wait(30) == 1

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("tarin.py:train", "there is no file tarin.py; did you mean train.py?"),
            ("nowhere/train.py:train", "there is no file nowhere/train.py"),
            ("tarin:train", "there is no module tarin in {folder}; did you mean train?"),
            ("train:trian", "train has no trian; did you mean train?"),
            ("train.py:helper", "helper in train.py is no objective; decorate it with @tune.objective(...)"),
            ("train.py:value.real.missing", "train.py has no value.real.missing"),
            ("train.py", "train.py has 2 objectives; name one: train.py:train or other"),
            ("plain.py", "plain.py has no objective; decorate a function with @tune.objective(...)"),
            (":train", "':train' names no file or module; write train.py:train or package.module:train"),
        ],
    )
    def test_a_name_that_leads_nowhere(self, target: str, message: str, start: Start, tmp_path: Path) -> None:
        (tmp_path / "plain.py").touch()
        parent = start(
            THREE_REPORTS + "def helper(): ...\nvalue = 7\n@objective\ndef other(trial): ...\n", target
        )
        message = message.format(folder=tmp_path)
        told = failed([parent.read()])
        assert told["message"].startswith(message)
        assert told["traceback"] == ""
        assert parent.process.wait(30) == 1

    @pytest.mark.parametrize("target", ["train.py", "train", "./train.py", "sub/../train.py:train"])
    def test_the_only_objective_needs_no_name(self, target: str, start: Start, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "base.py").write_text(
            "import tune\n@tune.objective(space=tune.Space(x=tune.Int(0, 1)), score='s', budget=1)\n"
            "def base(trial): ..."
        )
        code = "from base import base\n" + THREE_REPORTS + "alias = train\n"
        assert start(code, target).hello()["name"] == "train"

    @pytest.mark.parametrize(
        ("code", "name"),
        [
            (
                "def log(f):\n    return lambda trial: f(trial)\n@objective\n@log\ndef train(trial): ...\n",
                "train",
            ),
            ("def fn(trial): ...\nfit = objective(fn)\n", "fit"),
            ("def fn(trial): ...\nfit = objective(fn)\nfn = fit\n", "fn"),
        ],
        ids=["wrapped", "another name", "both names"],
    )
    def test_an_objective_is_told_by_the_name_that_its_module_has_for_it(
        self, code: str, name: str, start: Start
    ) -> None:
        """Workers import it by that name; the name of the function may lead nowhere."""
        assert start(code, "train.py").hello()["name"] == name
        assert start(code, f"train.py:{name}").hello()["name"] == name

    def test_objectives_of_one_function_name_are_several(self, start: Start) -> None:
        code = "def made():\n    def fn(trial): ...\n    return objective(fn)\none, two = made(), made()\n"
        told = failed([start(code, "train.py").read()])["message"]
        assert told == "train.py has 2 objectives; name one: train.py:one or two"

    def test_a_module_of_a_package(self, start: Start, tmp_path: Path) -> None:
        package = tmp_path / "package"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "helper.py").write_text("VALUE = 1\n")
        text = "import tune\nfrom .helper import VALUE\n"
        text += "objective = tune.objective(space=tune.Space(x=tune.Int(0, 1)), score='accuracy', budget=3)\n"
        (package / "module.py").write_text(text + THREE_REPORTS)
        parent = start(None, "package.module:train")
        assert [*parent.hello()["code"]] == ["package/__init__.py", "package/helper.py", "package/module.py"]
        assert parent.trial()[-1] == ("ended", {})

    def test_files_that_are_imported_later_are_code_too(self, start: Start, tmp_path: Path) -> None:
        """Whatever a trial has imported: its settings decide which models it needs."""
        for name, text in {
            "model.py": "import json, layers.dense\nfrom layers import conv\n",
            "layers/__init__.py": "def f():\n    from . import pooling\n    from .norm import batch as b\n",
            "layers/dense.py": "import numpy\n",
            "layers/conv.py": "def f(:\n",
            "layers/pooling.py": "from ..above import nothing\nfrom ........ import further\n",
            "layers/norm/__init__.py": "",
            "layers/norm/batch.py": "import layers.unused_name\n",
            "above.py": "",
            "vendored/helper.py": "import model\n",
            "site-packages/installed.py": "",
            "unused.py": "",
        }.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        code = """
        import sys
        sys.path += [__file__.replace("train.py", name) for name in ("vendored", "site-packages")]
        @objective
        def train(trial):
            if trial.number:
                import helper, installed
            from model import Net
        """
        hello = start(code).hello()
        expected = {"train.py", "model.py", "above.py", "vendored/helper.py"}
        expected |= {f"layers/{name}.py" for name in ("__init__", "dense", "conv", "pooling")}
        assert {*hello["code"]} == {*expected, "layers/norm/__init__.py", "layers/norm/batch.py"}
        (tmp_path / "layers" / "norm" / "batch.py").write_text("")
        again = start(code).hello()
        changed = [name for name in hello["code"] if hello["code"][name] != again["code"][name]]
        assert changed == ["layers/norm/batch.py"]

    def test_a_file_is_imported_as_it_is(self, start: Start, tmp_path: Path) -> None:
        """Of two versions within one second and of equal size, Python's cache can have the older one."""
        for value in (1, 2):
            code = (
                f"objective = tune.objective(space=tune.Space(x=tune.Int(0, 1)), score='s', budget={value})\n"
            )
            parent = start("import tune\n" + code + "@objective\ndef train(trial): ...\n")
            os.utime(tmp_path / "train.py", (1e9, 1e9))
            assert parent.hello()["budget"] == value
        assert not (tmp_path / "__pycache__").exists()

    @pytest.mark.parametrize(
        "name", ["tune.py", "types.py", "json.py", "my-train.v2.py", "data.py", "search.py", "__main__.py"]
    )
    def test_a_file_of_any_name(self, name: str, start: Start, tmp_path: Path) -> None:
        """Also one that a module has which is loaded already."""
        (tmp_path / "folder with spaces").mkdir()
        file = tmp_path / "folder with spaces" / name
        start_text = "import json, types\nfrom pathlib import Path\nimport tune\n"
        text = "objective = tune.objective(space=tune.Space(x=tune.Int(0, 1)), score='accuracy', budget=3)\n"
        file.write_text(start_text + text + THREE_REPORTS + "assert json.dumps({}) and types.ModuleType\n")
        parent = start(None, f"folder with spaces/{name}:train")
        assert [*parent.hello()["code"]] == [name]
        assert parent.trial() == [*REPORTED, ("ended", {})]

    def test_what_the_process_looks_like_from_inside(self, start: Start, tmp_path: Path) -> None:
        parent = start(
            """
            import os, sys, json
            from pathlib import Path
            print(json.dumps([__name__, __file__, sys.argv, sys.path[0]]))
            here = str(Path(tune.__file__).parent)
            print(json.dumps([here in sys.path, *{"TUNE_REQUESTS", "TUNE_ANSWERS"} & {*os.environ}]))
            if __name__ == "__main__":
                raise AssertionError("this is no script here")
            @objective
            def train(trial): ...
            """,
            "train.py:train",
            "--data",
            "x.npz",
        )
        parent.hello()
        first, second = map(json.loads, parent.output.splitlines())
        file = str(tmp_path / "train.py")
        assert first == ["train", file, [file, "--data", "x.npz"], str(tmp_path)]
        assert second == [False]

    def test_by_hand_it_says_what_to_do(self) -> None:
        done = subprocess.run(
            [sys.executable, str(SERVE), "x.py"], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert "train.run" in done.stderr


class TestNames:
    """Repositories have packages that are called as ours are, and ours are installed in this interpreter."""

    @pytest.mark.parametrize("installed", ["editable", "copied"])
    @pytest.mark.parametrize("kind", ["package", "folder", "module"])
    def test_theirs_are_found(self, kind: str, installed: str, start: Start, tmp_path: Path) -> None:
        code = tmp_path / "code"
        for name in ("data", "models", "search", "tune_utils"):
            if kind == "module":
                code.mkdir(exist_ok=True)
                (code / f"{name}.py").write_text(f"VALUE = {name!r}\n")
            else:
                (code / name).mkdir(parents=True)
                (code / name / "part.py").write_text(f"VALUE = {name!r}\n")
                if kind == "package":
                    (code / name / "__init__.py").touch()
        part = "" if kind == "module" else ".part"
        environment, serve = {}, SERVE
        if installed == "copied":
            for name in ("data", "models", "search", "tune"):
                shutil.copytree(ROOT / name, tmp_path / "site" / name, ignore=shutil.ignore_patterns("*.pyc"))
            environment, serve = {"PYTHONPATH": str(tmp_path / "site")}, tmp_path / "site/tune/serve.py"
        (code / "train.py").write_text(
            "import tune\n"
            + "".join(
                f"import {name}{part}\nassert {name}{part}.VALUE == {name!r}\n"
                for name in ("data", "models", "search", "tune_utils")
            )
            + "objective = tune.objective(space=tune.Space(x=tune.Int(0, 1)), score='accuracy', budget=3)\n"
            + THREE_REPORTS
            + "    import multiprocessing\n"
            + "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
            + "        print(pool.map(child, [1]))\n"
            + "def child(_):\n"
            + f"    import data{part}\n"
            + f"    return data{part}.VALUE\n"
        )
        parent = start(None, folder=code, environment=environment, serve=serve)
        names = ("data", "models", "search", "tune_utils")
        suffix = ".py" if kind == "module" else "/part.py"
        assert {f"{name}{suffix}" for name in names} < {*parent.hello()["code"]}
        assert parent.trial()[-1] == ("ended", {})
        assert parent.output == "['data']\n"

    @pytest.mark.parametrize("python", [sys.executable, *pythons()[:1]])
    def test_processes_that_get_the_import_path_alone(
        self, python: str, start: Start, tmp_path: Path
    ) -> None:
        """As those of joblib do: they import the user's module, which imports tune."""
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "part.py").write_text("VALUE = 'theirs'\n")
        child = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import train; print(train.read())"
        parent = start(
            f"""
            import json, subprocess, sys
            @objective
            def train(trial):
                command = [sys.executable, "-c", {child!r}, json.dumps(sys.path)]
                print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                for step in range(1, trial.budget + 1):
                    trial.report(step, accuracy=step / 10)
            def read():
                import data.part
                return [data.part.VALUE, tune.Objective.__module__]
            """,
            python=python,
        )
        parent.hello()
        assert parent.trial() == [*REPORTED, ("ended", {})]
        assert "['theirs', 'tune.objectives']" in parent.output

    def test_ours_are_not(self, start: Start) -> None:
        parent = start("import data.tasks\n" + THREE_REPORTS)
        assert failed([parent.read()])["message"] == "ModuleNotFoundError: No module named 'data'"

    def test_theirs_may_be_elsewhere_on_the_path(self, start: Start, tmp_path: Path) -> None:
        (tmp_path / "source" / "models").mkdir(parents=True)
        (tmp_path / "source" / "models" / "net.py").write_text("VALUE = 3\n")
        code = "import sys; sys.path.insert(0, 'source')\nfrom models.net import VALUE\n" + THREE_REPORTS
        assert start(code).hello()["name"] == "train"


class TestTrial:
    def test_one_after_the_other(self, start: Start, tmp_path: Path) -> None:
        parent = start(
            """
            @objective
            def train(trial):
                print(trial.params, trial.seed, trial.number, trial.budget, trial.directory, trial.resumed)
                for step in range(1, trial.budget + 1):
                    trial.examples([1, 0, step % 2])
                    trial.report(step, accuracy=step / 10)
                (trial.directory / "model.bin").write_bytes(b"")
                trial.keep("model.bin")
            """
        )
        parent.hello()
        messages = parent.trial(params={"x": 0.5}, budget=2, resumed=True)
        assert messages == [
            ("report", {"step": 1, "metrics": {"accuracy": 0.1}, "correct": "101"}),
            ("report", {"step": 2, "metrics": {"accuracy": 0.2}, "correct": "100"}),
            ("keep", {"files": ["model.bin"]}),
            ("ended", {}),
        ]
        assert parent.output == f"{{'x': 0.5}} 123 7 2 {tmp_path / 'trial-0'} True\n"
        assert parent.trial(stop_after=1)[1:] == [("ended", {})]
        assert parent.trial(budget=1)[-1] == ("ended", {})
        assert parent.quit() == 0

    def test_a_checkpoint_waits_and_needs_the_declaration(self, start: Start) -> None:
        parent = start(
            """
            import tune
            @tune.objective(space=tune.Space(x=tune.Int(0, 1)), score="accuracy", budget=1, checkpoints=True)
            def train(trial):
                trial.checkpoint()
                print("copied", flush=True)
                trial.report(1, accuracy=1)
            """
        )
        parent.hello()
        parent.begin(budget=1)
        assert parent.read() == ("checkpoint", {})
        time.sleep(0.3)
        assert parent.output == ""
        parent.ask("go")
        assert parent.read()[0] == "report"
        assert parent.output == "copied\n"

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("raise ValueError('bad')", "ValueError: bad"),
            ("import sys; sys.exit(3)", "the code called sys.exit(3) during the trial"),
            ("import sys; sys.exit()", "the code called sys.exit() during the trial"),
            ("raise KeyboardInterrupt", "KeyboardInterrupt"),
            ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", "KeyboardInterrupt"),
            ("raise GeneratorExit", "GeneratorExit"),
            ("raise tune.StopTrial", "tune.StopTrial was raised, but trial.report did not"),
            ("input()", "EOFError: EOF when reading a line"),
            ("trial.report(1, loss=1)", "ValueError: the score, accuracy, is missing; the metrics are: loss"),
            ("trial.report(2, accuracy='x')", "TypeError: metric accuracy must be a number, not 'x'"),
            ("trial.report(2, accuracy=1); trial.report(1, accuracy=1)", "steps must rise, but 1 follows 2"),
            ("trial.keep('../train.py')", "ValueError: trial.keep: ../train.py is outside trial.directory"),
            ("trial.checkpoint()", "@tune.objective(..., checkpoints=True)"),
            ("import pickle; pickle.dumps(trial)", "TypeError: a trial cannot be sent to another process"),
            (
                "trial.report(1, accuracy=1, **{'m' * 50 + str(i): 1 for i in range(20000)})",
                "1,000,000 of a line",
            ),
        ],
    )
    def test_a_failure_has_its_line_and_the_next_trial_runs(
        self, body: str, message: str, start: Start
    ) -> None:
        parent = start(
            f"""
            @objective
            def train(trial):
                if trial.number == 0:
                    {body}
                for step in range(1, trial.budget + 1):
                    trial.report(step, accuracy=step / 10)
            """
        )
        parent.hello()
        told = failed(parent.trial(number=0))
        assert message in told["message"]
        assert f'{parent.folder / "train.py"}", line ' in told["traceback"]
        assert body.split("; ")[-1] in told["traceback"]
        assert "in _protected" not in told["traceback"]
        assert parent.trial() == [*REPORTED, ("ended", {})]
        assert parent.quit() == 0

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (
                "return 0.5",
                "train returned with 0.5 without a report; a trial ends with a report of its whole",
            ),
            (
                "trial.report(1, accuracy=1)",
                "train returned after step 1; a trial ends with a report of its whole",
            ),
        ],
    )
    def test_a_function_that_ends_early_says_what_is_missing(
        self, body: str, message: str, start: Start
    ) -> None:
        parent = start(f"@objective\ndef train(trial):\n    {body}\n")
        parent.hello()
        assert failed(parent.trial())["message"].startswith(message)

    def test_nan_is_reported(self, start: Start) -> None:
        parent = start(
            """
            @objective
            def train(trial):
                trial.report(3, accuracy=float("nan"), loss=float("inf"))
            """
        )
        parent.hello()
        [(_, report), ended] = parent.trial()
        assert math.isnan(report["metrics"]["accuracy"])
        assert report["metrics"]["loss"] == math.inf
        assert ended == ("ended", {})

    def test_a_stop_that_was_caught_stops_again(self, start: Start) -> None:
        parent = start(
            """
            @objective
            def train(trial):
                for step in range(1, 4):
                    try:
                        trial.report(step, accuracy=1)
                    except:
                        print("caught", step)
            """
        )
        parent.hello()
        assert [key for key, _ in parent.trial(stop_after=1)] == ["report", "ended"]
        assert parent.output == "caught 1\ncaught 2\ncaught 3\n"

    def test_the_test_function(self, start: Start) -> None:
        code = """
            @train.test
            def measure(trial):
                if trial.number == 1:
                    trial.report(1, accuracy=1)
                return {"accuracy": len(trial.params), "loss": 2} if trial.number else 7
            """
        parent = start(THREE_REPORTS + "\n" + "\n".join(line[12:] for line in code.splitlines()))
        assert parent.hello()["test"] is True
        assert parent.trial("test", params={"x": 0.5}) == [
            ("tested", {"metrics": {"accuracy": 1.0, "loss": 2.0}})
        ]
        assert "must return its metrics by name" in failed(parent.trial("test", number=0))["message"]
        assert "a test function reports nothing" in failed(parent.trial("test", number=1))["message"]

    def test_without_a_test_function(self, start: Start) -> None:
        parent = start(THREE_REPORTS)
        assert parent.hello()["test"] is False
        assert failed(parent.trial("test"))["message"] == "train has no test function"


class TestProcess:
    """What training code does to the process that it runs in."""

    @pytest.mark.parametrize(
        "body",
        [
            "import sys; sys.stdout.close(); sys.stderr.close()",
            "import os; os.close(0); os.close(1); os.close(2)",
            "import os; os.closerange(3, 100)",
            "import sys; sys.stdout = sys.stderr = sys.stdin = None",
            "import os; os.chdir('/')",
            "import os, tempfile; path = tempfile.mkdtemp(); os.chdir(path); os.rmdir(path)",
            "import os; os.environ.clear()",
            "import sys; sys.path.clear(); sys.meta_path.clear(); sys.argv.clear()",
            "import signal; [signal.signal(each, signal.SIG_IGN) for each in (2, 10, 12, 13, 14, 15, 17)]",
            "import signal; signal.signal(14, lambda *_: 1 / 0); signal.alarm(1)",
            "import threading, time; threading.Thread(target=time.sleep, args=(1000,)).start()",
            "import subprocess; subprocess.Popen(['sleep', '1000'], close_fds=False)",
            "import os, time; os.fork() or time.sleep(1000)",
            "import os; os.fork() or os._exit(0)",
            "import os; os.wait() if os.fork() else None",
            "import multiprocessing as m; m.get_context('fork').Process(target=print, daemon=True).start()",
            "import gc; gc.disable(); import warnings; warnings.simplefilter('error')",
            "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))",
            "import socket; socket.setdefaulttimeout(1)",
            "import builtins; builtins.print = builtins.open = None",
        ],
    )
    def test_it_serves_the_next_trial_and_exits(self, body: str, start: Start) -> None:
        parent = start(
            f"""
            @objective
            def train(trial):
                if trial.number == 0:
                    {body}
                for step in range(1, trial.budget + 1):
                    trial.report(step, accuracy=step / 10)
            """
        )
        parent.hello()
        assert parent.trial(number=0) == [*REPORTED, ("ended", {})]
        if "alarm" in body:
            time.sleep(1.2)
        assert parent.trial() == [*REPORTED, ("ended", {})]
        assert parent.quit() == 0

    @pytest.mark.parametrize("timer", ["VIRTUAL", "PROF"])
    def test_a_timer_of_processor_time_ends_with_its_trial(self, timer: str, start: Start) -> None:
        parent = start(
            f"""
            import signal, time
            @objective
            def train(trial):
                if trial.number == 0:
                    signal.signal(signal.SIG{timer.replace("VIRTUAL", "VTALRM")}, lambda *_: None)
                    signal.setitimer(signal.ITIMER_{timer}, 0.1)
                else:
                    begun = time.process_time()
                    while time.process_time() < begun + 0.3:
                        pass
                for step in range(1, trial.budget + 1):
                    trial.report(step, accuracy=step / 10)
            """
        )
        parent.hello()
        assert parent.trial(number=0) == [*REPORTED, ("ended", {})]
        assert parent.trial(number=1) == [*REPORTED, ("ended", {})]

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ("os._exit(3)", 3),
            ("os.kill(os.getpid(), 9)", -9),
            ("os.abort()", -6),
            ("ctypes.string_at(0)", -11),
        ],
    )
    def test_what_ends_the_process_ends_it(self, body: str, code: int, start: Start) -> None:
        parent = start(
            f"""
            import ctypes, os
            @objective
            def train(trial):
                print("before")
                {body}
            """
        )
        parent.hello()
        parent.begin()
        assert parent.read() is None
        assert parent.process.wait(60) == code
        assert parent.output.startswith("before\n"), "output reaches the log before the process dies"

    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_multiprocessing(self, method: str, start: Start) -> None:
        """Children import the module under its name; what they define and change stays in them."""
        parent = start(
            """
            import multiprocessing
            class Point:
                def __init__(self, x): self.x = x
            def double(point): return Point(2 * point.x)
            @objective
            def train(trial):
                context = multiprocessing.get_context(METHOD)
                with context.Pool(2) as pool:
                    points = pool.map(double, [Point(step) for step in (1, 2, 3)])
                queue = context.Queue()
                child = context.Process(target=report, args=(queue, trial if METHOD == "fork" else None))
                child.start()
                print(queue.get())
                child.join()
                for point in points:
                    trial.report(point.x // 2, accuracy=point.x / 20)
            def report(queue, trial):
                try:
                    queue.put(trial.report(1, accuracy=1) if trial else "spawned")
                except RuntimeError as error:
                    queue.put(str(error))
            """.replace("METHOD", repr(method))
        )
        parent.hello()
        for _ in range(2):
            assert parent.trial() == [*REPORTED, ("ended", {})]
        told = "trial.report was called in a child process; " if method == "fork" else "spawned"
        assert parent.output.count(told) == 2
        assert parent.quit() == 0

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_workers_of_a_data_loader(self, method: str, start: Start) -> None:
        parent = start(
            """
            import torch
            class Numbers(torch.utils.data.Dataset):
                def __len__(self): return 6
                def __getitem__(self, index): return torch.tensor(float(index))
            @objective
            def train(trial):
                more = {"multiprocessing_context": METHOD, "persistent_workers": True}
                loader = torch.utils.data.DataLoader(Numbers(), batch_size=2, num_workers=1, **more)
                for step in range(1, trial.budget + 1):
                    assert sum(batch.sum() for batch in loader) == 15
                    trial.report(step, accuracy=step / 10)
            """.replace("METHOD", repr(method))
        )
        parent.hello()
        assert parent.trial() == [*REPORTED, ("ended", {})]
        assert parent.quit() == 0

    @pytest.mark.parametrize(
        ("end", "code"),
        [("", 0), ("raise ValueError('in the child')", 1), ("sys.exit(3)", 3), ("sys.exit()", 0)],
    )
    def test_a_forked_child_that_leaves_the_function(self, end: str, code: int, start: Start) -> None:
        """It exits; only the first process answers."""
        parent = start(
            f"""
            import os, sys
            os.waitpid(child, 0) if (child := os.fork()) else None
            @objective
            def train(trial):
                child = os.fork()
                if child == 0:
                    {end}
                    return
                print("exited with", os.waitpid(child, 0)[1] >> 8, flush=True)
                for step in range(1, trial.budget + 1):
                    trial.report(step, accuracy=step / 10)
            """
        )
        parent.hello()
        assert parent.trial() == [*REPORTED, ("ended", {})]
        assert f"exited with {code}\n" in parent.output
        assert ("ValueError: in the child" in parent.output) is ("ValueError" in end)

    def test_children_do_not_hold_the_channel(self, start: Start) -> None:
        """When the process dies, its parent is told at once, whatever children live on."""
        parent = start(
            """
            import os, subprocess, time
            @objective
            def train(trial):
                subprocess.Popen(["sleep", "100"], close_fds=False)
                if os.fork() == 0:
                    time.sleep(100)
                os._exit(1)
            """
        )
        parent.hello()
        parent.begin()
        began = time.monotonic()
        assert parent.read() is None
        assert time.monotonic() - began < 30

    def test_100_mb_of_output(self, start: Start) -> None:
        parent = start(
            """
            @objective
            def train(trial):
                line = "x" * 999
                for _ in range(100_000):
                    print(line)
                for step in range(1, trial.budget + 1):
                    trial.report(step, accuracy=step / 10)
            """
        )
        parent.hello()
        assert parent.trial() == [*REPORTED, ("ended", {})]
        assert (parent.folder / "output.txt").stat().st_size == 100_000_000

    def test_output_that_cannot_be_encoded(self, start: Start) -> None:
        parent = start(
            THREE_REPORTS + "    print('é\\udc80', flush=True)\n",
            environment={"PYTHONIOENCODING": "ascii"},
        )
        parent.hello()
        assert parent.trial()[-1] == ("ended", {})
        assert parent.output == "\\xe9\\udc80\n"

    def test_a_handler_that_raises_while_a_report_waits(self, start: Start) -> None:
        """The answer that it left unread is not taken for that of the next report, nor of the next trial."""
        parent = start(
            """
            import signal
            def late(*_): raise TimeoutError("late")
            @objective
            def train(trial):
                signal.signal(signal.SIGALRM, late)
                signal.setitimer(signal.ITIMER_REAL, 0.2)
                try:
                    trial.report(1, accuracy=1)
                except TimeoutError:
                    print("late", flush=True)
                    if trial.number == 0:
                        raise
                trial.report(2, accuracy=1)
                trial.report(3, accuracy=1)
            """
        )
        parent.hello()
        parent.begin(number=0)
        assert parent.read()[1]["step"] == 1
        assert failed([parent.read()])["message"] == "TimeoutError: late"
        parent.ask("go")
        for number, answer, after in ((1, "go", "report"), (2, "stop", "ended")):
            parent.begin(number=number)
            assert parent.read()[1]["step"] == 1
            while parent.output.count("late\n") <= number:
                time.sleep(0.05)
            parent.ask(answer)
            assert parent.read()[0] == after
            if after == "report":
                parent.ask("go")
                assert parent.read()[1]["step"] == 3
                parent.ask("go")
                assert parent.read() == ("ended", {})
        assert parent.quit() == 0

    def test_it_ends_with_its_parent(self, start: Start) -> None:
        """With its children, where the parent made a process group for them."""
        parent = start(
            """
            import subprocess
            @objective
            def train(trial):
                try:
                    print(subprocess.Popen(["sleep", "1000"]).pid, flush=True)
                    trial.report(1, accuracy=1)
                except BaseException:
                    trial.report(2, accuracy=1)
            """
        )
        parent.hello()
        parent.begin()
        parent.read()
        child = int(parent.output)
        parent.disappear()
        assert parent.process.wait(30) == -signal.SIGKILL
        until = time.monotonic() + 30
        while is_running(child) and time.monotonic() < until:
            time.sleep(0.05)
        assert not is_running(child)

    def test_it_ends_alone_in_a_process_group_of_others(self, start: Start) -> None:
        parent = start(
            """
            import subprocess, time
            @objective
            def train(trial):
                print(subprocess.Popen(["sleep", "1000"]).pid, flush=True)
                trial.report(1, accuracy=1)
            """,
            session=False,
        )
        parent.hello()
        parent.begin()
        parent.read()
        parent.disappear()
        assert parent.process.wait(30) == 1
        child = int(parent.output)
        assert is_running(child)
        os.kill(child, signal.SIGKILL)

    def test_what_is_not_of_the_protocol_ends_it(self, start: Start) -> None:
        parent = start(THREE_REPORTS)
        parent.hello()
        assert failed(parent.trial("dance"))["message"] == "unknown request: dance"
        os.write(parent._requests, b'{"trial": 7}\n')
        assert parent.process.wait(30) == 1
        assert "protocol: trial must be an object" in parent.output

    def test_the_first_trial_begins_soon(self, start: Start) -> None:
        began = time.monotonic()
        parent = start(THREE_REPORTS)
        parent.hello()
        assert time.monotonic() - began < 20
        began = time.monotonic()
        for _ in range(100):
            parent.trial()
        assert time.monotonic() - began < 20


def is_running(process: int) -> bool:
    """A killed child that nobody has waited for is not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_failure_is_bounded() -> None:
    """A line of the protocol has at most 1 MB, and a character that is escaped takes 12 bytes."""
    told = failure(ValueError("\N{PILE OF POO}" * 10**6))
    assert len(json.dumps({"failed": told})) < 1_000_000


def test_serve_itself_runs_on_their_interpreters() -> None:
    ast.parse(SERVE.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_names_of_settings_survive() -> None:
    space = Space({"learning rate": Float(0, 1), "é\n": Int(0, 1)})
    made = objective(space=space, score="accuracy", budget=1)(lambda trial: None)
    assert isinstance(made, Objective)
    assert list(made.space.domains) == ["learning rate", "é\n"]
