"""A parent that speaks the protocol of docs/protocol.md with real processes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVE = ROOT / "tune" / "serve.py"
PATIENCE_S = 60.0

Message = tuple[str, dict[str, Any]]


class Parent:
    """One process that serves trials, and the parent's side of it."""

    def __init__(
        self,
        folder: Path,
        target: str,
        *arguments: str,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        serve: Path = SERVE,
        session: bool = True,
    ) -> None:
        self.folder = folder
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        stdin, self._stdin = os.pipe()
        with (folder / "output.txt").open("wb") as output:
            self.process = subprocess.Popen(
                [python, str(serve), target, *arguments],
                cwd=folder,
                env={
                    **inherited,
                    **(environment or {}),
                    "TUNE_REQUESTS": str(requests),
                    "TUNE_ANSWERS": str(answers),
                },
                pass_fds=(requests, answers),
                stdin=stdin,  # nothing comes, and it does not end: a program that reads it waits
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=session,
            )
        for number in (requests, answers, stdin):
            os.close(number)
        self._open = [self._requests, self._answers, self._stdin]
        self._received = b""
        self._trials = 0

    @property
    def output(self) -> str:
        return (self.folder / "output.txt").read_text(encoding="utf-8", errors="replace")

    def read(self, patience_s: float = PATIENCE_S) -> Message | None:
        """The next line; None: the process closed its end."""
        while b"\n" not in self._received:
            assert select.select([self._answers], [], [], patience_s)[0], f"no answer; {self.output[-2000:]}"
            some = os.read(self._answers, 1 << 16)
            if not some:
                return None
            self._received += some
        line, _, self._received = self._received.partition(b"\n")
        [message] = json.loads(line).items()
        return message

    def hello(self) -> dict[str, Any]:
        message = self.read()
        assert message is not None, self.output
        assert message[0] == "hello", message[1]
        return message[1]

    def ask(self, key: str, content: Mapping[str, Any] | None = None) -> None:
        os.write(self._requests, json.dumps({key: content or {}}).encode() + b"\n")

    def begin(self, key: str = "trial", **content: Any) -> Path:
        """Asks for a trial and returns its directory."""
        directory = self.folder / f"trial-{self._trials}"
        self._trials += 1
        directory.mkdir(exist_ok=True)
        asked = {"number": 7, "params": {}, "seed": 123, "budget": 3, "resumed": False}
        self.ask(key, {**asked, "directory": str(directory), **content})
        return directory

    def trial(self, key: str = "trial", *, stop_after: int | None = None, **content: Any) -> list[Message]:
        """Plays a whole trial: all messages until it ended; stop_after: tells it to stop after this step."""
        self.begin(key, **content)
        messages: list[Message] = []
        while not messages or messages[-1][0] not in ("ended", "failed", "tested"):
            message = self.read()
            assert message is not None, f"exited with {self.process.wait()}: {self.output[-2000:]}"
            messages.append(message)
            if message[0] == "report":
                self.ask("stop" if message[1]["step"] == stop_after else "go")
            elif message[0] == "checkpoint":
                self.ask("go")
        return messages

    def disappear(self) -> None:
        """What the process sees when its parent is killed."""
        while self._open:
            os.close(self._open.pop())

    def quit(self) -> int:
        self.ask("quit")
        return self.process.wait(PATIENCE_S)

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self.disappear()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Parent]]:
    """start(code, target): a process for this code in train.py, in a folder of the test."""
    parents: list[Parent] = []

    def begin(
        code: str | None = None, target: str = "train.py:train", *arguments: str, **more: Any
    ) -> Parent:
        if code is not None:
            write(tmp_path / "train.py", code)
        parents.append(Parent(more.pop("folder", tmp_path), target, *arguments, **more))
        return parents[-1]

    yield begin
    for parent in parents:
        parent.end()


HEADER = """
import tune

objective = tune.objective(space=tune.Space(x=tune.Float(0, 1)), score="accuracy", budget=3)
"""


def write(path: Path, code: str) -> None:
    """Writes training code; one that defines no objective begins with HEADER."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = textwrap.dedent(code)
    path.write_text(text if "tune.objective" in text else HEADER + text, encoding="utf-8")
