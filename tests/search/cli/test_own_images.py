"""`tune run --data`, from images in any layout to a search, on this machine and another one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import write_folders, write_idx
from numpy.typing import NDArray
from snapshots import Snapshots, lines_with

from data.datasets.image_set import sets_folder, stored_sets
from data.datasets.mnist import Mnist
from search.errors import ConfigError
from search.service.run import join
from search.worker.options import DEFAULT_OPTIONS

SENTENCES = Snapshots(__file__, "image_sets")

STUDY = ("--model", "mlp", "--trials", "3", "--epochs", "2")
SMALL = (*STUDY, "--workers", "1")

pytestmark = pytest.mark.usefixtures("worker_threads")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_DATA_DIR", str(tmp_path / "cache"))


@pytest.fixture
def digits(mnist: Mnist) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """300 images of MNIST, uint8 (300, 28, 28), and their labels."""
    return mnist.train_images[:300].numpy(), mnist.train_labels[:300].numpy()


def curves(trials: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """All of a trial that does not depend on when it was trained."""
    return [(each["trial"], each["state"], each["value"], each["params"]) for each in trials]


def test_the_same_images_in_another_layout_are_the_same_study(
    here: Callable[..., Any], tmp_path: Path, digits: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    images, labels = digits
    write_folders(tmp_path / "folders" / "train", images[:240], labels[:240])
    write_folders(tmp_path / "folders" / "test", images[240:], labels[240:])
    write_idx(tmp_path / "idx", {"train": (images[:240], labels[:240]), "t10k": (images[240:], labels[240:])})
    shuffled = np.random.default_rng(1).permutation(240)
    np.savez(
        tmp_path / "arrays.npz",
        train_images=images[:240][shuffled],
        train_labels=labels[:240][shuffled],
        test_images=images[240:],
        test_labels=labels[240:],
    )
    found = {}
    for path in ("folders", "idx", "arrays.npz"):
        study = path.removesuffix(".npz")
        done = here("run", "--data", path, *SMALL, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found[study] = curves(here("trials", study, "--json", cwd=tmp_path).parsed)
        assert len(found[study]) == 3
    assert found["folders"] == found["idx"] == found["arrays"]
    assert len(stored_sets()) == 1


class TestAnotherMachine:
    @pytest.fixture
    def study(self, here: Callable[..., Any], tmp_path: Path) -> str:
        """A study whose images this machine does not have any more."""
        for hue, name in enumerate(("red", "green", "blue")):
            pixels = np.random.default_rng(hue).integers(0, 90, (24, 8, 8, 3), dtype=np.uint8)
            pixels[..., hue] += 120
            write_folders(tmp_path / "colors", pixels, [name] * 24)
        done = here("run", "--data", "colors", *STUDY, "--detach", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        shutil.rmtree(sets_folder())
        return f"sqlite:///{tmp_path / 'studies.db'}"

    def test_a_worker_says_what_it_lacks(self, here: Callable[..., Any], study: str, tmp_path: Path) -> None:
        done = here("worker", "colors", cwd=tmp_path)
        assert done.returncode != 0
        assert "tune data add PATH" in done.stderr

    def test_a_worker_is_told_where_they_lie(self, study: str, tmp_path: Path) -> None:
        result = join("colors", study, DEFAULT_OPTIONS, data=tmp_path / "colors", watch=lambda _: None)
        assert result.snapshot.counts.complete + result.snapshot.counts.pruned == 3

    def test_damaged_images_are_left_out_where_that_is_said(
        self, here: Callable[..., Any], study: str, tmp_path: Path
    ) -> None:
        (tmp_path / "colors" / "red" / "damaged.png").touch()
        arguments = ("worker", "colors", "--data", "colors")
        done = here(*arguments, cwd=tmp_path)
        assert done.returncode == 78
        assert "leave out all such images with --skip-damaged" in done.stderr
        done = here(*arguments, "--skip-damaged", "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.parsed["complete"] + done.parsed["pruned"] == 3
        done = here("run", "--data", "colors", "--skip-damaged", "--workers", "1", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "Left out: red/damaged.png cannot be read (it is empty)." in done.stderr
        assert here("worker", "colors", "--skip-damaged", cwd=tmp_path).returncode == 2

    def test_other_images_are_refused(self, study: str, tmp_path: Path) -> None:
        (tmp_path / "colors" / "red" / "0.png").unlink()
        with pytest.raises(ConfigError, match="are not those of the study colors"):
            join("colors", study, DEFAULT_OPTIONS, data=tmp_path / "colors", watch=lambda _: None)

    def test_the_same_command_stores_them_again(
        self, here: Callable[..., Any], study: str, tmp_path: Path
    ) -> None:
        done = here("run", "--data", "colors", "--workers", "1", cwd=tmp_path)
        assert done.returncode == 0, done.stderr

    def test_a_folder_that_changed_is_another_set(
        self, here: Callable[..., Any], study: str, tmp_path: Path
    ) -> None:
        (tmp_path / "colors" / "red" / "0.png").unlink()
        done = here("run", "--data", "colors", *SMALL, cwd=tmp_path)
        assert done.returncode == 78
        told = re.sub(r"colors@\w+", "colors@CHECKSUM", done.stderr)
        SENTENCES.check("another set of images than the study's", lines_with(told, "The study"))


def test_the_same_images_under_another_name_continue_the_study(
    here: Callable[..., Any], tmp_path: Path, digits: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    write_folders(tmp_path / "first", digits[0], digits[1])
    assert here("run", "--data", "first", *STUDY, "--detach", cwd=tmp_path).returncode == 0
    (tmp_path / "first").rename(tmp_path / "second")
    done = here("run", "--data", "second", "--study", "first", *STUDY, "--detach", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_best_log_loss_is_the_lowest(here: Callable[..., Any], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (60, 8, 8), dtype=np.uint8)
    pixels[30:, :4] = 255
    write_folders(tmp_path / "halves", pixels, ["full"] * 30 + ["upper"] * 30)
    done = here("run", "--data", "halves", "--score", "log_loss", *SMALL, "--json", cwd=tmp_path)
    trials = here("trials", "halves", "--json", cwd=tmp_path).parsed
    complete = {each["trial"]: each["value"] for each in trials if each["state"] == "complete"}
    best = done.parsed
    assert best["best_value"] == complete[best["best_trial"]] > 0
    lowest = min(complete.values())
    assert lowest in (best["best_value"], best["better_reference_value"])
    refused = here("run", "--data", "halves", "--score", "macro_f1", *SMALL, cwd=tmp_path)
    assert refused.returncode == 78
    assert "--score macro_f1 (the study has log_loss)" in refused.stderr


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--data", "x", "--task", "sum"), "--task and --data: --task trains tune's networks on a task"),
        (("--task", "sum", "--score", "macro_f1"), "--score macro_f1 is for sets of images"),
        (("--task", "sum", "--score", "acuracy"), "--score acuracy: no such score (did you mean accuracy?)"),
        (("--data", ""), "The path of the images is empty"),
        (("--task", "sum", "--skip-damaged"), "--skip-damaged is for the images of --data"),
        (("--data", "nowhere"), "nowhere: There is nothing at this path"),
        (("--task", "x@0123456789ab"), "tune data add PATH"),
    ],
)
def test_a_wrong_flag_is_refused_before_anything_is_made(
    here: Callable[..., Any], tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    done = here("run", *flags, cwd=tmp_path)
    assert done.returncode in (2, 78)
    assert told in done.stderr
    assert not (tmp_path / "studies.db").exists()
