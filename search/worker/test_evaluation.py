"""The only look at a test set that there is: weights of a finished trial, evaluated once.
The caller records the evaluation before it tells anybody the result.

tests/contracts/test_test_split.py proves that nothing else in the three rooms reaches one.
"""

from __future__ import annotations

from data.datasets.base import OpenDataset, Split
from models.checkpoint import parse_checkpoint
from models.training import evaluate
from search.records import Answers, Scores
from search.tasks import task_named
from search.worker.trial import answers_of, scores_of


def look_at_test(task: str, content: bytes, sha256: str, dataset: OpenDataset) -> tuple[Scores, int, Answers]:
    """(scores, pictures, answers) of a checkpoint's network on the task's test set, in float32 on the CPU.

    Answers: which are right. Pictures, not examples: ten sums of one picture are not ten independent
    observations. Float32, because that is how weights are handed over, whatever precision they were trained
    in. content: of the checkpoint file. Raises CheckpointCorrupt where it is not the one that was written.
    """
    network = parse_checkpoint(content, "the checkpoint", expected_sha256=sha256).network()
    chosen = task_named(task)
    test = chosen.test(dataset)
    found = evaluate(network, test)
    return scores_of(found), test.examples // max(1, chosen.numbers), answers_of(found, Split.TEST)
