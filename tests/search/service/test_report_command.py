"""`tune report` on real studies: the page, the weights behind it, and everything that it refuses."""

from __future__ import annotations

import datetime
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from data.datasets.mnist import Mnist
from data.tasks.registry import get_task
from models.checkpoint import load_checkpoint
from models.training import evaluate
from search.analysis.mistakes import Mistakes
from search.analysis.ranking import winner
from search.heads import head_report
from search.optuna_db.storage import open_storage
from search.records import Failure, HeadScore, NetworkSpec, Scores, SpaceChange, StudyRecord
from search.service.create import RunRequest, create_or_resume
from search.service.look import whole_study
from search.service.report import command, drawn, gather, searched
from search.space.defaults import default_space
from search.space.file import read_space, space_entries, space_toml
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.exploration import STARTUP_TRIALS, is_exploration_trial
from search.study.samplers import make_sampler
from tune.space import Fixed


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The finished studies, to be broken."""
    shutil.copytree(finished, tmp_path / "studies")
    return tmp_path / "studies"


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'studies.db'}"


class TestPage:
    @pytest.mark.parametrize("study", ["twodigit", "sum"])
    def test_is_written_whole_and_small(self, here: Callable[..., Any], copied: Path, study: str) -> None:
        done = here("report", study, "--json", cwd=copied)
        assert done.parsed["path"] == "report.html"
        page = (copied / "report.html").read_text(encoding="utf-8")
        assert done.parsed["bytes"] == len(page.encode()) < 6_000_000
        assert page.count("data:image/png;base64,") > 10, "the worst mistakes are there"
        assert "4 complete" in page
        assert page.rstrip().endswith("</html>")
        assert [path.name for path in copied.iterdir() if path.name.endswith(".tmp")] == []

    def test_weights_that_are_gone_or_damaged_cost_only_their_part(
        self, here: Callable[..., Any], copied: Path
    ) -> None:
        whole = whole_study(url(copied), "twodigit")
        best = whole.checkpoints[winner(whole.trials).searched.trial_id]  # type: ignore[union-attr]
        weights = copied / "studies.artifacts" / best.path
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        for harm, said in (
            (None, "damaged and were not used"),
            (weights.unlink, "weights are not at"),
        ):
            if harm is not None:
                harm()
            done = here("report", "twodigit", "--force", cwd=copied)
            assert (done.returncode, said in done.stderr) == (0, True), done.stderr
            page = (copied / "report.html").read_text(encoding="utf-8")
            assert said in page
            assert "tune repeat twodigit --trial" in page

    def test_without_mnist_the_report_lacks_only_the_mistakes(
        self, here: Callable[..., Any], copied: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TUNE_DATA_DIR", str(copied / "nothing"))
        done = here("report", "twodigit", cwd=copied)
        assert done.returncode == 0
        assert "tune data fetch" in done.stderr


class TestMistakes:
    @pytest.mark.parametrize("study", ["twodigit", "sum"])
    def test_are_those_of_the_kept_weights(self, finished: Path, mnist: Mnist, study: str) -> None:
        material = gather(url(finished), study)
        found = material.mistakes
        assert isinstance(found, Mistakes)
        assert found.accuracy == pytest.approx(found.recorded, abs=1e-12)
        whole = whole_study(url(finished), study)
        trial = whole.trials[found.trial]
        network = load_checkpoint(
            finished / "studies.artifacts" / whole.checkpoints[trial.trial_id].path
        ).network()
        worker = whole.workers[whole.trained_by[trial.trial_id]]
        precision = worker.environment[
            f"precision_{trial.settings['model']}"
        ]  # a convolution may have bfloat16
        scored = evaluate(network, get_task(study).validation(mnist), precision=precision)  # type: ignore[arg-type]
        for confusion in found.confusions:
            right = 1 - confusion.wrong / confusion.examples
            assert right == pytest.approx(scored.heads[confusion.head].accuracy, abs=1e-12)
        assert len(found.worst) == 24
        beliefs = [mistake.belief for mistake in found.worst]
        assert beliefs == sorted(beliefs)
        assert all(mistake.said != mistake.truth for mistake in found.worst)
        assert all(mistake.png.startswith(b"\x89PNG") for mistake in found.worst)


class TestRefusals:
    def test_a_file_is_written_over_only_by_force(
        self, here: Callable[..., Any], finished: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "mine.html"
        out.write_text("precious")
        refused = here("report", "twodigit", "--out", str(out), cwd=finished)
        assert refused.returncode == 2
        assert "--force" in refused.stderr
        assert out.read_text() == "precious"
        assert here("report", "twodigit", "--out", str(out), "--force", cwd=finished).returncode == 0
        assert out.stat().st_size > 1_000_000

    @pytest.mark.parametrize(
        ("study", "out", "code", "words"),
        [
            ("twodigitt", "r.html", 2, "did you mean twodigit?"),
            ("twodigit", "no/such/r.html", 2, "there is no folder"),
            ("twodigit", ".", 2, "is a folder"),
            ("twodigit", "/proc/r.html", 2, "cannot be written"),
        ],
    )
    def test_are_one_sentence(
        self, here: Callable[..., Any], finished: Path, study: str, out: str, code: int, words: str
    ) -> None:
        done = here("report", study, "--out", out, cwd=finished)
        assert done.returncode == code
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stdout == ""

    def test_an_empty_study_is_told_what_to_do(
        self, here: Callable[..., Any], tmp_path: Path, mnist: Mnist
    ) -> None:
        with open_storage(url(tmp_path)) as storage:
            create_or_resume(storage, RunRequest(task="twodigit", trials=3), mnist)
        done = here("report", "twodigit", cwd=tmp_path)
        assert done.returncode == 1
        assert "no trial has come to a result; `tune run`" in done.stderr
        assert not (tmp_path / "report.html").exists()

    def test_a_study_whose_only_trial_failed_is_refused(
        self, here: Callable[..., Any], tmp_path: Path, mnist: Mnist
    ) -> None:
        with open_storage(url(tmp_path)) as storage:
            study, _ = create_or_resume(storage, RunRequest(task="twodigit", trials=3), mnist)
            study.prepare(
                sampler="random",
                pruner="none",
                seed=0,
                evaluations=EvaluationSchedule.doubling(epoch_images=9, epochs=1),
            )
            asked = study.ask()
            scores = Scores(heads={"first_digit": HeadScore(loss=0.1, accuracy=0.5)}, joint=0.5)
            report = head_report(step=9, seconds=1.0, learning_rate=0.1, train=scores, validation=scores)
            asked.report(9, 0.5, report)
            study.fail(asked.trial_id, Failure.INTERRUPTED, "")
        done = here("report", "twodigit", cwd=tmp_path)
        assert done.returncode == 1
        assert "no trial has come to a result; `tune run`" in done.stderr


class TestExploration:
    @pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
    def test_is_what_the_sampler_does(self, sampler: str) -> None:
        """Seen in the sampler itself: which one it hands a trial to."""
        made = make_sampler(sampler, seed=7)
        frozen = FrozenTrial(
            number=0,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=None,
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=0,
        )
        random = []
        for number in range(60):
            frozen.number = number
            made.before_trial(None, frozen)  # type: ignore[arg-type]  # these samplers do not look at the study
            random.append(isinstance(made._sampler, RandomSampler))  # type: ignore[attr-defined]
        told = [is_exploration_trial(sampler, 7, number) for number in range(60)]
        if sampler == "tpe":
            assert told[:STARTUP_TRIALS] == [True] * STARTUP_TRIALS, "TPE itself has too few to learn from"
            assert random[STARTUP_TRIALS:] == told[STARTUP_TRIALS:]
            assert 10 <= sum(random) <= 30
        else:
            assert random == told

    def test_a_repetition_is_what_its_origin_was(self, finished: Path) -> None:
        whole = whole_study(url(finished), "twodigit")
        first = whole.trials[-1]
        spec = whole.record.spec
        hundred = [replace(first, number=n, retry_of=n - 1 if n % 10 else None) for n in range(100)]
        expected = {n for n in range(100) if is_exploration_trial(spec.sampler, spec.seed, n - n % 10)}
        assert drawn(whole.record, hundred) == expected
        assert 0 < len(expected) < 100

    def test_trials_of_an_earlier_space_are_no_sample_of_the_present_one(self, finished: Path) -> None:
        whole = whole_study(url(finished), "twodigit")
        spec, first = whole.record.spec, whole.trials[-1]
        narrow = {**spec.space, "dropout": 0.25}
        moment = datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC)
        there_and_back = [
            SpaceChange(space=each, moment=moment, set_aside=()) for each in (spec.space, narrow)
        ]
        changed = replace(spec, sampler="random", space_changes=tuple(there_and_back))
        trials = [replace(first, number=n, space_revision=n, retry_of=None) for n in range(3)]
        trials += [replace(first, number=n, space_revision=2, retry_of=n - 2) for n in (3, 4)]
        assert drawn(replace(whole.record, spec=changed), trials) == {0, 2, 4}

    def test_nothing_of_a_confirmation_is_drawn(self, finished: Path) -> None:
        whole = whole_study(url(finished), "twodigit")
        spec = replace(whole.record.spec, sampler="random", confirms="twodigit")
        assert drawn(replace(whole.record, spec=spec), whole.trials) == frozenset()


class TestAgain:
    def record(self, plain_spec: NetworkSpec, finished: Path, **changes: Any) -> StudyRecord:
        spec = replace(plain_spec, space=space_entries(default_space()), **changes)
        return replace(whole_study(url(finished), "twodigit").record, name="my study", spec=spec)

    def test_the_command_quotes_names_and_asks_for_the_space_only_where_it_is_special(
        self, plain_spec: NetworkSpec, finished: Path
    ) -> None:
        plain = command(self.record(plain_spec, finished))
        words = shlex.split(plain)
        flags = ("--study", "--model", "--trials", "--epochs", "--seed")
        given = [words[words.index(flag) + 1] for flag in flags]
        assert given == ["my study", "all", "4", "1", "0"]
        assert "--space" not in plain
        special = self.record(plain_spec, finished)
        spec = replace(special.spec, space={**special.spec.space, "dropout": 0.25})
        assert command(replace(special, spec=spec)).endswith("--space space.toml")

    def test_the_space_in_the_page_is_a_space_file(self, tmp_path: Path) -> None:
        space = default_space()
        path = tmp_path / "space.toml"
        path.write_text(space_toml(space_entries(space)))
        assert read_space(path) == space

    def test_settings_that_are_searched(self, finished: Path) -> None:
        record = whole_study(url(finished), "twodigit").record
        found = {setting.name: setting for setting in searched(record)}
        fixed = {
            name for name, domain in default_space(("mlp",)).domains.items() if isinstance(domain, Fixed)
        }
        assert not fixed & set(found)
        assert (found["lr"].ordered, found["lr"].log) == (True, True)
        assert (found["optimizer"].ordered, found["batch_size"].ordered) == (False, True)
