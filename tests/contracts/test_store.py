"""Every store keeps the promises of search/store/base.py. One suite, all databases."""

from __future__ import annotations

import datetime
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from memory_store import MemoryStore
from specs import network_spec
from sqlalchemy import event, func, select, update

from search.errors import TryAgain
from search.heads import head_report, validation_of
from search.optuna_db.creation import create_tables
from search.records import (
    ACCURACY,
    Answers,
    CheckedCurve,
    CheckpointRecord,
    Claim,
    CurveCheck,
    Direction,
    ExportRecord,
    HeadScore,
    Metric,
    NetworkSpec,
    Report,
    Scores,
    TestAttempt,
    TestEvaluation,
    Worker,
)
from search.store import sql_weights, tables
from search.store.base import LeaseLost, Store
from search.store.engine import parse_url
from search.store.sql import SQLStore

SPEC = network_spec(
    space={"model": ["mlp", "conv"], "lr": {"low": 1e-4, "high": 0.1, "log": True}, "shift": 0},
    epochs=0.5,
    seed=7,
    pruner="asha",
    references=("course-mlp",),
    checksums={"t10k-labels-idx1-ubyte": "ab" * 32},
    halvings=2,
    norm_images=256,
)
STUDY = 3


@pytest.fixture(params=["memory", "sqlite", "postgresql", "mysql"])
def store(request: pytest.FixtureRequest, shared_database: Callable[[str], str]) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    on_server = request.param != "sqlite"
    url = shared_database(request.param) if on_server else request.getfixturevalue("sqlite_url")
    opened = SQLStore(parse_url(url))
    create_tables(opened.database.engine)
    yield opened
    if on_server:
        with opened.database.write() as connection:
            for table in reversed(tables.metadata.sorted_tables):
                if table is not tables.schema:
                    connection.execute(table.delete())
    opened.close()


@pytest.fixture
def study(store: Store) -> Store:
    """The store with one study that wants three trials."""
    store.add_study(STUDY, SPEC, 3)
    return store


def report(step: int, accuracy: float = 0.5) -> Report:
    scores = Scores(
        heads={
            "second_digit": HeadScore(loss=1.25, accuracy=accuracy),
            "first_digit": HeadScore(loss=0.1 + 1e-17, accuracy=accuracy / 3),
        },
        joint=accuracy / 7,
    )
    return head_report(step=step, seconds=1.5, learning_rate=1e-3, train=scores, validation=scores)


def checkpoint(trial_id: int, score: float) -> CheckpointRecord:
    return CheckpointRecord(
        trial_id=trial_id, path=f"a/{trial_id}", sha256="0" * 64, score=score, step=9, bytes=2**33
    )


class TestStudies:
    def test_comes_back_as_it_was(self, study: Store) -> None:
        record = study.study(STUDY)
        assert record is not None
        assert (record.spec, record.target_trials, record.study_id) == (SPEC, 3, STUDY)
        assert abs(time.time() - record.created.timestamp()) < 60, "created is now, in UTC"

    def test_the_first_writer_wins(self, study: Store) -> None:
        study.add_study(STUDY, replace(SPEC, seed=8), 99)
        record = study.study(STUDY)
        assert record is not None
        assert (record.spec.seed, record.target_trials) == (7, 3)

    def test_lists_all_and_knows_no_others(self, study: Store) -> None:
        study.add_study(1, SPEC, 5)
        assert [record.study_id for record in study.studies()] == [1, STUDY]
        assert study.study(2) is None

    def test_a_new_target_changes_nothing_else(self, study: Store) -> None:
        study.set_target(STUDY, 11)
        record = study.study(STUDY)
        assert record is not None
        assert (record.target_trials, record.spec) == (11, SPEC)

    def test_a_study_says_what_it_confirms(self, study: Store) -> None:
        study.add_study(STUDY + 1, replace(SPEC, confirms="twodigit"), 3)
        [search, confirmation] = study.studies()
        assert (search.spec.confirms, confirmation.spec.confirms) == (None, "twodigit")


class TestClaims:
    def test_slots_are_given_in_order_and_end_at_the_target(self, study: Store) -> None:
        claims = [study.claim(STUDY, "w", lease_s=60) for _ in range(5)]
        assert [claim.slot if claim else None for claim in claims] == [0, 1, 2, None, None]

    def test_an_unknown_study_has_no_slots(self, study: Store) -> None:
        assert study.claim(99, "w", lease_s=60) is None

    def test_a_released_slot_is_the_next_one_given(self, study: Store) -> None:
        claims = [study.claim(STUDY, "w", lease_s=60) for _ in range(3)]
        assert claims[1] is not None
        study.release(claims[1])
        again = study.claim(STUDY, "w", lease_s=60)
        assert again is not None
        assert again.slot == 1
        assert study.claim(STUDY, "w", lease_s=60) is None

    def test_a_settled_slot_is_never_given_again(self, study: Store) -> None:
        claim = study.claim(STUDY, "w", lease_s=-1)
        assert claim is not None
        study.settle(claim)
        assert study.take_over(claim, "thief", lease_s=60) is None, "done is done, even after the lease"
        assert [c.done for c in study.claims(STUDY)] == [True]
        following = study.claim(STUDY, "w", lease_s=60)
        assert following is not None
        assert following.slot == 1

    def test_a_raised_target_opens_slots(self, study: Store) -> None:
        for _ in range(3):
            study.claim(STUDY, "w", lease_s=60)
        study.set_target(STUDY, 4)
        claim = study.claim(STUDY, "w", lease_s=60)
        assert claim is not None
        assert claim.slot == 3

    def test_a_lowered_target_counts_the_slots_above_it(self, study: Store) -> None:
        study.set_target(STUDY, 6)
        claims = [study.claim(STUDY, "w", lease_s=60) for _ in range(6)]
        for claim in claims[3:]:
            assert claim is not None
            study.settle(claim)
        for claim in claims[:3]:
            assert claim is not None
            study.release(claim)
        study.set_target(STUDY, 4)
        assert study.claim(STUDY, "w", lease_s=60) is not None, "three of four are there"
        assert study.claim(STUDY, "w", lease_s=60) is None

    def test_many_at_once_get_each_slot_once(self, study: Store) -> None:
        study.set_target(STUDY, 20)
        start = threading.Barrier(6)

        def claim_all(worker: str) -> list[int]:
            start.wait()
            slots = []
            while (claim := study.claim(STUDY, worker, lease_s=60)) is not None:
                slots.append(claim.slot)
            return slots

        with ThreadPoolExecutor(6) as pool:
            taken = [slot for slots in pool.map(claim_all, map(str, range(6))) for slot in slots]
        assert sorted(taken) == list(range(20))

    def test_attach_notes_the_trial(self, study: Store) -> None:
        claim = study.claim(STUDY, "w", lease_s=60)
        assert claim is not None
        assert study.attach(claim, 41).trial_id == 41
        assert [c.trial_id for c in study.claims(STUDY)] == [41]

    def test_open_claims_and_the_claim_of_a_trial(self, study: Store) -> None:
        claims = [study.claim(STUDY, f"w{i}", lease_s=60) for i in range(3)]
        for i, claim in enumerate(claims):
            assert claim is not None
            study.attach(claim, 40 + i)
        assert claims[1] is not None
        study.settle(claims[1])
        assert [claim.slot for claim in study.open_claims(STUDY)] == [0, 2]
        found = study.claim_of(STUDY, 41)
        assert found is not None
        assert (found.worker_id, found.done) == ("w1", True)
        assert study.claim_of(STUDY, 99) is None
        assert study.claim_of(STUDY + 1, 41) is None
        assert study.open_claims(STUDY + 1) == []

    def test_a_claim_that_was_renewed_after_it_was_read_cannot_be_taken_over(self, study: Store) -> None:
        claim = study.claim(STUDY, "w", lease_s=60)
        assert claim is not None
        study.renew(claim, lease_s=60)
        assert study.take_over(claim, "thief", lease_s=60) is None
        study.settle(claim)

    def test_a_claim_that_was_not_renewed_can_be_taken_over(self, study: Store) -> None:
        claim = study.claim(STUDY, "w", lease_s=60)
        assert claim is not None
        [seen] = study.open_claims(STUDY)
        assert study.take_over(seen, "thief", lease_s=60) is not None
        with pytest.raises(LeaseLost):
            study.settle(claim)

    def test_what_is_written_under_a_claim_needs_its_holder(self, study: Store) -> None:
        claim = study.claim(STUDY, "w", lease_s=60)
        assert claim is not None
        study.require_held(claim)
        taken = study.take_over(claim, "thief", lease_s=60)
        assert taken is not None
        with pytest.raises(LeaseLost):
            study.require_held(claim)
        study.require_held(taken)
        study.settle(taken)
        with pytest.raises(LeaseLost):
            study.require_held(taken)

    def test_a_worker_of_a_deleted_study_gets_no_slot_of_its_successor(self, study: Store) -> None:
        record = study.study(STUDY)
        assert record is not None
        assert study.claim(STUDY, "w", lease_s=60, created=record.created) is not None
        earlier = record.created - datetime.timedelta(milliseconds=2)
        assert study.claim(STUDY, "w", lease_s=60, created=earlier) is None

    def test_a_claim_passes_to_one_taker(self, study: Store) -> None:
        claim = study.claim(STUDY, "w", lease_s=-1)
        assert claim is not None
        first = study.take_over(claim, "a", lease_s=60)
        second = study.take_over(claim, "b", lease_s=60)
        assert first is not None
        assert second is None
        assert (first.slot, first.worker_id) == (0, "a")

    def test_renewal_keeps_the_lease(self, study: Store) -> None:
        claim = study.claim(STUDY, "w", lease_s=-1)
        assert claim is not None
        study.renew(claim, lease_s=60)
        assert study.take_over(claim, "thief", lease_s=60) is None

    @pytest.mark.parametrize(
        "late", ["attach", "renew", "offer", "withdraw", "settle", "release", "add_checkpoint"]
    )
    def test_the_former_holder_is_refused(self, study: Store, late: str) -> None:
        claim = study.claim(STUDY, "w", lease_s=-1)
        assert claim is not None
        taken = study.take_over(claim, "new", lease_s=60)
        calls = {
            "attach": lambda: study.attach(claim, 1),
            "renew": lambda: study.renew(claim, lease_s=60),
            "offer": lambda: study.offer(claim),
            "withdraw": lambda: study.withdraw(claim),
            "settle": lambda: study.settle(claim),
            "release": lambda: study.release(claim),
            "add_checkpoint": lambda: study.add_checkpoint(STUDY, checkpoint(1, 0.9), claim=claim),
        }
        with pytest.raises(LeaseLost):
            calls[late]()
        assert study.claims(STUDY) == [taken], "the late call changed nothing"
        assert study.offers(STUDY) == []
        assert study.checkpoints(STUDY) == []


class TestOffers:
    def offered(self, study: Store) -> Claim:
        """The claim of trial 41, on offer."""
        claim = study.claim(STUDY, "w", lease_s=60)
        assert claim is not None
        claim = study.attach(claim, 41)
        study.offer(claim)
        return claim

    def test_what_is_on_offer_is_accepted_once(self, study: Store) -> None:
        claim = self.offered(study)
        study.offer(claim)
        [seen] = study.offers(STUDY)
        assert seen == claim
        taken = study.accept(seen, "new", lease_s=60)
        assert taken is not None
        assert (taken.claim_id, taken.slot, taken.trial_id) == (claim.claim_id, claim.slot, 41)
        assert taken.worker_id == "new"
        assert study.accept(seen, "late", lease_s=60) is None
        assert (study.offers(STUDY), study.claims(STUDY)) == ([], [taken])
        with pytest.raises(LeaseLost):
            study.withdraw(claim)
        study.settle(taken)

    def test_an_offer_is_renewed_like_any_claim(self, study: Store) -> None:
        claim = self.offered(study)
        [seen] = study.offers(STUDY)
        study.renew(claim, lease_s=60)
        assert study.accept(seen, "new", lease_s=60) is not None

    def test_a_withdrawn_offer_cannot_be_accepted(self, study: Store) -> None:
        claim = self.offered(study)
        [seen] = study.offers(STUDY)
        study.withdraw(claim)
        study.withdraw(claim)
        assert study.offers(STUDY) == []
        assert study.accept(seen, "new", lease_s=60) is None
        assert study.claims(STUDY) == [claim]

    def test_a_claim_that_was_never_offered_cannot_be_accepted(self, study: Store) -> None:
        claim = study.claim(STUDY, "w", lease_s=60)
        assert claim is not None
        assert study.accept(claim, "new", lease_s=60) is None
        assert study.claims(STUDY) == [claim]

    def test_the_offer_of_a_holder_that_is_gone_ends_with_it(self, study: Store) -> None:
        claim = self.offered(study)
        taken = study.take_over(claim, "reaper", lease_s=60)
        assert study.offers(STUDY) == []
        assert study.accept(claim, "new", lease_s=60) is None
        assert study.claims(STUDY) == [taken]

    def test_a_trial_that_ended_is_on_offer_no_more(self, study: Store) -> None:
        claim = self.offered(study)
        study.settle(claim)
        assert study.offers(STUDY) == []
        assert study.accept(claim, "new", lease_s=60) is None

    def test_offers_are_those_of_one_study_by_slot(self, study: Store) -> None:
        study.add_study(STUDY + 1, SPEC, 3)
        first, second = self.offered(study), self.offered(study)
        other = study.claim(STUDY + 1, "w", lease_s=60)
        assert other is not None
        study.offer(other)
        assert study.offers(STUDY) == [first, second]

    def test_many_who_accept_at_once_get_each_trial_once(self, study: Store) -> None:
        offered = [self.offered(study) for _ in range(3)]
        together = threading.Barrier(6)

        def accept_all(worker: str) -> list[Claim | None]:
            together.wait()
            return [study.accept(claim, worker, lease_s=60) for claim in offered]

        with ThreadPoolExecutor(6) as pool:
            given = [
                claim for claims in pool.map(accept_all, map(str, range(6))) for claim in claims if claim
            ]
        assert sorted(claim.slot for claim in given) == [0, 1, 2]
        assert sorted(study.claims(STUDY), key=lambda claim: claim.slot) == sorted(
            given, key=lambda claim: claim.slot
        )


class TestCurves:
    def test_comes_back_bit_for_bit_and_in_order(self, store: Store) -> None:
        reports = [report(2_250, 0.1 + 0.2), report(4_500, 1 / 3), report(2**40, 1.0)]
        for each in (reports[1], reports[2], reports[0]):
            store.add_report(5, each)
        assert store.curve(5, ACCURACY) == reports
        assert list(validation_of(store.curve(5, ACCURACY)[0]).heads) == ["second_digit", "first_digit"]

    def test_the_same_step_again_is_ignored(self, store: Store) -> None:
        store.add_report(5, report(10, 0.5))
        store.add_report(5, report(10, 0.9))
        assert store.curve(5, ACCURACY) == [report(10, 0.5)]

    def test_many_curves_at_once(self, store: Store) -> None:
        for trial in (1, 2):
            store.add_report(trial, report(10 * trial))
        curves = store.curves([*range(1, 1200)], ACCURACY)  # more than one query's worth of variables
        assert curves == {1: [report(10)], 2: [report(20)]}
        assert store.curve(3, ACCURACY) == []

    def test_how_long_each_trial_has_trained(self, store: Store) -> None:
        for trial, step in ((1, 10), (1, 30), (3, 20), (4, 10)):
            store.add_report(trial, report(step))
        assert store.training_seconds([1, 2, 4]) == {1: report(30).seconds, 4: report(10).seconds}
        assert store.training_seconds([]) == {}

    def test_checked_curves_are_the_curves(self, store: Store) -> None:
        for trial, step in ((1, 30), (1, 10), (3, 20), (4, 10)):
            store.add_report(trial, report(step, step / 100))
        found = store.checked_curves([1, 2, 4], ACCURACY)
        assert set(found) == {1, 4}, "nobody else's, and none without reports"
        for trial, curve in found.items():
            reports = curve.reports
            assert curve.check == store.check_curves([trial], ACCURACY)[trial]
            assert curve.check.reports == len(reports)
            assert reports == tuple(store.curve(trial, ACCURACY))
            for each in reports:
                scores = validation_of(each)
                assert each.parts == {name: head.accuracy for name, head in scores.heads.items()}
                assert (
                    each.score
                    == scores.accuracy
                    == validation_of(report(each.step, each.step / 100)).accuracy
                )
            assert list(reports[0].parts) == ["second_digit", "first_digit"], "in the order of the task"
        assert store.checked_curves([], ACCURACY) == {}

    def test_of_another_objective_they_have_its_metric(self, store: Store) -> None:
        """Less is better, and what the score is not made of need not be a number."""
        energy = Metric(name="energy", direction=Direction.MINIMIZE)
        metrics = {"energy": -1 / 3, "height": math.inf, "width": 1e-300}
        for step in (1, 2):
            store.add_report(6, Report(step=step, seconds=0.5, metrics=metrics, metric=energy))
        store.add_report(7, Report(step=1, seconds=0.5, metrics={"energy": math.nan}, metric=energy))
        kept = [
            Report(step=step, seconds=0.5, metrics={"energy": -1 / 3, "width": 1e-300}, metric=energy)
            for step in (1, 2)
        ]
        assert [each.score for each in kept] == [1 / 3, 1 / 3]
        assert store.curve(6, energy) == kept
        assert store.curves([6, 7], energy) == {6: kept}
        assert store.checked_curves([6, 7], energy) == {
            6: CheckedCurve(reports=tuple(kept), check=CurveCheck(reports=2, unsound=0, names={"energy": 2})),
            7: CheckedCurve(reports=(), check=CurveCheck(reports=1, unsound=1, names={"energy": 1})),
        }


class TestWorkersAndCheckpoints:
    def test_a_worker_comes_back(self, study: Store) -> None:
        worker = Worker(
            worker_id="h:1:x", host="h", pid=1, device="cpu", threads=1, environment={"torch": "2.13", "n": 2}
        )
        noted = replace(worker, worker_id="h:2:x", artifacts="/srv/ü #%.artifacts")
        study.add_worker(STUDY, worker)
        study.add_worker(STUDY, noted)
        assert study.workers(STUDY) == {"h:1:x": worker, "h:2:x": noted}
        assert dict(study.workers(STUDY)["h:2:x"].environment) == {"torch": "2.13", "n": 2}, "not a version"
        assert study.workers(STUDY + 1) == {}

    def test_only_the_best_are_kept(self, study: Store) -> None:
        for trial, score in enumerate([0.5, 0.9, 0.7, 0.9, 0.1]):
            study.add_checkpoint(STUDY, checkpoint(trial, score))
        study.add_checkpoint(STUDY + 1, checkpoint(77, 0.0))
        dropped = study.drop_checkpoints(STUDY, keep=3)
        assert sorted(each.trial_id for each in dropped) == [0, 4]
        assert [each.trial_id for each in study.checkpoints(STUDY)] == [1, 3, 2]
        assert study.checkpoints(STUDY + 1) == [checkpoint(77, 0.0)], "another study's are left alone"

    def test_a_lost_trial_keeps_no_place_among_the_best(self, study: Store) -> None:
        claim = study.claim(STUDY, "w", lease_s=60)
        assert claim is not None
        claim = study.attach(claim, 1)
        study.add_checkpoint(STUDY, checkpoint(1, 0.9), claim=claim)
        study.add_checkpoint(STUDY, checkpoint(2, 0.5))
        study.release(claim)
        assert study.checkpoints(STUDY) == [checkpoint(2, 0.5)]

    def test_a_better_checkpoint_replaces_the_old_one(self, study: Store) -> None:
        study.add_checkpoint(STUDY, checkpoint(1, 0.5))
        study.add_checkpoint(STUDY, checkpoint(1, 0.6))
        assert study.checkpoints(STUDY) == [checkpoint(1, 0.6)]

    @pytest.mark.parametrize("content", [None, b"weights"])
    def test_a_study_that_was_made_anew_gets_no_weights_of_the_one_before(
        self, study: Store, content: bytes | None
    ) -> None:
        record = study.study(STUDY)
        assert record is not None
        study.add_checkpoint(STUDY, checkpoint(1, 0.5), created=record.created, content=content)
        assert [each.trial_id for each in study.checkpoints(STUDY)] == [1]
        earlier = record.created - datetime.timedelta(microseconds=1)
        with pytest.raises(LeaseLost):
            study.add_checkpoint(STUDY, checkpoint(2, 0.9), created=earlier, content=content)
        with pytest.raises(LeaseLost):
            study.add_checkpoint(STUDY + 1, checkpoint(3, 0.9), created=record.created, content=content)
        assert [each.trial_id for each in study.checkpoints(STUDY)] == [1]
        assert study.weights_chunk(checkpoint(2, 0.9), 0) is None


class TestPrecisions:
    def test_nothing_is_decided_at_first(self, study: Store) -> None:
        assert study.precisions(STUDY, "cpu: A") == {}

    def test_the_first_decision_stands(self, study: Store) -> None:
        first, second = {"mlp": "float32", "conv": "bfloat16"}, {"mlp": "float32", "conv": "float32"}
        assert study.decide_precisions(STUDY, "cpu: A", first) == first
        assert study.decide_precisions(STUDY, "cpu: A", second) == first
        assert study.precisions(STUDY, "cpu: A") == first

    def test_a_family_that_is_new_is_added(self, study: Store) -> None:
        study.decide_precisions(STUDY, "cpu: A", {"conv": "bfloat16"})
        both = {"mlp": "float32", "conv": "bfloat16"}
        assert study.decide_precisions(STUDY, "cpu: A", {"mlp": "float32", "conv": "float32"}) == both
        assert study.precisions(STUDY, "cpu: A") == both

    def test_other_processors_and_studies_decide_for_themselves(self, study: Store) -> None:
        study.add_study(STUDY + 1, SPEC, 3)
        study.decide_precisions(STUDY, "cpu: A", {"conv": "bfloat16"})
        assert study.precisions(STUDY, "cpu: B") == study.precisions(STUDY + 1, "cpu: A") == {}
        assert study.decide_precisions(STUDY, "cpu: B", {"conv": "float32"}) == {"conv": "float32"}
        assert study.decide_precisions(STUDY + 1, "cpu: A", {"conv": "float32"}) == {"conv": "float32"}

    def test_all_who_decide_at_once_get_the_same_answer(self, study: Store) -> None:
        together = threading.Barrier(8)

        def decide(number: int) -> Mapping[str, str]:
            together.wait()
            return study.decide_precisions(STUDY, "cpu: A", {"mlp": str(number), "conv": str(number)})

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(decide, range(8)))
        assert answers == [study.precisions(STUDY, "cpu: A")] * 8

    def test_a_study_says_which_precision_it_fixes(self, study: Store) -> None:
        study.add_study(STUDY + 1, replace(SPEC, precision="bfloat16"), 3)
        assert [each.spec.precision for each in study.studies()] == ["auto", "bfloat16"]


def weights(seed: int, length: int = 1000) -> bytes:
    """Bytes of every value."""
    return bytes((seed + i * 7) % 256 for i in range(256)) * (length // 256) + bytes([seed]) * (length % 256)


def weighed(trial_id: int, content: bytes, score: float = 0.9) -> CheckpointRecord:
    """A checkpoint with these weights."""
    return replace(
        checkpoint(trial_id, score), sha256=sha256(content).hexdigest(), bytes=len(content), in_database=True
    )


def stored(store: Store, record: CheckpointRecord) -> bytes:
    """The weights as the store has them; b"" where it has none."""
    chunks = []
    while (chunk := store.weights_chunk(record, len(chunks))) is not None:
        chunks.append(chunk)
    return b"".join(chunks)


def rows_of_weights(store: Store) -> int:
    """Chunks of all weights in a database."""
    assert isinstance(store, SQLStore)
    with store.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(tables.weights)) or 0


class TestWeights:
    """Of the best checkpoints, in the database."""

    @pytest.mark.parametrize("length", [1, 2**20, 2**20 + 1, 5 * 2**19])
    def test_come_back_bit_for_bit(self, study: Store, length: int) -> None:
        content = weights(3, length)
        record = weighed(1, content)
        study.add_checkpoint(STUDY, record, content=content)
        assert study.checkpoints(STUDY) == [record]
        assert stored(study, record) == content
        assert stored(study, weighed(2, content)) == b"", "another trial's"

    def test_of_zeros_alone_pass_every_driver(self, study: Store) -> None:
        """Some escape them, which doubles their length."""
        content = bytes(3 * 2**20)
        study.add_checkpoint(STUDY, record := weighed(1, content), content=content)
        assert stored(study, record) == content

    def test_better_ones_replace_all_of_the_old_ones(self, study: Store) -> None:
        old, new = weights(1, 3 * 2**20), weights(2)
        study.add_checkpoint(STUDY, weighed(1, old, 0.5), content=old)
        study.add_checkpoint(STUDY, weighed(1, new, 0.6), content=new)
        assert study.checkpoints(STUDY) == [weighed(1, new, 0.6)]
        assert stored(study, weighed(1, old)) == b""
        assert stored(study, weighed(1, new)) == new

    def test_writing_the_same_weights_twice_repairs_damaged_ones(self, study: Store) -> None:
        """A write that is repeated because nobody knows whether it landed; weights that are restored."""
        content = weights(1, 2**20 + 5)
        for _ in range(2):
            study.add_checkpoint(STUDY, weighed(1, content), content=content)
        assert stored(study, weighed(1, content)) == content
        if isinstance(study, SQLStore):
            with study.database.write() as connection:
                connection.execute(update(tables.weights).values(content=b"damaged"))
            study.add_checkpoint(STUDY, weighed(1, content), content=content)
            assert stored(study, weighed(1, content)) == content
            assert rows_of_weights(study) == 2

    def test_a_file_replaces_what_is_in_the_database_and_the_other_way_round(self, study: Store) -> None:
        content = weights(1)
        in_file = replace(weighed(1, content), in_database=False)
        study.add_checkpoint(STUDY, weighed(1, content), content=content)
        study.add_checkpoint(STUDY, in_file)
        assert study.checkpoints(STUDY) == [in_file]
        assert stored(study, in_file) == b""
        study.add_checkpoint(STUDY, in_file, content=content)
        assert study.checkpoints(STUDY) == [weighed(1, content)]

    def test_dropped_weights_are_deleted(self, study: Store) -> None:
        for trial, score in ((1, 0.5), (2, 0.9), (3, 0.7)):
            content = weights(trial)
            study.add_checkpoint(STUDY, weighed(trial, content, score), content=content)
        dropped = study.drop_checkpoints(STUDY, keep=2)
        assert dropped == [weighed(1, weights(1), 0.5)]
        assert stored(study, dropped[0]) == b""
        for kept in study.checkpoints(STUDY):
            assert stored(study, kept) == weights(kept.trial_id)

    def test_weights_of_a_lost_trial_are_deleted(self, study: Store) -> None:
        claim = study.claim(STUDY, "w", lease_s=60)
        assert claim is not None
        claim = study.attach(claim, 1)
        for trial, held in ((1, claim), (2, None)):
            content = weights(trial)
            study.add_checkpoint(STUDY, weighed(trial, content), content=content, claim=held)
        study.release(claim)
        assert stored(study, weighed(1, weights(1))) == b""
        assert stored(study, weighed(2, weights(2))) == weights(2)

    def test_those_of_a_former_holder_are_refused_whole(self, study: Store) -> None:
        claim = study.claim(STUDY, "w", lease_s=-1)
        assert claim is not None
        claim = study.attach(claim, 1)
        assert study.take_over(claim, "new", lease_s=60) is not None
        content = weights(1, 2**21)
        with pytest.raises(LeaseLost):
            study.add_checkpoint(STUDY, weighed(1, content), content=content, claim=claim)
        assert study.checkpoints(STUDY) == []
        assert stored(study, weighed(1, content)) == b""


class TestWeightsInADatabase:
    """What only a database can get wrong."""

    @pytest.fixture(params=["sqlite", "postgresql", "mysql"])
    def store(self, request: pytest.FixtureRequest) -> Iterator[Store]:
        opened = SQLStore(parse_url(request.getfixturevalue(f"{request.param}_url")), retry_s=5)
        create_tables(opened.database.engine)
        yield opened
        opened.close()

    @pytest.mark.parametrize("fails", [TryAgain, RuntimeError])
    def test_a_write_that_fails_half_way_leaves_nothing_or_is_done_again(
        self, study: SQLStore, monkeypatch: pytest.MonkeyPatch, fails: type[Exception]
    ) -> None:
        content, put, calls = weights(1, 3 * 2**20), sql_weights.put, []

        def failing(*given: Any, **more: Any) -> None:
            calls.append(given)
            if len(calls) == 2:
                raise fails("the connection is cut")
            put(*given, **more)

        monkeypatch.setattr(sql_weights, "put", failing)
        if fails is TryAgain:
            study.add_checkpoint(STUDY, weighed(1, content), content=content)
            assert stored(study, weighed(1, content)) == content
            assert len(calls) == 2 + 3
        else:
            with pytest.raises(fails):
                study.add_checkpoint(STUDY, weighed(1, content), content=content)
            assert (study.checkpoints(STUDY), rows_of_weights(study)) == ([], 0)

    def test_a_list_of_checkpoints_reads_no_weights(self, study: SQLStore) -> None:
        study.add_checkpoint(STUDY, weighed(1, weights(1)), content=weights(1))
        asked: list[str] = []
        event.listen(study.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        assert len(study.checkpoints(STUDY)) == 1
        [statement] = [each for each in asked if "tune_checkpoints" in each]
        assert "content" not in statement

    def test_two_who_drop_at_once_leave_as_many_as_shall_stay(
        self, study: SQLStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While the first one drops, a trial gets worse weights: another listing has another order."""
        scores, dropping, over = {1: 0.9, 2: 0.8, 3: 0.7}, threading.Event(), threading.Event()
        for number, score in scores.items():
            study.add_checkpoint(STUDY, weighed(number, b"%d" % number, score), content=b"%d" % number)
        delete = sql_weights.delete

        def pausing(*arguments: Any) -> None:
            delete(*arguments)
            if not dropping.is_set():
                dropping.set()
                over.wait(0.5)  # where the second one has to wait for the first, this is not set before

        monkeypatch.setattr(sql_weights, "delete", pausing)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(study.drop_checkpoints, STUDY, keep=2)
            assert dropping.wait(10)
            study.add_checkpoint(STUDY, weighed(1, b"worse", 0.1), content=b"worse")
            second = pool.submit(study.drop_checkpoints, STUDY, keep=2)
            second.add_done_callback(lambda _: over.set())
            assert [len(each.result()) for each in (first, second)] == [1, 0]
        assert [each.trial_id for each in study.checkpoints(STUDY)] == [2, 1]

    def test_many_who_write_and_drop_at_once_leave_only_whole_weights(self, study: SQLStore) -> None:
        url = study.database.url

        def life(worker: int) -> None:
            store = SQLStore(url, retry_s=30)
            for step in range(6):
                content = weights(10 * worker + step, 2**20 + worker)
                record = weighed(worker, content, (7 * worker + 3 * step) % 11 / 11)
                store.add_checkpoint(STUDY, record, content=content)
                store.drop_checkpoints(STUDY, keep=2)
            store.close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(life, range(1, 5)))
        study.drop_checkpoints(STUDY, keep=2)
        kept = study.checkpoints(STUDY)
        assert len(kept) == 2
        for record in kept:
            assert sha256(stored(study, record)).hexdigest() == record.sha256
        assert rows_of_weights(study) == 2 * 2, "and nothing of the others"


class TestWeightsOnAServer:
    """What happens between two writers at once, which SQLite does not have."""

    @pytest.fixture(params=["postgresql", "mysql"])
    def store(self, request: pytest.FixtureRequest) -> Iterator[Store]:
        opened = SQLStore(parse_url(request.getfixturevalue(f"{request.param}_url")))
        create_tables(opened.database.engine)
        yield opened
        opened.close()

    @pytest.fixture
    def peer(self, study: SQLStore) -> Iterator[SQLStore]:
        """Another process's store of the same database."""
        opened = SQLStore(study.database.url)
        yield opened
        opened.close()

    def test_a_lease_is_renewed_while_weights_are_written(self, study: SQLStore, peer: SQLStore) -> None:
        """To write them over a slow line may take longer than a lease."""
        claim = study.claim(STUDY, "w", lease_s=60)
        assert claim is not None
        claim, renewed = study.attach(claim, 1), []

        def renew(*given: Any) -> None:
            if "INSERT INTO tune_weights" in given[2]:
                began = time.monotonic()
                peer.renew(claim, lease_s=60)
                renewed.append(time.monotonic() - began)

        event.listen(study.database.engine, "after_cursor_execute", renew)
        content = weights(1, 2**21)
        study.add_checkpoint(STUDY, weighed(1, content), content=content, claim=claim)
        assert len(renewed) == 2
        assert max(renewed) < 5, "nobody waits for a lock"

    def test_better_weights_outlive_a_list_of_the_worst(self, study: SQLStore, peer: SQLStore) -> None:
        """A worker drops the worst of the list that it read, when another has just written better ones."""
        for trial in (1, 2):
            study.add_checkpoint(STUDY, weighed(trial, weights(trial), trial / 10), content=weights(trial))
        better, improved = weighed(1, weights(9), 0.9), []

        def improve(*given: Any) -> None:
            if "DELETE FROM tune_checkpoints" in given[2] and not improved:
                improved.append(better)
                peer.add_checkpoint(STUDY, better, content=weights(9))

        event.listen(study.database.engine, "before_cursor_execute", improve)
        assert study.drop_checkpoints(STUDY, keep=1) == []
        assert study.checkpoints(STUDY) == [better, weighed(2, weights(2), 0.2)]
        assert stored(study, better) == weights(9)


class TestAnswers:
    FIRST = Answers(split="validation", examples=10, heads={"second": b"\xf0\x40", "first": b"\x0f\x80"})
    BETTER = Answers(split="validation", examples=10, heads={"second": b"\xff\x40", "first": b"\xff\x80"})

    def test_answers_belong_to_the_kept_weights(self, study: Store) -> None:
        study.add_checkpoint(STUDY, weighed(1, b"old", 0.5), answers=self.FIRST)
        study.add_checkpoint(STUDY, weighed(2, b"two", 0.4), answers=self.FIRST)
        assert study.answers([1, 2, 3], "validation") == {1: self.FIRST, 2: self.FIRST}
        assert list(study.answers([1], "validation")[1].heads) == ["second", "first"], "in their order"
        assert study.answers([1], "test") == {}
        study.add_checkpoint(STUDY, weighed(1, b"new", 0.6), answers=self.BETTER)
        study.add_checkpoint(STUDY, weighed(2, b"new two", 0.7))
        assert study.answers([1, 2], "validation") == {1: self.BETTER}, "of the second nothing is known"

    def test_they_go_with_the_weights(self, study: Store) -> None:
        for trial, score in ((1, 0.5), (2, 0.9)):
            study.add_checkpoint(STUDY, weighed(trial, b"w", score), answers=self.FIRST)
        study.drop_checkpoints(STUDY, keep=1)
        assert study.answers([1, 2], "validation").keys() == {2}
        claim = study.claim(STUDY, "w", lease_s=30)
        assert claim is not None
        claim = study.attach(claim, 9)
        study.add_checkpoint(STUDY, weighed(9, b"w", 0.95), claim=claim, answers=self.FIRST)
        study.release(claim)
        assert study.answers([9], "validation") == {}

    def test_a_test_evaluation_brings_those_on_the_test_set(self, study: Store) -> None:
        test_evaluations = TestEvaluationsAndExports()
        on_test = replace(self.BETTER, split="test")
        study.add_checkpoint(STUDY, weighed(1, b"w", 0.5), answers=self.FIRST)
        study.add_test_evaluation_once(test_evaluations.evaluation(1), on_test)
        study.add_test_evaluation_once(
            test_evaluations.evaluation(1, minutes=1), replace(self.FIRST, split="test")
        )
        assert study.answers([1], "test") == {1: on_test}, "of the record that is kept"
        assert study.answers([1], "validation") == {1: self.FIRST}


class TestEvaluationsAndExports:
    AT = datetime.datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=datetime.UTC)

    def evaluation(self, trial: int, study: int = STUDY, minutes: int = 0) -> TestEvaluation:
        return TestEvaluation(
            study_id=study,
            trial_id=trial,
            moment=self.AT + datetime.timedelta(minutes=minutes),
            reason="chosen by tune confirm",
            pictures=4000,
            heads={"second_digit": 0.1 + 0.2, "first_digit": 1 / 3},
            joint=0.987,
        )

    def test_test_evaluations_come_back_oldest_first_and_bit_for_bit(self, study: Store) -> None:
        late, early, other = (
            self.evaluation(1, minutes=5),
            self.evaluation(2),
            self.evaluation(3, study=STUDY + 1, minutes=1),
        )
        for each in (late, early, other, early):
            study.add_test_evaluation_once(each)
        assert study.test_evaluations([STUDY]) == [early, late], "an equal record is ignored"
        assert study.test_evaluations([STUDY, STUDY + 1]) == [early, other, late]
        assert list(study.test_evaluations([STUDY])[0].heads) == ["second_digit", "first_digit"]
        assert study.test_evaluations([]) == []

    def test_another_score_than_the_accuracy_is_recorded_and_is_no_head(self, study: Store) -> None:
        scored = replace(self.evaluation(1), scores={"log_loss": 2.5})
        study.add_test_evaluation_once(scored)
        assert study.test_evaluations([STUDY]) == [scored]
        assert scored.value == 2.5
        assert scored.accuracy == pytest.approx((0.3 + 1 / 3) / 2), "heads alone count"
        head = replace(self.evaluation(2), heads={"test/kind": 0.5})
        study.add_test_evaluation_once(head)
        assert study.test_evaluations([STUDY])[-1].heads == {"test/kind": 0.5}, "a head may have any name"

    def test_many_evaluations_at_once_leave_one_record(self, study: Store) -> None:
        with ThreadPoolExecutor(8) as pool:
            told = list(
                pool.map(lambda n: study.add_test_evaluation_once(self.evaluation(1, minutes=n)), range(8))
            )
        assert study.test_evaluations([STUDY]) == told[:1]
        assert told == told[:1] * 8, "all are told of the one that stands"
        assert study.add_test_evaluation_once(self.evaluation(2, minutes=9)) == self.evaluation(
            2, minutes=9
        ), "another trial"

    def attempt(self, trial: int, study: int = STUDY, minutes: int = 0) -> TestAttempt:
        moment = self.AT + datetime.timedelta(minutes=minutes)
        return TestAttempt(study_id=study, trial_id=trial, moment=moment, reason="chosen by tune confirm")

    def test_an_evaluation_counts_from_its_beginning(self, study: Store) -> None:
        before = study.count_test_evaluations(SPEC.task)
        late, early = self.attempt(1, minutes=5), self.attempt(2)
        failed = replace(early, failure="The test function failed: ValueError: too small.")
        for each in (late, early, early, failed):
            study.put_test_attempt(each)
        assert study.test_attempts([STUDY]) == [failed, late], "oldest first, one for each beginning"
        assert study.test_attempts([STUDY + 1]) == []
        assert study.test_evaluations([STUDY]) == []
        after = study.count_test_evaluations(SPEC.task)
        assert (after.total - before.total, after.without_result - before.without_result) == (2, 2)

    def test_a_result_takes_the_place_of_its_own_attempt_alone(self, study: Store) -> None:
        for minutes in (0, 5, 9):
            study.put_test_attempt(self.attempt(1, minutes=minutes))
        result = self.evaluation(1, minutes=5)
        assert study.add_test_evaluation_once(result) == result
        assert study.add_test_evaluation_once(self.evaluation(1, minutes=9)) == result
        assert study.test_evaluations([STUDY]) == [result]
        assert study.test_attempts([STUDY]) == [self.attempt(1), self.attempt(1, minutes=9)]
        assert study.count_test_evaluations(SPEC.task).without_result == 2

    def test_a_long_failure_is_cut(self, study: Store) -> None:
        study.put_test_attempt(replace(self.attempt(1), failure="x" * 5000))
        [attempt] = study.test_attempts([STUDY])
        assert attempt.reason == "chosen by tune confirm"
        assert 400 < len(attempt.failure or "") <= 500

    def test_the_evaluations_of_a_test_set_are_counted_over_all_studies(
        self, study: Store, plain_spec: NetworkSpec
    ) -> None:
        task = SPEC.task
        before = study.count_test_evaluations(task)
        study.add_test_evaluation_once(self.evaluation(1))
        study.add_test_evaluation_once(self.evaluation(4))
        study.add_study(STUDY + 1, replace(plain_spec, task=task), 1)
        study.add_study(STUDY + 2, replace(plain_spec, task="another"), 1)
        study.add_test_evaluation_once(self.evaluation(2, study=STUDY + 1))
        study.add_test_evaluation_once(self.evaluation(3, study=STUDY + 2))
        assert study.count_test_evaluations(task).total - before.total == 3
        assert study.count_test_evaluations("another").total == 1

    def test_a_moment_of_another_zone_is_the_same_moment(self, study: Store) -> None:
        east = datetime.timezone(datetime.timedelta(hours=9))
        study.add_test_evaluation_once(replace(self.evaluation(1), moment=self.AT.astimezone(east)))
        assert study.test_evaluations([STUDY])[0].moment == self.AT

    def test_exports_come_back_oldest_first(self, study: Store) -> None:
        late, early = (
            ExportRecord(
                study_id=STUDY,
                trial_id=trial,
                moment=self.AT + datetime.timedelta(minutes=minutes),
                folder="out/model",
                manifest_sha256="ab" * 32,
            )
            for trial, minutes in ((1, 5), (2, 0))
        )
        for each in (late, early, late):
            study.add_export(each)
        assert study.exports(STUDY) == [early, late]
        assert study.exports(STUDY + 1) == []
