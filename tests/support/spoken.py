"""Training code that speaks the protocol by hand (docs/protocol.md), and studies of it.

A program is the frame below and a `train` of the test's. It notes each line that it reads in `heard.jsonl`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from search.records import DeclaredSpec, Direction, Metric
from search.space.spec import declared_entries
from tune.space import Choice, Float, Space

SPACE = Space(x=Float(0.0, 1.0), y=Choice(["a", "b"]))
BUDGET = 9

FRAME = '''
import json, os, pathlib, signal, subprocess, sys, time

requests = os.fdopen(int(os.environ["TUNE_REQUESTS"]))
answers = os.fdopen(int(os.environ["TUNE_ANSWERS"]), "w")
here = pathlib.Path(__file__).parent

class Stopped(Exception):
    pass

def say(key, **body):
    answers.write(json.dumps({key: body}) + chr(10))
    answers.flush()

def hear():
    line = requests.readline()
    if not line:
        sys.exit()
    with (here / "heard.jsonl").open("a") as file:
        file.write(line)
    [(key, body)] = json.loads(line).items()
    if key == "quit":
        sys.exit()
    return key, body

def checkpoint():
    say("checkpoint")
    assert hear()[0] == "go"

def report(step, **metrics):
    say("report", step=step, metrics=metrics)
    if hear()[0] == "stop":
        raise Stopped

def value(trial, step):
    params = trial["params"]
    return (params["x"] - 0.3) ** 2 + (params["y"] == "a") + 1 / step

def whole(trial, each=lambda trial, step: None, every=1, report_every=1):
    """A trial that saves how far it is, and checkpoints that."""
    place, first = pathlib.Path(trial["directory"]), 1
    if trial["resumed"]:
        first = json.loads((place / "deep" / "state.json").read_text())["step"] + 1
    for step in range(first, trial["budget"] + 1):
        each(trial, step)
        (place / "deep").mkdir(exist_ok=True)
        (place / "deep" / "state.json").write_text(json.dumps({"step": step}))
        if CHECKPOINTS and step % every == 0:
            checkpoint()
        if step % report_every == 0:
            report(step, loss=value(trial, step), first=float(first))
'''

LOOP = """
say("hello", protocol=1, name="train", space=SPACE, score="loss", direction="minimize", budget=9,
    unit="epoch", checkpoints=CHECKPOINTS, test=False, code={"train.py": CODE}, more="of a later version")
while True:
    key, body = hear()
    assert key == "trial", key
    try:
        train(body)
    except Stopped:
        pass
    say("ended")
"""

TRAIN = """
def train(trial):
    whole(trial)
"""


def program(folder: Path, train: str = TRAIN, *, checkpoints: bool = True, before: str = "") -> Path:
    """Writes train.py into the folder. before: code that runs before anything else."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = (
        f"SPACE = {declared_entries(SPACE)!r}\nCHECKPOINTS = {checkpoints}\n"
        "import hashlib\nCODE = hashlib.sha256(open(__file__, 'rb').read()).hexdigest()\n"
    )
    path = folder / "train.py"
    path.write_text(before + settings + FRAME + train + LOOP)
    return path


def spoken_spec(path: Path, **changed: Any) -> DeclaredSpec:
    """The spec of a study of the program that `program` has written."""
    told: dict[str, Any] = {
        "objective": "code",
        "metric": Metric(name="loss", direction=Direction.MINIMIZE),
        "unit": "epoch",
        "budget": BUDGET,
        "space": declared_entries(SPACE),
        "seed": 0,
        "sampler": "random",
        "pruner": "none",
    }
    options = {
        "command": [sys.executable, "-B", str(path)],
        "folder": str(path.parent),
        "objective": "train.py:train",
        "code": {"train.py": hashlib.sha256(path.read_bytes()).hexdigest()},
        "checkpoints": "CHECKPOINTS = True" in path.read_text(),
        "test": False,
        **changed.pop("options", {}),
    }
    return DeclaredSpec(**{**told, **changed}, options=options)


def heard(folder: Path, key: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    """What the program was asked, in order; key: only these requests."""
    lines = (folder / "heard.jsonl").read_text().splitlines()
    asked = [next(iter(json.loads(line).items())) for line in lines]
    return [each for each in asked if key in (None, each[0])]
