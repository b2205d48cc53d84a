"""Loss and accuracy of logits against targets, head by head, summed over any number of batches."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from models.network import Signature


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadMetrics:
    """One head over some examples."""

    loss: float
    """Mean cross-entropy, nats."""
    accuracy: float
    """Fraction of examples with the right class on top, [0, 1]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """All heads over some examples."""

    loss: float
    """Mean of the heads' losses, without label smoothing."""
    heads: dict[str, HeadMetrics]
    """By head, in the signature's order."""
    joint: float
    """Fraction of examples with all heads right, [0, 1]."""
    right: Tensor | None = field(default=None, repr=False, compare=False)
    """bool (N, heads) on the CPU, which examples each head has right, where the tally kept them."""
    confusion: dict[str, Tensor] | None = field(default=None, repr=False, compare=False)
    """By head int64 (classes, classes) on the CPU: how many examples of each class, a row each, got each
    answer, a column each; where the tally kept them."""

    @property
    def score(self) -> float:
        """Mean of the heads' accuracies, [0, 1]: what a search maximizes."""
        return math.fsum(head.accuracy for head in self.heads.values()) / len(self.heads)


def balanced_accuracy(confusion: Tensor) -> float:
    """Mean over the classes that occur of the fraction of their examples that are right, [0, 1].

    confusion: int64 (classes, classes), as in Metrics, with one example at least.
    """
    per_class = confusion.sum(dim=1).double()
    occurs = per_class > 0
    return float((confusion.diagonal()[occurs] / per_class[occurs]).mean())


def macro_f1(confusion: Tensor) -> float:
    """Mean of the F1 scores of the classes that occur or are answered, [0, 1].

    A class's F1 is the harmonic mean of the fraction of its examples that are right and of the fraction of
    its answers that are right. confusion: as in `balanced_accuracy`.
    """
    occurs_or_answered = (confusion.sum(dim=1) + confusion.sum(dim=0)).double()
    counts = occurs_or_answered > 0
    return float((2 * confusion.diagonal()[counts] / occurs_or_answered[counts]).mean())


class Tally:
    """Sums over batches, on the device.

    Batches are kept and counted in bulk: 27 µs a batch against 96 one by one, of the 700 of an MLP 64's step.
    """

    BATCHES = 50
    ROWS = 16_384
    """Counted when this many batches or rows have gathered: at most a few megabytes are kept."""

    def __init__(self, signature: Signature, device: torch.device, *, keep_answers: bool = False) -> None:
        """keep_answers: the class that each head answers is kept of each example, beside the sums."""
        self.signature = signature
        self._answers: list[tuple[Tensor, Tensor]] | None = [] if keep_answers else None
        """Answers and targets, both int64 (N, heads)."""
        self.sums = torch.zeros(2 * len(signature.heads) + 2, dtype=torch.float64, device=device)
        """Examples, all heads right, then for each head (losses, hits)."""
        self._logits: list[Tensor] = []
        self._targets: list[Tensor] = []

    def reset(self) -> None:
        """Forgets everything."""
        self.sums.zero_()
        self._logits.clear()
        self._targets.clear()
        if self._answers is not None:
            self._answers.clear()

    def add(self, logits: Tensor, targets: Tensor) -> bool:
        """logits (N, all classes), targets int64 (N, heads), both on the device. True when it counted."""
        self._logits.append(logits.detach())
        self._targets.append(targets)
        if len(self._logits) < self.BATCHES and len(self._logits) * len(targets) < self.ROWS:
            return False
        self.count()
        return True

    def count(self) -> None:
        """Brings `sums` up to date."""
        if not self._logits:
            return
        logits, targets = torch.cat(self._logits), torch.cat(self._targets)
        self._logits.clear()
        self._targets.clear()
        joint = torch.ones(len(targets), dtype=torch.bool, device=logits.device)
        sums, answers = [], []
        for head, target in zip(
            torch.split(logits, list(self.signature.classes), dim=1), targets.unbind(1), strict=True
        ):
            answer = head.argmax(1)
            hits = answer == target
            joint &= hits
            answers.append(answer)
            losses = functional.cross_entropy(head.float(), target, reduction="none")
            sums += [_exact(losses).sum(), hits.sum()]
        if self._answers is not None:
            self._answers.append((torch.stack(answers, dim=1), targets))
        self.sums += torch.stack([torch.full_like(sums[0], len(targets)), joint.sum(), *sums])

    def metrics(self) -> Metrics:
        """Of all that was added; waits for the device. Raises ValueError on an empty tally."""
        self.count()
        examples, joint, *rest = self.sums.tolist()
        if not examples:
            raise ValueError("there are no metrics of no examples")
        heads = {
            name: HeadMetrics(loss=loss / examples, accuracy=hits / examples)
            for (name, _), loss, hits in zip(self.signature.heads, rest[::2], rest[1::2], strict=True)
        }
        loss = math.fsum(head.loss for head in heads.values()) / len(heads)
        right = confusion = None
        if self._answers:
            answers, targets = map(torch.cat, zip(*self._answers, strict=True))
            right = (answers == targets).cpu()
            confusion = {
                name: _confusion(answers[:, column], targets[:, column], classes)
                for column, (name, classes) in enumerate(self.signature.heads)
            }
        return Metrics(loss=loss, heads=heads, joint=joint / examples, right=right, confusion=confusion)


def _confusion(answers: Tensor, targets: Tensor, classes: int) -> Tensor:
    """int64 (classes, classes) on the CPU: rows are targets, columns answers."""
    cells = torch.bincount(targets * classes + answers, minlength=classes * classes)
    return cells.view(classes, classes).cpu()


def _exact(losses: Tensor) -> Tensor:
    """float32 (N,) -> float64 multiples of 2^-24: up to 2^29 nats their sum is exact, whatever its order.

    So a tally that was counted in between, for a save, ends with the same bits as one that was not.
    """
    return (losses.double() * 2**24).round() / 2**24
