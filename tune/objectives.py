"""`@tune.objective`: a training function with its search space, its score and its budget."""

from __future__ import annotations

import functools
import inspect
import math
import sys
import tempfile
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from reprlib import repr as short
from typing import Any, Callable, TypeVar

from tune.conditions import SpaceError, Value
from tune.domains import Choice, Domain, Fixed, Int, in_words, takes
from tune.space import Space
from tune.trial import MOST_NAME, Trial, checked_metrics, is_name

TestFunction = TypeVar("TestFunction", bound=Callable[[Trial], Mapping[str, Any]])

DIRECTIONS = ("maximize", "minimize")

MOST_BUDGET = 2**31 - 1
"""Steps are stored as integers of 32 bits."""

importing: list[str] = []
"""The file that tune imports at this moment, if any: training does not begin then."""


class Objective:
    """A training function and what a search needs to know of it. Made by `tune.objective`.

    Called with a trial, it is the plain function. `run` trains once without a search.
    """

    __name__: str
    __qualname__: str

    def __init__(
        self,
        function: Callable[[Trial], object],
        *,
        space: Space,
        score: str,
        direction: str,
        budget: int,
        unit: str,
        checkpoints: bool,
    ) -> None:
        """Raises TypeError for a function that does not take one trial."""
        _check_function("an objective", function)
        functools.update_wrapper(self, function)
        self.function = function
        self.name: str = self.__name__
        self.space = space
        self.score = score
        self.direction = direction
        self.budget = budget
        self.unit = unit
        self.checkpoints = checkpoints
        self.test_function: Callable[[Trial], Mapping[str, Any]] | None = None

    def __call__(self, trial: Trial) -> object:
        """Calls the function."""
        return self.function(trial)

    def __repr__(self) -> str:
        return f"<tune.objective {self.__module__}.{self.__qualname__}>"

    def __reduce__(self) -> str:
        # By name, as functions are pickled: the function alone could not be, since this has its name.
        return self.__qualname__

    def test(self, function: TestFunction) -> TestFunction:
        """Decorates the function that measures a trained model on held-out data.

        It gets a trial whose directory has the files that training left, and returns metrics, the score
        among them. `tune confirm` alone calls it. Raises TypeError or ValueError.
        """
        _check_function("a test function", function)
        if self.test_function is not None:
            raise ValueError(f"{self.name} has a test function already: {_named(self.test_function)}")
        self.test_function = function
        return function

    def run(
        self,
        settings: Mapping[str, Value] | None = None,
        /,
        *,
        seed: int = 0,
        budget: int | None = None,
        directory: str | Path | None = None,
        resumed: bool = False,
        test: bool = False,
        **more: Value,
    ) -> dict[str, float]:
        """Trains once in this process, without a search, and prints each report: to debug the function.

            if __name__ == "__main__":
                train.run(lr=0.01)

        Settings that are not given take the middle of their range or their first option. Settings called
        seed, budget, directory, resumed or test are given in a mapping: `train.run({"seed": 3})`. budget:
        None: the objective's. directory: None: a temporary folder. test: afterwards call the test function.
        Returns the metrics of the last report and of the test, which are named test_*. Raises SpaceError for
        settings outside the space; exceptions of the function pass through.
        """
        if importing:
            raise RuntimeError(
                f"{self.name}.run was called while tune imported {importing[-1]}; "
                'call it below `if __name__ == "__main__":`'
            )
        params = self._complete({**(settings or {}), **more})
        steps = self.budget if budget is None else _budget(budget)
        if directory is None:
            with tempfile.TemporaryDirectory(prefix="tune-") as folder:
                return self._run(params, seed, steps, Path(folder), resumed, test)
        Path(directory).mkdir(parents=True, exist_ok=True)
        return self._run(params, seed, steps, Path(directory), resumed, test)

    def _run(
        self, params: dict[str, Value], seed: int, budget: int, directory: Path, resumed: bool, test: bool
    ) -> dict[str, float]:
        if test and self.test_function is None:
            raise ValueError(f"{self.name} has no test function: decorate one with @{self.name}.test")
        given: dict[str, Any] = {
            "params": params,
            "seed": seed,
            "number": 0,
            "budget": budget,
            "directory": directory.resolve(),
            "resumed": resumed,
            "score": self.score,
            "checkpoints": self.checkpoints,
        }
        _say(f"{self.name}: {', '.join(f'{name}={value!r}' for name, value in params.items())}, seed={seed}")
        printed = _Printed(self.unit)
        trial = Trial(**given, listener=printed)
        returned = self.function(trial)
        trial.end()
        if problem := self.unfinished(trial, returned):
            raise RuntimeError(problem)
        if not test:
            return printed.metrics
        assert self.test_function is not None
        tested = self.tested(Trial(**given, listener=None))
        _say(f"test: {_told(tested)}")
        return {**printed.metrics, **{f"test_{name}": value for name, value in tested.items()}}

    def tested(self, trial: Trial) -> dict[str, float]:
        """What the test function returns. Raises TypeError or ValueError for what is not metrics."""
        assert self.test_function is not None
        metrics = self.test_function(trial)
        if not isinstance(metrics, Mapping):
            raise TypeError(
                f"{_named(self.test_function)} must return its metrics by name, such as "
                f'{{"{self.score}": 0.9}}, not {short(metrics)}'
            )
        return checked_metrics(metrics, self.score)

    def unfinished(self, trial: Trial, returned: object = None) -> str | None:
        """What is missing when the function has returned; None: the trial is complete."""
        if trial.last_step == trial.budget:
            return None
        done = f"after step {trial.last_step}" if trial.last_step else "without a report"
        value = "" if returned is None else f" with {short(returned)}"
        call = f"trial.report(trial.budget, {self.score}=...)"
        return (
            f"{self.name} returned{value} {done}; a trial ends with a report of its whole budget, "
            f"{trial.budget} ({self.unit}): {call}"
        )

    def _complete(self, given: Mapping[str, Value]) -> dict[str, Value]:
        domains = self.space.domains
        for name, value in given.items():
            if name not in domains:
                near = get_close_matches(str(name), domains, 1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise SpaceError(f"{short(name)} is not a setting of {self.name}{hint}")
            if not takes(domains[name], value):
                raise SpaceError(f"{name} must be {in_words(domains[name])}, not {short(value)}")
        params = self.space.active(self.space.complete(given, _middle))
        for name in given:
            if name not in params:
                raise SpaceError(f"{name} is not active beside these settings: {domains[name].when}")
        return {name: params[name] for name in domains if name in params}


def objective(
    *,
    space: Space,
    score: str,
    budget: int,
    direction: str = "maximize",
    unit: str = "epoch",
    checkpoints: bool = False,
) -> Callable[[Callable[[Trial], object]], Objective]:
    """Decorates a training function of one trial, so that `tune run --objective` can search its settings.

        @tune.objective(space=tune.Space(lr=tune.Float(1e-4, 0.1, log=True)), score="accuracy", budget=20)
        def train(trial: tune.Trial) -> None: ...

    score: the metric to maximize or minimize, a part of every report. budget: the last step of a trial.
    unit: what one step is, in the singular. checkpoints: whether the function continues from the files of its
    last `trial.checkpoint()` where `trial.resumed` is true. Raises SpaceError, TypeError or ValueError.
    """
    if not isinstance(space, Space):
        raise SpaceError(f"space must be tune.Space(...), not {short(space)}")
    if not space.domains:
        raise SpaceError("space must have at least one setting")
    for name, text in (("score", score), ("unit", unit)):
        if not is_name(text):
            raise ValueError(
                f"{name} must be a printable name of 1 to {MOST_NAME} characters, not {short(text)}"
            )
    if direction not in DIRECTIONS:
        near = get_close_matches(str(direction), DIRECTIONS, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"direction must be maximize or minimize, not {short(direction)}{hint}")
    if not isinstance(checkpoints, bool):
        raise ValueError(f"checkpoints must be True or False, not {short(checkpoints)}")
    steps = _budget(budget)

    def decorate(function: Callable[[Trial], object]) -> Objective:
        return Objective(
            function,
            space=space,
            score=score,
            direction=direction,
            budget=steps,
            unit=unit,
            checkpoints=checkpoints,
        )

    return decorate


class _Printed:
    """Prints what a trial reports."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.metrics: dict[str, float] = {}

    def report(self, content: dict[str, Any]) -> bool:
        self.metrics = content["metrics"]
        _say(f"{self.unit} {content['step']}: {_told(self.metrics)}")
        return True

    def checkpoint(self) -> bool:
        _say("checkpoint")
        return True

    def keep(self, files: list[str]) -> None:
        _say(f"keep {', '.join(files)}")


def _say(line: str) -> None:
    if sys.stdout is not None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _told(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in metrics.items())


def _check_function(what: str, function: Any) -> None:
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"{what} is a function of one trial, not {short(function)}")
    name = _named(function)
    if not hasattr(function, "__name__"):
        raise TypeError(f"{what} needs a name; {name} has none")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError(f"{what} is a plain function; {name} is a coroutine or a generator")
    try:
        inspect.signature(function).bind(object())
    except TypeError:
        raise TypeError(f"{what} is called with one trial, and {name} cannot be") from None
    except ValueError:
        pass  # a function in C without a signature


def _named(function: object) -> str:
    return getattr(function, "__name__", short(function))


def _budget(budget: object) -> int:
    if isinstance(budget, bool) or not isinstance(budget, int):
        raise ValueError(f"budget must be a whole number, not {short(budget)}")
    if not 1 <= budget <= MOST_BUDGET:
        raise ValueError(f"budget must be 1 to {MOST_BUDGET}, not {short(budget)}")
    return budget


def _middle(name: str, domain: Domain) -> Value:
    if isinstance(domain, Choice):
        return domain.options[0]
    if isinstance(domain, Fixed):
        return domain.value
    if isinstance(domain, Int):
        if domain.log:
            return min(domain.high, max(domain.low, math.isqrt(domain.low * domain.high)))
        return domain.low + (domain.high - domain.low) // 2 // domain.step * domain.step
    if domain.log:
        middle = math.exp((math.log(domain.low) + math.log(domain.high)) / 2)
        return min(domain.high, max(domain.low, middle))
    return domain.low / 2 + domain.high / 2
