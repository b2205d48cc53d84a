"""What claims, leases, the reaper and saves cost: the same small real study with them and without, by turns.

Without: one worker that fills its slots by counting, as if nobody else worked on the study and nothing ever
failed. The stand-ins are here; no switch of tune turns its safety off. One worker and one seed, so that both
train the same trials bit for bit; a run whose results differ from the first one's ends the benchmark.
Prints a Markdown table: the ratio of each pair of runs that follow each other, their median and their spread,
in wall time and in this process's processor time, which other programs on the machine disturb less.

    python benchmarks/claims.py --pairs 7 --trials 20 --epochs 1
    python benchmarks/claims.py --storage postgresql://postgres@127.0.0.1:5432/empty
"""

import argparse
import contextlib
import datetime
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from data.datasets.mnist import Mnist, load
from models.device import prepare_process
from search.optuna_db.storage import open_storage
from search.records import Answers, CheckpointRecord, Claim
from search.service.create import RunRequest, create_or_resume
from search.store.sql import SQLStore
from search.worker.context import prepare
from search.worker.trial_runner import TrialRunner
from search.worker.worker_loop import work

Result = list[tuple[str, float | None]]


class Counting:
    """Slots of a study that nobody else works on."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._taken: list[Claim] = []

    def claim(
        self,
        study_id: int,
        worker_id: str,
        *,
        lease_s: float,
        created: datetime.datetime | None = None,
        space_changes: int | None = None,
    ) -> Claim | None:
        """The next one."""
        if len(self._taken) == self._slots:
            return None
        claim = Claim(
            claim_id=len(self._taken) + 1,
            study_id=study_id,
            slot=len(self._taken),
            worker_id=worker_id,
            token="",
            trial_id=None,
            done=False,
            expires=datetime.datetime.now(datetime.UTC),
        )
        self._taken.append(claim)
        return claim

    def claims(self, _study_id: int) -> list[Claim]:
        """All, for done: a worker asks when it has nothing left to do."""
        return [replace(claim, done=True) for claim in self._taken]


class NoLeases:
    """In the place of search.worker.leases.Leases."""

    def __init__(self, *_arguments: object, **_more: object) -> None:
        pass

    def __enter__(self) -> "NoLeases":
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def hold(self, _claim: Claim) -> None:
        """Nothing."""

    drop = hold

    def lost(self, _claim: Claim) -> bool:
        """Never."""
        return False


class NoReaper:
    """In the place of search.worker.recovery.Reaper."""

    due = False

    def __init__(self, *_arguments: object, **_more: object) -> None:
        pass


@contextlib.contextmanager
def without(slots: int) -> Iterator[None]:
    """No claims, no leases, no reaper, no saves, for as long as the block lasts."""

    def nothing(*_arguments: object, **_more: object) -> Any:
        return []

    counting = Counting(slots)
    add_checkpoint = SQLStore.add_checkpoint

    def unclaimed(
        self: SQLStore,
        study_id: int,
        checkpoint: CheckpointRecord,
        *,
        content: bytes | None = None,
        answers: Answers | None = None,
        **_claim: object,
    ) -> None:
        add_checkpoint(self, study_id, checkpoint, content=content, answers=answers)

    stand_ins: tuple[tuple[type, str, Any], ...] = (
        (SQLStore, "claim", lambda _self, *given, **more: counting.claim(*given, **more)),
        (SQLStore, "claims", lambda _self, study_id: counting.claims(study_id)),
        (SQLStore, "attach", nothing),
        (SQLStore, "require_held", nothing),
        (SQLStore, "settle", nothing),
        (SQLStore, "open_claims", nothing),
        (SQLStore, "add_checkpoint", unclaimed),
        (TrialRunner, "write_checkpoint", nothing),
        (TrialRunner, "park", nothing),
    )
    with contextlib.ExitStack() as stack:
        for place, name, stand_in in stand_ins:
            stack.enter_context(mock.patch.object(place, name, stand_in))
        stack.enter_context(mock.patch("search.worker.worker_loop.Leases", NoLeases))
        stack.enter_context(mock.patch("search.worker.worker_loop.Reaper", NoReaper))
        yield


def run(url: str, request: RunRequest, mnist: Mnist, folder: Path) -> tuple[float, float, Result]:
    """(wall seconds, processor seconds, what came out) of the whole study with one worker."""
    with open_storage(url) as storage:
        study, _ = create_or_resume(storage, request, mnist)
        context = prepare(storage, study.name, mnist, folder, device="cpu", threads=1)
        wall, processor = time.perf_counter(), time.process_time()
        work(context, stop=lambda: False)
        seconds = time.perf_counter() - wall, time.process_time() - processor
        return *seconds, [(trial.state.value, trial.score) for trial in study.trials()]


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--storage", help="an empty database; default: a new SQLite file")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--model", default="all")
    arguments = parser.parse_args()
    prepare_process(threads=1)
    mnist = load()
    ratios: list[tuple[float, float]] = []
    expected: Result | None = None
    print("| pair | with, s | without, s | wall | processor |\n|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as name:
        url = arguments.storage or f"sqlite:///{Path(name) / 'claims.db'}"
        for pair in range(-1, arguments.pairs):  # the first pair warms up
            seconds: dict[bool, tuple[float, float]] = {}
            for safe in (True, False) if pair % 2 else (False, True):
                request = RunRequest(
                    task="twodigit",
                    trials=arguments.trials,
                    epochs=arguments.epochs,
                    model=arguments.model,
                    study=f"pair-{pair}-{'with' if safe else 'without'}",
                )
                with contextlib.nullcontext() if safe else without(arguments.trials):
                    wall, processor, found = run(url, request, mnist, Path(name))
                seconds[safe] = wall, processor
                expected = expected or found
                if found != expected:
                    raise SystemExit(f"{request.study}: not the trials that the first run trained")
            if pair >= 0:
                wall, processor = (a / b for a, b in zip(seconds[True], seconds[False], strict=True))
                ratios.append((wall, processor))
                times = f"{seconds[True][0]:.2f} | {seconds[False][0]:.2f}"
                print(f"| {pair} | {times} | {wall:.3f} | {processor:.3f} |", flush=True)
    spreads = [
        f"{statistics.median(of):.3f} ({min(of):.3f}–{max(of):.3f})" for of in zip(*ratios, strict=True)
    ]
    print(f"| median (lowest–highest), n = {len(ratios)} | | | {' | '.join(spreads)} |")


if __name__ == "__main__":
    main()
