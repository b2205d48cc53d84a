"""The training loop: learns, repeats itself bit for bit, resumes bit for bit, stops where numbers end."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.averaging import EVERY
from models.checks import InvalidConfig
from models.conv import ConvConfig
from models.metrics import HeadMetrics, Metrics, Tally
from models.mlp import MLPConfig
from models.network import ModelConfig, Network, Signature, build
from models.optimizer import OptimizerConfig
from models.training import Diverged, Precision, Report, Training, TrainingConfig, evaluate

ADAM = OptimizerConfig(name="adam", lr=0.003)
BASE = TrainingConfig(batch_size=32, images=1600, optimizer=ADAM)
MILESTONES = [400, 800, 1600]

MODELS: dict[str, ModelConfig] = {
    "mlp with dropout": MLPConfig(width=32, dropout=0.3),
    "conv with norm and dropout": ConvConfig(
        channels=4, hidden=16, batch_norm=True, dropout=0.3, number_width=4
    ),
}
TRAININGS = {
    "adam": BASE,
    "adamw, one cycle, decay": dataclasses.replace(
        BASE, schedule="one_cycle", optimizer=OptimizerConfig(name="adamw", weight_decay=0.05)
    ),
    "nesterov, cosine, smoothed": dataclasses.replace(
        BASE,
        schedule="cosine",
        optimizer=OptimizerConfig(name="nesterov", lr=0.01),
        label_smoothing=0.1,
    ),
    "bfloat16": dataclasses.replace(BASE, precision="bfloat16"),
    "averaged": dataclasses.replace(BASE, averaging=0.1),
}


@pytest.fixture(params=["image_only", "numbered"])
def signature(request: pytest.FixtureRequest) -> Signature:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Signature)
    return found


@pytest.fixture
def trained(training_on, evaluation_on):  # type: ignore[no-untyped-def]
    """A training of that model on toy data."""

    def make(model: ModelConfig, signature: Signature, config: TrainingConfig, seed: int = 5) -> Training:
        return Training(
            build(model, signature, seed=seed),
            training_on(signature=signature),
            evaluation_on(signature=signature, seed=1, examples=100),
            config,
            seed=seed,
        )

    return make


@pytest.fixture(scope="module")
def trained_whole() -> dict[str, tuple[list[Report], Network]]:
    """By model and config; see `whole`."""
    return {}


@pytest.fixture
def whole(  # type: ignore[no-untyped-def]
    trained, trained_whole, model: ModelConfig, config: TrainingConfig, signature: Signature
) -> tuple[list[Report], Network]:
    """Reports and network of a training to which nothing happened: once for all tests that hold one against
    it."""
    key = repr((model, config, signature))
    if key not in trained_whole:
        training = trained(model, signature, config)
        trained_whole[key] = timeless(list(training.reports(MILESTONES))), training.network
    return trained_whole[key]  # type: ignore[no-any-return]


def timeless(reports: Sequence[Report]) -> list[Report]:
    return [dataclasses.replace(report, seconds=0.0, training_seconds=0.0) for report in reports]


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_learns(trained, model: ModelConfig, signature: Signature) -> None:  # type: ignore[no-untyped-def]
    """Far beyond chance, 0.25 for a row and at most 0.25 for a sum, on images that it never saw."""
    (last,) = trained(model, signature, dataclasses.replace(BASE, images=6400)).reports([6400])
    assert last.validation.heads["row"].accuracy > 0.95
    assert last.validation.joint > 0.6


@pytest.mark.parametrize("config", TRAININGS.values(), ids=TRAININGS)
@pytest.mark.parametrize(
    ("model", "signature"),
    [(MODELS["mlp with dropout"], "image_only"), (MODELS["conv with norm and dropout"], "numbered")],
    indirect=["signature"],
    ids=["mlp", "conv with a number"],
)
class TestRepeats:
    def test_bit_for_bit_whatever_else_draws(  # type: ignore[no-untyped-def]
        self, trained, whole, model: ModelConfig, config: TrainingConfig, signature: Signature
    ) -> None:
        once, network = whole
        second = trained(model, signature, config)
        torch.manual_seed(99)
        again = []
        for report in second.reports(MILESTONES):
            again.append(report)
            torch.rand(7)
        assert once == timeless(again)
        assert bitwise(network, second.network)

    def test_a_training_sample_is_evaluated_like_validation_and_changes_nothing_else(  # type: ignore[no-untyped-def]
        self, trained, whole, model: ModelConfig, config: TrainingConfig, signature: Signature
    ) -> None:
        expected, network = whole
        both = trained(model, signature, config)
        both.training_sample = both.validation
        found = timeless(list(both.reports(MILESTONES)))
        assert all(report.train_eval is None for report in expected)
        assert [dataclasses.replace(report, train_eval=None) for report in found] == expected
        assert bitwise(network, both.network)
        for report in found:
            assert report.train_eval is not None
            # Other batches add the same numbers in another order.
            assert report.train_eval.loss == pytest.approx(report.validation.loss, rel=1e-3)
            assert report.train_eval.score == pytest.approx(report.validation.score, abs=0.02)

    @pytest.mark.parametrize("stop", [0, 1, 2])
    def test_bit_for_bit_after_an_interruption(  # type: ignore[no-untyped-def]
        self, trained, whole, model: ModelConfig, config: TrainingConfig, signature: Signature, stop: int
    ) -> None:
        expected, network = whole
        half = trained(model, signature, config)
        found = list(itertools.islice(half.reports(MILESTONES), stop))
        state = half.state_dict()
        resumed = trained(model, signature, config, seed=6)
        resumed.load_state_dict(state)
        found += resumed.reports(MILESTONES)
        assert timeless(found) == expected
        assert bitwise(network, resumed.network)
        assert found[-1].seconds >= found[0].seconds


def test_time_that_was_spent_before_a_stop_counts(  # type: ignore[no-untyped-def]
    trained, image_only: Signature, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the stop came between two reports. A batch takes ten seconds here, a validation one."""
    now = 0.0
    step, look = Training._step, evaluate

    def slow_step(*arguments: Any) -> Tensor:
        nonlocal now
        now += 10
        return step(*arguments)

    def slow_look(*arguments: Any, **more: Any) -> Metrics:
        nonlocal now
        now += 1
        return look(*arguments, **more)

    monkeypatch.setattr("models.training.perf_counter", lambda: now)
    monkeypatch.setattr("models.training.evaluate", slow_look)
    monkeypatch.setattr(Training, "_step", slow_step)

    def stops_at_the_sixth(*_arguments: Any) -> Tensor:
        if stopped.images == 5 * 32:
            raise KeyboardInterrupt
        return slow_step(*_arguments)

    stopped = trained(MODELS["mlp with dropout"], image_only, BASE)
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_step", stops_at_the_sixth)
        with pytest.raises(KeyboardInterrupt):
            next(stopped.reports([320]))
    resumed = trained(MODELS["mlp with dropout"], image_only, BASE)
    resumed.load_state_dict(stopped.state_dict())
    (report,) = resumed.reports([320])
    assert (report.training_seconds, report.seconds) == (100, 101)


def bitwise(one: Network, other: Network) -> bool:
    mine, yours = one.state_dict(), other.state_dict()
    return mine.keys() == yours.keys() and all(torch.equal(mine[name], yours[name]) for name in mine)


def test_before_there_is_an_average_the_network_itself_is_judged(trained, image_only: Signature) -> None:  # type: ignore[no-untyped-def]
    """In huge batches the first report comes before the average has seen a step."""
    model = MODELS["mlp with dropout"]
    averaged, plain = (
        trained(model, image_only, dataclasses.replace(BASE, averaging=share)) for share in (0.1, 0.0)
    )
    first = BASE.batch_size * (EVERY - 1)
    [one] = averaged.reports([first])
    [other] = plain.reports([first])
    assert one.validation == other.validation
    assert averaged.eval_model is averaged.network
    [later] = averaged.reports([first + BASE.batch_size])
    assert averaged.eval_model is not averaged.network
    assert later.validation != one.validation


def test_another_seed_draws_other_dropout(trained, image_only: Signature) -> None:  # type: ignore[no-untyped-def]
    model = MODELS["mlp with dropout"]
    one, other = (trained(model, image_only, BASE) for _ in range(2))
    other.dropout.manual_seed(17)
    assert [r.train for r in one.reports([400])] != [r.train for r in other.reports([400])]


def test_golden_curve(trained, numbered: Signature) -> None:  # type: ignore[no-untyped-def]
    """A change of the arithmetic shows here; SSE4, AVX2 and AVX-512 kernels agreed within 2e-9."""
    config = dataclasses.replace(BASE, schedule="one_cycle")
    curve = [r.validation.loss for r in trained(MLPConfig(width=16), numbered, config).reports(MILESTONES)]
    assert curve == pytest.approx(GOLDEN, rel=1e-5)


GOLDEN = [1.34592066, 0.97344805, 0.86069717]


def test_loss_is_the_mean_of_the_heads_cross_entropies(trained, signature: Signature) -> None:  # type: ignore[no-untyped-def]
    config = dataclasses.replace(BASE, label_smoothing=0.1)
    training = trained(MLPConfig(width=8), signature, config)
    logits = torch.randn(6, sum(signature.classes))
    targets = torch.randint(0, 4, (6, 2))
    cut = logits.split(list(signature.classes), dim=1)
    heads = [
        functional.cross_entropy(head, target, label_smoothing=0.1)
        for head, target in zip(cut, targets.unbind(1), strict=True)
    ]
    torch.testing.assert_close(training._loss(logits, targets), torch.stack(heads).mean())


def test_first_step_is_autograd_and_torch_sgd(trained, training_on, numbered: Signature) -> None:  # type: ignore[no-untyped-def]
    config = TrainingConfig(
        batch_size=32, images=32, optimizer=OptimizerConfig(name="sgd", lr=0.1, momentum=0.0)
    )
    training = trained(ConvConfig(channels=3, hidden=8), numbered, config)
    plain = build(ConvConfig(channels=3, hidden=8), numbered, seed=5)
    image, number, targets = next(training_on(signature=numbered).batches(32))
    out = plain(image, number)
    (sum(functional.cross_entropy(out[head], targets[:, i]) for i, head in enumerate(out)) / 2).backward()
    (report,) = training.reports([32])
    for ours, theirs in zip(training.network.parameters(), plain.parameters(), strict=True):
        assert theirs.grad is not None
        torch.testing.assert_close(ours, theirs.detach() - 0.1 * theirs.grad)
    assert report.learning_rate == 0.1


class TestMilestones:
    def test_reported_at_the_first_boundary_at_or_after(self, trained, image_only: Signature) -> None:  # type: ignore[no-untyped-def]
        training = trained(MLPConfig(width=8), image_only, BASE)
        seen = [(report.images, training.images) for report in training.reports([1, 32, 33, 1600])]
        assert seen == [(1, 32), (32, 32), (33, 64), (1600, 1600)]

    def test_one_batch_that_passes_two_milestones_is_reported_twice(
        self, trained, image_only: Signature
    ) -> None:  # type: ignore[no-untyped-def]
        one, two = trained(MLPConfig(width=8), image_only, BASE).reports([10, 20])
        assert one.train == two.train
        assert one.validation == two.validation

    def test_a_caller_who_stops_has_pruned(self, trained, image_only: Signature) -> None:  # type: ignore[no-untyped-def]
        training = trained(MLPConfig(width=8), image_only, BASE)
        next(training.reports(MILESTONES))
        assert training.images == 416

    @pytest.mark.parametrize("milestones", [[0], [20, 10], [10, 10], [1601]])
    def test_others_are_refused(self, trained, image_only: Signature, milestones: list[int]) -> None:  # type: ignore[no-untyped-def]
        training = trained(MLPConfig(width=8), image_only, BASE)
        with pytest.raises(ValueError, match=r"milestones must be increasing and in 1\.\.1600"):
            next(training.reports(milestones))


def test_divergence_is_an_exception_within_the_steps_of_one_tally(trained, image_only: Signature) -> None:  # type: ignore[no-untyped-def]
    config = TrainingConfig(batch_size=8, images=80_000, optimizer=OptimizerConfig(name="sgd", lr=1e30))
    training = trained(MLPConfig(depth=2, width=8), image_only, config)
    with pytest.raises(Diverged, match=r"the loss is .* after .* images with sgd, lr=1e"):
        list(training.reports([80_000]))
    assert training.images <= 8 * Tally.BATCHES


def test_divergence_of_the_last_step_is_seen_in_the_validation(trained, image_only: Signature) -> None:  # type: ignore[no-untyped-def]
    config = TrainingConfig(batch_size=8, images=8, optimizer=OptimizerConfig(name="sgd", lr=1e38))
    with pytest.raises(Diverged):
        list(trained(MLPConfig(depth=3, width=8), image_only, config).reports([8]))


class TestEvaluate:
    @pytest.mark.parametrize("batch_size", [1, 7, 100, 1000])
    def test_counts_each_example_once(self, evaluation_on, numbered: Signature, batch_size: int) -> None:  # type: ignore[no-untyped-def]
        network = build(ConvConfig(channels=3, hidden=8), numbered, seed=1)
        data = evaluation_on(signature=numbered, examples=50)
        image, number, targets = next(data.batches(50 * numbered.numbers))
        with torch.inference_mode():
            out = network.eval()(image, number)
        hits = torch.stack([out[h].argmax(1) == targets[:, i] for i, h in enumerate(out)])
        found = evaluate(network, data, batch_size=batch_size)
        assert [h.accuracy for h in found.heads.values()] == pytest.approx(hits.double().mean(1).tolist())
        assert found.joint == pytest.approx(float(hits.all(0).double().mean()))
        losses = [float(functional.cross_entropy(out[h], targets[:, i])) for i, h in enumerate(out)]
        assert found.loss == pytest.approx(sum(losses) / 2, rel=1e-5)

    def test_leaves_mode_and_weights_alone(self, evaluation_on, image_only: Signature) -> None:  # type: ignore[no-untyped-def]
        network = build(
            ConvConfig(channels=3, hidden=8, batch_norm=True, dropout=0.5), image_only, seed=1
        ).train()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        evaluate(network, evaluation_on(signature=image_only))
        assert network.training
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_precisions_agree_on_what_they_see(  # type: ignore[no-untyped-def]
        self, evaluation_on, image_only: Signature, precision: Precision
    ) -> None:
        network = build(ConvConfig(channels=8, hidden=16), image_only, seed=1)
        data = evaluation_on(signature=image_only)
        assert evaluate(network, data, precision=precision).loss == pytest.approx(
            evaluate(network, data).loss, rel=0.01
        )

    def test_no_images_no_metrics(self, evaluation_on, image_only: Signature) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(ValueError, match="no metrics of no examples"):
            evaluate(build(MLPConfig(), image_only, seed=1), evaluation_on(signature=image_only, examples=0))


def test_score_is_the_mean_accuracy_not_the_joint_one() -> None:
    heads = {"a": HeadMetrics(loss=0.1, accuracy=0.9), "b": HeadMetrics(loss=0.3, accuracy=0.6)}
    assert Metrics(loss=0.2, heads=heads, joint=0.5).score == pytest.approx(0.75)


def test_when_a_tally_was_counted_changes_no_bit(numbered: Signature) -> None:
    """A trial that is saved in between counts there; its curve is that of one which is not."""

    def tallied(batches: int) -> Tensor:
        tally = Tally(numbered, torch.device("cpu"))
        draw = torch.Generator().manual_seed(2)
        for i in range(70):
            tally.add(torch.randn(9, 10, generator=draw), torch.randint(0, 4, (9, 2), generator=draw))
            if batches and i % batches == 0:
                tally.count()
        tally.count()
        return tally.sums

    for batches in (1, 3, 7, 32):
        assert torch.equal(tallied(batches), tallied(0))
    assert tallied(0)[2] > 10, "there was something to add up"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        ({"images": 1.5}, "images must be an integer >= 1, got 1.5"),
        ({"schedule": "cosin"}, "got 'cosin' .did you mean cosine"),
        ({"precision": "float16"}, "precision must be one of float32, bfloat16, got 'float16'"),
        ({"label_smoothing": 1}, "label_smoothing must be a number >= 0 and < 1, got 1"),
    ],
)
def test_refusal_names_the_rule_and_the_value(change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        dataclasses.replace(BASE, **change)
