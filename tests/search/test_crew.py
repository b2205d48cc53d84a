"""When a crew replaces a worker, and when it does not. The processes are stand-ins; real ones are in
test_processes.py and tests/faults/."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from search.study.study import DEATHS
from search.work.crew import AFRESH, GAVE_UP, RESTARTS, Crew, Order
from search.work.worker import FAILURES_IN_A_ROW


class Process:
    """What the crew sees of a worker."""

    pids = iter(range(1, 10_000))

    def __init__(self, failures_in_a_row: int) -> None:
        self.failures_in_a_row = failures_in_a_row
        self.pid = next(self.pids)
        self.exitcode: int | None = None


class StandIns(Crew):
    """A crew of such processes."""

    @property
    def processes(self) -> list[Process]:
        return self._processes  # type: ignore[return-value]

    def _start(self, *, failures_in_a_row: int) -> Process:  # type: ignore[override]
        return Process(failures_in_a_row)


@pytest.fixture
def crew() -> StandIns:
    order = Order(
        storage_url="sqlite:///none.db",
        study="s",
        artifact_root=Path(),
        device="cpu",
        threads=1,
        trial_timeout_s=math.inf,
    )
    return StandIns(order, 2)


def test_settings_that_take_every_worker_down_do_not_end_the_run(crew: StandIns) -> None:
    for _ in range(2 * (1 + DEATHS)):  # two such trials, one after the other
        pid = crew.processes[0].pid
        crew.processes[0].exitcode = -9
        assert crew.tend() == [pid]
    assert crew.gave_up is None
    assert not crew.ended


def test_a_crash_loop_does(crew: StandIns) -> None:
    for _ in range(RESTARTS + 1):
        assert crew.gave_up is None
        crew.processes[1].exitcode = 1
        crew.tend()
    assert "Workers died again and again, the last one with exit code 1" in str(crew.gave_up)


def test_a_worn_out_worker_is_no_death_and_hands_on_its_count(crew: StandIns) -> None:
    for count in [*range(1, FAILURES_IN_A_ROW), *[1] * (2 * RESTARTS)]:
        worn = crew.processes[1]
        worn.exitcode = AFRESH + count
        assert crew.tend() == [worn.pid]
        assert crew.processes[1].failures_in_a_row == count
        assert crew.processes[0].failures_in_a_row == 0
    assert crew.gave_up is None


def test_exit_codes_of_workers_are_told_apart() -> None:
    worn = range(AFRESH + 1, AFRESH + FAILURES_IN_A_ROW)
    assert not {0, 1, 2, GAVE_UP, 75, 78, 128 + 9, 128 + 15} & set(worn)


def test_who_gave_up_is_not_replaced(crew: StandIns) -> None:
    crew._last_words.put("Trial after trial failed.")
    crew.processes[0].exitcode = GAVE_UP
    assert crew.tend() == []
    assert crew.gave_up == "Trial after trial failed."
