"""The command `tune` as a person meets it: what it prints, where, and with which exit code."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from snapshots import Snapshots, lines_with

from models.training import Diverged

SENTENCES = Snapshots(__file__, "cli")
TUNE = str(Path(sys.executable).parent / "tune")
Command = Callable[..., Any]
"""Of the fixtures `here` and `tune`: how a command ended."""


class TestLooking:
    def test_studies(self, finished: Path, here: Command) -> None:
        listed = here("studies", "--json", cwd=finished).parsed
        assert [row["study"] for row in listed] == ["twodigit", "again", "sum"]
        for row in listed:
            assert row["complete"] + row["pruned"] == row["target_trials"] == 4
            assert (row["failed"], row["running"]) == (0, 0)
            assert 0 < row["best_value"] < 1
            assert row["best_trial"] in range(4)
        table = here("studies", cwd=finished).stdout
        assert table.splitlines()[0].split()[:3] == ["study", "task", "trials"]
        assert len(table.splitlines()) == 4

    def test_trials(self, finished: Path, here: Command) -> None:
        rows = here("trials", "twodigit", "--json", cwd=finished).parsed
        assert [row["trial"] for row in rows] == [0, 1, 2, 3]
        for row in rows:
            assert row["state"] in ("complete", "pruned")
            assert set(row) >= {"trial", "state", "value", "params", "epochs", "seconds"}
            assert 0 < row["epochs"] <= 0.02
            assert row["seconds"] > 0
            assert row["params"]["model"] in ("mlp", "conv")
        assert [row["reference"] for row in rows[:2]] == ["course-mlp", "course-conv"]

    @pytest.mark.parametrize(
        ("study", "heads"), [("twodigit", ["first_digit", "second_digit"]), ("sum", ["digit", "sum"])]
    )
    def test_best(self, finished: Path, here: Command, study: str, heads: list[str]) -> None:
        best = here("best", study, "--json", cwd=finished).parsed
        assert (best["study"], best["task"]) == (study, study)
        assert list(best["validation"]) == [*heads, "joint"]
        accuracies = [best["validation"][head] for head in heads]
        assert best["value"] == pytest.approx(sum(accuracies) / 2)
        assert best["validation"]["joint"] <= min(accuracies)
        assert best["parameters"] > 1000
        assert best["environment"]["torch"]
        rows = here("trials", study, "--json", cwd=finished).parsed
        complete = [row for row in rows if row["state"] == "complete"]
        searched = [row["value"] for row in complete if row["reference"] is None]
        assert best["value"] == max(searched), "never a reference"
        reference = max((row for row in complete if row["reference"]), key=lambda row: row["value"])
        told = here("best", study, cwd=finished).stdout
        if reference["value"] > best["value"]:
            assert best["better_reference"]["reference"] == reference["reference"]
            assert told.startswith(
                f"The reference {reference['reference']} (trial {reference['trial']}) measured higher"
            )
        else:
            assert best["better_reference"] is None
        assert ("number_width" in told) == (study == "sum" and best["model"] == "conv")

    def test_a_study_that_exists_knows_its_task(self, finished: Path, here: Command) -> None:
        for study in ("again", "sum"):
            done = here("run", "--study", study, cwd=finished)
            assert (done.returncode, "nothing is left to do" in done.stdout) == (0, True), done.stderr

    def test_fractions_are_printed_as_they_are(self, finished: Path, here: Command, tmp_path: Path) -> None:
        """Also those that an earlier tune stored with the noise of floating-point arithmetic."""
        copy = tmp_path / "studies.db"
        copy.write_bytes((finished / "studies.db").read_bytes())
        with contextlib.closing(sqlite3.connect(copy)) as connection, connection:
            connection.execute(
                "UPDATE trial_values SET value = 0.9930000000000001 WHERE trial_id IN "
                "(SELECT trial_id FROM trials WHERE study_id = 1 AND number IN (1, 3))"
            )
        for command in (
            ("trials", "twodigit"),
            ("studies",),
            ("best", "twodigit"),
            ("compare", "twodigit", "again"),
        ):
            done = here(*command, "--json", cwd=tmp_path)
            assert (done.returncode, "0.9930000000000001" in done.stdout) == (0, False), command
        rows = here("trials", "twodigit", "--json", cwd=tmp_path).parsed
        assert rows[3]["value"] == 0.993
        for row in here("trials", "again", "--json", cwd=finished).parsed:
            assert len(str(row["value"])) <= 9, "a mean of two counts of 4,000 examples"
        with contextlib.closing(sqlite3.connect(finished / "studies.db")) as connection:
            stored = [value for (value,) in connection.execute("SELECT value FROM trial_values")]
            stored += [
                v for (v,) in connection.execute("SELECT intermediate_value FROM trial_intermediate_values")
            ]
        assert stored
        assert all(value == round(value, 12) for value in stored), "optuna-dashboard shows what is stored"

    def test_interrupted_trials_are_called_so(self, finished: Path, here: Command, tmp_path: Path) -> None:
        copy = tmp_path / "studies.db"
        copy.write_bytes((finished / "studies.db").read_bytes())
        with contextlib.closing(sqlite3.connect(copy)) as connection, connection:
            [(trial_id,)] = connection.execute(
                "SELECT trial_id FROM trials WHERE study_id = 2 AND number = 3"
            )
            connection.execute("UPDATE trials SET state = 'FAIL' WHERE trial_id = ?", (trial_id,))
            connection.execute(
                "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, 'failure', ?)",
                (trial_id, '"interrupted"'),
            )
        again = here("studies", "--json", cwd=tmp_path).parsed[1]
        assert (again["failed"], again["interrupted"]) == (1, 1), "JSON goes by states"
        header, _, row, _ = here("studies", cwd=tmp_path).stdout.splitlines()
        table = dict(zip(header.replace("best trial", "best").split(), row.split(), strict=False))
        assert (table["interrupted"], table["failed"]) == ("1", "0")
        assert here("trials", "again", cwd=tmp_path).stdout.splitlines()[-1].split()[:2] == [
            "3",
            "interrupted",
        ]


class TestRepeat:
    @pytest.mark.parametrize("study", ["twodigit", "sum"])
    def test_every_trial_comes_out_the_same_bit_for_bit(
        self, finished: Path, here: Command, study: str
    ) -> None:
        for trial in range(4):
            done = here("repeat", study, "--trial", str(trial), "--json", cwd=finished).parsed
            assert (done["equal"], done["first_difference"], done["largest_difference"]) == (True, None, 0.0)
            assert done["points"] >= 1
            assert done["changed"] == {}

    def test_that_it_comes_out_the_same_is_told_in_words(self, finished: Path, here: Command) -> None:
        told = here("repeat", "twodigit", "--trial", "0", cwd=finished)
        assert "the same, bit for bit" in told.stdout
        assert "then," in told.stderr

    def test_a_curve_that_is_another_one_is_told(self, finished: Path, here: Command, tmp_path: Path) -> None:
        copy = tmp_path / "studies.db"
        copy.write_bytes((finished / "studies.db").read_bytes())
        connection = sqlite3.connect(copy)
        trial = connection.execute("SELECT trial_id FROM trials WHERE number = 1 AND study_id = 1").fetchone()
        changed = connection.execute(
            "UPDATE tune_reports SET metrics = json_set(metrics, :name, json_extract(metrics, :name) + 0.01) "
            "WHERE trial_id = :trial",
            {"name": '$."validation/accuracy/first_digit"', "trial": trial[0]},
        )
        assert changed.rowcount >= 1
        connection.commit()
        connection.close()
        done = here("repeat", "twodigit", "--trial", "1", "--json", cwd=tmp_path).parsed
        assert not done["equal"]
        assert done["first_difference"] > 0
        assert done["largest_difference"] == pytest.approx(0.005), "one of two heads differs by 0.01"

    def test_a_repetition_that_diverges_is_told_in_a_sentence(
        self, finished: Path, here: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def diverges(*_arguments: object, **_more: object) -> Iterator[object]:
            raise Diverged("the loss is nan after 64 images with sgd, lr=0.01")
            yield

        monkeypatch.setattr("search.objectives.network.retrain.retrain", diverges)
        done = here("repeat", "twodigit", "--trial", "0", cwd=finished)
        assert done.returncode == 1
        SENTENCES.check("a repetition that diverges", lines_with(done.stderr, "diverged"))

    @pytest.mark.parametrize(("state", "called"), [("RUNNING", "running"), ("FAIL", "failed")])
    def test_only_what_is_finished_is_restored(
        self, finished: Path, here: Command, tmp_path: Path, state: str, called: str
    ) -> None:
        """A worker may be keeping weights of it, or nobody will ever want them."""
        copy = tmp_path / "copy"
        shutil.copytree(finished, copy)
        with contextlib.closing(sqlite3.connect(copy / "studies.db")) as connection, connection:
            connection.execute("DELETE FROM tune_checkpoints WHERE path LIKE '%-twodigit-%/trial-00001%'")
            connection.execute("UPDATE trials SET state = ? WHERE number = 1 AND study_id = 1", (state,))
        before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
        done = here("repeat", "twodigit", "--trial", "1", "--restore", cwd=copy)
        assert done.returncode == 2, done.stderr
        SENTENCES.check(f"not restored: {called}", done.stderr.splitlines())
        assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
        assert here("repeat", "twodigit", "--trial", "1", cwd=copy).returncode == 0


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (["run", "--task", "twodigits"], 2, "did you mean twodigit?"),
            (
                ["run"],
                2,
                "Say what to search for, --task twodigit, --task sum, --data with",
            ),
            (
                ["run", "--study", "first"],
                2,
                "There is no study first yet, and a new one needs --task twodigit, --task sum, --data with",
            ),
            (["run", "--study", "first", "--trials", "0"], 2, "--trials must be from 1 to 1000000, not 0"),
            (["run", "--task", "twodigit", "--trials", "0"], 2, "--trials must be from 1 to 1000000, not 0"),
            (["run", "--task", "twodigit", "--trials", "9" * 20], 2, "--trials must be from 1 to 1000000"),
            (["run", "--task", "twodigit", "--trials", "many"], 2, "--trials"),
            (["run", "--task", "twodigit", "--model", "cnn"], 2, "--model cnn: no such family"),
            (["run", "--task", "twodigit", "--sampler", "tbe"], 2, "did you mean tpe?"),
            (["run", "--task", "twodigit", "--pruner", "median2"], 2, "did you mean median?"),
            (["run", "--task", "twodigit", "--epochs", "0"], 2, "--epochs must be from 0.01"),
            (["run", "--task", "twodigit", "--target", "98.5"], 2, "a fraction between 0 and 1"),
            (["run", "--task", "twodigit", "--workers", "0"], 2, "--workers must be from 1"),
            (["run", "--task", "twodigit", "--threads", "5000"], 2, "--threads must be at most the"),
            (["run", "--task", "twodigit", "--device", "tpu"], 2, "tpu"),
            (["run", "--task", "twodigit", "--study", "x" * 101], 2, "1 to 100 characters"),
            (["run", "--task", "twodigit", "--study", ""], 2, "1 to 100 characters"),
            (["run", "--task", "twodigit", "--study", "a\nb"], 2, "a printable name"),
            (["run", "--task", "twodigit", "--trails", "3"], 2, "--trails"),
            (["run", "--task", "twodigit", "--space", "none.toml"], 78, "none.toml: cannot be read"),
            (["run", "--task", "twodigit", "--storage", "xyz"], 78, "is not a database URL"),
            (["run", "--task", "twodigit", "--storage", "sqlite:////no/x.db"], 78, "no folder /no"),
            (
                ["run", "--task", "sum", "--storage", "postgresql://a:hush@127.0.0.1:1/d"],
                75,
                "does not answer",
            ),
            (["run", "--storage", "postgresql://a:hush@127.0.0.1:1/d"], 2, "Say what to search for"),
            (
                ["run", "--task", "sum", "--trials", "0", "--storage", "postgresql://a:hush@127.0.0.1:1/d"],
                2,
                "--trials must be from 1",
            ),
            (["studies"], 78, "There is no storage"),
            (["best", "x"], 78, "There is no storage"),
            (["run", "--task", "twodigit", "--trial-timeout", "0"], 2, "--trial-timeout must be above 0"),
            (["run", "--task", "twodigit", "--stall-timeout", "-1"], 2, "--stall-timeout must be above 0"),
            (["run", "--task", "twodigit", "--stall-timeout", "1"], 2, "must be at least 2 seconds, not 1"),
            (["worker"], 2, "or say --forever"),
            (["worker", "x", "--forever", "--json"], 2, "no end at which to print JSON"),
            (["run", "--task", "twodigit", "--timeout", "nan"], 2, "--timeout must be above 0"),
            (["data", "show", "--task", "two"], 2, "did you mean twodigit?"),
            (["data", "show", "--split", "test"], 2, "'test' is not one of"),
            (["data", "add", ".", "--fit", "tile"], 2, "'tile' is not one of"),
            (["run", "--task", "sum", "--precision", "float16"], 2, "'float16' is not one of"),
            (["confirm", "x", "--precision", "float16"], 2, "'float16' is not one of"),
            (
                ["data", "show", "--out", "x.jpg"],
                2,
                "--out x.jpg: images are written as PNG; name it x.png.",
            ),
            (
                ["data", "show", "--split", "validation", "--shift", "2", "--seed", "1"],
                2,
                "--split validation is the same for everyone, and --shift and --seed would do nothing",
            ),
            (["data", "show", "--split", "validation", "--affine", "0.5"], 2, "--affine would do nothing"),
            (["data", "fetch", "--from", "/nowhere"], 78, "/nowhere"),
            (["nonsense"], 2, "nonsense"),
        ],
    )
    def test_one_sentence_and_the_right_code(
        self, tmp_path: Path, here: Command, arguments: list[str], code: int, words: str
    ) -> None:
        done = here(*arguments, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert "hush" not in done.stderr
        assert done.stdout == ""
        assert list(tmp_path.iterdir()) == [], "a refusal leaves nothing behind"

    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (["run", "--task", "sum", "--study", "twodigit"], 78, "--task sum (the study has twodigit)"),
            (["run", "--task", "twodigit", "--seed", "5"], 78, "--seed 5 (the study has 0)"),
            (["run", "--study", "sum", "--seed", "5"], 78, "--seed 5 (the study has 0)"),
            (
                ["run", "--study", "agian"],
                2,
                "There is no study agian yet (did you mean again?), and a new one needs --task twodigit,",
            ),
            (
                ["run", "--task", "twodigit", "--model", "conv"],
                78,
                "another search space (it differs in activation",
            ),
            (["trials", "twodigti"], 2, "did you mean twodigit?"),
            (["best", "nosuch"], 2, "There is no study nosuch"),
            (["trials", ""], 2, "The name of the study is empty; `tune studies` lists"),
            (["compare", "twodigit", "twodigit"], 2, "takes two studies or more"),
            (["compare", "twodigit", "sum"], 2, "Only studies of one task can be compared"),
            (["worker", "nosuch"], 2, "There is no study nosuch"),
            (["repeat", "twodigit", "--trial", "9"], 2, "There is no trial 9 in twodigit; it has 0 to 3"),
        ],
    )
    def test_what_does_not_fit_a_study(
        self, finished: Path, here: Command, arguments: list[str], code: int, words: str
    ) -> None:
        before = (finished / "studies.db").read_bytes()
        done = here(*arguments, cwd=finished)
        assert done.returncode == code, done.stderr
        assert (words in done.stderr) or (
            words == "another search space (it differs in activation" and "it differs in" in done.stderr
        )
        assert "Traceback" not in done.stderr
        assert (finished / "studies.db").read_bytes() == before, "a refusal changes nothing"

    def test_wrong_flags_are_all_named_at_once(self, tmp_path: Path, here: Command) -> None:
        (tmp_path / "space.toml").write_text("dropout = 2")
        flags = {
            "--task": "two",
            "--trials": "0",
            "--model": "cnn",
            "--sampler": "tbe",
            "--pruner": "median2",
            "--epochs": "0",
            "--target": "98.5",
            "--workers": "0",
            "--threads": "0",
            "--timeout": "nan",
            "--trial-timeout": "0",
            "--seed": "-1",
            "--space": "space.toml",
            "--address": "auto",
        }
        done = here("run", *(word for flag in flags.items() for word in flag), cwd=tmp_path)
        assert done.returncode == 2
        lines = done.stderr.splitlines()
        assert len(lines) == len(flags)
        for name in flags.keys() - {"--space"}:
            assert [line for line in lines if line.removeprefix("tune: ").startswith(f"{name} ")], name
        SENTENCES.check("wrong flags", lines)
        assert not (tmp_path / "studies.db").exists()

    def test_what_does_nothing_without_a_worker_is_refused(self, tmp_path: Path, here: Command) -> None:
        of_workers = {"--workers": "2", "--threads": "2", "--trial-timeout": "60", "--stall-timeout": "60"}
        of_runs = {"--timeout": "600", "--target": "0.985"}
        flags = [word for flag in (of_workers | of_runs | {"--device": "cpu"}).items() for word in flag]
        run = ("run", "--task", "twodigit", "--study", "a b", "--detach")
        done = here(*run, *flags, cwd=tmp_path)
        assert done.returncode == 2
        lines = [line.removeprefix("tune: ") for line in done.stderr.splitlines()]
        advice = "is for workers, and --detach starts none: give it to `tune worker 'a b'`."
        assert {f"{flag} {advice}" for flag in (*of_workers, "--device")} < set(lines)
        advice = "ends a run, and --detach only makes the study: leave one of the two out."
        assert {f"{flag} {advice}" for flag in of_runs} < set(lines)
        assert not (tmp_path / "studies.db").exists()
        usual = ("--threads", "1", "--device", "auto", "--stall-timeout", "600")
        assert here(*run, *usual, cwd=tmp_path).returncode == 0, "nobody can tell them from what is not said"

    def test_a_space_with_networks_that_fit_no_image(self, tmp_path: Path, here: Command) -> None:
        space = 'blocks = {low = 1, high = 4}\npadding = ["same", "valid"]\nkernel = 7\n'
        (tmp_path / "space.toml").write_text(space)
        done = here("run", "--task", "twodigit", "--space", "space.toml", cwd=tmp_path)
        assert done.returncode == 78
        SENTENCES.check("a space with networks that fit no image", done.stderr.splitlines())
        assert not (tmp_path / "studies.db").exists()
        (tmp_path / "space.toml").write_text(space.replace(', "valid"', ""))
        done = here("run", "--task", "twodigit", "--space", "space.toml", "--trials", "0", cwd=tmp_path)
        assert "space.toml" not in done.stderr, "all of it fits; only --trials is refused"
        assert done.returncode == 2

    def test_a_space_is_judged_by_what_is_drawn_of_it(self, tmp_path: Path, here: Command) -> None:
        """Of 1 to 4 blocks in steps of two, 1 and 3: the fourth would leave nothing."""
        space = "padding = 'valid'\nconvolutions = 1\nblocks = {low = 1, high = 4, step = 2}"
        (tmp_path / "space.toml").write_text(space)
        run = ("run", "--task", "sum", "--space", "space.toml", "--trials", "0")
        assert "space.toml" not in here(*run, cwd=tmp_path).stderr, "only --trials is refused"
        (tmp_path / "space.toml").write_text(space.replace("low = 1", "low = 2"))
        assert "blocks=4, stem=1" in here(*run, cwd=tmp_path).stderr

    @pytest.mark.parametrize(
        ("task", "lines", "fits"),
        [
            ("sum", "blocks = 4\nbatch_size = 1", False),
            (
                "sum",
                "blocks = {low = 1, high = 3}\npadding = 'valid'\nconvolutions = 1\nbatch_size = [1, 64]",
                False,
            ),
            (
                "sum",
                "blocks = 4\nbatch_size = {low = 1, high = 64, log = true}\nbatch_norm = [false, true]",
                False,
            ),
            ("sum", "blocks = 4\nbatch_size = {low = 2, high = 64}", True),
            ("sum", "blocks = 4\nbatch_size = 1\nbatch_norm = false", True),
            ("sum", "blocks = 3\nbatch_size = 1", True),
            ("twodigit", "blocks = 4\nbatch_size = 1", True),
        ],
    )
    def test_a_space_with_one_value_to_normalize(
        self, tmp_path: Path, here: Command, task: str, lines: str, fits: bool
    ) -> None:
        (tmp_path / "space.toml").write_text(lines)
        done = here("run", "--task", task, "--space", "space.toml", "--trials", "0", cwd=tmp_path)
        assert done.returncode == 2, "--trials is refused in any case"
        words = (
            "not every convolutional network of it fits: batch_size=1 leaves batch_norm one value a channel"
        )
        assert (f"space.toml: {words}" in done.stderr) == (not fits), done.stderr
        assert ("shrink an image of 28×28 to 1 pixel. Narrow one of these." in done.stderr) == (not fits)

    def test_three_mistakes_in_a_space_file_are_all_named(self, tmp_path: Path, here: Command) -> None:
        (tmp_path / "space.toml").write_text('optimiser = "adam"\ndropout = 2\nwidth = {low = 9, high = 1}\n')
        done = here("run", "--task", "twodigit", "--space", "space.toml", cwd=tmp_path)
        assert done.returncode == 78
        SENTENCES.check("three mistakes in a space file", done.stderr.splitlines())
        assert not (tmp_path / "studies.db").exists()

    def test_debug_shows_the_traceback(self, tmp_path: Path, here: Command) -> None:
        done = here("studies", cwd=tmp_path, debug=True)
        assert done.returncode == 78
        assert "Traceback" in done.stderr

    def test_damaged_data_are_named_with_the_expected_sum(self, tmp_path: Path, tune: Command) -> None:
        cache = tmp_path / "cache"
        cache.mkdir()
        (cache / "t10k-labels-idx1-ubyte").write_bytes(b"not the labels")
        done = tune("data", "verify", cwd=tmp_path, TUNE_DATA_DIR=str(cache))
        assert done.returncode == 78
        assert "t10k-labels-idx1-ubyte" in done.stdout
        assert "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2" in done.stdout


class TestData:
    def test_verify(self, tmp_path: Path, here: Command) -> None:
        done = here("data", "verify", "--json", cwd=tmp_path)
        assert done.returncode == 0
        assert {entry["state"] for entry in json.loads(done.stdout).values()} == {"ok"}

    @pytest.mark.parametrize("task", ["twodigit", "sum"])
    def test_show_draws_an_image(self, tmp_path: Path, here: Command, task: str) -> None:
        done = here("data", "show", "--task", task, "--out", "grid.png", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with Image.open(tmp_path / "grid.png") as sheet:
            assert sheet.width > 500
            assert len(sheet.getcolors(1 << 20) or []) > 50, "digits have shades"

    def test_show_writes_over_nothing_unasked(self, tmp_path: Path, here: Command) -> None:
        (tmp_path / "mine.png").write_bytes(b"a holiday")
        show = ("data", "show", "--out", "mine.png", "--rows", "1", "--columns", "1")
        done = here(*show, cwd=tmp_path)
        assert done.returncode == 2
        SENTENCES.check("an image is not written over", done.stderr.splitlines())
        assert (tmp_path / "mine.png").read_bytes() == b"a holiday"
        assert here(*show, "--force", cwd=tmp_path).returncode == 0
        with Image.open(tmp_path / "mine.png") as sheet:
            assert sheet.width > 28

    def test_show_draws_validation_too(self, tmp_path: Path, here: Command) -> None:
        done = here("data", "show", "--split", "validation", "--rows", "1", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "examples.png").exists()


class TestHelp:
    def test_lists_every_command_and_loads_nothing_heavy(self, tmp_path: Path) -> None:
        code = (
            "import sys; sys.argv = ['tune', '--help']\n"
            "from search.cli.app import main\n"
            "try: main()\nexcept SystemExit as end: assert not end.code\n"
            "heavy = {'torch', 'optuna', 'sqlalchemy', 'plotly', 'numpy', 'PIL'} & set(sys.modules)\n"
            "assert not heavy, heavy\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        listed = re.findall(r"^  ([a-z]+) ", done.stdout.split("Commands:")[1], re.MULTILINE)
        assert listed == [
            *(
                "run",
                "worker",
                "studies",
                "trials",
                "best",
                "report",
                "figures",
                "compare",
                "confirm",
                "ablate",
                "export",
            ),
            *("predict", "demo", "repeat", "dashboard", "delete", "upgrade", "data", "doctor"),
        ], "in the order of a user's day"

    @pytest.mark.parametrize("group", [[], ["data"]], ids=["tune", "tune data"])
    def test_summaries_are_whole_at_80_columns(
        self, in_a_terminal: Callable[..., tuple[int, str]], group: list[str]
    ) -> None:
        code, shown = in_a_terminal([TUNE, *group, "--help"], columns=80)
        summaries = shown.split("Commands:")[1].strip().splitlines()
        assert code == 0
        assert len(summaries) == (6 if group else 19)
        assert all(line.endswith(".") and not line.endswith("...") for line in summaries), shown

    def test_version(self, tmp_path: Path, here: Command) -> None:
        done = here("--version", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("tune 0.")

    def test_doctor_finds_this_machine_well(
        self, tmp_path: Path, here: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("search.service.doctor.commands", list)  # another package may own the script
        findings = here("doctor", "--json", cwd=tmp_path).parsed
        checks = {finding["check"] for finding in findings}
        assert checks >= {"torch", "command", "device", "precision", "data", "storage", "disk"}
        assert all(finding["ok"] for finding in findings)
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        monkeypatch.setenv("TUNE_ARTIFACTS", str(folder))
        [disk] = [
            finding for finding in here("doctor", "--json", cwd=tmp_path).parsed if finding["check"] == "disk"
        ]
        assert disk["finding"].endswith(f"in {folder}"), "that folder may be another disk than the one above"

    def test_doctor_names_a_file_of_the_data_that_cannot_be_read(
        self, tmp_path: Path, here: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "t10k-labels-idx1-ubyte").mkdir()
        monkeypatch.setenv("TUNE_DATA_DIR", str(tmp_path))
        data = diagnosed(here("doctor", "--json", cwd=tmp_path), "data")
        assert "t10k-labels-idx1-ubyte cannot be read (Is a directory)" in data

    def test_doctor_does_without_what_is_missing(self, tmp_path: Path) -> None:
        code = (
            "import sys; sys.modules.update(torch=None, sqlalchemy=None)\n"
            "from search.cli.app import run_command\n"
            "sys.exit(run_command(['doctor', '--json'], debug=True))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        for check, package in (("device", "torch"), ("storage", "sqlalchemy")):
            assert diagnosed(done, check) == f"cannot be checked without {package}; install that first"

    def test_doctor_knows_that_sqlite_writes_beside_its_file(
        self, finished: Path, here: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != finished)
        storage = diagnosed(here("doctor", "--json", cwd=finished), "storage")
        SENTENCES.check("doctor: a folder that cannot be written", [storage.replace(str(finished), "FOLDER")])


def diagnosed(done: Any, check: str) -> str:
    """What `tune doctor --json` finds wrong there."""
    assert (done.returncode, done.stderr) == (1, "")
    [found] = [finding for finding in json.loads(done.stdout) if finding["check"] == check]
    assert not found["ok"]
    return str(found["finding"])
