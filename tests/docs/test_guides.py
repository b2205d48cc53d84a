"""Every `tune` command in the shell blocks of the guides runs, in their order, in a new folder for a guide;
before them, the Python of python.md.

Commands that would take minutes get smaller values. HOW says which: its options are put at the end of the
command, where the last value of an option counts. Commands that serve or wait until somebody stops them, or
need a cluster, are only parsed. A command of a guide that is in neither table fails.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from PIL import Image, ImageDraw
from worker_thread import run_workers_as_threads

from data.datasets.base import Split
from data.datasets.mnist import FILES, Mnist, MnistDataset, cache_folder
from data.tasks.twodigit import TwoDigit
from search.cli.app import app, run_command

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
GUIDES = sorted((ROOT / "docs" / "guide").glob("*.md"))

TINY = "--model mlp --trials 4 --epochs 0.02 --workers 1"
"""Four trials, the published networks among them, of 720 images each."""
CONV = "--trials 3 --epochs 0.01 --workers 1"
"""One network of the space file beside the published ones, of 360 images each."""

SMALL = "--model mlp --epochs 2 --workers 1"
"""Of the set of 60 images that this test draws."""

HOW = {
    # first-study.md
    "tune run --task twodigit --trials 100": TINY,
    "tune run --study twodigit --trials 150": "--trials 5 --workers 1",
    "tune run --task twodigit --study first --model mlp --epochs 0.5 --trials 10": TINY,
    "tune run --task sum --trials 30": TINY,
    "tune run --task twodigit --study long --epochs 12 --trials 50": TINY,
    "tune run --task twodigit --study exact --pruner none --trials 40": TINY,
    "tune run --task twodigit --study quick --target 0.985 --timeout 600": TINY,
    "tune studies": "",
    "tune trials twodigit": "",
    "tune best twodigit": "",
    "tune report twodigit --out report.html": "",
    "tune ablate twodigit --list": "",
    "tune ablate twodigit": "--settings dropout --no-lengths --seeds 2 --workers 1",
    "tune ablate twodigit --settings dropout,optimizer --seeds 5": "--settings dropout --seeds 2 --workers 1",
    "tune ablate twodigit --settings dropout --path course-conv --out path.html": "--seeds 1 --workers 1",
    "tune run --task twodigit --study small --model mlp --trials 50": TINY,
    "tune compare twodigit small --out compare.html": "",
    "tune repeat twodigit --trial 7": "--trial 3",
    # your-own-space.md
    "tune run --task twodigit --study mine --space space.toml --trials 50": CONV,
    "tune run --task twodigit --study mine --space space.toml --space-changed --trials 80": CONV,
    # from-study-to-model.md
    "tune confirm twodigit --top 3 --seeds 3": "--top 1 --seeds 2 --epochs 0.02 --workers 1",
    "tune confirm twodigit --top 1 --seeds 3 --widen 1.34 --epochs 24": "--seeds 2 --epochs 0.02 --workers 1",
    "tune export twodigit --out model": "",
    "tune predict model image.png": "",
    # your-own-code.md
    "tune run --objective train.py:train --trials 50": "--trials 6 --workers 1",
    "tune run --objective train.py:train --space-changed --trials 80": "--trials 7 --workers 1",
    "tune best train": "",
    "tune repeat train --trial 3": "",
    "tune report train --out train.html": "",
    'tune run --command "sh examples/valley.sh" --trials 20 --study valley': "--trials 6 --workers 1",
    "tune data export --task twodigit --out twodigit.npz": "",
    # your-own-images.md
    "tune run --data flowers --trials 100": f"{SMALL} --trials 4",
    "tune data add flowers --size 24x24 --fit crop": "",
    "tune data list": "",
    "tune data verify": "",
    "tune run --data flowers --study balanced --score balanced_accuracy --trials 50": f"{SMALL} --trials 3",
    "tune report flowers --out flowers.html": "",
    "tune confirm flowers --top 2 --seeds 3": "--top 1 --seeds 2 --epochs 2 --workers 1",
    "tune export flowers --out flower-model": "",
    "tune predict flower-model photo.jpg": "",
    # python.md
    "tune best fit": "",
    # many-machines.md
    "tune run --task twodigit --trials 200 --detach": "--model mlp --trials 4 --epochs 0.02",
    "tune worker twodigit --workers 4": "--workers 1",
}
"""Command of a guide -> the options that the test adds."""

PARSED = {
    "tune dashboard": "serves until it is stopped; tests/search/test_dashboard.py",
    "tune demo flower-model": "serves until it is stopped; tests/search/test_demo.py",
    "tune demo model": "serves until it is stopped; tests/search/test_demo.py",
    "tune worker --forever --workers 4": "waits until it is stopped; tests/search/test_processes.py",
    "tune run --task twodigit --trials 200 --engine ray --address auto": "needs a Ray cluster; `make ray`",
}
"""Command of a guide -> why it is only parsed, and what runs it."""

SMALLER = {"trials=50, workers=2": "trials=4, workers=1"}
"""What of the Python blocks of python.md is made smaller."""

GIVEN = {"from-study-to-model.md": ["tune run --task twodigit --trials 100"]}
"""Guide -> the commands of an earlier guide that it builds on."""


def commands(page: Path) -> list[str]:
    """The `tune` commands in the shell blocks of a page, without comments."""
    return [
        line.split("#")[0].strip()
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        for line in block.splitlines()
        if line.startswith("tune ")
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mnist: Mnist) -> Path:
    """An empty current folder with its own storage; workers are threads, and MNIST is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cache").mkdir()
    for file in FILES:  # MNIST, in a cache of this test, which gets sets of images too
        (tmp_path / "cache" / file).symlink_to(cache_folder() / file)
    monkeypatch.setenv("TUNE_DATA_DIR", str(tmp_path / "cache"))
    for name in ("TUNE_STORAGE", "TUNE_ARTIFACTS"):
        monkeypatch.delenv(name, raising=False)
    run_workers_as_threads(monkeypatch)
    make_evaluations_small(monkeypatch)
    example = Path(__file__).resolve().parents[2] / "examples" / "valley.sh"
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "valley.sh").write_bytes(example.read_bytes())
    image = Image.new("L", (28, 42))
    ImageDraw.Draw(image).line([(14, 4), (14, 38)], fill=255, width=3)
    image.save(tmp_path / "image.png")
    draw_flowers(tmp_path)
    return tmp_path


def make_evaluations_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the sake of time, validation has the first 600 of its 6,000 digits: a search evaluates 400 images
    in place of 4,000, a confirmation and an ablation 600 in place of 24,000."""
    monkeypatch.setattr(TwoDigit, "compositions", 1)
    monkeypatch.setattr(TwoDigit, "examples", {**TwoDigit.examples, Split.VALIDATION: 400})
    monkeypatch.setattr(MnistDataset, "sizes", {**MnistDataset.sizes, Split.VALIDATION: 600})


def draw_flowers(folder: Path) -> None:
    """A folder `flowers` of 60 images in three classes, by their color, and a photo of another size."""
    for hue, name in enumerate(("daisy", "rose", "tulip")):
        (folder / "flowers" / name).mkdir(parents=True)
        for number in range(20):
            color = [40 + 3 * number] * 3
            color[hue] = 200 + number
            Image.new("RGB", (16, 12 + number % 2), tuple(color)).save(
                folder / "flowers" / name / f"{number}.png"
            )
    Image.new("RGB", (300, 200), (220, 60, 60)).save(folder / "photo.jpg")


def test_every_command_is_in_one_of_the_tables_and_every_entry_is_used() -> None:
    used = {line for page in (README, *GUIDES) for line in commands(page)}
    assert sorted(used) == sorted([*HOW, *PARSED])


@pytest.mark.parametrize("line", sorted(PARSED))
def test_a_command_that_does_not_end_by_itself_is_parsed(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]  # a group has them
    context = command.make_context(name, arguments)  # raises where an option or a value is wrong
    assert context.params


@pytest.mark.timeout(400)
@pytest.mark.parametrize("guide", GUIDES, ids=lambda page: page.stem)
def test_the_commands_of_a_guide_run(guide: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in re.findall(r"```toml\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL):
        (folder / "space.toml").write_text(text, encoding="utf-8")
    for text in re.findall(r"```python\n(# train.py\n.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL):
        (folder / "train.py").write_text(text, encoding="utf-8")
    if guide.name == "python.md":
        blocks = "".join(re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL))
        for told, tried in SMALLER.items():
            assert told in blocks
            blocks = blocks.replace(told, tried)
        exec(blocks, {"__name__": "__main__"})
        assert (folder / "fit.html").exists()
    lines = [line for line in [*GIVEN.get(guide.name, []), *commands(guide)] if line not in PARSED]
    for line in lines:
        capsys.readouterr()
        code = run_command(shlex.split(f"{line} {HOW[line]}")[1:], debug=False)
        printed = capsys.readouterr()
        assert code == 0, f"{line}\n{printed.out}\n{printed.err}"
        assert printed.out.strip() or "--out" in line, f"{line} prints nothing"
        for made in re.findall(r"--out (\S+)", line):
            assert (folder / made).exists()
    assert lines
