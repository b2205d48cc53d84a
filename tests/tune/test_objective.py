"""`@tune.objective` and `tune.Trial` in the user's process: what is refused, and what is reported."""

from __future__ import annotations

import inspect
import os
import pickle
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tune
from tune.trial import MOST_EXAMPLES

SPACE = tune.Space(
    lr=tune.Float(1e-4, 1e-2, log=True),
    depth=tune.Int(1, 4),
    optimizer=tune.Choice(["adam", "sgd"]),
    momentum=tune.Float(0.0, 1.0, when={"optimizer": "sgd"}),
)


def objective(**changed: Any) -> Callable[[Callable[..., Any]], tune.Objective]:
    return tune.objective(**{"space": SPACE, "score": "accuracy", "budget": 3, **changed})


@objective()
def named(trial: tune.Trial) -> str:
    """What it does."""
    return "the function itself"


class Heard:
    """Keeps what a trial says, and stops it after a step."""

    def __init__(self, stop_after: int = 0) -> None:
        self.lines: list[tuple[str, Any]] = []
        self.stop_after = stop_after

    def report(self, content: dict[str, Any]) -> bool:
        self.lines.append(("report", content))
        return bool(content["step"] != self.stop_after)

    def checkpoint(self) -> bool:
        self.lines.append(("checkpoint", {}))
        return True

    def keep(self, files: list[str]) -> None:
        self.lines.append(("keep", files))


def trial(folder: Path, heard: Heard | None, **changed: Any) -> tune.Trial:
    given = {"params": {"lr": 0.01}, "seed": 5, "number": 7, "budget": 3, "directory": folder}
    more = {"resumed": False, "score": "accuracy", "checkpoints": True, "listener": heard}
    return tune.Trial(**{**given, **more, **changed})


class TestDecorator:
    @pytest.mark.parametrize(
        ("changed", "complaint"),
        [
            ({"space": {"lr": 1}}, "space must be tune.Space(...), not {'lr': 1}"),
            ({"space": tune.Space()}, "space must have at least one setting"),
            ({"score": ""}, "score must be a printable name of 1 to 200 characters, not ''"),
            ({"score": "a\0b"}, "characters, not 'a\\x00b'"),
            ({"unit": None}, "unit must be a printable name"),
            ({"direction": "maximum"}, "not 'maximum' (did you mean maximize?)"),
            ({"direction": ["x"]}, "direction must be maximize or minimize, not ['x']"),
            ({"budget": 0}, "budget must be 1 to 2147483647, not 0"),
            ({"budget": True}, "budget must be a whole number, not True"),
            ({"budget": 2.5}, "budget must be a whole number, not 2.5"),
            ({"checkpoints": 1}, "checkpoints must be True or False, not 1"),
        ],
    )
    def test_a_mistake_is_refused_before_the_function(self, changed: dict[str, Any], complaint: str) -> None:
        with pytest.raises(ValueError, match=re.escape(complaint)):
            objective(**changed)

    @pytest.mark.parametrize(
        ("function", "complaint"),
        [
            (lambda: None, "<lambda> cannot be"),
            (lambda one, two: None, "is called with one trial"),
            (7, "an objective is a function of one trial, not 7"),
            (int, "an objective is a function of one trial"),
        ],
    )
    def test_what_is_no_function_of_one_trial(self, function: Any, complaint: str) -> None:
        with pytest.raises(TypeError, match=re.escape(complaint)):
            objective()(function)

    def test_a_coroutine_and_a_generator_would_not_run(self) -> None:
        async def wait(trial: tune.Trial) -> None: ...

        def generate(trial: tune.Trial) -> Any:
            yield

        for function in (wait, generate):
            with pytest.raises(TypeError, match="is a coroutine or a generator"):
                objective()(function)

    def test_it_stays_the_function(self, tmp_path: Path) -> None:
        assert named(trial(tmp_path, None)) == "the function itself"
        assert (named.name, named.__doc__) == ("named", "What it does.")
        assert list(inspect.signature(named).parameters) == ["trial"]
        assert pickle.loads(pickle.dumps(named)) is named

    def test_one_test_function_which_stays_itself(self, tmp_path: Path) -> None:
        @objective()
        def train(trial: tune.Trial) -> None: ...

        @train.test
        def measure(trial: tune.Trial) -> dict[str, Any]:
            return {"accuracy": np.float32(0.5)}

        assert measure(trial(tmp_path, None)) == {"accuracy": 0.5}
        assert train.tested(trial(tmp_path, None)) == {"accuracy": 0.5}
        with pytest.raises(ValueError, match="train has a test function already: measure"):
            train.test(measure)
        with pytest.raises(TypeError, match="a test function is called with one trial"):
            train.test(lambda: {})  # type: ignore[misc, arg-type]

    @pytest.mark.parametrize(
        ("returned", "complaint"),
        [
            (0.5, 'must return its metrics by name, such as {"accuracy": 0.9}, not 0.5'),
            ({"loss": 1}, "missing"),
        ],
    )
    def test_a_test_function_returns_metrics(self, returned: Any, complaint: str, tmp_path: Path) -> None:
        @objective()
        def train(trial: tune.Trial) -> None: ...

        train.test(lambda trial: returned)
        with pytest.raises((TypeError, ValueError), match=re.escape(complaint)):
            train.tested(trial(tmp_path, None))


class TestReport:
    @pytest.mark.parametrize(
        "value",
        [
            1,
            1.0,
            np.float64(1),
            np.int64(1),
            np.array(1.0),
            np.array([[1.0]]),
            torch.tensor(1),
            torch.tensor([1.0]),
            torch.tensor(1.0, requires_grad=True),
        ],
    )
    def test_numbers_of_any_library(self, value: Any, tmp_path: Path) -> None:
        heard = Heard()
        trial(tmp_path, heard).report(np.int64(1), accuracy=value)
        [(_, content)] = heard.lines
        assert content == {"step": 1, "metrics": {"accuracy": 1.0}}
        assert [type(content["step"]), type(content["metrics"]["accuracy"])] == [int, float]

    def test_nan_and_infinity_are_told(self, tmp_path: Path) -> None:
        heard = Heard()
        trial(tmp_path, heard).report(1, accuracy=float("nan"), loss=float("inf"))
        assert repr(heard.lines[0][1]["metrics"]) == "{'accuracy': nan, 'loss': inf}"

    @pytest.mark.parametrize(
        ("step", "metrics", "complaint"),
        [
            (2, {"accuracy": "0.9"}, "metric accuracy must be a number, not '0.9'"),
            (2, {"accuracy": None}, "metric accuracy must be a number, not None"),
            (2, {"accuracy": True}, "metric accuracy must be a number, not True"),
            (2, {"accuracy": np.bool_(True)}, "metric accuracy must be a number, not True"),
            (2, {"accuracy": 1j}, "metric accuracy must be a number, not 1j"),
            (2, {"accuracy": torch.zeros(2, 3)}, "not an array of shape (2, 3)"),
            (2, {"accuracy": torch.zeros(0)}, "not an array of shape (0,)"),
            (2, {"accuracy": torch.tensor([True])}, "metric accuracy must be a number, not True"),
            (2, {"accuracy": 10**400}, "metric accuracy is too large"),
            (
                2,
                {"accuracy": 1.0, "lo\0ss": 1.0},
                "a metric must be printable, of 1 to 200 characters, not 'lo\\x00ss'",
            ),
            (2, {"loss": 1.0}, "the score, accuracy, is missing; the metrics are: loss"),
            (2, {"acuracy": 1.0}, "are: acuracy (did you mean accuracy by acuracy?)"),
            (2, {}, "the metrics are: none"),
            (1, {"accuracy": 1.0}, "steps must rise, but 1 follows 1"),
            (0, {"accuracy": 1.0}, "the first step is 1, not 0"),
            (4, {"accuracy": 1.0}, "step 4 exceeds trial.budget, 3"),
            (1.5, {"accuracy": 1.0}, "step must be a whole number, not 1.5"),
            (True, {"accuracy": 1.0}, "step must be a whole number, not True"),
        ],
    )
    def test_a_mistake_is_raised_at_the_line_that_makes_it(
        self, step: Any, metrics: dict[str, Any], complaint: str, tmp_path: Path
    ) -> None:
        heard = Heard()
        running = trial(tmp_path, heard)
        running.report(1, accuracy=0.5)
        with pytest.raises((TypeError, ValueError), match=re.escape(complaint)) as caught:
            running.report(step, **metrics)
        assert "running.report(step, **metrics)" in "".join(traceback.format_tb(caught.tb))
        assert len(heard.lines) == 1
        running.report(2, accuracy=0.6)  # nothing of the mistake was reported

    def test_all_reports_have_the_same_metrics(self, tmp_path: Path) -> None:
        running = trial(tmp_path, Heard())
        running.report(1, accuracy=0.5, loss=1)
        with pytest.raises(
            ValueError, match="the metrics are accuracy, and of the first report they were accuracy, loss"
        ):
            running.report(2, accuracy=0.5)
        running.report(2, loss=1, accuracy=0.5)

    def test_a_stopped_trial_stops_at_every_report(self, tmp_path: Path) -> None:
        """Where a bare except: caught the first one."""
        heard = Heard(stop_after=1)
        running = trial(tmp_path, heard)
        for call in (
            lambda: running.report(1, accuracy=0.5),
            lambda: running.report(2, accuracy=0.5),
            running.checkpoint,
        ):
            with pytest.raises(tune.StopTrial):
                call()
        assert len(heard.lines) == 1
        assert not issubclass(tune.StopTrial, Exception)

    def test_nothing_is_reported_after_the_end_or_by_a_test(self, tmp_path: Path) -> None:
        ended, tested = trial(tmp_path, Heard()), trial(tmp_path, None)
        ended.end()
        with pytest.raises(RuntimeError, match="trial 7 has ended"):
            ended.report(1, accuracy=1)
        with pytest.raises(RuntimeError, match="a test function reports nothing"):
            tested.report(1, accuracy=1)

    def test_checkpoints_are_declared(self, tmp_path: Path) -> None:
        heard = Heard()
        trial(tmp_path, heard).checkpoint()
        with pytest.raises(RuntimeError, match=r"with @tune\.objective\(\.\.\., checkpoints=True\)"):
            trial(tmp_path, heard, checkpoints=False).checkpoint()
        assert heard.lines == [("checkpoint", {})]

    def test_a_trial_stays_in_its_process(self, tmp_path: Path) -> None:
        running = trial(tmp_path, Heard())
        assert pickle.loads(pickle.dumps(running.params)) == {"lr": 0.01}
        with pytest.raises(TypeError, match=r"send trial\.params"):
            pickle.dumps(running)


class TestExamples:
    @pytest.mark.parametrize(
        "correct",
        [[True, False, 1], np.array([1, 0, 1]), torch.tensor([True, False, True]), iter((1.0, 0.0, 1.0))],
    )
    def test_they_are_part_of_the_next_report(self, correct: Any, tmp_path: Path) -> None:
        heard = Heard()
        running = trial(tmp_path, heard)
        running.examples(correct)
        running.report(1, accuracy=0.5)
        running.report(2, accuracy=0.5)
        assert [content.get("correct") for _, content in heard.lines] == ["101", None]

    @pytest.mark.parametrize(
        ("correct", "complaint"),
        [
            ([0.5], "one for each validation example, not [0.5]"),
            ("101", "not '101'"),
            (torch.ones(2, 2), "a list of true or false"),
            (3, "not 3"),
            ([], "1 to 900,000 examples, not 0"),
            ([1] * (MOST_EXAMPLES + 1), "not 900,001"),
            ([1, 0], "2 examples, and the last time 3"),
        ],
    )
    def test_a_mistake(self, correct: Any, complaint: str, tmp_path: Path) -> None:
        running = trial(tmp_path, Heard())
        running.examples([1, 1, 0])
        with pytest.raises((TypeError, ValueError), match=re.escape(complaint)):
            running.examples(correct)


class TestKeep:
    def test_names_below_the_directory(self, tmp_path: Path) -> None:
        heard = Heard()
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "model.onnx").touch()
        trial(tmp_path, heard).keep("sub/model.onnx", tmp_path / "sub" / ".." / "sub" / "model.onnx")
        assert heard.lines == [("keep", ["sub/model.onnx"] * 2)]

    @pytest.mark.parametrize(
        ("file", "complaint"),
        [
            ("../other", "../other is outside trial.directory"),
            ("/etc/passwd", "is outside trial.directory"),
            ("link", "link is outside trial.directory"),
            (".", ". is outside trial.directory"),
            ("missing", "missing is not a file in trial.directory"),
            ("folder", "folder is not a file"),
            ("a\0b", "is not a file name in UTF-8"),
            ("a\udc80b", "is not a file name in UTF-8"),
            (b"bytes", "a file must be a path, not b'bytes'"),
            ("", "a file must be a path"),
        ],
    )
    def test_a_mistake(self, file: Any, complaint: str, tmp_path: Path) -> None:
        directory = tmp_path / "trial"
        (directory / "folder").mkdir(parents=True)
        (tmp_path / "other").touch()
        (directory / "link").symlink_to(tmp_path / "other")
        with pytest.raises((ValueError, TypeError, FileNotFoundError), match=re.escape(complaint)):
            trial(directory, Heard()).keep(file)

    def test_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="name at least one file"):
            trial(tmp_path, Heard()).keep()


class TestRun:
    """`train.run(lr=0.01)`: once, without a search."""

    def test_defaults_are_in_the_middle_and_reports_are_printed(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        seen: dict[str, Any] = {}

        @objective(checkpoints=True)
        def train(trial: tune.Trial) -> None:
            seen.update(
                params=trial.params, seed=trial.seed, directory=trial.directory, resumed=trial.resumed
            )
            assert trial.directory.is_dir()
            for step in range(1, trial.budget + 1):
                trial.checkpoint()
                trial.report(step, accuracy=step / 10, loss=1 / 3)
            (trial.directory / "model").touch()
            trial.keep("model")

        train.test(lambda trial: {"accuracy": len(list(trial.directory.iterdir()))})
        metrics = train.run(budget=2, seed=3)
        assert metrics == {"accuracy": 0.2, "loss": 1 / 3}
        assert seen["params"] == {"lr": pytest.approx(1e-3), "depth": 2, "optimizer": "adam"}
        assert (seen["seed"], seen["resumed"]) == (3, False)
        assert not seen["directory"].exists()
        assert capsys.readouterr().out.splitlines()[1:] == [
            "checkpoint",
            "epoch 1: accuracy 0.1, loss 0.333333",
            "checkpoint",
            "epoch 2: accuracy 0.2, loss 0.333333",
            "keep model",
        ]
        there = tmp_path / "new" / "folder"
        assert train.run({"optimizer": "sgd"}, directory=there, resumed=True, test=True)["test_accuracy"] == 1
        assert (seen["directory"], seen["resumed"]) == (there, True)
        assert seen["params"]["momentum"] == 0.5

    @pytest.mark.parametrize(
        ("settings", "complaint"),
        [
            ({"learning_rate": 1}, "'learning_rate' is not a setting of train"),
            ({"dept": 1}, "(did you mean depth?)"),
            ({"depth": 9}, "depth must be a whole number from 1 to 4, not 9"),
            ({"momentum": 0.5}, "momentum is not active beside these settings: {'optimizer': 'sgd'}"),
        ],
    )
    def test_settings_of_another_space(self, settings: dict[str, Any], complaint: str) -> None:
        @objective()
        def train(trial: tune.Trial) -> None:
            raise AssertionError("began")

        with pytest.raises(tune.SpaceError, match=re.escape(complaint)):
            train.run(**settings)

    def test_one_that_ends_early(self) -> None:
        @objective()
        def train(trial: tune.Trial) -> float:
            return 0.5

        with pytest.raises(RuntimeError, match=r"train returned with 0\.5 without a report; .* 3 \(epoch\)"):
            train.run()
        with pytest.raises(ValueError, match=r"train has no test function: decorate one with @train\.test"):
            train.run(test=True)

    def test_exceptions_pass_through(self) -> None:
        @objective()
        def train(trial: tune.Trial) -> None:
            raise KeyError("bug")

        with pytest.raises(KeyError, match="bug"):
            train.run()

    def test_the_file_is_a_script(self, tmp_path: Path) -> None:
        script = tmp_path / "train.py"
        script.write_text(
            "import tune\n"
            "@tune.objective(space=tune.Space(x=tune.Int(1, 9)), score='accuracy', budget=1)\n"
            "def train(trial):\n"
            "    trial.report(1, accuracy=trial.params['x'])\n"
            "if __name__ == '__main__':\n"
            "    train.run(x=4)\n"
        )
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, timeout=60, env={**os.environ}
        )
        assert (done.returncode, done.stdout, done.stderr) == (
            0,
            "train: x=4, seed=0\nepoch 1: accuracy 4\n",
            "",
        )
