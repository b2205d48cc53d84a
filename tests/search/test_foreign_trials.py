"""What other programs put into tune's database: trials in a study, studies beside it, edited rows."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from search.cli.app import run_command
from search.optuna_db.storage import open_storage
from search.records import Counts, State
from search.service.dashboard import Showing
from search.service.look import find, reader_of
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.reading import open_reading

Command = Callable[..., Any]
"""Of the fixture `here`: how a command ended."""

FOREIGN = "5 foreign: added by another program, not counted"


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished studies."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'studies.db'}"


@contextlib.contextmanager
def plain(folder: Path) -> Iterator[optuna.Study]:
    """The study twodigit as another program sees it."""
    storage = RDBStorage(url_of(folder))
    yield optuna.load_study(study_name="twodigit", storage=storage)
    storage.engine.dispose()


@pytest.fixture
def mixed(folder: Path) -> Path:
    """The finished studies, and five trials of another program in the first one."""
    with plain(folder) as study:
        study.add_trial(study.trials[3])  # a copy of one of tune's own, with all its attributes
        study.add_trial(
            create_trial(value=98.5, params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)})
        )
        study.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values={720: 0.999}))
        study.add_trial(create_trial(state=TrialState.FAIL))
        study._storage.create_new_trial(study._study_id)  # at work
    return folder


class TestForeignTrials:
    def test_are_listed_apart_and_count_nowhere(self, mixed: Path, here: Command) -> None:
        before = {row["study"]: row for row in here("studies", "--json", cwd=mixed).parsed}
        assert before["twodigit"]["foreign"] == 5
        assert (before["twodigit"]["complete"], before["twodigit"]["running"]) == (4, 0)
        assert (before["again"]["foreign"], before["again"]["made_by_tune"]) == (0, True)
        assert here("studies", cwd=mixed).stdout.splitlines()[0].split()[-1] == "foreign"
        rows = here("trials", "twodigit", "--json", cwd=mixed).parsed
        assert [row["state"] for row in rows if row["foreign"]] == ["foreign"] * 5
        states = [row["foreign_state"] for row in rows if row["foreign"]]
        assert states == ["complete", "complete", "pruned", "failed", "running"]
        own = [row for row in rows if not row["foreign"]]
        assert ([row["trial"] for row in own], {row["state"] for row in own}) == (
            [0, 1, 2, 3],
            {"complete"},
        )
        assert "foreign (running)" in here("trials", "twodigit", cwd=mixed).stdout

    def test_are_neither_best_nor_a_reference(self, mixed: Path, here: Command) -> None:
        best = here("best", "twodigit", "--json", cwd=mixed).parsed
        assert best["foreign"] == 5
        assert best["trial"] in range(4)
        assert best["value"] < 1
        assert set(best["gains"]) <= {"course-mlp", "course-conv"}
        assert FOREIGN in here("best", "twodigit", cwd=mixed).stdout
        [compared, _] = here("compare", "twodigit", "again", "--json", cwd=mixed).parsed
        assert (compared["trial"], compared["trials"]["foreign"]) == (best["trial"], 5)
        table = here("compare", "twodigit", "again", cwd=mixed).stdout
        assert [line.split()[1:] for line in table.splitlines() if line.startswith("foreign")] == [["5", "0"]]
        assert here("report", "twodigit", cwd=mixed).returncode == 0
        assert FOREIGN in (mixed / "report.html").read_text(encoding="utf-8")
        with open_reading(url_of(mixed)) as reading:
            shown = Showing(reading).study(1)
        assert shown is not None
        assert FOREIGN in shown.note
        for command in ("repeat", "export"):
            more = ("--out", "exported") if command == "export" else ()
            refused = here(command, "twodigit", "--trial", "4", *more, cwd=mixed)
            assert (refused.returncode, "was added by another program" in refused.stderr) == (2, True)
        assert "foreign  5 that another program added" in here("delete", "twodigit", cwd=mixed).stderr

    def test_a_study_that_is_whole_stays_so(self, mixed: Path, here: Command) -> None:
        done = here("run", "--task", "twodigit", "--trials", "4", "--json", cwd=mixed).parsed
        assert (done["reason"], done["complete"], done["foreign"]) == ("nothing to do", 4, 5)
        assert FOREIGN in here("run", "--task", "twodigit", "--trials", "4", cwd=mixed).stdout

    def test_samplers_and_pruners_see_none_of_them(self, mixed: Path) -> None:
        with open_storage(url_of(mixed)) as storage:
            study, record = find(storage, "twodigit")
            evaluations = EvaluationSchedule.of(record.spec)
            study.prepare(sampler="tpe", pruner="median", seed=0, evaluations=evaluations)
            asked = study.ask()
            with study._adapter.drawing(asked.trial_id):
                shown = study._adapter.get_all_trials(study.study_id)
            assert [trial.number for trial in shown] == [0, 1, 2, 3, asked.number]
            everything = study._adapter.get_all_trials(study.study_id)
            assert [trial.number for trial in everything] == [0, 1, 2, 3, asked.number]
            assert {number for number, _ in study.scores_at(720)} <= {2, 3}
            assert study.running() == {asked.trial_id}

    def test_what_another_program_queued_is_tried_as_far_as_the_space_allows(self, mixed: Path) -> None:
        with plain(mixed) as other:
            other.enqueue_trial({"width": 64, "depth": 2.0, "lr": 5.0, "nonsense": "x"})
            other.enqueue_trial({"optimizer": "lion", "dropout": "much"}, user_attrs={"mine": 1})
        with open_storage(url_of(mixed)) as storage:
            study, record = find(storage, "twodigit")
            study.prepare(
                sampler="random", pruner="none", seed=0, evaluations=EvaluationSchedule.of(record.spec)
            )
            assert study.counts() == Counts(complete=4, foreign=7)
            first, second = study.ask(), study.ask()
            assert study.counts() == Counts(complete=4, running=2, foreign=5), "tune's own from now on"
            drawn, other = first.suggest(), second.suggest()
            assert (drawn["width"], drawn["depth"]) == (64, 2)
            assert type(drawn["depth"]) is int
            for settings in (drawn, other):
                assert settings == study.space.active(settings)
                assert all(value in study.space.domains[name] for name, value in settings.items())
        with plain(mixed) as other:
            noted = [trial.user_attrs.get("outside_the_space") for trial in other.trials[-2:]]
            assert noted == [{"lr": 5.0, "nonsense": "x"}, {"optimizer": "lion", "dropout": "much"}]

    def test_tunes_own_repetitions_go_first(self, mixed: Path) -> None:
        with plain(mixed) as other:
            other.enqueue_trial({"width": 64})
        with open_storage(url_of(mixed)) as storage:
            study, _ = find(storage, "twodigit")
            attributes = {"retry_of": 2, "origin": 2}
            storage.trials.queue(study.study_id, {"width": 128}, attributes, mark="retry_of")
            assert [study.ask().retry_of for _ in range(2)] == [2, None]


PLAIN_COMMANDS = (
    ("run", "--task", "twodigit", "--study"),
    ("worker",),
    ("trials",),
    ("best",),
    ("delete", "--yes"),
    ("report",),
    ("export", "--out", "exported"),
    ("confirm",),
    ("repeat", "--trial", "0"),
    ("compare", "other"),
)


class TestPlainStudies:
    @pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
    @pytest.mark.parametrize("alone", [True, False], ids=["in a separate database", "beside tune's"])
    def test_are_refused_everywhere_in_one_sentence_and_listed(
        self,
        request: pytest.FixtureRequest,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        kind: str,
        alone: bool,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        url = request.getfixturevalue(f"{kind}_url")
        if not alone:
            open_storage(url).close()
        directions = {"up": ["maximize"], "down": ["minimize"], "both": ["minimize", "maximize"]}
        storage = RDBStorage(url)
        for name, each in directions.items():
            study = optuna.create_study(storage=storage, study_name=name, directions=each)
            study.add_trial(create_trial(values=[0.5] * len(each)))
        storage.engine.dispose()
        before = (tmp_path / "studies.db").read_bytes() if kind == "sqlite" else b""

        def command(*arguments: str) -> tuple[int, str, str]:
            code = run_command([*arguments, "--storage", url], debug=False)
            printed = capsys.readouterr()
            return code, printed.out, printed.err

        said = set()
        for name in directions:
            for words in PLAIN_COMMANDS if name == "up" else PLAIN_COMMANDS[:4]:
                place = len(words) if words[0] in ("run",) else 1
                code, out, err = command(*words[:place], name, *words[place:])
                assert (code, out) == (78, ""), (words, err)
                assert "was not made by tune" in err
                said.add(err.replace(f"The study {name} ", ""))
        assert len(said) == 1, "one sentence, whatever was asked"
        listed = command("studies", "--json")[1]
        for name in directions:
            assert f'"study": "{name}"' in listed
        assert listed.count('"made_by_tune": false') == listed.count('"task": null') == 3
        assert "foreign: not made by tune" in command("studies")[1]
        code, _, err = command("trials", "upp")
        assert (code, "There is no study upp" in err) == (2, True)
        if kind == "sqlite" and alone:
            assert (tmp_path / "studies.db").read_bytes() == before, "to look changes nothing"

    def test_one_that_has_the_number_of_a_deleted_one(self, folder: Path, here: Command) -> None:
        """SQLite gives the number of the study that was deleted last to the next one."""
        with contextlib.closing(sqlite3.connect(folder / "studies.db")) as connection:
            [(last,)] = connection.execute("SELECT max(study_id) FROM studies").fetchall()
        storage = RDBStorage(url_of(folder))
        optuna.delete_study(study_name="sum", storage=storage)
        new = optuna.create_study(study_name="sum", storage=storage, direction="maximize")
        storage.engine.dispose()
        assert new._study_id == last, "or this test shows nothing"
        refused = here("trials", "sum", cwd=folder)
        assert (refused.returncode, "was not made by tune" in refused.stderr) == (78, True)
        rows = {row["study"]: row for row in here("studies", "--json", cwd=folder).parsed}
        assert (rows["sum"]["made_by_tune"], rows["twodigit"]["made_by_tune"]) == (False, True)

    @pytest.mark.parametrize(
        "change", ["UPDATE study_directions SET direction = 'MINIMIZE'", "DELETE FROM study_directions"]
    )
    def test_a_direction_that_another_program_changed(self, folder: Path, here: Command, change: str) -> None:
        best = here("best", "twodigit", "--json", cwd=folder).parsed["trial"]
        execute(folder, change)
        done = here("best", "twodigit", "--json", cwd=folder)
        assert done.parsed["trial"] == best
        assert "Another program changed the direction of the study twodigit" in done.stderr
        with open_storage(url_of(folder)) as storage:
            study, _ = find(storage, "twodigit")
            assert study._study.direction is optuna.study.StudyDirection.MAXIMIZE


def execute(folder: Path, *statements: str) -> None:
    """Another program's hand in the database."""
    with contextlib.closing(sqlite3.connect(folder / "studies.db")) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement


TRIAL = "(SELECT trial_id FROM trials WHERE study_id = 1 AND number = 3)"
EDITS = {
    "a value that is infinite": (
        f"UPDATE trial_values SET value = NULL, value_type = 'INF_POS' WHERE trial_id = {TRIAL}",
        "its value is not an accuracy between 0 and 1",
    ),
    "a value in per cent": (
        f"UPDATE trial_values SET value = 98.5 WHERE trial_id = {TRIAL}",
        "its value is not an accuracy between 0 and 1",
    ),
    "no value": (f"DELETE FROM trial_values WHERE trial_id = {TRIAL}", "it is complete and has no value"),
    "a report that is not a number": (
        "UPDATE trial_intermediate_values SET intermediate_value = NULL, intermediate_value_type = 'NAN' "
        f"WHERE trial_id = {TRIAL}",
        "it reported a value that is not an accuracy",
    ),
    "an attribute that is null": (
        f"UPDATE trial_user_attributes SET value_json = 'null' WHERE trial_id = {TRIAL}",
        "its attribute parameters is not what tune writes there",
    ),
    "an attribute that is not JSON": (
        f"UPDATE trial_user_attributes SET value_json = '76,628' WHERE trial_id = {TRIAL}",
        "it holds a value that Optuna did not write (parameters: ",
    ),
    "a parameter outside the space": (
        f"UPDATE trial_params SET param_value = 1e9 WHERE param_name = 'lr' AND trial_id = {TRIAL}",
        "its parameter lr lies outside the search space",
    ),
    "a parameter that nobody knows": (
        f"UPDATE trial_params SET param_name = 'x' WHERE param_name = 'lr' AND trial_id = {TRIAL}",
        "it holds a value that Optuna did not write (the distribution of its parameter x)",
    ),
    "a distribution of another kind": (
        f"UPDATE trial_params SET distribution_json = '[]' WHERE param_name = 'lr' AND trial_id = {TRIAL}",
        "it holds a value that Optuna did not write (the distribution of its parameter lr)",
    ),
    "a parameter that is missing": (
        f"DELETE FROM trial_params WHERE param_name = 'lr' AND trial_id = {TRIAL}",
        "it lacks the setting lr",
    ),
    "no curve": (
        f"DELETE FROM tune_reports WHERE trial_id = {TRIAL}",
        "it is complete and has no learning curve",
    ),
    "a curve without a head": (
        """UPDATE tune_reports SET metrics = json_remove(metrics, '$."validation/accuracy/first_digit"')"""
        f" WHERE trial_id = {TRIAL}",
        "its learning curve lacks metrics",
    ),
    "a loss that is infinite": (
        "UPDATE tune_reports SET metrics = "
        """json_set(metrics, '$."validation/loss/first_digit"', json('9e999'))"""
        f" WHERE trial_id = {TRIAL}",
        "its learning curve has a number that is missing or out of its range",
    ),
    "seconds that are a word": (
        f"UPDATE tune_reports SET seconds = 'long' WHERE trial_id = {TRIAL}",
        "its learning curve has a number that is missing or out of its range",
    ),
    "a start that is not a timestamp": (
        f"UPDATE trials SET datetime_start = 'yesterday' WHERE trial_id = {TRIAL}",
        "its start or end is not a timestamp",
    ),
    "a state that Optuna does not know": (
        f"UPDATE trials SET state = 'DONE' WHERE trial_id = {TRIAL}",
        "its state is not one of Optuna's",
    ),
    "the number of another trial": (
        "UPDATE trials SET number = 2 WHERE study_id = 1 AND number = 3",
        "another trial has its number",
    ),
}


class TestEdits:
    @pytest.mark.parametrize("edit", EDITS)
    def test_the_trial_is_left_out_and_named_once(self, folder: Path, here: Command, edit: str) -> None:
        statement, why = EDITS[edit]
        execute(folder, statement)
        number = 2 if edit == "the number of another trial" else 3
        sentence = f"Trial {number} of twodigit is left out: {why}"
        done = here("trials", "twodigit", "--json", cwd=folder)
        assert [row["trial"] for row in done.parsed] == [0, 1, 2]
        assert done.stderr.count(sentence) == 1
        assert len(done.stderr.splitlines()) == 1
        for command in (("best", "twodigit"), ("compare", "twodigit", "again"), ("report", "twodigit")):
            after = (
                here(*command, "--json", cwd=folder) if command[0] == "best" else here(*command, cwd=folder)
            )
            assert after.returncode == 0, after.stderr
            assert after.stderr.count("is left out") <= 1, "once"
            if command[0] == "best":
                assert after.parsed["trial"] in (0, 1, 2)
        refused = here("repeat", "twodigit", "--trial", "3", cwd=folder)
        assert refused.returncode in (2, 78)
        assert "unexpected error" not in refused.stderr

    @pytest.mark.parametrize(
        ("statement", "why"),
        [
            (
                "UPDATE tune_studies SET spec = '{}' WHERE study_id = 2",
                "its spec lacks checksums, epoch_images",
            ),
            ("UPDATE tune_studies SET spec = 'abc' WHERE study_id = 2", "its spec cannot be read"),
            (
                "UPDATE tune_studies SET spec = json_set(spec, '$.epochs', -1) WHERE study_id = 2",
                "its spec has invalid epochs",
            ),
            ("UPDATE tune_studies SET created = 'once' WHERE study_id = 2", "the moment of its creation"),
        ],
    )
    def test_a_study_whose_spec_cannot_be_used(
        self, folder: Path, here: Command, statement: str, why: str
    ) -> None:
        execute(folder, statement)
        done = here("studies", "--json", cwd=folder)
        assert [row["study"] for row in done.parsed] == ["twodigit", "sum"]
        assert "The study again is left out: " in done.stderr
        assert why in done.stderr
        for command in (
            ("trials", "again"),
            ("best", "again"),
            ("run", "--task", "twodigit", "--study", "again"),
        ):
            refused = here(*command, cwd=folder)
            assert (refused.returncode, why in refused.stderr) == (78, True), refused.stderr
        assert here("best", "twodigit", cwd=folder).returncode == 0

    def test_where_no_trial_is_left_the_storage_is_damaged(self, folder: Path, here: Command) -> None:
        execute(folder, "UPDATE trial_values SET value = 98.5")
        refused = here("trials", "twodigit", cwd=folder)
        assert (refused.returncode, refused.stdout) == (78, "")
        assert "Of the study twodigit no trial can be used" in refused.stderr

    def test_an_edited_trial_keeps_its_slot(self, folder: Path) -> None:
        execute(folder, EDITS["a value in per cent"][0])
        with open_storage(url_of(folder)) as storage:
            study, record = find(storage, "twodigit")
            assert study.counts() == Counts(complete=4)
            assert [trial.number for trial in study.trials()] == [0, 1, 2]
            assert storage.store.claim(study.study_id, "w", lease_s=60) is None
            reader = reader_of(storage, record)
            assert {trial.state for trial in reader.all()} == {State.COMPLETE}
            assert reader.counted == Counts(complete=4)
