"""The average of weights: closed forms, and that it is what a training judges."""

import pytest
import torch

from models.averaging import EVERY, Average
from models.conv import ConvConfig
from models.network import Network, Signature, build
from models.optimizer import OptimizerConfig
from models.training import Training, TrainingConfig, evaluate


@pytest.fixture
def network(image_only: Signature) -> Network:
    return build(ConvConfig(channels=4, hidden=16, batch_norm=True), image_only, seed=0)


def weights_over(network: Network, share: float, values: list[float]) -> float:
    """The averaged first weight of a network whose weights take these values one after the other."""
    average = Average(network, share)
    for value in values:
        for tensor in network.state_dict().values():
            tensor.fill_(value)
        average.update()
    return float(next(average.network.parameters()).detach().flatten()[0])


def test_a_share_near_one_is_the_plain_mean(network: Network) -> None:
    assert weights_over(network, 1.0, [1, 2, 3, 6]) == pytest.approx(3)


def test_a_share_of_zero_is_the_last_weights(network: Network) -> None:
    assert weights_over(network, 0.0, [1, 2, 3, 6]) == pytest.approx(6)


def test_a_small_share_forgets_the_beginning(network: Network) -> None:
    """After 200 updates the first 100 weigh (1/2)^(1/share), by the closed form of the recursion."""
    assert weights_over(network, 0.2, [1.0] * 100 + [0.0] * 100) == pytest.approx(0.5**5, rel=0.2)


def test_statistics_of_batch_norm_are_averaged_too(network: Network) -> None:
    average = Average(network, 1.0)
    for value in (0.0, 4.0):
        network.state_dict()["picture.0.2.running_mean"].fill_(value)
        average.update()
    assert average.network.state_dict()["picture.0.2.running_mean"].tolist() == [2.0] * 4


def test_the_network_itself_is_left_alone(network: Network) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    Average(network, 0.1).update()
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("averaging", [0.0, 0.1])
def test_a_training_judges_the_average(
    network: Network,
    training_on,
    evaluation_on,
    averaging: float,  # type: ignore[no-untyped-def]
) -> None:
    signature = network.signature
    validation = evaluation_on(signature=signature, seed=1, examples=100)
    config = TrainingConfig(
        batch_size=32,
        images=32 * EVERY * 8,
        optimizer=OptimizerConfig(name="adam", lr=0.003),
        averaging=averaging,
    )
    training = Training(network, training_on(signature=signature), validation, config, seed=0)
    (report,) = training.reports([config.images])
    assert (training.eval_model is training.network) == (averaging == 0)
    assert report.validation == evaluate(training.eval_model, validation)
    last = evaluate(training.network, validation)
    assert (last == report.validation) == (averaging == 0)
