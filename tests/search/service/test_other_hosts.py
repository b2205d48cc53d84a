"""An SQLite file on a network file system is for one host."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from snapshots import Snapshots

from data.datasets.mnist import Mnist
from search import filesystem
from search.cli.app import run_command
from search.errors import ConfigError
from search.machine import is_elsewhere, machine, new_worker_id
from search.optuna_db.storage import Storage, open_storage
from search.records import Claim, Worker
from search.service import doctor, other_hosts
from search.service.create import RunRequest, create_or_resume
from search.service.other_hosts import OtherHosts

SENTENCES = Snapshots(__file__, "other_hosts")
LEASE_S = 0.6
ELSEWHERE = "node7:12:00000000:abcd"


@pytest.fixture
def on_nfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that seems to lie on a network file system."""
    folder = tmp_path / "home"
    folder.mkdir()
    table = tmp_path / "mountinfo"
    table.write_text(f"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / {folder} rw - nfs4 server:/home rw\n")
    monkeypatch.setattr(filesystem, "MOUNTINFO", table)
    other_hosts._warn.cache_clear()
    return folder


@pytest.fixture
def storage(on_nfs: Path, mnist: Mnist) -> Iterator[Storage]:
    with open_storage(f"sqlite:///{on_nfs / 'studies.db'}") as opened:
        create_or_resume(opened, RunRequest(task="twodigit", trials=9), mnist)
        yield opened


def joined(storage: Storage, worker_id: str) -> Claim:
    """A worker that joins the study and begins a trial."""
    host, pid = worker_id.split(":")[:2]
    worker = Worker(worker_id=worker_id, host=host, pid=int(pid), device="cpu", threads=1, environment={})
    storage.store.add_worker(1, worker)
    claim = storage.store.claim(1, worker_id, lease_s=60)
    assert claim is not None
    return claim


@contextmanager
def renewed(storage: Storage, claim: Claim) -> Iterator[None]:
    """A worker that lives: it renews its claim."""
    ended = threading.Event()

    def renew() -> None:
        with open_storage(storage.url, create=False) as own:
            while not ended.wait(LEASE_S / 6):
                own.store.renew(claim, lease_s=60)

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize(
    ("worker_id", "elsewhere"),
    [
        (new_worker_id(), False),
        (new_worker_id().replace(machine(), "00000000"), True),
        (ELSEWHERE, True),
        (f"{socket.gethostname()}:{os.getpid()}:parent", False),
        ("node7:12:parent", True),
    ],
    # Ids with the process id in them would differ between the processes of pytest-xdist.
    ids=[
        "this host",
        "a clone, a container or an earlier boot",
        "another host",
        "its parent",
        "another's parent",
    ],
)
def test_which_ids_are_of_another_host(worker_id: str, elsewhere: bool) -> None:
    assert is_elsewhere(worker_id) == elsewhere


class TestBeforeTheStart:
    def test_a_host_at_work_keeps_others_out(self, storage: Storage) -> None:
        with (
            renewed(storage, joined(storage, ELSEWHERE)),
            pytest.raises(ConfigError, match=r"network file system .nfs4., and node7 is at work on it"),
        ):
            OtherHosts(storage, lease_s=LEASE_S).refuse()

    def test_one_that_begins_another_trial_is_at_work(self, storage: Storage) -> None:
        claim = joined(storage, ELSEWHERE)

        def take_another() -> None:
            storage.store.settle(claim)
            joined(storage, "node7:13:00000000:b")

        timer = threading.Timer(LEASE_S / 3, take_another)
        timer.start()
        with pytest.raises(ConfigError, match="node7 is at work"):
            OtherHosts(storage, lease_s=LEASE_S).refuse()
        timer.join()

    def test_a_host_that_is_gone_refuses_no_run(
        self, storage: Storage, caplog: pytest.LogCaptureFixture
    ) -> None:
        joined(storage, ELSEWHERE)
        OtherHosts(storage, lease_s=LEASE_S).refuse()
        assert "node7 has trials open: looking for" in caplog.text

    def test_this_host_and_finished_trials_do_not_count(
        self, storage: Storage, caplog: pytest.LogCaptureFixture
    ) -> None:
        storage.store.settle(joined(storage, ELSEWHERE))
        with renewed(storage, joined(storage, new_worker_id())):
            OtherHosts(storage, lease_s=60).refuse()
        assert caplog.text == "", "nothing was waited for"

    def test_a_signal_ends_the_wait_for_other_hosts(self, storage: Storage) -> None:
        joined(storage, ELSEWHERE)
        OtherHosts(storage, lease_s=1000).refuse(stop=lambda: True)

    def test_on_a_local_disk_other_hosts_are_not_checked(self, tmp_path: Path, mnist: Mnist) -> None:
        with open_storage(f"sqlite:///{tmp_path / 'studies.db'}") as storage:
            create_or_resume(storage, RunRequest(task="twodigit", trials=9), mnist)
            with renewed(storage, joined(storage, ELSEWHERE)):
                OtherHosts(storage, lease_s=LEASE_S).refuse()

    def test_on_a_server_other_hosts_are_not_checked(self, postgresql_url: str, mnist: Mnist) -> None:
        with open_storage(postgresql_url) as storage:
            create_or_resume(storage, RunRequest(task="twodigit", trials=9), mnist)
            with renewed(storage, joined(storage, ELSEWHERE)):
                OtherHosts(storage, lease_s=LEASE_S).refuse()
                OtherHosts(storage, lease_s=LEASE_S).check()


class TestWhileBothWork:
    """Hosts that start at the same time see no claims of each other yet."""

    @pytest.mark.parametrize("first", ["here", "elsewhere"])
    def test_the_host_that_joined_first_continues(self, storage: Storage, first: str) -> None:
        others = OtherHosts(storage, lease_s=0.0)
        others.check()
        mine = new_worker_id()
        for worker_id in (mine, ELSEWHERE) if first == "here" else (ELSEWHERE, mine):
            joined(storage, worker_id)
        if first == "here":
            others.check()
        else:
            with pytest.raises(ConfigError, match="node7 is at work"):
                others.check()

    def test_claims_that_stand_still_end_nothing(self, storage: Storage) -> None:
        claim = joined(storage, ELSEWHERE)
        joined(storage, new_worker_id())
        others = OtherHosts(storage, lease_s=0.0)
        for _ in range(3):
            others.check()
        storage.store.renew(claim, lease_s=61)
        with pytest.raises(ConfigError, match="node7 is at work"):
            others.check()

    def test_other_hosts_are_checked_three_times_a_lease(self, storage: Storage) -> None:
        others = OtherHosts(storage, lease_s=1000)
        others.check()
        joined(storage, ELSEWHERE)
        others.check()


COMMANDS = [
    ["run", "--task", "twodigit", "--trials", "9", "--detach"],
    ["worker", "twodigit"],
    ["confirm", "twodigit"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_commands_refuse_before_they_write(
    storage: Storage,
    command: list[str],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with renewed(storage, joined(storage, ELSEWHERE)):
        code = run_command([*command, "--storage", storage.url], debug=False)
    assert code == 78
    warned = [each.message for each in caplog.records if "locks" in each.message]
    assert len(warned) == 1
    told = [*warned, capfd.readouterr().err.splitlines()[-1]]
    file = storage.url.removeprefix("sqlite:///")
    SENTENCES.check("another host is at work", [each.replace(file, "FILE") for each in told])
    assert [worker.host for worker in storage.store.workers(1).values()] == ["node7"]


def test_doctor_says_so(storage: Storage) -> None:
    [finding] = [each for each in doctor.examine(storage.url) if each.check == "file system"]
    assert not finding.ok
    assert "network file system (nfs4)" in finding.finding
    assert "--storage postgresql://" in finding.finding
