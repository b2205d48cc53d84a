"""One function says which file a storage URL means and where the files of its studies lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from search.errors import ConfigError
from search.optuna_db.storage import open_storage
from search.store.location import locate
from search.study.reading import open_reading

ODD = [
    "plain.db",
    "ü #%.db",
    "100%41.db",
    "a%20b.db",
    "a%3Fb.db",
    "a b+c.db",
    "a@b:c.db",
    "u:p@h.db",
    "it's [(&)].db",
    "{0}{x}.db",
    '$HOME `x` \\ ".db',
    "-rf.db",
    ".db",
    "none",
    "a.b.c",
    "studies.artifacts",
    "two\nlines.db",
    "~",
]
"""Names that a URL, a shell, a format string or a glob reads as something else."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNE_ARTIFACTS", raising=False)
    monkeypatch.chdir(tmp_path)


def opened_by_sqlalchemy(url: str) -> Path:
    """The file that SQLAlchemy opens for a URL."""
    engine = create_engine(url)
    [path], _ = engine.dialect.create_connect_args(make_url(url))
    return Path(path)


@given(name=st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=60))
def test_the_file_is_the_one_that_sqlalchemy_opens(name: str) -> None:
    url = f"sqlite:///sub/{name.partition('?')[0]}"
    if "\0" in make_url(url).database:  # %00
        with pytest.raises(ConfigError, match="not valid UTF-8"):
            locate(url)
        return
    found = locate(url)
    assert found.database == opened_by_sqlalchemy(url)
    assert found.artifacts.is_relative_to(Path.cwd()), "beside it, never beside an encoded path"
    assert found.artifacts != found.database
    assert found.database not in found.earlier
    assert found.artifacts not in found.earlier
    again = locate(found.text)
    assert (again.database, again.artifacts) == (found.database, found.artifacts), "as a worker reads it"
    assert opened_by_sqlalchemy(found.name) == found.database, "what is shown means the same file"
    assert found.name.isprintable() or "\n" not in found.name


@pytest.mark.parametrize("name", ODD)
def test_however_a_file_is_called_there_is_one_database_and_one_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "jürgen #%"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    url = f"sqlite:///jürgen #%/{name}"
    with open_storage(url) as storage:
        location = storage.location
    assert [location.database] == list(folder.iterdir())
    assert location.artifacts.parent == folder
    (tmp_path / "link").symlink_to(location.database)
    (tmp_path / "linked").symlink_to(folder)
    spelled = [
        f"sqlite:////{str(tmp_path)[1:]}/jürgen #%/{name}",
        f"sqlite+pysqlite:///jürgen #%/{name}",
        f"sqlite:///jürgen #%/../linked/./{name}?timeout=3",
        "sqlite:///link",
        location.text,
        location.name,
    ]
    for each in spelled:
        with open_storage(each, create=False) as storage, open_reading(each) as reading:
            assert (storage.location.database, storage.location.artifacts) == (
                location.database,
                location.artifacts,
            ), each
            assert reading.location.artifacts == location.artifacts, each
    os.chdir("elsewhere")
    with open_reading(f"sqlite:///../jürgen #%/{name}") as reading:
        assert reading.location.artifacts == location.artifacts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "jürgen #%", "link", "linked"]
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert list(folder.iterdir()) == [location.database]


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("sqlite:///studies.db", "studies.artifacts"),
        ("sqlite:////var/lib/tune/all.sqlite", "/var/lib/tune/all.artifacts"),
        ("sqlite:///studies.artifacts", "studies.artifacts.artifacts"),
        ("postgresql://u:p@h/d", "tune.artifacts"),
    ],
)
def test_files_lie_beside_the_database(url: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate(url).artifacts == Path.cwd() / folder
    for chosen in ("/else where/ü #%", "relative %41?", "~"):
        monkeypatch.setenv("TUNE_ARTIFACTS", chosen)
        assert locate(url).artifacts == Path.cwd() / chosen
        assert locate(url).earlier == ()
    monkeypatch.setenv("TUNE_ARTIFACTS", "")
    assert locate(url).artifacts == Path.cwd() / folder


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///what?.db", r"sqlite:///what has options .*\(\.db\).*%3F"),
        ("sqlite:///a.db?mode=ro", r"sqlite:///a\.db\?mode=ro has options .*\(mode\)"),
        ("sqlite:///file:a.db?uri=true", "is a file: URI"),
        ("sqlite:///nul%00.db", "not valid UTF-8"),
        ("sqlite:///\udcff.db", "not valid UTF-8"),
        ("sqlite:///.", "is a folder, not a file"),
        ("sqlite:////", "is a folder, not a file"),
    ],
)
def test_what_would_be_another_file_is_refused(url: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        open_storage(url)
    assert list(tmp_path.iterdir()) == []


def test_in_a_deleted_folder_only_a_relative_path_means_nothing(tmp_path: Path) -> None:
    """What a command says then is tested in test_deleted_folder.py."""
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError):
        locate("sqlite:///studies.db")
    assert locate(f"sqlite:///{tmp_path}/studies.db").name == f"sqlite:///{tmp_path}/studies.db"


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("ü #%.db", "%C3%BC %23%25.artifacts"),
        ("a%20b.db", "a%20b.artifacts"),
        ("jürgen/x.db", "j%C3%BCrgen/x.artifacts"),
        ("link.db", "link.artifacts"),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_weights_in_the_folder_of_a_previous_version_are_found(
    typed: str, kept: str, absolute: bool, tmp_path: Path
) -> None:
    (tmp_path / "jürgen").mkdir()
    (tmp_path / "link.db").symlink_to("jürgen/real.db")
    old = tmp_path / kept / "0001-twodigit-12345678" / "trial-00000-1800.safetensors"
    location = locate(f"sqlite:///{tmp_path / typed if absolute else typed}")
    inside = f"{old.parent.name}/{old.name}"
    assert location.find(inside) == location.artifacts / inside, "where it would be written"
    old.parent.mkdir(parents=True)
    old.touch()
    assert location.find(inside) == old
    new = location.artifacts / inside
    new.parent.mkdir(parents=True)
    new.touch()
    assert location.find(inside) == new, "the right folder goes first"


def test_an_encoded_absolute_path_of_a_previous_version_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "jürgen" / "a b"
    home.mkdir(parents=True)
    monkeypatch.chdir(home)
    old = tmp_path / "j%C3%BCrgen" / "a b" / "x.artifacts" / "w"
    old.parent.mkdir(parents=True)
    old.touch()
    assert locate("sqlite:///x.db").find("w") == old, "also where the path is relative now"
