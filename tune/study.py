"""Searches and studies from Python: each call is a command of this installation (`tune --help`)."""

from __future__ import annotations

import dataclasses
import inspect
import os
import site
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tune import objectives
from tune.command import Caller, TuneError
from tune.conditions import Value
from tune.objectives import Objective
from tune.pickled import EXTRA, SUFFIX, UnusableFunction, write_function


@dataclass(frozen=True)
class TrialResult:
    """What is known of one trial."""

    number: int
    state: str
    """complete, pruned, failed, running, waiting, or foreign: added by another program"""
    value: float | None
    """best value of the score; None: it reported none"""
    params: Mapping[str, Value]
    step: int
    """of its last report, in units of the objective"""
    seconds: float | None
    """of work; None: not known"""
    failure: str | None
    """why it failed, in a word; None: it did not"""


@dataclass(frozen=True)
class BestTrial:
    """The best trial of a search."""

    number: int
    value: float
    """of the score"""
    params: Mapping[str, Value]
    step: int
    """after which it had this value, in units of the objective"""
    metrics: Mapping[str, float]
    """of that report"""


class Study:
    """A study in a storage. Every property and method asks the storage anew, which takes a second or two.

    All of them raise TuneError, with the sentence and the exit code of the command, where it refuses.
    """

    def __init__(self, name: str, caller: Caller) -> None:
        """Made by `tune.search` and `tune.open_study`."""
        self.name = name
        self._caller = caller

    def __repr__(self) -> str:
        return f"<tune.Study {self.name}>"

    @property
    def best(self) -> BestTrial:
        """The best complete trial. Raises TuneError where no trial is complete yet."""
        found = self._ask("best")
        return BestTrial(
            number=found["trial"],
            value=found["value"],
            params=found["params"],
            step=found["step"],
            metrics=found["metrics"],
        )

    @property
    def trials(self) -> list[TrialResult]:
        """All trials, by number."""
        return [
            TrialResult(
                number=row["trial"],
                state=row["state"],
                value=row["value"],
                params=row["params"],
                step=row["step"],
                seconds=row["seconds"],
                failure=row["failure"],
            )
            for row in self._ask("trials")
        ]

    def trials_dataframe(self) -> Any:
        """All trials as a pandas.DataFrame, a row each: the fields of `TrialResult`, and a column
        `params_NAME` for each setting, NaN where a trial does not have it.

        Raises ModuleNotFoundError where pandas is not installed.
        """
        pandas = _extra("pandas", "trials_dataframe")
        rows = []
        for trial in self.trials:
            fields = dataclasses.asdict(trial)
            params = fields.pop("params")
            rows.append({**fields, **{f"params_{name}": value for name, value in params.items()}})
        columns = [field.name for field in dataclasses.fields(TrialResult) if field.name != "params"]
        names = list(dict.fromkeys(name for row in rows for name in row if name not in columns))
        return pandas.DataFrame(rows, columns=[*columns, *names])

    def plot_history(self) -> Any:
        """Every finished trial, and the best so far: a plotly.graph_objects.Figure, as all plots are.

        Plots raise ModuleNotFoundError where plotly is not installed, and TuneError where no trial has come
        to a result.
        """
        return self._figure("history")

    def plot_curves(self) -> Any:
        """The learning curves of the best trials."""
        return self._figure("curves")

    def plot_effects(self) -> Any:
        """How much of the differences between trials goes with each setting.

        Raises TuneError as long as too few trials are finished to compare any.
        """
        return self._figure("effects")

    def plot_effect(self, setting: str) -> Any:
        """One setting against the score. Raises TuneError also for an unknown setting."""
        return self._figure(f"effect {setting}")

    def plot_sizes(self) -> Any:
        """The number of a model's parameters against the score. Raises TuneError also where it is not known,
        as of your own training code."""
        return self._figure("sizes")

    def plot_time(self) -> Any:
        """Where the time went: complete, pruned and failed trials."""
        return self._figure("time")

    def report(self, path: str | os.PathLike[str] = "report.html", *, force: bool = False) -> Path:
        """Writes what the study found as one HTML page, and returns its path. force: over a file that is
        there."""
        out = Path(path).absolute()
        self._ask("report", *_flag("out", out), *(["--force"] if force else []))
        return out

    def confirm(
        self,
        *,
        top: int = 5,
        seeds: int = 5,
        workers: int | None = None,
        threads: int | None = None,
        device: str | None = None,
        trial_timeout: float | None = None,
        stall_timeout: float | None = None,
        progress: bool = True,
    ) -> dict[str, Any]:
        """Repeats the leaders on fresh seeds and ranks them by their means, with intervals.

        threads, device, trial_timeout, stall_timeout: as in `tune.search`.

        Returns what `tune confirm --json` prints: `chosen` is the number of the chosen trial,
        `confirmed_value` its mean, `candidates` has all of them and `words` the sentences. Raises
        KeyboardInterrupt after Ctrl-C; the same call then continues. Where the test function fails, the
        TuneError has in `found` what would have been returned.
        """
        limits = _limits(workers, threads, device, trial_timeout, stall_timeout)
        flags = _flags({"top": top, "seeds": seeds, **limits})
        found = self._ask("confirm", *flags, progress=progress)
        assert isinstance(found, dict)
        return found

    def export(self, path: str | os.PathLike[str], *, trial: int | None = None, force: bool = False) -> Path:
        """Exports what the best trial made, or trial `trial`, to a folder; returns its path. force: over a
        folder that is there."""
        out = Path(path).absolute()
        self._ask("export", *_flag("out", out), *_flag("trial", trial), *(["--force"] if force else []))
        return out

    def _figure(self, name: str) -> Any:
        graphs = _extra("plotly.graph_objects", f"plot_{name.split()[0]}")
        return graphs.Figure(self._ask("figures", *_flag("only", name))[name])

    def _ask(self, command: str, *arguments: str, progress: bool = False) -> Any:
        return self._caller.ask(command, *arguments, study=self.name, progress=progress)


def open_study(name: str, *, storage: str | None = None) -> Study:
    """A study that exists. storage: URL; None: TUNE_STORAGE, else sqlite:///studies.db in this folder.

    Raises TuneError where there is no such study.
    """
    study = Study(name, Caller.here(storage))
    study._ask("trials")
    return study


def search(
    objective: Objective,
    *,
    trials: int | None = None,
    workers: int | None = None,
    threads: int | None = None,
    device: str | None = None,
    study: str | None = None,
    storage: str | None = None,
    seed: int | None = None,
    sampler: str | None = None,
    pruner: str | None = None,
    timeout: float | None = None,
    trial_timeout: float | None = None,
    stall_timeout: float | None = None,
    target: float | None = None,
    space_changed: bool = False,
    progress: bool = True,
) -> Study:
    """Searches the settings of a training function, as `tune run --objective` does, and shows its progress.

        study = tune.search(train, trials=50, workers=2)
        study.best.params

    It ends when `trials` trials are finished in all; the same call continues after Ctrl-C
    (KeyboardInterrupt), and one with more trials later. trials: None: 100 in a new study, else as many as it
    has been asked for. workers: processes; None: one a core. threads: of each; None: 1. device: auto, cpu or
    cuda; None: auto. study: its name; None: the file's, or the function's where it is in none. storage: URL;
    None: TUNE_STORAGE, else sqlite:///studies.db in this folder. timeout: seconds of the whole call.
    trial_timeout: seconds of one trial; None: no limit. stall_timeout: seconds in which a trial must report;
    None: 600. Others, space_changed among them: as in `tune run --help`.

    A function that was defined in a notebook or an interactive session is sent to the workers by
    cloudpickle; they run on this machine only. Raises TypeError for a function that is no objective,
    RuntimeError where the call runs again in each worker, ModuleNotFoundError where cloudpickle is not
    installed, and TuneError where the command refuses or fails.
    """
    _refuse_unusable(objective)
    asked = {"trials": trials, "seed": seed, "sampler": sampler, "pruner": pruner}
    limits = _limits(workers, threads, device, trial_timeout, stall_timeout)
    flags = _flags({**asked, "timeout": timeout, "target": target, **limits})
    given = [*flags, *(["--space-changed"] if space_changed else [])]
    caller = Caller.here(storage)
    with tempfile.TemporaryDirectory(prefix="tune-") as folder:
        place = place_of(objective)
        if place is None:
            place, study = _pickled(objective, Path(folder)), study or objective.name
        found = caller.ask(
            "run", *_flag("objective", place), *_flag("study", study), *given, progress=progress
        )
    return Study(found["study"], caller)


def _refuse_unusable(objective: object) -> None:
    """Raises TypeError for what is no objective, RuntimeError where the call runs again in each worker."""
    if not isinstance(objective, Objective):
        raise TypeError(
            f"tune.search takes a function decorated with @tune.objective(...), not {objective!r}"
        )
    if objectives.importing:
        raise RuntimeError(
            f"tune.search was called while tune imported {objectives.importing[-1]}; "
            'call it below `if __name__ == "__main__":`'
        )


def place_of(objective: Objective) -> str | None:
    """The file or module, and the name there, by which another process finds an objective, as `tune run
    --objective` takes it; None: it has none, and has to be pickled."""
    module = sys.modules.get(objective.__module__)
    file = getattr(module, "__file__", None)
    name = next((name for name, each in vars(module).items() if each is objective), None) if module else None
    if module is None or name is None or not isinstance(file, str) or not file.endswith(".py"):
        return None
    path = Path(file).resolve()
    if not path.is_file() or _source_of(objective) != path:
        return None  # a notebook or an interactive session, whose module may name a file that is another's
    spec = getattr(module, "__spec__", None)
    imported = spec.name if spec is not None else module.__name__
    if "." not in imported:
        return f"{path}:{name}"
    depth = imported.count(".") + (path.name == "__init__.py")
    root = path.parents[depth]
    return f"{imported}:{name}" if root in _roots() else None


def _pickled(objective: Objective, folder: Path) -> str:
    """As `place_of`, of a file in the folder that the objective is written to. Raises TuneError where it
    refers to something that cannot be pickled."""
    file = folder / f"{objective.name}{SUFFIX}"
    try:
        write_function(objective, file)
    except UnusableFunction as error:
        raise TuneError(str(error), 78) from error
    return f"{file}:{objective.name}"


def _source_of(objective: Objective) -> Path | None:
    """The file that defines the function."""
    code = getattr(inspect.unwrap(objective.function), "__code__", None)
    return None if code is None else Path(code.co_filename).resolve()


def _roots() -> set[Path]:
    """Folders whose packages a worker finds, too."""
    packages = [*site.getsitepackages(), site.getusersitepackages()]
    return {Path.cwd().resolve(), *(Path(each).resolve() for each in packages)}


def _flag(name: str, value: object) -> list[str]:
    return [] if value is None else [f"--{name}={value}"]


def _limits(
    workers: int | None,
    threads: int | None,
    device: str | None,
    trial_timeout: float | None,
    stall_timeout: float | None,
) -> dict[str, object]:
    """Flags that every command takes which starts workers."""
    return {
        "workers": workers,
        "threads": threads,
        "device": device,
        "trial-timeout": trial_timeout,
        "stall-timeout": stall_timeout,
    }


def _flags(values: Mapping[str, object]) -> list[str]:
    """values: by the flag's name; None: the flag is left out."""
    return [word for name, value in values.items() for word in _flag(name, value)]


def _extra(module: str, method: str) -> Any:
    """A library that tune does without. Raises ModuleNotFoundError with the command that installs it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        library = module.split(".")[0]
        if (error.name or "").split(".")[0] != library:
            raise
        raise ModuleNotFoundError(
            f"{method} needs {library}, which is not installed: {EXTRA}", name=library
        ) from None
