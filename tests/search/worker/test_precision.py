"""A study is trained in one precision on one kind of processor, whatever its workers would measure."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from few_images import take_few_images

from data.datasets.mnist import Mnist
from models import device as machine
from search.optuna_db.storage import Storage, open_storage
from search.records import Worker
from search.service import confirm as confirming
from search.service.create import RunRequest, create_or_resume
from search.service.look import found_trial
from search.service.repeat import repeat
from search.worker.context import WorkerContext, prepare
from search.worker.options import WorkerOptions
from search.worker.worker_loop import work

REQUEST = RunRequest(task="twodigit", trials=3, epochs=0.02, model="conv", pruner="none")
EARLIER = {"device": "cpu", "cpu": "This Processor", "precision_mlp": "float32", "precision_conv": "bfloat16"}
"""The environment of a worker before precisions were recorded: without its bfloat16 instructions."""

Command = Callable[..., Any]


@pytest.fixture(autouse=True)
def processor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """processor(flags={"amx_bf16"}, model="That one"): what this machine seems to have from now on."""
    torch.set_num_threads(1)
    take_few_images(monkeypatch)

    def seem(flags: set[str], model: str = "This Processor") -> None:
        monkeypatch.setattr(machine, "_cpu_flags", lambda: flags)
        monkeypatch.setattr(machine, "_cpu_model", lambda: model)

    seem({"avx512_bf16"})
    return seem


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """measured(2.0, 0.5): what the probe answers, one call after the other, and then an error."""

    def answer(*speedups: float) -> None:
        answers = iter(speedups)
        monkeypatch.setattr(machine, "bfloat16_speedup", lambda: next(answers))

    return answer


@pytest.fixture
def storage(sqlite_url: str) -> Iterator[Storage]:
    with open_storage(sqlite_url) as opened:
        yield opened


def join(storage: Storage, mnist: Mnist, request: RunRequest = REQUEST, name: str = "") -> WorkerContext:
    """Another worker of the study, which is made where it does not exist."""
    if not name:
        create_or_resume(storage, request, mnist)
    return prepare(
        storage, name or request.name, mnist, storage.location.artifacts, device="cpu", threads=1, lease_s=60
    )


def test_workers_that_measure_otherwise_follow_the_first(
    storage: Storage, mnist: Mnist, measured: Callable[..., None]
) -> None:
    measured(1.3, 1.2)  # one moment of a busy machine, and the next
    first, second = join(storage, mnist), join(storage, mnist)
    assert first.objective.precision == second.objective.precision == {"mlp": "float32", "conv": "bfloat16"}
    noted = [worker.environment["precision_conv"] for worker in storage.store.workers(1).values()]
    assert noted == ["bfloat16", "bfloat16"]


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mysql"])
def test_first_workers_that_measure_at_once_agree(
    request: pytest.FixtureRequest, database: str, mnist: Mnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = request.getfixturevalue(f"{database}_url")
    with open_storage(url) as storage:
        create_or_resume(storage, REQUEST, mnist)
    together, answers = threading.Barrier(4, timeout=60), itertools.cycle([0.5, 2.0])

    def speedup() -> float:
        together.wait()  # all have seen that nothing is recorded
        return next(answers)

    monkeypatch.setattr(machine, "bfloat16_speedup", speedup)

    def worker(_: int) -> str:
        try:
            with open_storage(url, create=False, retry_s=60) as mine:
                return join(mine, mnist, name=REQUEST.name).objective.precision["conv"]
        except BaseException:
            together.abort()  # the others would wait for this one
            raise

    with ThreadPoolExecutor(4) as pool:
        decisions = [pool.submit(worker, number) for number in range(4)]
        errors = [each.exception() for each in decisions]
        assert [each for each in errors if not isinstance(each, threading.BrokenBarrierError | None)] == []
        assert len({each.result() for each in decisions}) == 1


@pytest.mark.parametrize(("flags", "model"), [({"amx_bf16", "avx512_bf16"}, "This Processor"), (
    {"avx512_bf16"}, "Another Processor"
)])  # fmt: skip
def test_another_kind_of_processor_decides_for_itself(
    storage: Storage,
    mnist: Mnist,
    measured: Callable[..., None],
    processor: Callable[..., None],
    flags: set[str],
    model: str,
) -> None:
    measured(0.5, 2.0)
    assert join(storage, mnist).objective.precision["conv"] == "float32"
    processor(flags, model)
    assert join(storage, mnist).objective.precision["conv"] == "bfloat16"
    assert join(storage, mnist).objective.precision["conv"] == "bfloat16"


def test_another_study_decides_for_itself(
    storage: Storage, mnist: Mnist, measured: Callable[..., None]
) -> None:
    measured(0.5, 2.0)
    assert join(storage, mnist).objective.precision["conv"] == "float32"
    assert join(storage, mnist, replace(REQUEST, study="other")).objective.precision["conv"] == "bfloat16"


class TestStudiesBefore:
    """Of a tune that recorded no decision: only the workers' environments tell."""

    def old(self, storage: Storage, mnist: Mnist, *environments: dict[str, str | int]) -> None:
        study, _ = create_or_resume(storage, REQUEST, mnist)
        for pid, environment in enumerate(environments):
            storage.store.add_worker(
                study.study_id,
                Worker(
                    worker_id=f"h:{pid}",
                    host="h",
                    pid=pid,
                    device=str(environment["device"]),
                    threads=1,
                    environment=environment,
                ),
            )

    def test_the_earliest_worker_on_this_kind_of_processor_decides(
        self, storage: Storage, mnist: Mnist, measured: Callable[..., None]
    ) -> None:
        self.old(
            storage,
            mnist,
            {**EARLIER, "cpu": "Another", "precision_conv": "float32"},
            {**EARLIER, "device": "cuda", "gpu": "A GPU", "precision_conv": "float32"},
            {**EARLIER, "bfloat16_instructions": "amx_bf16", "precision_conv": "float32"},
            EARLIER,
            {**EARLIER, "precision_conv": "float32"},
        )
        measured()
        assert join(storage, mnist).objective.precision == {"mlp": "float32", "conv": "bfloat16"}

    def test_where_none_was_here_the_processor_is_measured(
        self, storage: Storage, mnist: Mnist, measured: Callable[..., None]
    ) -> None:
        self.old(storage, mnist, {**EARLIER, "cpu": "Another"})
        measured(0.5)
        assert join(storage, mnist).objective.precision["conv"] == "float32"


class TestFixed:
    @pytest.mark.parametrize("asked", ["float32", "bfloat16"])
    def test_holds_for_every_family_and_nothing_is_measured(
        self, storage: Storage, mnist: Mnist, measured: Callable[..., None], asked: Any
    ) -> None:
        measured()
        here = join(storage, mnist, replace(REQUEST, precision=asked))
        assert here.objective.precision == {"mlp": asked, "conv": asked}

    def test_a_fixed_precision_can_be_repeated_or_omitted_but_not_changed(
        self, tmp_path: Path, here: Command
    ) -> None:
        run = ("run", "--task", "twodigit", "--detach")
        assert here(*run, "--precision", "float32", cwd=tmp_path).returncode == 0
        assert here(*run, "--precision", "float32", cwd=tmp_path).returncode == 0
        assert here(*run, cwd=tmp_path).returncode == 0
        for other in ("bfloat16", "auto"):
            done = here(*run, "--precision", other, cwd=tmp_path)
            assert done.returncode == 78
            assert f": --precision {other} (the study has float32)" in done.stderr
            assert "differs from this request" in done.stderr

    def test_an_unknown_one_is_refused(self, tmp_path: Path, here: Command) -> None:
        done = here("run", "--task", "twodigit", "--precision", "float16", cwd=tmp_path)
        assert done.returncode == 2
        assert "bfloat16" in done.stderr
        assert not (tmp_path / "studies.db").exists()


@pytest.fixture(scope="module")
def search_in_bfloat16(mnist: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a search of three trials; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("search_in_bfloat16")
    with pytest.MonkeyPatch.context() as patch, open_storage(f"sqlite:///{folder / 'studies.db'}") as storage:
        patch.setattr(machine, "_cpu_flags", lambda: {"avx512_bf16"})
        patch.setattr(machine, "_cpu_model", lambda: "This Processor")
        patch.setattr(machine, "bfloat16_speedup", lambda: 2.0)
        take_few_images(patch)
        assert work(join(storage, mnist), stop=lambda: False) == 3
    return folder


class TestWhatFollowsASearch:
    @pytest.fixture
    def storage(self, search_in_bfloat16: Path, tmp_path: Path) -> Iterator[Storage]:
        shutil.copytree(search_in_bfloat16, tmp_path, dirs_exist_ok=True)
        with open_storage(f"sqlite:///{tmp_path / 'studies.db'}") as opened:
            yield opened

    @pytest.fixture
    def searched(self, storage: Storage, mnist: Mnist, measured: Callable[..., None]) -> WorkerContext:
        """A worker of a search in bfloat16, on a machine that would measure otherwise from now on."""
        measured(0.5)
        return join(storage, mnist)

    @pytest.fixture
    def confirm(
        self, storage: Storage, mnist: Mnist, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., list[WorkerContext]]:
        """confirm(precision=None): the contexts of the confirmation's workers, which train nothing."""
        contexts: list[WorkerContext] = []

        def drive(opened: Storage, study: Any, *_: object, **__: object) -> None:
            contexts.append(join(opened, mnist, name=study.name))

        monkeypatch.setattr(confirming, "drive", drive)
        monkeypatch.setattr(confirming, "evaluate_due", lambda *_, **__: None)

        def call(precision: Any = None) -> list[WorkerContext]:
            contexts.clear()
            request = confirming.ConfirmRequest(
                study="twodigit", top=1, seeds=2, epochs=0.02, precision=precision, options=WorkerOptions()
            )
            confirming.confirm(request, storage.url, watch=lambda _: None)
            return contexts

        return call

    def test_a_confirmation_does_as_the_search_did(
        self, searched: WorkerContext, confirm: Callable[..., list[WorkerContext]]
    ) -> None:
        [here] = confirm()
        assert here.objective.precision == searched.objective.precision
        assert here.record.name == "twodigit.confirm"

    def test_the_precision_of_the_search_is_read_from_its_workers(
        self, searched: WorkerContext, confirm: Callable[..., list[WorkerContext]], tmp_path: Path
    ) -> None:
        with closing(sqlite3.connect(tmp_path / "studies.db")) as database, database:
            database.execute("DELETE FROM tune_precisions")
        [here] = confirm()
        assert here.objective.precision == searched.objective.precision

    def test_one_in_another_precision_is_another_confirmation(
        self, searched: WorkerContext, confirm: Callable[..., list[WorkerContext]]
    ) -> None:
        assert confirm()[0].record.name == "twodigit.confirm"
        [other] = confirm("float32")
        assert other.record.name == "twodigit.confirm-0.02-float32"
        assert other.objective.precision == {"mlp": "float32", "conv": "float32"}
        assert confirm("auto")[0].record.name == "twodigit.confirm", "the one that is there continues"

    def test_a_repetition_is_the_trial_bit_for_bit(self, searched: WorkerContext, storage: Storage) -> None:
        done = repeat(storage.url, "twodigit", 1, tell=lambda _: None, watch=lambda *_: None)
        assert done.curves.first_difference is None

    def test_a_trial_without_a_worker_has_the_precision_of_all(
        self, searched: WorkerContext, storage: Storage, tmp_path: Path
    ) -> None:
        """A trial that failed: no claim says which worker it had."""
        with closing(sqlite3.connect(tmp_path / "studies.db")) as database, database:
            database.execute("DELETE FROM tune_claims")
        found = found_trial(storage.url, "twodigit", 1)
        assert (found.worker, found.precision) == (None, "bfloat16")
