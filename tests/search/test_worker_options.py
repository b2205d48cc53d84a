"""What a user asks of workers goes from the flags of a command to the worker process as one object."""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from search.cli.app import run_command
from search.errors import UsageError
from search.service.create import RunRequest
from search.worker.options import DEFAULT_OPTIONS, DeviceName, WorkerOptions
from search.worker.process import WorkerConfig

FLAGS = {
    "--workers": ("workers", 3),
    "--threads": ("threads", 2),
    "--device": ("device", "cpu"),
    "--engine": ("engine", "ray"),
    "--address": ("address", "host:6379"),
    "--timeout": ("timeout_s", 60.0),
    "--trial-timeout": ("trial_timeout_s", 30.0),
    "--stall-timeout": ("stall_timeout_s", 45.0),
    "--target": ("target", 0.985),
}
"""Flag of `tune run` -> field of WorkerOptions, and a value that is not its default."""

OTHERWISE = WorkerOptions(**dict(FLAGS.values()))  # type: ignore[arg-type]
"""Options of which each differs from its default."""


class Seen(UsageError):
    """Ends a command where its service would begin."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[WorkerOptions]:
    """The options that a command has given its service."""
    found: list[WorkerOptions] = []

    def run(request: RunRequest, *_: object, **__: object) -> None:
        found.append(request.options)
        raise Seen("seen")

    def others(first: Any, second: Any, *rest: Any, **_: object) -> None:
        found.extend(each for each in (first, second, *rest) if isinstance(each, WorkerOptions))
        found.extend([first.options] if hasattr(first, "options") else [])
        raise Seen("seen")

    monkeypatch.setattr("search.service.run.run", run)
    for service in ("search.service.run.join", "search.service.run.serve", "search.service.confirm.confirm"):
        monkeypatch.setattr(service, others)
    return found


def test_every_option_differs_from_its_default_here() -> None:
    fields = {field.name for field in dataclasses.fields(WorkerOptions)}
    assert {name for name, _ in FLAGS.values()} == fields, "a new option needs a flag, and stands in FLAGS"
    assert all(getattr(OTHERWISE, name) != getattr(DEFAULT_OPTIONS, name) for name in fields)


@pytest.mark.parametrize("flag", FLAGS)
def test_each_flag_of_run_sets_its_field_and_no_other(flag: str, seen: list[WorkerOptions]) -> None:
    name, value = FLAGS[flag]
    assert run_command(["run", "--task", "twodigit", flag, str(value)], debug=False) == 2
    assert seen == [dataclasses.replace(DEFAULT_OPTIONS, **{name: value})]


@pytest.mark.parametrize(("command", "without", "workers"), [
    (["worker", "s"], {"--timeout", "--target"}, 1),
    (["worker", "--forever"], {"--timeout", "--target"}, 1),
    (["confirm", "s"], {"--timeout", "--target", "--engine", "--address"}, None),
])  # fmt: skip
def test_each_command_has_the_worker_options_that_apply_to_it(
    command: list[str], without: set[str], workers: int | None, seen: list[WorkerOptions]
) -> None:
    flags = [word for flag, (_, value) in FLAGS.items() if flag not in without for word in (flag, str(value))]
    kept = {name: getattr(DEFAULT_OPTIONS, name) for flag, (name, _) in FLAGS.items() if flag in without}
    assert run_command([*command, *flags], debug=False) == 2
    assert run_command(command, debug=False) == 2
    assert seen == [
        dataclasses.replace(OTHERWISE, **kept),
        dataclasses.replace(DEFAULT_OPTIONS, workers=workers),
    ]
    for flag in without:
        assert run_command([*command, flag, "1"], debug=False) == 2
    assert len(seen) == 2, "a flag that the command does not have is refused"


@pytest.mark.parametrize("device", get_args(DeviceName))
def test_a_config_arrives_whole(device: DeviceName) -> None:
    odd = Path(os.fsdecode(b"/tmp/\xff\xe4 '\"\\"))  # no text in any encoding
    config = WorkerConfig(
        storage_url="postgresql://u:p%40ss@h/d",
        study="a “study”",
        artifact_root=odd,
        options=dataclasses.replace(OTHERWISE, device=device),
        gpu=1,
        left_s=12.5,
        storage_file=(2**40, 7),
        new_weights_in="database",
        failures_in_a_row=2,
    )
    assert WorkerConfig.from_json(config.to_json()) == config
    assert pickle.loads(pickle.dumps(config)) == config, "as multiprocessing and Ray send it"
    least = WorkerConfig(storage_url="sqlite:///s.db", study="s", artifact_root=odd, options=DEFAULT_OPTIONS)
    assert WorkerConfig.from_json(least.to_json()) == least


def test_how_a_local_worker_ended_is_what_it_said(tmp_path: Path) -> None:
    """Its process imports this script again, so that run_worker is replaced there too."""
    script = tmp_path / "ends.py"
    script.write_text(
        """
import os, sys
from pathlib import Path
from search.launchers import local
from search.worker.options import WorkerOptions
from search.worker.process import WorkerConfig, WorkerExit

ENDS = {
    "worn out": lambda: WorkerExit(how="worn out", failures_in_a_row=300),
    "gave up": lambda: WorkerExit(how="gave up", words="Trial after trial failed. " * 200),
    "away": lambda: WorkerExit(how="died", words="The storage does not answer."),
    "well": lambda: WorkerExit(how="well"),
    "says nothing": lambda: os._exit(0),
}
local.run_worker = lambda config, stop: ENDS[config.study]()
if __name__ == "__main__":
    workers = {}
    for name in ENDS:
        config = WorkerConfig(storage_url="", study=name, artifact_root=Path(), options=WorkerOptions())
        workers[name] = local.LocalWorker(config)
    for name, worker in workers.items():
        worker.wait(60)
        expected = WorkerExit(how="died", words="exit code 0") if name == "says nothing" else ENDS[name]()
        assert worker.end == expected, (name, worker.end)
        assert worker.end == expected, "also when it is asked again"
    sys.stdout.write("all as said")
"""
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("all as said", "")
