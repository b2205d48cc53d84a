"""When a pool replaces a worker, and when it does not. The workers are puppets; real ones are in
test_processes.py, test_ray_cluster.py and tests/faults/."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from search.launchers.base import Place
from search.launchers.local import WORKERS_PER_GPU, LocalLauncher
from search.launchers.pool import RESTARTS, WITHIN_S, WorkerPool
from search.study.study import DEATHS
from search.worker import process
from search.worker.options import WorkerOptions
from search.worker.process import WorkerConfig, WorkerExit
from search.worker.worker_loop import FAILURES_IN_A_ROW

DIED = WorkerExit(how="died", words="exit code 1")
LOST = WorkerExit(how="died", words="Ray says so", with_machine=True)
WELL = WorkerExit(how="well")
WORN = WorkerExit(how="worn out", failures_in_a_row=2)
ENDED = WorkerExit(how="gave up", words="Trial after trial failed.")
ORDER = WorkerConfig(
    storage_url="sqlite:///none.db",
    study="s",
    artifact_root=Path(),
    options=WorkerOptions(device="cpu"),
)


def told_by_a_worker(code: str, environment: dict[str, str], **changed: Any) -> str:
    """What this code prints in place of the work of a new process, as a worker is: torch looks once.

    changed: in the config of the worker.
    """
    script = (
        "import os, sys, pathlib\n"
        "from search.worker import process\n"
        f"def told(*_): {code}\n"
        "process._work = told\n"
        "sys.modules['search.worker.worker_loop'] = type(sys)('worker')\n"  # its import takes seconds
        "sys.modules['search.worker.worker_loop'].WornOut = KeyError\n"
        "config = process.WorkerConfig(storage_url='', study='', artifact_root=pathlib.Path(),\n"
        f"                              options=process.WorkerOptions(device='cuda'), **{changed!r})\n"
        "assert process.run_worker(config, lambda: False).how == 'well'\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout


class Puppet:
    """A member that ends as it is told."""

    def __init__(self, order: WorkerConfig, stage: list[Puppet]) -> None:
        stage.append(self)
        self._stage = stage
        self.order = order
        self.place: Place | None = Place("here", len(stage))
        self.end: WorkerExit | None = None
        self.asked = self.killed = False
        self.waited_s: float | None = None

    def stop(self) -> None:
        self.asked = True

    def wait(self, timeout_s: float) -> None:
        assert all(puppet.asked for puppet in self._stage), "one would wait for another's grace"
        self.waited_s = timeout_s

    def kill(self) -> None:
        self.killed = True


@pytest.fixture
def stage() -> list[Puppet]:
    """All puppets that were ever started."""
    return []


@pytest.fixture
def pool(stage: list[Puppet]) -> WorkerPool:
    return WorkerPool(lambda order: Puppet(order, stage), ORDER, 2)


@pytest.mark.parametrize(
    ("end", "replaced", "why"),
    [
        (DIED, True, "its trials are queued again, and its place is not left empty"),
        (LOST, True, "so with one that went down with its machine"),
        (WORN, True, "a new process continues"),
        (WELL, False, "nothing is left to do"),
        (ENDED, False, "a new one would meet the same"),
        (None, False, "it is at work"),
    ],
)
def test_which_ended_workers_are_replaced(
    pool: WorkerPool, stage: list[Puppet], end: WorkerExit | None, replaced: bool, why: str
) -> None:
    stage[0].end = end
    assert pool.supervise() == ([Place("here", 1)] if replaced else []), why
    assert len(stage) == 2 + replaced, why
    assert stage[0].killed == replaced, "a process whose work has ended may still hold its room"
    assert pool.gave_up == (end.words if end is ENDED else None)


def test_settings_that_take_every_worker_down_do_not_end_the_run(
    pool: WorkerPool, stage: list[Puppet]
) -> None:
    for _ in range(2 * (1 + DEATHS)):  # two such trials, one after the other
        stage[-1].end = DIED
        assert len(pool.supervise()) == 1
    assert pool.gave_up is None
    assert not pool.ended


def test_a_crash_loop_does(pool: WorkerPool, stage: list[Puppet]) -> None:
    for _ in range(RESTARTS + 1):
        assert pool.gave_up is None
        stage[-1].end = DIED
        pool.supervise()
    assert "Workers died repeatedly (the last one: exit code 1)" in str(pool.gave_up)
    assert not pool.ended, "that word is for work that was done"


def test_deaths_long_ago_are_forgotten(
    pool: WorkerPool, stage: list[Puppet], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("search.launchers.pool.time.monotonic", lambda: now)
    for _ in range(3 * RESTARTS):
        now += WITHIN_S
        stage[-1].end = DIED
        pool.supervise()
    assert pool.gave_up is None


def test_a_machine_that_takes_many_down_is_no_crash_loop(stage: list[Puppet]) -> None:
    pool = WorkerPool(lambda order: Puppet(order, stage), ORDER, 3 * RESTARTS)
    for puppet in stage:
        puppet.end = LOST
    assert len(pool.supervise()) == 3 * RESTARTS
    assert pool.gave_up is None


def test_a_worn_out_worker_is_no_death_and_hands_on_its_count(pool: WorkerPool, stage: list[Puppet]) -> None:
    for count in [*range(1, FAILURES_IN_A_ROW), *[1] * (2 * RESTARTS)]:
        stage[-1].end = WorkerExit(how="worn out", failures_in_a_row=count)
        assert len(pool.supervise()) == 1
        assert stage[-1].order.failures_in_a_row == count
    assert pool.gave_up is None
    stage[-1].end = DIED
    pool.supervise()
    assert stage[-1].order.failures_in_a_row == 0


def test_a_stop_asks_all_before_it_waits_for_one(pool: WorkerPool, stage: list[Puppet]) -> None:
    stage[1].end = WELL  # in time
    assert pool.stop(grace_s=5.0) == [Place("here", 1)]
    assert [puppet.waited_s for puppet in stage] == pytest.approx([5.0, 5.0], abs=1.0)
    assert all(puppet.killed for puppet in stage), "who did not listen"


def test_one_that_hangs_is_replaced_by_its_place(pool: WorkerPool, stage: list[Puppet]) -> None:
    stage[1].place = None  # nobody has heard of it yet
    pool.replace(Place("here", 1))
    assert [puppet.killed for puppet in stage] == [True, False, False]
    assert pool.places == [Place("here", 3)]


def test_who_may_still_be_at_work(pool: WorkerPool, stage: list[Puppet]) -> None:
    """The head of a Ray cluster is lost; one worker had ended before that."""
    stage[0].end = WELL
    stage[1].end = WorkerExit(how="gave up", words="The Ray cluster is lost.", unreachable=True)
    pool.supervise()
    assert pool.stop(grace_s=0) == [], "nothing here can end the second"
    assert pool.gave_up == "The Ray cluster is lost."
    assert (pool.places, pool.unreachable) == ([Place("here", 1), Place("here", 2)], [Place("here", 2)])


@pytest.mark.parametrize(("cores", "gpus", "device", "room"), [
    (16, 0, "auto", 16),
    (16, 1, "auto", WORKERS_PER_GPU),
    (16, 1, "cuda", WORKERS_PER_GPU),
    (16, 1, "cpu", 16),
    (2, 1, "auto", 2),
    (64, 8, "auto", 8 * WORKERS_PER_GPU),
    (16, 8, "auto", 16),
    (64, 8, "cpu", 64),
])  # fmt: skip
def test_the_default_number_of_local_workers(
    cores: int,
    gpus: int,
    device: Literal["auto", "cpu", "cuda"],
    room: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    seem_to_have(gpus, monkeypatch)
    assert LocalLauncher(device).default_workers(threads=1) == room


def seem_to_have(gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.gpus.surely_none", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


class TestGPUs:
    """No GPU is needed here: torch is asked how many there are, and the puppets keep their orders."""

    @pytest.fixture
    def started(self, monkeypatch: pytest.MonkeyPatch, stage: list[Puppet]) -> list[Puppet]:
        """The workers that a local engine starts on a machine with three GPUs."""
        seem_to_have(3, monkeypatch)
        monkeypatch.setattr("search.launchers.local.LocalWorker", lambda order: Puppet(order, stage))
        return stage

    def pool(self, size: int, device: Literal["auto", "cpu", "cuda"] = "auto") -> WorkerPool:
        config = replace(ORDER, options=WorkerOptions(device=device))
        return WorkerPool(LocalLauncher(device).starter(size), config, size)

    def test_workers_are_spread(self, started: list[Puppet]) -> None:
        self.pool(7)
        assert [puppet.order.gpu for puppet in started] == [0, 1, 2, 0, 1, 2, 0]

    @pytest.mark.parametrize("dies", range(6))
    def test_one_that_replaces_another_has_its_gpu(self, started: list[Puppet], dies: int) -> None:
        pool = self.pool(6)
        for _ in range(3):
            started[dies].end = DIED
            assert len(pool.supervise()) == 1
            assert started[-1].order.gpu == started[dies].order.gpu
            dies = len(started) - 1

    def test_the_replacement_of_a_hanging_worker_has_its_gpu(
        self, started: list[Puppet], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pool = self.pool(3)
        monkeypatch.setattr(Puppet, "kill", lambda puppet: setattr(puppet, "end", DIED))
        pool.replace(Place("here", 2))
        assert [puppet.order.gpu for puppet in started] == [0, 1, 2, 1]

    def test_workers_that_die_together_are_replaced_evenly_over_gpus(self, started: list[Puppet]) -> None:
        pool = self.pool(6)
        for puppet in started[:4]:
            puppet.end = DIED
        assert len(pool.supervise()) == 4
        alive = [puppet.order.gpu for puppet in started if puppet.end is None]
        assert sorted(alive, key=str) == [0, 0, 1, 1, 2, 2]

    def test_on_the_cpu_and_on_one_gpu_no_gpu_is_assigned(
        self, started: list[Puppet], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.pool(2, "cpu")
        seem_to_have(1, monkeypatch)
        self.pool(2)
        assert [puppet.order.gpu for puppet in started] == [None] * 4

    @pytest.mark.parametrize(
        ("gpu", "visible", "left"),
        [
            (0, None, "0"),
            (5, None, "5"),
            (1, "2,3", "3"),
            (0, "2, 3", "2"),
            (1, "GPU-8932f937,GPU-1a2b", "GPU-1a2b"),
        ],
    )
    def test_a_worker_sees_its_gpu_alone_before_torch_is_there(
        self, gpu: int, visible: str | None, left: str
    ) -> None:
        unset = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        environment = unset if visible is None else {**unset, "CUDA_VISIBLE_DEVICES": visible}
        said = told_by_a_worker(
            "print(os.environ['CUDA_VISIBLE_DEVICES'], 'torch' in sys.modules)", environment, gpu=gpu
        )
        assert said == f"{left} False\n"

    @pytest.mark.parametrize(
        ("dataset", "given", "left"),
        [
            ("mnist", {}, "64"),
            ("mnist", {"LRU_CACHE_CAPACITY": "9"}, "9"),
            (None, {}, "None"),
            (None, {"LRU_CACHE_CAPACITY": "9"}, "9"),
        ],
    )
    def test_the_limit_of_kernels_is_for_networks_of_tune_alone(
        self, dataset: str | None, given: dict[str, str], left: str
    ) -> None:
        """Training code inherits the worker's environment, and its network may need hundreds of kernels."""
        environment = {name: value for name, value in os.environ.items() if name not in process.KERNEL_CACHES}
        said = told_by_a_worker(
            "print(*map(os.environ.get, process.KERNEL_CACHES))", {**environment, **given}, dataset=dataset
        )
        assert said == f"{'64' if dataset else 'None'} {left}\n"
