"""`tune export` and `tune predict`: what is exported, what is refused, and that it runs without torch."""

from __future__ import annotations

import datetime
import errno
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_ablation import made_ablation
from PIL import Image
from snapshots import Snapshots, lines_with

from data.datasets.mnist import Mnist
from data.tasks.registry import get_task
from models import export as formats
from models.checkpoint import load_checkpoint
from models.export import rebuild, write_all
from models.network import Network, config_to_json
from search.analysis.confirmation import Candidate, Confirmation, SeedRun
from search.analysis.intervals import wilson
from search.analysis.ranking import best_report
from search.errors import ConfigError
from search.records import Examples, TestEvaluation
from search.report.markdown import sparkline
from search.report.model_card.facts import CardFacts
from search.report.model_card.network_card import card
from search.seeds import derive, training_seed
from search.serve.folder import open_export
from search.service import export as service
from search.service import export_choice
from search.service.look import found_trial
from search.service.read_confirmation import intervals_of
from search.store.engine import parse_url
from search.store.sql import SQLStore
from search.study.reading import open_reading

SENTENCES = Snapshots(__file__, "export")
Command = Callable[..., Any]
"""Of the fixtures `here` and `tune`: how a command ended."""

FILES = ["README.md", "config.json", "manifest.json", "model.onnx", "model.pt2", "model.safetensors"]


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    """The exports and their studies, to be damaged."""
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    return folder


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, float]]:
    """In place of `write_all`: the same files, made once for each network and what is said about it."""
    folder, kept = tmp_path_factory.mktemp("converted"), dict[str, dict[str, float]]()

    def write(network: Network, out: Path, *, about: Mapping[str, object]) -> dict[str, float]:
        weights = hashlib.sha256(json.dumps([about, config_to_json(network.config)]).encode())
        for name, tensor in network.state_dict().items():
            weights.update(name.encode() + tensor.numpy().tobytes())
        key = weights.hexdigest()
        if key not in kept:
            (folder / key).mkdir()
            kept[key] = write_all(network, folder / key, about=about)
        shutil.copytree(folder / key, out, dirs_exist_ok=True)
        return kept[key]

    return write


@pytest.fixture
def _converted_once(converted: Callable[..., dict[str, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what an export says or refuses: an export costs a second of conversion."""
    monkeypatch.setattr(formats, "write_all", converted)


class TestFolder:
    @pytest.mark.parametrize("study", ["twodigit", "sum"])
    def test_has_what_the_design_promises(self, exported: Path, here: Command, study: str) -> None:
        folder = exported / study
        names = FILES + ["model-int8.onnx"] * (study == "twodigit")
        assert sorted(path.name for path in folder.iterdir()) == sorted(names)
        told = manifest(folder)
        assert set(told["files"]) == {*names} - {"manifest.json"}
        for name, entry in told["files"].items():
            content = (folder / name).read_bytes()
            assert entry["sha256"] == hashlib.sha256(content).hexdigest()
            assert entry["bytes"] == len(content)
        best = here("best", study, "--json", cwd=exported).parsed
        assert (told["study"], told["trial"], told["settings"]) == (study, best["trial"], best["params"])
        assert told["comparison"] == {"inputs": 1000, "batch_sizes": [1, 2, 7, 30, 960], "tolerance": 1e-4}
        assert {"torch", "onnx", "onnxruntime", "tune", "python"} <= set(told["versions"])

    @pytest.mark.parametrize("study", ["twodigit", "sum"])
    def test_has_the_weights_of_the_best_trial(self, exported: Path, study: str) -> None:
        told = manifest(exported / study)
        [path] = (exported / "studies.artifacts").glob(f"*-{study}-*/trial-{told['trial']:05d}-*.safetensors")
        kept = load_checkpoint(path, expected_sha256=told["checkpoint_sha256"]).network()
        again = rebuild(exported / study)
        for name, tensor in kept.state_dict().items():
            assert torch.equal(again.state_dict()[name], tensor), name

    def test_is_noted_in_the_storage(self, exported: Path) -> None:
        store = SQLStore(parse_url(f"sqlite:///{exported / 'studies.db'}"))
        for study_id, study in ((1, "twodigit"), (3, "sum")):
            [note] = store.exports(study_id)
            assert note.folder == str(exported / study)
            content = (exported / study / "manifest.json").read_bytes()
            assert note.manifest_sha256 == hashlib.sha256(content).hexdigest()
        store.close()

    def test_int8_is_measured_beside_the_float_file(
        self, exported: Path, here: Command, mnist: Mnist
    ) -> None:
        found = manifest(exported / "twodigit")["int8"]
        best = here("best", "twodigit", "--json", cwd=exported).parsed["validation"]
        for head, accuracy in best.items():
            # float32 here, maybe bfloat16 when it was trained: an image of 4,000 may differ
            assert found["float_validation"][head] == pytest.approx(accuracy, abs=0.005)
            assert found["validation"][head] == pytest.approx(accuracy, abs=0.03)
        assert found["validation"] != found["float_validation"]
        answer = formats.onnx_answer(exported / "twodigit" / "model-int8.onnx")
        hits = torch.zeros(2)
        for batch in get_task("twodigit").validation(mnist).batches(1000):
            logits = answer(batch.image.float() / 255, None)
            answers = torch.stack([logits["first_digit"].argmax(1), logits["second_digit"].argmax(1)], dim=1)
            hits += (answers == batch.targets).sum(0)
        assert [found["validation"]["first_digit"], found["validation"]["second_digit"]] == pytest.approx(
            (hits / 4000).tolist()
        )


@pytest.fixture(scope="module")
def facts(
    exported: Path, tmp_path_factory: pytest.TempPathFactory, converted: Callable[..., dict[str, float]]
) -> CardFacts:
    """What is on the card of `twodigit`."""
    seen: list[CardFacts] = []

    def watched(facts: CardFacts) -> str:
        seen.append(facts)
        return card(facts)

    folder = tmp_path_factory.mktemp("watched")
    shutil.copy(exported / "studies.db", folder)
    shutil.copytree(exported / "studies.artifacts", folder / "studies.artifacts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "card", watched)
        patch.setattr(formats, "write_all", converted)
        service.export(
            f"sqlite:///{folder / 'studies.db'}",
            "twodigit",
            trial=None,
            out=folder / "watched",
            force=False,
            int8=False,
            tell=lambda words: None,
        )
    return seen[0]


@pytest.mark.usefixtures("_converted_once")
class TestCard:
    @pytest.mark.parametrize("study", ["twodigit", "sum"])
    def test_its_program_runs_without_torch(self, exported: Path, study: str) -> None:
        text = (exported / study / "README.md").read_text()
        [program] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert len(program.splitlines()) <= 10
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.modules['torch'] = None\n{program}"],
            cwd=exported / study,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        heads = ["first_digit", "second_digit"] if study == "twodigit" else ["digit", "sum"]
        assert [line.split()[0] for line in done.stdout.splitlines()] == heads

    @pytest.mark.parametrize("study", ["twodigit", "sum"])
    def test_says_what_was_measured(self, exported: Path, here: Command, study: str) -> None:
        text = (exported / study / "README.md").read_text()
        best = here("best", study, "--json", cwd=exported).parsed
        url = f"sqlite:///{exported / 'studies.db'}"
        found = found_trial(url, study, best["trial"])
        with open_reading(url) as reading:
            known = intervals_of(reading, found.record, found.trial.trial_id, "validation")
        assert known is not None
        accuracies = {"mean": best["value"], **best["validation"]}
        assert known.keys() == accuracies.keys()
        for name, accuracy in accuracies.items():
            low, high = known[name]
            assert low < accuracy < high
            assert f"{accuracy * 100:.2f} % [{low * 100:.2f}, {high * 100:.2f}]" in text
        for value in best["params"].values():
            written = {True: "yes", False: "no"}.get(value) if isinstance(value, bool) else None
            shown = written or (f"{value:.4g}" if isinstance(value, float) else str(value))
            assert f"| {shown} |" in text
        assert f"| **{best['parameters']:,}** |" in text, "the layers' parameters add up"
        seed = training_seed(0, origin=best["trial"], confirming=None)
        assert f"| of the trial | {seed} |" in text
        assert f"| of the first weights | {derive(seed, 'weights')} |" in text
        assert f"tune repeat {study} --trial {best['trial']}" in text
        assert "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db" in text
        assert "These weights were not evaluated on the test set" in text

    def test_tells_a_test_evaluation(self, copy: Path, here: Command) -> None:
        connection = sqlite3.connect(copy / "studies.db")
        trial = manifest(copy / "twodigit")["trial"]
        [trial_id] = connection.execute(
            "SELECT trial_id FROM trials WHERE study_id = 1 AND number = ?", (trial,)
        ).fetchone()
        connection.close()
        store = SQLStore(parse_url(f"sqlite:///{copy / 'studies.db'}"))
        store.add_test_evaluation_once(
            TestEvaluation(
                study_id=1,
                trial_id=trial_id,
                moment=datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC),
                reason="chosen by tune confirm",
                pictures=4_000,
                heads={"first_digit": 0.9, "second_digit": 0.8},
                joint=0.75,
            )
        )
        store.close()
        done = here("export", "twodigit", "--out", "evaluated", cwd=copy)
        assert done.returncode == 0, done.stderr
        text = (copy / "evaluated" / "README.md").read_text()
        low, high = wilson(0.8 * 4000, 4000)
        assert "test (chosen by tune confirm, 2026-11-23)" in text
        assert f"80.00 % [{low * 100:.2f}, {high * 100:.2f}]" in text
        assert "were not evaluated on the test set" not in text

    def test_a_confirmed_winner_is_the_one_that_leaves(
        self, copy: Path, here: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Study `again` stands for a confirmation of `twodigit`."""
        best = here("best", "again", "--json", cwd=copy).parsed
        found = found_trial(f"sqlite:///{copy / 'studies.db'}", "again", best["trial"])
        report = best_report(found.curve)
        assert report is not None
        run = SeedRun(seed=1, trial=best["trial"], trial_id=found.trial.trial_id, report=report)
        candidate = Candidate(
            trial=3,
            reference=None,
            settings={},
            search_score=0.9,
            runs=(run, run),
            dropped=False,
            mean=0.5432,
            low=0.5321,
            high=0.5543,
        )
        reference = replace(candidate, trial=0, reference="course-conv", mean=0.56)
        search = found_trial(f"sqlite:///{copy / 'studies.db'}", "twodigit", 3).record
        confirmation = Confirmation(
            search=search,
            confirming=found.record,
            seeds=2,
            candidates=(reference, candidate),
            chosen=3,
            best_run=run,
            searched=search.target_trials,
            search_winner=3,
            finished_runs=4,
            wanted=4,
            test_evaluations=(),
        )
        monkeypatch.setattr(export_choice, "confirmation_in", lambda storage, searched: confirmation)
        done = here("export", "twodigit", "--out", "confirmed", cwd=copy)
        assert done.returncode == 0
        said = done.stderr.replace(f"--trial {best['trial']}`", "--trial BEST`")
        SENTENCES.check("a confirmed winner", lines_with(said, "The confirmation", "The reference"))
        wrote, text = manifest(copy / "confirmed"), (copy / "confirmed" / "README.md").read_text()
        assert (wrote["study"], wrote["trial"]) == ("again", best["trial"])
        on_card = text.replace(f"trial {best['trial']} of again", "trial BEST of again")
        told = lines_with(on_card, "retrained on 2 fresh seeds", "is chosen")
        SENTENCES.check("a confirmed winner's card", told)
        assert "so this score has selection bias" not in text

    def test_a_name_is_neither_markdown_nor_a_command(self, facts: CardFacts) -> None:
        name = "x; rm -rf ~ | `*a*` <b>"
        escaped = r"x; rm -rf \~ \| \`\*a\*\` \<b\>"
        evaluation = TestEvaluation(
            study_id=1,
            trial_id=1,
            moment=datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC),
            reason=f"chosen in {name}",
            pictures=4_000,
            heads={"first_digit": 0.9, "second_digit": 0.8},
            joint=0.75,
        )
        text = card(replace(facts, study=replace(facts.study, name=name), test_evaluations=[evaluation]))
        assert f"tune repeat '{name}' --trial {facts.trial.number}\n" in text
        assert f"tune export '{name}' --trial {facts.trial.number} --out DIR\n" in text
        assert text.splitlines()[0].endswith(f": trial {facts.trial.number} of {escaped}")
        assert f"Study {escaped}: sampler" in text
        assert f"| test (chosen in {escaped}, 2026-11-23) | 4,000 |" in text
        commands = [line for line in text.splitlines() if line.startswith("tune ")]
        assert text.count(name) == len(commands) == 2

    def test_a_set_of_images_is_told_as_it_is(self, facts: CardFacts) -> None:
        """Class names, colors, how an image is made to fit; nothing of digits and ink."""
        page = card(
            replace(
                facts,
                heads=(("first_digit", 2), ("second_digit", 2)),
                labels={"first_digit": ("a|b", "dog"), "second_digit": ("red", "blue")},
                image=(3, 32, 48),
                fit="crop",
                examples=Examples(),
                mean=(0.5, 0.25, 0.125),
                deviation=(0.2, 0.2, 0.3),
            )
        )
        assert "np.zeros((1, 3, 32, 48), dtype=np.float32)" in page
        told = lines_with(page, "- `first_digit`", "(N, 3, 32, 48)", "(mean 0.5", "`crop`", "none of these")
        SENTENCES.check("the card of a set of images", told)
        for words in ("light ink", "over digits", "no digit"):
            assert words not in page
            assert words in card(facts)

    def test_an_ablation_says_what_mattered(self, facts: CardFacts) -> None:
        assert "What mattered" not in card(facts)
        text = card(replace(facts, ablation=made_ablation(name="two*digit")))
        section = text.split("## What mattered\n")[1].split("\n## ")[0]
        SENTENCES.check(
            "an ablation on the card", lines_with(section, "helped generalization", "judged", "128")
        )

    def test_promises_no_repetition_of_what_a_gpu_trained(self, facts: CardFacts) -> None:
        trained = replace(facts, environment={**facts.environment, "device": "cuda"})
        told = [line for each in (facts, trained) for line in lines_with(card(each), "Retrain it")]
        SENTENCES.check("how to repeat on the card", told)

    def test_sparkline(self) -> None:
        assert sparkline([0.1, 0.5, 0.9]) == "▁▅█"
        assert sparkline([0.3]) == "█"


@pytest.mark.usefixtures("_converted_once")
class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (["export", "twodigit", "--out", "sum"], 2, "has an export already; --force replaces it"),
            (["export", "twodigit", "--out", "."], 2, "a folder with other things in it"),
            (["export", "twodigit", "--out", ".", "--force"], 2, "a folder with other things in it"),
            (["export", "twodigit", "--out", "studies.db"], 2, "is not a folder"),
            (["export", "twodigit", "--out", "studies.db", "--force"], 2, "is not a folder"),
            (["export", "twodigit", "--out", "studies.db/x"], 2, "there is no folder studies.db"),
            (["export", "twodigit", "--out", "no/x"], 2, "there is no folder no"),
            (["export", "nosuch", "--out", "x"], 2, "There is no study nosuch"),
            (["export", "twodigit", "--trial", "9", "--out", "x"], 2, "There is no trial 9 in twodigit"),
            (["export", "twodigit"], 2, "--out"),
            (["predict", "x", "seven.png"], 2, "There is no folder x"),
            (["predict", "studies.artifacts", "seven.png"], 2, "is not an export"),
            (["predict", "twodigit", "seven.png"], 2, "There is no image seven.png"),
            (["predict", "twodigit", "seven.png", "--number", "3"], 2, "leave --number out"),
            (["predict", "sum", "seven.png"], 2, "give --number 0 to 9"),
            (["predict", "sum", "seven.png", "--number", "10"], 2, "must be from 0 to 9, not 10"),
            (["predict", "sum", "seven.png", "--number", "-1"], 2, "must be from 0 to 9, not -1"),
            (["demo", "x"], 2, "There is no folder x"),
            (["demo", "sum", "--host", "203.0.113.1"], 2, "cannot be used"),
        ],
    )
    def test_one_sentence_and_the_right_code(
        self, exported: Path, here: Command, arguments: list[str], code: int, words: str
    ) -> None:
        before = sorted(exported.rglob("*"))
        done = here(*arguments, cwd=exported)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        assert sorted(exported.rglob("*")) == before, "a refusal leaves nothing behind"

    def test_a_study_without_a_complete_trial(self, tmp_path: Path, here: Command) -> None:
        assert here("run", "--task", "twodigit", "--trials", "1", "--detach", cwd=tmp_path).returncode == 0
        done = here("export", "twodigit", "--out", "x", cwd=tmp_path)
        assert done.returncode == 1
        assert "has no complete trial yet" in done.stderr
        done = here("export", "twodigit", "--trial", "0", "--out", "x", cwd=tmp_path)
        assert done.returncode == 2
        assert "Trial 0 of twodigit is waiting, not finished" in done.stderr
        assert not (tmp_path / "x").exists()

    def test_a_study_that_is_not_finished(self, copy: Path, here: Command) -> None:
        more = ("run", "--task", "twodigit", "--trials", "6", "--detach")
        assert here(*more, cwd=copy).returncode == 0
        done = here("export", "twodigit", "--out", "early", cwd=copy)
        assert done.returncode == 0, done.stderr
        SENTENCES.check("a study that is not finished", lines_with(done.stderr, "finished"))
        assert "model.safetensors  is exact" in done.stdout

    def test_a_trial_that_failed(self, copy: Path, here: Command) -> None:
        connection = sqlite3.connect(copy / "studies.db")
        connection.execute("UPDATE trials SET state = 'FAIL' WHERE study_id = 1 AND number = 1")
        connection.commit()
        connection.close()
        done = here("export", "twodigit", "--trial", "1", "--out", "x", cwd=copy)
        assert (done.returncode, "Trial 1 of twodigit failed" in done.stderr) == (2, True)

    def test_libraries_that_are_missing_are_named(
        self, exported: Path, here: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "onnxscript" else object())
        done = here("export", "twodigit", "--out", "x", cwd=exported)
        assert done.returncode == 78
        SENTENCES.check("a library that is missing", done.stderr.splitlines())
        assert not (exported / "x").exists()


class TestWeights:
    @pytest.fixture
    def checkpoint(self, copy: Path) -> Path:
        [path] = (copy / "studies.artifacts").glob("*-twodigit-*/trial-00000-*.safetensors")
        return path

    @pytest.mark.parametrize("loss", ["gone", "damaged", "never kept"])
    def test_lost_ones_are_refused_and_come_back_by_repeat(
        self, copy: Path, checkpoint: Path, here: Command, loss: str
    ) -> None:
        before = checkpoint.read_bytes()
        if loss == "damaged":
            checkpoint.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        else:
            checkpoint.unlink()
        if loss == "never kept":
            connection = sqlite3.connect(copy / "studies.db")
            connection.execute("DELETE FROM tune_checkpoints WHERE path LIKE '%-twodigit-%/trial-00000%'")
            connection.commit()
            connection.close()
        export = ("export", "twodigit", "--trial", "0", "--out", "zero")
        done = here(*export, cwd=copy)
        assert done.returncode == (2 if loss == "never kept" else 1), done.stderr
        words = {"gone": "are not at", "damaged": "are damaged", "never kept": "has no weights"}
        assert words[loss] in done.stderr
        assert "`tune repeat twodigit --trial 0 --restore`" in done.stderr
        assert not (copy / "zero").exists()

        told = here("repeat", "twodigit", "--trial", "0", "--restore", cwd=copy)
        assert told.returncode == 0, told.stderr
        assert "Its weights are restored" in told.stdout
        assert checkpoint.read_bytes() == before, "to the last byte"
        if loss == "never kept":  # an export takes seconds; the bytes are those of the others
            assert here(*export, cwd=copy).returncode == 0
            assert manifest(copy / "zero")["trial"] == 0

    def test_a_name_is_quoted_in_a_command(self, copy: Path, checkpoint: Path, here: Command) -> None:
        connection = sqlite3.connect(copy / "studies.db")
        connection.execute("UPDATE studies SET study_name = 'x; rm -rf ~' WHERE study_id = 1")
        connection.commit()
        connection.close()
        checkpoint.unlink()
        done = here("export", "x; rm -rf ~", "--trial", "0", "--out", "zero", cwd=copy)
        assert "`tune repeat 'x; rm -rf ~' --trial 0 --restore`" in done.stderr

    def test_those_that_cannot_be_read_are_no_fault_of_out(
        self, copy: Path, checkpoint: Path, here: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opens = Path.open

        def refuse(path: Path, *given: Any, **more: Any) -> Any:
            if path.name == checkpoint.name:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return opens(path, *given, **more)

        monkeypatch.setattr(Path, "open", refuse)
        done = here("export", "twodigit", "--trial", "0", "--out", "zero", cwd=copy)
        assert done.returncode == 1
        refused = f"The weights of trial 0 of twodigit at {checkpoint} cannot be read (Permission denied)"
        assert refused in done.stderr
        assert "`tune repeat twodigit --trial 0 --restore`" in done.stderr
        assert "--out" not in done.stderr

    def test_those_that_a_gpu_trained_do_not_come_back(
        self, copy: Path, checkpoint: Path, here: Command
    ) -> None:
        connection = sqlite3.connect(copy / "studies.db")
        changed = connection.execute("UPDATE tune_workers SET device = 'cuda'")
        assert changed.rowcount >= 1
        connection.commit()
        connection.close()
        checkpoint.unlink()
        done = here("export", "twodigit", "--trial", "0", "--out", "zero", cwd=copy)
        assert done.returncode == 1
        assert "else choose another --trial: a GPU trained this one" in done.stderr
        assert "--restore`" not in done.stderr

        done = here("repeat", "twodigit", "--trial", "0", "--restore", cwd=copy)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Trial 0 of twodigit was trained on a GPU" in done.stderr
        assert "cannot be restored" in done.stderr
        assert "images" not in done.stderr, "nothing was trained"
        assert not checkpoint.exists()

        done = here("repeat", "twodigit", "--trial", "0", cwd=copy)
        assert done.returncode == 0
        first, *rest = done.stderr.splitlines()
        assert "was trained on a GPU" in first
        assert "the curve will be another one" in first
        assert "then," in rest[0]

    def test_another_curve_restores_nothing(self, copy: Path, checkpoint: Path, here: Command) -> None:
        checkpoint.unlink()
        connection = sqlite3.connect(copy / "studies.db")
        connection.execute(
            "UPDATE tune_reports SET metrics = json_set(metrics, :name, json_extract(metrics, :name) + 0.01)",
            {"name": '$."validation/accuracy/first_digit"'},
        )
        connection.commit()
        connection.close()
        done = here("repeat", "twodigit", "--trial", "0", "--restore", "--json", cwd=copy)
        assert done.returncode == 1
        assert json.loads(done.stdout)["restored"] is None
        assert "none were written" in done.stderr
        assert not checkpoint.exists()


class TestDisk:
    @pytest.mark.parametrize(
        ("place", "number", "code", "words"),
        [
            ("making the folder", errno.EROFS, 2, "--out zero cannot be written: Read-only file system."),
            ("making the folder", errno.ENOSPC, 1, "The disk is full, and nothing was exported: make room"),
            ("filling it", errno.ENOSPC, 1, "The disk is full, and nothing was exported: make room"),
            ("filling it", errno.EIO, 1, "Nothing was exported: [Errno 5] Input/output error"),
        ],
    )
    def test_out_is_blamed_for_its_own_faults_only(
        self,
        exported: Path,
        here: Command,
        monkeypatch: pytest.MonkeyPatch,
        place: str,
        number: int,
        code: int,
        words: str,
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        if place == "filling it":
            monkeypatch.setattr(formats, "write_all", refuse)
        else:
            monkeypatch.setattr(Path, "mkdir", refuse)
        done = here("export", "twodigit", "--out", "zero", cwd=exported)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert ("--out" in done.stderr) == (code == 2)
        assert not (exported / "zero").exists()


class TestForce:
    def test_replaces_an_export_whole(self, copy: Path, here: Command) -> None:
        assert manifest(copy / "sum")["study"] == "sum"
        done = here("export", "twodigit", "--out", "sum", "--force", "--json", cwd=copy)
        told = done.parsed
        assert told["study"] == manifest(copy / "sum")["study"] == "twodigit"
        assert set(told["differences"]) == {"model.onnx", "model.pt2", "model.safetensors"}
        assert sorted(path.name for path in (copy / "sum").iterdir()) == FILES
        assert open_export(copy / "sum").task == "twodigit"

    @pytest.mark.parametrize(
        ("added", "words"),
        [
            (["drawings"], "than its export: drawings. --force"),
            (["d", "c", "b", "a", "e"], "than its export: a, b, c and 2 more. --force"),
        ],
    )
    def test_deletes_nothing_that_is_no_part_of_the_export(
        self, copy: Path, here: Command, added: list[str], words: str
    ) -> None:
        (copy / "sum" / added[0]).mkdir()  # a folder goes with all that is in it
        for name in added[1:]:
            (copy / "sum" / name).write_text("mine")
        before = sorted(copy.rglob("*"))
        done = here("export", "twodigit", "--out", "sum", "--force", cwd=copy)
        assert done.returncode == 2
        assert words in done.stderr
        assert sorted(copy.rglob("*")) == before
        assert manifest(copy / "sum")["study"] == "sum"

    def test_a_file_that_differs_leaves_what_was_there(
        self, copy: Path, here: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = sorted(copy.rglob("*"))
        monkeypatch.setattr(formats, "TOLERANCE", -1.0)
        done = here("export", "twodigit", "--out", "sum", "--force", cwd=copy)
        assert done.returncode == 1
        assert "model.onnx differs from the network by" in done.stderr
        assert "nothing was exported" in done.stderr
        assert sorted(copy.rglob("*")) == before
        assert manifest(copy / "sum")["study"] == "sum"


class TestDamage:
    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (lambda folder: (folder / "model.onnx").write_bytes(b"x"), "model.onnx has SHA-256"),
            (lambda folder: (folder / "README.md").write_text("better!"), "README.md has SHA-256"),
            (lambda folder: (folder / "model.pt2").unlink(), "model.pt2 cannot be read (No such file"),
            (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json cannot be read"),
            (
                lambda folder: (folder / "manifest.json").write_text("[]"),
                "is not a JSON object",
            ),
            (lambda folder: edit(folder, lambda told: told.pop("files")), "manifest.json is incomplete"),
            (lambda folder: edit(folder, lambda told: told.update(format="tune-export-9")), "tune-export-9"),
            (
                lambda folder: edit(folder, lambda told: told["files"].pop("model.onnx")),
                "model.onnx is not listed",
            ),
            (
                lambda folder: edit(folder, lambda told: told["files"].update({"../x": {"sha256": "0"}})),
                "../x lies elsewhere",
            ),
        ],
    )
    def test_a_folder_that_does_not_match_its_manifest_is_not_used(
        self, copy: Path, here: Command, spoil: Callable[[Path], object], words: str
    ) -> None:
        spoil(copy / "twodigit")
        Image.new("L", (28, 42)).save(copy / "image.png")
        for command in (["predict", "twodigit", "image.png"], ["demo", "twodigit"]):
            done = here(*command, cwd=copy)
            assert done.returncode == 78, done.stderr
            assert words in done.stderr
            assert done.stdout == ""

    def test_a_config_that_cannot_be_understood(self, copy: Path) -> None:
        folder = copy / "sum"
        (folder / "config.json").write_text('{"format": "tune-model-1"}')
        digest = hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
        edit(folder, lambda told: told["files"]["config.json"].update(sha256=digest))
        with pytest.raises(ConfigError, match=r"config\.json cannot be understood"):
            open_export(folder)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    told = manifest(folder)
    change(told)
    (folder / "manifest.json").write_text(json.dumps(told))


class TestPredict:
    @pytest.mark.parametrize("study", ["twodigit", "sum"])
    def test_answers_as_the_network(
        self, exported: Path, here: Command, mnist: Mnist, tmp_path: Path, study: str
    ) -> None:
        network = rebuild(exported / study)
        batch = next(get_task(study).validation(mnist).batches(60))
        for n in range(4):
            number = None if batch.number is None else batch.number[n : n + 1, n]
            Image.fromarray(batch.image[n, 0].numpy()).save(tmp_path / "image.png")
            option = [] if number is None else ["--number", str(int(number))]
            told = here("predict", str(exported / study), "image.png", *option, "--json", cwd=tmp_path).parsed
            assert told["notes"] == []
            with torch.inference_mode():
                wanted = network(batch.image[n : n + 1], number)
            assert list(told["heads"]) == list(wanted)
            for head, logits in wanted.items():
                expected = logits.softmax(1)[0].numpy()
                found = told["heads"][head]
                assert np.allclose(found["probabilities"], expected, atol=1e-6)
                assert found["answer"] == int(expected.argmax())
                assert found["probability"] == found["probabilities"][found["answer"]]

    def test_what_is_done_to_an_image_goes_to_stderr(
        self, exported: Path, here: Command, mnist: Mnist, tmp_path: Path
    ) -> None:
        batch = next(get_task("twodigit").validation(mnist).batches(1))
        Image.fromarray(batch.image[0, 0].numpy()).save(tmp_path / "plain.png")
        Image.fromarray(255 - batch.image[0, 0].numpy()).convert("RGB").save(tmp_path / "ink.png")
        plain = here("predict", str(exported / "twodigit"), "plain.png", cwd=tmp_path)
        ink = here("predict", str(exported / "twodigit"), "ink.png", cwd=tmp_path)
        assert plain.returncode == ink.returncode == 0
        assert plain.stdout == ink.stdout
        answer = r"   +\d +>?\d+\.\d\d %\n"
        assert re.fullmatch(f"first_digit{answer}second_digit{answer}", ink.stdout)
        assert plain.stderr == ""
        SENTENCES.check("what is done to an image", ink.stderr.splitlines())

    def test_a_name_with_a_line_break_stays_on_its_line(
        self, exported: Path, here: Command, mnist: Mnist, tmp_path: Path
    ) -> None:
        batch = next(get_task("twodigit").validation(mnist).batches(1))
        Image.fromarray(255 - batch.image[0, 0].numpy()).save(tmp_path / "a\nb.png")
        (tmp_path / "c\n.png").touch()
        done = here("predict", str(exported / "twodigit"), "a\nb.png", "c\n.png", cwd=tmp_path)
        assert [line.split("  ")[0] for line in done.stdout.splitlines()] == ["'a\\nb.png'"] * 2
        SENTENCES.check("a name with a line break", done.stderr.splitlines())
        as_json = here("predict", str(exported / "twodigit"), "a\nb.png", "--json", cwd=tmp_path)
        assert as_json.parsed["picture"] == "a\nb.png"

    def test_needs_neither_torch_nor_a_database(self, exported: Path, tmp_path: Path) -> None:
        Image.new("L", (28, 28)).save(tmp_path / "x.png")
        image = np.zeros((28, 28), dtype=np.uint8)
        image[5:20, 12:15] = 255
        Image.fromarray(image).save(tmp_path / "one.png")
        heavy = ("torch", "optuna", "sqlalchemy", "plotly", "safetensors", "onnx", "scipy")
        code = (
            f"import sys; sys.modules.update(dict.fromkeys({heavy!r}))\n"
            "from search.cli.app import run_command\n"
            "sys.exit(run_command(sys.argv[1:], debug=True))\n"
        )
        for arguments, ends in (
            (["predict", str(exported / "sum"), "one.png", "--number", "4"], 0),
            (["studies"], 78),
            (["demo", str(exported / "sum"), "--host", "203.0.113.1"], 2),  # as far as to listening
        ):
            done = subprocess.run(
                [sys.executable, "-c", code, *arguments],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == ends, done.stderr
            if ends == 78:
                told = lines_with(done.stderr, "not installed")
                SENTENCES.check("a command without sqlalchemy", told)
        assert "Traceback" in done.stderr, "the sentence of a refusal, with --debug"
        assert "203.0.113.1 --port 8081 cannot be used" in done.stderr
