"""Commands that train nothing themselves start without torch, which takes two seconds of a core to import."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMMANDS = (
    ("run", "--task", "twodigit", "--trials", "4"),
    ("run", "--task", "sum", "--study", "new", "--detach"),
    ("run", "--task", "twodigit", "--study", "spaced", "--space", "space.toml", "--detach"),
    ("run", "--task", "twodigit", "--study", "here", "--device", "cpu", "--detach", "--workers", "2"),
    ("worker", "twodigit", "--device", "cpu"),
    ("studies",),
    ("best", "twodigit"),
    ("trials", "sum"),
    ("compare", "twodigit", "again"),
    ("data", "verify"),
    ("data", "list"),
)
"""Each does what it says, or, the one with --workers, is refused after all its flags were looked at."""


def test_the_commands_that_do_not_train(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    shutil.copytree(finished, folder)
    (folder / "space.toml").write_text("blocks = 2\n")
    code = (
        "import json, sys\n"
        "from search.cli.app import run_command\n"
        "codes = []\n"
        f"for words in {COMMANDS!r}:\n"
        "    codes.append(run_command(list(words), debug=False))\n"
        "    assert 'torch' not in sys.modules, words\n"
        "print(json.dumps(codes))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stdout.splitlines()[-1])
    assert codes == [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0], done.stderr


@pytest.mark.usefixtures("worker_threads")
def test_a_finished_confirmation_is_told(finished: Path, tmp_path: Path, here: Callable[..., Any]) -> None:
    """Its intervals are over digits, and which digits an example is made of is known without torch. It is
    made in this process, which has torch, and told by another."""
    folder = tmp_path / "here"
    shutil.copytree(finished, folder)
    asked = ["confirm", "twodigit", "--top", "1", "--seeds", "2", "--epochs", "0.02", "--workers", "1"]
    first = here(*asked, cwd=folder)
    assert first.returncode == 0, first.stderr
    code = (
        "import sys\n"
        "from search.cli.app import run_command\n"
        f"code = run_command({asked!r}, debug=False)\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    again = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
