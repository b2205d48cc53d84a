"""`tune run --space-changed`: the search space of a study that exists changes, where nothing else does."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from search.errors import TryAgain
from search.optuna_db.storage import Storage
from search.records import StudyRecord
from search.report.words import count, first_of
from search.service.drive import dead_here
from search.service.look import space_of
from search.space.spec import differences
from search.study.space_change import Busy, Changed, change_space
from search.study.study import Study

SHOWN = 10
"""Numbers of trials that a sentence has room for."""


def change(
    storage: Storage,
    study: Study,
    record: StudyRecord,
    space: Mapping[str, object],
    tell: Callable[[str], None],
) -> None:
    """Makes `space`, in the form of a spec's, the space of the study, and tells what that came to.

    Trials of workers of this machine that are gone are queued again before. Raises TryAgain while others are
    at work.
    """
    from search.worker.recovery import Reaper

    reaper = Reaper(study, storage.store, f"{socket.gethostname()}:{os.getpid()}:parent")
    reaper.look(dead=dead_here(storage, study))
    found = change_space(storage, record, space)
    if isinstance(found, Busy):
        raise TryAgain(_busy(found, record.name))
    if found is not None:
        now = replace(record, spec=replace(record.spec, space=space))
        tell(_told(found, record.name, differences(space_of(record), space_of(now))))


def _busy(found: Busy, name: str) -> str:
    who = [*(f"trial {number}" for number in found.trials), *found.workers]
    return (
        f"The search space of {name} can change only while nothing of it is at work, and "
        f"{first_of(who, SHOWN)} {_are(who)}: stop the workers, or wait until they are done, and give the "
        "command again. Trials of workers that are gone for good end in half a minute of "
        f"`tune worker {shlex.quote(name)}`."
    )


def _told(found: Changed, name: str, changes: Sequence[str]) -> str:
    fit = found.finished - len(found.set_aside)
    words = (
        f"The search space of {name} has changed ({'; '.join(changes)}): {fit:,} of "
        f"{count(found.finished, 'finished trial')} {'fits' if fit == 1 else 'fit'} it"
    )
    if found.leaves_none:
        words = (
            f"No finished trial of the search fits the space that {name} has now ({'; '.join(changes)}), and "
            "the search begins again: the same command with the former space takes them back. "
            f"{_numbers(found.set_aside).capitalize()} {_are(found.set_aside)} set aside"
        )
    elif found.set_aside:
        words += f", and {_numbers(found.set_aside)} {_are(found.set_aside)} set aside"
    if found.ended:
        words += f". {_numbers(found.ended).capitalize()}, which waited, will not be continued"
    return f"{words}."


def _numbers(numbers: Sequence[int]) -> str:
    named = [str(number) for number in numbers]
    return f"trial{'' if len(named) == 1 else 's'} {first_of(named, SHOWN)}"


def _are(some: Sequence[object]) -> str:
    return "is" if len(some) == 1 else "are"
