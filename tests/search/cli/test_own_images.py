"""`tune run --data`, from images in any layout to a search, on this machine and another one."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import write_folders, write_idx
from numpy.typing import NDArray
from PIL import Image
from snapshots import Snapshots, lines_with

from data.datasets.base import FileCheck
from data.datasets.image_set import IMAGES, ImageSet, sets_folder, stored_sets
from data.datasets.mnist import Mnist
from data.images import Fit
from data.ingest.add import add_set
from data.ingest.pixels import Options
from search.errors import AbsentHere, ConfigError
from search.optuna_db.storage import open_storage
from search.service.create import RunRequest
from search.service.look import find
from search.service.origin import find_set
from search.service.run import join, run, serve
from search.worker.options import WorkerOptions

SENTENCES = Snapshots(__file__, "image_sets")

STUDY = ("--model", "mlp", "--trials", "3", "--epochs", "2")
SMALL = (*STUDY, "--workers", "1")
ONE_WORKER = WorkerOptions(workers=1)

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

    def test_a_worker_finds_them_where_the_study_found_them(self, study: str) -> None:
        result = join("colors", study, ONE_WORKER, watch=lambda _: None)
        assert result.snapshot.counts.complete + result.snapshot.counts.pruned == 3

    def test_a_confirmation_finds_them_too(
        self, here: Callable[..., Any], study: str, tmp_path: Path
    ) -> None:
        join("colors", study, ONE_WORKER, watch=lambda _: None)
        shutil.rmtree(sets_folder())
        done = here(
            "confirm", "colors", "--top", "1", "--seeds", "2", "--epochs", "2", "--workers", "1", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("change", ["one image", "something else"])
    def test_what_lies_there_must_be_the_same(self, change: str, study: str, tmp_path: Path) -> None:
        (tmp_path / "colors" / "red" / "0.png").unlink()
        told = "The images at .*/colors are not those of the study colors.* Say with --data where"
        if change == "something else":
            shutil.rmtree(tmp_path / "colors")
            (tmp_path / "colors").touch()
            told = "The study colors was made with the images at .*/colors, which cannot be read here"
        with pytest.raises(AbsentHere, match=told):
            join("colors", study, ONE_WORKER, watch=lambda _: None)

    def test_a_worker_for_all_studies_passes_over_it(
        self, study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "colors" / "red" / "0.png").unlink()
        told = list[str]()

        def pause(_: float, __: Callable[[], bool]) -> None:
            raise InterruptedError

        monkeypatch.setattr("search.service.run.pause", pause)
        with pytest.raises(InterruptedError):
            serve(study, ONE_WORKER, only=None, watching=nullcontext, tell=told.append)
        assert [each.partition(" ")[0] for each in told] == ["colors:", "Waiting"]

    def test_a_worker_says_what_it_lacks(self, here: Callable[..., Any], study: str, tmp_path: Path) -> None:
        (tmp_path / "colors").rename(tmp_path / "elsewhere")
        done = [here(*each, cwd=tmp_path) for each in (("worker", "colors"), ("run", "--study", "colors"))]
        assert [each.returncode for each in done] == [78, 78]
        told = f"The study was made with those at {tmp_path / 'colors'}, where nothing lies here"
        for part in ("tune data add PATH", told, "another path with --data"):
            assert [each.stderr for each in done if part not in each.stderr] == []

    def test_a_worker_is_told_where_they_lie(self, study: str, tmp_path: Path) -> None:
        result = join("colors", study, ONE_WORKER, data=tmp_path / "colors", watch=lambda _: None)
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
            join("colors", study, ONE_WORKER, data=tmp_path / "colors", watch=lambda _: None)

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


def test_a_set_of_chosen_size_is_read_in_the_same_way(
    here: Callable[..., Any], tmp_path: Path, digits: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    folder = write_folders(tmp_path / "own", digits[0], digits[1])
    Image.fromarray(digits[0][0]).resize((40, 30)).save(folder / "0" / "wide.png")
    (folder / "0" / "damaged.png").touch()
    options = Options(size=(12, 16), fit=Fit.CROP, channels=3, skip_damaged=True)
    image_set = add_set(folder, options=options).image_set
    done = here("run", "--task", image_set.name, "--study", "own", *STUDY, "--detach", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(sets_folder())
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    with open_storage(url, create=False) as storage:
        _, record = find(storage, "own")
    brought = find_set(record, None)
    assert brought is not None
    assert brought.checksum == image_set.checksum
    assert find_set(record, None) is None, "it is stored now"


def test_a_set_is_verified_once_by_a_process(
    here: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    digits: tuple[NDArray[np.uint8], NDArray[np.int64]],
) -> None:
    folder, verified, genuine = write_folders(tmp_path / "own", *digits), list[str](), ImageSet.verify

    def verify(image_set: ImageSet) -> dict[str, FileCheck]:
        verified.append(image_set.name)
        return genuine(image_set)

    monkeypatch.setattr(ImageSet, "verify", verify)
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    for times in (0, 1):  # a new set was written by this process
        request = RunRequest(data=folder, trials=3, model="mlp", epochs=2)
        run(request, url, watch=lambda _: None, detach=True)
        assert len(verified) == times


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


class TestVerify:
    def test_every_set_is_verified_and_a_damaged_one_is_replaced(
        self, here: Callable[..., Any], tmp_path: Path
    ) -> None:
        good = add_set(write_folders(tmp_path / "good", _noise(1), ["a", "b"] * 10)).image_set
        bad = add_set(write_folders(tmp_path / "bad one", _noise(2), ["a", "b"] * 10)).image_set
        done = here("data", "verify", "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert {name: each["state"] for name, each in done.parsed.items()} == {
            good.name: "ok",
            bad.name: "ok",
        }
        content = bytearray((bad.folder / IMAGES).read_bytes())
        content[7] ^= 1
        (bad.folder / IMAGES).write_bytes(content)
        done = here("data", "verify", cwd=tmp_path)
        assert done.returncode == 78
        assert f"corrupt  {bad.folder}\n" in done.stdout
        assert f"ok       {good.folder}\n" in done.stdout
        add = f"tune data add '{tmp_path}/bad one'"
        assert done.stderr == f"`{add}` replaces {bad.name}.\n"
        assert here("data", "verify", good.name, cwd=tmp_path).returncode == 0
        assert here("data", "verify", bad.name, cwd=tmp_path).returncode == 78
        assert here("data", "add", str(tmp_path / "bad one"), cwd=tmp_path).returncode == 0
        assert here("data", "verify", bad.name, cwd=tmp_path).returncode == 0

    @pytest.mark.parametrize(("file", "size"), [("set.json", 5), ("labels", 8), ("images", 0)])
    def test_a_file_that_was_cut_off_is_told(
        self, file: str, size: int, here: Callable[..., Any], tmp_path: Path
    ) -> None:
        image_set = add_set(write_folders(tmp_path / "own", _noise(1), ["a", "b"] * 10)).image_set
        with (image_set.folder / file).open("r+b") as opened:
            opened.truncate(size)
        done = here("data", "verify", image_set.name, "--json", cwd=tmp_path)
        assert done.returncode == 78
        assert [each["state"] for each in json.loads(done.stdout).values()] == ["corrupt"]

    def test_mnist_is_verified_by_its_name_and_others_are_unknown(
        self, here: Callable[..., Any], tmp_path: Path
    ) -> None:
        add_set(write_folders(tmp_path / "own", _noise(1), ["a", "b"] * 10))
        assert here("data", "verify", "mnist", cwd=tmp_path).returncode == 78
        assert here("data", "verify", "own", cwd=tmp_path).returncode == 2


def _noise(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (20, 8, 8), dtype=np.uint8)
