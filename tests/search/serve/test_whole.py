"""A folder appears whole or not at all, and takes another's place without a moment in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from search.serve import whole
from search.serve.whole import whole_folder


def fill(folder: Path, text: str) -> None:
    (folder / "a").write_text(text)
    (folder / "b").write_text(text)


def make(out: Path, *, replace: bool = False, then: Callable[[], object] = lambda: None) -> None:
    """Fills the folder that shall become `out`; `then` is what happens before it does."""
    with whole_folder(out, replace=replace) as aside:
        fill(aside, "new")
        then()


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with whole_folder(out, replace=False) as aside:
        fill(aside, "new")
        assert not out.exists()
    assert content(out) == {"a": "new", "b": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_current_folder_has_a_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "empty"
    out.mkdir()
    monkeypatch.chdir(out)
    make(Path())
    assert content(out) == {"a": "new", "b": "new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("replace", [False, True])
def test_nothing_appears_when_it_fails(tmp_path: Path, error: type[BaseException], replace: bool) -> None:
    out = tmp_path / "out"
    if replace:
        out.mkdir()
        fill(out, "old")

    def fail() -> None:
        raise error

    with pytest.raises(error):
        make(out, replace=replace, then=fail)
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if replace else [])
    assert not replace or content(out) == {"a": "old", "b": "old"}


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_new_folder_replaces_the_old_one(
    tmp_path: Path, in_one_step: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_one_step:  # a system without renameat2
        monkeypatch.setattr(whole.ctypes, "CDLL", lambda name: object())
    out = tmp_path / "out"
    out.mkdir()
    fill(out, "old")
    (out / "only old").write_text("")
    with whole_folder(out, replace=True) as aside:
        fill(aside, "new")
        assert content(out)["a"] == "old"
    assert content(out) == {"a": "new", "b": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_steps_are_undone_when_the_second_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole.ctypes, "CDLL", lambda name: object())
    rename, calls = Path.rename, []

    def fail_second(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_second)
    out = tmp_path / "out"
    out.mkdir()
    fill(out, "old")
    with pytest.raises(OSError, match="no"):
        make(out, replace=True)
    assert content(out) == {"a": "old", "b": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_came_in_between_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def another() -> None:
        out.mkdir()
        fill(out, "another's")

    with pytest.raises(OSError, match="not empty"):
        make(out, then=another)
    assert content(out) == {"a": "another's", "b": "another's"}
