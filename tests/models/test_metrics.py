"""Means over the classes, against scikit-learn's."""

import warnings

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from models.metrics import Metrics, Tally, balanced_accuracy, macro_f1
from models.network import Signature

SIGNATURE = Signature(image=(1, 4, 4), heads=(("kind", 5), ("color", 3)))


def tallied(targets: torch.Tensor, answers: torch.Tensor) -> Metrics:
    """Metrics of networks that answer so; both int64 (N, 2)."""
    tally = Tally(SIGNATURE, torch.device("cpu"), keep_answers=True)
    for begin in range(0, len(targets), 7):
        part = answers[begin : begin + 7]
        logits = [
            torch.nn.functional.one_hot(part[:, column], classes).float()
            for column, (_, classes) in enumerate(SIGNATURE.heads)
        ]
        tally.add(torch.cat(logits, dim=1), targets[begin : begin + 7])
    return tally.metrics()


@pytest.mark.parametrize("seed", range(5))
def test_means_over_classes_are_those_of_scikit_learn(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    kinds = torch.multinomial(torch.tensor([0.7, 0.2, 0.1, 0.0, 0.0]), 200, True, generator=draw)
    colors = torch.randint(3, (200,), generator=draw)
    targets = torch.stack((kinds, colors), dim=1)
    noise = torch.randint(3, (200, 2), generator=draw)  # kind 3 and 4 are never right, 4 never answered
    answers = torch.where(torch.rand(200, 2, generator=draw) < 0.6, targets, noise + torch.tensor([1, 0]))
    answers[:, 1] %= 3
    found = tallied(targets, answers)
    assert found.confusion is not None
    for column, (head, classes) in enumerate(SIGNATURE.heads):
        truth, answer = targets[:, column].numpy(), answers[:, column].numpy()
        confusion = found.confusion[head]
        assert confusion.tolist() == confusion_matrix(truth, answer, labels=range(classes)).tolist()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells of answers that are no class there
            expected = balanced_accuracy_score(truth, answer)
        assert balanced_accuracy(confusion) == pytest.approx(expected, abs=1e-12)
        assert macro_f1(confusion) == pytest.approx(f1_score(truth, answer, average="macro"), abs=1e-12)


def test_a_class_that_nobody_gets_right_counts_as_much_as_the_large_one() -> None:
    """Nine of ten examples are of one class, which is always answered."""
    kinds = torch.tensor([0] * 9 + [1])
    found = tallied(torch.stack((kinds, kinds), dim=1), torch.zeros(10, 2, dtype=torch.long))
    assert found.confusion is not None
    assert found.heads["kind"].accuracy == pytest.approx(0.9)
    assert balanced_accuracy(found.confusion["kind"]) == pytest.approx(0.5)
    assert macro_f1(found.confusion["kind"]) == pytest.approx((18 / 19) / 2)
