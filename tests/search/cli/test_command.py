"""Where and how the command can be started: as a module, beside another's script, on which systems."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from valley import valley_spec

from search.optuna_db.storage import open_storage
from search.service import doctor
from search.study.study import Study

FOREIGN = "#!/usr/bin/python3\nfrom ray.tune.scripts import main\nmain()\n"
"""What Ray's package has in the place of our script."""

RUN = ("run", "--task", "twodigit", "--model", "mlp", "--epochs", "0.02", "--trials", "1", "--workers", "1")
VALLEY = ("run", "--study", "v", "--workers", "1")


def python(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The interpreter as a user's shell starts it."""
    unsafe = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**unsafe, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def shadow(folder: Path, *modules: str) -> None:
    """Files of the user's that Python would take for modules of that name."""
    for module in modules:
        file = folder / module
        file.parent.mkdir(exist_ok=True)
        file.write_text("raise SystemExit('the module of the current folder')")


CAREFUL = """
import importlib.util

_begin = OpenValley.begin

def begin(self, job, state=None):
    for name in ("data", "models", "search", "signal", "socket", "torch", "tune"):
        if os.path.dirname(importlib.util.find_spec(name).origin).startswith(os.getcwd()):
            raise SystemExit(f"a worker would import {name} of the current folder")
    return _begin(self, job, state)

OpenValley.begin = begin
"""


@pytest.fixture
def careful(site: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The current folder, with a study whose workers look where they would import modules from, and the
    folder of the package of its objective. To look is cheaper than to import torch."""
    folder, package = tmp_path / "here", tmp_path / "site"
    folder.mkdir()
    shutil.copytree(site, package)
    with (package / "valley.py").open("a") as file:
        file.write(CAREFUL)
    with open_storage(f"sqlite:///{folder / 'studies.db'}") as storage:
        Study.create(storage, "v", valley_spec(), 1)
    return folder, package


class TestAsAModule:
    @pytest.mark.parametrize("flags", [(), ("-P",)])
    def test_it_is_the_command(self, tmp_path: Path, flags: tuple[str, ...]) -> None:
        done = python(*flags, "-m", "search", "--version", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("tune 0.")
        done = python(*flags, "-m", "search", "best", "x", cwd=tmp_path)
        assert done.returncode == 78
        assert done.stderr.startswith("tune: There is no storage")

    def test_what_lies_in_the_current_folder_is_not_run(self, tmp_path: Path) -> None:
        shadow(
            tmp_path,
            "search/__init__.py",
            "data/__init__.py",
            "models.py",
            "tune.py",
            "socket.py",
            "torch.py",
        )
        done = python("-P", "-m", "search", *RUN, cwd=tmp_path)
        assert done.returncode == 0, done.stderr

    def test_without_p_only_a_package_of_our_own_name_is_in_the_way(self, careful: tuple[Path, Path]) -> None:
        folder, package = careful
        shadow(folder, "data/__init__.py", "models.py", "tune/__init__.py", "torch.py")
        done = python("-m", "search", *VALLEY, cwd=folder, PYTHONPATH=str(package))
        assert done.returncode == 0, done.stderr
        assert "1 of 1 trials finished" in done.stdout


def test_packages_of_the_import_path_that_are_named_as_ours_are_not_run(careful: tuple[Path, Path]) -> None:
    """As of a repository of training code with PYTHONPATH=."""
    folder, package = careful
    shadow(folder, "data/__init__.py", "models/__init__.py")
    path = f"{folder}{os.pathsep}{package}"
    done = python("-P", "-m", "search", *VALLEY, cwd=folder, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 trials finished" in done.stdout


def test_the_workers_of_the_script_do_not_run_what_lies_in_the_current_folder(
    careful: tuple[Path, Path], tmp_path: Path
) -> None:
    """A spawned process looks for Python's own modules there, unless it is told not to."""
    folder, package = careful
    shadow(folder, "socket.py", "signal.py", "tune.py", "data/__init__.py")
    script = tmp_path / "elsewhere" / "tune"
    script.parent.mkdir()
    script.write_text("from search.cli.app import main\nif __name__ == '__main__':\n    main()\n")
    done = python(str(script), *VALLEY, cwd=folder, PYTHONPATH=str(package))
    assert done.returncode == 0, done.stderr
    assert "1 of 1 trials finished" in done.stdout


class TestForeignScript:
    @pytest.fixture
    def scripts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The folder of this environment's scripts, for as long as the test lasts; not in PATH."""
        folder = tmp_path / "bin"
        folder.mkdir()
        monkeypatch.setattr(sysconfig, "get_path", lambda name: str(folder))
        monkeypatch.setenv("PATH", "/nowhere")
        return folder

    def write(self, folder: Path, text: str) -> Path:
        folder.mkdir(exist_ok=True)
        script = folder / "tune"
        script.write_text(text)
        script.chmod(0o755)
        return script

    @pytest.fixture
    def found(self, here: Callable[..., Any], tmp_path: Path) -> Callable[[], dict[str, Any]]:
        """found(): what the doctor says of the command."""

        def ask() -> dict[str, Any]:
            done = here("doctor", "--json", cwd=tmp_path)
            [finding] = [each for each in json.loads(done.stdout) if each["check"] == "command"]
            assert done.returncode == (0 if finding["ok"] else 1)
            return dict(finding)

        return ask

    OURS = "#!python\nimport sys\nfrom search.cli.app import main\nsys.exit(main())\n"

    def test_ours_is_well(self, scripts: Path, found: Callable[[], dict[str, Any]]) -> None:
        script = self.write(scripts, self.OURS)
        assert found() == {"check": "command", "ok": True, "finding": str(script)}

    def test_none_is_well(self, scripts: Path, found: Callable[[], dict[str, Any]]) -> None:
        assert found()["ok"]
        assert f"{sys.executable} -P -m search" in found()["finding"]

    def test_rays_is_named_with_what_mends_it(
        self, scripts: Path, found: Callable[[], dict[str, Any]]
    ) -> None:
        script = self.write(scripts, FOREIGN)
        finding = found()
        assert not finding["ok"]
        assert finding["finding"].startswith(f"{script} belongs to another package: ")
        assert "--force-reinstall --no-deps" in finding["finding"]
        assert f"`{sys.executable} -P -m search` always works" in finding["finding"]

    @pytest.mark.parametrize(
        ("source", "remedy"),
        [
            (
                '{"url": "file:///a%20b/tune", "dir_info": {"editable": true}}',
                "-m pip install --force-reinstall --no-deps --editable '/a b/tune'`",
            ),
            ('{"url": "file:///w/tune-0.1.0.whl", "archive_info": {}}', "install tune again, after that"),
            (None, "install tune again, after that package"),
        ],
    )
    def test_the_remedy_fits_how_tune_was_installed(
        self,
        scripts: Path,
        found: Callable[[], dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
        source: str | None,
        remedy: str,
    ) -> None:
        self.write(scripts, FOREIGN)
        installed = type("Installed", (), {"read_text": lambda self, name: source})()
        monkeypatch.setattr(doctor, "distribution", lambda name: installed)
        assert remedy in found()["finding"]

    def test_a_foreign_script_that_comes_first_on_the_path(
        self,
        scripts: Path,
        found: Callable[[], dict[str, Any]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        ours = self.write(scripts, self.OURS)
        foreign = self.write(tmp_path / "other", FOREIGN)
        monkeypatch.setenv("PATH", f"{foreign.parent}:{scripts}")
        finding = found()
        assert not finding["ok"]
        for told in (f"{foreign} belongs to another package", f"start {ours}, or put its folder before"):
            assert told in str(finding)
        monkeypatch.setenv("PATH", f"{scripts}:{foreign.parent}")
        assert found()["ok"]


class TestSystems:
    def test_on_windows_one_sentence_and_no_traceback(self, tmp_path: Path) -> None:
        code = (
            "import sys\n"
            "missing = ('fcntl', 'resource', 'pwd', 'grp', 'termios', 'tty', 'pty', 'posix')\n"
            "import typer\n"  # what is not ours may do as it does elsewhere
            "sys.modules.update(dict.fromkeys(missing))\n"
            "from search.cli.app import main\n"
            "sys.platform = 'win32'\n"
            "sys.argv = ['tune', 'run', '--task', 'twodigit']\n"
            "main()\n"
        )
        done = python("-P", "-c", code, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (78, "")
        assert done.stderr == "tune needs Linux or macOS; on Windows use WSL2.\n"
        assert list(tmp_path.iterdir()) == []

    def test_without_what_only_linux_has_a_run_ends_as_it_should(
        self, careful: tuple[Path, Path], tmp_path: Path
    ) -> None:
        """As on macOS: no list of usable cores, no /proc."""
        folder, package = careful
        (tmp_path / "sitecustomize.py").write_text(
            "import os, pathlib\n"
            "del os.sched_getaffinity\n"
            "os.cpu_count = lambda: 1\n"  # one worker is enough
            "real = pathlib.Path.read_text\n"
            "def read_text(self, *arguments, **more):\n"
            "    if str(self).startswith('/proc'): raise FileNotFoundError(str(self))\n"
            "    return real(self, *arguments, **more)\n"
            "pathlib.Path.read_text = read_text\n"
        )
        path = f"{tmp_path}{os.pathsep}{package}"
        done = python("-P", "-m", "search", *VALLEY[:-2], cwd=folder, PYTHONPATH=path)
        assert done.returncode == 0, done.stderr
        assert "1 of 1 trials finished" in done.stdout

    @pytest.mark.usefixtures("worker_threads")
    def test_nor_does_a_network_need_it(
        self, tmp_path: Path, here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = Path.read_text

        def read_text(path: Path, *arguments: Any, **more: Any) -> str:
            if str(path).startswith("/proc"):
                raise FileNotFoundError(str(path))
            return real(path, *arguments, **more)

        monkeypatch.delattr(os, "sched_getaffinity")
        monkeypatch.setattr(Path, "read_text", read_text)
        done = here(*RUN[:-2], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "1 of 1 trials finished" in done.stdout
