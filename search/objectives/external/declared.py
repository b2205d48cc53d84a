"""What training code declares: asked of a process that is started for that, and compared with its study."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search.errors import AbsentHere, ConfigError
from search.files import open_regular
from search.objectives.external.kind import CODE
from search.objectives.external.messages import Hello
from search.objectives.external.process import LOG_BYTES, Unstarted, start
from search.records import DeclaredSpec, Direction, Metric
from search.space.spec import (
    declared_entries,
    differences,
    space_of_entries_in_full,
    space_of_spec,
)

FUNCTION = "function"
"""Option of a study whose function is pickled: its file, in the folder of any study."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeOptions:
    """What the spec of a study says of its training code, besides metric, unit, budget and space."""

    command: tuple[str, ...]
    """what is started; nothing is added to it"""
    folder: Path
    """absolute: where the command runs"""
    objective: str
    """what messages call it: train.py:train"""
    code: Mapping[str, str]
    """SHA-256 by file, of the code with which the study was created"""
    checkpoints: bool
    """whether a trial can continue from files in its directory"""
    test: bool
    """whether the code has a test function"""
    log_bytes: int = LOG_BYTES
    """of a trial's output that are kept"""

    @classmethod
    def of(cls, spec: DeclaredSpec) -> CodeOptions:
        """Raises ConfigError for options that tune did not write."""
        told: Mapping[str, Any] = spec.options
        try:
            found = cls(
                command=tuple(map(str, told["command"])),
                folder=Path(told["folder"]),
                objective=str(told["objective"]),
                code=dict(told["code"]),
                checkpoints=bool(told["checkpoints"]),
                test=bool(told["test"]),
                log_bytes=int(told.get("log_bytes", LOG_BYTES)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"The study's training code cannot be read from its spec: {error!r}."
            ) from error
        if not found.command or not found.folder.is_absolute():
            raise ConfigError("The study's training code has no command, or a folder that is not absolute.")
        return found


def hello_of(objective: str, command: Sequence[str], folder: Path) -> Hello:
    """What training code declares, of a process that is started for that alone.

    objective: what messages call it. Raises AbsentHere where it cannot be started on this machine, with the
    traceback of code that cannot be imported.
    """
    refuse_absent(objective, command, folder)
    with tempfile.TemporaryDirectory(prefix="tune-") as place:
        try:
            process, hello = start(command, folder, Path(place) / "log")
        except (Unstarted, OSError) as error:
            raise AbsentHere(unstarted(objective, error)) from error
        process.quit()
    return hello


def refuse_absent(objective: str, command: Sequence[str], folder: Path) -> None:
    """Raises AbsentHere where the folder or the program that is started is not on this machine."""
    program = command[0]
    if not folder.is_dir():
        where = f"is in the folder {folder}"
    elif shutil.which(folder / program if "/" in program else program) is None:
        where = f"is started with {program}"
    else:
        return
    raise AbsentHere(
        f"{objective} {where}, which is not on this machine ({platform.node()}): a study's workers need it "
        "under the same path. A study in an SQLite file continues where its folder or interpreter was moved: "
        "`tune run --objective FILE --python PATH`."
    )


def unstarted(objective: str, error: Unstarted | OSError) -> str:
    """Why training code did not start: a sentence, and its traceback or its last output."""
    if isinstance(error, OSError):
        return f"{objective} did not start: {error.strerror}."
    more = "" if error.detail == str(error) else f"\n{error.detail.removeprefix(f'{error}. ')}"
    return f"{objective} did not start: {error}{'' if str(error).endswith('?') else '.'}{more}"


def checksums(hello: Hello, command: Sequence[str], folder: Path) -> dict[str, str]:
    """SHA-256 by file of the code that a process runs: as it says, else of the files in its command."""
    if hello.code:
        return dict(hello.code)
    found = {}
    for word in command:
        with suppress(OSError), open_regular(folder / word) as file:
            found[word] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def sha256_of(code: Mapping[str, str]) -> str:
    """One SHA-256 for the whole code. code: SHA-256 by file."""
    return hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()


def spec_of(
    hello: Hello,
    *,
    objective: str,
    command: Sequence[str],
    folder: Path,
    seed: int,
    sampler: str,
    pruner: str,
) -> DeclaredSpec:
    """The spec of a study of training code that declares this.

    objective: what messages call it. Raises ConfigError for a space that is not valid.
    """
    try:
        space = declared_entries(space_of_entries_in_full(hello.space))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{objective} declares a space that is not valid: {error}.") from error
    return DeclaredSpec(
        objective=CODE,
        metric=Metric(name=hello.score, direction=Direction(hello.direction), is_fraction=False),
        unit=hello.unit,
        budget=hello.budget,
        space=space,
        seed=seed,
        sampler=sampler,
        pruner=pruner,
        options={
            "command": list(command),
            "folder": str(folder),
            "objective": objective,
            "code": checksums(hello, command, folder),
            "checkpoints": hello.checkpoints,
            "test": hello.test,
        },
    )


def spec_now(spec: DeclaredSpec, hello: Hello) -> DeclaredSpec:
    """What a study of this spec would be of, were it made of what its code declares now. Raises as
    `spec_of`."""
    options = CodeOptions.of(spec)
    now = spec_of(
        hello,
        objective=options.objective,
        command=options.command,
        folder=options.folder,
        seed=spec.seed,
        sampler=spec.sampler,
        pruner=spec.pruner,
    )
    return replace(now, options={**spec.options, **now.options})


def refuse_change(spec: DeclaredSpec, now: DeclaredSpec, *, space_may_change: bool = False) -> None:
    """Raises ConfigError where training code declares another search than the one that its study has.

    Changes of the code itself are no reason: every trial records the code that it ran.
    """
    changed = list(_changes(spec, now))
    # The settings of confirmations and ablations are given: it is their search whose space must agree.
    in_space = differences(space_of_spec(spec), space_of_spec(now)) if spec.searches else []
    if not changed and (space_may_change or not in_space):
        return
    told = [(name, f"{name} {after}, not {before}") for name, after, before in changed]
    if in_space and not space_may_change:
        told.append(("space", f"space ({'; '.join(in_space)})"))
    names = [name for name, _ in told]
    named = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    advice = "Take the change back, or begin another search: `tune run` with --study NAME."
    if not changed:
        advice = (
            "Take the change back, begin another search with `tune run` and --study NAME, or continue with "
            "this one in the changed space: `tune run` with --objective or --command and --space-changed."
        )
    raise ConfigError(
        f"{now.options['objective']} declares another {named} than its study has: "
        f"{'; '.join(words for _, words in told)}. {advice}"
    )


def refuse_other_place(study: str, then: DeclaredSpec, now: DeclaredSpec) -> None:
    """Raises ConfigError where a command names code in another folder or another interpreter than its study
    runs: its workers would run what the study has.

    study: its name. The folder counts for a pickled function too, the interpreter does not: it is replaced
    together with the function.
    """
    has, named = CodeOptions.of(then), CodeOptions.of(now)
    told = []
    if not _is_same(has.folder, named.folder):
        told.append(f"in {has.folder}, and this command names the one in {named.folder}")
    if FUNCTION not in then.options and not _is_same_program(has.command[0], named.command[0]):
        told.append(f"with {has.command[0]}, and this command names {named.command[0]}")
    if told:
        raise ConfigError(
            f"The study {study} runs {has.objective} {'; '.join(told)}. `tune run --study "
            f"{shlex.quote(study)}` continues with what the study has; give --study another name for a new "
            "search."
        )


def is_gone(spec: DeclaredSpec) -> bool:
    """Whether what a study's code is started with, or in, is not on this machine any more: its folder, its
    interpreter or tune was moved."""
    has = CodeOptions.of(spec)
    # Each call with a pickled function brings what it is started with.
    started = () if FUNCTION in spec.options else has.command[:2]
    programs = [Path(part) for part in started if Path(part).is_absolute()]
    return not has.folder.is_dir() or not all(each.exists() for each in programs)


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file or folder. Those that are not on this machine are compared as
    text."""
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False


def _is_same_program(one: str, other: str) -> bool:
    """The interpreters of two virtual environments are links to one file, and differ by their folder."""
    return one == other or (
        _is_same(Path(one).parent, Path(other).parent) and _is_same(Path(one), Path(other))
    )


def _changes(then: DeclaredSpec, now: DeclaredSpec) -> Iterator[tuple[str, object, object]]:
    """(what, now, then) of all but the space. An ablation's budget is that of its variants."""
    budget = then.budget if then.ablates is None else now.budget
    pairs: list[tuple[str, object, object]] = [
        ("file or function", now.options.get("objective"), then.options.get("objective")),
        ("score", now.metric.name, then.metric.name),
        ("direction", now.metric.direction.value, then.metric.direction.value),
        ("unit", now.unit, then.unit),
        ("budget", now.budget, budget),
        ("support of checkpoints", now.options.get("checkpoints"), then.options.get("checkpoints")),
    ]
    return (pair for pair in pairs if pair[1] != pair[2])
