"""Best weights: in the database of a server, where every machine reads them, else in a folder."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from few_images import take_few_images
from memory_store import MemoryStore
from snapshots import Snapshots, lines_with
from sqlalchemy import create_engine, func, inspect, select, text, update

from data.datasets.mnist import Mnist
from models.checkpoint import parse_checkpoint
from search.optuna_db.storage import Storage, open_storage
from search.optuna_db.trial_facts import News
from search.records import NetworkSpec
from search.service.create import RunRequest, create_or_resume
from search.service.dashboard import Showing
from search.service.upgrade import upgrade
from search.service.watched import Watched
from search.store import tables
from search.store.engine import parse_url
from search.store.location import locate
from search.study.reading import open_reading
from search.worker.artifacts import KEEP
from search.worker.best_weights import BestWeights, WeightsDamaged, WeightsMissing, place_for_new_weights
from search.worker.context import WorkerContext, prepare
from search.worker.worker_loop import work

SENTENCES = Snapshots(__file__, "weights")
Command = Callable[..., Any]
REQUEST = RunRequest(task="twodigit", trials=4, epochs=0.02, model="mlp", pruner="none")


@pytest.fixture(autouse=True)
def _no_folder_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNE_ARTIFACTS", raising=False)
    take_few_images(monkeypatch)


@pytest.mark.parametrize(
    ("url", "chosen", "place"),
    [
        ("sqlite:///studies.db", None, "folder"),
        ("sqlite:///studies.db", "/srv/artifacts", "folder"),
        ("postgresql://u@h/d", None, "database"),
        ("mysql+pymysql://u@h/d", None, "database"),
        ("mariadb+pymysql://u@h/d", None, "database"),
        ("postgresql://u@h/d", "/srv/artifacts", "folder"),
        ("postgresql://u@h/d", "", "database"),
    ],
)
def test_the_place_for_new_weights(
    monkeypatch: pytest.MonkeyPatch, url: str, chosen: str | None, place: str
) -> None:
    if chosen is not None:
        monkeypatch.setenv("TUNE_ARTIFACTS", chosen)
    assert place_for_new_weights(locate(url)) == place


class TestEitherPlace:
    """The same promises for a folder and for a database, of which readers notice nothing."""

    @pytest.fixture(params=["folder", "database"])
    def weights(
        self,
        request: pytest.FixtureRequest,
        tmp_path: Path,
        plain_spec: NetworkSpec,
        monkeypatch: pytest.MonkeyPatch,
    ) -> BestWeights:
        store = MemoryStore()
        store.add_study(1, plain_spec, 20)
        record = store.study(1)
        assert record is not None
        monkeypatch.chdir(tmp_path)
        found = BestWeights.of(locate("postgresql://u@h/d"), replace(record, name="s"), store)
        return replace(found, new_in=request.param)

    def write(self, weights: BestWeights, number: int, content: bytes, score: float, step: int = 9) -> Any:
        return weights.write(content, number=number, trial_id=100 + number, score=score, step=step)

    def test_what_is_written_is_read(self, weights: BestWeights, tmp_path: Path) -> None:
        content = bytes(range(256)) * 10_000
        record = self.write(weights, 3, content, 0.5)
        assert weights.store.checkpoints(1) == [record]
        assert record.sha256 == hashlib.sha256(content).hexdigest()
        assert (record.bytes, record.in_database) == (len(content), weights.new_in == "database")
        assert weights.read(record) == content
        with weights.open(record) as file:
            assert file.read() == content
        assert [path.name for path in tmp_path.rglob("*.safetensors")] == (
            [] if record.in_database else ["trial-00003-9.safetensors"]
        )

    def test_better_ones_take_the_place_of_the_old_ones(self, weights: BestWeights, tmp_path: Path) -> None:
        old = self.write(weights, 3, b"old", 0.5)
        new = self.write(weights, 3, b"new", 0.6, step=18)
        assert weights.read(new) == b"new"
        with pytest.raises(WeightsMissing, match=r"the checkpoint is no longer (at .*tune|in the database)"):
            weights.read(old)
        assert len(list(tmp_path.rglob("*.safetensors"))) == (0 if new.in_database else 1)

    def test_better_ones_that_come_between_two_chunks_are_no_damage(
        self, weights: BestWeights, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        weights = replace(weights, new_in="database")
        old = self.write(weights, 3, b"old weights", 0.5)
        chunks = {0: b"old "}
        monkeypatch.setattr(weights.store, "weights_chunk", lambda _, position: chunks.get(position))
        with pytest.raises(WeightsMissing, match="no longer in the database"):
            weights.read(old)

    def test_weights_that_move_leave_no_copy(self, weights: BestWeights, tmp_path: Path) -> None:
        """TUNE_ARTIFACTS was set, or is no longer."""
        other = replace(weights, new_in="folder" if weights.new_in == "database" else "database")
        self.write(weights, 3, b"same", 0.5)
        moved = self.write(other, 3, b"same", 0.5)
        assert weights.read(moved) == other.read(moved) == b"same"
        assert len(list(tmp_path.rglob("*.safetensors"))) == (0 if moved.in_database else 1)
        assert (weights.store.weights_chunk(moved, 0) is None) != moved.in_database

    def test_the_ten_best_weights_are_kept(self, weights: BestWeights, tmp_path: Path) -> None:
        records = [self.write(weights, n, b"%d" % n, n / 100) for n in range(KEEP + 3)]
        assert not weights.worth_keeping(0.02)
        assert weights.worth_keeping(0.5)
        weights.keep_best()
        kept = weights.store.checkpoints(1)
        assert [weights.read(each) for each in kept] == [b"%d" % n for n in range(KEEP + 2, 2, -1)]
        for gone in records[:3]:
            with pytest.raises(WeightsMissing):
                weights.read(gone)

    def test_a_file_that_cannot_be_removed_stays_and_the_others_go(
        self, weights: BestWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The trial that is trained meanwhile is not to blame for it."""
        for number in range(KEEP + 2):
            self.write(weights, number, b"weights", score=number / 100)
        unlink = Path.unlink

        def refusing(path: Path, missing_ok: bool = False) -> None:
            if path.name == "trial-00000-9.safetensors":
                raise PermissionError("it is another user's")
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", refusing)
        weights.keep_best()
        assert len(weights.store.checkpoints(1)) == KEEP
        left = [] if weights.new_in == "database" else [0, *range(2, KEEP + 2)]
        files = sorted(tmp_path.rglob("*.safetensors"))
        assert [path.name for path in files] == [f"trial-{number:05d}-9.safetensors" for number in left]

    def test_damaged_ones_are_never_used(self, weights: BestWeights) -> None:
        record = self.write(weights, 3, b"content", 0.5)
        if record.in_database:
            assert isinstance(weights.store, MemoryStore)
            weights.store._weights[record.trial_id] = (record.sha256, b"Content")
        else:
            weights.artifacts.path(record).write_bytes(b"Content")
        for use in (weights.read, weights.open):
            with pytest.raises(WeightsDamaged, match=f"expected SHA-256 {record.sha256}, found "):
                use(record)

    def test_weights_in_the_folder_of_a_previous_version_are_found_and_deleted(
        self, weights: BestWeights, tmp_path: Path
    ) -> None:
        """See Location.earlier."""
        earlier = tmp_path / "t%C3%BC.artifacts"
        weights = replace(weights, earlier=(earlier,))
        moved = []
        for number in (1, 2):
            record = self.write(replace(weights, new_in="folder"), number, b"old", number / 100)
            moved.append(earlier / record.path)
            moved[-1].parent.mkdir(parents=True, exist_ok=True)
            weights.artifacts.path(record).rename(moved[-1])
            assert weights.read(record) == b"old"
            assert weights.where(record) == f"at {moved[-1]}"
        better = self.write(weights, 2, b"new", 0.5, step=18)
        assert weights.read(better) == b"new"
        assert [path.exists() for path in moved] == [True, False], "replaced"
        for number in range(KEEP - 1):
            self.write(weights, 10 + number, b"others", 0.4)
        weights.keep_best()
        assert [path.exists() for path in moved] == [False, False], "no longer among the best"

    def test_weights_above_the_size_limit_are_files(self, weights: BestWeights) -> None:
        limited = replace(weights, largest_bytes=5)
        small, large = self.write(limited, 1, b"small", 0.5), self.write(limited, 2, b"larger", 0.6)
        assert small.in_database == (weights.new_in == "database")
        assert not large.in_database
        assert limited.read(large) == b"larger"
        assert limited.too_large() == ([large] if weights.new_in == "database" else [])
        limited.keep_best()
        assert [limited.read(each) for each in weights.store.checkpoints(1)] == [b"larger", b"small"]


@pytest.fixture(params=["postgresql", "mysql"])
def url(request: pytest.FixtureRequest) -> str:
    """A new database on a server."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def storage(url: str) -> Iterator[Storage]:
    with open_storage(url) as opened:
        yield opened


def joined(storage: Storage, mnist: Mnist, folder: Path, request: RunRequest = REQUEST) -> WorkerContext:
    """A worker's, in a separate current folder."""
    torch.set_num_threads(1)
    create_or_resume(storage, request, mnist)
    return prepare(storage, request.name, mnist, folder / "tune.artifacts", device="cpu", threads=1)


def chunks(url: str) -> int:
    engine = create_engine(parse_url(url))
    with engine.connect() as connection:
        found = connection.scalar(select(func.count()).select_from(tables.weights))
    engine.dispose()
    return found or 0


def files(folder: Path) -> list[str]:
    """Weights and resume checkpoints below a folder."""
    return sorted(path.name for path in folder.rglob("*.safetensors"))


def shown_files(url: str, study_id: int) -> list[Any]:
    """The files of a study that the dashboard offers; each has the SHA-256 that is told of it."""
    with open_reading(url) as reading:
        shown = Showing(reading).study(study_id)
        assert shown is not None
        for file in shown.files:
            with file.open() as opened:
                assert hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256
        return list(shown.files)


class TestOnAServer:
    def test_every_command_works_in_a_folder_where_nothing_was_trained(
        self, storage: Storage, url: str, mnist: Mnist, tmp_path: Path, here: Command
    ) -> None:
        away, third = tmp_path / "away", tmp_path / "third"
        third.mkdir()
        context = joined(storage, mnist, away)
        assert work(context, stop=lambda: False) == 4
        assert files(tmp_path) == []
        kept = storage.store.checkpoints(context.study.study_id)
        assert [each.in_database for each in kept] == [True] * 4
        for record in kept:
            loaded = parse_checkpoint(context.weights.read(record), "it", expected_sha256=record.sha256)
            assert loaded.metadata["images"] == str(record.step)

        export = ("export", "twodigit", "--out", "model", "--storage", url)
        assert here(*export, cwd=third).returncode == 0
        told = json.loads((third / "model" / "manifest.json").read_text())
        leading = here("best", "twodigit", "--json", "--storage", url, cwd=third).parsed
        numbers = {
            each.trial_id: each.number for each in storage.trials.outlines(context.study.study_id, News())
        }
        [best] = [each for each in kept if numbers[each.trial_id] == leading["trial"]]
        assert (told["trial"], told["checkpoint_sha256"]) == (leading["trial"], best.sha256)

        done = here("report", "twodigit", "--storage", url, cwd=third)
        assert (done.returncode, done.stderr) == (0, ""), "with the winner's mistakes"
        assert len(shown_files(url, context.study.study_id)) == 4

        # A flipped bit is noticed by all of them, and repaired by training the trial once more.
        content = bytearray(storage.store.weights_chunk(best, 0) or b"")
        content[-1] ^= 1
        with storage.trials.database.write() as connection:
            mine = (tables.weights.c.trial_id == best.trial_id) & (tables.weights.c.position == 0)
            connection.execute(update(tables.weights).where(mine).values(content=bytes(content)))
        number = told["trial"]
        done = here("export", "twodigit", "--out", "again", "--storage", url, cwd=third)
        assert done.returncode == 1
        said = re.sub(r"\b[0-9a-f]{64}\b", "CHECKSUM", done.stderr.replace(f"trial {number} ", "trial BEST "))
        SENTENCES.check("damaged weights: export", lines_with(said, "damaged"))
        assert not (third / "again").exists()
        done = here("report", "twodigit", "--force", "--storage", url, cwd=third)
        SENTENCES.check("damaged weights: report", lines_with(done.stderr, "damaged"))
        repeat = ("repeat", "twodigit", "--trial", str(number), "--restore", "--storage", url)
        done = here(*repeat, cwd=third)
        assert "Its weights are restored, in the database." in done.stdout
        assert storage.store.checkpoints(context.study.study_id) == kept
        done = here("report", "twodigit", "--force", "--storage", url, cwd=third)
        assert (done.returncode, done.stderr) == (0, "")
        assert here(*repeat, "--json", cwd=third).parsed["restored_where"] == "in the database"

        done = here("delete", "twodigit", "--yes", "--storage", url, cwd=third)
        assert "weights  of 4 trials in the database (" in done.stderr
        assert chunks(url) == 0
        assert files(tmp_path) == ["model.safetensors"]

    @pytest.mark.usefixtures("worker_threads")
    def test_the_test_set_is_evaluated_with_weights_of_another_folder(
        self, storage: Storage, url: str, mnist: Mnist, tmp_path: Path, here: Command
    ) -> None:
        """A confirmation keeps the weights of all its runs."""
        away, third = tmp_path / "away", tmp_path / "third"
        away.mkdir()
        third.mkdir()
        work(joined(storage, mnist, away), stop=lambda: False)
        confirm = ("confirm", "twodigit", "--top", "1", "--seeds", "2", "--epochs", "0.02", "--workers", "1")
        confirm += ("--storage", url)
        assert here(*confirm, cwd=away).returncode == 0
        with storage.trials.database.write() as connection:
            for table in (tables.test_evaluations, tables.head_test_evaluations):
                connection.execute(table.delete())
        done = here(*confirm, "--json", cwd=third)
        assert len(done.parsed["looks"]) == 3
        assert files(tmp_path) == []
        for study in ("twodigit.confirm", "twodigit"):
            assert here("delete", study, "--yes", "--storage", url, cwd=third).returncode == 0
        assert chunks(url) == 0

    def test_what_is_too_large_is_a_file_and_the_run_says_so(
        self,
        storage: Storage,
        url: str,
        mnist: Mnist,
        tmp_path: Path,
        here: Command,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        context = joined(storage, mnist, tmp_path / "away")
        limit = 500_000
        limited = replace(context, weights=replace(context.weights, largest_bytes=limit))
        assert work(limited, stop=lambda: False) == 4
        kept = storage.store.checkpoints(context.study.study_id)
        sizes = [each.bytes for each in kept]
        assert min(sizes) <= limit < max(sizes), "some of each kind, or this test shows nothing"
        assert [each.in_database for each in kept] == [size <= limit for size in sizes]
        assert len(files(tmp_path / "away")) == sum(size > limit for size in sizes)

        of = BestWeights.of
        monkeypatch.setattr(BestWeights, "of", lambda *given: replace(of(*given), largest_bytes=limit))
        monkeypatch.chdir(tmp_path / "away")
        watched = Watched(storage, context.study, context.record)
        [note] = watched.result("finished", watched.snapshot(1.0)).notes
        numbers = {each.trial_id: each.number for each in context.study.trials()}
        large = sorted(numbers[each.trial_id] for each in kept if not each.in_database)
        whose = ", ".join(map(str, large))
        assert f" trial {whose} " in note
        told = note.replace(f" trial {whose} ", " trial LARGE ")
        told = re.sub(r"\S+tune\.artifacts", "FOLDER", told)
        SENTENCES.check("weights too large for the database", [told])

        third = tmp_path / "third"
        third.mkdir()
        worst = max(kept, key=lambda each: each.bytes)
        export = ("export", "twodigit", "--trial", str(numbers[worst.trial_id]), "--storage", url)
        done = here(*export, "--out", "x", cwd=third)
        assert done.returncode == 1
        assert f"and were written on {context.worker.host}. Set TUNE_ARTIFACTS" in done.stderr
        shutil.copytree(tmp_path / "away" / "tune.artifacts", third / "tune.artifacts")
        assert here(*export, "--out", "x", cwd=third).returncode == 0

    @pytest.mark.usefixtures("worker_threads")
    def test_a_chosen_folder_is_used(
        self,
        storage: Storage,
        url: str,
        mnist: Mnist,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        here: Command,
    ) -> None:
        shared = tmp_path / "shared"
        monkeypatch.setenv("TUNE_ARTIFACTS", str(shared))
        arguments = (
            "--epochs",
            "0.02",
            "--model",
            "mlp",
            "--trials",
            "2",
            "--workers",
            "1",
            "--storage",
            url,
        )
        assert here("run", "--task", "twodigit", *arguments, cwd=tmp_path).returncode == 0
        assert len(files(shared)) == 2
        assert chunks(url) == 0

    def test_weights_of_an_older_tune_stay_in_their_folder(
        self, storage: Storage, url: str, mnist: Mnist, tmp_path: Path, here: Command
    ) -> None:
        """The database of a study that schema 3 kept, whose weights were files."""
        context = joined(storage, mnist, tmp_path)
        context = replace(context, weights=replace(context.weights, new_in="folder"))
        assert work(context, stop=lambda: False) == 4
        before = storage.store.checkpoints(context.study.study_id)
        storage.close()
        engine = create_engine(parse_url(url))
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE tune_weights"))
            connection.execute(text("UPDATE tune_schema SET version = 3"))
        done = here("report", "twodigit", "--storage", url, cwd=tmp_path)
        assert (done.returncode, "`tune upgrade --backed-up`" in done.stderr) == (78, True)
        upgrade(url, backed_up=True)
        assert "tune_weights" in inspect(engine).get_table_names()
        engine.dispose()
        done = here("report", "twodigit", "--storage", url, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        with open_reading(url) as reading:
            assert reading.store.checkpoints(1) == before
            assert [each.in_database for each in before] == [False] * 4
            with open_storage(url) as again:
                later = joined(again, mnist, tmp_path, replace(REQUEST, trials=5))
                assert work(later, stop=lambda: False) == 1
            assert sorted(each.in_database for each in reading.store.checkpoints(1)) == [False] * 4 + [True]

    def test_resume_checkpoints_stay_in_the_folder(
        self, storage: Storage, url: str, mnist: Mnist, tmp_path: Path
    ) -> None:
        context = joined(storage, mnist, tmp_path, replace(REQUEST, epochs=0.5))
        asked = 0

        def stop() -> bool:
            nonlocal asked
            asked += 1
            return asked > 20

        work(context, stop=stop)
        assert [".at-" in name for name in files(tmp_path)] == [True]


class TestDoctor:
    def places(self, here: Command, folder: Path, *arguments: str) -> dict[str, str]:
        found = here("doctor", "--json", *arguments, cwd=folder)
        return {each["check"]: each["finding"] for each in json.loads(found.stdout)}

    def test_says_where_things_are_beside_a_file(self, exported: Path, here: Command) -> None:
        found = self.places(here, exported)
        assert found["database"] == str(exported / "studies.db")
        assert found["best weights"] == f"in {exported / 'studies.artifacts'}"
        assert found["resume checkpoints"].startswith(f"in {exported / 'studies.artifacts'};")
        assert found["exports"].startswith("2 recorded, the newest in ")
        assert str(exported / "sum") in found["exports"]

    def test_says_where_things_are_on_a_server(
        self, storage: Storage, url: str, tmp_path: Path, here: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = self.places(here, tmp_path, "--storage", url)
        assert found["database"] == url
        folder = tmp_path / "tune.artifacts"
        told = [found[each].replace(str(folder), "FOLDER") for each in ("best weights", "exports")]
        SENTENCES.check("places on a server", told)
        monkeypatch.setenv("TUNE_ARTIFACTS", "/srv/tune")
        found = self.places(here, tmp_path, "--storage", url)
        assert found["best weights"] == "in /srv/tune (TUNE_ARTIFACTS)"

    def test_before_the_first_run_nothing_is_wrong(self, tmp_path: Path, here: Command) -> None:
        done = here("doctor", "--json", cwd=tmp_path)
        assert done.returncode == 0
        assert self.places(here, tmp_path)["exports"].startswith("There is no storage")
