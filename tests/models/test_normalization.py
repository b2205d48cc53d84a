"""Statistics of batch norm for averaged weights: the right numbers, and nothing else changes."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.conv import ConvConfig
from models.mlp import MLPConfig
from models.network import ModelConfig, Network, Signature, build
from models.normalization import has_batch_norm, with_statistics_of
from models.optimizer import OptimizerConfig
from models.training import NORM_BATCH, Training, TrainingConfig, evaluate

CONV = ConvConfig(
    padding="same", blocks=2, convolutions=2, channels=4, hidden=16, batch_norm=True, dropout=0.3
)
MLP = MLPConfig(width=16, dropout=0.3)
AVERAGED = TrainingConfig(
    batch_size=32,
    images=1600,
    optimizer=OptimizerConfig(name="adam", lr=0.01),
    averaging=0.1,
)
OWN = dataclasses.replace(AVERAGED, norm_images=2 * NORM_BATCH)
EXAMPLES = 4000
MILESTONES = [400, 800, 1000, 1600]
"""The first two come before a quarter of a pass."""


@pytest.fixture
def trained(training_on, evaluation_on, image_only):  # type: ignore[no-untyped-def]
    """A training of that model on toy data."""

    def make(config: TrainingConfig, model: ModelConfig = CONV, **more: object) -> Training:
        return Training(
            build(model, image_only, seed=5),
            training_on(signature=image_only, examples=EXAMPLES),
            evaluation_on(signature=image_only, seed=1, examples=200),
            config,
            seed=5,
            **more,  # type: ignore[arg-type]
        )

    return make


def images_of(training_on, image_only: Signature, *, start: int, batches: int) -> list[Tensor]:  # type: ignore[no-untyped-def]
    stream = training_on(signature=image_only, examples=EXAMPLES).batches(NORM_BATCH, start=start)
    return [image for image, _, _ in itertools.islice(stream, batches)]


def directly(network: Network, images: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """(mean, unbiased variance) of each normalization, float64 (C,): layer by layer, by their definition."""
    found: list[list[tuple[Tensor, Tensor]]] = []
    for image in images:
        x, layers = network.normalize(image), []
        for module in itertools.chain.from_iterable(
            block if isinstance(block, nn.Sequential) else [block] for block in network.picture
        ):
            if isinstance(module, nn.BatchNorm2d):
                values = x.double().transpose(0, 1).flatten(1)
                layers.append((values.mean(1), values.var(1, correction=1)))
                x = functional.batch_norm(x, None, None, module.weight, module.bias, True, 0.0, module.eps)
            else:
                x = module(x)
        found.append(layers)
    for layer in zip(*found, strict=True):
        yield torch.stack([m for m, _ in layer]).mean(0), torch.stack([v for _, v in layer]).mean(0)


def norms_of(network: Network) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def bits(network: Network) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class TestStatistics:
    @torch.no_grad()
    def test_are_those_of_the_images_by_their_definition(
        self,
        training_on,
        image_only: Signature,  # type: ignore[no-untyped-def]
    ) -> None:
        images = images_of(training_on, image_only, start=32, batches=3)
        network = build(CONV, image_only, seed=1)
        for norm in norms_of(network):  # as a training leaves them: none is 0 and 1
            norm.weight.uniform_(0.5, 2)
            norm.bias.uniform_(-1, 1)
        norms = norms_of(with_statistics_of(images, network))
        for norm, (mean, variance) in zip(norms, directly(network.eval(), images), strict=True):
            torch.testing.assert_close(norm.running_mean, mean.float(), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(norm.running_var, variance.float(), rtol=1e-5, atol=1e-5)

    def test_leave_the_network_and_the_random_numbers_alone(
        self,
        training_on,
        image_only: Signature,  # type: ignore[no-untyped-def]
    ) -> None:
        """Dropout on the features lies on the way, and draws nothing."""
        network = build(dataclasses.replace(CONV, hidden_layers=0), image_only, seed=1).train()
        images, before = images_of(training_on, image_only, start=0, batches=1), bits(network)
        state = torch.get_rng_state()
        other = with_statistics_of(images, network)
        assert torch.equal(torch.get_rng_state(), state)
        assert same(bits(network), before)
        assert network.training
        assert all(module.training for module in network.modules())
        assert not any(module.training for module in other.modules())
        assert [norm.momentum for norm in norms_of(other)] == [norm.momentum for norm in norms_of(network)]
        assert not same(bits(other), before)
        assert all(p is q for p, q in zip(network.parameters(), other.parameters(), strict=True))


class TestTraining:
    def test_the_evaluated_network_has_the_statistics_of_the_last_images(
        self,
        trained,
        training_on,
        image_only: Signature,  # type: ignore[no-untyped-def]
    ) -> None:
        training = trained(OWN)
        report = next(training.reports(MILESTONES))
        images = images_of(training_on, image_only, start=416 - 2 * NORM_BATCH, batches=2)
        assert training.images == 416
        assert report.validation == evaluate(training.eval_model, training.validation)
        assert training.average is not None
        norms = norms_of(training.eval_model)
        with torch.no_grad():
            expected = list(directly(training.average.network.eval(), images))
        for norm, (mean, variance) in zip(norms, expected, strict=True):
            torch.testing.assert_close(norm.running_mean, mean.float(), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(norm.running_var, variance.float(), rtol=1e-5, atol=1e-5)

    def test_without_the_setting_the_average_itself_is_evaluated(self, trained) -> None:  # type: ignore[no-untyped-def]
        training = trained(AVERAGED)
        for report in training.reports(MILESTONES):
            assert training.eval_model is training.average.network
            assert report.validation == evaluate(training.average.network, training.validation)

    def test_it_changes_early_evaluations_and_nothing_else(self, trained) -> None:  # type: ignore[no-untyped-def]
        own, averaged = trained(OWN), trained(AVERAGED)
        for mine, other in zip(own.reports(MILESTONES), averaged.reports(MILESTONES), strict=True):
            assert mine.train == other.train
            assert (mine.validation != other.validation) == (mine.images < EXAMPLES / 4)
            a, b = own.state_dict(), averaged.state_dict()
            del a["training.seconds"], b["training.seconds"]
            assert same(a, b), "what is saved, random numbers too, and what training continues with"

    @pytest.mark.parametrize("stop", [0, 1, 2, 3])
    def test_an_interrupted_training_reports_the_same(self, trained, stop: int) -> None:  # type: ignore[no-untyped-def]
        """At a report, and at a later one: bit for bit, the weights that would be kept too."""

        def told(training: Training) -> Iterator[tuple[object, dict[str, Tensor]]]:
            for report in training.reports(MILESTONES):
                yield (report.images, report.train, report.validation), bits(training.eval_model)

        whole, half = list(told(trained(OWN))), trained(OWN)
        found = list(itertools.islice(told(half), stop))
        resumed = trained(OWN)
        next(resumed.reports([400]))  # has other statistics, which it must not keep
        resumed.load_state_dict(half.state_dict())
        found += told(resumed)
        assert [report for report, _ in found] == [report for report, _ in whole]
        assert all(same(mine, other) for (_, mine), (_, other) in zip(found, whole, strict=True))

    def test_a_training_that_is_cut_short_on_the_way_to_its_first_report(self, trained) -> None:  # type: ignore[no-untyped-def]
        """Also while the images for its statistics are read: what was trained stays."""
        whole, cut = trained(OWN), trained(OWN)
        stream, left = cut.training, iter(range(14))

        class Checked:
            examples = EXAMPLES

            def batches(self, batch_size: int, *, start: int = 0) -> Iterator[object]:
                for batch in stream.batches(batch_size, start=start):
                    if next(left, None) is None:
                        raise KeyboardInterrupt
                    yield batch

        cut.training = Checked()
        with pytest.raises(KeyboardInterrupt):
            next(cut.reports(MILESTONES))
        assert (cut.images, cut.milestone) == (416, 0), "13 steps, then one batch of two"
        resumed = trained(OWN)
        resumed.load_state_dict(cut.state_dict())
        mine, other = next(resumed.reports(MILESTONES)), next(whole.reports(MILESTONES))
        assert (mine.train, mine.validation) == (other.train, other.validation)

    @pytest.mark.parametrize(
        ("model", "config"),
        [
            (MLP, OWN),
            (dataclasses.replace(CONV, batch_norm=False), OWN),
            (CONV, dataclasses.replace(OWN, averaging=0.0)),
        ],
        ids=["mlp", "conv without norm", "norm without average"],
    )
    def test_where_there_is_nothing_to_compute_nothing_is_read(
        self,
        trained,
        model: ModelConfig,
        config: TrainingConfig,  # type: ignore[no-untyped-def]
    ) -> None:
        own, plain = trained(config, model), trained(dataclasses.replace(config, norm_images=0), model)
        stream, opened = own.training, []

        class Counted:
            examples = EXAMPLES

            def batches(self, batch_size: int, *, start: int = 0) -> Iterator[object]:
                opened.append(start)
                return stream.batches(batch_size, start=start)  # type: ignore[no-any-return]

        own.training = Counted()
        for mine, other in zip(own.reports(MILESTONES), plain.reports(MILESTONES), strict=True):
            assert (mine.train, mine.validation) == (other.train, other.validation)
            assert own.eval_model is (own.network if config.averaging == 0 else own.average.network)
        assert opened == [0], "the training's own batches alone"

    def test_recorded_steps_give_the_same_numbers(self, trained) -> None:  # type: ignore[no-untyped-def]
        """As on a GPU: the recording's memory is that of the network, which the statistics do not touch."""

        class Replayed:
            def record(self, work: Callable[[], Tensor]) -> Tensor:
                self.work, self.output = work, torch.empty(32, 8)
                return self.output

            def replay(self) -> None:
                self.output.copy_(self.work())

        config = dataclasses.replace(OWN, optimizer=OptimizerConfig(name="adam", lr=2**-7))
        recorded, direct = trained(config, graph=Replayed), trained(config)
        for mine, other in zip(recorded.reports(MILESTONES), direct.reports(MILESTONES), strict=True):
            assert (mine.train, mine.validation) == (other.train, other.validation)

    def test_an_early_evaluation_is_visibly_better(self, trained) -> None:  # type: ignore[no-untyped-def]
        """After 13 steps the averaged statistics are near those before the first: 0.42 against 0.87."""
        config = dataclasses.replace(OWN, optimizer=OptimizerConfig(name="nesterov", lr=0.01))
        own = next(trained(config).reports([400])).validation
        averaged = next(trained(dataclasses.replace(config, norm_images=0)).reports([400])).validation
        assert own.score > averaged.score + 0.2, (own.score, averaged.score)
        assert own.loss < averaged.loss


def test_only_batch_norm_has_statistics(image_only: Signature) -> None:
    assert has_batch_norm(build(CONV, image_only, seed=0))
    assert not has_batch_norm(build(dataclasses.replace(CONV, batch_norm=False), image_only, seed=0))
    assert not has_batch_norm(build(MLP, image_only, seed=0))
