"""The pages and the program say the same: commands, options, settings, files."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import pytest
import typer

import tune
from search.cli.app import app
from search.space.defaults import FAMILIES
from search.space.file import read_space

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group has them

GUIDES = {page: page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "guide").glob("*.md"))}
SHELL = [
    line.split("#")[0].strip()
    for page in (README, *GUIDES.values())
    for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("tune ")
]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
UNIT = r"^(?:ExecStart=| +args: |(?=\S+python.* --engine ray))"
MENTIONED = sorted(set(re.findall(r"`tune ([a-z]+)", README)))


@pytest.mark.parametrize("line", SHELL)
def test_a_shell_line_has_a_command_and_options_that_exist(line: str) -> None:
    _, name, *rest = shlex.split(line)
    command = COMMANDS[name]
    if not command.params or name == "data":  # a group
        command = command.commands[rest[0]]
    known = {option for parameter in command.params for option in parameter.opts}
    used = {word.split("=")[0] for word in rest if word.startswith("--")}
    assert used <= known


@pytest.mark.parametrize("line", [line for line in OPERATIONS.splitlines() if re.match(UNIT, line)])
def test_what_starts_without_a_person_does_not_rely_on_the_script(line: str) -> None:
    """Ray's package has a script named `tune` too."""
    words = re.sub(r'[\[\]",]', " ", re.sub(UNIT, "", line)).split()
    assert words[1:4] == ["-P", "-m", "search"], line
    assert words[0].endswith("python")
    known = {option for parameter in COMMANDS[words[4]].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_there_are_lines_to_check() -> None:
    assert len(SHELL) >= 20
    assert len(GUIDES) >= 4
    assert len(re.findall(UNIT, OPERATIONS, re.MULTILINE)) == 3, "systemd, Kubernetes, Ray"
    assert len(MENTIONED) >= 8


@pytest.mark.parametrize("name", MENTIONED)
def test_a_command_that_is_mentioned_exists(name: str) -> None:
    assert name in COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_that_exists_is_mentioned(name: str) -> None:
    assert name in MENTIONED


def test_the_readme_is_short_and_names_every_guide() -> None:
    assert len(README.splitlines()) < 150
    assert [page.name for page in GUIDES if f"docs/guide/{page.name}" not in README] == []


def test_the_space_file_in_the_guide_is_read(tmp_path: Path) -> None:
    guide = GUIDES[ROOT / "docs" / "guide" / "your-own-space.md"]
    [text] = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    path = tmp_path / "space.toml"
    path.write_text(text)
    assert read_space(path, FAMILIES).domains["channels"].low == 16  # type: ignore[union-attr]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_images_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_files_named_in_decisions_exist() -> None:
    named = {
        name
        for page in PAGES
        for name in re.findall(r"`((?:search|models|data|tests|benchmarks)/[\w/]+\.py)`", page.read_text())
    }
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    assert len(named) > 5


def test_the_design_names_every_argument_of_a_search_in_python() -> None:
    page = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    told = re.search(r"`tune\.search\((.*?)\)`", page)
    assert told is not None
    assert [each.strip("= ") for each in told[1].split(",")] == [*inspect.signature(tune.search).parameters]
