"""`tune confirm`: leaders of a search again on fresh seeds, dropped, tested once, resumed, by two at once."""

from __future__ import annotations

import html
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from few_images import evaluate_on_few_images
from snapshots import Snapshots, lines_with

from data.datasets.mnist import Mnist
from data.tasks.registry import get_task
from data.tasks.twodigit import TwoDigit
from models.checkpoint import load_checkpoint
from models.training import Diverged, evaluate
from search.analysis import racing
from search.analysis.confirmation import Confirmation
from search.analysis.two_way import right
from search.errors import TuneError
from search.objectives.network import open_network
from search.optuna_db.storage import open_storage
from search.records import Confirming, State, TestEvaluationCounts
from search.report.confirmation_sentences import sentences
from search.seeds import training_seed
from search.service import confirm as service
from search.service.compare import compare
from search.service.look import trials
from search.service.read_confirmation import confirmation
from search.store import tables
from search.store.sql import SQLStore
from search.study.reading import open_reading
from search.worker.artifacts import KEEP
from search.worker.context import prepare
from search.worker.options import WorkerOptions
from search.worker.worker_loop import work

SENTENCES = Snapshots(__file__, "confirm")
Command = Callable[..., Any]
"""Of the fixtures `here` and `tune`: how a command ended; of `start`: the process."""
Confirm = Callable[..., tuple[Confirmation, TuneError | None]]

EPOCHS = 0.02


@pytest.fixture
def url(finished: Path, tmp_path: Path) -> str:
    """A copy of the finished studies, to be changed."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return f"sqlite:///{tmp_path / 'studies.db'}"


def drive_here(mnist: Mnist) -> Callable[..., None]:
    """In place of the worker processes of a confirmation: one worker in this process."""

    def drive(storage: Any, study: Any, record: Any, request: Any, *_: object, **__: object) -> None:
        context = prepare(storage, study.name, mnist, storage.location.artifacts, device="cpu", threads=1)
        work(context, stop=lambda: False)

    return drive


def confirm_here(
    url: str, *, tell: Callable[[str], None] = lambda _: None, **asked: Any
) -> tuple[Confirmation, TuneError | None]:
    usual = {"study": "twodigit", "top": 1, "epochs": EPOCHS}
    request = service.ConfirmRequest(**{**usual, **asked}, options=WorkerOptions())
    return service.confirm(request, url, watch=lambda _: None, tell=tell)


@pytest.fixture
def confirm(url: str, mnist: Mnist, monkeypatch: pytest.MonkeyPatch) -> Confirm:
    """confirm(seeds=4): on the study twodigit, by one worker in this process."""
    torch.set_num_threads(1)
    monkeypatch.setattr(service, "drive", drive_here(mnist))
    evaluate_on_few_images(monkeypatch)
    monkeypatch.setattr(TwoDigit, "compositions", 1)  # 600 images in place of 24,000, for the sake of time
    return partial(confirm_here, url)


@pytest.fixture(scope="module")
def confirmed_once(
    finished: Path, mnist: Mnist, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Confirmation]:
    """A folder in which twodigit was confirmed on two seeds, not to be changed, and what was found."""
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("confirmed") / "here"))
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "drive", drive_here(mnist))
        evaluate_on_few_images(patch)
        patch.setattr(TwoDigit, "compositions", 1)
        found, problem = confirm_here(f"sqlite:///{folder / 'studies.db'}", seeds=2)
    assert problem is None
    return folder, found


@pytest.fixture
def confirmed(confirmed_once: tuple[Path, Confirmation], confirm: Confirm, tmp_path: Path) -> Confirmation:
    """What `confirm(seeds=2)` found, which was done already in this test's copy of the studies."""
    folder, found = confirmed_once
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return found


def states(url: str, name: str = "twodigit.confirm") -> dict[Confirming, State]:
    return {run.confirming: run.state for run in trials(url, name).trials if run.confirming}


def mean_of_chosen(found: Confirmation) -> float:
    return next(each.mean for each in found.candidates if each.trial == found.chosen)


def test_seeds_are_shared_by_all_candidates_and_occur_in_no_search() -> None:
    def seed(candidate: int, index: int, *, origin: int) -> int:
        return training_seed(7, origin=origin, confirming=Confirming(candidate=candidate, seed=index))

    assert seed(1, 0, origin=3) == seed(2, 0, origin=9)
    assert len({seed(1, index, origin=3) for index in range(100)}) == 100
    searched = {training_seed(7, origin=number, confirming=None) for number in range(1000)}
    assert searched & {seed(1, index, origin=3) for index in range(100)} == set()


def how_other_commands_show_it(url: str, tmp_path: Path, here: Command) -> None:
    """Of a study twodigit whose confirmation has just been made."""
    listed = here("studies", "--json", cwd=tmp_path).parsed
    assert {row["study"]: row["confirms"] for row in listed}["twodigit.confirm"] == "twodigit"
    assert "confirms twodigit" in here("studies", cwd=tmp_path).stdout
    best = here("best", "twodigit.confirm", cwd=tmp_path).stdout
    assert "`tune confirm twodigit` has the means" in best
    rows = here("trials", "twodigit.confirm", "--json", cwd=tmp_path).parsed
    first_leader = racing.leaders(trials(url, "twodigit").trials, 2)[0].number
    assert rows[0]["confirming"] == {"candidate": first_leader, "seed": 0}
    repeated = here("repeat", "twodigit.confirm", "--trial", "5", "--json", cwd=tmp_path).parsed
    assert repeated["equal"], "its seed can be told from the database"


def test_it_validates_on_every_digit(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the other tests take few of them."""
    monkeypatch.setattr(service, "drive", lambda *_, **__: None)
    confirm_here(url, seeds=2)
    with open_reading(url) as storage:
        [spec] = [each.spec for each in storage.store.studies() if each.spec.confirms]
    task = get_task("twodigit")
    assert (spec.compositions, spec.validation_pictures) == (4, 6_000)
    for place in task.validation_digits(compositions=spec.compositions).T:
        assert sorted(place.tolist()) == sorted(4 * list(range(6_000)))


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


class TestFromBeginningToEnd:
    def test_everything_that_is_asked_for_and_nothing_twice(
        self, url: str, tmp_path: Path, confirm: Confirm, mnist: Mnist, here: Command
    ) -> None:
        told: list[str] = []
        found, problem = confirm(top=2, seeds=4, tell=told.append)
        assert problem is None
        assert len(states(url)) == 4 * 4, "two leaders, two references, four seeds"
        assert {len(each.runs) for each in found.candidates if not each.dropped} == {4}
        assert found == confirmation(url, "twodigit"), "what is returned is what others read"

        # the weights of every run are there, and the test evaluation says what they are worth
        with open_reading(url) as storage:
            [study_id] = [s.study_id for s in storage.store.studies() if s.spec.confirms]
            kept = {each.trial_id: each for each in storage.store.checkpoints(study_id)}
        complete = [run for run in trials(url, "twodigit.confirm").trials if run.state is State.COMPLETE]
        assert kept.keys() == {run.trial_id for run in complete}
        assert len(kept) > KEEP
        assert found.best_run is not None
        assert len(found.test_evaluations) == 3, "the chosen one and two references"
        first = found.test_evaluations[0]
        assert first.trial_id == found.best_run.trial_id
        weights = kept[first.trial_id]
        network = load_checkpoint(
            tmp_path / "studies.artifacts" / weights.path, expected_sha256=weights.sha256
        ).network()
        again = evaluate(network, get_task("twodigit").test(mnist))
        assert dict(first.heads) == {name: head.accuracy for name, head in again.heads.items()}
        assert (first.joint, first.pictures) == (again.joint, 400)

        # it validates on all images that it says, and knows which answers were right
        run = found.best_run
        with open_reading(url) as storage:
            [spec] = [each.spec for each in storage.store.studies() if each.spec.confirms]
            answers = storage.store.answers([run.trial_id], "validation")[run.trial_id]
            on_test = storage.store.answers([run.trial_id], "test")[run.trial_id]
        assert (spec.compositions, spec.validation_pictures, answers.examples) == (1, 600, 600)
        assert right(answers).mean() == pytest.approx(run.score)
        assert right(on_test).mean() == pytest.approx(first.accuracy)
        assert all(gap.low is not None and gap.low <= gap.by <= (gap.high or -1) for gap in found.gaps)
        assert len(found.gaps_on_test) == 2
        SENTENCES.check("before the first test evaluation", told[1:])

        # a second time nothing is trained or evaluated
        assert confirm(top=2, seeds=4) == (found, None)
        done = here("confirm", "twodigit", "--top", "2", "--seeds", "4", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        SENTENCES.check("test evaluations of a confirmation", lines_with(done.stdout, "evaluated 3 times"))
        assert "chosen" in done.stdout
        assert "[course-mlp]" in done.stdout
        parsed = here("confirm", "twodigit", "--seeds", "4", "--top", "2", "--json", cwd=tmp_path).parsed
        assert parsed["chosen"] == found.chosen
        assert parsed["test_value"] == pytest.approx(first.accuracy)
        assert len(parsed["looks"]) == 3
        how_other_commands_show_it(url, tmp_path, here)

    def test_an_evaluation_whose_process_ends_before_it_is_recorded_counts(
        self, url: str, confirm: Confirm, confirmed: Confirmation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with open_storage(url) as storage, storage.trials.database.write() as connection:
            for table in (tables.test_evaluations, tables.head_test_evaluations):
                connection.execute(table.delete())
        told: list[str] = []
        with monkeypatch.context() as patch:
            patch.setattr(SQLStore, "add_test_evaluation_once", interrupted)
            with pytest.raises(KeyboardInterrupt):
                confirm(seeds=2, tell=told.append)
        SENTENCES.check("before the first test evaluation", told[-1:])
        found, problem = confirm(seeds=2, tell=told.append)
        assert problem is None
        which = re.sub(r"trial \d+", "trial BEST", re.sub(r"last on .* UTC", "last on DATE", told[-1]))
        SENTENCES.check("a test evaluation that was interrupted", [told[-2], which])
        assert found.best_run is not None
        assert [each.trial_id for each in found.test_attempts] == [found.best_run.trial_id]
        assert [dict(each.heads) for each in found.test_evaluations] == [
            dict(each.heads) for each in confirmed.test_evaluations
        ]
        assert found.evaluation_counts == TestEvaluationCounts(
            total=4, of_deleted_studies=0, without_result=1
        )

    def test_more_seeds_keep_what_is_there(self, url: str, confirm: Confirm, confirmed: Confirmation) -> None:
        before = confirmed
        after, problem = confirm(seeds=4)
        assert problem is None
        assert (before.seeds, after.seeds) == (2, 4)
        assert len(states(url)) == 4 * 3
        kept = {each.trial: each.runs[:2] for each in after.candidates}
        assert kept == {each.trial: each.runs for each in before.candidates}
        assert after.test_evaluations[: len(before.test_evaluations)] == before.test_evaluations
        evaluated_ids = [evaluation.trial_id for evaluation in after.test_evaluations]
        assert len(set(evaluated_ids)) == len(evaluated_ids), "no run is evaluated twice"
        assert after.best_run is not None
        assert after.best_run.trial_id in evaluated_ids
        fewer, _ = confirm(seeds=2)
        assert fewer == after, "what was asked for once stays asked for"

    def test_another_budget_is_another_study_and_its_test_evaluations_count(
        self, url: str, confirm: Confirm, confirmed: Confirmation
    ) -> None:
        shorter = confirmed
        found, problem = confirm(seeds=2, epochs=0.03)
        assert problem is None
        assert (found.confirmed_in, found.epochs) == ("twodigit.confirm-0.03", 0.03)
        assert len(found.test_evaluations) == 6
        assert "twice for models of this study" in " ".join(sentences(found))
        assert confirm(seeds=2, epochs=None)[0] == found, "the one begun last continues"
        read = confirmation(url, "twodigit")
        assert read is not None
        better, worse = sorted((found, shorter), key=mean_of_chosen, reverse=True)
        assert (read.confirmed_in, read.best_run) == (better.confirmed_in, better.best_run), (
            "what is exported"
        )
        assert (
            f"Another confirmation, {worse.confirmed_in} ({worse.epochs:g} epochs), chose"
            in sentences(read)[-1]
        )

    def test_two_confirmations_are_paired_seed_by_seed(
        self, url: str, confirm: Confirm, confirmed: Confirmation
    ) -> None:
        """Their trials' numbers tell nothing: with another --top they are other runs."""
        longer, _ = confirm(seeds=2, top=2, epochs=0.03)
        found = compare(url, ["twodigit.confirm", longer.confirmed_in]).comparison
        [against] = found.against
        runs = {name: trials(url, name).trials for name in ("twodigit.confirm", longer.confirmed_in)}
        pairs = [
            (runs["twodigit.confirm"][mine].confirming, runs[longer.confirmed_in][theirs].confirming)
            for mine, theirs in (pair.trials for pair in against.pairs)
        ]
        assert all(mine == theirs for mine, theirs in pairs)
        assert len(pairs) == 3 * 2, "a leader and two references on two seeds"
        mixed = compare(url, ["twodigit", "twodigit.confirm"]).comparison
        assert mixed.against[0].pairs == (), "a search has other seeds"

    def test_one_that_is_begun_hides_none_that_has_decided(
        self, url: str, confirm: Confirm, confirmed: Confirmation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        decided = confirmed
        monkeypatch.setattr(service, "drive", lambda *_, **__: None)
        begun, problem = confirm(seeds=2, widen=2)
        assert begun.chosen is None
        assert problem is not None
        read = confirmation(url, "twodigit")
        assert read is not None
        assert (read.confirmed_in, read.chosen) == ("twodigit.confirm", decided.chosen)
        assert f" {begun.confirmed_in} ({EPOCHS:g} epochs, " in sentences(read)[-1]
        SENTENCES.check("another one has not decided", sentences(read)[-1:])

    def test_wider_leaders_are_another_study_on_the_same_seeds(
        self, url: str, tmp_path: Path, confirm: Confirm, confirmed: Confirmation, here: Command
    ) -> None:
        narrow = confirmed
        wide, problem = confirm(seeds=2, widen=1.5)
        assert problem is None
        assert (wide.confirmed_in, wide.widen, wide.epochs) == (
            f"twodigit.confirm-{EPOCHS:g}-x1.5",
            1.5,
            EPOCHS,
        )
        before = {each.trial: each for each in narrow.candidates}
        for each in wide.candidates:
            same = each.settings == before[each.trial].settings
            assert same == (each.reference is not None), "references stay as they are"
            for run, was in zip(each.runs, before[each.trial].runs, strict=True):
                assert (run.score == was.score) == (each.reference is not None), "on the same seeds"
        runs = trials(url, wide.confirmed_in).trials
        [leader] = [each for each in wide.candidates if each.reference is None]
        found = [run for run in runs if run.confirming and run.confirming.candidate == leader.trial]
        assert all(run.settings == leader.settings for run in found), "what is told was trained"
        words = " ".join(sentences(wide))
        assert f"Trial {leader.trial}, widened 1.5 times, is chosen" in words
        assert "1.5 times the width and every validation digit give" in words
        repeated = here("repeat", wide.confirmed_in, "--trial", "0", "--json", cwd=tmp_path).parsed
        assert repeated["equal"], "the width, too, is in the database"
        out = tmp_path / "page.html"
        assert here("report", wide.confirmed_in, "--out", str(out), cwd=tmp_path).returncode == 0
        page = html.unescape(out.read_text())
        flags = {"--top": "1", "--seeds": "2", "--epochs": f"{EPOCHS:g}", "--widen": "1.5"}
        told = " ".join(word for flag in flags.items() for word in flag)
        assert f"tune confirm twodigit {told}" in page
        assert "This study is itself a confirmation" in page
        assert confirm(seeds=2, epochs=None)[0] == wide, "without --widen the one begun last"
        assert confirm(seeds=2, widen=1)[0].confirmed_in == narrow.confirmed_in

    def test_what_confirms_an_older_study_of_that_name_is_not_taken_for_this_ones(
        self, url: str, tmp_path: Path, confirm: Confirm, confirmed: Confirmation, here: Command
    ) -> None:
        """Its numbers are those of other trials."""
        assert confirmation(url, "twodigit") is not None
        with closing(sqlite3.connect(tmp_path / "studies.db")) as connection, connection:
            earlier = "UPDATE tune_studies SET created = '2001-01-01 00:00:00.000000' WHERE study_id = "
            connection.execute(earlier + "(SELECT study_id FROM studies WHERE study_name LIKE '%.confirm')")
        assert confirmation(url, "twodigit") is None
        with pytest.raises(TuneError, match=r"older study twodigit.*`tune delete twodigit\.confirm`"):
            confirm(seeds=2)
        assert here("delete", "twodigit.confirm", "--yes", cwd=tmp_path).returncode == 0
        assert confirm(seeds=2)[1] is None

    def test_a_study_without_a_confirmation_has_none(self, url: str) -> None:
        assert confirmation(url, "again") is None


class TestDropping:
    def test_a_run_in_vain_is_ended_before_it_is_trained(
        self, url: str, confirm: Confirm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ordinary = racing.in_vain

        def second_leader_is_hopeless(runs: Any) -> set[int]:
            seeds = racing.values(runs)
            references = {run.confirming.candidate for run in runs if run.reference}
            return ordinary(runs) | set(sorted(seeds.keys() - references)[1:])

        monkeypatch.setattr(racing, "in_vain", second_leader_is_hopeless)
        found, problem = confirm(top=2, seeds=3)
        assert problem is None
        [dropped] = [each for each in found.candidates if each.dropped]
        assert [run.seed for run in dropped.runs] == [0]
        ends = {run.seed: state for run, state in states(url).items() if run.candidate == dropped.trial}
        assert ends == {0: State.COMPLETE, 1: State.PRUNED, 2: State.PRUNED}
        assert found.chosen not in (None, dropped.trial)
        rows = [run for run in trials(url, "twodigit.confirm").trials if run.state is State.PRUNED]
        assert all(not run.steps for run in rows), "not one step"

    def test_a_candidate_that_diverges_is_out_and_the_others_continue(
        self, url: str, confirm: Confirm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ordinary, bad = open_network.learn, []

        def diverging(spec: Any, *more: Any, **named: Any) -> Iterator[Any]:
            if not bad and "course" not in str(spec) and spec.training.optimizer.momentum != 0.9:
                bad.append(spec.model)
            if bad and spec.model == bad[0]:
                raise Diverged("the loss is not finite")
            return ordinary(spec, *more, **named)

        monkeypatch.setattr(open_network, "learn", diverging)
        found, problem = confirm(top=2, seeds=3)
        assert problem is None
        runs = trials(url, "twodigit.confirm").trials
        [failed] = [run for run in runs if run.state is State.FAILED]
        assert failed.confirming is not None
        out = failed.confirming.candidate
        ends = {run.seed: state for run, state in states(url).items() if run.candidate == out}
        assert ends == dict.fromkeys(range(3), State.PRUNED)
        assert found.chosen not in (None, out)
        assert any(
            f"Trial {out} is out: on seed 0 it failed (diverged)." in each for each in sentences(found)
        )
        assert sum(run.state.is_finished for run in runs) == 4 * 3, "exactly what was asked for"


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (("confirm", "nothing"), 2, "There is no study nothing"),
            (("confirm", "twodigit", "--seeds", "1"), 2, "one seed has no spread"),
            (("confirm", "twodigit", "--top", "0"), 2, "--top must be at least 1"),
            (("confirm", "twodigit", "--epochs", "0"), 2, "--epochs must be from 0.01"),
            (("confirm", "twodigit", "--workers", "0"), 2, "--workers must be from 1"),
            (("confirm", "twodigit", "--widen", "0.5"), 2, "--widen must be from 1 to 8, not 0.5"),
            (("confirm", "twodigit", "--widen", "9"), 2, "--widen must be from 1 to 8, not 9"),
            (("confirm", "empty"), 1, "There is nothing to confirm in empty yet"),
            (("confirm", "empty"), 1, "`tune run --study empty` continues"),
            (("ablate", "empty"), 1, "`tune run --study empty` continues"),
            (("confirm", "twodigit.confirm"), 2, "`tune confirm twodigit` continues with it"),
            (("run", "--task", "twodigit", "--study", "twodigit.confirm"), 2, "nothing to search"),
        ],
    )
    def test_in_a_sentence(
        self,
        request: pytest.FixtureRequest,
        url: str,
        tmp_path: Path,
        here: Command,
        arguments: tuple[str, ...],
        code: int,
        words: str,
    ) -> None:
        if "empty" in arguments:
            here("run", "--task", "twodigit", "--study", "empty", "--trials", "3", "--detach", cwd=tmp_path)
        if "twodigit.confirm" in arguments:
            request.getfixturevalue("confirmed")
        before = len(here("studies", "--json", cwd=tmp_path).parsed)
        done = here(*arguments, cwd=tmp_path)
        assert done.returncode == code
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert len(here("studies", "--json", cwd=tmp_path).parsed) == before, "nothing was begun"

    @pytest.mark.parametrize(
        ("harm", "words"),
        [
            (lambda path: path.unlink(), "let all machines share one folder"),
            (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is not the one that was written"),
        ],
        ids=["weights of another machine", "damaged weights"],
    )
    def test_without_sound_weights_the_ranking_stands_without_a_test_evaluation(
        self, url: str, tmp_path: Path, confirmed: Confirmation, here: Command, harm: Any, words: str
    ) -> None:
        found = confirmed
        assert found.best_run is not None
        with closing(sqlite3.connect(tmp_path / "studies.db")) as connection, connection:
            for table in ("tune_looks", "tune_head_looks"):
                connection.execute(f"DELETE FROM {table}")
        [weights] = (tmp_path / "studies.artifacts").glob(
            f"*-twodigit.confirm-*/trial-{found.best_run.trial:05d}-*.safetensors"
        )
        harm(weights)
        done = here("confirm", "twodigit", "--seeds", "2", "--top", "1", cwd=tmp_path)
        assert done.returncode == 78
        assert words in done.stderr
        assert "not evaluated" in done.stderr
        assert f"Trial {found.chosen} is chosen" in done.stdout
        again = confirmation(url, "twodigit")
        assert again is not None
        assert again.test_evaluations == ()


def test_reading_it_needs_neither_optuna_nor_torch() -> None:
    code = (
        "import sys, search.service.read_confirmation\n"
        "print(sorted({'optuna', 'torch', 'scipy', 'plotly'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


ASKED = ("confirm", "twodigit", "--top", "1", "--seeds", "4", "--epochs", "0.02", "--workers", "1")


@pytest.mark.usefixtures("worker_threads")
def test_stopped_killed_and_done_by_two_at_once(
    url: str, tmp_path: Path, here: Command, start: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that is left runs in this process; its worker is a thread."""
    with monkeypatch.context() as patch:
        patch.setattr(service, "drive", lambda *_, **__: None)
        patch.setattr(TwoDigit, "compositions", 1)
        confirm_here(url, seeds=4)  # begun with a smaller validation set, which is recorded
    stopped = start(*ASKED, cwd=tmp_path)
    wait_for(tmp_path, complete=1)
    os.killpg(stopped.pid, signal.SIGINT)
    _, words = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, words
    assert "the same command continues" in words
    assert "Traceback" not in words

    joined = len(workers(url))
    killed = start(*ASKED, cwd=tmp_path)
    while len(workers(url)) == joined:
        assert killed.poll() is None, "it ended before its worker began"
        time.sleep(0.02)
    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill_when, killed, tmp_path, complete=3)
        done = here(*ASKED, cwd=tmp_path)
        killing.result()
    assert done.returncode == 0, done.stderr
    assert "is chosen" in done.stdout
    again = here(*ASKED, "--json", cwd=tmp_path).parsed

    ended = states(url)
    assert len(ended) == 4 * 3
    assert all(state.is_finished for state in ended.values())
    runs = trials(url, "twodigit.confirm").trials
    assert sum(run.state.is_finished for run in runs) == 4 * 3, "each run once, although workers died"
    assert len(again["looks"]) == 3, "one for the chosen run, one for each reference"


def workers(url: str) -> set[str]:
    """Ids of all that have joined the confirmation."""
    with open_reading(url) as storage:
        [study_id] = [each.study_id for each in storage.store.studies() if each.spec.confirms]
        return set(storage.store.workers(study_id))


def kill_when(process: subprocess.Popen[str], folder: Path, *, complete: int) -> None:
    wait_for(folder, complete=complete)
    process.kill()
    process.communicate(timeout=60)


def wait_for(folder: Path, *, complete: int) -> None:
    """Until this number of runs of the confirmation is complete, read from the file itself."""
    deadline = time.monotonic() + 90
    query = (
        "SELECT count(*) FROM trials JOIN studies USING (study_id) "
        "WHERE study_name = 'twodigit.confirm' AND state = 'COMPLETE'"
    )
    while time.monotonic() < deadline:
        with (
            suppress(sqlite3.OperationalError),
            closing(sqlite3.connect(f"file:{folder / 'studies.db'}?mode=ro", uri=True, timeout=1)) as file,
        ):
            [(count,)] = file.execute(query)
            if count >= complete:
                return
        time.sleep(0.02)
    raise AssertionError(f"{complete} runs were not complete after a minute and a half")
