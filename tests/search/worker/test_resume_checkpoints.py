"""A trial that was cut short continues where it stood, and ends as if nothing had happened."""

from __future__ import annotations

import copy
import dataclasses
import gc
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from few_images import take_few_images
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.datasets.mnist import Mnist
from models.checkpoint import load_checkpoint
from models.mlp import MLPConfig
from models.network import Signature, build
from search.errors import TryAgain
from search.objectives.base import ResumeCheckpoint
from search.objectives.network.open_network import NetworkWork, OpenNetwork, Weights
from search.optuna_db.storage import Storage, open_storage
from search.records import ACCURACY, Answers, CheckpointRecord, Claim, Failure, Report, State
from search.service.create import RunRequest, create_or_resume
from search.store.database import Transaction
from search.study.evaluation_schedule import EvaluationSchedule
from search.worker import trial_runner
from search.worker.artifacts import KEEP as KEPT
from search.worker.context import WorkerContext, prepare
from search.worker.recovery import Reaper
from search.worker.resume_checkpoints import KEEP, ResumeCheckpoints
from search.worker.trial_runner import TrialRunner
from search.worker.worker_loop import Stopping, work

SHARE = 4
FIRST, LAST = 562, 900
"""Images at the reports of 0.1 epochs of 9,000 images: 9 and 15 batches of the references."""
REQUEST = RunRequest(task="twodigit", trials=2, epochs=0.1, model="mlp", pruner="none")
CPU = torch.device("cpu")
NETWORK = build(MLPConfig(width=4), Signature(image=(1, 4, 4), heads=(("a", 2),)), seed=0)
OBJECTIVE = object.__new__(OpenNetwork)
"""Of no study: what writes and reads checkpoints needs none."""


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    take_few_images(monkeypatch, share=SHARE)


@pytest.fixture
def contexts(tmp_path: Path, mnist: Mnist) -> Iterator[Callable[[str], WorkerContext]]:
    """contexts("a"): a worker's context on a study in a separate database; the same name: another worker."""
    opened: list[Storage] = []

    def make(name: str) -> WorkerContext:
        storage = open_storage(f"sqlite:///{tmp_path / name}.db")
        opened.append(storage)
        study, _ = create_or_resume(storage, REQUEST, mnist)
        return prepare(storage, study.name, mnist, tmp_path / f"{name}.artifacts", device="cpu", threads=1)

    yield make
    for storage in opened:
        storage.close()


@dataclasses.dataclass(frozen=True)
class Whole:
    """What a study to which nothing happened has of its first trial."""

    curve: list[Report]
    kept: CheckpointRecord


@pytest.fixture(scope="module")
def whole(mnist: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """For all tests that hold a trial against it: trained once."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    with (
        pytest.MonkeyPatch.context() as patch,
        open_storage(f"sqlite:///{folder / 'studies.db'}") as storage,
    ):
        take_few_images(patch, share=SHARE)
        study, _ = create_or_resume(storage, REQUEST, mnist)
        here = prepare(storage, study.name, mnist, folder / "artifacts", device="cpu", threads=1)
        curve = undisturbed(here)
        [kept] = [each for each in storage.store.checkpoints(1) if "/trial-00000-" in each.path]
    return Whole(curve, kept)


def next_of(here: WorkerContext) -> TrialRunner:
    """The next trial of the study."""
    claim = here.storage.store.claim(here.study.study_id, here.worker.worker_id, lease_s=60)
    assert claim is not None
    asked = here.study.ask(claim)
    claim = dataclasses.replace(claim, trial_id=asked.trial_id)
    return TrialRunner(here, claim, asked, check=lambda: None)


def begun(here: WorkerContext, *, until: int) -> TrialRunner:
    """The next trial of the study, trained so far."""
    runner = next_of(here)
    assert not runner.advance(until)
    return runner


def with_early_evaluations(here: WorkerContext, n: int) -> WorkerContext:
    """The same worker of a study whose trials report n times in their first epoch."""
    objective = here.objective
    assert isinstance(objective, OpenNetwork)
    spec = dataclasses.replace(objective.spec, halvings=n)
    return dataclasses.replace(
        here,
        evaluations=EvaluationSchedule.of(spec),
        objective=OpenNetwork(
            spec, objective.task, objective.dataset, CPU, objective.environment, objective.precision
        ),
    )


def timeless(curve: list[Report]) -> list[Report]:
    return [dataclasses.replace(report, seconds=0.0) for report in curve]


def undisturbed(here: WorkerContext) -> list[Report]:
    """The curve of the first trial of a study that nothing happened to."""
    work(here, stop=lambda: False)
    [trial] = [trial for trial in here.study.trials() if trial.number == 0]
    return here.storage.store.curve(trial.trial_id, ACCURACY)


def continues(here: WorkerContext, *, expected: list[Report], batches: int) -> None:
    """Ends the study and holds the repetition of trial 0 against the curve; checks its number of batches."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return False

    work(here, stop=stop)
    trials = here.study.trials()
    again = next(trial for trial in trials if trial.retry_of == 0)
    assert again.state is State.COMPLETE
    assert again.parameters == trials[0].parameters
    curve = here.storage.store.curve(again.trial_id, ACCURACY)
    assert timeless(curve) == timeless(expected)
    assert again.score == max(report.score for report in expected)
    other, between = 15, 6  # the other reference, and questions between batches
    assert asked <= other + batches + between
    left = sorted(path.name.rpartition("-")[0] for path in here.artifacts.folder.iterdir())
    assert left == ["trial-00001", f"trial-{again.number:05d}"], "one of each, no checkpoints, no scraps"


def test_a_signal_costs_no_batch(contexts: Callable[[str], WorkerContext], whole: Whole) -> None:
    asked = iter(range(10_000))
    here = contexts("stopped")
    work(here, stop=lambda: next(asked) > 12)
    (here.artifacts.folder / ".trial-00000.at-1.safetensors.0f.tmp").write_bytes(b"of a killed writer")
    [first, *_] = here.study.trials()
    assert first.failure is Failure.INTERRUPTED
    assert first.step == FIRST
    continues(contexts("stopped"), expected=whole.curve, batches=15 - 11)


def test_nor_does_a_second_one_before_the_next_report(
    contexts: Callable[[str], WorkerContext], whole: Whole
) -> None:
    """Else a worker that is stopped repeatedly before its first report would make no progress."""
    positions = []
    for questions in (12, 19):  # the second one finds the other reference in its way
        here, asked = contexts("stopped"), iter(range(10_000))
        work(here, stop=lambda asked=asked, last=questions: next(asked) > last)  # type: ignore[misc]
        newest = max(here.artifacts.folder.glob("*.at-*"))
        positions.append(int(load_checkpoint(newest).tensors["training.position"][0]))
    assert FIRST < positions[0] < positions[1] < LAST
    here = contexts("stopped")
    assert work(here, stop=lambda: False) == 1
    [again] = [trial for trial in here.study.trials() if trial.retry_of and trial.state is State.COMPLETE]
    curve = here.storage.store.curve(again.trial_id, ACCURACY)
    assert timeless(curve) == timeless(whole.curve)


def test_a_resume_checkpoint_is_of_the_kind_of_device_that_wrote_it(
    contexts: Callable[[str], WorkerContext],
) -> None:
    """A GPU's generator cannot continue on a CPU: torch refuses its state, and a trial must not fail by that,
    but begin from the start."""
    here = contexts("stopped")
    runner = begun(here, until=FIRST)
    runner.write_checkpoint()
    objective = copy.copy(here.objective)
    objective.device = "cuda"
    on_gpu = dataclasses.replace(here, objective=objective)
    curve = here.storage.store.curve(runner.active.trial_id, ACCURACY)
    for context, found in ((here, True), (on_gpu, False)):
        other = TrialRunner(context, runner.claim, runner.active, check=lambda: None)
        assert other.rejoin(curve) is found


def test_a_crash_costs_what_came_after_the_last_report(
    contexts: Callable[[str], WorkerContext], monkeypatch: pytest.MonkeyPatch, whole: Whole
) -> None:
    monkeypatch.setattr(trial_runner, "CHECKPOINT_EVERY_S", -1.0)
    here = contexts("crashed")
    add_report = here.storage.store.add_report

    def dies_at_the_second(trial_id: int, report: Report, *, within: Transaction) -> None:
        if report.step > FIRST:
            raise TryAgain("The storage does not answer.")
        add_report(trial_id, report, within=within)

    with monkeypatch.context() as patch:
        patch.setattr(here.storage.store, "add_report", dies_at_the_second)
        with pytest.raises(TryAgain):
            work(here, stop=lambda: False)
    Reaper(here.study, here.storage.store, "me").look(dead={here.worker.worker_id})
    continues(contexts("crashed"), expected=whole.curve, batches=15 - 9)


@pytest.mark.parametrize("damage", ["cut short", "one bit", "other training"])
def test_an_invalid_resume_checkpoint_is_not_used(
    contexts: Callable[[str], WorkerContext], damage: str, whole: Whole
) -> None:
    asked = iter(range(10_000))
    here = contexts("stopped")
    work(here, stop=lambda: next(asked) > 12)
    saved = list(here.artifacts.folder.glob("*.at-*"))
    assert saved
    for path in saved:
        content = bytearray(path.read_bytes())
        if damage == "cut short":
            del content[-1000:]
        elif damage == "one bit":
            content[len(content) // 2] ^= 1
        path.write_bytes(content)
        if damage == "other training":
            path.rename(path.with_name(path.name.replace("trial-00000", "trial-00001")))
    continues(contexts("stopped"), expected=whole.curve, batches=15)


def test_the_last_two_are_kept_and_the_older_stands_in(tmp_path: Path) -> None:
    checkpoints, best = ResumeCheckpoints(tmp_path, 7, OBJECTIVE), Weights.of(NETWORK)
    for step in (100, 200, 300):
        save = ResumeCheckpoint(
            trial_id=7, step=step, state=(NETWORK, {"x": torch.tensor(step)}), best_step=100, best=best
        )
        checkpoints.write(save, "mine")
    assert len(list(tmp_path.iterdir())) == KEEP
    assert checkpoints.newest("another") is None
    found = checkpoints.newest("mine")
    assert found is not None
    assert (found.step, found.state["x"].item()) == (300, 300)
    newest = max(tmp_path.iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    found = checkpoints.newest("mine")
    assert found is not None
    assert (found.step, found.state["x"].item(), found.best_step) == (200, 200, 100)
    assert isinstance(found.best, Weights)
    name = "network.first.weight"
    assert torch.equal(found.best.tensors[name], best.tensors[name])
    checkpoints.discard()
    assert list(tmp_path.iterdir()) == []


DAMAGE = st.fixed_dictionaries(
    {
        "keep": st.floats(0, 1),
        "flips": st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), max_size=3),
    }
)
"""Damage to a file: it is cut short anywhere, or bits of it flip, or both."""


def harm(path: Path, keep: float, flips: list[tuple[float, int]]) -> bool:
    """Whether the file is another one now."""
    sound = path.read_bytes()
    content = bytearray(sound[: round(keep * len(sound))])
    for where, bit in flips if content else []:
        content[int(where * len(content))] ^= 1 << bit
    path.write_bytes(content)
    return bytes(content) != sound


@settings(max_examples=100, deadline=None)
@given(newest=DAMAGE, older=st.none() | DAMAGE, scrap=st.binary(max_size=200))
@example(newest={"keep": 1.0, "flips": [(0.0, 0)]}, older=None, scrap=b"")  # the length of the header
@example(newest={"keep": 1.0, "flips": [(0.01, 3)]}, older=None, scrap=b"")  # the header
@example(newest={"keep": 1.0, "flips": [(0.999999, 7)]}, older=None, scrap=b"")  # the last byte
@example(newest={"keep": 0.0, "flips": []}, older={"keep": 0.5, "flips": []}, scrap=b"")
def test_whatever_happens_to_the_files_a_checkpoint_is_whole_or_not_used(
    newest: dict[str, Any], older: dict[str, Any] | None, scrap: bytes
) -> None:
    with tempfile.TemporaryDirectory() as name:
        checkpoints, best = ResumeCheckpoints(Path(name), 7, OBJECTIVE), Weights.of(NETWORK)
        for step in (100, 200):
            state = (NETWORK, {"x": torch.arange(step)})
            save = ResumeCheckpoint(trial_id=7, step=step, state=state, best_step=100, best=best)
            checkpoints.write(save, "mine")
        first, second = sorted(Path(name).iterdir())
        (Path(name) / f".{second.name}.0f.tmp").write_bytes(scrap)  # of a writer that was killed
        sound = {100: True, 200: not harm(second, **newest)}
        if older is not None:
            sound[100] = not harm(first, **older)
        found = checkpoints.newest("mine")
        expected = next((step for step in (200, 100) if sound[step]), None)
        assert (found and found.step) == expected
        if found is not None:
            assert torch.equal(found.state["x"], torch.arange(found.step))
            assert isinstance(found.best, Weights)
            read = found.best.tensors
            assert all(torch.equal(read[n], tensor) for n, tensor in best.tensors.items())


def test_a_trial_interrupted_at_a_rung_is_decided_there_before_it_continues(
    contexts: Callable[[str], WorkerContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had not been promoted, and a stop does not promote it."""
    request = dataclasses.replace(REQUEST, epochs=0.5, trials=9, pruner="asha")
    monkeypatch.setitem(globals(), "REQUEST", request)
    here = contexts("waiting")
    first = here.pruning.rungs[0]
    runner, _ = begun(here, until=first), begun(here, until=first)  # the other one is somebody else's
    runner.write_checkpoint()
    here.study.fail(runner.active.trial_id, Failure.INTERRUPTED, "stopped")
    here.storage.store.release(runner.claim)
    again = contexts("waiting")
    taken: list[TrialRunner] = []

    def note(self: TrialRunner, until: int) -> bool:
        taken.append(self)
        raise Stopping

    monkeypatch.setattr(TrialRunner, "advance", note)
    work(again, stop=lambda: False)
    assert [each.active.retry_of for each in taken] == [None], "another trial begins"
    [waited] = [trial for trial in again.study.trials() if trial.retry_of == 0]
    assert waited.step == first, "it knows how far it had come"


def test_a_trial_that_ends_where_it_was_interrupted_keeps_its_weights(
    contexts: Callable[[str], WorkerContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repetition that is not promoted is never trained; what the failed trial had kept is gone."""
    request = dataclasses.replace(REQUEST, epochs=0.5, trials=9, pruner="asha")
    monkeypatch.setitem(globals(), "REQUEST", request)
    here = contexts("ended")
    first = here.pruning.rungs[0]
    runner, _ = begun(here, until=first), begun(here, until=first)  # the other one is queued before
    runner.write_checkpoint()
    assert isinstance(runner._product, Weights)
    weights, answers = runner._product.tensors, runner._product.answers
    assert answers is not None
    here.study.fail(runner.active.trial_id, Failure.INTERRUPTED, "stopped")
    here.storage.store.release(runner.claim)
    here.artifacts.discard(runner.active.number)
    again = next_of(contexts("ended"))
    assert again.active.retry_of == runner.active.number
    again.recover()
    again.prune()
    [kept] = [each for each in here.storage.store.checkpoints(1) if each.trial_id == again.active.trial_id]
    tensors = load_checkpoint(here.artifacts.path(kept), expected_sha256=kept.sha256).tensors
    assert tensors.keys() == weights.keys()
    assert all(torch.equal(tensors[name], weights[name]) for name in weights)
    found = here.storage.store.answers([again.active.trial_id], answers.split)
    assert found == {again.active.trial_id: answers}, "a confirmation compares runs by them"


@pytest.mark.parametrize(
    "answers",
    [None, Answers(split="validation", examples=11, heads={"a": b"\xa5\x40"})],
    ids=["of a previous version of tune", "with the right and wrong answers"],
)
def test_a_resume_checkpoint_is_read_as_it_was_written(tmp_path: Path, answers: Answers | None) -> None:
    weights = Weights.of(NETWORK, answers)
    state = {"average": torch.arange(3)}
    checkpoint = ResumeCheckpoint(trial_id=1, step=1, best_step=1, best=weights, state=(NETWORK, state))
    OBJECTIVE.write(tmp_path / "checkpoint", checkpoint, {})
    found, best, _ = OBJECTIVE.read(tmp_path / "checkpoint")
    assert found.keys() == state.keys()
    assert torch.equal(found["average"], state["average"])
    assert best.tensors.keys() == weights.tensors.keys()
    assert best.answers == answers


def test_a_slot_that_is_given_back_at_the_last_moment_is_no_end(
    contexts: Callable[[str], WorkerContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last trial is cut short in another worker's hands just when this one finds nothing to do: it takes
    the repetition up, and does not throw away what was saved of it."""
    here = contexts("last")
    other = begun(here, until=FIRST)
    open_claims = here.storage.store.open_claims

    def given_back(study_id: int) -> list[Claim]:
        still = open_claims(study_id)
        if [each.token for each in still] == [other.claim.token] and len(
            here.storage.store.claims(study_id)
        ) == 2:
            other.write_checkpoint()
            here.study.fail(other.active.trial_id, Failure.INTERRUPTED, "stopped")
            here.storage.store.release(other.claim)
        return open_claims(study_id)

    monkeypatch.setattr(here.storage.store, "open_claims", given_back)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return False

    assert work(here, stop=stop) == 2
    again = next(trial for trial in here.study.trials() if trial.retry_of == 0)
    assert again.state is State.COMPLETE
    assert asked <= 15 + (15 - 9) + 6, "it continued from the checkpoint"


def test_a_parked_trial_continues_from_a_later_checkpoint_with_the_curve_up_to_there(
    contexts: Callable[[str], WorkerContext],
) -> None:
    """The first worker, taken for gone, writes a checkpoint after its successor parked the trial."""
    here = contexts("parked")
    here = with_early_evaluations(here, 5)
    evaluations = here.evaluations
    assert evaluations.rungs[0] < FIRST
    first = begun(here, until=FIRST)
    here.study.fail(first.active.trial_id, Failure.WORKER_DIED, "taken for gone")
    here.storage.store.release(first.claim)
    _other, second = begun(here, until=evaluations.rungs[0]), begun(here, until=evaluations.rungs[0])
    assert (second.active.retry_of, second.step) == (first.active.number, evaluations.rungs[0])
    second.park()
    first.write_checkpoint()
    assert second.advance(LAST)
    curve = here.storage.store.curve(second.active.trial_id, ACCURACY)
    assert [report.step for report in curve] == list(evaluations.rungs)
    expected = undisturbed(with_early_evaluations(contexts("whole"), 5))
    assert timeless(curve) == timeless(expected)


def test_better_weights_outlive_the_row_that_a_peer_drops_meanwhile(
    contexts: Callable[[str], WorkerContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait in place for the database, while another worker finds their trial's old row eleventh."""
    here, peer = contexts("shared"), contexts("shared")
    runner = begun(here, until=FIRST)
    [before] = here.storage.store.checkpoints(1)
    add = here.storage.store.add_checkpoint

    def held_up(study_id: int, record: CheckpointRecord, **rest: Any) -> None:
        between = (before.score + record.score) / 2
        for trial_id in range(1000, 1000 + KEPT):
            add(study_id, dataclasses.replace(before, trial_id=trial_id, path=str(trial_id), score=between))
        peer.weights.keep_best()
        add(study_id, record, **rest)

    monkeypatch.setattr(here.storage.store, "add_checkpoint", held_up)
    assert runner.advance(LAST)
    best = here.storage.store.checkpoints(1)[0]
    assert (best.trial_id, best.step) == (runner.active.trial_id, LAST)
    load_checkpoint(here.artifacts.path(best), expected_sha256=best.sha256)
    assert list(here.artifacts.folder.iterdir()) == [here.artifacts.path(best)]


def test_what_an_earlier_tune_kept_of_a_trial_gives_way(contexts: Callable[[str], WorkerContext]) -> None:
    """Its files have another name, which the database knows."""
    here = contexts("upgraded")
    runner = begun(here, until=FIRST)
    [kept] = here.storage.store.checkpoints(1)
    old = here.artifacts.folder / "trial-00000.safetensors"
    here.artifacts.path(kept).rename(old)
    path = str(old.relative_to(here.artifacts.root))
    here.storage.store.add_checkpoint(1, dataclasses.replace(kept, path=path))
    assert runner.advance(LAST)
    [kept] = here.storage.store.checkpoints(1)
    load_checkpoint(here.artifacts.path(kept), expected_sha256=kept.sha256)
    assert list(here.artifacts.folder.iterdir()) == [here.artifacts.path(kept)]


class TestParked:
    """A trial that waits for its turn lies on disk."""

    @pytest.fixture
    def runner(self, contexts: Callable[[str], WorkerContext]) -> TrialRunner:
        """Just trained to its first rung."""
        return begun(contexts("parked"), until=FIRST)

    def test_a_parked_trial_continues_as_if_it_had_not_waited(
        self, runner: TrialRunner, contexts: Callable[[str], WorkerContext], whole: Whole
    ) -> None:
        assert isinstance(runner._work, NetworkWork)
        trained = weakref.ref(runner._work._learning.network)
        runner.park()
        gc.collect()
        assert trained() is None, "it takes no memory"
        assert runner.advance(LAST)
        curve = contexts("parked").storage.store.curve(runner.active.trial_id, ACCURACY)
        assert timeless(curve) == timeless(whole.curve)

    def test_its_weights_are_those_of_its_best_moment(
        self, runner: TrialRunner, contexts: Callable[[str], WorkerContext], whole: Whole
    ) -> None:
        """Also where that lies before the pause, and was not worth keeping then."""
        runner.park()
        runner.advance(LAST)
        [kept] = contexts("parked").storage.store.checkpoints(1)
        assert (kept.step, kept.score) == (whole.kept.step, whole.kept.score)

    def test_a_damaged_resume_checkpoint_costs_no_more_than_time(
        self, runner: TrialRunner, contexts: Callable[[str], WorkerContext], whole: Whole
    ) -> None:
        here = contexts("parked")
        runner.park()
        [newest] = here.artifacts.folder.glob("*.at-*")
        newest.write_bytes(newest.read_bytes()[:-1000])
        assert runner.advance(LAST)
        curve = here.storage.store.curve(runner.active.trial_id, ACCURACY)
        assert timeless(curve) == timeless(whole.curve)
        [trial, *_] = here.study.trials()
        assert trial.score == max(report.score for report in curve)
