"""The Ray engine as far as it goes without Ray: what it refuses, and what it asks of the machines.

The rest needs a cluster: tests/search/launchers/test_ray_cluster.py.
"""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.launchers.ray import gpu_share, refused
from search.launchers.ray_cluster import Cluster
from search.worker.options import WorkerOptions

HERE = socket.gethostname()
SERVER = "postgresql://tune@db/tune"


@pytest.mark.parametrize(
    ("cluster", "needs", "words"),
    [
        (Cluster(hosts=("a", "b"), cpus=(4, 4), gpus=0), {}, None),
        (Cluster(hosts=("a", "b"), cpus=(4, 4), gpus=0), {"storage_url": "sqlite:///s.db"}, "SQLite file"),
        (Cluster(hosts=(HERE, HERE), cpus=(2, 2), gpus=0), {"storage_url": "sqlite:///s.db"}, None),
        (Cluster(hosts=(HERE, "b"), cpus=(2, 2), gpus=0), {"storage_url": "sqlite:///s.db"}, "with b,"),
        (Cluster(hosts=("a",), cpus=(4,), gpus=0), {"device": "cuda"}, "no GPU"),
        (Cluster(hosts=("a",), cpus=(4,), gpus=1), {"device": "cuda"}, None),
        (Cluster(hosts=("a", "b"), cpus=(0, 4), gpus=0), {"threads": 8}, "the largest has 4"),
        (Cluster(hosts=("a", "b"), cpus=(0, 4), gpus=0), {"threads": 4}, None),
        (Cluster(hosts=(), cpus=(), gpus=0), {}, "the largest has 0"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused(
    cluster: Cluster, needs: dict[str, Any], words: str | None
) -> None:
    options = WorkerOptions(**{name: value for name, value in needs.items() if name != "storage_url"})
    said = refused(cluster, options, needs.get("storage_url", SERVER))
    assert (said is None) == (words is None)
    assert words is None or words in str(said)


@pytest.mark.parametrize(
    ("gpus", "size", "share"), [(4, 4, 1), (4, 2, 1), (4, 5, 1 / 2), (4, 16, 1 / 4), (1, 3, 1 / 3)]
)
def test_all_workers_find_room_on_the_gpus(gpus: float, size: int, share: float) -> None:
    assert gpu_share(gpus, size) == share
    assert gpus * int(1 / share) >= size


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--engine", "ray"), "needs --address"),
        (("--address", "auto"), "add --engine ray"),
        (("--engine", "ray", "--address", "ray://head:10001"), "HOST:PORT"),
        (("--engine", "ray", "--address", "local"), "HOST:PORT"),
    ],
)
def test_flags_that_do_not_fit(
    here: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done = here("run", "--task", "twodigit", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "studies.db").exists()


def test_without_ray_a_sentence_names_the_extra(
    here: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else real(name))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    done = here("run", "--task", "twodigit", "--engine", "ray", cwd=tmp_path)
    assert done.returncode == 78
    assert "pip install -e '.[ray]'" in done.stderr
    assert not (tmp_path / "studies.db").exists()
