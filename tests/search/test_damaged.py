"""A database that is not what it was: one sentence, the right exit code, and not a byte of it changed.

SQLite keeps no checksums of its pages. Damage inside a value (a digit of a score, say) cannot be found.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
PAGE = 4096
NOISE = random.Random(0).randbytes(PAGE)


def page(number: int) -> Callable[[bytes], bytes]:
    """That page becomes noise."""
    return lambda sound: sound[: number * PAGE] + NOISE + sound[(number + 1) * PAGE :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "text": lambda _: b"What was I going to search?\n" * 300,
    "noise": lambda sound: NOISE * (len(sound) // PAGE),
    "only the header": lambda sound: sound[:100],
    "half": lambda sound: sound[: len(sound) // 2],
    "half a page less": lambda sound: sound[: -PAGE // 2],
    "a byte less": lambda sound: sound[:-1],
    "a page less": lambda sound: sound[:-PAGE],
    "first page": page(0),
    "second page": page(1),
    "a page of the schema": page(2),
    "header flipped": lambda sound: bytes([sound[0] ^ 1]) + sound[1:],
}
LOOKS = (("studies",), ("trials", "twodigit"), ("best", "twodigit"))


@pytest.fixture
def writes() -> Iterator[tuple[tuple[str, ...], ...]]:
    """Commands that write, or could. The dashboard's port is taken: it would serve for ever."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield (
            ("run", "--task", "twodigit", "--trials", "9"),
            ("worker", "twodigit"),
            ("dashboard", "--port", str(taken.getsockname()[1])),
        )


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_untouched(
    finished: Path, tmp_path: Path, here: Command, writes: tuple[tuple[str, ...], ...], damage: str
) -> None:
    sound = (finished / "studies.db").read_bytes()
    assert len(sound) > 10 * PAGE
    damaged = DAMAGE[damage](sound)
    (tmp_path / "studies.db").write_bytes(damaged)
    for command in (*writes, *LOOKS):
        done = here(*command, cwd=tmp_path)
        words = f"{command}: {done.stderr}"
        assert "Traceback" not in words
        assert "unexpected error" not in words
        if command in writes or done.returncode != 0:  # a read may never come to the damaged page
            assert done.returncode == 78, words
            assert "damaged" in words or "not a whole SQLite database" in words
            assert done.stdout == ""
        assert (tmp_path / "studies.db").read_bytes() == damaged
        assert [path.name for path in tmp_path.iterdir()] == ["studies.db"]


@pytest.mark.parametrize(
    "value", [b'"CategoricalDistribution"', b'"course-mlp"'], ids=["a parameter", "an attribute"]
)
def test_a_damaged_value_is_refused(finished: Path, tmp_path: Path, here: Command, value: bytes) -> None:
    sound = (finished / "studies.db").read_bytes()
    damaged = sound.replace(value, value[:-1] + b"#")
    assert damaged != sound
    (tmp_path / "studies.db").write_bytes(damaged)
    done = here("trials", "twodigit", cwd=tmp_path)
    assert done.returncode == 78
    assert "holds a value that" in done.stderr
    assert (tmp_path / "studies.db").read_bytes() == damaged


def test_an_empty_file_is_a_storage_without_studies(tmp_path: Path, here: Command) -> None:
    """SQLite makes such a file before it writes the first page; it holds nothing that could be lost."""
    (tmp_path / "studies.db").touch()
    for command in LOOKS:
        done = here(*command, cwd=tmp_path)
        assert done.returncode == 78
        assert "holds no study of tune's yet" in done.stderr
    assert (tmp_path / "studies.db").read_bytes() == b""


def test_a_folder_of_that_name(tmp_path: Path, here: Command, writes: tuple[tuple[str, ...], ...]) -> None:
    (tmp_path / "studies.db").mkdir()
    for command in (*writes, *LOOKS):
        done = here(*command, cwd=tmp_path)
        assert done.returncode == 78, done.stderr
        assert "is a folder, not a file" in done.stderr
    assert list((tmp_path / "studies.db").iterdir()) == []
